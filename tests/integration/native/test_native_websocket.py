"""WebSockets of apps in C (talk.c), on the same code as those of ASGI apps: a part of the conformance cases, and what the API promises."""

import os
import signal
from pathlib import Path

import pytest

from lib import server as under_test
from lib.limits import until
from lib.websocket import BINARY, CLOSE, TEXT, WebSocket, close, frame, upgrade
from lib.websocket_cases import CASES, LIMIT, run
from lib.websocket_h2 import Carrier, Stream

OBJS = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent)
APPS = OBJS / "tests/apps/native"

pytestmark = pytest.mark.skipif(not (APPS / "talk.so").exists(), reason="no native apps are built")

SITE = f"""
pool "main" {{{{ worker_class = {{worker}}  worker_connections = 500 }}}}
app "talk" {{{{ type = native  module = "{APPS}/talk.so" }}}}
server "main" {{{{ listen = "{{address}}"  websocket_max_message_size = {LIMIT}  route "all" {{{{ app = talk }}}} }}}}
""".replace("{{", "{").replace("}}", "}")


@pytest.fixture(scope="module")
def talk(shared_monoceros):
    return shared_monoceros(config=SITE, python=False)


def counts(site):
    ended, code, gone = site.ask("GET", "/count").text.split()
    return int(ended), int(code), int(gone)


@pytest.mark.parametrize("name", list(CASES)[::6])
def test_case(talk, name):
    run(talk.address, name)


@pytest.mark.skipif("http2" not in under_test.modules(), reason="built without http2")
def test_cases_on_streams(monoceros):
    """The same over HTTP/2, in every worker type, and beside each other."""
    site = monoceros(config="http2_cleartext = prior-knowledge\n" + SITE, python=False)
    for name in list(CASES)[::16]:
        run(site.address, name, Stream)
    with Carrier(site.address) as carrier:
        sockets = [Stream(site.address, path, carrier=carrier) for path in ("/echo", "/later", "/echo")]
        for ws in sockets:
            ws.send(frame(BINARY, b"z" * 100_000))
        assert [ws.frame() for ws in sockets] == [(BINARY, b"z" * 100_000)] * 3
        gone = counts(site)[2]
        sockets[0].close()
        until(lambda: counts(site)[2] == gone + 1, "the app to hear of a stream that was reset")
        sockets[2].send(close(4002))
        assert sockets[2].closed() == 4002


def test_handshake(talk):
    with WebSocket(talk.address, headers=[("Sec-WebSocket-Protocol", "talk")]) as ws:
        assert (ws.response.get("sec-websocket-protocol"), ws.response.get("x-talk")) == ("talk", "yes")
        assert ws.response.get("connection").lower() == "upgrade"
    for sent, status in ((upgrade("/no"), 403), (upgrade(key="short"), 400), (upgrade(method="POST"), 200)):
        with talk.connect() as client:
            client.send(sent)
            assert client.read_head().status == status


def test_the_app_closes(talk):
    with WebSocket(talk.address, "/close") as ws:
        ws.send(frame(TEXT, "x"))
        assert ws.frame() == (CLOSE, b"\x0b\xb8b\xc3\xbfe")
        ws.send(frame(TEXT, "not heard any more") + close(3000))
        assert ws.frame() is None


def test_the_app_fails(talk):
    with WebSocket(talk.address, "/fail") as ws:
        ws.send(frame(TEXT, "x"))
        assert ws.frame() == (CLOSE, b"\x03\xf3")


def test_out_of_a_timer(talk):
    with WebSocket(talk.address, "/later") as ws:
        for data in (b"one", b"two" * 5000):
            ws.send(frame(BINARY, data))
            assert ws.frame() == (BINARY, data)
    with WebSocket(talk.address, "/push") as ws:
        ws.send(frame(TEXT, "last"))
        assert ws.frame() == (TEXT, b"last") and ws.frame() == (CLOSE, b"\x0b\xb8later")


def test_the_app_hears_how_it_ended(talk):
    ended, _, gone = counts(talk)
    with WebSocket(talk.address) as ws:
        ws.send(close(4001))
        assert ws.closed() == 4001
    assert counts(talk) == (ended + 1, 4001, gone)
    WebSocket(talk.address).close()
    until(lambda: counts(talk) == (ended + 2, 1006, gone), "the end of a client that just left")


def test_a_client_that_does_not_read(talk):
    """What it is sent is bounded, and so is what is read of it; all comes in the end."""
    with WebSocket(talk.address, rcvbuf=4096) as ws:
        ws.sock.settimeout(1)
        piece, sent = frame(BINARY, bytes(60000)), 0
        try:
            while sent < 3000:
                ws.sock.sendall(piece)
                sent += 1
        except TimeoutError:
            pass
        assert sent < 2000
        ws.sock.settimeout(60)
        assert [ws.frame() for _ in range(sent)] == [(BINARY, bytes(60000))] * sent


def test_a_drain(monoceros):
    site = monoceros(config=SITE, python=False)
    with WebSocket(site.address) as ws:
        site.signal(signal.SIGTERM)
        assert ws.frame() == (CLOSE, b"\x03\xf4")
        ws.send(close(1012))
        assert ws.frame() is None
    assert site.process.wait(60) == 0
    site.waited = True
