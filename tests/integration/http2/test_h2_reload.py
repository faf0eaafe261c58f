"""Workers change under load, in every way they can: the end is announced (GOAWAY twice), and no stream is lost."""

import contextlib
import json
import os
import re
import signal
import threading

import pytest

from lib.browser import CHROMIUM, Browser as Chromium
from lib.frames import DATA, GOAWAY, NO_ERROR, REFUSED_STREAM, RST_STREAM, Client, Closed, frame, window
from lib.limits import patience, until
from http2.test_every_worker import Target


class Crowd(threading.Thread):
    """Asks without end, several streams at a time; opens a new connection when it is told to leave. Streams that the server says it never began are asked
    again, all others must be answered."""

    def __init__(self, address, paths, context=None):
        super().__init__(daemon=True)
        self.address, self.paths, self.context = address, paths, context
        self.answered, self.goaways, self.lost, self.done = 0, 0, [], threading.Event()

    def run(self):
        while not self.done.is_set():
            try:
                with Client(self.address, self.context and self.context()) as c:
                    self.visit(c)
            except (OSError, Closed):
                pass            # before the first answer of a connection: nothing was begun

    def visit(self, c):
        while not self.done.is_set():
            left = {c.ask(path) for path in self.paths}
            last = None
            c.seen.clear()
            try:
                while left:
                    f = c.read()
                    if f.kind == DATA and f.payload:
                        c.send(window(0, len(f.payload)), b"" if f.end else window(f.stream, len(f.payload)))
                    if f.kind == GOAWAY:
                        last = f.last
                        self.goaways += 1
                    elif f.kind == RST_STREAM and f.code != REFUSED_STREAM:
                        self.lost.append(f"{f}")
                    if f.end or f.kind == RST_STREAM:
                        self.answered += f.end
                        left.discard(f.stream)
                    if last is not None:
                        left = {s for s in left if s <= last}
            except (OSError, Closed) as error:
                if last is not None or self.answered:
                    self.lost += [f"stream {s}: {error!r}" for s in left if last is None or s <= last]
                return
            if last is not None:
                return


@contextlib.contextmanager
def crowd(target, context, size=3):
    """Clients that ask without end; at the end none of their streams may be lost."""
    clients = [Crowd(target.address, (target.small, target.large, target.small), context) for _ in range(size)]
    for c in clients:
        c.start()

    def more(n=10):
        before = [c.answered for c in clients]
        until(lambda: all(c.answered > b + n for c, b in zip(clients, before)), "more answers", 60)
    more()
    yield more
    for c in clients:
        c.done.set()
    for c in clients:
        c.join(patience(30))
        assert c.lost == []
    assert sum(c.goaways for c in clients) > 0


def test_reloads(worker_class, monoceros, pki, context):
    target = Target(worker_class, monoceros, pki, workers=2)
    with crowd(target, context) as more:
        for _ in range(3):
            old = set(target.site.wait_workers(2))
            target.site.signal(signal.SIGHUP)
            until(lambda: len(found := set(target.site.workers())) == 2 and not found & old, "other workers", 60)
            more()


def test_reloads_that_come_at_once(worker_class, monoceros, pki, context):
    target = Target(worker_class, monoceros, pki, workers=1)
    with crowd(target, context) as more:
        old = set(target.site.wait_workers(1))
        for _ in range(5):
            target.site.signal(signal.SIGHUP)
            more(1)
        until(lambda: len(found := set(target.site.workers())) == 1 and not found & old, "another worker", 60)
        more()


def test_recycling(worker_class, monoceros, pki, context):
    """max_requests: a worker that has done its share leaves."""
    target = Target(worker_class, monoceros, pki, workers=2, more="max_requests = 50")
    with crowd(target, context) as more:
        until(lambda: len(re.findall("Booting worker", target.site.log())) >= 6, "some generations of workers", 60)
        more()


def test_workers_that_are_told_to_leave(worker_class, monoceros, pki, context):
    target = Target(worker_class, monoceros, pki, workers=2)
    with crowd(target, context) as more:
        for _ in range(3):
            old = target.site.wait_workers(2)
            os.kill(old[0], signal.SIGTERM)
            until(lambda: old[0] not in (found := target.site.workers()) and len(found) == 2, "another worker", 60)
            more()


@pytest.mark.parametrize("how", ["reload", "recycle", "stop"])
def test_the_end_comes_in_two_steps(worker_class, monoceros, pki, context, how):
    """A notice first, with all streams still welcome, then the number of the last one; what is under way is finished."""
    target = Target(worker_class, monoceros, pki, workers=1, more="max_requests = 3" if how == "recycle" else "")
    with Client(target.address, context()) as c:
        assert c.get(target.small).status == 200
        slow = c.ask(target.post, "POST", end=False)
        c.alive()
        before = len(c.seen)
        if how == "recycle":
            c.answers(*[c.ask(target.small) for _ in range(2)])
        else:
            target.site.signal(signal.SIGHUP if how == "reload" else signal.SIGTERM)
        came = [f for f in c.seen[before:] if f.kind == GOAWAY]         # with the answers already
        notice = came[0] if came else c.until(lambda f: f.kind == GOAWAY)
        assert notice.code == NO_ERROR and notice.last == 0x7FFFFFFF
        late = c.ask(target.small)
        assert c.answer(late).status == 200
        second = c.until(lambda f: f.kind == GOAWAY)
        assert second.code == NO_ERROR and second.last == late
        refused = c.ask(target.small)
        c.send(frame(DATA, 1, slow, b"abc"))
        assert c.answer(slow).status == 200
        assert not [f for f in c.drained() if f.stream == refused and f.kind != RST_STREAM]
        assert [f for f in c.seen if f.kind == GOAWAY][-1].last == late


# A request that is given to a connection at the moment in which GOAWAY arrives fails inside of Chromium, before a byte of it is sent (ERR_FAILED of
# SpdySession::TryCreateStream): those are asked again, once. An answer that has begun must be whole.
LOOP = """window.tally = {done: 0, lost: []}; window.halt = false;
for (let i = 0; i < 6; i++) (async () => {
  while (!window.halt)
    try {
      const ask = () => fetch(i % 2 ? 'LARGE' : 'SMALL', {cache: 'no-store'});
      const answer = await ask().catch(() => ask());
      const size = (await answer.arrayBuffer()).byteLength;
      if (size !== (i % 2 ? 100000 : 5)) throw new Error(`${answer.status} with ${size} bytes`);
      window.tally.done++;
    } catch (error) { window.tally.lost.push(`${error}`) }
})();
true"""


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.workers("gthread", "epoll")
def test_chromium_notices_nothing(worker_class, monoceros, pki, tmp_path):
    target = Target(worker_class, monoceros, pki, workers=2)
    browser = Chromium(tmp_path / "profile", "--ignore-certificate-errors")
    try:
        browser.open(target.url + target.small)
        until(lambda: browser.value("document.readyState") == "complete" and browser.value("location.protocol") == "https:", "the page", 30)
        browser.value(LOOP.replace("LARGE", target.large).replace("SMALL", target.small))
        tally = lambda: json.loads(browser.value("JSON.stringify(window.tally)"))  # noqa: E731
        for _ in range(3):
            old, before = set(target.site.wait_workers(2)), tally()["done"]
            target.site.signal(signal.SIGHUP)
            until(lambda: len(found := set(target.site.workers())) == 2 and not found & old, "other workers", 60)
            until(lambda: tally()["done"] > before + 20, "more answers", 60)
        assert tally()["lost"] == []
    finally:
        browser.stop()
