"""Who dies, what the log says about it, and what follows. Servers start without a Python app where the test needs none."""

import os
import re
import signal
import socket

import pytest

from lib import procfs, wire
from lib.limits import until
from lib.server import APPS, SANITIZED

HERE = APPS / "process"

NATIVE = """
pool "web" { worker_class = {worker}  workers = 2 }
server "main" { listen = "{address}"  route "all" { respond { body = "here" } } }
"""


def zygotes(site):
    return [pid for pid in procfs.children(site.pid) if "zygote" in procfs.title(pid)]


def refused(address):
    try:
        with socket.create_connection(address, timeout=2):
            return False
    except ConnectionRefusedError:
        return True


def test_a_killed_worker_is_replaced(monoceros):
    site = monoceros(config=NATIVE)
    victim = site.wait_workers(2)[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in site.workers() and len(site.workers()) == 2, "the successor")
    line = site.wait_log(rf"\[ERROR\] Worker \(pid:{victim}\) was sent SIGKILL! (.*)")[0]
    assert "out of memory" in line[1].lower() or "out-of-memory" in line[1]
    assert "by the arbiter" not in line[0]


def test_a_crash_names_signal_and_request(monoceros):
    site = monoceros("unruly:app", "-w", "2", cwd=HERE, expect_errors=True)
    site.wait_workers(2)
    with site.connect() as client:
        client.send(wire.request("GET", "/segv?a=1"))
        assert client.ended()
    site.wait_log(r"\[CRITICAL\] SIGSEGV while handling: GET /segv\?a=1")
    site.wait_log(r"Worker \(pid:\d+\) was sent SIGSEGV! It was in: GET /segv\?a=1")
    site.wait_workers(2)
    assert site.ask("GET", "/").status == 200


@pytest.mark.parametrize("code", [7, 0])
def test_an_exit_code_is_told(monoceros, code):
    site = monoceros("unruly:app", cwd=HERE)
    with site.connect() as client:
        client.send(wire.request("GET", f"/leave?code={code}"))
        assert client.ended()
    site.wait_log(rf"\[ERROR\] Worker \(pid:\d+\) exited with code {code}\. It was in: GET /leave")
    until(lambda: site.ask("GET", "/").status == 200, "the successor")


def test_a_killed_zygote_is_replaced_and_workers_go_on(monoceros):
    site = monoceros("basic:app", "-w", "2")
    workers = site.wait_workers(2)
    zygote = zygotes(site)[0]
    os.kill(zygote, signal.SIGKILL)
    until(lambda: zygotes(site) and zygotes(site) != [zygote], "a new zygote")
    assert site.workers() == workers
    os.kill(workers[0], signal.SIGKILL)                 # the new one can do its work
    until(lambda: workers[0] not in site.workers() and len(site.workers()) == 2, "a worker of the new zygote")
    assert site.ask("GET", "/").status == 200


def test_a_worker_without_its_descriptors_is_replaced(monoceros):
    """An app that closes everything has also closed its listener and its channel."""
    site = monoceros("unruly:app", cwd=HERE)
    victim = site.wait_workers(1)[0]
    with site.connect() as client:
        client.send(wire.request("GET", "/close"))
        until(lambda: victim not in site.workers(), "the end of the worker")
    site.wait_workers(1)
    assert site.ask("GET", "/").status == 200


def test_strangers_are_reaped(monoceros):
    """The arbiter adopts what the apps leave behind, and says nothing about it."""
    site = monoceros("unruly:app", cwd=HERE)
    for _ in range(5):
        assert site.ask("GET", "/orphan").text == "left"
    until(lambda: len(procfs.children(site.pid)) == 2, "only a zygote and a worker as children")
    assert not any(procfs.zombie(pid) for pid in procfs.of_session(site.pid))
    assert "code 7" not in site.log()


def test_a_dead_arbiter_takes_its_workers_along(monoceros):
    site = monoceros("basic:app", "-w", "3")
    site.wait_workers(3)
    assert site.processes()
    os.kill(site.pid, signal.SIGKILL)
    until(lambda: refused(site.address), "a closed port", 10)
    until(lambda: not site.processes(), "no process to be left", 10)
    site.wait()


def test_a_dead_arbiter_lets_requests_end(monoceros):
    site = monoceros("basic:app")
    site.wait_workers(1)
    with site.connect() as client:
        client.send(wire.request("GET", "/slow?seconds=1"))
        until(lambda: established(site), "the request to run")
        os.kill(site.pid, signal.SIGKILL)
        assert client.read().text == "at last"
    until(lambda: not site.leftovers(), "no process to be left", 10)
    site.wait()


def test_a_dead_arbiter_and_a_stuck_app(monoceros):
    """Nobody is left to kill the worker: it ends by itself after graceful_timeout."""
    site = monoceros("unruly:app", "--graceful-timeout", "1", cwd=HERE)
    with site.connect() as client:
        client.send(wire.request("GET", "/stuck"))
        site.wait_log("stuck in")
        site.processes()
        os.kill(site.pid, signal.SIGKILL)
        site.wait()
        until(lambda: not site.leftovers(), "no process to be left", 10)
        assert client.ended()


def established(site):
    """Has a worker taken a connection?"""
    sockets = [len([1 for target in procfs.fds(worker).values() if target.startswith("socket:")]) for worker in site.workers()]
    return any(count > 2 for count in sockets)      # listener and channel


def test_a_restart_right_after_a_kill(monoceros, tmp_path):
    pidfile = tmp_path / "pid"
    text = f'pidfile = "{pidfile}"\n' + NATIVE.replace('"{address}"', '{"{address}", "unix:{tmp}/../site.sock"}')
    first = monoceros(config=text)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    until(lambda: not first.leftovers(), "no process to be left", 10)
    config = (first.directory / "test.conf").read_text(encoding="utf-8")
    again = monoceros(config=config, address=first.address)
    again.wait_workers(2)
    assert again.ask("GET", "/").body == b"here"
    assert pidfile.read_text(encoding="utf-8") == f"{again.pid}\n"


def test_workers_go_before_the_arbiter_when_memory_runs_out(monoceros):
    def score(pid):
        with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
            return int(file.read())

    site = monoceros("basic:app")
    worker = site.wait_workers(1)[0]
    assert score(worker) > score(site.pid)


@pytest.mark.skipif("thread" in SANITIZED, reason="the noise is a race by intent, and ThreadSanitizer says so")
def test_noise_in_shared_memory(monoceros):
    """The arbiter believes nothing that stands there: it goes on, replaces the worker and stops in order."""
    site = monoceros("unruly:app", "-w", "2", cwd=HERE, expect_errors=True)
    site.wait_workers(2)
    with site.connect() as client:
        client.send(wire.request("GET", "/scribble"))
        try:
            assert client.read().text == "scribbled"
        except wire.Closed:                             # it may have fallen over its own noise
            pass
    for victim in site.workers():
        os.kill(victim, signal.SIGKILL)
    until(lambda: len(site.workers()) == 2 and site.ask("GET", "/").status == 200, "two new workers")
    site.signal(signal.SIGTTIN)
    site.wait_workers(3)
    assert site.alive()


LIMITED = """
worker_class = {worker}  workers = 3
app "noise" { type = wsgi  module = "noise:app" }
server "main" {
    listen = "{address}"
    route "zones" { match { exact = "/zones" }  app = noise }
    route "rest"  { limit { key = '$arg_k'  rate = "1000/s"  burst = 1000  conns = 50  size = 64k }  app = noise }
}
"""


@pytest.mark.python
@pytest.mark.skipif("thread" in SANITIZED, reason="the noise is a race by intent, and ThreadSanitizer says so")
def test_noise_in_zones(monoceros, load):
    """A worker fills the shared memory of the limits while the others count there: they go on, and once it is gone the limits count again."""
    site = monoceros(config=LIMITED, cwd=HERE, expect_errors=True)
    before = set(site.wait_workers(3))
    clients = load(site.address, clients=4, request=wire.request("GET", "/?k=x", close=True), check=lambda response: response.status in (200, 429, 503))
    clients.wait_answered(50)
    mad = int(site.ask("GET", "/zones?300").text)
    clients.wait_answered(clients.answered + 100)
    os.kill(mad, signal.SIGKILL)
    until(lambda: mad not in site.workers() and len(site.workers()) == 3, "its successor")
    assert before - {mad} <= set(site.workers())
    until(lambda: all(site.ask("GET", f"/?k={n}").status == 200 for n in range(40)), "all to be let in")
    clients.stop()


def test_a_storm_is_slowed_down(monoceros, tmp_path):
    """Workers that end as soon as they are ready: no fork storm, no exit of the arbiter, one line a second at most."""
    (tmp_path / "storm.py").write_text("import os, threading\nthreading.Timer(0.1, os._exit, [5]).start()\ndef app(e, s): pass\n",
                                       encoding="utf-8")
    site = monoceros("storm:app", "-w", "4", cwd=tmp_path, ready=False)
    found = site.wait_log(r"fail to start \(([4-9]|\d\d) in a row\); next try in \d\.\d s", seconds=60)[-1]
    booted = len(re.findall("Booting worker", found.string[:found.end()]))
    assert booted <= 4 + int(found[1]), booted          # all at the start, then one a try
    assert site.alive()
