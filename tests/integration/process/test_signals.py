"""Signals to the arbiter and to workers."""

import os
import signal
import socket

import pytest

from lib import wire
from lib.limits import until
from lib.server import APPS

HERE = APPS / "process"

NATIVE = """
pool "web" { worker_class = {worker}  workers = 2 }
server "main" { listen = "{address}"  route "all" { respond { body = "here" } } }
"""


def test_ttin_and_ttou_change_the_number(monoceros):
    site = monoceros("basic:app", "-w", "2")
    site.wait_workers(2)
    for number in (signal.SIGTTIN, signal.SIGTTIN):
        site.signal(number)
        until(lambda: len(site.workers()) > 2, "one more worker")
    site.wait_workers(4)
    for left in (3, 2, 1):
        site.signal(signal.SIGTTOU)
        site.wait_workers(left)
    site.signal(signal.SIGTTOU)                         # the floor is 1
    site.wait_log("Handling signal: ttou", 4)
    site.signal(signal.SIGTTIN)
    site.wait_workers(2)
    assert site.ask("GET", "/").status == 200


def test_winch_in_the_foreground_changes_nothing(monoceros):
    site = monoceros(config=NATIVE)
    before = site.wait_workers(2)
    site.signal(signal.SIGWINCH)
    site.wait_log("Handling signal: winch")
    assert site.workers() == before and site.ask("GET", "/").body == b"here"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU])
def test_signals_that_do_nothing_to_a_worker(monoceros, number):
    site = monoceros("basic:app")
    worker = site.wait_workers(1)[0]
    os.kill(worker, number)
    assert site.ask("GET", "/who").text == str(worker)
    assert site.workers() == [worker]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_worker_that_is_told_to_leave_is_replaced(monoceros, number):
    site = monoceros("basic:app", "-w", "2")
    old = site.wait_workers(2)[0]
    os.kill(old, number)
    until(lambda: old not in site.workers() and len(site.workers()) == 2, "the successor")
    log = site.wait_log(rf"Worker exiting \(pid: {old}\)")[0].string
    assert f"(pid:{old})" not in log                    # it left with 0: nothing to report
    assert site.ask("GET", "/").status == 200


@pytest.mark.parametrize("number, name", [(signal.SIGINT, "int"), (signal.SIGQUIT, "quit"), (signal.SIGTERM, "term")])
def test_stops(monoceros, number, name):
    site = monoceros("basic:app", "-w", "2")
    workers = site.wait_workers(2)
    log = site.stop(number=number)
    assert f"Handling signal: {name}" in log and "Shutting down: Master" in log
    for worker in workers:
        assert f"Worker exiting (pid: {worker})" in log


def test_ctrl_c_reaches_everyone_and_leaves_no_traceback(monoceros):
    site = monoceros("basic:app", "-w", "3")
    site.wait_workers(3)
    os.killpg(site.pid, signal.SIGINT)
    assert site.wait() == 0
    log = site.stop()
    assert log.count("Handling signal: int") == 1 and "KeyboardInterrupt" not in log
    assert "[ERROR]" not in log and "[WARNING]" not in log and log.count("Booting worker") == 3


def test_ctrl_c_while_the_app_is_imported(monoceros, tmp_path):
    (tmp_path / "late.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n", encoding="utf-8")
    site = monoceros("late:app", "--preload", cwd=tmp_path)
    site.wait_log("importing")
    os.killpg(site.pid, signal.SIGINT)
    assert site.wait() == 0
    assert "Traceback" not in site.stop()


def test_term_is_graceful_and_a_second_one_is_not(monoceros, worker_class):
    site = monoceros("unruly:app", cwd=HERE)
    with site.connect() as client:
        client.send(wire.request("GET", "/stuck"))
        site.wait_log("stuck in")
        site.signal(signal.SIGTERM)
        site.wait_log("Handling signal: term")
        assert site.alive()
        site.signal(signal.SIGTERM)
        site.wait_log("Handling signal: term", 2)
        assert site.wait() == 0
    if worker_class == "sync":      # others leave past a thread that is stuck
        assert "was killed by the arbiter (SIGKILL) after a quick stop" in site.stop()


HEALTH = """
shutdown_delay = DELAY  worker_class = {worker}  workers = 2  keepalive = 5s
server "all" { listen = "{address}"
    route "health" { match { exact = "/healthz" }  respond { health = on  body = "ok" } }
    route "all" { respond { body = "Hello" } } }
"""


def test_a_stop_may_wait_for_load_balancers(monoceros):
    site = monoceros(config=HEALTH.replace("DELAY", "600s"))
    kept = site.connect()
    assert kept.ask("GET", "/healthz").text == "ok"
    site.signal(signal.SIGTERM)
    site.wait_log(r"The stop begins in 600 s \(shutdown_delay\)")
    until(lambda: site.ask("GET", "/healthz").status == 503, "a health check that fails")
    assert kept.ask("GET", "/healthz").status == 503
    assert kept.ask("GET", "/").text == site.ask("GET", "/").text == "Hello"
    os.kill(site.wait_workers(2)[0], signal.SIGKILL)       # whoever comes now knows, too
    site.wait_log("Booting worker with pid", 3)
    for _ in range(10):
        assert site.ask("GET", "/healthz").status == 503
    for pid in site.wait_workers(2):
        os.kill(pid, signal.SIGTERM)                       # as of a supervisor that tells every process
    assert site.ask("GET", "/").text == "Hello"
    site.signal(signal.SIGTERM)
    assert site.wait() == 0


def test_a_stop_begins_when_its_delay_is_over(monoceros):
    site = monoceros(config=HEALTH.replace("DELAY", "300ms"))
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    log = site.log()
    assert log.index("The stop begins in 0.3 s") < log.index("Worker exiting")


def test_graceful_timeout_ends_a_request_that_does_not_end(monoceros, worker_class):
    site = monoceros("unruly:app", "--graceful-timeout", "1", cwd=HERE)
    with site.connect() as client:
        client.send(wire.request("GET", "/stuck"))
        site.wait_log("stuck in")
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        if worker_class == "gthread":
            assert client.ended()
    log = site.stop()
    if worker_class == "sync":
        assert "is not done within graceful_timeout: killed (in GET /stuck for " in log
        assert "was killed by the arbiter (SIGKILL) after the end of graceful_timeout" in log
    else:
        assert "graceful_timeout is over: 1 connection is cut, the oldest request is GET /stuck\n" in log and "1 thread is still inside the app: left behind" in log


def test_a_stop_while_the_port_is_taken(monoceros):
    """The retries of bind do not keep a stop waiting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        site = monoceros("-b", f"127.0.0.1:{port}", "basic:app", bind=None, address=("127.0.0.1", port), ready=False, python=True)
        site.wait_log("Retrying in 1 second")
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert "Can't connect" not in site.stop()


def test_fewer_workers_under_load_lose_nothing(monoceros, load):
    """The one that leaves stops accepting although clients keep coming, and what it had taken is answered."""
    site = monoceros("basic:app", "-w", "3")
    site.wait_workers(3)
    clients = load(site.address, clients=8)
    for left in (2, 1):
        clients.wait_answered(clients.answered + 50)
        site.signal(signal.SIGTTOU)
        site.wait_workers(left)
    os.kill(site.workers()[0], signal.SIGTERM)
    site.wait_log("Booting worker", 4)
    clients.wait_answered(clients.answered + 50)
    clients.stop()
    assert clients.lost == clients.wrong == clients.refused == 0, clients.notes


def test_term_for_the_whole_group_under_load(monoceros, load):
    """As a supervisor does it that signals every process of a service."""
    site = monoceros("basic:app", "-w", "2")
    site.wait_workers(2)
    clients = load(site.address, clients=8)
    clients.wait_answered(100)
    os.killpg(site.pid, signal.SIGTERM)
    assert site.wait() == 0
    clients.stop()
    assert clients.lost == clients.wrong == 0, clients.notes
