"""gunicorn.conf.py and GUNICORN_CMD_ARGS: what is read, what it becomes, and what is said of what is wrong."""

import shutil
import socket

import pytest

from lib.server import free_port, run, without_origins

pytestmark = [pytest.mark.python, pytest.mark.workers("sync")]

APP = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr((os.environ.get("WHO"), os.getcwd())).encode()]
"""


@pytest.fixture
def place(tmp_path):
    """A directory of a project: an app, and write(name, text)."""
    class Place:
        path = tmp_path / "project"

        def write(self, name, text):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text, encoding="utf-8")
            return self.path / name

        def check(self, *arguments, **env):
            return run(*arguments, "--check-config", cwd=self.path, env=env)

        def printed(self, *arguments, **env):
            done = run(*arguments, "--print-config", cwd=self.path, env=env)
            assert done.returncode == 0, done.stderr
            return done.stdout

    made = Place()
    made.path.mkdir()
    made.write("site_app.py", APP)
    return made


EVERYTHING = """
import multiprocessing, os, ssl
from pathlib import Path
from shared import *            # timeout, and names that nobody knows

here = Path(__file__).resolve().parent
bind = ["127.0.0.1:{port}", f"unix:{{here}}/http.sock"]
workers = multiprocessing.cpu_count() * 0 + 2
wsgi_app = "site_app:app"
raw_env = ["WHO=" + os.environ.get("NOBODY", "project")]
chdir = here / "deep"
pythonpath = str(here)
preload_app = True
umask = 0o027
limit_request_line = 0
pidfile = None
accesslog = ""
loglevel = "DEBUG"
worker_class = "gunicorn.workers.sync.SyncWorker"
secure_scheme_headers = {{"X-FORWARDED-PROTO": "https"}}
forwarded_allow_ips = "10.0.0.0/8,127.0.0.1"
proxy_protocol = False
cert_reqs = ssl.CERT_NONE
do_handshake_on_connect = False
env = dict(os.environ)          # names of ours that are not Gunicorn's mean nothing here
python = ["a", "list"]
resolver = 5
"""


def test_a_project_is_served(place, monoceros):
    port = free_port()
    place.write("gunicorn.conf.py", EVERYTHING.format(port=port))
    place.write("shared.py", "timeout = 77\nhost = socket = None\n")
    place.write("deep/here", "")
    site = monoceros(bind=None, address=("127.0.0.1", port), cwd=place.path)
    assert site.ask("GET", "/").text == repr(("project", str(place.path / "deep")))
    site.wait_workers(2)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place.path / "http.sock"))
    printed = place.printed()
    for line in ("workers = 2", "timeout = 77s", "umask = 027", "preload_app = yes", "loglevel = 'DEBUG'", "limit_request_line = 8190",
                 "forwarded_allow_ips = {'10.0.0.0/8', '127.0.0.1'}", "secure_scheme_headers = {'X-FORWARDED-PROTO: https'}"):
        assert line in printed
    assert "# accesslog is not set" in printed and "resolver = {}" in printed


def test_sources_and_their_order(place):
    place.write("conf_a.py", "workers = 3\ntimeout = 11\nbacklog = 100\nthreads = 1\nwsgi_app = 'site_app:app'\n")
    place.write("gunicorn.conf.py", "workers = 9\nwsgi_app = 'site_app:app'\n")
    assert "workers = 9" in place.printed()
    for word in ("conf_a.py", "file:conf_a.py", "python:conf_a", place.path / "conf_a.py"):
        assert "workers = 3" in place.printed("-c", word)
    printed = place.printed("--backlog", "5", WEB_CONCURRENCY="7", GUNICORN_CMD_ARGS="-c conf_a.py -t 22 --backlog 6 -w 4",
                            MONOCEROS_CMD_ARGS="-t 33")
    for line in ("workers = 4", "timeout = 33s", "backlog = 5"):
        assert line in printed
    place.write("monoceros.conf", "workers = 8\nwsgi_app = 'site_app:app'\n")
    assert "workers = 8" in place.printed()
    assert place.check(GUNICORN_CMD_ARGS="--nonsense").returncode == 2


@pytest.mark.parametrize("text,expected", [
    ("\nworkers = 'many'\n", ":2: workers: expected a decimal number"),
    ("timeout = 1.5\n", ":1: timeout: expected a duration"),
    ("import os\n1 / 0\n", ":2: ZeroDivisionError: division by zero"),
    ("x = 1\ny = (\n", ":2: SyntaxError: '(' was never closed"),
    ("import no_such_thing\n", ":1: ModuleNotFoundError: No module named 'no_such_thing'"),
    ("raise SystemExit('not today')\n", ":1: SystemExit: not today"),
    ("import os\nos._exit(5)\n", " with code 5"),
    ("import os\nos.kill(os.getpid(), 9)\n", " by signal 9"),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGALRM)\n", ": did not end within 30 s"),
    ("def when_ready():\n    pass\n", ":1: when_ready: expected a function of 1 argument, not of 0"),
    ("post_fork = 'nowhere.to_be_found'\n", ":1: post_fork: No module named 'nowhere'"),
    ("raw_env = ['A']\n", ":1: raw_env: expected KEY=VALUE"),
    ("bind = 5.5j\n", ":1: bind: expected a list, not 5.5j"),
    ("\nuser = 'no such user'\n", ":2: user: there is no user 'no such user'"),
    ("chdir = 'no/such/place'\n", ":1: chdir: there is no directory"),
    ("secure_scheme_headers = ['a']\n", ":1: secure_scheme_headers: expected a dictionary"),
    ("worker_class = 'twisted'\n", ":1: unknown worker_class 'twisted'"),
])
def test_what_is_wrong_names_its_line(place, text, expected):
    place.write("bad.py", text)
    done = place.check("-c", "bad.py", "site_app:app")
    assert done.returncode == 1 and not done.stdout
    first = done.stderr.splitlines()[0]
    assert first.startswith("monoceros: bad.py") and expected in first
    if "ZeroDivision" in expected:
        assert f'File "{place.path}/bad.py", line 2' in done.stderr and "importlib" not in done.stderr


def test_what_has_no_equal_is_told_once_each(place):
    place.write("conf.py", "\n".join([
        "wsgi_app = 'site_app:app'", "logger_class = 'my.Logger'", "spew = True", "spew = True", "strip_header_spaces = False",
        "ssl_context = lambda config, factory: factory()", "worker_tmp_dir = '/dev/shm'", "print('loud')"]))
    done = place.check("-c", "conf.py")
    assert done.returncode == 0 and done.stdout == "monoceros: the configuration is ok\n"
    for line in ("conf.py:2: logger_class ", "conf.py:4: spew ", "conf.py:6: ssl_context ", "conf.py:7: worker_tmp_dir "):
        assert done.stderr.count(f"monoceros: warning: {line}") == 1
    assert "strip_header_spaces" not in done.stderr and "loud" in done.stderr


def test_convert(place):
    place.write("shared.py", "timeout = 77\n")
    place.write("gunicorn.conf.py", EVERYTHING.format(port=free_port()) + "spew = True\nsendfile = False\n")
    place.write("deep/here", "")
    done = run("--convert", "gunicorn.conf.py", cwd=place.path)
    assert done.returncode == 0 and not done.stderr
    assert "\n# gunicorn.conf.py:" in done.stdout and "spew does not exist here" in done.stdout
    before = place.printed()
    shutil.rmtree(place.path / "__pycache__", ignore_errors=True)
    place.write("monoceros.conf", done.stdout)
    (place.path / "gunicorn.conf.py").unlink()
    assert place.check().returncode == 0
    assert without_origins(place.printed()) == without_origins(before)
    place.write("wrong.py", "workers = 'x'\n")
    done = run("--convert", "wrong.py", cwd=place.path)
    assert done.returncode == 1 and done.stderr.startswith("monoceros: wrong.py:1: workers: ") and not done.stdout


def test_an_interpreter_that_is_not_there(place):
    place.write("conf.py", "")
    done = run("-c", "conf.py", "--python", "/no/such/python3", "site_app:app", cwd=place.path)
    assert done.returncode == 1 and "conf.py: cannot run the interpreter '/no/such/python3': No such file" in done.stderr
