"""uwsgi towards upstreams: what a server is told, what becomes of its replies; and uWSGI, where it is installed."""

import json
import os
import shutil
import struct
import subprocess

import pytest

from lib.limits import until
from lib.upstream import Upstream
from lib.wire import Closed

UWSGI = shutil.which("uwsgi-core") or shutil.which("uwsgi")


def site(to, more="", routes=""):
    return f"""
worker_class = {{worker}}
workers = 1
keepalive = 30
server "s" {{
    listen = "{{address}}"
    {routes}
    route "app" {{ uwsgi {{ to = "{to}"  {more} }} }}
}}
"""


def read(peer):
    """A request: (modifiers, variables, body)."""
    first, size, second = struct.unpack("<BHB", peer.exactly(4))
    data, found = peer.exactly(size), {}
    while data:
        words = []
        for _ in range(2):
            length = struct.unpack("<H", data[:2])[0]
            words.append(data[2:2 + length].decode("latin-1"))
            data = data[2 + length:]
        assert words[0] not in found
        found[words[0]] = words[1]
    return (first, second), found, peer.exactly(int(found["CONTENT_LENGTH"] or 0))


def answering(answer):
    def script(peer):
        peer.send(answer(*read(peer)))

    return script


def told(modifiers, found, body):
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps([modifiers, found, len(body)]).encode()


def test_variables(monoceros):
    with Upstream(answering(told)) as up:
        routes = f'route "sub" {{ match {{ prefix = "/sub" }} uwsgi {{ to = "{up.text}" mount = "/sub" modifier1 = 5 modifier2 = 9 }} }}'
        server = monoceros(config=site(up.text, "params = {'UWSGI_SCHEME $scheme'}", routes))
        with server.connect() as client:
            modifiers, got, size = json.loads(client.ask("POST", "/a%20b?x=%20", headers=[("X-A", "1"), ("Proxy", "x")], body=b"hello", host="h.example").body)
            assert modifiers == [0, 0] and size == 5
            assert got["PATH_INFO"] == "/a b" and got["SCRIPT_NAME"] == "" and got["QUERY_STRING"] == "x=%20" and got["REQUEST_URI"] == "/a%20b?x=%20"
            assert got["UWSGI_SCHEME"] == "http" and got["HTTP_X_A"] == "1" and "HTTP_PROXY" not in got and got["HTTP_HOST"] == "h.example"
            modifiers, got, _ = json.loads(client.ask("GET", "/sub/x/y").body)
            assert modifiers == [5, 9] and got["SCRIPT_NAME"] == "/sub" and got["PATH_INFO"] == "/x/y"
            _, got, _ = json.loads(client.ask("GET", "/sub").body)
            assert got["SCRIPT_NAME"] == "/sub" and got["PATH_INFO"] == ""


def test_replies(monoceros):
    replies = {
        "/length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "/close": b"HTTP/1.0 404 Not Found\r\nX-A: b\r\n\r\nnothing",
        "/cgi": b"Status: 302 Found\r\nLocation: /x\r\n\r\n",
    }
    with Upstream(answering(lambda modifiers, found, body: replies[found["PATH_INFO"]])) as up:
        server = monoceros(config=site(up.text))
        with server.connect() as client:
            assert client.ask("GET", "/length").body == b"ok"
            answer = client.ask("GET", "/close")
            assert (answer.status, answer.get("X-A"), answer.body) == (404, "b", b"nothing")
            assert client.ask("GET", "/cgi").status == 302
            answer = client.ask("HEAD", "/length")
            assert (answer.get("Content-Length"), answer.body) == ("2", b"")


@pytest.mark.parametrize("bad", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nA\rB: c\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"\x00" * 100])
def test_bad_replies_are_502(monoceros, bad):
    with Upstream(answering(lambda modifiers, found, body: bad)) as up:
        server = monoceros(config=site(up.text, "retries = 0"))
        with server.connect() as client:
            assert client.ask("GET", "/").status == 502


def test_a_short_reply_is_cut(monoceros):
    with Upstream(answering(lambda modifiers, found, body: b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok")) as up:
        server = monoceros(config=site(up.text, "retries = 0"))
        with server.connect() as client, pytest.raises(Closed):
            client.ask("GET", "/")


def test_too_many_variables(monoceros):
    with Upstream(answering(told)) as up:
        server = monoceros(config=site(up.text, "params = {'A $http_x_a', 'B $http_x_a', 'C $http_x_a', 'D $http_x_a', 'E $http_x_a', 'F $http_x_a', 'G $http_x_a', "
                                                "'H $http_x_a', 'I $http_x_a'}"))
        with server.connect() as client:
            assert client.ask("GET", "/", headers=[("X-A", "a" * 7900)]).status == 500
        assert up.connections <= 3      # nothing was sent


@pytest.fixture
def uwsgi(tmp_path):
    if not UWSGI:
        pytest.skip("uWSGI is not installed (Debian: uwsgi-core, uwsgi-plugin-python3)")
    path = tmp_path / "uwsgi.sock"
    (tmp_path / "wsgiapp.py").write_text(
        "def application(environ, start_response):\n"
        "    body = environ['wsgi.input'].read()\n"
        "    start_response('201 Made', [('X-Path', environ['PATH_INFO']), ('X-Script', environ['SCRIPT_NAME']), ('X-Query', environ['QUERY_STRING'])])\n"
        "    return [environ['REQUEST_METHOD'].encode(), b' ', body]\n")
    plugins = [] if UWSGI.endswith("/uwsgi") and not os.path.exists("/usr/lib/uwsgi/plugins") else ["--plugin", "python3"]
    log = (tmp_path / "uwsgi.log").open("wb")
    process = subprocess.Popen([UWSGI, *plugins, "--master", "--die-on-term", "--socket", path, "--wsgi-file", tmp_path / "wsgiapp.py", "--processes", "1"],
                               cwd=tmp_path, stdout=log, stderr=log)
    try:
        until(lambda: path.exists() or process.poll() is not None, "uWSGI")
        if process.poll() is not None:
            pytest.skip("uWSGI does not start: " + (tmp_path / "uwsgi.log").read_text()[-300:])
        yield f"unix:{path}"
    finally:
        process.terminate()
        process.wait()


def test_uwsgi_server(monoceros, uwsgi):
    server = monoceros(config=site(uwsgi))
    with server.connect() as client:
        for size in (0, 10, 300_000):
            answer = client.ask("POST", "/some/p%C3%A4th?q=1", body=b"z" * size)
            assert (answer.status, answer.reason, answer.get("X-Query")) == (201, "Made", "q=1")
            assert answer.body == b"POST " + b"z" * size
        assert client.ask("GET", "/x").get("X-Path") == "/x"
