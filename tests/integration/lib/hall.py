"""Many open WebSockets in one worker: how much memory each takes, and a word to all of them."""

import itertools
import os
import selectors
import socket
import time

from lib.idle import pss
from lib.limits import patience, until
from lib.websocket import TEXT, frame, upgrade

WORD = b"a word to all of you"


def enter(address, path, source):
    """An open WebSocket. Sources differ, so that ports do not run out."""
    sock = socket.socket()
    sock.settimeout(patience(60))
    sock.bind((source, 0))
    sock.connect(address)
    sock.sendall(upgrade(path))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += (more := sock.recv(4096))
        assert more, answer
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return sock


def fill(address, pid, path, count, sockets):
    """Opens so many, which are added to the list: bytes of the worker's memory for each. The caller closes them."""
    sources = itertools.cycle(f"127.0.0.{number}" for number in range(1, 9))
    for _ in range(20):         # what the first few cost once
        sockets.append(enter(address, path, next(sources)))
    before = pss(pid)
    while len(sockets) < count:
        sockets.append(enter(address, path, next(sources)))
    return (pss(pid) - before) / (count - 20)


def cpu(pid):
    """Seconds that a process has worked."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def tell(sockets, pid, word=WORD):
    """One of them speaks, and all must hear it, once: seconds until the last one has, and seconds of the worker's work."""
    heard = bytes([0x80 | TEXT, len(word)]) + word
    got = {sock: b"" for sock in sockets}
    missing = set(sockets)
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        worked, begun = cpu(pid), time.monotonic()
        sockets[0].sendall(frame(TEXT, word))

        def hear():
            for key, _ in selector.select(0.1):
                sock = key.fileobj
                got[sock] += (data := sock.recv(4096))
                assert data and heard.startswith(got[sock]), got[sock]
                if got[sock] == heard:
                    missing.discard(sock)
            return not missing
        until(hear, "all to hear it", 60, 0)
        took = time.monotonic() - begun
    return took, cpu(pid) - worked
