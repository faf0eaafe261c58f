"""Storms: what a server meets in a year, in some minutes. MONOCEROS_SOAK scales the number of blows (default 1)."""

import os
import random
import signal
import socket
import struct
import time

import pytest

from lib import board, procfs, wire
from lib.limits import until

pytestmark = pytest.mark.python

SCALE = float(os.environ.get("MONOCEROS_SOAK", "1"))
SEED = int(os.environ.get("MONOCEROS_SEED", str(random.randrange(1 << 32))))


def blows(count):
    return max(1, int(count * SCALE))


@pytest.fixture
def dice():
    print(f"\nMONOCEROS_SEED={SEED}")
    return random.Random(SEED)


def facts(site):
    """Descriptors and resident KiB of the arbiter, zombies, and descriptors of the workers."""
    return (len(procfs.fds(site.pid)), int(procfs.status(site.pid, "VmRSS")[0]),
            [pid for pid in procfs.children(site.pid) if procfs.zombie(pid)], sorted(len(procfs.fds(pid)) for pid in site.workers()))


def test_deaths_under_load(monoceros, load, dice):
    site = monoceros("basic:app", "-w", "4")
    site.wait_workers(4)
    clients = load(site.address)
    clients.wait_answered(100)
    before = facts(site)
    kills = blows(100)
    for _ in range(kills):
        worker = dice.choice(until(site.workers, "a worker"))
        os.kill(worker, dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM]))
        time.sleep(dice.random() * 0.2)
    site.wait_workers(4, 60)
    clients.wait_answered(clients.answered + 100)
    clients.stop()
    print("deaths:", kills, dict(clients.counts), "before", before, "after", facts(site))
    assert clients.wrong == clients.refused == 0 and clients.lost <= kills * 8
    after = facts(site)
    assert after[0] == before[0] and not after[2] and after[3] == before[3]
    site.expect_errors = True


def test_signals_to_the_arbiter_under_load(monoceros, load, dice):
    """Every signal that does not stop a server, in any order: nothing is lost and the count of workers is arithmetic."""
    site = monoceros("basic:app", "-w", "3", "-p", "site.pid")
    site.wait_workers(3)
    clients = load(site.address)
    clients.wait_answered(100)
    count = 3
    sent = dict.fromkeys([signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1], 0)
    for _ in range(blows(400)):
        number = dice.choice([signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGCHLD, signal.SIGCONT])
        count += {signal.SIGTTIN: 1, signal.SIGTTOU: -1}.get(number, 0)
        if not 1 <= count <= 12:        # stay where the arithmetic has no floor
            count = min(max(count, 1), 12)
            continue
        site.signal(number)
        if number in sent:              # signals of one kind do not queue: wait until it is heard
            sent[number] += 1
            site.wait_log(f"Handling signal: {number.name[3:].lower()}", sent[number])
    site.wait_workers(count, 60)
    clients.stop()
    print("signals:", count, "workers", dict(clients.counts))
    assert clients.lost == clients.wrong == clients.refused == 0, clients.notes
    assert facts(site)[2] == []


def test_stops_at_any_time(monoceros, dice):
    """TERM, INT or QUIT at any moment of the start: the server ends, with nothing left."""
    for _ in range(blows(60)):
        site = monoceros("basic:app", "-w", "2", ready=False)
        time.sleep(dice.random() * 0.4)
        number = dice.choice([signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
        site.signal(number)
        if dice.random() < 0.3:
            time.sleep(dice.random() * 0.02)
            try:
                site.signal(number)
            except ProcessLookupError:
                pass
        ended = site.wait(60)
        assert ended in (0, -number), (ended, site.log())       # before the handlers stand, the signal's own effect
        until(lambda: not site.leftovers(), f"{site.leftovers()} to end")


def test_connections_that_come_and_go(monoceros, dice):
    site = monoceros("basic:app", "-w", "2", "--keep-alive", "5")
    site.wait_workers(2)
    before = facts(site)
    request = wire.request("GET", "/")
    for _ in range(blows(5000)):
        try:
            with socket.create_connection(site.address) as sock:
                sock.sendall(request[:dice.randrange(len(request) * 2)])
                if dice.random() < 0.5:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif dice.random() < 0.2:
                    sock.settimeout(0.01)
                    try:
                        sock.recv(20)
                    except TimeoutError:
                        pass
        except ConnectionResetError:
            pass
    assert site.ask("GET", "/").status == 200
    until(lambda: sum(slot.connections for slot in board.slots(site.pid)) == 0, "all connections to end", 60)
    after = facts(site)
    print("connections: before", before, "after", after)
    assert after[0] == before[0] and after[3] == before[3]


def test_constant_memory(monoceros, load):
    site = monoceros("basic:app", "-w", "2", "--keep-alive", "30")
    workers = site.wait_workers(2)
    clients = load(site.address, keep=True)

    def resident():
        return [int(procfs.status(pid, "VmRSS")[0]) for pid in workers]

    clients.wait_answered(blows(20000), 300)
    before = resident()
    clients.wait_answered(blows(60000), 600)
    clients.stop()
    after = resident()
    print("resident KiB:", before, "->", after, dict(clients.counts))
    assert clients.lost == clients.wrong == 0
    assert all(now <= then * 1.02 + 512 for then, now in zip(before, after))


def test_large_uploads_and_downloads_side_by_side(monoceros, load):
    site = monoceros("basic:app", "-w", "2", "--keep-alive", "30")
    body = os.urandom(1 << 20)
    up = load(site.address, clients=4, keep=True, method="POST", request=wire.request("POST", "/echo", body=body),
              check=lambda response: response.body == body)
    down = load(site.address, clients=4, keep=True, request=wire.request("GET", "/stream?count=32&size=32768"),
                check=lambda response: len(response.body) == 1 << 20)
    up.wait_answered(blows(300), 600)
    down.wait_answered(blows(300), 600)
    up.stop()
    down.stop()
    print("transfers:", dict(up.counts), dict(down.counts))
    assert up.lost == up.wrong == down.lost == down.wrong == 0
