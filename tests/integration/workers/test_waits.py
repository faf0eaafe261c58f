"""Nobody waits while a worker has a free slot, and nobody waits for ever when none has. make soak does the first for longer."""

import pytest

from lib import waits, wire
from lib.limits import patience, until
from lib.server import APPS

pytestmark = pytest.mark.python

HERE = APPS / "workers"


@pytest.mark.workers("sync", "gthread")
@pytest.mark.parametrize("free", [7, 1])
def test_no_wait_beside_a_free_slot(monoceros, worker_class, free):
    workers, threads = (4, 2) if worker_class == "gthread" else (8, 1)
    long = 8 - free
    site = monoceros("threaded:app", "-w", workers, *(["--threads", threads] if threads > 1 else []), cwd=HERE)
    until(lambda: len(waits.ready(site)) == workers, "all workers to be ready")
    steady = waits.Steady(site, threads, patience(1), rate=100)
    answers = waits.some_long(site, steady, long, "/wait?seconds=3")
    steady.finish()
    assert [answer.status for answer in answers] == [200] * long
    assert steady.answered > 0 and not steady.wrong
    assert steady.fullest >= long and not steady.waits, steady.waits


@pytest.mark.workers("sync", "gthread")
def test_newcomers_among_kept_connections(monoceros, load, worker_class):
    """The next requests of those that are in already must not keep all others out, in any worker."""
    threads = ("--threads", "2") if worker_class == "gthread" else ()
    site = monoceros("threaded:app", "-w", "2", "--keep-alive", "5", *threads, cwd=HERE)
    until(lambda: len(waits.ready(site)) == 2, "two ready workers")
    kept = load(site.address, clients=16, keep=True, request=wire.request("GET", "/wait?seconds=0.02"))
    kept.wait_answered(50)
    for _ in range(20):
        assert site.ask("GET", "/").status == 200
    kept.stop()
    assert kept.lost == kept.wrong == kept.stale == 0, (kept.counts, kept.notes)
