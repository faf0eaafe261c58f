"""Drives the rows of wire_table.py over sockets: sends and reads at the same time, parses strictly, and says what is wrong."""

import selectors
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import wire                                        # noqa: E402
from lib.limits import patience                             # noqa: E402
from wire_table import CLOSE, GET, HOST, KEEP               # noqa: E402

PROBE = GET + HOST + b"Connection: close\r\n\r\n"


class Replay(wire.Connection):
    """The strict reader of lib.wire over bytes that were received before."""

    def __init__(self, data, eof):      # pylint: disable=super-init-not-called
        self.buffer = data
        self.eof = eof

    def fill(self):
        if not self.eof:
            raise wire.Closed(self.buffer)
        return False


class Talk:
    """One connection: bytes out in pieces of `step`, bytes in until enough came, the peer closed, or patience is over."""

    def __init__(self, address, step):
        self.sock = wire.open_socket(address)
        self.sock.setblocking(False)
        self.step = step
        self.out = b""
        self.received = b""
        self.closed = self.reset = False

    def write(self, data):
        self.out += data

    def pump(self, done, fin=False):
        """Until done() or the end; done() is asked after each piece that came and when everything was sent."""
        deadline = time.monotonic() + patience(20)
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            while not self.closed:
                selector.modify(self.sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0))
                if not self.out:
                    if fin:
                        fin = False
                        self.half_close()
                    if done():
                        return True
                ready = selector.select(max(0, deadline - time.monotonic()))
                if not ready:
                    return False
                for _, events in ready:
                    if events & selectors.EVENT_READ:
                        self.read()
                    if events & selectors.EVENT_WRITE and self.out and not self.closed:
                        self.send()
        return done()

    def half_close(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def read(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            self.closed = self.reset = True
            return
        self.received += data
        self.closed = not data

    def send(self):
        try:
            sent = self.sock.send(self.out[:self.step])
            self.out = self.out[sent:]
        except BlockingIOError:
            pass
        except OSError:                 # the server has stopped reading: its answer may still come
            self.out = b""


def parse(data, eof, methods):
    """Whole responses among the bytes, and what is left."""
    replay, found = Replay(data, eof), []
    while replay.buffer:
        rest = replay.buffer
        try:
            found.append(replay.read(methods[len(found)] if len(found) < len(methods) else "GET"))
        except wire.Closed:
            return found, rest
    return found, b""


def check_answer(answer, problems):
    """What holds for every answer of the server."""
    if len(answer.all("Date")) != 1:
        problems.append(f"{len(answer.all('Date'))} Date fields")
    if answer.status >= 400 and answer.keep:
        problems.append(f"{answer.status} without Connection: close")
    if answer.status == 405 and not answer.get("Allow"):
        problems.append("405 without Allow")
    if b"root:" in answer.body:
        problems.append("served a file of the system")


def check(row, answers, rest, closed):
    problems = []
    statuses = [answer.status for answer in answers]
    count_ok = len(answers) == len(row.answers) or (row.fewer and len(answers) < len(row.answers))
    if not count_ok:
        problems.append(f"{len(answers)} answers instead of {len(row.answers)}")
    for status, allowed in zip(statuses, row.answers):
        if status not in allowed:
            problems.append(f"status {status} is none of {sorted(allowed)[:8]}")
    for answer in answers:
        check_answer(answer, problems)
    if rest:
        problems.append(f"half an answer: {rest[:80]!r}")
    if row.end == CLOSE and not closed:
        problems.append("not closed")
    if row.end == KEEP and closed:
        problems.append("closed")
    if answers:
        first = answers[0]
        interims = sum(len(answer.interim) for answer in answers)
        if interims not in row.interim:
            problems.append(f"{interims} interim answers")
        if row.body is not None and first.body != row.body:
            problems.append(f"body {first.body[:80]!r}")
        for name, value in row.want.items():
            if first.get(name) != value:
                problems.append(f"{name}: {first.get(name)}")
    return statuses, problems


def run(address, row, step=1 << 20):
    """Statuses and problems of one row."""
    talk = Talk(address, step)
    try:
        parts = [row.data] if isinstance(row.data, bytes) else row.data
        for part in parts[:-1]:
            talk.write(part)
            talk.pump(lambda: bool(talk.received))
        talk.write(parts[-1])
        expected = len(row.answers)
        if row.end == KEEP:
            talk.pump(lambda: len(parse(talk.received, talk.closed, row.methods)[0]) >= expected, row.fin)
            answers, rest = parse(talk.received, talk.closed, row.methods)
            statuses, problems = check(row, answers, rest, talk.closed)
            if not problems:
                talk.received = b""
                talk.write(PROBE)
                talk.pump(lambda: False)
                again, rest = parse(talk.received, talk.closed, ())
                if len(again) != 1 or not 200 <= again[0].status < 400 or rest or not talk.closed:
                    problems.append(f"the connection is not good any more: {talk.received[:200]!r}")
            return statuses, problems
        talk.pump(lambda: False, row.fin)
        answers, rest = parse(talk.received, talk.closed, row.methods)
        return check(row, answers, rest, talk.closed)
    except wire.WireError as error:
        return [], [f"bad answer: {error}"]
    finally:
        talk.sock.close()


def main(arguments, rows):
    if len(arguments) < 2:
        print("usage: wire_table.py HOST PORT [echo]", file=sys.stderr)
        return 2
    address, echo, failed, count = (arguments[0], int(arguments[1])), "echo" in arguments[2:], 0, 0
    for row in rows:
        if row.echo and not echo:
            continue
        count += 1
        statuses, problems = run(address, row)
        verdict = "FAILED " + "; ".join(problems) if problems else "ok"
        print(f"{row.name[:60]:60} {','.join(map(str, statuses)) or '-':12} {row.end:6} {verdict}")
        failed += bool(problems)
    print(f"{count} rows, {failed} failed")
    return 1 if failed else 0
