"""Listeners that speak uwsgi: packets of a scripted front, our own uwsgi action, and nginx's uwsgi_pass where it is installed."""

import os
import shutil
import socket
import struct
import subprocess

import pytest

from lib.limits import patience, until
from lib.server import free_port
from lib.upstream import Upstream, serving
from lib.wire import Connection

NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if os.path.exists("/usr/sbin/nginx") else None)

SITE = """
worker_class = {worker}
workers = 1
server "s" {
    listen = {"{address}"}
    protocol = uwsgi
    OPTIONS
    route "echo" { respond { body = 'TEXT' } }
}
"""


def site(text="$request_method $request_uri $remote_addr $scheme", options=""):
    return SITE.replace("OPTIONS", options).replace("TEXT", text)


def packet(variables, modifier1=0, body=b""):
    data = b""
    for name, value in variables.items() if isinstance(variables, dict) else variables:
        for word in (name, value):
            word = word if isinstance(word, bytes) else word.encode("latin-1")
            data += struct.pack("<H", len(word)) + word
    return struct.pack("<BHB", modifier1, len(data), 0) + data + body


def ask(address, data, pieces=0):
    """All that comes back, up to the end of the connection."""
    with socket.create_connection(address, patience(20)) as s:
        if pieces:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(0, len(data), pieces):
                s.sendall(data[i:i + pieces])
        else:
            s.sendall(data)
        got = b""
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    return got
                got += more
        except ConnectionResetError:
            return got


GET = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/a?b", "HTTP_HOST": "example.org", "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_LENGTH": "", "CONTENT_TYPE": ""}


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_request(monoceros, pieces):
    server = monoceros(config=SITE.replace("OPTIONS", "").replace("respond { body = 'TEXT' }",
                       "redirect { to = 'http://x/$request_method/$remote_addr/$scheme/$http_x_some_thing$request_uri' }"))
    got = ask(server.address, packet({**GET, "REMOTE_ADDR": "10.1.2.3", "REMOTE_PORT": "99", "HTTPS": "on", "HTTP_X_SOME_THING": "x"}), pieces)
    head, _ = got.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 302 ") and b"\r\nConnection: close" in head
    assert b"\r\nLocation: http://x/GET/10.1.2.3/https/x/a?b" in head, head
    got = ask(server.address, packet({"REQUEST_METHOD": "GET", "PATH_INFO": "/p q", "QUERY_STRING": "r=1"}), pieces)
    assert b"\r\nLocation: http://x/GET/127.0.0.1/http//p%20q?r=1" in got, got


BAD = {
    "modifier": packet(GET, modifier1=5),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "line": packet({**GET, "HTTP_X": "a\r\nContent-Length: 5"}),
    "second head": packet({**GET, "HTTP_X": "a\r\n\r\nGET /evil HTTP/1.0\r\n\r\n"}),
    "target": packet({**GET, "REQUEST_URI": "/ HTTP/1.1\r\nX: y"}),
    "query": packet({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "a HTTP/1.1\r\nX: y"}),
    "script": packet({**GET, "SCRIPT_NAME": "/a\r\nX: y"}),
    "type": packet({**GET, "CONTENT_TYPE": "a\r\nX: y"}),
    "user": packet({**GET, "REMOTE_USER": "a\r\nX: y"}),
    "blank": packet({**GET, "REQUEST_URI": "/a b"}),
    "method": packet({**GET, "REQUEST_METHOD": "G\nT"}),
    "no method": packet({"REQUEST_URI": "/"}),
    "name": packet({**GET, "HTTP_X Y": "a"}),
    "length": packet({**GET, "CONTENT_LENGTH": "-5"}),
    "two lengths": packet([*GET.items(), ("CONTENT_LENGTH", "5")]),
    "two uris": packet([*GET.items(), ("REQUEST_URI", "/x")]),
    "two hosts": packet([*GET.items(), ("HTTP_HOST", "y")]),
    "climb": packet({**GET, "REQUEST_URI": "/../../etc/passwd"}),
    "cut name": struct.pack("<BHB", 0, 3, 0) + b"\x05\0A",
    "odd": struct.pack("<BHB", 0, 3, 0) + b"\x01\0A",
    "many": packet([(f"V{i}", "") for i in range(1001)]),
    "huge": packet({**GET, "HTTP_X": "x" * 60_000}),
    "empty": packet({}),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_packets_are_refused(monoceros, what):
    server = monoceros(config=site("served"))
    got = ask(server.address, BAD[what])
    assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 ", b"HTTP/1.1 405 ", b"HTTP/1.1 501 ")) and b"served" not in got, got
    assert got.count(b"HTTP/1.1") == 1
    assert b"served" in ask(server.address, packet(GET))


def test_fields_of_the_fronts_connection_stay_there(monoceros):
    server = monoceros(config=site("served"))
    got = ask(server.address, packet({**GET, "HTTP_TRANSFER_ENCODING": "chunked", "HTTP_CONNECTION": "upgrade", "HTTP_UPGRADE": "websocket", "HTTP_EXPECT": "100-continue",
                                      "HTTP_CONTENT_LENGTH": "7", "HTTP_TE": "trailers"}))
    assert got.startswith(b"HTTP/1.1 200 ") and b"served" in got


def test_the_next_server_hears_of_the_fronts_client(monoceros):
    def echo(peer, head, body):
        peer.reply(b"|".join(line for line in head.split(b"\r\n") if b"forwarded" in line.lower() or b"for=" in line.lower()))

    with Upstream(serving(echo)) as up:
        server = monoceros(config=SITE.replace("OPTIONS", "").replace("respond { body = 'TEXT' }", f"proxy {{ to = 'http://{up.text}'  forwarded = both }}"))
        for said, ours, element in (("10.1.2.3", b"10.1.2.3", b"for=10.1.2.3;"), ("2001:db8::1", b"2001:db8::1", b'for="[2001:db8::1]";'),
                                    ("unix:", b"127.0.0.1", b"for=127.0.0.1;"), ("1.2.3.4\r\nX: y", None, None), ("1.2.3.4, 5.6.7.8", b"127.0.0.1", b"for=127.0.0.1;")):
            got = ask(server.address, packet({**GET, "REMOTE_ADDR": said}))
            if ours is None:
                assert b"1.2.3.4" not in got, got
                continue
            assert b"X-Forwarded-For: " + ours + b"|" in got and b"Forwarded: " + element in got, got
            got = ask(server.address, packet({**GET, "REMOTE_ADDR": said, "HTTP_X_FORWARDED_FOR": "192.0.2.7"}))
            assert b"X-Forwarded-For: 192.0.2.7, " + ours + b"|" in got, got


def test_only_fronts_may_speak_it(monoceros):
    server = monoceros(config=site(options='uwsgi_allow_ips = {"127.0.0.2", "10.0.0.0/8"}'))
    assert ask(server.address, packet(GET)) == b""
    until(lambda: "127.0.0.1 is not in uwsgi_allow_ips" in server.log(), "the warning")


@pytest.mark.python
def test_bodies_reach_apps(monoceros):
    server = monoceros("basic:app", "--protocol", "uwsgi", "--uwsgi-allow-from", "127.0.0.1")
    for size in (0, 1, 300_000):
        body = bytes(i * 7 % 251 for i in range(size))
        got = ask(server.address, packet({"REQUEST_METHOD": "POST", "REQUEST_URI": "/echo", "PATH_INFO": "/echo", "CONTENT_LENGTH": str(size)}, body=body))
        assert got.startswith(b"HTTP/1.1 200 ") and got.split(b"\r\n\r\n", 1)[1] == body


def test_our_own_front(monoceros):
    back = monoceros(config=site("served"))
    front = monoceros(config='worker_class = {worker}\nkeepalive = 20\nserver "s" { listen = "{address}" route "r" { uwsgi { to = "%s:%d" } } }' % back.address)
    with front.connect() as client:
        for _ in range(3):
            assert client.ask("GET", "/x?y").body == b"served"
        assert client.ask("POST", "/x", body=bytes(200_000)).body == b"served"
        answer = client.ask("HEAD", "/x")
        assert (answer.status, answer.body, answer.get("Content-Length")) == (200, b"", "6")


@pytest.fixture
def nginx(tmp_path):
    if not NGINX:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    processes = []

    def start(to):
        port = free_port()
        home = tmp_path / "nginx"
        home.mkdir()
        temp = "".join(f"{name}_temp_path {home}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        params = "".join(f"uwsgi_param {name} {value};\n" for name, value in {
            "QUERY_STRING": "$query_string", "REQUEST_METHOD": "$request_method", "CONTENT_TYPE": "$content_type", "CONTENT_LENGTH": "$content_length",
            "REQUEST_URI": "$request_uri", "PATH_INFO": "$document_uri", "SERVER_PROTOCOL": "$server_protocol", "REQUEST_SCHEME": "$scheme",
            "HTTPS": "$https if_not_empty", "REMOTE_ADDR": "$remote_addr", "REMOTE_PORT": "$remote_port"}.items())
        (home / "nginx.conf").write_text(f"{'user root; ' if os.getuid() == 0 else ''}daemon off; pid {home}/pid; error_log {home}/error.log;\nevents {{ }}\nhttp {{ access_log off; {temp}\n"
                                         f"server {{ listen 127.0.0.1:{port}; client_max_body_size 10m; location / {{ {params} uwsgi_pass {to}; }} }} }}\n")
        processes.append(subprocess.Popen([NGINX, "-e", home / "error.log", "-p", home, "-c", home / "nginx.conf"], stderr=subprocess.DEVNULL))

        def up():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                assert processes[-1].poll() is None, (home / "error.log").read_text()

        until(up, "nginx")
        return "127.0.0.1", port

    yield start
    for process in processes:
        process.terminate()
        process.wait()


def test_nginx_in_front(monoceros, nginx):
    back = monoceros(config=site("served"))
    address = nginx("%s:%d" % back.address)
    with Connection(address) as client:
        assert client.ask("GET", "/x?y").body == b"served"
        assert client.ask("POST", "/", body=bytes(300_000)).body == b"served"
        assert client.ask("HEAD", "/").body == b""
        assert client.ask("GET", "/", headers=[("X-A", "1"), ("Cookie", "a=b")]).status == 200
