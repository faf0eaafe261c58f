"""Nobody waits while a worker has a free slot, and nobody waits for ever when none has. make soak does the first for longer."""

import pytest

from lib import waits, wire
from lib.limits import patience, until
from lib.server import APPS

pytestmark = pytest.mark.python

HERE = APPS / "workers"


@pytest.mark.workers("gthread")
@pytest.mark.parametrize("long", [1, 7])
def test_no_wait_beside_a_free_slot(monoceros, long):
    site = monoceros("threaded:app", "-w", "4", "--threads", "2", cwd=HERE)
    until(lambda: len(waits.ready(site)) == 4, "four ready workers")
    steady = waits.Steady(site, 2, patience(1), rate=100)
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
