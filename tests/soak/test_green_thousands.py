"""5,000 requests asleep in one worker under gevent and eventlet: they all are there at once, and what each costs."""

import importlib.util

import pytest

from lib import idle
from lib.server import APPS
from lib.wire import request

COUNT = idle.allowed(5000)


@pytest.mark.python
@pytest.mark.workers("greenlet")
@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_thousands_asleep(monoceros, kind):
    if not importlib.util.find_spec(kind):
        pytest.skip(f"{kind} is not installed")
    site = monoceros("green:app", "-k", kind, "--worker-connections", str(COUNT + 10), cwd=APPS / "green")
    worker = site.wait_workers(1)[0]

    def resident():
        with open(f"/proc/{worker}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    clients = []
    try:
        clients += [site.connect(timeout=120) for _ in range(COUNT)]
        before = resident()
        for client in clients:
            client.send(request("GET", f"/meet?count={COUNT}"))
        assert {client.read().text for client in clients} == {str(COUNT)}
        print(f"\n{kind}: {COUNT} requests asleep, {(resident() - before) / COUNT:.0f} bytes each")
        assert (resident() - before) / COUNT < 65536
    finally:
        for client in clients:
            client.close()
