"""Requests as streams: what each client of HTTP/2 expects, on each worker type that runs Python."""

import json
import os
import re
import signal
import socket
import threading

import pytest

from lib.fixtures import WORKERS
from lib.limits import patience, until
from lib.frames import (CANCEL, DATA, END_HEADERS, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM, RST_STREAM,
                        SETTINGS, ACK, Client, Closed, frame, rst, settings, window)

pytestmark = pytest.mark.python


def test_answers(streams, client):
    c = client(streams())
    a = c.get("/hello")
    assert (a.status, a.body, a.get("content-length"), a.get("content-type")) == (200, b"hello", "5", "text/plain")
    assert a.get("server").startswith("monoceros/") and a.get("date").endswith("GMT") and a.frames[-1].end
    assert not {"connection", "transfer-encoding", "keep-alive"} & {name for name, _ in a.headers}
    a = c.get("/bytes/70000", "HEAD")
    assert (a.status, a.body, a.get("content-length"), len(a.frames)) == (200, b"", "70000", 1)
    for status in (204, 304):
        a = c.get(f"/status/{status}")
        assert (a.status, a.body, a.get("content-length"), len(a.frames)) == (status, b"", None, 1)
    assert c.get("/status/404").status == 404 and c.get("/pieces/5").body == b"0\n1\n2\n3\n4\n"
    assert c.get("/pieces/2000").body == b"".join(b"%d\n" % i for i in range(2000))
    assert c.get("/cookie", "GET", ("cookie", "a=b"), ("cookie", "c=d")).body == b"a=b; c=d"


def test_early_hints(streams, client):
    a = client(streams()).get("/early")
    assert [dict(h) for h in a.interim] == [{":status": "103", "link": "</style.css>; rel=preload"}] and a.body == b"hello"


def test_trailers_of_an_app(streams, client):
    """gunicorn.http2.send_trailers, which Gunicorn gives to apps; there is none over HTTP/1.1."""
    site = streams(expect_errors=True)
    c = client(site)
    for how in ("early", "late", "length"):
        a = c.get(f"/trailers/{how}")
        assert (a.status, a.body, a.trailers) == (200, b"the answer", [("x-first", "1"), ("x-second", "2")]), how
        assert (a.get("content-length") == "10") == (how == "length")
    assert len(c.get("/trailers/none").frames) == 1 and c.get("/trailers/early", "HEAD").trailers == []
    assert c.get("/trailers/bad").status == 500
    assert b"send_trailers" not in site.ask("GET", "/environ").body
    assert c.get("/hello").trailers == []


def test_environ(streams, client):
    env = json.loads(client(streams()).get("/environ/a%20b?c=d", "GET", ("x-one", "1"), ("x-one", "2"), authority="example.org:99").body)
    assert env["SERVER_PROTOCOL"] == "HTTP/2.0" and env["HTTP_HOST"] == "example.org:99" and env["REQUEST_METHOD"] == "GET"
    assert (env["PATH_INFO"], env["QUERY_STRING"], env["RAW_URI"]) == ("/environ/a b", "c=d", "/environ/a%20b?c=d")
    assert env["HTTP_X_ONE"] == "1,2" and env["wsgi.url_scheme"] == "http" and env["REMOTE_ADDR"] == "127.0.0.1"


def test_bodies(streams, client):
    c = client(streams())
    assert c.get("/length", "POST", body=b"").body == b"0"
    assert c.get("/echo", "POST", body=b"hello").body == b"hello"
    assert c.get("/length", "POST", ("content-length", "60000"), body=b"x" * 60000).body == b"60000"
    assert c.get("/length", "POST", body=b"x", trailers=[("x-sum", "1")]).body == b"1"
    a = c.get("/echo", "POST", ("expect", "100-continue"), body=b"hello")
    assert a.body == b"hello" and [dict(h)[":status"] for h in a.interim] == ["100"]


def test_a_large_upload_obeys_the_windows(streams, client):
    c = client(streams())
    size, sent, room = 5_000_000, 0, {0: 65535, 1: 65535}
    stream = c.ask("/length", "POST", end=False)
    while sent < size:
        n = min(16384, size - sent, room[0], room[1])
        if n > 0:
            c.send(frame(DATA, 1 if sent + n == size else 0, stream, b"u" * n))
            sent += n
            room = {k: v - n for k, v in room.items()}
            continue
        f = c.until(lambda f: f.kind == 8)
        room[f.stream] += int.from_bytes(f.payload, "big")
    assert c.answer(stream).body == b"%d" % size


def test_a_large_download(streams, client):
    c = client(streams())
    assert len(c.get("/bytes/5000000").body) == 5_000_000
    assert len(c.get("/large/60").body) == 3_000_000


def test_a_hundred_streams(streams, client):
    c = client(streams())
    asked = [c.ask(f"/bytes/{i}") for i in range(100)]
    found = c.answers(*asked)
    assert [len(found[s].body) for s in asked] == list(range(100))


@pytest.mark.workers("gthread")
def test_streams_run_beside_each_other(streams, client):
    """Four requests of one connection are inside the app at the same time."""
    c = client(streams("--threads", "4"))
    asked = [c.ask("/meet/4") for _ in range(4)]
    assert [a.body for a in c.answers(*asked).values()] == [b"met"] * 4


@pytest.mark.workers("sync")
def test_sync_takes_one_after_the_other(streams, client):
    c = client(streams())
    asked = [c.ask("/meet/1") for _ in range(8)]
    assert len(c.answers(*asked)) == 8 and c.get("/most").body == b"1"


def test_a_slow_reader_of_one_stream_holds_up_only_that(streams, client):
    c = client(streams())
    c.send(window(0, 1 << 30))
    slow = c.ask("/bytes/2000000")
    other = c.answer(c.ask("/bytes/20"), update=False)
    assert len(other.body) == 20
    fast = c.ask("/bytes/300000")
    a = c.answers(fast)[fast]
    assert len(a.body) == 300000
    assert sum(len(f.payload) for f in c.seen if f.kind == DATA and f.stream == slow) == 65535
    c.send(window(slow, 1 << 30))
    c.until(lambda f: f.stream == slow and f.end)
    assert sum(len(f.payload) for f in c.seen if f.kind == DATA and f.stream == slow) == 2_000_000


def test_windows_are_kept(streams, client):
    c = client(streams(), pairs=[(INITIAL_WINDOW_SIZE, 1)])
    stream = c.ask("/hello")
    f = c.until(lambda f: f.kind == DATA)
    assert f.payload == b"h" and not f.end
    c.alive()
    assert c.seen[-1].kind != DATA
    c.send(settings((INITIAL_WINDOW_SIZE, 3)))
    assert c.until(lambda f: f.kind == DATA).payload == b"el"
    c.send(settings((INITIAL_WINDOW_SIZE, 0)))      # below what is used already: the window is negative
    c.send(window(stream, 2))
    c.alive()
    assert c.seen[-1].kind != DATA
    c.send(window(stream, 10))
    assert c.until(lambda f: f.kind == DATA and f.end).payload == b"lo"


def test_a_cancelled_stream(streams, client):
    c = client(streams())
    c.send(window(0, 1 << 24))
    for _ in range(20):
        stream = c.ask("/large/100")
        c.until(lambda f: f.kind == DATA)
        c.send(rst(stream))
    assert c.get("/hello").body == b"hello"
    unfinished = c.ask("/length", "POST", body=b"part", end=False)
    c.send(rst(unfinished))
    assert c.get("/length", "POST", body=b"abc").body == b"3"


def test_more_streams_than_allowed(streams, client):
    c = client(streams("--http2-max-concurrent-streams", "3"), polite=False)     # it acknowledges no settings, so it may not know yet
    open_ones = [c.ask("/length", "POST", end=False) for _ in range(3)]
    f = c.until(lambda f: f.kind == SETTINGS and not f.flags & ACK)
    assert b"\x00\x03\x00\x00\x00\x03" in f.payload
    c.alive()
    refused = c.ask("/hello")
    f = c.until(lambda f: f.stream == refused)
    assert f.kind == RST_STREAM and f.code == REFUSED_STREAM
    for s in open_ones:
        c.send(frame(DATA, 1, s, b"ab"))
    assert {a.body for a in c.answers(*open_ones).values()} == {b"2"}


def test_a_body_that_breaks_off_is_not_taken_for_whole(streams, client):
    site = streams(expect_errors=True)
    c = client(site)
    for path in ("/broken", "/short"):
        stream = c.ask(path)
        f = c.until(lambda f: f.kind == RST_STREAM and f.stream == stream)
        assert f.code == INTERNAL_ERROR
    assert c.get("/hello").body == b"hello"


def test_a_body_that_is_too_large(streams, client):
    c = client(streams("--limit-request-body", "1000"))
    stream = c.ask("/length", "POST", ("content-length", "2000"), end=False)
    f = c.until(lambda f: f.stream == stream)
    assert f.kind == HEADERS and dict(f.headers)[":status"] == "413"
    assert c.until(lambda f: f.kind == RST_STREAM).code == NO_ERROR
    stream = c.ask("/length", "POST", body=b"x" * 2000, end=False)
    assert c.until(lambda f: f.stream == stream and f.kind == HEADERS).headers[0] == (":status", "413")
    assert c.get("/hello").status == 200


def test_limits_of_heads(streams, client):
    c = client(streams("--limit-request-fields", "20", "--limit-request-line", "200"))
    assert c.get("/hello", "GET", *[(f"x-{i}", "y") for i in range(30)]).status == 431
    assert c.get("/hello", "GET", ("x-long", "y" * 9000)).status == 431
    assert c.get("/" + "x" * 300).status == 414
    assert c.get("/hello").status == 200


def test_a_body_that_does_not_come(streams, client):
    c = client(streams(env={"MONOCEROS_CMD_ARGS": "--body-timeout 1"}))
    stream = c.ask("/length", "POST", body=b"part", end=False)
    assert c.until(lambda f: f.stream == stream).headers[0] == (":status", "408")
    assert c.get("/hello").status == 200


def test_who_takes_nothing_loses_the_stream(streams, client):
    c = client(streams(env={"MONOCEROS_CMD_ARGS": "--send-timeout 1"}))
    stream = c.ask("/bytes/200000")
    f = c.until(lambda f: f.kind == RST_STREAM)
    assert f.stream == stream and f.code in (CANCEL, INTERNAL_ERROR)
    c.send(window(0, 1 << 20))
    assert c.get("/hello").status == 200


@pytest.mark.workers("gthread")
def test_a_stuck_request_is_answered_and_the_others_go_on(streams, client):
    site = streams("--threads", "2", "--request-timeout", "1", expect_errors=True)
    c = client(site)
    stuck = c.ask("/sleep/3")
    assert c.get("/hello").body == b"hello"
    assert c.answer(stuck).status == 504
    site.wait_log("REQUEST TIMEOUT")


def test_an_idle_connection_is_told_and_closed(streams, client):
    c = client(streams("--keep-alive", "1"))
    assert c.get("/hello").status == 200
    frames = [f for f in c.drained() if f.kind == GOAWAY]
    assert [f.last for f in frames] == [0x7FFFFFFF, 1] and {f.code for f in frames} == {NO_ERROR}


@pytest.mark.parametrize("who", ["server", "worker"])
def test_streams_in_flight_are_finished(streams, client, tmp_path, who):
    """The server stops, or one worker leaves: the end is announced, and what was begun is finished."""
    site = streams()
    c = client(site)
    go = tmp_path / "go"
    body = c.ask("/length", "POST", end=False)
    c.alive()
    waiting = c.ask(f"/wait{go}")
    os.kill(site.wait_workers(1)[0] if who == "worker" else site.pid, signal.SIGTERM)
    go.touch()
    notice = c.until(lambda f: f.kind == GOAWAY)
    assert notice.last == 0x7FFFFFFF and notice.code == NO_ERROR
    c.send(frame(DATA, 1, body, b"abc"))
    found = c.answers(waiting, body) if not [f for f in c.seen if f.stream == waiting and f.end] else {body: c.answer(body)}
    assert found[body].body == b"3"
    last = [f for f in c.seen + c.drained() if f.kind == GOAWAY]
    assert last[-1].code == NO_ERROR and last[-1].last == waiting


def test_the_access_log(streams, client):
    site = streams("--access-logfile", "-", "--access-logformat", '%(h)s "%(r)s" %(s)s %(b)s %(H)s')
    assert client(site).get("/bytes/123?x").status == 200
    site.wait_log(r'127\.0\.0\.1 "GET /bytes/123\?x HTTP/2\.0" 200 123 HTTP/2\.0')


def test_a_connection_that_breaks(streams, client):
    """Clients leave in the middle of everything, and others are served."""
    site = streams()
    for path in ("/large/100", "/sleep/0.1", "/hello"):
        for _ in range(5):
            c = client(site)
            c.ask(path)
            c.ask("/length", "POST", body=b"x", end=False)
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            c.sock.close()
    c = client(site)
    assert c.get("/hello").status == 200
    c.send(frame(HEADERS, END_HEADERS, 99, b"")[:4])
    c.sock.shutdown(socket.SHUT_WR)
    c.drained()
    assert client(site).get("/hello").status == 200


@pytest.mark.workers("gthread")
def test_a_connection_that_breaks_while_it_is_written(streams, client, tmp_path):
    """One stream is inside the app when the bytes of another one cannot be sent any more: the connection waits for the app."""
    site = streams("--threads", "2")
    for number in range(3):
        go = tmp_path / f"go{number}"
        c = client(site, pairs=[(INITIAL_WINDOW_SIZE, 1 << 30)])
        c.send(window(0, 1 << 30))
        c.ask(f"/wait{go}")
        c.ask("/large/400")
        c.until(lambda f: f.kind == DATA)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        c.sock.close()
        assert client(site).get("/hello").status == 200
        go.touch()
        assert client(site).get("/hello").status == 200
    assert len(site.wait_workers(1)) == 1 and len(re.findall("Booting worker", site.log())) == 1


@pytest.mark.workers(WORKERS[0])
def test_only_trusted_peers_speak_it_without_tls(streams, client):
    site = streams("--forwarded-allow-ips", "10.9.8.7")
    c = client(site)
    c.data = b""
    assert c.sock.recv(65536).startswith(b"HTTP/1.1 ")


def test_http1_beside_it(streams, client):
    site = streams()
    c = client(site)
    assert c.get("/hello").status == 200 and site.ask("GET", "/hello").body == b"hello"


@pytest.mark.workers(WORKERS[0])
@pytest.mark.parametrize("arguments, words", [
    (["--http2-max-frame-size", "16383"], "http2_max_frame_size"), (["--http2-max-frame-size", "16777216"], "http2_max_frame_size"),
    (["--http2-initial-window-size", "2147483648"], "http2_initial_window_size"), (["--http2-max-concurrent-streams", "0"], "http2_max_concurrent_streams"),
    (["--http2-max-header-list-size", "10"], "http2_max_header_list_size"), (["--http-protocols", "h3"], "h1 or h2"),
    (["--http2-cleartext", "upgrade"], "prior_knowledge"),
])
def test_settings_are_checked(arguments, words):
    from lib import server
    done = server.run("--check-config", *arguments, "http2.streams:app")
    assert done.returncode != 0 and words in done.stderr.replace("-", "_")
