"""ASGI apps in trouble and clients that leave, on both event loops: what the client gets, what the log says, and that the worker is the one it was, with
nothing left in it. The table of docs/asgi.md names these tests."""

import importlib.util
import os
import re
import socket

import pytest

from lib import board
from lib.limits import until
from lib.server import APPS
from lib.websocket import CLOSE, TEXT, WebSocket, close, frame, upgrade
from lib.wire import Closed, request

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="there is no uvloop"))]


@pytest.fixture(scope="module", params=LOOPS)
def server(shared_monoceros, request):
    site = shared_monoceros("trouble:app", "-k", "asgi", "--asgi-loop", request.param, "--keep-alive", "5", "--websocket-ping-interval", "10m",
                            "--asgi-disconnect-grace-period", "300ms", cwd=HERE, expect_errors=True)
    site.wait_log('App "default" has no lifespan')
    return site


class Watched:
    """The server from now on: said() is what the log has got since, and at the end the worker must be well."""

    def __init__(self, site):
        self.site = site
        self.workers = site.wait_workers(1)
        self.mark = len(site.log())

    def __getattr__(self, name):
        return getattr(self.site, name)

    def said(self):
        return self.site.log()[self.mark:]

    def wait_said(self, pattern):
        return until(lambda: re.search(pattern, self.said()), f"{pattern!r} in the log")

    def check(self):
        """The same worker, with no connection and no request left, and it answers."""
        def calm():
            slot, = board.slots(self.site.pid)
            return [slot.pid] == self.workers and slot.connections == 0 and slot.state == "idle"
        assert self.site.ask("GET", "/", close=True).body == b"fine\n"
        until(calm, "a worker without connections")


@pytest.fixture
def site(server):
    watched = Watched(server)
    yield watched
    watched.check()


def reset(client):
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


# --- the app

def test_who_gives_up_on_receive_loses_nothing(site):
    body = os.urandom(200_000)
    with site.connect() as client:
        client.send(b"POST /gives_up HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        site.wait_said("noted: given up")
        for at in range(0, len(body), 7000):
            client.send(body[at:at + 7000])
        assert client.read().body == body
        client.send(request("GET", "/beside") + request("GET", "/"))
        assert [client.read().body for _ in range(2)] == [b"cancelled", b"fine\n"]
    with WebSocket(site.address, "/gives_up") as ws:
        for number in range(100):
            ws.send(frame(TEXT, str(number)))
        assert [ws.frame() for _ in range(100)] == [(TEXT, b"%d" % number) for number in range(100)]
        ws.send(close(1000))
        assert ws.closed() == 1000
    assert "rror" not in site.said()


@pytest.mark.parametrize("case, got, words", [
    ("longer", b"fine\n", "the response is longer than its Content-Length of 5: cut"),
    ("shorter", None, "the response is shorter than its Content-Length: 5 of 10 bytes"),
])
def test_a_length_that_is_not_true(site, case, got, words):
    """Too much is left out, and what is missing shows by a cut; neither connection is used again."""
    with site.connect() as client:
        client.send(request("GET", "/" + case))
        if got:
            assert client.read().body == got
            assert client.ended()
        else:
            with pytest.raises(Closed):
                client.read()
    site.wait_said(words)


@pytest.mark.parametrize("case, words", [("leaves_a_task", "raised by nobody's task"), ("leaves_a_callback", "raised by a callback")])
def test_what_fails_beside_the_request(site, case, words):
    """The client has its answer, and asyncio's own report is in the log."""
    with site.connect() as client:
        client.send(request("GET", "/" + case))
        assert client.read().body == b"fine\n"
        site.wait_said(rf"Traceback(?:.*\n)+?.*ValueError: {words}")
        client.send(request("GET", "/"))
        assert client.read().body == b"fine\n"


def test_an_app_that_stops_the_loop(site):
    with site.connect() as client:
        client.send(request("GET", "/stops_the_loop"))
        assert client.read().body == b"fine\n"


def test_a_loop_that_is_blocked_for_a_while(site):
    """The others wait."""
    with site.connect() as client, site.connect() as other:
        client.send(request("GET", "/blocks?0.5"))
        site.wait_said("noted: blocks")
        other.send(request("GET", "/"))
        assert other.read().body == b"fine\n" and client.read().body == b"fine\n"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_is_blocked_for_too_long(monoceros, loop):
    """Its clients are cut, the log shows where it hung, and another worker takes its place."""
    site = monoceros("trouble:app", "-k", "asgi", "--asgi-loop", loop, "--timeout", "3", cwd=HERE, expect_errors=True)
    worker = site.wait_workers(1)
    with site.connect() as client, site.connect() as other:
        other.send(request("GET", "/deaf"))
        site.wait_log("noted: deaf")
        client.send(request("GET", "/blocks?600"))
        assert client.ended() and other.ended()
    site.wait_log(rf"WORKER TIMEOUT \(pid:{worker[0]}\)")
    site.wait_log(r"in blocks\n")
    assert until(lambda: site.workers() not in (worker, []) and site.workers(), "another worker") != worker
    assert site.ask("GET", "/").body == b"fine\n"
    slot, = until(lambda: board.slots(site.pid), "its slot")
    assert slot.pid != worker[0]


# --- the client

@pytest.mark.parametrize("leave", [lambda client: client.close(), reset], ids=["closes", "resets"])
def test_who_leaves_while_the_app_never_receives(site, leave):
    client = site.connect()
    client.send(request("GET", "/deaf"))
    site.wait_said("noted: deaf GET\n")
    leave(client)
    site.wait_said("noted: deaf GET cancelled\n")
    assert "rror" not in site.said()


def test_who_resets_while_the_app_never_receives_the_body(site):
    """What was sent of it lies unread in front of the client's end."""
    client = site.connect()
    client.send(b"POST /deaf HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
    site.wait_said("noted: deaf POST\n")
    client.sock.settimeout(0.3)
    try:
        while client.sock.send(bytes(65536)):
            pass
    except TimeoutError:
        pass
    reset(client)
    site.wait_said("noted: deaf POST cancelled\n")
    assert "rror" not in site.said()


def test_who_leaves_an_app_that_takes_no_notice(site):
    client = site.connect()
    client.send(request("GET", "/stubborn"))
    site.wait_said("noted: stubborn\n")
    client.close()
    site.wait_said("noted: not impressed\n(?:.*\n)*noted: stubborn ConnectionResetError\n")
    assert "Traceback" not in site.said()


@pytest.mark.parametrize("leave", [lambda client: client.close(), reset], ids=["closes", "resets"])
def test_who_leaves_within_a_stream(site, leave):
    client = site.connect()
    client.send(request("GET", "/streams"))
    client.exactly(100)
    leave(client)
    site.wait_said("noted: streams ConnectionResetError\n")
    assert "Traceback" not in site.said()


@pytest.mark.parametrize("leave", [lambda client: client.close(), reset], ids=["closes", "resets"])
def test_who_leaves_within_a_body(site, leave):
    client = site.connect()
    client.send(b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nfirst")
    site.wait_said("noted: reads http.request\n")
    leave(client)
    site.wait_said("noted: reads http.disconnect\n")
    assert "Traceback" not in site.said()


def test_who_leaves_with_a_request_that_waits_behind_another(site):
    """The app hears of the one, and never of the other."""
    client = site.connect()
    client.send(request("GET", "/held") + request("GET", "/queued"))
    site.wait_said("noted: held\n")
    client.close()
    site.wait_said("noted: held http.disconnect\n")
    site.check()
    assert "noted: queued" not in site.said() and "rror" not in site.said()


def test_who_leaves_while_a_blocked_loop_has_not_accepted_him(site):
    with site.connect() as client:
        client.send(request("GET", "/blocks?0.5"))
        site.wait_said("noted: blocks")
        early = [site.connect() for _ in range(20)]
        for one in early[::2]:
            one.send(request("GET", "/queued"))
        for one in early[:10]:
            one.close()
        for one in early[10:]:
            reset(one)
        assert client.read().body == b"fine\n"
    site.check()
    assert "rror" not in site.said()


# --- WebSockets

DENIED = {
    "raises_before": "ValueError: raised before it accepted",
    "returns_before": "RuntimeError: the app returned without a response",
    "sends_first": "RuntimeError: unexpected message 'websocket.send': websocket.accept or websocket.close is next",
}
CLOSED = {
    "raises_after": (1011, "ValueError: raised after it accepted"),
    "returns_after": (1000, None),
    "raises_behind": (3000, "Error behind the response of request /raises_behind\n(?:.*\n)*?ValueError: raised behind its close"),
    "closes_twice": (3000, "RuntimeError: unexpected message 'websocket.close': nothing more is next"),
    "accepts_twice": (1011, "RuntimeError: unexpected message 'websocket.accept': websocket.send or websocket.close is next"),
    "sends_nothing": (1011, "ValueError: websocket.send needs text or bytes, and not both"),
    "sends_http": (1011, "RuntimeError: unexpected message 'http.response.start': websocket.send or websocket.close is next"),
    "sends_unknown": (1011, "RuntimeError: unexpected message 'websocket.wave': websocket.send or websocket.close is next"),
    "wrong_code": (1011, "ValueError: invalid code for a close: 1006"),
}


@pytest.mark.parametrize("case", DENIED)
def test_a_websocket_that_is_not_accepted(site, case):
    with site.connect() as client:
        client.send(upgrade("/" + case))
        assert client.read().status == 500
    site.wait_said(rf"Error handling request /{case}\n(?:.*\n)*?{DENIED[case]}")


def test_a_denial_that_breaks_off(site):
    with site.connect() as client, pytest.raises(Closed):
        client.send(upgrade("/half_denied"))
        client.read()
    site.wait_said("Error handling request /half_denied\n(?:.*\n)*?RuntimeError: the app returned before its response was complete")


@pytest.mark.parametrize("case", CLOSED)
def test_how_a_websocket_ends(site, case):
    code, words = CLOSED[case]
    with WebSocket(site.address, "/" + case) as ws:
        ws.send(frame(TEXT, "go"))
        assert ws.frame() == (CLOSE, code.to_bytes(2, "big"))
        ws.send(close(code))
        assert ws.frame() is None
    if words:
        site.wait_said(words)
    else:
        assert "rror" not in site.said()


@pytest.mark.parametrize("path", ["/exits", "/exits_later"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_websocket_that_exits(monoceros, loop, path):
    """The worker leaves, too, and another takes its place."""
    site = monoceros("trouble:app", "-k", "asgi", "--asgi-loop", loop, cwd=HERE, expect_errors=True)
    before = site.wait_workers(1)
    with WebSocket(site.address, path) as ws:
        op, data = ws.frame()
        assert op == CLOSE and int.from_bytes(data, "big") in (1011, 1012)       # it begins to leave in the same moment
    site.wait_log("SystemExit: 7")
    assert until(lambda: site.workers() not in (before, []) and site.workers(), "another worker") != before
    assert site.ask("GET", "/").body == b"fine\n"


@pytest.mark.parametrize("leave", [lambda client: client.close(), reset], ids=["closes", "resets"])
def test_who_leaves_a_websocket_that_never_receives(site, leave):
    ws = WebSocket(site.address, "/deaf")
    site.wait_said("noted: deaf socket\n")
    leave(ws)
    site.wait_said("noted: deaf socket cancelled\n")
    assert "rror" not in site.said()


def test_who_resets_a_websocket_that_never_receives_what_he_sent(site):
    """Messages lie unread in front of the client's end; no ping is due for long."""
    ws = WebSocket(site.address, "/deaf")
    site.wait_said("noted: deaf socket\n")
    ws.sock.settimeout(0.3)
    piece = frame(TEXT, "x" * 60000)
    try:
        while ws.sock.send(piece):
            pass
    except TimeoutError:
        pass
    reset(ws)
    site.wait_said("noted: deaf socket cancelled\n")
    assert "rror" not in site.said()


@pytest.mark.parametrize("leave", [lambda client: client.close(), reset], ids=["closes", "resets"])
def test_who_leaves_before_he_is_accepted(site, leave):
    client = site.connect()
    client.send(upgrade("/never_accepts"))
    site.wait_said("noted: hesitates\n")
    leave(client)
    site.wait_said("noted: hesitates no more\n")
    assert "rror" not in site.said()


@pytest.mark.parametrize("leave", [lambda client: client.close(), reset], ids=["closes", "resets"])
def test_who_leaves_a_websocket_that_sends(site, leave):
    ws = WebSocket(site.address, "/sends_on")
    ws.frame()
    leave(ws)
    site.wait_said("noted: sends on ConnectionResetError\n")
    assert "Traceback" not in site.said()
