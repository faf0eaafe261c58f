"""A small HTTP/1.1 client that works on bytes and refuses what the RFCs refuse.

A test sends any bytes it likes and reads responses one by one. A response that is framed wrongly, has a bare CR, a folded
line, a second Content-Length or bytes after its end raises WireError: the strictness is a check of the server in every test.
"""

import re
import socket

from lib.limits import patience

STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)\Z")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*\Z")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e]*)?\Z")
HEAD_MAX = 1 << 20


class WireError(AssertionError):
    """The server sent what no server may send."""


class Closed(Exception):
    """The server closed the connection; `partial` are the bytes of an answer that did not come whole."""

    def __init__(self, partial, reset=False):
        super().__init__(f"closed after {partial[:200]!r}" + (" by reset" if reset else ""))
        self.partial = partial
        self.reset = reset


class Response:
    """One response: status, reason, version, headers (list of pairs of str), body, trailers, framing, keep."""

    def __init__(self, version, status, reason, headers):
        self.version = version
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = b""
        self.trailers = []
        self.framing = "none"       # none, length, chunked or close
        self.chunks = []            # sizes of the chunks, when chunked
        self.interim = []           # 1xx responses that came before
        self.keep = False           # the server lets the connection open

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f"<Response {self.status} {self.reason!r} {self.framing} {len(self.body)} bytes>"


def tokens(value):
    return [word.strip().lower() for word in (value or "").split(",") if word.strip()]


def request(method="GET", target="/", headers=(), body=None, host="localhost", version="HTTP/1.1", close=False):
    """Bytes of a well-formed request; a body that is given gets a Content-Length unless the headers frame it."""
    lines = [f"{method} {target} {version}"]
    names = {name.lower() for name, _ in headers}
    if host is not None and "host" not in names:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def open_socket(address, timeout=None, rcvbuf=None):
    """A connected socket; address is (host, port) or the path of a unix socket."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if rcvbuf is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.settimeout(timeout if timeout is not None else patience(20))
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


class Connection:
    """A client connection. Reading past the server's close raises Closed, a wrong byte WireError, silence TimeoutError."""

    def __init__(self, address, timeout=None, rcvbuf=None):
        self.sock = open_socket(address, timeout, rcvbuf)
        self.buffer = b""
        self.eof = False

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)
        return self

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def fill(self):
        """Reads more; False at the end of the stream."""
        if self.eof:
            return False
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            raise Closed(self.buffer, reset=True) from None
        if not data:
            self.eof = True
            return False
        self.buffer += data
        return True

    def line(self, taken):
        while b"\n" not in self.buffer:
            if len(self.buffer) > HEAD_MAX:
                raise WireError("line without end")
            if not self.fill():
                raise Closed(taken + self.buffer)
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not line.endswith(b"\r"):
            raise WireError(f"line ends with a bare LF: {line[:200]!r}")
        return line[:-1]

    def fields(self, taken):
        fields = []
        while True:
            line = self.line(taken)
            if not line:
                return fields
            match = FIELD_LINE.match(line)
            if not match:
                raise WireError(f"bad field line {line[:200]!r}")
            fields.append((match[1].decode("latin-1"), match[2].decode("latin-1")))

    def exactly(self, count):
        parts = []
        while count:
            if not self.buffer and not self.fill():
                raise Closed(b"".join(parts))
            part, self.buffer = self.buffer[:count], self.buffer[count:]
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def read_head(self):
        line = self.line(b"")
        match = STATUS_LINE.match(line)
        if not match:
            raise WireError(f"bad status line {line[:200]!r}")
        return Response("HTTP/" + match[1].decode(), int(match[2]), match[3].decode("latin-1"), self.fields(line))

    def read(self, method="GET"):
        """The next final response to a request with this method."""
        interim = []
        while True:
            response = self.read_head()
            if response.status >= 200 or response.status == 101:
                break
            if response.all("Content-Length") or response.all("Transfer-Encoding"):
                raise WireError("a 1xx response with framing fields")
            interim.append(response)
        response.interim = interim
        self.read_body(response, method)
        return response

    def read_body(self, response, method):
        lengths = response.all("Content-Length")
        coding = tokens(response.get("Transfer-Encoding"))
        if len(lengths) > 1 or (lengths and coding):
            raise WireError(f"framing fields at odds: {response.headers}")
        if lengths and not re.fullmatch(r"[0-9]+", lengths[0]):
            raise WireError(f"bad Content-Length {lengths[0]!r}")
        if coding not in ([], ["chunked"]):
            raise WireError(f"transfer coding {coding}")
        if coding and response.version == "HTTP/1.0":
            raise WireError("chunked in an HTTP/1.0 response")
        connection = tokens(response.get("Connection"))
        if "close" in connection and "keep-alive" in connection:
            raise WireError(f"Connection: {connection}")
        response.keep = "close" not in connection and (response.version == "HTTP/1.1" or "keep-alive" in connection)
        if method == "HEAD" or response.status in (101, 204, 304):
            if response.status in (101, 204) and (lengths or coding):
                raise WireError(f"{response.status} with {response.headers}")
        elif coding:
            response.framing = "chunked"
            self.read_chunks(response)
        elif lengths:
            response.framing = "length"
            response.body = self.exactly(int(lengths[0]))
        else:
            if response.keep:
                raise WireError(f"no framing and no close: {response.status} {response.headers}")
            response.framing = "close"
            while self.fill():
                pass
            response.body, self.buffer = self.buffer, b""

    def read_chunks(self, response):
        parts = []
        while True:
            line = self.line(b"")
            match = CHUNK_LINE.match(line)
            if not match:
                raise WireError(f"bad chunk line {line[:200]!r}")
            size = int(match[1], 16)
            if size == 0:
                break
            parts.append(self.exactly(size))
            response.chunks.append(size)
            if self.exactly(2) != b"\r\n":
                raise WireError("chunk longer than it says")
        response.trailers = self.fields(b"")
        response.body = b"".join(parts)

    def ask(self, *args, **kwargs):
        """Sends request(...) and reads its response."""
        self.send(request(*args, **kwargs))
        return self.read(args[0] if args else kwargs.get("method", "GET"))

    def ended(self):
        """True when the server has closed (or closes in patience) and nothing is left unread."""
        try:
            while self.fill():
                pass
        except Closed:
            return not self.buffer
        if self.buffer:
            raise WireError(f"bytes after the last response: {self.buffer[:200]!r}")
        return True

    def still_open(self):
        """True when the server has neither closed nor sent anything."""
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) is None
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(patience(20))


def ask(address, *args, **kwargs):
    """One request on a connection of its own."""
    with Connection(address) as connection:
        return connection.ask(*args, **kwargs)
