"""Ends that meet: a request whose upstream fails, whose time is over and whose client leaves, all in the same turn of the loop."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "proxy")]
from proxy_site import site  # noqa: E402

from lib.limits import patience, until  # noqa: E402
from lib.upstream import Upstream  # noqa: E402
from lib.wire import Closed, request  # noqa: E402

TIMES = "request_timeout = 1s\ntimeout = 60s"
PAGE = 'error_page = {"500 502 503 504 @sorry"}'
SORRY = 'route "sorry" { match { exact = "/nobody-asks-for-this" } respond { body = "sorry" } }'


@pytest.mark.parametrize("leaves", ["nobody", "client", "both"])
@pytest.mark.parametrize("page", [False, True])
def test_everything_at_once(monoceros, page, leaves):
    """The worker is stopped while an upstream resets, the request's time runs out, and the client goes away; then it sees all of that in one turn."""
    gate = threading.Event()

    def script(peer):
        peer.head()
        gate.wait(patience(60))
        if leaves != "client":
            peer.reset()

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text, top=TIMES, proxy="retries = 0", server=PAGE if page else "", more=SORRY if page else ""), expect_errors=True)
        worker = proxy.wait_workers(1)[0]
        clients = []
        for number in range(8):
            clients.append(proxy.connect())
            clients[-1].send(request(("GET", "POST")[number % 2], f"/{number}", body=(None, b"abc")[number % 2]))
        until(lambda: len(up.requests) == len(clients), "the upstream to be asked")
        os.kill(worker, signal.SIGSTOP)
        gate.set()
        if leaves != "nobody":
            for client in clients[::2]:
                client.close()
        time.sleep(1.5)     # longer than request_timeout, on the worker's clock
        os.kill(worker, signal.SIGCONT)
        for client in clients if leaves == "nobody" else clients[1::2]:
            try:
                answer = client.read()
            except Closed:
                continue
            assert answer.status in (502, 504)
            assert not page or answer.text == "sorry"
        for client in clients:
            client.close()
        with proxy.connect() as client:
            up.script = lambda peer: (peer.request(), peer.reply(b"fine"))
            assert client.ask("GET", "/").body == b"fine"
        assert proxy.workers() == [worker]
