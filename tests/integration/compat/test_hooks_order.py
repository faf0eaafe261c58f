"""The same gunicorn.conf.py, with every hook, under Gunicorn and here: the same lines in the same order."""

import os
import signal
import subprocess
import sys

import pytest
from lib.limits import until
from lib.server import APPS, free_port
from lib.wire import ask

pytestmark = [pytest.mark.python, pytest.mark.workers("sync")]

PROJECT = APPS / "gunicorn" / "hooks"


class Run:
    """One server that writes its notes; `steps` tell it what to do."""

    def __init__(self, pid, port, notes):
        self.pid, self.address, self.notes = pid, ("127.0.0.1", port), notes

    def lines(self):
        return [line.split(" ", 1) for line in self.notes.read_text(encoding="utf-8").splitlines()] if self.notes.exists() else []

    def wait(self, name, count=1):
        """Until a hook has written so many lines."""
        return until(lambda: (found := [line for line in self.lines() if line[1].split()[0] == name]) and len(found) >= count and found,
                     f"{count} × {name} in {self.notes}", 30)

    def signal(self, number):
        os.kill(self.pid, number)


@pytest.fixture
def gunicorn(tmp_path):
    """start(): Gunicorn itself, from the environment of the tests."""
    processes = []

    def start():
        pytest.importorskip("gunicorn", reason="Gunicorn is not there to be compared with")
        port, notes = free_port(), tmp_path / "gunicorn.notes"
        env = {key: value for key, value in os.environ.items() if not key.startswith(("GUNICORN", "MONOCEROS"))}
        env.update(NOTES=str(notes), PYTHONDONTWRITEBYTECODE="1")
        with open(tmp_path / "gunicorn.log", "wb") as log:
            processes.append(subprocess.Popen([sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--no-control-socket"],
                                              cwd=PROJECT, env=env, stdout=log, stderr=log, start_new_session=True))
        return Run(processes[-1].pid, port, notes)

    yield start
    for process in processes:
        process.kill() if process.poll() is None else None
        process.wait()


@pytest.fixture
def ours(monoceros, tmp_path):
    def start():
        port, notes = free_port(), tmp_path / "monoceros.notes"
        site = monoceros("-b", f"127.0.0.1:{port}", bind=None, address=("127.0.0.1", port), cwd=PROJECT, env={"NOTES": str(notes)},
                         expect_errors=True, python=True)
        return Run(site.pid, port, notes)
    return start


def life(run):
    """Start, requests, one more worker, a killed worker, one less, stop."""
    run.wait("post_worker_init")
    for path in ("/a%20b/c?x=1&y", "/none"):
        assert ask(run.address, "GET", path).status in (200, 404)
    assert ask(run.address, "GET", "/raise").status == 500
    run.wait("post_request", 3)
    run.signal(signal.SIGTTIN)
    run.wait("post_worker_init", 2)
    os.kill(int(run.wait("post_worker_init")[0][0]), signal.SIGKILL)
    run.wait("post_worker_init", 3)
    run.signal(signal.SIGTTOU)
    run.wait("child_exit", 2)
    run.signal(signal.SIGTERM)
    run.wait("on_exit")


def interrupted(run):
    run.wait("post_worker_init")
    run.signal(signal.SIGINT)
    run.wait("on_exit")


def story(run):
    """The lines with roles in place of pids. Evaluations are left out: ours are two, one of them for the settings alone."""
    server, roles, told = None, {}, []
    for pid, text in run.lines():
        if text == "evaluated":
            continue
        server = server or pid
        role = "server" if pid == server else roles.setdefault(pid, f"worker {len(roles) + 1}")
        told.append(f"{role}: {text}")
    return told


@pytest.mark.parametrize("steps", [life, interrupted])
def test_the_lines_are_gunicorns(gunicorn, ours, steps):
    theirs, mine = gunicorn(), ours()
    for run in (theirs, mine):
        steps(run)
    assert story(mine) == story(theirs)
    assert len(story(mine)) > 8
