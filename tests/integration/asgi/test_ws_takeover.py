"""websocket_context_takeover: contexts of compression that outlive their message, on both sides (RFC 7692 §7.1.1, §7.2)."""

import random
import zlib

import pytest

from lib.server import APPS
from lib.websocket import BINARY, TEXT, WebSocket, close, deflated, frame

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
OFFER = [("Sec-WebSocket-Extensions", "permessage-deflate")]


@pytest.fixture(scope="module")
def site(shared_monoceros):
    return shared_monoceros("sockets:app", "-k", "asgi", "--websocket-context-takeover", cwd=HERE)


class Compressor:
    """A client's, whose messages refer to those before them."""

    def __init__(self):
        self.codec = zlib.compressobj(9, zlib.DEFLATED, -15)

    def __call__(self, data):
        return (self.codec.compress(data) + self.codec.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize("offer, answer", [
    ("", ""), ("; client_max_window_bits", ""), ("; server_no_context_takeover", "; server_no_context_takeover"),
    ("; client_no_context_takeover", "; client_no_context_takeover"),
    ("; client_no_context_takeover; server_no_context_takeover", "; server_no_context_takeover; client_no_context_takeover"),
])
def test_it_is_agreed_on(site, offer, answer):
    with WebSocket(site.address, headers=[("Sec-WebSocket-Extensions", "permessage-deflate" + offer)]) as ws:
        assert ws.response.get("sec-websocket-extensions") == "permessage-deflate" + answer
        text, sizes = b'{"kind": "price", "of": "ABC", "value": 1.23, "time": 1234567890}', []
        compress = Compressor() if "client_no" not in offer else deflated
        for _ in range(3):
            ws.send(frame(TEXT, compress(text), rsv=4))
            assert ws.frame() == (TEXT, text)
            sizes.append(ws.size)
        assert ("server_no" in offer) == (sizes[1] == sizes[0]) and (sizes[2] < 20 or "server_no" in offer), sizes


@pytest.mark.parametrize("bits", ["", "; server_max_window_bits=9", "; server_max_window_bits=12"])
def test_any_mixture(site, bits):
    """Small and large ones, beyond the window, some that do not get smaller (then we begin anew), fragments, and what is sent as it is."""
    randoms = random.Random(7692)
    compress = Compressor()
    words = [b"some ", b"words ", b"that ", b"come ", b"again ", b"and again "]
    with WebSocket(site.address, headers=[("Sec-WebSocket-Extensions", "permessage-deflate" + bits)]) as ws:
        for number in range(300):
            kind = randoms.randrange(5)
            data = b"".join(randoms.choices(words, k=randoms.choice((0, 1, 5, 50, 500, 20_000 if kind == 0 else 5))))
            if kind == 1:
                data = randoms.randbytes(randoms.choice((10, 100, 5000)))
            if kind == 2:
                ws.send(frame(BINARY, data))
            elif kind == 3:
                packed = compress(data)
                at = randoms.randrange(len(packed) + 1)
                ws.send(frame(BINARY, packed[:at], fin=False, rsv=4) + frame(0, packed[at:]))
            else:
                ws.send(frame(BINARY, compress(data), rsv=4))
            assert ws.frame() == (BINARY, data), number
        ws.send(close(1000))
        assert ws.closed() == 1000


def test_final_blocks_do_not_end_the_context(site):
    """§7.2.3.4: who sets BFINAL sends a byte of 0 behind; the window goes on."""
    text = b"the same text, which is long enough to be referred to; " * 2
    with WebSocket(site.address, headers=OFFER) as ws:
        codec = zlib.compressobj(9, zlib.DEFLATED, -15)
        first = codec.compress(text) + codec.flush() + b"\0"
        codec = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=text)
        second = codec.compress(text) + codec.flush() + b"\0"
        assert len(second) < 12
        for packed in (first, second):
            ws.send(frame(TEXT, packed, rsv=4))
            assert ws.frame() == (TEXT, text)


def test_what_was_not_there_cannot_be_referred_to(site):
    """Another connection's messages are nobody's context."""
    codec = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=b"the text of another client" * 4)
    packed = (codec.compress(b"the text of another client" * 4) + codec.flush(zlib.Z_SYNC_FLUSH))[:-4]
    for _ in range(3):
        with WebSocket(site.address, headers=OFFER) as ws:
            ws.send(frame(TEXT, deflated(b"the text of another client" * 4), rsv=4))
            assert ws.frame()[0] == TEXT
            ws.send(close(1000))
            assert ws.closed() == 1000
        with WebSocket(site.address, headers=OFFER) as ws:
            ws.send(frame(TEXT, packed, rsv=4))
            assert ws.closed() == 1007
