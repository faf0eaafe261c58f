"""A closed-loop load client in threads: each client asks, waits for the answer, asks again. It counts what became of every request.

sent      requests that went out: all of answered, wrong, lost and stale, once stop() has returned
answered  a whole response came, and `check` was content with it
wrong     a whole response came, and `check` was not
lost      sent on a fresh connection, no complete answer (reset, closed, silence)
stale     a kept connection was closed before the first byte of an answer, without Connection: close before
refused   the connection was not accepted: the server has stopped
"""

import threading
import time
from collections import Counter

from lib import wire
from lib.limits import patience, until


class Load:
    def __init__(self, address, clients=8, keep=False, request=None, method="GET", check=None, tls=None):
        self.address = address
        self.tls = tls                  # an SSLContext
        self.keep = keep
        self.request = request or wire.request(method, "/", close=not keep)
        self.method = method
        self.check = check or (lambda response: response.status == 200)
        self.counts = Counter()
        self.notes = []
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(clients)]

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(patience(60))
            assert not thread.is_alive(), "a load client hangs"
        return self

    def __getattr__(self, name):
        if name in ("sent", "answered", "wrong", "lost", "stale", "refused"):
            return self.counts[name]
        raise AttributeError(name)

    def told(self):
        return ", ".join(f"{name} {self.counts[name]}" for name in ("sent", "answered", "lost", "stale", "refused", "wrong")) + f" {self.notes}"

    def nothing_lost(self):
        """Ends it: whatever was sent was answered, and nobody was refused."""
        self.stop()
        assert self.sent == self.answered and not self.refused, self.told()

    def count(self, what, note=None):
        with self.lock:
            self.counts[what] += 1
            if note and len(self.notes) < 20:
                self.notes.append(f"{time.strftime('%T')} {what}: {note}")

    def client(self):
        while not self.ending.is_set():
            try:
                connection = self.connect()
            except (ConnectionRefusedError, FileNotFoundError):
                self.count("refused")
                self.ending.wait(0.01)
                continue
            except OSError as error:        # reset by a listener that closes while we connect
                self.count("sent")
                self.count("lost", repr(error))
                continue
            with connection:
                self.talk(connection)

    def connect(self):
        connection = wire.Connection(self.address)
        if self.tls:
            connection.sock = self.tls.wrap_socket(connection.sock, server_hostname="localhost", suppress_ragged_eofs=False)
        return connection

    def talk(self, connection):
        fresh = True
        while not self.ending.is_set() or fresh:
            self.count("sent")
            try:
                connection.send(self.request)
                response = connection.read(self.method)
            except wire.Closed as closed:
                stale = not fresh and not closed.partial
                self.count("stale" if stale else "lost", str(closed))
                return
            except wire.WireError as error:
                self.count("wrong", str(error))
                return
            except OSError as error:
                self.count("lost" if fresh else "stale", repr(error))
                return
            good = self.check(response)
            self.count("answered" if good else "wrong", None if good else repr(response))
            if not (self.keep and response.keep):
                return
            fresh = False

    def wait_answered(self, count, seconds=60):
        return until(lambda: self.counts["answered"] >= count, f"{count} answers ({dict(self.counts)}, {self.notes[:3]})", seconds)
