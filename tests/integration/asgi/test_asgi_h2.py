"""ASGI apps over HTTP/2: what the scope says, bodies both ways at the pace of windows, interim heads and trailers, ends of streams."""

import importlib.util
import json
import os

import pytest

from lib import frames
from lib import server as under_test
from lib.limits import until
from lib.server import APPS
from lib.wire import request as http1

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll"), pytest.mark.skipif("http2" not in under_test.modules(), reason="built without http2")]

HERE = APPS / "asgi"
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="there is no uvloop"))]


@pytest.fixture(scope="module", params=LOOPS)
def site(shared_monoceros, request):
    return shared_monoceros("plain:app", "-k", "asgi", "--http2-cleartext", "prior-knowledge", "--asgi-loop", request.param, "--keep-alive", "30",
                            "--asgi-disconnect-grace-period", "300ms", cwd=HERE)


@pytest.fixture
def client(site):
    with frames.Client(site.address) as one:
        yield one


def notes(site):
    return json.loads(site.ask("GET", "/notes").text)


def noted(site, word):
    return until(lambda: (found := notes(site)) and word in found and found, f"{word} among the notes")


def test_scope(site, client):
    scope = json.loads(client.get("/a%20b/show?x=1", "GET", ("x-one", "1"), ("cookie", "a=b"), ("cookie", "c=d"), ("te", "trailers")).body)["scope"]
    assert (scope["type"], scope["http_version"], scope["scheme"], scope["method"]) == ("http", "2", "http", "GET")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b/show", "/a%20b/show", "x=1")
    assert ["host", "localhost"] in scope["headers"] and ["x-one", "1"] in scope["headers"] and ["cookie", "a=b; c=d"] in scope["headers"]
    assert not [name for name, _ in scope["headers"] if name.startswith(":")]
    assert "http.response.trailers" in scope["extensions"]
    assert scope["client"][0] == "127.0.0.1" and scope["server"] == ["127.0.0.1", site.address[1]]


def test_bodies(client):
    for body in (b"", b"x", b"y" * 16384, os.urandom(60_000)):
        assert client.get("/echo", "POST", body=body).body == body
    assert client.get("/echo", "POST", ("content-length", "5"), body=b"hello").body == b"hello"


def test_responses(client):
    assert client.get("/hello").get("content-length") == "13"
    assert client.get("/drip").body == b"0\n1\n2\nend\n"
    assert client.get("/hello", "HEAD").body == b""
    assert client.get("/file").body == (HERE / "plain.py").read_bytes()
    hints = client.get("/hints")
    assert [dict(each)[":status"] for each in hints.interim] == ["103"] and hints.body == b"hinted\n"
    trail = client.get("/trail", "GET", ("te", "trailers"))
    assert trail.body == b"body\n" and trail.trailers == [("x-sum", "5"), ("x-more", "yes")]


def test_a_dialogue(client):
    """A body is read while the response is sent."""
    stream = client.ask("/mirror", "POST", body=b"first", end=False)
    assert dict(client.until(lambda f: f.kind == frames.HEADERS).headers)[":status"] == "200"
    assert client.until(lambda f: f.kind == frames.DATA).payload == b"first"
    client.send(frames.frame(frames.DATA, 0, stream, b"second"))
    assert client.until(lambda f: f.kind == frames.DATA).payload == b"second"
    client.send(frames.frame(frames.DATA, frames.END_STREAM, stream, b""))
    assert client.until(lambda f: f.stream == stream and f.end)


def test_streams_run_beside_each_other(client):
    asked = [client.ask("/sleep?0.5") for _ in range(50)]
    assert {answer.body for answer in client.answers(*asked).values()} == {b"slept\n"}


def test_shut_windows_stop_the_app(site, client):
    stream = client.ask("/stream?20")
    count = until(lambda: (first := notes(site)) == notes(site) and first and first[0], "the app to stop")
    assert count < 15
    assert site.ask("GET", "/hello").status == 200
    assert len(client.answer(stream).body) == 20 * 65536


def test_an_app_that_does_not_read_stops_the_client(site, client):
    stream = client.ask("/disconnect", "POST", end=False)
    room = 65535
    for at in range(0, room, 16384):
        client.send(frames.frame(frames.DATA, 0, stream, b"x" * min(16384, room - at)))
    client.alive()
    assert sum(int.from_bytes(f.payload, "big") for f in client.seen if f.kind == frames.WINDOW_UPDATE and f.stream == stream) < 65536
    client.send(frames.rst(stream))
    assert noted(site, "cancelled")[0] == "begun"


def test_a_stream_that_is_reset(site, client):
    stream = client.ask("/disconnect")
    noted(site, "begun")
    client.send(frames.rst(stream))
    assert noted(site, "cancelled") == ["begun", "http.disconnect", "ConnectionResetError", "cancelled"]
    assert client.get("/hello").status == 200


def test_an_app_that_is_cut(client):
    """The answer has begun and is not whole: a reset, and the connection goes on."""
    stream = client.ask("/short")
    assert client.until(lambda f: f.stream == stream and f.kind == frames.RST_STREAM).code != frames.NO_ERROR
    assert client.get("/hello").status == 200


def test_a_body_that_stalls(monoceros):
    site = monoceros("plain:app", "-k", "asgi", "--http2-cleartext", "prior-knowledge", "--body-timeout", "1", "--keep-alive", "30",
                     "--asgi-disconnect-grace-period", "300ms", cwd=HERE)
    with frames.Client(site.address) as client:
        stream = client.ask("/read_on", "POST", body=b"first", end=False)
        assert client.answer(stream).status == 408
        assert client.get("/hello").status == 200
    assert noted(site, "http.disconnect")[-2:] == ["http.request", "http.disconnect"]
    assert "takes nothing" not in site.log()
    with site.connect() as other:
        other.send(http1("GET", "/hello"))
        assert other.read().status == 200
