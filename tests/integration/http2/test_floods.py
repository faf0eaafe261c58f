"""Peers that cost more than they are worth: each is told to calm down, and other clients are served meanwhile."""

import itertools
import struct

import pytest

from lib import server as under_test
from lib.fixtures import WORKERS
from lib.frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PRIORITY,
                        PRIORITY_UPDATE, RST_STREAM, Client, field, fields, frame, ping, request, rst, settings, window)
from lib.procfs import rss
from http2.test_conformance import SITE

pytestmark = pytest.mark.workers(WORKERS[0])

GET = fields(*request())
ALL = END_HEADERS | END_STREAM
POST = fields(*request("/", "POST"))


@pytest.fixture(scope="module")
def site(shared_monoceros):
    return shared_monoceros(config=SITE)


def resets():
    """CVE-2023-44487: streams that are cancelled as soon as they are asked for."""
    for i in range(1, 6000, 2):
        yield frame(HEADERS, END_HEADERS, i, POST) + rst(i)


def provoked():
    """CVE-2025-8671: streams that the server has to reset, because of what is sent on them."""
    for i in range(1, 6000, 2):
        yield frame(HEADERS, END_HEADERS, i, POST) + frame(HEADERS, END_HEADERS | END_STREAM, i, fields((":path", "/trailer")))


def refused():
    """Far more streams than are allowed at a time."""
    for i in range(1, 6000, 2):
        yield frame(HEADERS, END_HEADERS, i, POST)


def continuations():
    """CVE-2024-27316: a header block without end."""
    yield frame(HEADERS, END_STREAM, 1, GET)
    for _ in range(3000):
        yield frame(CONTINUATION, 0, 1, field("x", "y"))


def empty_continuations():
    yield frame(HEADERS, END_STREAM, 1, GET)
    for _ in range(3000):
        yield frame(CONTINUATION, 0, 1)


def empty_data():
    yield frame(HEADERS, END_HEADERS, 1, POST)
    for _ in range(3000):
        yield frame(DATA, 0, 1)


def padded_data():
    yield frame(HEADERS, END_HEADERS, 1, POST)
    for _ in range(200):
        yield frame(DATA, 8, 1, b"\x63" + bytes(99))


def bomb():
    """Few bytes that stand for many: a large entry of the dynamic table, referred to again and again."""
    yield frame(HEADERS, END_STREAM, 1, GET + b"\x40\x01x\x7f" + struct.pack("BB", 0x80 | (3800 - 127) % 128, (3800 - 127) // 128) + b"z" * 3800)
    for _ in range(20):
        yield frame(CONTINUATION, 0, 1, b"\xbe" * 16000)


def own_parents():
    """PRIORITY trees that go round in circles: there are none since RFC 9113, so they cost a frame each and nothing else."""
    for i in range(3000):
        yield frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 0)) + frame(PRIORITY, 0, 3, struct.pack(">IB", 1, 0))


# Each with what the log says of it: the setting that bounds it stands there.
FLOODS = {
    "resets": (resets, "http2_max_resets"), "provoked resets": (provoked, "http2_max_resets"), "refused streams": (refused, "http2_max_resets"),
    "continuations": (continuations, "http2_max_continuations"), "empty continuations": (empty_continuations, "http2_max_continuations"),
    "empty DATA": (empty_data, "http2_max_empty_frames"), "DATA of padding": (padded_data, "http2_max_empty_frames"),
    "HPACK bomb": (bomb, "http2_max_header_list_size"),
    "SETTINGS": (lambda: (settings((INITIAL_WINDOW_SIZE, 1000 + i)) for i in range(3000)), "http2_max_settings"),
    "empty SETTINGS": (lambda: (settings() for _ in range(3000)), "http2_max_settings"),
    "settings ACKs": (lambda: (settings(flags=ACK) for _ in range(3000)), "connection error PROTOCOL_ERROR: SETTINGS"),
    "PING": (lambda: (ping() for _ in range(3000)), "http2_max_pings"),
    "PING answers": (lambda: (ping(flags=ACK) for _ in range(3000)), "http2_max_pings"),
    "PRIORITY": (lambda: (frame(PRIORITY, 0, 1, bytes(5)) for _ in range(5000)), "http2_max_priorities"),
    "PRIORITY in circles": (own_parents, "http2_max_priorities"),
    "PRIORITY_UPDATE": (lambda: (frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 2 * i + 1) + b"u=1") for i in range(5000)), "http2_max_priorities"),
    "WINDOW_UPDATE": (lambda: (window(0, 1) for _ in range(9000)), "http2_max_window_updates"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end(site, name):
    flood, word = FLOODS[name]
    with Client(site.address) as bad, Client(site.address) as good:
        assert good.get().status == 200
        for part in flood():
            bad.send(part)
        frames = bad.drained()
        away = [f for f in frames if f.kind == GOAWAY]
        assert name == "settings ACKs" or away[-1].code == ENHANCE_YOUR_CALM, away
        assert good.get().status == 200
    with Client(site.address) as other:
        assert other.get().status == 200
    site.wait_log(rf"Invalid HTTP/2 from ip=127\.0\.0\.1: .*{word}")


SMALL = {
    "http2_max_resets": resets, "http2_max_settings": lambda: (settings() for _ in range(9)), "http2_max_pings": lambda: (ping() for _ in range(9)),
    "http2_max_priorities": lambda: (frame(PRIORITY, 0, 1, bytes(5)) for _ in range(9)), "http2_max_empty_frames": empty_data,
    "http2_max_window_updates": lambda: (window(0, 1) for _ in range(9)), "http2_max_continuations": empty_continuations,
}


@pytest.mark.parametrize("setting", SMALL)
def test_each_has_a_setting(monoceros, setting):
    """The bound is the one that was set: as many frames are fine, one more is not."""
    site = monoceros(config=SITE.replace("workers = 1", f"workers = 1\n{setting} = 4"))
    parts = list(itertools.islice(SMALL[setting](), 9))
    free = 4 - (setting == "http2_max_settings") + (setting in ("http2_max_empty_frames", "http2_max_continuations"))  # their HEADERS are none
    with Client(site.address, polite=False) as c:
        c.send(*parts[:free])
        if setting not in ("http2_max_continuations", "http2_max_pings"):        # nothing may stand between those
            c.alive()
        c.send(*parts[free:])
        assert [f for f in c.drained() if f.kind == GOAWAY][-1].code == ENHANCE_YOUR_CALM
    site.wait_log(setting)


def test_what_clients_do_is_no_flood(site):
    """A browser that scrolls cancels a lot; gRPC pings; an upload in small pieces."""
    with Client(site.address) as c:
        for i in range(200):
            stream = c.ask("/", "POST", end=False)
            c.send(rst(stream))
        for _ in range(20):
            c.alive()
        stream = c.ask("/", "POST", end=False)
        for _ in range(2000):
            c.send(frame(DATA, 0, stream, b"x"))
        c.send(frame(DATA, END_STREAM, stream, b""))
        assert c.answer(stream).status == 200


sized = pytest.mark.skipif("thread" in under_test.SANITIZED, reason="its shadow memory is counted, too")


@sized
def test_those_who_hold_windows_shut_cost_little(site):
    """Connections with a hundred streams each that take nothing: memory is bounded, others are served."""
    worker = site.wait_workers(1)[0]
    holders = []
    before = rss(worker)
    for _ in range(10):
        c = Client(site.address, pairs=[(INITIAL_WINDOW_SIZE, 0)])
        for _ in range(100):
            c.ask("/")
        c.alive()
        holders.append(c)
    grown = rss(worker) - before
    with Client(site.address) as other:
        assert other.get().status == 200
    for c in holders:
        c.sock.close()
    assert grown < 1000 * 65536, f"{grown} bytes for 1000 streams"


@sized
def test_resets_leave_nothing_behind(monoceros):
    """A stream that is reset in the segment that opens it never gets to a handler."""
    site = monoceros(config=SITE.replace("workers = 1", "workers = 1\nhttp2_max_resets = 100000"))
    worker = site.wait_workers(1)[0]
    with Client(site.address) as c:
        def burst(n):
            for _ in range(n // 50):
                c.send(*[frame(HEADERS, END_HEADERS, i, POST) + rst(i) for i in range(c.next, c.next + 100, 2)])
                c.next += 100
            c.alive()
        burst(2000)
        before = rss(worker)
        burst(6000)
        assert rss(worker) - before < 6000 * 1000
        assert c.get().status == 200


STALLED = """worker_class = {worker}
workers = 1
keepalive = 60s
send_timeout = 1s
http2_cleartext = prior-knowledge
server "a" { listen = "{address}"
 route "all" { static { root = "{tmp}" } }
}
"""


@pytest.mark.parametrize("how", ["window of a stream", "window of the connection", "socket"])
def test_who_takes_nothing_is_given_up(monoceros, how):
    """Zero windows, windows that never open again, a socket that is not read: the streams or the connection go, and the log says so."""
    site = monoceros(config=STALLED)
    (site.directory / "big").write_bytes(bytes(5_000_000))
    pairs = [(INITIAL_WINDOW_SIZE, {"window of a stream": 0, "window of the connection": 1 << 20, "socket": (1 << 31) - 1}[how])]
    with Client(site.address, pairs=pairs) as bad, Client(site.address) as good:
        if how == "socket":
            bad.send(window(0, 1 << 30))
        for _ in range(50):
            bad.ask("/big")
        assert good.get("/none").status == 404
        site.wait_log(r"HTTP/2 client ip=127\.0\.0\.1 takes nothing \(send_timeout\): " + ("connection closed" if how == "socket" else "stream reset"))
        assert good.get("/none").status == 404
        if how == "socket":
            bad.drained()
        else:
            for _ in range(50):
                bad.until(lambda f: f.kind == RST_STREAM)
            bad.alive()


@sized
def test_memory_of_a_connection_has_a_ceiling(monoceros):
    """A hundred streams that send as much as they may and take nothing: what that holds, no peer exceeds."""
    site = monoceros(config=STALLED.replace("send_timeout = 1s", "send_timeout = 60s").replace('{ static { root = "{tmp}" } }',
                                            '{ match { path = "/echo" }  proxy { to = "127.0.0.1:1"  request_buffering = yes } }'))
    worker = site.wait_workers(1)[0]
    with Client(site.address, pairs=[(INITIAL_WINDOW_SIZE, 0)]) as bad:
        bad.alive()
        before = rss(worker)
        for _ in range(100):
            stream = bad.ask("/echo", "POST", end=False)
            for _ in range(3):
                bad.send(frame(DATA, 0, stream, bytes(16384)))
        bad.alive()
        grown = rss(worker) - before
    assert grown < 100 * (65536 + 65536 + 65536) + (1 << 20), f"{grown} bytes"
    with Client(site.address) as other:
        assert other.get("/").status == 404
