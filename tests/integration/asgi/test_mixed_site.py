"""One site of a Django WSGI app, a FastAPI app under /api/ and a WebSocket app, in three pools: the example file, and what they do to each other."""

import importlib.util
import json
import re
import signal
from urllib.parse import urlencode

import pytest

from lib.fixtures import WORKERS
from lib.limits import until
from lib.server import APPS, ROOT, free_port
from lib.websocket import CLOSE, TEXT, WebSocket, close, frame
from lib.wire import request

pytestmark = [pytest.mark.python, pytest.mark.workers(WORKERS[0]),
              pytest.mark.skipif(not {"epoll", "gthread"} <= set(WORKERS), reason="needs the worker types epoll and gthread"),
              *(pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"{name} is not installed") for name in ("django", "fastapi"))]

EXAMPLES = ROOT / "conf" / "examples"


@pytest.fixture
def example(monoceros):
    address = ("127.0.0.1", free_port())
    site = monoceros("-c", EXAMPLES / "mixed.conf", address=address, python=True, cwd=EXAMPLES / "mixed", env={"LISTEN": f"127.0.0.1:{address[1]}"})
    site.wait_workers(5)
    return site


def say(ws, text):
    ws.send(frame(TEXT, text))


def test_the_example(example):
    page = example.ask("GET", "/")
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.text)[1]
    cookie = page.get("set-cookie").split(";")[0]
    form = [("Content-Type", "application/x-www-form-urlencoded"), ("Cookie", cookie)]
    order = example.ask("POST", "/order", headers=form, body=urlencode({"csrfmiddlewaretoken": token, "what": "tea"}).encode())
    assert json.loads(order.text)["ordered"] == "tea" and json.loads(order.text)["client"] == "127.0.0.1"
    assert example.ask("POST", "/order", headers=form[:1], body=b"what=tea").status == 403
    item = json.loads(example.ask("GET", "/api/items/7?x=1", host="shop.example").text)
    assert item == {"number": 7, "name": "seven", "client": "127.0.0.1", "url": "http://shop.example/api/items/7?x=1"}
    assert json.loads(example.ask("GET", "/api/openapi.json").text)["servers"] == [{"url": "/api"}]
    assert example.ask("GET", "/api/docs").status == 200 and example.ask("GET", "/api/none").status == 404
    assert json.loads(example.ask("POST", "/api/items", body=b"x" * 500_000).text) == {"bytes": 500_000}
    assert example.ask("POST", "/api/items", body=b"x" * 1_100_000).status == 413
    ticks = example.ask("GET", "/api/ticks")
    assert ticks.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n" and len(ticks.chunks) == 3
    with WebSocket(example.address, "/live") as one, WebSocket(example.address, "/live") as two:
        say(one, "hello")
        assert [ws.frame() for ws in (one, two)] == [(TEXT, b"127.0.0.1: hello")] * 2
        two.send(close(1000))
        assert two.closed() == 1000
        say(one, "alone")
        assert one.frame() == (TEXT, b"127.0.0.1: alone")
    assert example.ask("GET", "/live").status == 426


def test_a_reload_exchanges_all_of_it(example):
    with WebSocket(example.address, "/live") as old:
        example.signal(signal.SIGHUP)
        assert old.frame() == (CLOSE, (1012).to_bytes(2, "big"))        # browsers come again
        old.send(close(1012))
        assert old.frame() is None
    with WebSocket(example.address, "/live") as new:
        say(new, "back")
        assert new.frame() == (TEXT, b"127.0.0.1: back")
    assert example.ask("GET", "/").status == example.ask("GET", "/api/items/7").status == 200
    example.wait_workers(5)


CONFIG = """
pool "web"  { worker_class = gthread  workers = 1  threads = 4 }
pool "api"  { worker_class = asgi  workers = 1 }
pool "live" { worker_class = asgi  workers = 1  asgi_loop = asyncio }
app "site" { type = wsgi  module = "djangosite.wsgi"  chdir = "TESTS"  pool = web }
app "api"  { module = "api:app"   chdir = "EXAMPLE"  pool = api }
app "live" { module = "live:app"  chdir = "EXAMPLE"  pool = live }
server "all" {
    listen = "{address}"  pool = web
    route "api"  { match { prefix = "/api/" }  app = api }
    route "live" { match { prefix = "/live" }  app = live }
    route "rest" { app = site }
}
"""


def test_threads_that_are_busy_hold_up_nobody_else(monoceros, tmp_path):
    """All threads of Django are taken, and more requests wait for one: API and WebSockets go on, over the same listener and worker."""
    gate = tmp_path / "gate"
    config = CONFIG.replace("TESTS", str(APPS)).replace("EXAMPLE", str(EXAMPLES / "mixed"))
    site = monoceros(config=config, python=True, env={"DJANGO_SETTINGS_MODULE": "djangosite.settings", "GATE": str(gate)})
    site.wait_workers(3)
    with WebSocket(site.address, "/live") as ws:
        waiting = [site.connect() for _ in range(8)]
        for client in waiting:
            client.send(request("GET", "/gate"))
        for _ in range(20):
            assert site.ask("GET", "/api/items/7").status == 200
            say(ws, "still here")
            assert ws.frame() == (TEXT, b"127.0.0.1: still here")
        gate.touch()
        assert [client.read().text for client in waiting] == ["open"] * 8
        for client in waiting:
            client.close()
        until(lambda: site.ask("GET", "/").status == 200, "a thread for the next one")
