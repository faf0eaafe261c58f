"""Peers that cost more than they are worth: each is told to calm down, and other clients are served meanwhile."""

import struct

import pytest

from lib.fixtures import WORKERS
from lib.frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PRIORITY,
                        PRIORITY_UPDATE, Client, Closed, field, fields, frame, ping, request, rst, settings, window)
from lib.procfs import rss
from http2.test_conformance import SITE

pytestmark = pytest.mark.workers(WORKERS[0])

GET = fields(*request())
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


FLOODS = {
    "resets": resets(), "provoked resets": provoked(), "refused streams": refused(), "continuations": continuations(),
    "empty continuations": empty_continuations(), "empty DATA": empty_data(), "DATA of padding": padded_data(), "HPACK bomb": bomb(),
    "SETTINGS": (settings((INITIAL_WINDOW_SIZE, 1000 + i)) for i in range(3000)), "empty SETTINGS": (settings() for _ in range(3000)),
    "PING": (ping() for _ in range(3000)), "PRIORITY": (frame(PRIORITY, 0, 1, bytes(5)) for _ in range(5000)),
    "PRIORITY_UPDATE": (frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 2 * i + 1) + b"u=1") for i in range(5000)),
    "WINDOW_UPDATE": (window(0, 1) for _ in range(9000)),
    "settings ACKs": (settings(flags=ACK) for _ in range(3000)),
}
# nghttp2 ends these itself, some without another word.
ITS_OWN = {"continuations", "empty continuations", "settings ACKs"}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end(site, name):
    with Client(site.address) as bad, Client(site.address) as good:
        assert good.get().status == 200
        for part in FLOODS[name]:
            bad.send(part)
        frames = bad.drained()
        away = [f for f in frames if f.kind == GOAWAY]
        assert name in ITS_OWN or away[-1].code == ENHANCE_YOUR_CALM, away
        assert good.get().status == 200
    with Client(site.address) as other:
        assert other.get().status == 200


def test_they_are_named_in_the_log(site):
    log = site.log()
    assert "HTTP/2: too many " in log


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
