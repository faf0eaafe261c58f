"""An idle connection costs a worker at most 1 KiB; make soak holds 20,000."""

import pytest

from lib import board, idle
from lib.limits import until
from lib.server import SANITIZED, UNDER

COUNT = 1000


@pytest.mark.skipif(bool(SANITIZED or UNDER), reason="sanitizers and valgrind need memory of their own")
def test_memory_of_idle_connections(monoceros):
    site = monoceros(config=idle.SITE.replace("CONNECTIONS", str(2 * COUNT)))
    connections = []
    assert idle.allowed(COUNT) == COUNT
    try:
        each = idle.bytes_each(site, site.wait_workers(1)[0], COUNT, connections)
        assert each <= 1024, each
        assert site.ask("GET", "/").text == "here"
    finally:
        for sock in connections:
            sock.close()


@pytest.mark.workers("epoll")
def test_kept_connections_are_spread_over_the_workers(monoceros):
    """The kernel wakes the first that sleeps, and with one newcomer at a time that would always be the same one."""
    site = monoceros(config=idle.SITE.replace("CONNECTIONS", "1000").replace("workers = 1", "workers = 3"))
    site.wait_workers(3)

    def least(count):
        """What the worker with the fewest has accepted of so many."""
        before = {slot.pid: slot.accepted for slot in board.slots(site.pid)}
        clients = [site.connect() for _ in range(count)]
        for client in clients:
            assert client.ask("GET", "/").status == 200
        found = min(slot.accepted - before[slot.pid] for slot in board.slots(site.pid))
        for client in clients:
            client.close()
        return found

    assert least(300) >= 60
    until(lambda: least(60) >= 8, "few to be spread after many")
