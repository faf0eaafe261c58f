"""A WebSocket client that works on frames: it sends any bytes it likes and refuses what a server may not send."""

import base64
import os
import re
import struct
import zlib

from lib.wire import Connection, WireError, request

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="       # RFC 6455 §1.3


def frame(op, data=b"", fin=True, rsv=0, mask=b"\x12\x34\x56\x78", length=None):
    """A client's frame. mask=None: unmasked; length: 7, 16 or 64, the form of the length when it is not the shortest."""
    data = data.encode() if isinstance(data, str) else data
    n = len(data)
    form = length or (7 if n < 126 else 16 if n < 65536 else 64)
    head = bytes([(0x80 if fin else 0) | rsv << 4 | op, (0x80 if mask else 0) | {7: n & 127, 16: 126, 64: 127}[form]])
    head += {7: b"", 16: struct.pack("!H", n & 0xffff), 64: struct.pack("!Q", n)}[form]
    if not mask:
        return head + data
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)) if n < 4096 else head + mask + masked(data, mask)


def masked(data, mask):
    n = len(data)
    return (int.from_bytes(data, "big") ^ int.from_bytes((mask * (n // 4 + 1))[:n], "big")).to_bytes(n, "big")


def close(code=None, reason=b""):
    reason = reason.encode() if isinstance(reason, str) else reason
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def deflated(data, level=6, flush=zlib.Z_SYNC_FLUSH):
    data = data.encode() if isinstance(data, str) else data
    coder = zlib.compressobj(level, zlib.DEFLATED, -15)
    out = coder.compress(data) + coder.flush(flush)
    return out[:-4] if flush == zlib.Z_SYNC_FLUSH else out


def upgrade(path="/echo", headers=(), method="GET", version="HTTP/1.1", without=(), key=KEY):
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", "13")]
    return request(method, path, [pair for pair in fields if pair[0] not in without] + list(headers), version=version)


class WebSocket(Connection):
    """Connected, and the handshake done; `response` is the answer to it."""

    def __init__(self, address, path="/echo", headers=(), **kwargs):
        super().__init__(address, **kwargs)
        self.send(upgrade(path, headers))
        self.response = self.read_head()
        if self.response.status != 101 or self.response.get("sec-websocket-accept") != ACCEPT:
            raise WireError(f"no WebSocket: {self.response}")
        self.agree()

    def agree(self):
        agreed = self.response.get("sec-websocket-extensions") or ""
        self.deflate = "permessage-deflate" in agreed
        bits = re.search(r"server_max_window_bits=(\d+)", agreed)
        self.bits = int(bits[1]) if bits else 15        # an inflater with no more than that refuses what lies farther back
        self.inflater = zlib.decompressobj(-self.bits) if self.deflate and "server_no_context_takeover" not in agreed else None

    def inflate(self, data):
        return (self.inflater or zlib.decompressobj(-self.bits)).decompress(data + b"\0\0\xff\xff")

    def frame(self):
        """The next frame as (op, payload), whole messages decompressed; None at the end."""
        while len(self.buffer) < 2:
            if not self.fill():
                if self.buffer:
                    raise WireError(f"half a frame: {self.buffer!r}")
                return None
        first, second = self.buffer[:2]
        more = {126: 2, 127: 8}.get(second, 0)
        size = int.from_bytes(self.take(2 + more)[2:], "big") if more else len(self.take(2)) and second
        data = self.take(size)
        op, compressed = first & 15, first & 0x40
        if second & 0x80 or not first & 0x80 or first & 0x30 or (compressed and not (self.deflate and op in (TEXT, BINARY))):
            raise WireError(f"a server may not send {first:02x} {second:02x}")
        if more and size < (126 if more == 2 else 65536):
            raise WireError("a length that is not the shortest")
        self.size = size
        return op, self.inflate(data) if compressed else data

    def take(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise WireError(f"the end in a frame: {self.buffer!r}")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def frames(self):
        """All that comes until the end."""
        found = []
        while (each := self.frame()) is not None:
            found.append(each)
        return found

    def closed(self):
        """The code of the server's close (None: without one), and then the end."""
        op, data = self.frame()
        assert op == CLOSE, (op, data)
        assert self.frame() is None
        return int.from_bytes(data[:2], "big") if data else None


def random_key():
    return base64.b64encode(os.urandom(16)).decode()
