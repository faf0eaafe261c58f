"""4 workers of 2 threads, 200 new connections a second, long requests in flight: no other request waits while a worker has a free slot."""

import os

import pytest

from lib import waits
from lib.limits import patience, until
from lib.server import APPS

pytestmark = [pytest.mark.python, pytest.mark.workers("gthread")]

ROUNDS = max(1, int(6 * float(os.environ.get("MONOCEROS_SOAK", "1"))))


@pytest.mark.parametrize("long", [1, 7])
def test_waits_beside_a_free_slot(monoceros, long):
    site = monoceros("threaded:app", "-w", "4", "--threads", "2", cwd=APPS / "workers")
    until(lambda: len(waits.ready(site)) == 4, "four ready workers")
    steady = waits.Steady(site, 2, patience(1))
    for _ in range(ROUNDS):
        answers = waits.some_long(site, steady, long, "/wait?seconds=5")
        assert [answer.status for answer in answers] == [200] * long
    steady.finish()
    print(f"\n{ROUNDS} rounds beside {long} requests of 5 s: {steady.answered} answered, the slowest after {steady.slowest * 1000:.0f} ms;",
          f"up to {steady.fullest} at once; waits: {len(steady.waits)}")
    assert not steady.wrong and not steady.waits, (steady.wrong[:3], steady.waits[:3])
