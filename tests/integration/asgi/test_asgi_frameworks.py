"""Starlette, FastAPI, Quart, Litestar, BlackSheep, Sanic and Django channels as they come from PyPI, on asyncio's loop and on uvloop."""

import importlib.util
import json

import pytest

from lib import socketio
from lib.limits import until
from lib.server import APPS
from lib.websocket import TEXT, WebSocket, close, frame

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
FRAMEWORKS = ["starlette", "fastapi", "quart", "litestar", "blacksheep", "sanic", "channels"]
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(scope="module", params=[(name, loop) for name in FRAMEWORKS for loop in LOOPS], ids="-".join)
def site(shared_monoceros, request):
    name, loop = request.param
    for needed in (name, loop):
        if not importlib.util.find_spec(needed):
            pytest.skip(f"{needed} is not installed")
    lifespan = "auto" if name == "channels" else "on"       # Django's application knows of none
    site = shared_monoceros(f"frameworks:make_{name}()", "-k", "asgi", "--asgi-loop", loop, "--asgi-lifespan", lifespan, cwd=HERE, expect_errors=True)
    site.framework = name
    return site


def events(site):
    return json.loads(site.ask("GET", "/events").text)


def test_hello_and_work_behind_it(site):
    response = site.ask("GET", "/hello")
    assert (response.status, response.text) == (200, "hello")
    assert site.framework != "starlette" or response.get("x-stamp") == "yes"
    wanted = {"background", "given back"} if site.framework == "fastapi" else {"background"}
    found = until(lambda: wanted <= set(all := events(site)) and all, "the work in the background")
    assert found[0] == "up" or site.framework == "channels"


@pytest.mark.parametrize("size", [10, 300_000])
def test_upload(site, size):
    if site.framework == "starlette" and importlib.util.find_spec("python_multipart"):
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + b"y" * size + b"\r\n--x--\r\n"
        response = site.ask("POST", "/upload", headers=[("Content-Type", "multipart/form-data; boundary=x")], body=body)
    elif site.framework == "starlette":
        pytest.skip("python-multipart is not installed")
    else:
        response = site.ask("POST", "/upload", headers=[("Content-Type", "application/octet-stream")], body=b"y" * size)
    assert json.loads(response.text) == {"name": "a.bin", "size": size}


@pytest.mark.parametrize("loop", LOOPS)
def test_python_socketio(monoceros, loop):
    for needed in ("socketio", loop):
        if not importlib.util.find_spec(needed):
            pytest.skip(f"{needed} is not installed")
    site = monoceros("frameworks:make_socketio()", "-k", "asgi", "--asgi-loop", loop, cwd=HERE)
    socketio.talk(site)
    socketio.upgrade(site)


def test_stream(site):
    response = site.ask("GET", "/stream")
    assert response.text == "0\n1\n2\n3\n4\n" and response.framing == "chunked"


def test_file(site):
    assert site.ask("GET", "/file").body == (HERE / "frameworks.py").read_bytes()
    assert site.ask("HEAD", "/file").status == {"quart": 200, "starlette": 200, "channels": 200, "sanic": 405, "blacksheep": 404}.get(site.framework, 405)


def test_websocket(site):
    with WebSocket(site.address, "/ws", [("Sec-WebSocket-Extensions", "permessage-deflate")]) as ws:
        for number in range(3):
            ws.send(frame(TEXT, f'{{"number": {number}}}'))
            op, data = ws.frame()
            assert op == TEXT and json.loads(data) == {"got": {"number": number}}
        ws.send(close(1001))
        assert ws.closed() == 1001


@pytest.mark.parametrize("site", [("channels", loop) for loop in LOOPS], indirect=True, ids="-".join)
def test_consumers_of_channels(site):
    with WebSocket(site.address, "/thread") as ws:
        ws.send(frame(TEXT, '"from a thread"'))
        assert json.loads(ws.frame()[1]) == {"got": "from a thread"}
    with WebSocket(site.address, "/room") as one, WebSocket(site.address, "/room") as two:
        for ws in (one, two):
            ws.send(frame(TEXT, '"to all"'))
            assert [each.frame() for each in (one, two)] == [(TEXT, b'"to all"')] * 2
        two.send(close(4000))
        assert two.closed() == 4000
        until(lambda: "left with 4000" in events(site), "the consumer to hear of it")
        one.send(frame(TEXT, '"alone"'))
        assert one.frame() == (TEXT, b'"alone"')


def test_errors(site):
    assert site.ask("GET", "/fail").status == 500
    assert site.ask("GET", "/no/such/path").status == 404
