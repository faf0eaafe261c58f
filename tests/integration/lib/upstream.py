"""Upstreams under a script: what a proxy sends is kept byte for byte, what it gets is whatever the script writes.

    with Upstream(script) as up:            # listens on a free port of 127.0.0.1 (or unix=path, or context= for TLS)
        up.address, up.text                 # ("127.0.0.1", 12345), "127.0.0.1:12345"

The script is called in a thread for each accepted connection, with a Peer. When it returns, the connection is closed. `up.requests` holds
the bytes of every head (and body, where read) that came, `up.connections` counts, `up.errors` are a script's own failures.
"""

import re
import socket
import struct
import threading
import traceback

from lib.limits import patience, until
from lib.server import free_port


class Gone(Exception):
    """The proxy has closed the connection."""


class Peer:
    def __init__(self, upstream, sock, number):
        self.upstream = upstream
        self.sock = sock
        self.number = number        # of the connection, from 1
        self.buffer = b""

    def fill(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, socket.timeout, OSError) as error:
            raise Gone(str(error)) from None
        if not data:
            raise Gone("end")
        self.buffer += data

    def head(self):
        """Bytes of the next request head."""
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        head += b"\r\n\r\n"
        self.upstream.note(head)
        return head

    def exactly(self, count):
        while len(self.buffer) < count:
            self.fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def request(self):
        """Head and body of the next request: (head, body)."""
        head = self.head()
        match = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
        if match:
            return head, self.exactly(int(match[1]))
        if re.search(rb"(?i)\r\ntransfer-encoding: chunked\r\n", head):
            return head, self.chunked()
        return head, b""

    def chunked(self):
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                self.fill()
            line, self.buffer = self.buffer.split(b"\r\n", 1)
            size = int(line, 16)
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
            if size == 0:
                return body

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from None

    def reply(self, body=b"ok", status="200 OK", headers=()):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1") + body)

    def wait_end(self):
        """Until the proxy closes."""
        try:
            while True:
                self.fill()
        except Gone:
            pass
        self.upstream.ended.append(self.number)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Upstream:
    def __init__(self, script, unix=None, context=None, backlog=64, address=None):
        self.script = script
        self.context = context
        self.requests = []
        self.connections = 0
        self.ended = []
        self.errors = []
        self.lock = threading.Lock()
        self.peers = []
        if unix:
            self.address = self.text = str(unix)
            self.text = f"unix:{unix}"
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(unix))
        else:
            self.address = address or ("127.0.0.1", free_port())
            self.text = f"{self.address[0]}:{self.address[1]}"
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(self.address)
        self.listener.listen(backlog)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(patience(60))
            with self.lock:
                self.connections += 1
                number = self.connections
            threading.Thread(target=self.serve, args=(sock, number), daemon=True).start()

    def serve(self, sock, number):
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            peer = Peer(self, sock, number)
            self.peers.append(peer)
            self.script(peer)
        except (Gone, ConnectionError, OSError):
            pass
        except Exception:   # noqa: BLE001  told by the test
            self.errors.append(traceback.format_exc())
        finally:
            sock.close()

    def note(self, head):
        with self.lock:
            self.requests.append(head)

    def wait_requests(self, count):
        return until(lambda: len(self.requests) >= count and self.requests, f"{count} requests at the upstream")

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for peer in self.peers:
            peer.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.close()
        if kind is None:
            assert not self.errors, self.errors[0]


def serving(answer):
    """A script: each request of a connection is answered by answer(peer, head, body)."""
    def script(peer):
        while True:
            answer(peer, *peer.request())
    return script


def saying(data, close=True):
    """A script: to each request these bytes."""
    def script(peer):
        while True:
            peer.request()
            peer.send(data)
            if close:
                return
    return script
