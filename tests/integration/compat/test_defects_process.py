"""What goes wrong in Gunicorn 26.1 around its master and its workers, in the same run here: docs/gunicorn-defects.md has the table.

Command lines, files and signals are Gunicorn's, so that MONOCEROS=.../gunicorn MONOCEROS_WITH_PYTHON=yes runs them there.
"""

import os
import re
import signal
import socket
import sys
import time

import pytest

from lib import procfs, wire
from lib.fixtures import WORKERS
from lib.limits import until
from lib.server import APPS

pytestmark = [pytest.mark.python, pytest.mark.workers("sync")]

GOOD = """
import sys, time
print("shop is imported", file=sys.stderr, flush=True)
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"good"]
"""
# As systemd does it: the socket is descriptor 3, and the pid that it is for is told.
GIVEN = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"

gthread = pytest.mark.workers("gthread")


@pytest.fixture
def project(monoceros, tmp_path):
    """project(*arguments, conf="..."): a server of shop.py in its own directory, with a pidfile and maybe a gunicorn.conf.py."""
    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")

    def start(*arguments, conf=None, **options):
        write("shop.py", GOOD)
        if conf is not None:
            write("gunicorn.conf.py", conf)
        return monoceros("shop:app", "-p", tmp_path / "pid", *arguments, cwd=tmp_path, expect_errors=True, **options)
    start.write = write
    start.pid = lambda name="pid": int((tmp_path / name).read_text(encoding="ascii") or 0) if (tmp_path / name).exists() else 0
    return start


def serves_on(site, project, workers):
    assert all(site.ask("GET", "/").text == "good" for _ in range(20))
    assert site.alive() and project.pid() == site.pid
    assert [pid for pid in workers if procfs.alive(pid)] == workers


def loaded(site, count):
    """Pids of so many workers, when all have imported the app: what stands on disk is nothing to them any more."""
    site.wait_log("shop is imported", count)
    assert site.ask("GET", "/").status == 200
    return site.wait_workers(count)


# --- HUP

def test_hup_with_a_broken_file(project):
    site = project(conf="workers = 2\n")
    workers = loaded(site, 2)
    project.write("gunicorn.conf.py", "workers = 2\nbind = (\n")
    site.signal(signal.SIGHUP)
    until(lambda: re.search(r"gunicorn\.conf\.py(:|\", line )2", site.log()), "the line that is broken")
    serves_on(site, project, workers)
    project.write("gunicorn.conf.py", "workers = 2\n")
    site.signal(signal.SIGHUP)
    until(lambda: len(site.workers()) == 2 and not set(workers) & set(site.workers()), "new workers of the mended file")


def test_hup_with_a_broken_app(project):
    site = project("-w", "2")
    workers = loaded(site, 2)
    project.write("shop.py", "raise ValueError('a bad deploy')\n")
    site.signal(signal.SIGHUP)
    until(lambda: "a bad deploy" in site.log(), "the reason")
    serves_on(site, project, workers)


def test_hup_to_a_worker(project):
    site = project("-w", "2")
    workers = loaded(site, 2)
    for pid in workers:
        os.kill(pid, signal.SIGHUP)
    serves_on(site, project, workers)


# --- timeouts

def test_a_timeout_names_its_reason(project):
    """The traceback and the request are in the log, and the end of the worker is nobody's lack of memory."""
    site = project("-t", "1")
    victim = loaded(site, 1)[0]
    with site.connect() as client:
        client.send(wire.request("GET", "/slow?60"))
        until(lambda: not procfs.alive(victim), "the end of the worker")
    until(lambda: re.search(rf"Worker \(pid:{victim}\) ", site.log()), "the reason")
    assert "memory" not in site.log() and f"WORKER TIMEOUT (pid:{victim}) in GET /slow?60 " in site.log() and "shop.py" in site.log()
    assert site.ask("GET", "/").text == "good"


def test_an_import_that_hangs(project, monoceros, tmp_path):
    project.write("hangs.py", "import time\ntime.sleep(1000)\n")
    site = monoceros("hangs:app", "-t", "1", cwd=tmp_path, ready=False, expect_errors=True)
    site.wait_log(r"WORKER TIMEOUT \(pid:\d+\)", 2)
    assert "hangs.py" in site.log()


@gthread
def test_a_request_has_a_time_limit_of_its_own(project):
    site = project("-t", "2", "--request-timeout", "3")
    worker = loaded(site, 1)
    assert site.ask("GET", "/slow?2.5").text == "good"
    assert site.ask("GET", "/slow?60").status == 504
    assert worker[0] in site.workers()


@gthread
def test_a_call_that_keeps_the_lock_leaves_a_trace(monoceros):
    site = monoceros("threaded:app", "-t", "1", cwd=APPS / "workers", expect_errors=True)
    victim = int(site.ask("GET", "/").text)
    with site.connect() as client:
        client.send(wire.request("GET", "/lock?seconds=100"))
        until(lambda: not procfs.alive(victim), "the end of the worker")
    until(lambda: re.search(rf"Worker \(pid:{victim}\) ", site.log()), "the reason")
    assert "keep_the_lock" in site.log() and "memory" not in site.log()


# --- boots

def test_recycling_and_a_broken_file_on_disk(project, load):
    """The workers that are due have no successor: they go on."""
    site = project("-w", "2", "--max-requests", "5")
    loaded(site, 2)
    project.write("shop.py", "def app(:\n")
    clients = load(site.address, clients=4)
    until(lambda: not site.alive() or "SyntaxError" in site.log() and clients.answered > 200, "failed successors")
    clients.stop()
    assert site.alive()
    assert not (clients.lost or clients.wrong or clients.refused or clients.stale), (clients.counts, clients.notes)


def test_a_worker_that_ends_again_and_again(project):
    """Gunicorn boots more than 50 in 4 s."""
    site = project(conf="import threading, os\ndef post_worker_init(worker):\n    threading.Timer(0.02, os._exit, [1]).start()\n", ready=False)
    site.wait_log("Booting worker", 3)
    time.sleep(4)
    assert site.alive() and site.log().count("Booting worker") < 20


# --- USR2

def upgraded(site, project):
    """USR2, TERM to the old one once the new one serves; it has the place, and ends."""
    site.signal(signal.SIGUSR2)
    new = until(lambda: project.pid("pid.2"), "the second pidfile")
    until(lambda: len(re.findall("Booting worker", site.log())) >= 2 and procfs.children(new), "the workers of the new one")
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    until(lambda: project.pid() == new, "its place")
    assert all(site.ask("GET", "/").text == "good" for _ in range(20))
    os.kill(new, signal.SIGTERM)
    until(lambda: not procfs.alive(new), "its end")


def test_usr2_with_a_broken_file(project):
    site = project(conf="workers = 2\n")
    workers = loaded(site, 2)
    project.write("gunicorn.conf.py", "workers = 2\nbind = (\n")
    site.signal(signal.SIGUSR2)
    until(lambda: re.search(r"gunicorn\.conf\.py(:|\", line )2", site.log()), "the line that is broken")
    until(lambda: not project.pid("pid.2"), "the end of the new one")
    serves_on(site, project, workers)


def test_usr2_with_reuse_port(project):
    site = project("--reuse-port")
    loaded(site, 1)
    upgraded(site, project)


def test_usr2_with_sockets_of_systemd(project):
    with socket.create_server(("127.0.0.1", 0)) as given:
        site = project(bind=None, address=given.getsockname(), prefix=[sys.executable, "-c", GIVEN, str(given.fileno())], pass_fds=[given.fileno()])
        loaded(site, 1)
        upgraded(site, project)


# --- what is lost under load

def lost_nothing(clients):
    clients.stop()
    assert clients.answered > 200
    assert not (clients.lost or clients.wrong or clients.refused or clients.stale), (clients.counts, clients.notes)


@pytest.mark.parametrize("arguments, keep", [(["--reuse-port"], False), (["-k", "gthread", "--threads", "4"], True)], ids=["reuse_port", "kept"])
def test_hup_under_load(project, load, arguments, keep):
    if "gthread" not in WORKERS:
        pytest.skip("no gthread workers here")
    site = project("-w", "2", *arguments)
    loaded(site, 2)
    clients = load(site.address, clients=8, keep=keep)
    for _ in range(3):
        clients.wait_answered(clients.answered + 200)
        old, booted = site.workers(), site.log().count("Booting worker")
        site.signal(signal.SIGHUP)
        until(lambda: site.log().count("Booting worker") >= booted + 2, "new workers")
        until(lambda: not any(procfs.alive(pid) for pid in old), "the end of the old ones", 60)
    clients.wait_answered(clients.answered + 200)
    lost_nothing(clients)


@gthread
def test_max_requests_and_kept_connections(project, load):
    site = project("-w", "2", "--max-requests", "200", "--threads", "4")
    loaded(site, 2)
    clients = load(site.address, clients=8, keep=True)
    until(lambda: site.log().count("Booting worker") >= 7, "five recycled workers", 60)
    lost_nothing(clients)


def test_term_and_the_queue(project):
    """Connections that no worker has accepted yet are answered, too."""
    site = project("-t", "60")
    loaded(site, 1)
    clients = []
    for path in ["/slow?1.5"] + ["/"] * 5:
        clients.append(site.connect())
        clients[-1].send(wire.request("GET", path))
    time.sleep(0.2)
    site.signal(signal.SIGTERM)
    assert [client.read().text for client in clients] == ["good"] * 6
    for client in clients:
        client.close()
    assert site.wait() == 0
