"""HTTP/2 frame by frame: a client that sends any frame it is told to and shows those that come (RFC 9113). Knows HPACK from the package of that name."""

import socket
import struct
import time

import hpack

from lib.limits import patience

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL,
 COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9
NAMES = ("DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE CONTINUATION").split()
MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """The bytes of a frame; length= lies about it."""
    n = len(payload) if length is None else length
    return struct.pack(">BHBBI", n >> 16, n & 0xFFFF, kind, flags, stream) + payload


def settings(*pairs, flags=0, stream=0):
    return frame(SETTINGS, flags, stream, b"".join(struct.pack(">HI", *p) for p in pairs))


def window(stream, n):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))


def rst(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def ping(data=b"12345678", flags=0):
    return frame(PING, flags, 0, data)


def goaway(last=0, code=NO_ERROR, extra=b"", stream=0):
    return frame(GOAWAY, 0, stream, struct.pack(">II", last, code) + extra)


def padded(data, n, flags, kind, stream):
    return frame(kind, flags | PADDED, stream, bytes([n]) + data + bytes(n))


def field(name, value):
    """A literal field without indexing and without Huffman: names and values are sent as they stand."""
    out = b"\x00"
    for text in (name, value):
        text = text if isinstance(text, bytes) else text.encode("latin-1")
        assert len(text) < 16000
        out += (bytes([len(text)]) if len(text) < 127 else b"\x7f" + varint(len(text) - 127)) + text
    return out


def varint(n):
    out = b""
    while n >= 128:
        out += bytes([n % 128 | 128])
        n //= 128
    return out + bytes([n])


def fields(*pairs):
    return b"".join(field(*p) for p in pairs)


def request(path="/", method="GET", *more, authority="localhost", scheme="http"):
    """The pairs of a good request."""
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *more]


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload
        self.headers = None

    @property
    def end(self):
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self):
        return struct.unpack(">I", self.payload[4:8] if self.kind == GOAWAY else self.payload[:4])[0]

    @property
    def last(self):
        return struct.unpack(">I", self.payload[:4])[0] & 0x7FFFFFFF

    def __repr__(self):
        name = NAMES[self.kind] if self.kind < len(NAMES) else hex(self.kind)
        more = f" code {self.code}" if self.kind in (RST_STREAM, GOAWAY) else f" {self.headers}" if self.headers else ""
        return f"<{name} flags {self.flags:#x} stream {self.stream} {len(self.payload)} bytes{more}>"


class Answer:
    def __init__(self):
        self.interim, self.headers, self.body, self.trailers, self.frames = [], [], b"", [], []

    @property
    def status(self):
        return int(dict(self.headers).get(":status", 0))

    def get(self, name):
        return dict(self.headers).get(name)


class Closed(Exception):
    """The server has closed the connection."""


class Client:
    """A connection. Without hello=False it begins as it should, with these settings; polite=False acknowledges none."""

    def __init__(self, address, context=None, hello=True, pairs=(), timeout=20, polite=True):
        self.sock = socket.create_connection(address, timeout=patience(timeout))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost", suppress_ragged_eofs=True)
        self.data = b""
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 24
        self.seen = []
        self.next = 1
        self.polite = polite
        if hello:
            self.send(MAGIC + settings(*pairs))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, *data):
        """A server that has had enough may close while we still send: what it said is read later."""
        try:
            self.sock.sendall(b"".join(data))
        except OSError:
            pass

    def encode(self, pairs):
        return self.encoder.encode(pairs, huffman=True)

    def ask(self, path="/", method="GET", *more, body=None, authority="localhost", end=True, trailers=None):
        """Send a request; the number of its stream. body without window control: small ones only."""
        stream, self.next = self.next, self.next + 2
        over = end and body is None and trailers is None
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if over else 0), stream, self.encode(request(path, method, *more, authority=authority))))
        if body is not None:
            for at in range(0, max(len(body), 1), 16384):
                last = at + 16384 >= len(body) and end and trailers is None
                self.send(frame(DATA, END_STREAM if last else 0, stream, body[at:at + 16384]))
        if trailers is not None:
            self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, self.encode(trailers)))
        return stream

    def read(self):
        """The next frame; settings and pings of the server are acknowledged."""
        while True:
            if len(self.data) >= 9:
                high, low, kind, flags, stream = struct.unpack(">BHBBI", self.data[:9])
                n = high << 16 | low
                if len(self.data) >= 9 + n:
                    f = Frame(kind, flags, stream & 0x7FFFFFFF, self.data[9:9 + n])
                    self.data = self.data[9 + n:]
                    return self.note(f)
            try:
                more = self.sock.recv(65536)
            except (ConnectionError, BrokenPipeError):
                more = b""
            if not more:
                raise Closed(f"after {self.seen[-5:]}")
            self.data += more

    def note(self, f):
        self.seen.append(f)
        assert len(f.payload) <= 16384, f"{f} is larger than we allow"
        if f.kind == HEADERS:
            assert f.flags & END_HEADERS or len(f.payload) > 1000
            block = f.payload
            while not f.flags & END_HEADERS:
                c = self.read_raw()
                assert c.kind == CONTINUATION and c.stream == f.stream
                block += c.payload
                f.flags |= c.flags & END_HEADERS
            f.headers = self.decoder.decode(block)
        elif f.kind == SETTINGS and not f.flags & ACK and self.polite:
            self.send(settings(flags=ACK))
        elif f.kind == PING and not f.flags & ACK:
            self.send(ping(f.payload, ACK))
        return f

    def read_raw(self):
        while len(self.data) < 9 or len(self.data) < 9 + int.from_bytes(self.data[:3], "big"):
            self.data += self.sock.recv(65536)
        n = int.from_bytes(self.data[:3], "big")
        f = Frame(self.data[3], self.data[4], int.from_bytes(self.data[5:9], "big"), self.data[9:9 + n])
        self.data = self.data[9 + n:]
        return f

    def until(self, wanted, seconds=20):
        """The first frame for which wanted(frame) holds."""
        end = time.monotonic() + patience(seconds)
        while time.monotonic() < end:
            f = self.read()
            if wanted(f):
                return f
        raise AssertionError(f"it did not come: {self.seen[-10:]}")

    def answers(self, *streams, update=True):
        """Whole answers of these streams, by stream; windows are kept open."""
        found = {s: Answer() for s in streams}
        left = set(streams)
        while left:
            f = self.read()
            if f.kind == GOAWAY and f.code != NO_ERROR:
                raise AssertionError(f"{f}")
            if f.stream not in found:
                continue
            a = found[f.stream]
            a.frames.append(f)
            assert f.kind != RST_STREAM or f.stream not in left, f"{f} {self.seen[-10:]}"
            if f.kind == HEADERS:
                status = dict(f.headers).get(":status")
                if status and status[0] == "1":
                    a.interim.append(f.headers)
                elif a.headers:
                    a.trailers = f.headers
                else:
                    a.headers = f.headers
            elif f.kind == DATA:
                a.body += f.payload
                if update and f.payload:
                    self.send(window(0, len(f.payload)), b"" if f.end else window(f.stream, len(f.payload)))
            if f.end:
                left.discard(f.stream)
        return found

    def answer(self, stream, **kwargs):
        return self.answers(stream, **kwargs)[stream]

    def get(self, *args, **kwargs):
        return self.answer(self.ask(*args, **kwargs))

    def alive(self):
        """Does it still answer?"""
        data = struct.pack(">d", time.monotonic())
        self.send(ping(data))
        self.until(lambda f: f.kind == PING and f.flags & ACK and f.payload == data)

    def drained(self):
        """Every frame up to the end of the connection."""
        frames = []
        try:
            while True:
                frames.append(self.read())
        except Closed:
            return frames
