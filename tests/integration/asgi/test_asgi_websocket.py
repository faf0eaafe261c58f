"""WebSockets of ASGI apps: what they are told and what they may say, closing from all sides, and what happens to slow and silent clients."""

import asyncio
import importlib.util
import json
import re
import signal
import time

import pytest

from lib import hall, procfs
from lib.limits import until
from lib.server import APPS, SANITIZED
from lib.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocket, close, frame, upgrade

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="there is no uvloop"))]


@pytest.fixture(scope="module", params=LOOPS)
def site(shared_monoceros, request):
    return shared_monoceros("sockets:app", "-k", "asgi", "--asgi-loop", request.param, "--asgi-disconnect-grace-period", "300ms", cwd=HERE, expect_errors=True)


@pytest.fixture(autouse=True)
def fresh(request):
    if "site" in request.fixturenames:
        request.getfixturevalue("site").ask("GET", "/forget")


def seen(site, count=1):
    return until(lambda: len(found := json.loads(site.ask("GET", "/seen").text)) >= count and found, f"{count} notes")


def test_scope_subprotocol_and_headers(site):
    with WebSocket(site.address, "/show?a=b", [("Sec-WebSocket-Protocol", "one, two")]) as ws:
        assert (ws.response.get("sec-websocket-protocol"), ws.response.get("x-one")) == ("two", "1")
        assert ws.response.get("connection").lower() == "upgrade"
        scope = json.loads(ws.frame()[1])
        assert (scope["type"], scope["scheme"], scope["path"], scope["query_string"]) == ("websocket", "ws", "/show", "b'a=b'")
        assert (scope["method"], scope["http_version"], scope["subprotocols"]) == ("None", "1.1", "['one', 'two']")
        assert scope["extensions"] == "{'websocket.http.response': {}}"
        assert ws.frame() == (CLOSE, (3001).to_bytes(2, "big") + "shown é".encode())
        ws.send(close(3001))
        assert ws.frame() is None
    assert seen(site) == ["websocket.disconnect"]


@pytest.mark.parametrize("path, status, body", [("/refuse", 403, "403 Forbidden"), ("/deny", 401, "who are you?"), ("/raises_before", 500, "500")])
def test_refusals(site, path, status, body):
    with site.connect() as client:
        client.send(upgrade(path))
        response = client.read()
        assert response.status == status and body in response.text
        assert response.get("x-why") == ("password" if path == "/deny" else None)


def test_who_closes_and_what_the_app_hears(site):
    for sent, code, reason in ((close(4000, "café"), 4000, "café"), (close(), 1005, ""), (frame(3), 1002, "")):
        with WebSocket(site.address) as ws:
            ws.send(sent)
            ws.frames()
        assert seen(site)[-1] == [code, reason]
        site.ask("GET", "/forget")
    ws = WebSocket(site.address)
    ws.close()                              # without a word
    assert seen(site)[-1] == [1006, ""]


def test_an_app_that_fails_or_ends(site):
    with WebSocket(site.address, "/raises") as ws:
        ws.send(frame(TEXT, "x"))
        assert ws.frame() == (CLOSE, (1011).to_bytes(2, "big"))
    site.wait_log("Error handling request /raises\n(?:.*\n)*?ValueError: after")
    with WebSocket(site.address, "/returns") as ws:
        assert ws.frame() == (CLOSE, (1000).to_bytes(2, "big"))


def test_wrong_messages(site):
    with WebSocket(site.address, "/wrong") as ws:
        assert json.loads(ws.frame()[1]) == ["RuntimeError", "RuntimeError", "ValueError", "ValueError", "RuntimeError", "ValueError", "ValueError", "TypeError",
                                             "TypeError", "UnicodeEncodeError", "ValueError", "ValueError", "ValueError"]
        assert ws.frame()[0] == CLOSE
    assert seen(site)[-1] == "RuntimeError"


def test_a_room(site):
    sockets = [WebSocket(site.address, "/chat") for _ in range(20)]
    for number, ws in enumerate(sockets):
        ws.send(frame(TEXT, f"from {number}"))
        for each in sockets:
            assert each.frame() == (TEXT, f"from {number}".encode())
    for ws in sockets:
        ws.close()


def test_a_hall_of_hundreds(site):
    """What each costs, and a word to all of them."""
    worker, sockets = site.wait_workers(1)[0], []
    try:
        each = hall.fill(site.address, worker, "/hall", 400, sockets)
        assert SANITIZED or each < 12000      # 9 KB, of which Python's objects are 3
        hall.tell(sockets, worker)
    finally:
        for sock in sockets:
            sock.close()


def test_a_client_that_does_not_read_stops_the_app(site):
    with WebSocket(site.address, "/flood?400", rcvbuf=4096) as ws:
        last = -1
        while (count := seen(site)[0]) != last:
            last = count
            time.sleep(0.3)
        assert count < 200
        messages = ws.frames() if count == 400 else [ws.frame() for _ in range(400)]
        assert messages == [(BINARY, bytes(65536))] * 400
        assert ws.frame()[0] == CLOSE


def test_an_app_that_does_not_receive_stops_the_client(monoceros):
    """Nobody reads what such a client sends, so that it has left is seen by our pings only."""
    site = monoceros("sockets:app", "-k", "asgi", "--websocket-ping-interval", "400ms", "--websocket-ping-timeout", "400ms",
                     "--asgi-disconnect-grace-period", "300ms", cwd=HERE)
    worker = site.wait_workers(1)[0]
    before = procfs.rss(worker)
    with WebSocket(site.address, "/deaf") as ws:
        ws.sock.settimeout(1)
        piece, sent = frame(BINARY, bytes(65000)), 0
        try:
            while sent < 100_000_000:
                sent += ws.sock.send(piece)
        except TimeoutError:
            pass
        assert sent < 60_000_000 and procfs.rss(worker) < before + ((32 if SANITIZED else 8) << 20)
    assert seen(site) == ["cancelled"]


def test_a_drain_closes_with_1012(monoceros):
    site = monoceros("sockets:app", "-k", "asgi", cwd=HERE)
    with WebSocket(site.address) as ws, WebSocket(site.address, "/deaf") as other:
        site.signal(signal.SIGTERM)
        for each in (ws, other):
            assert each.frame() == (CLOSE, (1012).to_bytes(2, "big"))
            each.send(close(1012))
            assert each.frame() is None
        assert site.process.wait(60) == 0
        site.waited = True


def test_pings(monoceros):
    site = monoceros("sockets:app", "-k", "asgi", "--websocket-ping-interval", "300ms", "--websocket-ping-timeout", "1s", cwd=HERE)
    with WebSocket(site.address) as alive, WebSocket(site.address) as silent:
        for _ in range(6):
            assert alive.frame() == (PING, b"")
            alive.send(frame(PONG))
        alive.send(frame(TEXT, "still here"))
        while (got := alive.frame()) == (PING, b""):
            alive.send(frame(PONG))
        assert got == (TEXT, b"still here")
        with pytest.raises(Exception):      # a cut: it may be a reset
            while silent.frame() is not None:
                pass
            raise EOFError
    assert [1006, ""] in seen(site)


def test_through_another_pool(monoceros):
    site = monoceros(config=f'''
pool "front" {{ worker_class = {{worker}} }}
pool "ws" {{ worker_class = asgi }}
app "sockets" {{ module = "sockets:app" chdir = "{HERE}" pool = ws }}
server "s" {{ listen = "{{address}}" pool = front
    route "ws" {{ app = sockets }} }}
''', python=True)
    with WebSocket(site.address, headers=[("Sec-WebSocket-Extensions", "permessage-deflate")]) as ws:
        for data in (b"x", b"y" * 300_000):
            ws.send(frame(BINARY, data))
            assert ws.frame() == (BINARY, data)
        ws.send(close(1000))
        assert ws.frame() == (CLOSE, b"\x03\xe8") and ws.frame() is None


def test_websockets_of_pypi(site):
    client = pytest.importorskip("websockets.asyncio.client")

    async def talk():
        for compression in ("deflate", None):
            async with client.connect(site.url.replace("http", "ws") + "/echo", compression=compression, max_size=None) as ws:
                for message in ("hello", b"bytes", "", "é" * 5000, bytes(range(256)) * 4000):
                    await ws.send(message)
                    assert await ws.recv() == message
                await ws.send(["in ", "three ", "pieces"])
                assert await ws.recv() == "in three pieces"
                await (await ws.ping())
    asyncio.run(talk())


def test_wsproto_of_pypi(site):
    wsproto = pytest.importorskip("wsproto")
    events, extensions = wsproto.events, importlib.import_module("wsproto.extensions")
    client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    with site.connect() as wire:
        wire.send(client.send(events.Request(host="localhost", target="/echo", extensions=[extensions.PerMessageDeflate()])))
        wire.send(b"")
        got = []

        def wait(kind):
            while not any(isinstance(each, kind) for each in got):
                wire.fill()
                client.receive_data(wire.buffer)
                wire.buffer = b""
                got.extend(client.events())
            return next(each for each in got if isinstance(each, kind))
        assert wait(events.AcceptConnection).extensions
        wire.send(client.send(events.TextMessage(data="hello " * 100)))
        text = ""
        while len(text) < 600:
            text = "".join(each.data for each in got if isinstance(each, events.TextMessage)) or text
            if len(text) < 600:
                wait(events.TextMessage)
                got.extend(client.events())
        assert text == "hello " * 100
        wire.send(client.send(events.CloseConnection(code=1000)))
        assert wait(events.CloseConnection).code == 1000


def test_frameworks(site, monoceros):
    pytest.importorskip("starlette")
    other = monoceros("frameworks:make_starlette()", "-k", "asgi", cwd=HERE)
    with WebSocket(other.address, "/ws") as ws:
        ws.send(frame(TEXT, '{"a": 1}'))
        assert ws.frame() == (TEXT, b'{"got":{"a":1}}')
        ws.send(close(1001))
        assert ws.closed() == 1001
    assert not re.search("Traceback", other.log())
