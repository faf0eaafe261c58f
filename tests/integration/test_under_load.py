"""Worker deaths and stops under load: nothing is lost that a server could keep."""

import os
import signal

import pytest

from lib import wire
from lib.limits import until

pytestmark = pytest.mark.python

CLIENTS = 8


def test_killed_workers_under_load(monoceros, load):
    """kill -9 costs what the killed worker held; the pool is back and everybody else is unharmed."""
    site = monoceros("basic:app", "-w", "3")
    site.wait_workers(3)
    clients = load(site.address, clients=CLIENTS)
    clients.wait_answered(200)
    kills = 6
    for number in range(kills):
        worker = site.wait_workers(3)[number % 3]
        os.kill(worker, signal.SIGKILL)
        until(lambda: worker not in site.workers(), "the worker to die")
        clients.wait_answered(clients.answered + 100)
    site.wait_workers(3)
    clients.stop()
    print(dict(clients.counts))
    assert clients.wrong == clients.refused == 0 and clients.lost <= kills * CLIENTS, clients.notes
    assert len(site.wait_log("was sent SIGKILL", kills)) == kills
    assert site.alive() and site.ask("GET", "/").status == 200


@pytest.mark.parametrize("target", ["/", "/slow?seconds=0.02", "/big?size=300000"])
def test_term_under_load_loses_nothing(monoceros, load, target):
    site = monoceros("basic:app", "-w", "2")
    site.wait_workers(2)
    clients = load(site.address, clients=CLIENTS, request=wire.request("GET", target, close=True))
    clients.wait_answered(50)
    site.signal(signal.SIGTERM)
    assert site.wait(60) == 0
    until(lambda: clients.refused, "a refused connection")
    clients.stop()
    print(dict(clients.counts))
    assert clients.lost == clients.wrong == 0, clients.notes


def test_term_under_load_on_a_unix_socket(monoceros, load):
    site = monoceros("basic:app", "-w", "2", bind="unix")
    site.wait_workers(2)
    clients = load(site.address, clients=CLIENTS)
    clients.wait_answered(50)
    site.signal(signal.SIGTERM)
    assert site.wait(60) == 0
    clients.stop()
    assert clients.lost == clients.wrong == 0, clients.notes


def test_term_with_requests_in_flight(monoceros):
    site = monoceros("basic:app", "-w", "2")
    site.wait_workers(2)
    waiting = [site.connect() for _ in range(6)]        # two run, four wait for their turn
    for connection in waiting:
        connection.send(wire.request("GET", "/slow?seconds=0.5"))
    site.signal(signal.SIGTERM)
    for connection in waiting:
        with connection:
            assert connection.read().text == "at last"
    assert site.wait(60) == 0


def test_kept_connections_learn_of_the_stop(monoceros, load):
    """With keep-alive an idle connection may be closed at any time, but no request that was answered in part is cut."""
    site = monoceros("basic:app", "-w", "2", "--keep-alive", "20")
    site.wait_workers(2)
    clients = load(site.address, clients=CLIENTS, keep=True)
    clients.wait_answered(500)
    site.signal(signal.SIGTERM)
    assert site.wait(60) == 0
    clients.stop()
    print(dict(clients.counts))
    assert clients.lost == clients.wrong == 0, clients.notes


def test_many_connections(monoceros):
    """More clients than workers, all at once: each is answered."""
    site = monoceros("basic:app", "-w", "2", "--keep-alive", "20")
    connections = [site.connect() for _ in range(100)]
    for connection in connections:
        connection.send(wire.request("GET", "/who") * 3)
    pids = {connection.read().text for connection in connections for _ in range(3)}
    assert pids <= {str(pid) for pid in site.workers()}
    for connection in connections:
        connection.close()
