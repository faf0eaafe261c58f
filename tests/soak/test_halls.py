"""10,000 open WebSockets in one worker: what each costs, and what a word to all of them does."""

import importlib.util

import pytest

from lib import hall, idle
from lib.server import APPS

COUNT = idle.allowed(10000)


def run(site, path, what):
    worker = site.wait_workers(1)[0]
    sockets = []
    try:
        each = hall.fill(site.address, worker, path, COUNT, sockets)
        rounds = [hall.tell(sockets, worker) for _ in range(3)]
        print(f"\n{what}: {COUNT} WebSockets, {each:.0f} bytes each; a word to all: {min(took for took, _ in rounds):.2f} s until the last one has it, "
              f"{min(worked for _, worked in rounds) / COUNT * 1e6:.1f} µs of work each")
        assert each < 12000
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.python
@pytest.mark.workers("epoll")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_hall_of_thousands(monoceros, loop):
    if loop == "uvloop" and not importlib.util.find_spec("uvloop"):
        pytest.skip("uvloop is not installed")
    site = monoceros("sockets:app", "-k", "asgi", "--asgi-loop", loop, "--worker-connections", str(COUNT + 10), "--websocket-ping-interval", "10m",
                     cwd=APPS / "asgi")
    run(site, "/hall", loop)
