"""WebSockets after RFC 6455 and RFC 7692, from a client that works on frames, against an app that sends back what it gets."""

import random
import zlib

import pytest

from lib.server import APPS
from lib.websocket import ACCEPT, BINARY, TEXT, WebSocket, deflated, frame, upgrade
from lib.websocket_cases import CASES, DEFLATE, END, ENDS, LIMIT, run

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
@pytest.fixture(scope="module")
def site(shared_monoceros):
    return shared_monoceros("sockets:app", "-k", "asgi", "--websocket-max-message-size", str(LIMIT), "--worker-connections", "50", cwd=HERE)


@pytest.mark.parametrize("name", CASES)
def test_case(site, name):
    run(site.address, name)


def test_there_are_enough():
    assert len(CASES) >= 250


# --- the handshake

@pytest.mark.parametrize("status, change", [
    (400, {"without": ["Sec-WebSocket-Key"]}), (400, {"without": ["Sec-WebSocket-Version"]}),
    (400, {"key": "short"}), (400, {"key": ""}), (400, {"key": "dGhlIHNhbXBsZSBub25jZR=="}), (400, {"key": "dGhlIHNhbXBsZSBub25jZQ="}),
    (400, {"key": "d*hlIHNhbXBsZSBub25jZQ=="}), (400, {"headers": [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]}),
    (426, {"without": ["Sec-WebSocket-Version"], "headers": [("Sec-WebSocket-Version", "8")]}),
    (426, {"without": ["Sec-WebSocket-Version"], "headers": [("Sec-WebSocket-Version", "14")]}),
    (400, {"headers": [("Content-Length", "3")]}),
    (200, {"method": "POST"}), (200, {"version": "HTTP/1.0"}), (200, {"without": ["Upgrade"]}), (200, {"without": ["Connection"]}),
    (200, {"without": ["Upgrade"], "headers": [("Upgrade", "h2c")]}),
    (101, {"without": ["Upgrade"], "headers": [("Upgrade", "WebSocket")]}), (101, {"without": ["Connection"], "headers": [("Connection", "keep-alive, UPGRADE")]}),
    (101, {"without": ["Upgrade"], "headers": [("Upgrade", "foo, websocket")]}),
])
def test_handshake(site, status, change):
    with site.connect() as client:
        client.send(upgrade(**change) + b"xyz")
        response = client.read_head()
        assert response.status == status
        assert (response.get("sec-websocket-version") == "13") == (status == 426)
        assert (response.get("sec-websocket-accept") == ACCEPT) == (status == 101)


NONE = "; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize("offer, answer", [
    ("permessage-deflate", NONE), ("Permessage-Deflate", NONE), ("permessage-deflate; client_max_window_bits", NONE),
    ("permessage-deflate; client_max_window_bits=10", NONE), ('permessage-deflate; client_max_window_bits="12"', NONE),
    ("permessage-deflate; server_no_context_takeover", NONE), ("permessage-deflate; client_no_context_takeover; server_no_context_takeover", NONE),
    *((f"permessage-deflate; server_max_window_bits={bits}", NONE + f"; server_max_window_bits={bits}") for bits in range(9, 16)),
    ('permessage-deflate; server_max_window_bits="10"; client_max_window_bits', NONE + "; server_max_window_bits=10"),
    ("permessage-deflate; server_max_window_bits=8", None), ("permessage-deflate; server_max_window_bits=8, permessage-deflate", NONE),
    ("permessage-deflate; server_max_window_bits=16", None), ("permessage-deflate; server_max_window_bits=015", None),
    ("permessage-deflate; server_max_window_bits", None), ("permessage-deflate; client_max_window_bits=7", None),
    ("permessage-deflate; server_no_context_takeover=1", None), ("permessage-deflate; unknown", None), ("permessage-deflate; unknown=1, permessage-deflate", NONE),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
    ("x-webkit-deflate-frame", None), ("foo, bar; x=y", None), ("", None), (";", None), ("permessage-deflate;", None),
])
def test_compression_is_agreed_on(site, offer, answer):
    with WebSocket(site.address, headers=[("Sec-WebSocket-Extensions", offer)]) as ws:
        assert ws.response.get("sec-websocket-extensions") == (answer if answer is None else "permessage-deflate" + answer)
        ws.send(frame(TEXT, "y" * 500) + ENDS)
        assert ws.frames() == [(TEXT, b"y" * 500), END]


def test_the_server_compresses_what_is_worth_it(site):
    with WebSocket(site.address, headers=DEFLATE) as ws:
        ws.send(frame(TEXT, "z" * 100_000) + frame(TEXT, "z"))
        while len(ws.buffer) < 20:
            ws.fill()
        assert ws.buffer[0] == 0xc1 and ws.buffer[1] < 127
        assert ws.frame() == (TEXT, b"z" * 100_000)
        while len(ws.buffer) < 3:
            ws.fill()
        assert ws.buffer[:3] == b"\x81\x01z"


@pytest.mark.parametrize("bits", range(9, 16))
def test_the_server_keeps_to_the_window_that_the_client_has(site, bits):
    """What comes again at a distance that a larger window reaches, and within this one."""
    data = bytes(20_000) + b"".join((random.Random(bits).randbytes(1 << size) * 3)[:2 << size] for size in range(6, 16))
    with WebSocket(site.address, headers=[("Sec-WebSocket-Extensions", f"permessage-deflate; server_max_window_bits={bits}")]) as ws:
        ws.send(frame(BINARY, data) + frame(BINARY, data[::-1]))
        assert ws.frame() == (BINARY, data) and ws.size < len(data) and ws.frame() == (BINARY, data[::-1])


def test_zlib_agrees():
    assert zlib.decompressobj(-15).decompress(deflated("test") + b"\0\0\xff\xff") == b"test"
