"""Streams and whatever answers them: files, upstreams, apps in C on each worker type."""

import os
import socket
import threading
from pathlib import Path

import pytest

from lib import procfs, server as under_test
from lib.frames import DATA, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, PRIORITY_UPDATE, REFUSED_STREAM, RST_STREAM, frame, rst, window
from lib.limits import patience, until
from lib.upstream import Upstream, serving
from proxy.proxy_site import site as proxy_site

APPS = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "tests/apps/native"
built = pytest.mark.skipif(not (APPS / "kit.so").exists(), reason="no native apps are built")

SITE = """
http2_cleartext = prior-knowledge
TOP
pool "main" { worker_class = {worker}  workers = 1  keepalive = 30s  worker_connections = 2000  MORE }
app "it" { type = native  module = "MODULE" }
server "main" { listen = "{address}"  limit_request_body = 1g  route "all" { app = it } }
"""


@pytest.fixture
def kit(monoceros, worker_class, tmp_path):
    """Factory: kit(top=, module=) is a server with an app in C."""
    def start(top="", module="kit.so"):
        (tmp_path / "file").write_bytes(bytes(range(256)) * 4096)
        more = "threads = 4" if worker_class == "gthread" else ""       # it would make sync gthread
        text = SITE.replace("TOP", top).replace("MORE", more).replace("MODULE", str(APPS / module))
        return monoceros(config=text, env={"KIT_FILE": str(tmp_path / "file")})
    return start


@built
@pytest.mark.workers("sync", "gthread", "greenlet")
def test_apps_in_c(kit, client):
    c = client(kit())
    facts = c.get("/facts?a=b", "GET", ("x-one", "1")).body.decode()
    assert "method=GET\ntarget=/facts?a=b\npath=/facts\n" in facts and "host=localhost\n" in facts and "version=20 " in facts
    assert len(c.get("/stream?100000").body) == 100000
    assert c.get("/file?0").body == bytes(range(256)) * 4096 + b"end"
    assert c.get("/echo", "POST", body=b"x" * 50000).body == b"x" * 50000
    asked = [c.ask("/stream?20000") for _ in range(50)]
    assert {len(a.body) for a in c.answers(*asked).values()} == {20000}


def spooled(site):
    """Bytes in the largest unlinked file of the worker."""
    pid = site.workers()[0]
    return max((os.stat(f"/proc/{pid}/fd/{number}").st_size for number, name in procfs.fds(pid).items()
                if name.endswith(" (deleted)") and "memfd:" not in name), default=0)


@built
@pytest.mark.workers("sync", "gthread", "greenlet")
def test_a_handler_waits_for_its_client(kit, client, worker_class):
    """Beyond memory and file a blocking handler waits until the window of its stream opens; no other stream waits with it, where several run."""
    site = kit(top="response_buffer = 16k\nresponse_buffer_file = 64k\nsend_timeout = 30s")
    c = client(site)
    c.send(window(0, 1 << 30))
    slow = c.ask("/stream?3000000")
    c.until(lambda f: f.kind == DATA and f.stream == slow)
    until(lambda: spooled(site) >= 32768, "the file to be used")
    got = 0
    if worker_class != "sync":
        other = c.answer(c.ask("/stream?1000"), update=False)
        assert len(other.body) == 1000
    for f in c.seen:
        got += len(f.payload) if f.kind == DATA and f.stream == slow else 0
    assert spooled(site) < 1_000_000        # what is on its way to the client came through it, too
    while got < 3_000_000:
        c.send(window(slow, 50000))
        want = min(3_000_000, got + 50000)
        while got < want:
            got += len(c.until(lambda f: f.kind == DATA and f.stream == slow).payload)
    assert c.until(lambda f: f.kind == DATA and f.stream == slow).end if not c.seen[-1].end else True
    assert len(c.get("/stream?1000").body) == 1000


@built
@pytest.mark.workers("sync", "gthread", "greenlet")
@pytest.mark.parametrize("how", ["reset", "close", "timeout"])
def test_a_handler_that_waits_is_told_of_the_end(kit, client, how):
    top = "response_buffer = 16k\nresponse_buffer_file = 64k\nsend_timeout = " + ("1s" if how == "timeout" else "30s")
    site = kit(top=top)
    c = client(site)
    slow = c.ask("/stream?3000000")
    c.until(lambda f: f.kind == DATA and f.stream == slow)
    if how == "reset":
        c.send(rst(slow))
    elif how == "close":
        c.sock.close()
        c = client(site)
    else:
        c.until(lambda f: f.kind == RST_STREAM and f.stream == slow)
    c.send(window(0, 1 << 20))
    assert len(c.get("/stream?1000").body) == 1000


@built
@pytest.mark.workers("greenlet")
def test_coroutines_run_beside_each_other(kit, client):
    """As many as there may be streams: none of a hundred ends before all are inside."""
    c = client(kit())
    asked = [c.ask("/meet?100") for _ in range(100)]
    assert [a.body for a in c.answers(*asked).values()] == [b"met"] * 100


@built
@pytest.mark.workers("gthread")
def test_threads_run_beside_each_other(kit, client):
    c = client(kit())
    asked = [c.ask("/meet?4") for _ in range(4)]
    assert [a.body for a in c.answers(*asked).values()] == [b"met"] * 4


@pytest.mark.workers("epoll")
@pytest.mark.parametrize("most", [100, 250])
def test_what_waits_on_the_loop_waits_together(monoceros, client, most):
    """An upstream that answers nobody before everybody has asked: http2_max_concurrent_streams at a time, and not one more."""
    everybody, lock = threading.Event(), threading.Lock()
    inside = []

    def script(peer, head, body):
        with lock:
            inside.append(head.split()[1])
            if len(inside) == most:
                everybody.set()
        everybody.wait(patience(60))
        peer.reply(b"together")

    with Upstream(serving(script), backlog=500) as up:
        c = client(monoceros(config=proxy_site(up.text, top=f"http2_cleartext = prior-knowledge\nhttp2_max_concurrent_streams = {most}")))
        asked = [c.ask(f"/{number}") for number in range(most)]
        more = c.ask("/more")
        assert c.until(lambda f: f.stream == more).code == REFUSED_STREAM
        assert [a.body for a in c.answers(*asked).values()] == [b"together"] * most


@built
@pytest.mark.workers("sync", "gthread", "greenlet", "epoll")
def test_loop_apps_in_c(kit, client):
    c = client(kit(module="flow.so"))
    stream = c.ask("/echo", "POST", end=False)      # full duplex: it answers as the body comes
    c.send(frame(DATA, 0, stream, b"one"))
    assert c.until(lambda f: f.kind == DATA and f.stream == stream).payload == b"one"
    c.send(frame(DATA, END_STREAM, stream, b"two"))
    a = c.answer(stream)
    assert a.body == b"two"
    asked = [c.ask("/later") for _ in range(20)]
    assert len(c.answers(*asked)) == 20


@built
@pytest.mark.workers("sync", "gthread", "greenlet", "epoll")
def test_a_slow_taker_holds_its_client_up(kit, client):
    """A handler that reads nothing keeps the window of its stream shut, and only that."""
    c = client(kit(module="flow.so", top="body_buffer = 16k"))
    c.send(window(0, 1 << 20))
    stream = c.ask("/wait", "POST", end=False)
    sent = 0
    for _ in range(3):
        c.send(frame(DATA, 0, stream, b"x" * 16384))
        sent += 16384
    c.alive()
    updates = sum(int.from_bytes(f.payload, "big") for f in c.seen if f.kind == 8 and f.stream == stream)
    assert updates <= 32768
    other = c.ask("/echo", "POST", body=b"abc")
    assert c.answer(other).body == b"abc"


def test_files(monoceros, client, tmp_path):
    if "static" not in under_test.modules():
        pytest.skip("built without static")
    data = os.urandom(3_000_001)
    (tmp_path / "file.bin").write_bytes(data)
    (tmp_path / "small.txt").write_text("small")
    c = client(monoceros(config=f"""worker_class = {{worker}}
workers = 1
keepalive = 30s
http2_cleartext = prior-knowledge
server "a" {{ listen = "{{address}}"  route "all" {{ static {{ root = "{tmp_path}" }} }} }}
"""))
    a = c.get("/file.bin")
    assert a.body == data and a.get("content-length") == "3000001"
    assert c.get("/small.txt").body == b"small" and c.get("/none").status == 404
    assert c.get("/file.bin", "HEAD").body == b"" and c.get("/file.bin", "GET", ("range", "bytes=5-9")).body == data[5:10]
    assert c.get("/small.txt", "GET", ("if-none-match", c.get("/small.txt").get("etag"))).status == 304
    found = c.answers(*[c.ask("/file.bin") for _ in range(5)])
    assert all(a.body == data for a in found.values())


def order(c, streams, size):
    """The streams of the DATA frames that come when the connection's window opens, a run of frames each."""
    c.send(window(0, 1 << 24))
    runs, left = [], dict.fromkeys(streams, size)
    while any(left.values()):
        f = c.read()
        if f.kind != DATA:
            continue
        left[f.stream] -= len(f.payload)
        if not runs or runs[-1] != f.stream:
            runs.append(f.stream)
    return runs


def test_priorities(monoceros, client, tmp_path):
    """RFC 9218: what is urgent comes first, whatever was asked first; of one urgency one after the other, unless they are incremental. Priorities change."""
    if "static" not in under_test.modules():
        pytest.skip("built without static")
    size = 200_000
    (tmp_path / "file").write_bytes(bytes(size))
    site = monoceros(config=f"""worker_class = {{worker}}
workers = 1
keepalive = 30s
http2_cleartext = prior-knowledge
server "a" {{ listen = "{{address}}"  route "all" {{ static {{ root = "{tmp_path}" }} }} }}
""")

    def asked(*priorities):
        c = client(site, pairs=[(INITIAL_WINDOW_SIZE, 1 << 24)])
        taken = c.ask("/file")                          # it uses up the window of the connection
        while sum(len(f.payload) for f in c.seen if f.kind == DATA) < 65535:
            c.read()
        streams = [c.ask("/file", "GET", *([("priority", p)] if p else [])) for p in priorities]
        for stream in streams:
            if not [f for f in c.seen if f.stream == stream]:
                c.until(lambda f: f.stream == stream and f.kind == HEADERS)
        c.alive()
        c.send(rst(taken))
        return c, streams

    c, (late, soon, usual) = asked("u=7", "u=0", "")
    assert order(c, (late, soon, usual), size) == [soon, usual, late]
    c, (one, two) = asked("u=3", "u=3")
    assert order(c, (one, two), size) == [one, two]
    c, (one, two) = asked("u=3, i", "u=3, i")
    assert len(order(c, (one, two), size)) > 5
    c, (one, two) = asked("u=1", "u=5")
    c.send(frame(PRIORITY_UPDATE, 0, 0, one.to_bytes(4, "big") + b"u=6"))
    assert order(c, (one, two), size) == [two, one]


def test_an_upstream(monoceros, client):
    def script(peer, head, body):
        path = head.split()[1]
        if path == b"/trailers":
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: end\r\n\r\n")
        elif path == b"/hints":
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        elif path == b"/cut":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour")
            peer.sock.shutdown(socket.SHUT_RDWR)
        elif path == b"/hop":
            peer.reply(b"x", headers=[("Connection", "X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "5"), ("X-Yours", "2")])
        else:
            peer.reply(head + body)

    with Upstream(serving(script)) as up:
        c = client(monoceros(config=proxy_site(up.text, top="http2_cleartext = prior-knowledge")))
        head = c.get("/echo?x=y", "POST", ("content-length", "4"), ("x-a", "b"), body=b"body").body
        assert head.startswith(b"POST /echo?x=y HTTP/1.1\r\n") and head.endswith(b"\r\n\r\nbody") and b"\r\nx-a: b\r\n" in head
        assert head.lower().count(b"\r\nhost:") == 1 and b":authority" not in head and head.lower().count(b"content-length") == 1
        a = c.get("/trailers", "GET", ("te", "trailers"))
        assert a.body == b"hello" and a.trailers == [("x-t", "end")]
        assert dict(c.get("/hints").interim[0])["link"] == "</a>"
        a = c.get("/hop")
        assert a.get("x-yours") == "2" and not {"connection", "x-mine", "keep-alive"} & {n for n, _ in a.headers}
        stream = c.ask("/cut")
        f = c.until(lambda f: f.stream == stream and f.kind == RST_STREAM)
        assert f.code == INTERNAL_ERROR
        for i in range(30):
            assert c.get(f"/{i}").status == 200
        found = c.answers(*[c.ask(f"/{i}") for i in range(30)])
        assert {a.status for a in found.values()} == {200}


def test_bodies_on_their_way_to_an_upstream(monoceros, client):
    def script(peer, head, body):
        assert b"\r\ntransfer-encoding: chunked\r\n" in head.lower()
        peer.reply(body)

    with Upstream(serving(script)) as up:
        c = client(monoceros(config=proxy_site(up.text, top="http2_cleartext = prior-knowledge", proxy="request_buffering = no")))
        stream = c.ask("/x", "POST", end=False)
        for part in (b"one", b"two", b"three"):
            c.send(frame(DATA, 0, stream, part))
            c.alive()
        c.send(frame(DATA, END_STREAM, stream, b""))
        assert c.answer(stream).body == b"onetwothree"
