"""Tornado's and aiohttp's apps as they come: their server runs inside the worker, behind the engine, on Python's own event loop and on uvloop."""

import importlib.util
import json
import os
import re
import signal
import socket

import pytest

from lib import frames, procfs
from lib import server as under_test
from lib.limits import until
from lib.server import APPS
from lib.websocket import BINARY, CLOSE, TEXT, WebSocket, close, frame
from lib.websocket_h2 import Stream
from lib.wire import Closed, request

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "hosts"
KINDS = ["tornado", "aiohttp"]
LOOPS = ["asyncio", "uvloop"]


def needs(*names):
    for name in names:
        if not importlib.util.find_spec(name):
            pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module", params=[(kind, loop) for kind in KINDS for loop in LOOPS], ids="-".join)
def site(shared_monoceros, request):
    kind, loop = request.param
    needs(kind, loop)
    more = ["--http2-cleartext", "prior-knowledge"] if "http2" in under_test.modules() else []
    site = shared_monoceros(f"{kind}_app:app", "-k", kind, "--asgi-loop", loop, "--keep-alive", "5", *more, cwd=HERE, expect_errors=True)
    site.kind, site.loop = kind, loop
    return site


@pytest.fixture(params=KINDS)
def own(monoceros, request):
    """A server for one test alone."""
    needs(request.param)

    def start(app="app", *args, **kwargs):
        return monoceros(f"{request.param}_app:{app}", "-k", request.param, *args, cwd=HERE, **kwargs)
    start.kind = request.param
    return start


def show(site, *args, **kwargs):
    return json.loads(site.ask(*args, **kwargs).text)


def noted(site, word):
    return until(lambda: word in show(site, "GET", "/notes"), f"{word} among the notes")


# --- requests

def test_what_the_app_sees(site):
    seen = show(site, "GET", "/a%20b/%2F/show?x=%20&y", headers=[("X-Twice", "one"), ("x-TWICE", "two")], host="example.org:81")
    assert (seen["remote"], seen["scheme"], seen["host"], seen["method"]) == ("127.0.0.1", "http", "example.org:81", "GET")
    assert seen["query"] == "x=%20&y"
    assert seen["path"] in ("/a%20b/%2F/show", "/a b///show")        # Tornado's is raw
    twice = [value for name, value in seen["headers"] if name.lower() == "x-twice"]
    assert twice in (["one", "two"], ["one,two"])
    assert ("uvloop" in seen["loop"]) == (site.loop == "uvloop")
    assert show(site, "PUT", "/show", version="HTTP/1.0")["method"] == "PUT"
    assert show(site, "GET", "http://other.example/show")["host"] == "other.example"


def test_bytes_in_a_field(site):
    """Those that are not UTF-8, and what aiohttp keeps raw."""
    with site.connect() as client:
        client.send(b"GET /show HTTP/1.1\r\nHost: a\r\nX-Name: caf\xe9 \xc3\xa9\r\n\r\n")
        assert dict(json.loads(client.read().text)["headers"])["X-Name"] in ("caf\xe9 \xc3\xa9", "caf\udce9 \xe9")


def test_a_client_cannot_say_who_it_is(site):
    names = ["Monoceros-Client", "MONOCEROS-CLIENT", "Monoceros_Client", "X-Real-Ip", "X-Forwarded-For", "X-Scheme"]
    for more in ([], [("Connection", "monoceros-client, host")]):
        seen = show(site, "GET", "/show", headers=[(name, "6.6.6.6 https") for name in names] + more)
        assert (seen["remote"], seen["scheme"], seen["host"]) == ("127.0.0.1", "http", "localhost")
        told = [name.lower() for name, _ in seen["headers"] + seen.get("raw", [])]
        assert "x-forwarded-for" in told and not [name for name in told if "monoceros" in name]


def test_what_a_trusted_proxy_says(own):
    site = own("app", "--forwarded-allow-ips", "127.0.0.1", "--forwarder-headers", "REMOTE_USER")
    for _ in range(3):
        for scheme in ("http", "https"):
            seen = show(site, "GET", "/show", headers=[("X-Forwarded-Proto", scheme), ("Remote_User", "me"), ("Other_Name", "x")])
            assert seen["scheme"] == scheme
    told = [name.lower() for name, _ in seen["headers"]]
    assert "remote_user" in told and "other_name" not in told


def test_a_client_without_an_address(own):
    seen = show(own("app", bind="unix"), "GET", "/show")
    assert seen["remote"] == ("0.0.0.0" if own.kind == "tornado" else "")     # as each says of unix sockets


@pytest.mark.parametrize("size", [0, 10, 700_000])
def test_upload(site, size):
    body = os.urandom(size)
    for chunked in (False, True):
        if chunked:
            head = request("POST", "/upload", headers=[("Transfer-Encoding", "chunked")])
            with site.connect() as client:
                client.send(head + (b"%x\r\n%s\r\n" % (size, body) if size else b"") + b"0\r\n\r\n")
                answer = json.loads(client.read().text)
        else:
            answer = show(site, "POST", "/upload", body=body)
        assert answer == {"size": size, "sum": sum(body) % 65536}


def test_a_body_comes_while_the_app_reads_it(site):
    answer = show(site, "POST", "/streamed", body=b"x" * 3_000_000)
    assert answer["size"] == 3_000_000 and answer["pieces"] > 10


def test_expect(site):
    with site.connect() as client:
        client.send(request("POST", "/upload", headers=[("Expect", "100-continue"), ("Content-Length", "5")]))
        assert client.read_head().status == 100
        client.send(b"hello")
        assert json.loads(client.read().text)["size"] == 5


def test_stream(site):
    response = site.ask("GET", "/stream")
    assert response.text == "0\n1\n2\n3\n4\n" and response.framing == "chunked"
    assert site.ask("GET", "/stream", version="HTTP/1.0").text == "0\n1\n2\n3\n4\n"


def test_a_slow_client_slows_the_app_down(site):
    before = show(site, "GET", "/notes").count("big")
    with site.connect(rcvbuf=4096) as client:
        client.send(request("GET", "/big?n=1000"))
        client.read_head()
        noted(site, "big")
        count = until(lambda: (one := show(site, "GET", "/notes").count("big")) == show(site, "GET", "/notes").count("big") and one, "the app to wait")
        assert count - before < 500


def test_errors(site):
    assert site.ask("GET", "/fail").status == 500
    assert site.ask("GET", "/no/such/path").status == 404
    assert site.ask("HEAD", "/notes").body == b""


def test_a_client_that_leaves(site):
    with site.connect() as client:
        client.send(request("GET", "/slow"))
        noted(site, "begun")
    noted(site, "left")


def test_many_at_once(site):
    clients = [site.connect() for _ in range(100)]
    for client in clients:
        client.send(request("GET", "/slow?s=0.05"))
    assert {client.read().text for client in clients} == {"slept"}
    for client in clients:
        client.close()


# --- WebSockets

def test_websocket(site):
    with WebSocket(site.address, "/ws") as ws:
        for text in ("one", "two" * 50_000):
            ws.send(frame(TEXT, text))
            assert ws.frame() == (TEXT, text.encode())
        ws.send(frame(BINARY, b"\0\1"))
        assert ws.frame() == (BINARY, b"\0\1")
        ws.send(close(4001))
        assert ws.closed() == (4001 if site.kind == "tornado" else 1000)
    noted(site, "closed 4001")


def test_a_websocket_that_breaks(site):
    ws = WebSocket(site.address, "/ws")
    ws.close()
    until(lambda: {"closed None", "closed 1006"} & set(show(site, "GET", "/notes")), "the app to see it")


# --- HTTP/2, which the frameworks do not speak themselves

@pytest.mark.skipif("http2" not in under_test.modules(), reason="built without http2")
def test_http2(site):
    with frames.Client(site.address) as client:
        seen = json.loads(client.get("/show?x=1").body)
        assert (seen["remote"], seen["scheme"], seen["query"]) == ("127.0.0.1", "http", "x=1")
        assert client.get("/stream").body == b"0\n1\n2\n3\n4\n"
    with Stream(site.address, "/ws") as ws:
        ws.send(frame(TEXT, "over a stream"))
        assert ws.frame() == (TEXT, b"over a stream")


# --- the private socket

def private_addresses(pid):
    """Abstract sockets that a process listens on."""
    mine = {link[8:-1] for link in procfs.fds(pid).values() if link.startswith("socket:[")}
    with open("/proc/net/unix") as file:
        rows = [line.split() for line in file]
    return [row[7] for row in rows if len(row) > 7 and row[7].startswith("@") and row[3] == "00010000" and row[6] in mine]


def test_nobody_else_may_use_the_private_socket(own):
    site = own()
    worker, = site.wait_workers(1)
    address, = until(lambda: private_addresses(worker), "the private socket")
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(20)
        other.connect("\0" + address[1:])
        try:
            other.sendall(b"GET /show HTTP/1.1\r\nHost: a\r\nMonoceros-Client: 6.6.6.6 https\r\n\r\n")
            assert other.recv(100) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass
    site.wait_log("another process has connected to its private socket")
    assert site.ask("GET", "/show").status == 200


# --- the arbiter's contract

def ends(site, code=0):
    site.process.wait(60)
    site.waited = True
    assert site.process.returncode == code


def test_requests_are_finished_first(own):
    site = own()
    with site.connect() as client:
        client.send(request("GET", "/slow?s=0.05"))
        noted(site, "begun")
        site.signal(signal.SIGTERM)
        assert client.read().text == "slept"
    ends(site)


@pytest.mark.parametrize("path", ["/ws", "/forgotten"])
def test_a_websocket_does_not_hold_up_the_end(own, path):
    """aiohttp's app closes some itself, in its on_shutdown; those that it has forgotten are closed behind that."""
    site = own("app", "--graceful-timeout", "600")
    sockets = [WebSocket(site.address, path) for _ in range(3)]
    for ws in sockets:
        ws.send(frame(TEXT, "a"))
        assert ws.frame() == (TEXT, b"a")
    site.signal(signal.SIGTERM)
    for ws in sockets:
        op, data = ws.frame()
        assert (op, int.from_bytes(data[:2], "big")) == (CLOSE, 1001 if (own.kind, path) == ("aiohttp", "/ws") else 1012)
        ws.send(close(1000))
        ws.close()
    ends(site)


def test_a_blocked_loop_is_killed(own):
    site = own("app", "--timeout", "2", "--preload", expect_errors=True)       # their import takes its time, too
    with site.connect() as client:
        client.send(request("GET", "/block?s=60"))
        with pytest.raises(Closed):
            client.read()
    site.wait_log("WORKER TIMEOUT")
    assert site.ask("GET", "/show").status == 200


@pytest.mark.parametrize("arguments", [(), ("--preload",)], ids=["", "preload"])
def test_reload(own, arguments):
    site = own("app", *arguments)
    first = show(site, "GET", "/show")["pid"]
    site.signal(signal.SIGHUP)
    until(lambda: show(site, "GET", "/show")["pid"] != first, "another worker")


def test_max_requests(own):
    site = own("app", "--max-requests", "5", "--keep-alive", "2")
    pids = set()
    for _ in range(40):
        pids.add(show(site, "GET", "/show")["pid"])
    until(lambda: pids.add(show(site, "GET", "/show")["pid"]) or len(pids) > 1, "another worker")


def test_request_timeout(own):
    site = own("app", "--request-timeout", "1", expect_errors=True)
    assert site.ask("GET", "/slow").status == 504


def test_access_log(own, tmp_path):
    site = own("app", "--access-logfile", str(tmp_path / "access"))
    assert site.ask("GET", "/show?x=1").status == 200
    line = until(lambda: (tmp_path / "access").exists() and (tmp_path / "access").read_text(), "the access log")
    assert re.match(r'127\.0\.0\.1 - - \[.*\] "GET /show\?x=1 HTTP/1\.1" 200 ', line)


# --- apps

def test_an_app_that_must_be_awaited(own):
    assert own("make_later()").ask("GET", "/show").status == 200


@pytest.mark.parametrize("name", ["make", "make_later", "make_runner"])
def test_functions_that_make_the_app(monoceros, name):
    needs("aiohttp")
    assert monoceros(f"aiohttp_app:{name}", "-k", "aiohttp.GunicornWebWorker", cwd=HERE).ask("GET", "/show").status == 200


@pytest.mark.parametrize("name", ["gunicorn.workers.gtornado.TornadoWorker", "egg:gunicorn#tornado"])
def test_names_of_gunicorn(monoceros, name):
    needs("tornado")
    assert monoceros("tornado_app:app", "-k", name, cwd=HERE).ask("GET", "/show").status == 200


def test_wsgi_is_told_where_it_belongs(own):
    site = own("wsgi", ready=False, expect_errors=True)
    ends(site, 4)
    assert "if it is WSGI, it needs worker_class sync or gthread" in site.log()


def test_a_startup_that_failed_is_never_served(monoceros):
    needs("aiohttp")
    site = monoceros("aiohttp_app:make_broken", "-k", "aiohttp", cwd=HERE, ready=False, expect_errors=True)
    ends(site, 3)
    assert "its startup failed" in site.log() and "no database" in site.log()


def test_cleanup(monoceros, tmp_path):
    needs("aiohttp")
    site = monoceros("aiohttp_app:app", "-k", "aiohttp", cwd=HERE, env={"CLEANED": str(tmp_path / "cleaned")})
    assert site.ask("GET", "/show").status == 200
    site.signal(signal.SIGTERM)
    ends(site)
    assert (tmp_path / "cleaned").read_text() == "cleaned\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_shutdown_that_hangs_takes_nothing_from_the_cleanup(monoceros, tmp_path, number):
    needs("aiohttp")
    env = {"CLEANED": str(tmp_path / "cleaned"), "HANGS": "yes"}
    site = monoceros("aiohttp_app:app", "-k", "aiohttp", "--graceful-timeout", "3", cwd=HERE, env=env, expect_errors=True)
    assert site.ask("GET", "/show").status == 200
    site.signal(number)
    ends(site)
    assert (tmp_path / "cleaned").read_text() == "cleaned\n" and "SIGKILL" not in site.log()


def test_beside_asgi_and_behind_another_pool(monoceros):
    """A front of threads, and behind it one worker with both and an ASGI app."""
    needs("tornado", "aiohttp")
    config = """
pool "web" { worker_class = gthread  threads = 2 }
pool "loop" { worker_class = epoll }
app "t" { type = tornado  module = "tornado_app:app"  chdir = "HERE"  pool = loop }
app "a" { type = aiohttp  module = "aiohttp_app:app"  chdir = "HERE"  pool = loop }
app "s" { type = asgi  module = "plain:app"  chdir = "ASGI"  pool = loop }
server "all" { listen = "{address}"
    route "t" { match { prefix = "/t" }  app = t }
    route "a" { match { prefix = "/a" }  app = a }
    route "s" { app = s }
}
"""
    site = monoceros(config=config.replace("HERE", str(HERE)).replace("ASGI", str(APPS / "asgi")), python=True)
    for path in ("/t/show", "/a/show"):
        seen = show(site, "GET", path)
        assert (seen["remote"], seen["scheme"], seen["path"]) == ("127.0.0.1", "http", path)
    assert site.ask("GET", "/hello").status == 200
