"""The server under test: starts it, waits until it listens, watches it and stops it cleanly."""

import os
import random
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM

from lib import procfs
from lib.limits import patience, until
from lib.wire import Connection, ask, open_socket

ROOT = Path(os.environ.get("MONOCEROS_SRCDIR") or Path(__file__).resolve().parents[3])
APPS = ROOT / "tests" / "apps"
BINARY = os.path.abspath(os.environ.get("MONOCEROS") or ROOT / "objs" / "monoceros")
PYTHON = os.environ.get("MONOCEROS_PYTHON") or sys.executable
SANITIZED = os.environ.get("MONOCEROS_SANITIZED", "")
UNDER = shlex.split(os.environ.get("MONOCEROS_UNDER", ""))      # what runs the servers: valgrind and its options

# A report of a sanitizer or valgrind is an error in every test; the others where the test does not expect them.
REPORTS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|\bBug at |^==\d+== ")
ERRORS = re.compile(r"\[CRITICAL\]|Traceback \(most recent call last\)")
# Gunicorn's words; the arbiter logs them at info.
BOOTED = re.compile(r"Booting worker with pid: (\d+)")


def free_port(host="127.0.0.1"):
    """A port that is free now, out of the range that outgoing connections take."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(200):
        port = random.randrange(12000, 30000)
        with socket.socket(family) as sock:
            try:
                sock.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def environment(extra=None, python=False):
    """What the server's environment is in tests: the virtual environment of the tests, no settings of the caller."""
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("MONOCEROS_", "GUNICORN")) and key not in ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS")}
    env["VIRTUAL_ENV"] = str(Path(PYTHON).parent.parent)
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if os.environ.get("MONOCEROS_EXTENSION"):
        env["MONOCEROS_EXTENSION"] = os.environ["MONOCEROS_EXTENSION"]
    if SANITIZED:
        # CPython leaves memory behind at its exit: leaks are looked for in servers without it.
        # What is freed must not make a server look as if it grew: a small quarantine.
        env["ASAN_OPTIONS"] = f"detect_leaks={0 if python else 1}:handle_segv=0:allocator_may_return_null=1:quarantine_size_mb=4"
        env["ASAN_OPTIONS"] += os.environ.get("MONOCEROS_ASAN_OPTIONS", "")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        # TSan would let each process with threads wait a second at its exit: who dies at once would not.
        env.setdefault("TSAN_OPTIONS", "halt_on_error=0:report_signal_unsafe=0:handle_segv=0:handle_abort=0:atexit_sleep_ms=0")
    env.update(extra or {})
    return env


def run(*arguments, env=None, cwd=None, input=None):
    """Runs the program to its end: a CompletedProcess with text in stdout and stderr."""
    return subprocess.run([BINARY, *map(str, arguments)], env=environment(env), cwd=cwd or APPS, input=input, text=True,
                          capture_output=True, timeout=patience(60), check=False)


def without_origins(printed):
    """What --print-config printed, without the comments that tell where values come from."""
    return re.sub(r"(?m)(^| +)# .*$", "", printed)


_modules = None


def modules():
    """Text of `monoceros -V`: version, configure arguments, libraries and modules."""
    global _modules
    if _modules is None:
        done = run("-V")
        assert done.returncode == 0, done.stderr
        _modules = done.stdout + done.stderr
    return _modules


def has_python():
    if os.environ.get("MONOCEROS_WITH_PYTHON"):
        return os.environ["MONOCEROS_WITH_PYTHON"] == "yes"
    return re.search(r"\bpython\b|\bwsgi\b", modules()) is not None


def has_epoll():
    """Without it the loop is poll's."""
    return re.search(r"^\s+event\s+epoll$", modules(), re.M) is not None


class Monoceros:
    """A running server. Arguments are those of the command line; without -b or -c it gets a free port of 127.0.0.1.

    bind: "tcp" (default), "tcp6", "unix", or None when the arguments or the config file say where it listens; then
    address= tells the clients. env= adds to the environment. cwd= is tests/apps unless told. expect_errors= lets
    CRITICAL lines and tracebacks stand in the log. ready=False does not wait for the listener (a start that fails).
    """

    def __init__(self, *arguments, directory, bind="tcp", address=None, env=None, cwd=None, python=False, worker_class=None,
                 expect_errors=False, ready=True, prefix=(), pass_fds=()):
        self.directory = Path(directory)
        self.expect_errors = expect_errors
        self.address = address
        self.log_path = self.directory / "server.log"
        self.stopped = False
        self.seen = set()
        arguments = [str(word) for word in arguments]
        if bind and not address:
            arguments += ["-b", self.choose(bind)]
        if worker_class and not {"-k", "--worker-class", "-c", "--config"} & set(arguments):
            arguments += ["-k", worker_class]
        self.command = [*prefix, *UNDER, BINARY, *arguments]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd or APPS,
                                            env=environment(env, python), start_new_session=True, pass_fds=pass_fds)
        self.pid = self.process.pid
        self.waited = False
        if ready:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise

    def choose(self, bind):
        if bind == "unix":
            self.address = str(self.directory / "http.sock")
            return "unix:" + self.address
        host = "::1" if bind == "tcp6" else "127.0.0.1"
        self.address = (host, free_port(host))
        return f"[{host}]:{self.address[1]}" if ":" in host else f"{host}:{self.address[1]}"

    @property
    def url(self):
        host, port = self.address[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def wait_ready(self):
        """Until a client can connect; a server that ends before is an error with its log."""
        def connects():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            try:
                open_socket(self.address).close()
            except OSError:
                return False
            return True
        until(connects, f"{self.address} to listen", 30)
        return self

    # --- talking to it

    def connect(self, **kwargs):
        return Connection(self.address, **kwargs)

    def ask(self, *args, **kwargs):
        return ask(self.address, *args, **kwargs)

    def signal(self, number):
        os.kill(self.pid, number)

    # --- looking at it

    def log(self):
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, count=1, seconds=20):
        """Until a regular expression has matched `count` times in the log; the matches."""
        regex = re.compile(pattern)
        return until(lambda: (found := list(regex.finditer(self.log()))) and len(found) >= count and found,
                     f"{count} × {pattern!r} in the log", seconds)

    def processes(self):
        """Every live process of the server but the arbiter."""
        found = [pid for pid in procfs.of_session(self.pid) if pid != self.pid and procfs.alive(pid)]
        self.seen.update(found)
        return found

    def workers(self):
        """Pids of the live workers: children of the arbiter that it has announced."""
        announced = {int(pid) for pid in BOOTED.findall(self.log())}
        found = [pid for pid in procfs.children(self.pid) if pid in announced and procfs.alive(pid)]
        self.seen.update(found)
        return found

    def wait_workers(self, count, seconds=20):
        """Until exactly this many workers live."""
        return until(lambda: (found := self.workers()) is not None and len(found) == count and found, f"{count} workers", seconds)

    def alive(self):
        return self.process.poll() is None

    # --- ending it

    def wait(self, seconds=30):
        """The exit code of a server that a test has ended itself; waits in patience."""
        self.waited = True
        return self.process.wait(patience(seconds))

    def leftovers(self):
        return [pid for pid in sorted(self.seen | set(procfs.of_session(self.pid))) if pid != self.pid and procfs.alive(pid)]

    def check_log(self):
        text = self.log()
        wrong = REPORTS if self.expect_errors else re.compile(f"{REPORTS.pattern}|{ERRORS.pattern}")
        bad = [line for line in text.splitlines() if wrong.search(line)]
        assert not bad, "in the log: " + "; ".join(bad[:5])

    def stop(self, code=0, number=SIGTERM):
        """Ends it, asserts the exit code (unless the test has waited for it), that no process is left and that the log is clean."""
        if self.stopped:
            return self.log()
        self.stopped = True
        self.processes()
        try:
            if self.alive():
                self.signal(number)
            known = self.waited
            ended = self.wait(60)
            assert known or ended == code, f"exit code {ended}, not {code}"
            until(lambda: not self.leftovers(), f"the processes {self.leftovers()} to end", 20)
            self.check_log()
        finally:
            self.kill()
        return self.log()

    def kill(self):
        """Last resort and cleanup: nothing of this server survives."""
        self.stopped = True
        for pid in [self.pid, *self.leftovers()]:
            if pid == self.pid and self.process.poll() is not None:
                continue
            try:
                os.kill(pid, SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(patience(20))
