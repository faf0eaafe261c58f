"""Crowds of bad clients: half-sent requests, and clients that ask for much and read next to nothing."""

from lib import wire


class Crowd:
    def __init__(self):
        self.connections = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for connection in self.connections:
            connection.close()

    def half_requests(self, address, count):
        """Clients that send a part of a head and then nothing more."""
        for number in range(count):
            connection = wire.Connection(address)
            connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Half: " + b"x" * (number % 500))
            self.connections.append(connection)

    def slow_readers(self, address, count, target):
        """Clients with a small window that ask for a large response and do not read it yet."""
        for _ in range(count):
            connection = wire.Connection(address, rcvbuf=4096)
            connection.send(wire.request("GET", target, close=True))
            self.connections.append(connection)

    def sip(self):
        """Every client reads one byte, where there is one."""
        for connection in self.connections:
            connection.sock.settimeout(0)
            try:
                connection.buffer += connection.sock.recv(1)
            except (BlockingIOError, InterruptedError):
                pass
