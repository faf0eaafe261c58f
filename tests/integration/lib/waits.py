"""New connections at a steady rate beside some long requests: does one wait although a worker has a free slot?

A wait is a request that has been sent and not answered while the scoreboard showed a free slot, in some worker, for `bound` seconds in
sum. The board is looked at after all answers that are there have been read, and a look speaks for STEP seconds at most: a client
that is late itself sees no waits.
"""

import selectors
import socket
import time

from lib import board, wire

STEP = 0.05


def ready(site):
    """Slots of the workers that serve."""
    return [slot for slot in board.slots(site.pid) if slot.state in ("idle", "busy")]


class Steady:
    def __init__(self, site, threads, bound, rate=200, target="/"):
        self.site = site
        self.threads = threads
        self.bound = bound
        self.pause = 1 / rate
        self.request = wire.request("GET", target, close=True)
        self.selector = selectors.DefaultSelector()
        self.free = 0.0             # seconds with a free slot so far
        self.looked = None
        self.sent = {}              # by socket: time, and self.free of then
        self.answered, self.fullest = 0, 0
        self.slowest = 0.0
        self.waits, self.wrong = [], []

    def ask(self):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self.site.address)
        self.selector.register(sock, selectors.EVENT_WRITE)
        self.sent[sock] = (time.monotonic(), self.free)

    def forget(self, sock):
        self.selector.unregister(sock)
        sock.close()
        return self.sent.pop(sock)[0]

    def hear(self, timeout):
        for key, events in self.selector.select(timeout):
            sock = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    sock.send(self.request)
                    self.selector.modify(sock, selectors.EVENT_READ)
                    continue
                answer = sock.recv(4096)
            except OSError as error:
                answer = repr(error).encode()
            took = time.monotonic() - self.forget(sock)
            self.slowest = max(self.slowest, took)
            if answer.startswith(b"HTTP/1.1 200 "):
                self.answered += 1
            else:
                self.wrong.append(answer[:200])

    def look(self):
        self.hear(0)
        running = [slot.running for slot in ready(self.site)]
        now = time.monotonic()
        self.fullest = max(self.fullest, sum(running))
        if self.looked is not None and min(running, default=self.threads) < self.threads:
            self.free += min(now - self.looked, STEP)
        self.looked = now
        for sock, (sent, free) in list(self.sent.items()):
            if self.free - free > self.bound:
                self.waits.append((round(now - sent, 2), running))
                self.forget(sock)

    def during(self, condition):
        """Goes on while condition() is true."""
        due = time.monotonic()
        while condition():
            now = time.monotonic()
            if now >= due:
                self.ask()
                due = max(due + self.pause, now - 1)        # what was missed in the last second is made up for
            self.hear(max(0, min(due - time.monotonic(), STEP / 5)))
            if self.looked is None or time.monotonic() >= self.looked + STEP / 5:
                self.look()

    def finish(self):
        """Until all have their answers, or have waited."""
        while self.sent:
            self.hear(STEP / 5)
            self.look()
        return self


def some_long(site, steady, count, target):
    """One round: `count` long requests, and the steady ones until the last of these has its answer. The answers."""
    longs = [site.connect() for _ in range(count)]
    for one in longs:
        one.send(wire.request("GET", target))
    open_ones = {one.sock: one for one in longs}
    answers = []
    with selectors.DefaultSelector() as selector:
        for sock in open_ones:
            selector.register(sock, selectors.EVENT_READ)

        def under_way():
            for key, _ in selector.select(0):
                answers.append(open_ones[key.fileobj].read())
                selector.unregister(key.fileobj)
            return len(answers) < count

        steady.during(under_way)
    for one in longs:
        one.close()
    return answers
