"""WebSockets of ASGI apps on streams of HTTP/2 (RFC 8441): the same code as over HTTP/1.1, with ends and windows of streams."""

import importlib.util
import json
import signal

import pytest

from lib import frames
from lib import server as under_test
from lib.limits import until
from lib.server import APPS
from lib.websocket import BINARY, CLOSE, PING, PONG, TEXT, close, frame
from lib.websocket_cases import CASES, LIMIT, run
from lib.websocket_h2 import Carrier, Stream
from lib.wire import Closed

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll"), pytest.mark.skipif("http2" not in under_test.modules(), reason="built without http2")]

HERE = APPS / "asgi"
H2C = ("--http2-cleartext", "prior-knowledge")
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="there is no uvloop"))]


@pytest.fixture(scope="module", params=LOOPS)
def site(shared_monoceros, request):
    return shared_monoceros("sockets:app", "-k", "asgi", *H2C, "--asgi-loop", request.param, "--asgi-disconnect-grace-period", "300ms",
                            "--websocket-max-message-size", str(LIMIT), cwd=HERE, expect_errors=True)


@pytest.fixture(autouse=True)
def fresh(request):
    if "site" in request.fixturenames:
        request.getfixturevalue("site").ask("GET", "/forget")


def seen(site, count=1):
    return until(lambda: len(found := json.loads(site.ask("GET", "/seen").text)) >= count and found, f"{count} notes")


@pytest.mark.parametrize("name", list(CASES)[::5])
def test_case(site, name):
    run(site.address, name, Stream)


def test_scope_subprotocol_and_headers(site):
    with Stream(site.address, "/show?a=b", [("sec-websocket-protocol", "one, two")]) as ws:
        assert (ws.response.get("sec-websocket-protocol"), ws.response.get("x-one")) == ("two", "1")
        assert not {"upgrade", "connection", "sec-websocket-accept", "transfer-encoding"} & {name for name, _ in ws.response.headers}
        scope = json.loads(ws.frame()[1])
        assert (scope["type"], scope["scheme"], scope["path"], scope["query_string"]) == ("websocket", "ws", "/show", "b'a=b'")
        assert (scope["method"], scope["http_version"], scope["subprotocols"]) == ("None", "2", "['one', 'two']")
        assert ws.frame() == (CLOSE, (3001).to_bytes(2, "big") + "shown é".encode())
        ws.send(close(3001))
        assert ws.frame() is None
    assert seen(site) == ["websocket.disconnect"]


@pytest.mark.parametrize("path, status, body", [("/refuse", 403, b"403 Forbidden"), ("/deny", 401, b"who are you?"), ("/raises_before", 500, b"500")])
def test_refusals(site, path, status, body):
    with Stream(site.address, path, refused=True) as ws:
        assert ws.response.status == status
        while ws.fill():
            pass
        assert body in ws.buffer and ws.response.get("x-why") == ("password" if path == "/deny" else None)


def test_handshakes_that_are_none(site):
    with Stream(site.address, headers=[("sec-websocket-version", "8")], refused=True) as ws:
        assert ws.response.status == 400        # two versions
    with Stream(site.address, protocol="connect-udp", refused=True) as ws:
        assert ws.response.status == 501        # the app answers 200 to what is an HTTP request for it: no tunnel


def test_who_closes_and_what_the_app_hears(site):
    for sent, code, reason in ((close(4000, "café"), 4000, "café"), (close(), 1005, ""), (frame(3), 1002, "")):
        with Stream(site.address) as ws:
            ws.send(sent)
            ws.frames()
        assert seen(site)[-1] == [code, reason]
        site.ask("GET", "/forget")


@pytest.mark.parametrize("how", ["reset", "half-close", "connection"])
def test_a_client_that_just_leaves(site, how):
    with Carrier(site.address) as carrier:
        ws, other = Stream(site.address, carrier=carrier), Stream(site.address, carrier=carrier)
        if how == "connection":
            carrier.close()
            assert seen(site, 2)[-2:] == [[1006, ""], [1006, ""]]
            return
        ws.half_close() if how == "half-close" else ws.close()
        assert seen(site)[-1] == [1006, ""]
        other.send(frame(TEXT, "still here"))
        assert other.frame() == (TEXT, b"still here")
        if how == "half-close":
            assert ws.frame() is None
    seen(site, 2)       # of the other one, before the next test begins


def test_many_on_one_connection(site):
    with Carrier(site.address) as carrier:
        sockets = [Stream(site.address, "/chat", carrier=carrier) for _ in range(20)]
        for number, ws in enumerate(sockets):
            ws.send(frame(TEXT, f"from {number}"))
            for each in sockets:
                assert each.frame() == (TEXT, f"from {number}".encode())
        for ws in sockets:
            ws.send(close(1000))
            assert ws.closed() == 1000


def test_a_client_that_does_not_read_stops_the_app_and_nobody_else(site):
    with Carrier(site.address) as carrier:
        ws = Stream(site.address, "/flood?100", carrier=carrier)
        carrier.h2.acknowledge_received_data = lambda n, stream: None      # windows stay shut
        count = until(lambda: (first := seen(site)[0]) == seen(site)[0] and first, "the app to stop")
        assert count < 50
        del carrier.h2.acknowledge_received_data
        with Stream(site.address) as other:
            other.send(frame(TEXT, "not held up"))
            assert other.frame() == (TEXT, b"not held up")
        while not ws.ended and len(ws.buffer) < 65535:
            carrier.pump()
        carrier.h2.acknowledge_received_data(len(ws.buffer), ws.number)
        carrier.flush()
        assert [ws.frame() for _ in range(100)] == [(BINARY, bytes(65536))] * 100
        assert ws.frame()[0] == CLOSE


def test_an_app_that_does_not_receive_stops_the_client(site):
    with Stream(site.address, "/deaf") as ws:
        codec, sent, piece = ws.carrier.h2, 0, frame(BINARY, bytes(65000))
        ws.carrier.sock.settimeout(1)
        try:
            while sent < 20_000_000:
                ws.send(piece)
                sent += len(piece)
        except TimeoutError:
            pass
        assert sent < 2_000_000 and codec.local_flow_control_window(ws.number) == 0
    assert seen(site) == ["cancelled"]


def test_pings(monoceros):
    site = monoceros("sockets:app", "-k", "asgi", *H2C, "--websocket-ping-interval", "300ms", "--websocket-ping-timeout", "1s", cwd=HERE)
    with Carrier(site.address) as carrier:
        alive, silent = Stream(site.address, carrier=carrier), Stream(site.address, carrier=carrier)
        for _ in range(6):
            assert alive.frame() == (PING, b"")
            alive.send(frame(PONG))
        with pytest.raises(Closed):
            while silent.frame() is not None:
                pass
        alive.send(frame(TEXT, "still here"))
        while (got := alive.frame()) == (PING, b""):
            alive.send(frame(PONG))
        assert got == (TEXT, b"still here")
    assert [1006, ""] in seen(site)


def test_a_drain_closes_with_1012(monoceros):
    """By frames: Python's h2 takes a connection for closed once GOAWAY has come."""
    site = monoceros("sockets:app", "-k", "asgi", *H2C, cwd=HERE)
    with frames.Client(site.address) as client:
        streams = [1, 3]
        for stream, path in zip(streams, ("/echo", "/deaf")):
            pairs = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path), (":authority", "x"), ("sec-websocket-version", "13")]
            client.send(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, client.encode(pairs)))
            assert dict(client.until(lambda f: f.kind == frames.HEADERS).headers)[":status"] == "200"
        site.signal(signal.SIGTERM)
        for stream in streams:
            assert client.until(lambda f: f.kind == frames.DATA).payload == b"\x88\x02\x03\xf4"
        for stream in streams:
            client.send(frames.frame(frames.DATA, 0, stream, close(1012)))
            assert client.until(lambda f: f.stream == stream).end
        assert not [f for f in client.drained() if f.kind == frames.RST_STREAM and f.code != frames.NO_ERROR]
    assert site.process.wait(60) == 0
    site.waited = True


def test_through_another_pool(monoceros):
    site = monoceros(config=f'''
pool "front" {{ worker_class = {{worker}} }}
pool "ws" {{ worker_class = asgi }}
app "sockets" {{ module = "sockets:app" chdir = "{HERE}" pool = ws }}
server "s" {{ listen = "{{address}}" pool = front  http2_cleartext = prior-knowledge
    route "ws" {{ app = sockets }} }}
''', python=True)
    with Stream(site.address, headers=[("sec-websocket-extensions", "permessage-deflate")]) as ws:
        for data in (b"x", b"y" * 300_000):
            ws.send(frame(BINARY, data))
            assert ws.frame() == (BINARY, data)
        ws.send(close(1000))
        assert ws.frame() == (CLOSE, b"\x03\xe8") and ws.frame() is None
