"""HTTP/1.1 over real sockets with handlers of the loop and of apps: keep-alive, pipelining, Expect, HEAD, limits, error pages."""

import hashlib
import os
import re
import socket
import struct

import pytest

from lib import procfs, wire
from lib.limits import until

ROUTES = """
    route "hello" { match { exact = "/hello" }   respond { body = "Hello, world!" } }
    route "gone"  { match { prefix = "/gone" }   respond { status = 410  body = "no longer here" } }
    route "none"  { match { exact = "/none" }    respond { status = 204 } }
    route "plain" { match { exact = "/reason" }  respond { status = 503 } }
    route "small" { match { prefix = "/small" }  limit_request_body = 10  respond { body = "small" } }
"""
CONFIG = """
pool "web" { worker_class = {worker}  keepalive = 20s }
server "main" {
    listen = "{address}"
    SETTINGS
    ROUTES
}
"""


def config(settings=""):
    return CONFIG.replace("SETTINGS", settings).replace("ROUTES", ROUTES)


@pytest.fixture
def site(monoceros):
    return monoceros(config=config())


@pytest.fixture
def app(monoceros):
    return monoceros("basic:app", "--keep-alive", "20")


def test_keep_alive(site):
    with site.connect() as connection:
        for _ in range(50):
            answer = connection.ask("GET", "/hello")
            assert (answer.status, answer.body, answer.keep, answer.framing) == (200, b"Hello, world!", True, "length")
        answer = connection.ask("GET", "/hello", close=True)
        assert answer.status == 200 and not answer.keep and answer.get("Connection") == "close"
        assert connection.ended()


def test_http_1_0_closes_unless_asked_to_keep(site):
    with site.connect() as connection:
        answer = connection.ask("GET", "/hello", version="HTTP/1.0")
        assert answer.status == 200 and answer.body == b"Hello, world!" and not answer.keep and connection.ended()
    with site.connect() as connection:
        for _ in range(3):
            answer = connection.ask("GET", "/hello", version="HTTP/1.0", headers=[("Connection", "keep-alive")])
            assert answer.status == 200 and answer.keep
    with site.connect() as connection:      # no Host is needed in HTTP/1.0
        assert connection.ask("GET", "/hello", version="HTTP/1.0", host=None).status == 200


@pytest.mark.workers("sync")
def test_sync_closes_by_default(monoceros):
    app = monoceros("basic:app")
    with app.connect() as connection:
        answer = connection.ask("GET", "/")
        assert answer.status == 200 and not answer.keep and connection.ended()


def test_idle_connection_is_closed_without_a_word(monoceros):
    site = monoceros(config=config().replace("20s", "1s"))
    with site.connect() as connection:
        assert connection.ask("GET", "/hello").keep
        assert connection.ended()       # WireError if anything came


def test_every_response_has_date_and_server(site):
    for target in ("/hello", "/gone", "/none", "/reason", "/nowhere"):
        answer = site.ask("GET", target)
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.get("Date")), target
        assert answer.get("Server").startswith("monoceros") and len(answer.all("Server")) == len(answer.all("Date")) == 1


@pytest.mark.parametrize("setting, field", [("off", None), ("name", "monoceros"), ("'my own'", "my own")])
def test_server_tokens(monoceros, setting, field):
    site = monoceros(config=config(f"server_tokens = {setting}"))
    assert site.ask("GET", "/hello").get("Server") == field
    assert site.ask("GET", "/nowhere").get("Server") == field


def test_fixed_answers(site):
    answer = site.ask("GET", "/gone/and/more?really")
    assert (answer.status, answer.reason, answer.body) == (410, "Gone", b"no longer here")
    answer = site.ask("GET", "/reason")
    assert answer.status == 503 and answer.body == b"Service Unavailable"
    with site.connect() as connection:
        answer = connection.ask("GET", "/none")
        assert answer.status == 204 and answer.framing == "none" and answer.keep
        assert connection.ask("POST", "/hello", body=b"not read").status == 200
        assert connection.ask("GET", "/hello").body == b"Hello, world!"


def test_head(site):
    with site.connect() as connection:
        whole = connection.ask("GET", "/hello")
        head = connection.ask("HEAD", "/hello")
        differ = {name for name, _ in whole.headers} ^ {name for name, _ in head.headers}
        assert not differ and head.get("Content-Length") == "13"
        assert connection.ask("HEAD", "/nowhere").status == 404     # no body here either, or the next answer is garbage
        assert connection.ask("GET", "/hello").body == b"Hello, world!"


def test_pipelining_in_order(site):
    targets = ["/hello", "/gone/1", "/none", "/nowhere", "/hello", "/reason"] * 20
    with site.connect() as connection:
        connection.send(b"".join(wire.request("GET", target) for target in targets))
        statuses = [connection.read().status for _ in targets]
        assert statuses == [{"/hello": 200, "/none": 204, "/nowhere": 404, "/reason": 503}.get(target, 410) for target in targets]


def test_pipelining_byte_by_byte(site):
    data = wire.request("GET", "/hello") + wire.request("POST", "/gone", body=b"body") + wire.request("GET", "/hello", close=True)
    with site.connect() as connection:
        for byte in data:
            connection.send(bytes([byte]))
        assert [connection.read().status for _ in range(3)] == [200, 410, 200] and connection.ended()


def test_pipelined_requests_after_close_are_not_answered(site):
    with site.connect() as connection:
        connection.send(wire.request("GET", "/hello", close=True) + wire.request("GET", "/gone"))
        assert connection.read().status == 200 and connection.ended()


def test_half_close_after_the_request(site):
    with site.connect() as connection:
        connection.send(wire.request("GET", "/hello")).half_close()
        assert connection.read().body == b"Hello, world!" and connection.ended()


# --- what a client may not do (the whole table of malformed requests is a test of its own)

REFUSED = [
    (b"GET /hello HTTP/1.1\r\n\r\n", 400),                                                        # no Host
    (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /hello HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"GET /hello HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(101)) + b"\r\n", 431),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),                                         # a TLS hello
]


@pytest.mark.parametrize("data, status", REFUSED, ids=range(len(REFUSED)))
def test_refused(site, data, status):
    with site.connect() as connection:
        connection.send(data)
        if data.startswith(b"\x16"):
            connection.half_close()
        answer = connection.read()
        assert answer.status == status and not answer.keep and connection.ended()
        assert answer.get("Content-Type").startswith("text/html") and str(status).encode() in answer.body


def test_error_pages_do_not_echo(site):
    answer = site.ask("GET", "/<script>alert(1)</script>?<b>", headers=[("X", "<i>")])
    assert answer.status in (400, 404)
    page = answer.body + str(answer.headers).encode()
    assert b"script" not in page and b"alert" not in page and b"<i>" not in page


def test_body_limit_of_a_route(site):
    with site.connect() as connection:
        assert connection.ask("POST", "/small", body=b"0123456789").status == 200
        answer = connection.ask("POST", "/small", body=b"0123456789a")
        assert answer.status == 413 and not answer.keep and connection.ended()
    with site.connect() as connection:
        connection.send(b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n")
        answer = connection.read()
        assert answer.status == 413 and not answer.keep and connection.ended()


def test_a_head_that_does_not_end(monoceros):
    site = monoceros(config=config("header_timeout = 1s"))
    with site.connect() as connection:
        connection.send(b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Slow")
        answer = connection.read()
        assert answer.status == 408 and not answer.keep and connection.ended()


@pytest.mark.python
def test_a_body_that_does_not_come(monoceros):
    app = monoceros("basic:app", "--body-timeout", "1", "--keep-alive", "20")
    with app.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        answer = connection.read()
        assert answer.status == 408 and not answer.keep and connection.ended()
    assert app.ask("POST", "/echo", body=b"12345").body == b"12345"


# --- bodies and apps

@pytest.mark.python
def test_bodies_of_both_framings(app):
    with app.connect() as connection:
        for size in (0, 1, 65535, 65536, 65537, 1000000):
            body = os.urandom(size)
            told = f"{size} {hashlib.sha256(body).hexdigest()}"
            assert connection.ask("POST", "/digest", body=body).text == told
            connection.send(b"POST /digest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, size, 9973):
                part = body[start:start + 9973]
                connection.send(b"%x;extension=1\r\n%s\r\n" % (len(part), part))
            connection.send(b"0\r\nTrailer: 1\r\n\r\n")
            assert connection.read("POST").text == told


@pytest.mark.python
def test_pipelined_posts(app):
    bodies = [os.urandom(size) for size in (0, 1, 100, 5000, 70000)] * 3
    with app.connect() as connection:
        connection.send(b"".join(wire.request("POST", "/echo", body=body) for body in bodies))
        assert [connection.read("POST").body for _ in bodies] == bodies


@pytest.mark.python
def test_expect_100_continue(app):
    with app.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        interim = connection.read_head()
        assert interim.status == 100 and not interim.headers
        connection.send(b"12345")
        assert connection.read("POST").body == b"12345"
        # A client that does not wait needs no 100, and gets its answer either way.
        connection.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n12345")
        answer = connection.read("POST")
        assert answer.status == 200 and answer.body == b"12345" and len(answer.interim) <= 1


def test_expect_with_a_body_over_the_limit(site):
    with site.connect() as connection:
        connection.send(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n")
        answer = connection.read("POST")
        assert answer.status == 413 and not answer.interim and not answer.keep


@pytest.mark.python
def test_a_large_body_leaves_no_file(monoceros, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    (tmp_path / "spool.conf").write_text(f'tmp_upload_dir = "{spool}"\nbody_buffer = 16k\nkeepalive = 20s\n', encoding="utf-8")
    app = monoceros("basic:app", "-c", tmp_path / "spool.conf", bind="tcp")
    worker = app.wait_workers(1)[0]
    app.ask("POST", "/digest", body=b"warm")
    before = len(procfs.fds(worker))
    body = os.urandom(3 << 20)
    for _ in range(3):
        assert app.ask("POST", "/digest", body=body).text == f"{len(body)} {hashlib.sha256(body).hexdigest()}"
    assert list(spool.iterdir()) == []
    until(lambda: len(procfs.fds(worker)) <= before, f"descriptors of the worker: {procfs.fds(worker)}")
    with app.connect() as connection:       # the client goes away in the middle
        connection.send(b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + body)
    until(lambda: len(procfs.fds(worker)) <= before, f"descriptors of the worker: {procfs.fds(worker)}")
    assert list(spool.iterdir()) == []


@pytest.mark.python
def test_large_responses(app):
    with app.connect() as connection:
        for target in ("/big?size=4194304", "/stream?count=64&size=65536"):
            answer = connection.ask("GET", target)
            assert answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == \
                hashlib.sha256(bytes(range(256)) * 16384).hexdigest()
        assert connection.ask("GET", "/").body == b"Hello, world!"


@pytest.mark.python
def test_a_client_that_resets_in_the_middle(app):
    for _ in range(10):
        connection = app.connect(rcvbuf=4096)
        connection.send(wire.request("GET", "/big?size=8388608"))
        connection.read_head()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert app.ask("GET", "/").status == 200 and len(app.wait_workers(1)) == 1


@pytest.mark.python
def test_exceptions_of_an_app(monoceros):
    app = monoceros("basic:app", "--keep-alive", "20", expect_errors=True)
    answer = app.ask("GET", "/fails?secret")
    assert answer.status == 500 and b"purpose" not in answer.body and b"secret" not in answer.body
    app.wait_log(r"RuntimeError: this page fails on purpose")
    assert app.ask("GET", "/").status == 200
