"""Pidfile, logs, background, titles, environment and directories."""

import os
import re
import signal
import socket
import stat

import pytest

from lib import procfs, server as under_test
from lib.limits import until
from lib.server import APPS

HERE = APPS / "process"

NATIVE = """
{settings}
pool "web" { worker_class = {worker}  workers = 2 }
server "main" { listen = "{address}"  route "all" { respond { body = "here" } } }
"""


def native(monoceros, settings, **options):
    return monoceros(config=NATIVE.replace("{settings}", settings), **options)


# --- pidfile

def test_pidfile_is_written_and_removed(monoceros, tmp_path):
    pidfile = tmp_path / "pid"
    site = native(monoceros, f'pidfile = "{pidfile}"')
    assert pidfile.read_text(encoding="ascii") == f"{site.pid}\n"
    assert stat.S_IMODE(pidfile.stat().st_mode) == 0o644
    site.stop()
    assert not pidfile.exists() and not list(tmp_path.glob("pid*"))


def test_a_second_server_respects_the_pidfile(monoceros, tmp_path):
    pidfile = tmp_path / "pid"
    first = native(monoceros, f'pidfile = "{pidfile}"')
    second = native(monoceros, f'pidfile = "{pidfile}"', ready=False)
    assert second.wait() == 1
    assert f"Already running on PID {first.pid}" in second.log()
    assert pidfile.read_text(encoding="ascii") == f"{first.pid}\n" and first.ask("GET", "/").body == b"here"


@pytest.mark.parametrize("text", ["", "nonsense\n", "999999999\n", "-1\n"])
def test_a_stale_pidfile_is_taken_over(monoceros, tmp_path, text):
    pidfile = tmp_path / "pid"
    pidfile.write_text(text, encoding="ascii")
    site = native(monoceros, f'pidfile = "{pidfile}"')
    assert pidfile.read_text(encoding="ascii") == f"{site.pid}\n"


def test_a_pidfile_that_is_somebody_elses_by_now_stays(monoceros, tmp_path):
    pidfile = tmp_path / "pid"
    site = native(monoceros, f'pidfile = "{pidfile}"')
    pidfile.write_text("1\n", encoding="ascii")
    site.stop()
    assert pidfile.read_text(encoding="ascii") == "1\n"


def test_a_pidfile_in_no_directory(monoceros, tmp_path):
    site = native(monoceros, f'pidfile = "{tmp_path}/none/pid"', ready=False)
    assert site.wait() == 1 and f"{tmp_path}/none/pid" in site.log()


# --- logs

@pytest.mark.parametrize("app", [False, True], ids=["native", "python"])
def test_logs_are_opened_again(monoceros, tmp_path, app):
    """USR1 after a rotation: arbiter and workers write to the new files."""
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    if app:
        site = monoceros("basic:app", "-w", "2", "--error-logfile", error, "--access-logfile", access)
    else:
        site = native(monoceros, f'errorlog = "{error}"\naccesslog = "{access}"')
    assert site.ask("GET", "/before").status in (200, 404)
    until(lambda: "/before" in access.read_text(), "the line")
    assert "Listening at" in error.read_text() and site.log() == ""
    error.rename(tmp_path / "error.1")
    access.rename(tmp_path / "access.1")
    site.signal(signal.SIGUSR1)
    until(lambda: error.exists() and access.exists(), "the new files")
    until(lambda: "/after" in access.read_text() or not site.ask("GET", "/after"), "the line in the new file")
    for worker in site_workers(site):
        until(lambda: str(error) in procfs.fds(worker).values(), "the worker to have the new error log")
        assert str(tmp_path / "access.1") not in procfs.fds(worker).values()
    os.kill(site_workers(site)[0], signal.SIGTERM)
    until(lambda: "Worker exiting" in error.read_text() and "Booting worker" in error.read_text(), "lines of workers, also of new ones")
    site.stop()
    assert "Shutting down: Master" in error.read_text() and "/after" not in (tmp_path / "access.1").read_text()


def site_workers(site):
    return [pid for pid in procfs.children(site.pid) if "worker" in procfs.title(pid)]


def test_access_log_line(monoceros):
    site = monoceros("basic:app", "--access-logfile", "-")
    site.ask("GET", "/who?a=1", headers=[("User-Agent", 'a"b\tc'), ("Referer", "http://x/"), ("Authorization", "Basic YQpiOmM=")])
    line = site.wait_log(r'127\.0\.0\.1 - .*GET /who.*')[0][0]
    assert re.fullmatch(r'127\.0\.0\.1 - a\\x0ab \[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /who\?a=1 HTTP/1\.1" 200 \d+ '
                        r'"http://x/" "a\\"b\\x09c"', line), line


def test_access_log_of_the_environ(monoceros, tmp_path):
    site = monoceros("basic:app", "--access-logfile", tmp_path / "log", "--access-logformat", "%({REQUEST_METHOD}e)s %({REMOTE_PORT}e)s %({HTTP_X_A}e)s")
    with site.connect() as client:
        port = client.sock.getsockname()[1]
        assert client.ask("GET", "/", headers=[("X-A", "b")]).status == 200
    until(lambda: (tmp_path / "log").read_text() == f"GET {port} b\n", "the line")


def test_a_log_that_cannot_be_opened(monoceros, tmp_path):
    site = native(monoceros, f'errorlog = "{tmp_path}/none/error.log"', ready=False)
    assert site.wait() == 1 and f"{tmp_path}/none/error.log" in site.log()


def test_a_full_disk_does_not_stop_the_server(monoceros):
    site = native(monoceros, 'accesslog = "/dev/full"')
    for _ in range(5):
        assert site.ask("GET", "/").body == b"here"
    site.wait_log(r"access log \(file\): lines cannot be written and are dropped")
    assert site.ask("GET", "/").body == b"here"


# --- background

def test_daemon(monoceros, tmp_path):
    pidfile, error = tmp_path / "pid", tmp_path / "error.log"
    site = native(monoceros, f'daemon = yes\npidfile = "{pidfile}"\nerrorlog = "{error}"', ready=False)
    assert site.wait() == 0                             # with pidfile and listeners in place
    pid = int(pidfile.read_text())
    try:
        assert pid != site.pid and site.ask("GET", "/").body == b"here"
        assert procfs.session(pid) not in (site.pid, pid)   # can never get a terminal
        assert {procfs.fds(pid)[fd] for fd in (0, 1, 2)} == {"/dev/null"}
        os.kill(pid, signal.SIGWINCH)
        until(lambda: not procfs.children(pid), "all workers to leave")
        os.kill(pid, signal.SIGTTIN)
        until(lambda: len(procfs.children(pid)) == 1, "one worker")
        assert site.ask("GET", "/").body == b"here"
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not procfs.alive(pid), "the daemon to end")
    assert not pidfile.exists() and "Shutting down: Master" in error.read_text()
    assert site.log() == ""


def test_daemon_that_cannot_listen(monoceros, tmp_path):
    """The launching process tells that the start failed, and why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = NATIVE.replace("{settings}", "daemon = yes").replace("{address}", f"127.0.0.1:{port}")
        site = monoceros(config=text, ready=False)
        assert site.wait() == 1
        assert "Connection in use" in site.log()
    until(lambda: not [pid for pid in procfs.pids() if str(site.directory) in procfs.title(pid)], "no process to be left")


# --- titles, environment, directories

def test_titles(monoceros):
    site = monoceros("basic:app", "-w", "2", "-n", "shop")
    site.wait_workers(2)
    assert procfs.title(site.pid) == "monoceros: master [shop]"
    titles = sorted(procfs.title(pid) for pid in procfs.children(site.pid))
    assert titles == ["monoceros: worker [shop]"] * 2 + ["monoceros: zygote [shop]"]


def test_title_without_a_name(monoceros):
    site = monoceros("basic:app")
    site.wait_workers(1)
    assert procfs.title(site.pid) == "monoceros: master [basic:app]"


def test_environment_and_directory(monoceros):
    site = monoceros("unruly:app", "-e", "ONE=1", "-e", "TWO=a=b c", "--chdir", HERE, "-m", "027", cwd="/", python=True)
    words = site.ask("GET", "/environment").text.split("\n")
    assert "ONE=1" in words and "TWO=a=b c" in words
    assert site.ask("GET", "/where").text == f"{HERE} 27"


def test_environment_of_a_pool(monoceros):
    site = monoceros(config=f"""
        pool "a" {{ worker_class = {{worker}}  env = {{"WHO=a", "BOTH=pool"}} }}
        app "one" {{ type = wsgi  module = "unruly:app"  chdir = "{HERE}"  pool = a }}
        server "main" {{ listen = "{{address}}"  route "all" {{ app = one }} }}
    """)
    assert "WHO=a" in site.ask("GET", "/environment").text.split("\n")


def test_two_pools(monoceros):
    """Each has workers of its own; only the one with Python has a zygote."""
    other = under_test.free_port()
    site = monoceros(config=f"""
        pool "py" {{ worker_class = {{worker}}  workers = 2 }}
        pool "c" {{ worker_class = {{worker}}  workers = 1 }}
        app "one" {{ type = wsgi  module = "unruly:app"  chdir = "{HERE}"  pool = py }}
        server "a" {{ listen = "{{address}}"  pool = py  route "all" {{ app = one }} }}
        server "b" {{ listen = "127.0.0.1:{other}"  pool = c  route "all" {{ respond {{ body = "native" }} }} }}
    """)
    site.wait_workers(3)
    assert int(site.ask("GET", "/").text) in site.workers()
    assert under_test.ask(("127.0.0.1", other), "GET", "/").text == "native"
    assert len([pid for pid in procfs.children(site.pid) if "zygote" in procfs.title(pid)]) == 1

    def sockets():
        return {pid: [target for target in procfs.fds(pid).values() if target.startswith("socket:")] for pid in site.workers()}

    until(lambda: all(len(held) == 2 for held in sockets().values()), "each worker to hold its listener and its channel only")
