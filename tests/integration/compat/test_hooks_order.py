"""The same gunicorn.conf.py, with every hook, under Gunicorn and here: the same lines in the same order."""

import os
import signal
import subprocess
import sys

import pytest
from lib import board
from lib.limits import until
from lib.server import APPS, free_port
from lib.wire import ask

pytestmark = [pytest.mark.python, pytest.mark.workers("sync")]

PROJECT = APPS / "gunicorn" / "hooks"
OF_THE_SERVER = {"nworkers_changed", "on_starting", "when_ready", "pre_fork", "child_exit", "on_reload", "pre_exec", "on_exit"}


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

    def settle(self):
        """Until the arbiter knows that they are ready; nothing to see of Gunicorn."""

    def second(self):
        """The pid of the program that is started anew, until it has the place of the first."""
        try:
            return int(self.notes.with_name(self.notes.name + ".pid.2").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0


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
            processes.append(subprocess.Popen([sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--no-control-socket", "-p", f"{notes}.pid"],
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
        site = monoceros("-b", f"127.0.0.1:{port}", "-p", f"{notes}.pid", bind=None, address=("127.0.0.1", port), cwd=PROJECT, env={"NOTES": str(notes)},
                         expect_errors=True, python=True)
        run = Run(site.pid, port, notes)
        run.settle = lambda: until(lambda: {slot.state for slot in board.slots(site.pid)} == {"idle"}, "idle workers")
        return run
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
    run.settle()            # of workers that are ready the oldest leaves
    run.signal(signal.SIGTTOU)
    run.wait("child_exit", 2)
    run.signal(signal.SIGTERM)
    run.wait("on_exit")


def interrupted(run):
    run.wait("post_worker_init")
    run.signal(signal.SIGINT)
    run.wait("on_exit")


def reloaded(run):
    run.wait("post_worker_init")
    run.signal(signal.SIGHUP)
    run.wait("post_worker_init", 2)
    run.wait("child_exit")
    assert ask(run.address, "GET", "/b").status == 200
    run.wait("post_request")
    run.signal(signal.SIGTERM)
    run.wait("on_exit")


def upgraded(run):
    run.wait("post_worker_init")
    run.signal(signal.SIGUSR2)
    run.wait("post_worker_init", 2)
    new = until(run.second, "the second pidfile")
    run.signal(signal.SIGTERM)
    run.wait("on_exit")
    until(lambda: not run.second(), "the place of the first one")
    os.kill(new, signal.SIGTERM)
    run.wait("on_exit", 2)


def story(run):
    """The lines with roles in place of pids. Evaluations are left out: ours are two, one of them for the settings alone. Those of the server are
    one role: here a generation's are a process of its own."""
    lines = [line for line in run.lines() if line[1] != "evaluated"]
    servers, roles = {pid for pid, text in lines if text.split()[0] in OF_THE_SERVER}, {}
    return [("server" if pid in servers else roles.setdefault(pid, f"worker {len(roles) + 1}"), text) for pid, text in lines]


@pytest.mark.parametrize("steps", [life, interrupted, upgraded])
def test_the_lines_are_gunicorns(gunicorn, ours, steps):
    theirs, mine = gunicorn(), ours()
    for run in (theirs, mine):
        steps(run)
    assert story(mine) == story(theirs)
    assert len(story(mine)) > 8


def test_the_lines_of_a_reload(gunicorn, ours):
    """Process by process they are Gunicorn's. Between processes one thing differs: here an old worker leaves when the new one is ready."""
    theirs, mine = gunicorn(), ours()
    for run in (theirs, mine):
        reloaded(run)
    for role in ("server", "worker 1", "worker 2"):
        assert [line for line in story(mine) if line[0] == role] == [line for line in story(theirs) if line[0] == role]
    names = [(role, text.split()[0]) for role, text in story(mine)]
    assert names.index(("worker 1", "worker_exit")) > names.index(("worker 2", "post_worker_init"))


def test_every_hook_is_there():
    """All of Gunicorn's own list but ssl_context and those of its dirty arbiter, and each has written its line."""
    config = pytest.importorskip("gunicorn.config", reason="Gunicorn is not there to be compared with")
    names = {setting.name for setting in config.KNOWN_SETTINGS if callable(setting.default) and setting.section in ("Server Hooks",)}
    text = (PROJECT / "gunicorn.conf.py").read_text(encoding="utf-8")
    assert {name for name in names if f"def {name}(" not in text} == {"ssl_context"}
