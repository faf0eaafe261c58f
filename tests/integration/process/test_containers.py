"""As in a container: process 1 of a namespace, no home, nothing to write to, logs to stdio."""

import os
import shutil
import signal
import subprocess

import pytest

from lib import procfs, server as under_test
from lib.limits import until

PIDS = ["unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
READ_ONLY = ["unshare", "--mount", "sh", "-c", 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"', "sh"]


def works(prefix):
    return bool(shutil.which("unshare")) and subprocess.run([*prefix, "true"], capture_output=True, check=False, timeout=60).returncode == 0


namespaces = pytest.mark.skipif(not works(PIDS) or bool(under_test.UNDER), reason="no right to make a namespace of processes here")

APP = """
import os, signal, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/orphans":
        for _ in range(20):
            child = os.fork()
            if child == 0:
                if os.fork() == 0:
                    time.sleep(0.2)         # its parent has gone: it is process 1's now
                os._exit(0)
            os.waitpid(child, 0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {os.getppid()} {os.environ.get('HOME')}".encode()]
"""


def first(site):
    """Process 1, as we see it."""
    return until(lambda: procfs.children(site.pid), "process 1")[0]


@namespaces
def test_process_1(monoceros, tmp_path):
    """Its workers are its children, strangers are reaped in silence, TERM is heard although the kernel keeps default actions from it."""
    (tmp_path / "strays.py").write_text(APP, encoding="utf-8")
    site = monoceros("strays:app", "--pythonpath", tmp_path, "-w", "2", "--access-logfile", "-", prefix=PIDS)
    one = first(site)
    assert site.ask("GET", "/").text.split()[1] == "1"
    before = site.log()
    for _ in range(3):
        assert site.ask("GET", "/orphans").status == 200
    until(lambda: not [pid for pid in procfs.of_session(site.pid) if procfs.zombie(pid)] and len(procfs.children(one)) == 3, "the orphans to go")
    site.wait_log("GET /orphans", 3)
    new = site.log()[len(before):]
    assert "exited" not in new and "was sent" not in new
    os.kill(one, signal.SIGTERM)
    assert site.wait() == 0
    assert "Shutting down: Master" in site.log()


@namespaces
def test_process_1_is_not_upgraded(monoceros):
    site = monoceros("basic:app", prefix=PIDS)
    until(lambda: site.ask("GET", "/").status == 200, "the server")
    one = first(site)
    os.kill(one, signal.SIGUSR2)
    site.wait_log(r"USR2 signal ignored\. Process 1 of a container cannot be replaced")
    assert site.ask("GET", "/").status == 200
    os.kill(one, signal.SIGTERM)
    assert site.wait() == 0


@namespaces
def test_a_pidfile_of_an_earlier_container(monoceros, tmp_path):
    """A volume keeps the file; the numbers are the same in each container."""
    (tmp_path / "pid").write_text("1\n", encoding="ascii")
    site = monoceros("basic:app", "-p", tmp_path / "pid", prefix=PIDS)
    assert site.ask("GET", "/").status == 200 and (tmp_path / "pid").read_text(encoding="ascii") == "1\n"
    os.kill(first(site), signal.SIGTERM)
    assert site.wait() == 0


@pytest.mark.skipif(not works(READ_ONLY), reason="no right to change mounts here")
def test_nothing_to_write_to(monoceros):
    site = monoceros("basic:app", "-w", "auto", "--access-logfile", "-", prefix=READ_ONLY)
    before = site.ask("POST", "/echo", body=b"x" * 1000)
    assert before.status == 200 and before.body == b"x" * 1000
    site.wait_log("POST /echo")


def test_no_home(monoceros, tmp_path):
    (tmp_path / "strays.py").write_text(APP, encoding="utf-8")
    site = monoceros("strays:app", "--pythonpath", tmp_path, prefix=["env", "-u", "HOME", "-u", "XDG_RUNTIME_DIR", "-u", "USER"])
    assert site.ask("GET", "/").text.endswith(" None")
