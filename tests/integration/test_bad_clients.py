"""Slow and silent clients cost no worker. Small crowds here; tests/soak has the large ones."""

import os
import re

import pytest

from lib import board, wire
from lib.crowd import Crowd
from lib.limits import until

pytestmark = pytest.mark.python

HALVES = int(os.environ.get("MONOCEROS_TEST_HALVES", "50"))
READERS = int(os.environ.get("MONOCEROS_TEST_READERS", "30"))
SIZE = 4 << 20


def idle(server, count):
    """Until the scoreboard shows these workers as idle, all of them."""
    def all_idle():
        slots = board.slots(server.pid)
        return len(slots) == count and all(slot.state == "idle" and slot.busy_since == 0 for slot in slots)
    return until(all_idle, f"{count} idle workers: {board.slots(server.pid)}", 40)


def test_half_sent_requests(monoceros):
    site = monoceros("basic:app", "-w", "2", "--header-timeout", "600")
    site.wait_workers(2)
    with Crowd() as crowd:
        crowd.half_requests(site.address, HALVES)
        for _ in range(20):
            assert site.ask("GET", "/").body == b"Hello, world!"
        idle(site, 2)
        for connection in crowd.connections:        # each is still served when it goes on
            connection.send(b"\r\n\r\n")
        assert [connection.read().status for connection in crowd.connections] == [200] * HALVES


def test_slow_readers(monoceros):
    site = monoceros("basic:app", "-w", "2", "--access-logfile", "-", "--send-timeout", "600")
    site.wait_workers(2)
    with Crowd() as crowd:
        crowd.slow_readers(site.address, READERS, f"/big?size={SIZE}")
        for _ in range(20):
            assert site.ask("GET", "/").body == b"Hello, world!"
            crowd.sip()
        idle(site, 2)                               # the app has long returned
        assert site.ask("GET", "/").status == 200
        for connection in crowd.connections[:3]:    # and what it gave is whole
            connection.sock.settimeout(60)
            answer = connection.read()
            assert answer.status == 200 and len(answer.body) == SIZE


def test_slow_readers_of_an_endless_stream_meet_back_pressure(monoceros):
    """Over response_buffer_file a blocking app waits for its client, and goes on when the client does."""
    site = monoceros("basic:app", "-w", "2", "--response-buffer", "64k", "--response-buffer-file", "1m")
    with site.connect(rcvbuf=4096) as connection:
        connection.send(wire.request("GET", "/stream?count=128&size=65536", close=True))
        assert site.ask("GET", "/").status == 200
        answer = connection.read()
        assert len(answer.body) == 128 * 65536 and answer.framing == "chunked"


def test_slow_uploads(monoceros):
    site = monoceros("basic:app", "-w", "2", "--body-timeout", "600")
    with Crowd() as crowd:
        for _ in range(HALVES):
            connection = site.connect()
            connection.send(b"POST /digest HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\n1")
            crowd.connections.append(connection)
        for _ in range(20):
            assert site.ask("GET", "/").status == 200
        for connection in crowd.connections:
            connection.send(b"23")
        assert all(re.match("3 a665a45920422f", connection.read().text) for connection in crowd.connections)


def test_clients_that_come_and_go(monoceros):
    site = monoceros("basic:app", "-w", "2")
    for number in range(100):
        with site.connect() as connection:
            if number % 3:
                connection.send(b"GET / HTTP/1.1\r\nHost"[:number])
    assert site.ask("GET", "/").status == 200
    idle(site, 2)
    until(lambda: sum(slot.connections for slot in board.slots(site.pid)) == 0, "all connections to end")
