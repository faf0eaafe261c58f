"""Starts that fail: exit codes, reasons, and what is tried again."""

import os
import signal
import stat

import pytest

from lib import procfs, server as under_test
from lib.limits import until

pytestmark = pytest.mark.python


def fails(monoceros, *arguments, code, **options):
    site = monoceros(*arguments, ready=False, expect_errors=True, python=True, **options)
    assert site.wait() == code, site.log()
    until(lambda: not site.leftovers(), "no process to be left")
    return site.log()


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["lazy", "preload"])
@pytest.mark.parametrize("text, code, reason, words", [
    ("raise ValueError('no good')\n", 3, "Worker failed to boot.", "ValueError: no good"),
    ("def app(:\n", 3, "Worker failed to boot.", "SyntaxError"),
    ("import nowhere_to_be_found\n", 3, "Worker failed to boot.", "nowhere_to_be_found"),
    ("import sys\nsys.exit(1)\n", 3, "Worker failed to boot.", ""),
    ("import os\nos._exit(1)\n", 3, "Worker failed to boot.", "exited with code 1"),
    ("import ctypes\nctypes.string_at(0)\n", 3, "Worker failed to boot.", "SIGSEGV"),
    ("other = 1\n", 4, "App failed to load.", "app"),
    (None, 4, "App failed to load.", "broken"),
])
def test_first_start(monoceros, tmp_path, preload, text, code, reason, words):
    if text is not None:
        (tmp_path / "broken.py").write_text(text, encoding="utf-8")
    log = fails(monoceros, "broken:app", "-w", "3", *preload, cwd=tmp_path, code=code)
    assert f"Reason: {reason}" in log and "Shutting down: Master" in log and words in log
    assert log.count("Starting monoceros") == 1


@pytest.mark.parametrize("python, words", [
    ("/nowhere/bin/python3", "cannot run the interpreter '/nowhere/bin/python3': No such file or directory"),
    ("no-such-python", "cannot run the interpreter 'no-such-python'"),
])
def test_no_interpreter(monoceros, python, words):
    assert words in fails(monoceros, "basic:app", "--python", python, code=1)


def test_what_is_no_interpreter(monoceros, tmp_path):
    other = tmp_path / "python3"
    other.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    assert "Reason: Worker failed to boot." in fails(monoceros, "basic:app", "--python", other, code=3)


def test_later_failures_back_off_and_heal(monoceros, tmp_path):
    """A broken deploy does not stop workers that run; the pool is back as soon as the app is."""
    app = tmp_path / "changing.py"
    good = "import sys\nprint('loaded', file=sys.stderr, flush=True)\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'good']\n"
    app.write_text(good, encoding="utf-8")
    site = monoceros("changing:app", "-w", "2", cwd=tmp_path, expect_errors=True)
    site.wait_log("loaded", 2)
    stays, goes = site.wait_workers(2)
    app.write_text("raise ValueError('bad deploy')\n", encoding="utf-8")
    os.kill(goes, signal.SIGTERM)
    log = site.wait_log(r"fail to start \(([2-9]|\d\d) in a row\); next try in \d\.\d s")[0].string
    assert "bad deploy" in log and "exited with code 3" in log
    assert site.alive() and stays in site.workers() and site.ask("GET", "/").text == "good"
    app.write_text(good, encoding="utf-8")
    until(lambda: stays in site.workers() and len(site.workers()) == 2, "the second worker")
    assert site.ask("GET", "/").text == "good"


class TestCheckConfig:
    def check(self, *arguments, cwd=None):
        done = under_test.run(*arguments, "--check-config", env={"VIRTUAL_ENV": str(os.path.dirname(os.path.dirname(under_test.PYTHON)))}, cwd=cwd)
        return done.returncode, done.stdout + done.stderr

    def test_good(self):
        before = set(os.listdir(under_test.APPS))
        code, text = self.check("basic:app")
        assert code == 0 and "ok" in text and "Traceback" not in text, text
        assert set(os.listdir(under_test.APPS)) == before
        assert not [pid for pid in procfs.children(os.getpid()) if "zygote" in procfs.title(pid)]

    def test_good_while_the_server_runs(self, tmp_path):
        """It neither binds nor touches the pidfile."""
        pidfile = tmp_path / "pid"
        pidfile.write_text("1\n", encoding="utf-8")
        code, text = self.check("basic:app", "-b", "127.0.0.1:1", "-p", str(pidfile))
        assert code == 0, text
        assert pidfile.read_text(encoding="utf-8") == "1\n"

    @pytest.mark.parametrize("text", ["raise ValueError('no good')\n", "other = 1\n", None])
    def test_bad_apps(self, tmp_path, text):
        if text is not None:
            (tmp_path / "broken.py").write_text(text, encoding="utf-8")
        code, out = self.check("broken:app", cwd=tmp_path)
        assert code == 1 and "ok" not in out.split(), out

    def test_bad_settings(self):
        code, out = self.check("basic:app", "--access-logfile", "-", "--access-logformat", "%(h")
        assert code == 1 and "access_log_format" in out and "Traceback" not in out
