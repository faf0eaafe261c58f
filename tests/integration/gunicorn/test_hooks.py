"""Hooks of a gunicorn.conf.py: where they run, what happens when they fail or hang, and what apps log to Gunicorn's loggers."""

import json
import os
import re
import signal

import pytest
from lib.limits import until

pytestmark = [pytest.mark.python, pytest.mark.workers("sync", "gthread")]

APP = """
import logging, os, time
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/log":
        logging.getLogger("gunicorn.error").warning("an app says %s", "this\\nin two lines")
        logging.getLogger("gunicorn.error").debug("and is quiet about that")
        logging.getLogger("shop").info("the shop says so")
    if path == "/hang":
        time.sleep(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
NOTE = """
import os
def note(*words):
    with open(os.environ["NOTES"], "a") as file:
        file.write(" ".join(map(str, (os.getpid(), *words))) + "\\n")
"""


@pytest.fixture
def project(monoceros, tmp_path):
    """project(conf, *arguments): a server in a directory with this gunicorn.conf.py and an app; .notes() of its hooks."""
    def start(conf, *arguments, env=None, **options):
        place = tmp_path / "project"
        place.mkdir(exist_ok=True)
        (place / "site_app.py").write_text(APP, encoding="utf-8")
        (place / "gunicorn.conf.py").write_text(NOTE + conf, encoding="utf-8")
        notes = tmp_path / "notes"
        site = monoceros("site_app:app", *arguments, cwd=place, env={"NOTES": str(notes), **(env or {})}, **options)
        site.place = place
        site.notes = lambda: [line.split(" ", 1) for line in notes.read_text(encoding="utf-8").splitlines()] if notes.exists() else []
        site.wait_note = lambda name: until(lambda: [note for note in site.notes() if note[1].split()[0] == name], f"a note of {name}", 30)
        return site
    return start


def test_none_of_them_runs_in_the_arbiter(project):
    names = {"on_starting": 1, "when_ready": 1, "pre_fork": 2, "post_fork": 2, "post_worker_init": 1, "child_exit": 2, "worker_exit": 2,
             "on_exit": 1, "nworkers_changed": 3, "pre_request": 2, "post_request": 3}
    site = project("\n".join(f"def {name}({', '.join('abcd'[:count])}): note('{name}')" for name, count in names.items()))
    worker = int(site.ask("GET", "/").text)
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    pids = {name: {int(pid) for pid, text in site.notes() if text == name} for name in names}
    inside = {"post_fork", "post_worker_init", "worker_exit", "pre_request", "post_request"}
    assert all(pids[name] == {worker} for name in inside)
    zygote = pids["on_starting"]
    assert len(zygote) == 1 and site.pid not in zygote and worker not in zygote
    assert all(pids[name] == zygote for name in set(names) - inside)


def test_one_that_raises_is_logged_and_stops_nothing(project):
    names = {"on_starting": 1, "when_ready": 1, "pre_fork": 2, "post_fork": 2, "post_worker_init": 1, "child_exit": 2, "worker_exit": 2,
             "on_exit": 1, "nworkers_changed": 3, "post_request": 4}
    site = project("\n".join(f"def {name}({', '.join('abcd'[:count])}): raise ValueError('of {name}')" for name, count in names.items()),
                   expect_errors=True)
    assert site.ask("GET", "/").status == 200
    os.kill(site.wait_workers(1)[0], signal.SIGKILL)
    until(lambda: site.ask("GET", "/").status == 200, "the next worker")
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    for name in names:
        assert re.search(rf"Exception in hook {name}\nTraceback (?s:.)*?ValueError: of {name}\n", site.log()), name


def test_pre_request_that_raises_is_a_500(project):
    site = project("def pre_request(worker, req):\n    if req.path == '/no': raise ValueError('not this one')\n", expect_errors=True)
    assert [site.ask("GET", path).status for path in ("/no", "/yes")] == [500, 200]
    assert "Error handling request /no" in site.log() and "ValueError: not this one" in site.log()


def test_one_that_hangs_is_ended(project):
    site = project("import time\ndef when_ready(server):\n    note('in')\n    time.sleep(1000)\n", expect_errors=True)
    assert site.ask("GET", "/").status == 200
    assert re.search(r"Exception in hook when_ready\nTraceback (?s:.)*time.sleep\(1000\)(?s:.)*not done within 5 s", site.log())
    site.signal(signal.SIGTTIN)
    site.wait_workers(2)


def test_one_that_nobody_can_interrupt_costs_its_zygote(project, tmp_path):
    site = project("import itertools\ndef when_ready(server):\n    note('in')\n    sum(itertools.repeat(1))\n"
                   "def post_fork(server, worker): note('post_fork')\n", expect_errors=True)
    assert site.ask("GET", "/").status == 200
    site.wait_log(r"Zygote \(pid:\d+\) does not come back from a hook: killed")
    assert "in when_ready" in site.log()        # the stack, from inside
    site.signal(signal.SIGTTIN)
    site.wait_workers(2)


def test_on_starting_may_refuse_the_start(project):
    site = project("def on_starting(server):\n    raise SystemExit('no database')\ndef on_exit(server): note('on_exit')\n", ready=False,
                   expect_errors=True)
    assert site.wait() == 1
    assert "on_starting asks to exit" in site.log() and "no database" in site.log()


def test_sys_exit_ends_nothing_but_a_boot(project):
    names = {"when_ready": 1, "pre_fork": 2, "child_exit": 2, "worker_exit": 2, "on_exit": 1, "nworkers_changed": 3, "on_reload": 1, "post_request": 4}
    text = "\n".join(f"def {name}({', '.join('abcd'[:count])}): raise SystemExit(7)" for name, count in names.items())
    site = project(text, expect_errors=True)
    assert site.ask("GET", "/").status == 200
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: done")
    assert site.ask("GET", "/").status == 200
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    for name in names:
        assert f"[ERROR] {name} asks to exit\n" in site.log(), name


@pytest.mark.parametrize("name, words", [("post_fork", "server, worker"), ("post_worker_init", "worker")])
def test_sys_exit_is_a_failed_boot(project, name, words):
    site = project(f"def {name}({words}): raise SystemExit(7)\n", expect_errors=True, ready=False)
    assert site.wait() == 3
    assert f"[ERROR] {name} asks to exit\n" in site.log() and "Reason: Worker failed to boot." in site.log()


def test_a_stuck_worker_has_its_abort(project):
    site = project("timeout = 1\ndef worker_abort(worker): note('worker_abort', worker.pid, worker.age)\n"
                   "def worker_exit(server, worker): note('worker_exit')\ndef child_exit(server, worker): note('child_exit', worker.pid)\n",
                   "-k", "sync", expect_errors=True)
    first = site.wait_workers(1)[0]
    with site.connect() as client:
        client.send(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        site.wait_note("child_exit")
    assert [note[1] for note in site.notes()][:3] == [f"worker_abort {first} 1", "worker_exit", f"child_exit {first}"]
    assert "site_app.py" in site.log() and "WORKER TIMEOUT" in site.log()
    assert site.ask("GET", "/").status == 200


def test_a_quick_stop_tells_the_worker(project):
    site = project("def worker_int(worker): note('worker_int', worker.alive)\n")
    site.wait_workers(1)
    site.signal(signal.SIGQUIT)
    assert site.wait() == 0
    assert [text for pid, text in site.notes()] == ["worker_int False"]


def test_a_supervisor_that_sends_term_to_all(project):
    """The zygote stays for the hooks of the end."""
    site = project("def child_exit(server, worker): note('child_exit')\ndef on_exit(server): note('on_exit')\n")
    site.wait_workers(1)
    for pid in [site.pid, *site.processes()]:
        os.kill(pid, signal.SIGTERM)
    assert site.wait() == 0
    assert [text for pid, text in site.notes()] == ["child_exit", "on_exit"]


def test_the_hooks_setting(monoceros, tmp_path):
    """A file of ours names the one with hooks; relative to where the server is started."""
    (tmp_path / "site_app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "my_hooks.py").write_text(NOTE + "workers = 'ignored'\ndef post_fork(server, worker): note('post_fork', server.cfg.workers)\n",
                                          encoding="utf-8")
    for word in ("my_hooks.py", "python:my_hooks"):
        notes = tmp_path / f"notes-{word}"
        monoceros(config=f'hooks = "{word}"\nworkers = 1\nbind = "{{address}}"\nwsgi_app = "site_app:app"\n', python=True, cwd=tmp_path,
                  env={"NOTES": str(notes)})
        until(lambda: notes.exists() and notes.read_text().endswith("post_fork 1\n"), "the hook")


def test_a_hooks_file_that_is_broken(monoceros, tmp_path):
    (tmp_path / "site_app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "my_hooks.py").write_text("\n1 / 0\n", encoding="utf-8")
    site = monoceros(config='hooks = "my_hooks.py"\nbind = "{address}"\nwsgi_app = "site_app:app"\n', python=True, cwd=tmp_path, ready=False,
                     expect_errors=True)
    assert site.wait() == 3
    assert re.search(r'File "[^"]*/my_hooks.py", line 2', site.log())


def test_every_python_pool_has_its_worker_hooks(monoceros, tmp_path):
    (tmp_path / "site_app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "my_hooks.py").write_text(NOTE + """
def on_starting(server): note("on_starting")
def pre_fork(server, worker): note("pre_fork")
def post_fork(server, worker): note("post_fork", worker.age)
def child_exit(server, worker): note("child_exit", worker.age)
""", encoding="utf-8")
    notes = tmp_path / "notes"
    site = monoceros(config='hooks = "my_hooks.py"\npool "a" { workers = 1 worker_class = {worker} }\npool "b" { workers = 1 worker_class = {worker} }\n'
                     'app "a" { type = wsgi module = "site_app:app" pool = a }\napp "b" { type = wsgi module = "site_app:app" pool = b }\n'
                     'server "a" { listen = "{address}" pool = a route "r" { app = a } }\n'
                     'server "b" { listen = "unix:{tmp}/b.sock" pool = b route "r" { app = b } }\n', python=True, cwd=tmp_path,
                     env={"NOTES": str(notes)})
    site.wait_workers(2)
    until(lambda: notes.read_text().count("post_fork") == 2, "both")
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    told = [line.split(" ", 1) for line in notes.read_text().splitlines()]
    by_name = {name: [pid for pid, text in told if text.startswith(name)] for name in ("on_starting", "pre_fork", "child_exit")}
    assert len(by_name["on_starting"]) == 1 and len(set(by_name["pre_fork"])) == 2
    assert by_name["child_exit"] == by_name["on_starting"] * 2


def test_child_exit_has_the_worker_of_pre_fork(project):
    """After a reload, too: the zygote that forked a worker hears of its end, however long the hook takes."""
    site = project("""
import time
mark = "first"
def pre_fork(server, worker): worker.mark = (mark, worker.age)
def child_exit(server, worker):
    time.sleep(3 if worker.mark == ("first", 2) else 0)
    note("child_exit", *worker.mark)
""", "-w", "2")
    site.wait_workers(2)
    conf = site.place / "gunicorn.conf.py"
    conf.write_text(conf.read_text(encoding="utf-8").replace("first", "second"), encoding="utf-8")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: done")
    until(lambda: len(site.wait_note("child_exit")) == 2, "both")
    assert [text for _, text in site.wait_note("child_exit")] == ["child_exit first 1", "child_exit first 2"]
    until(lambda: len(site.processes()) == 3, "the old zygote to leave")
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    assert sorted(text for _, text in site.wait_note("child_exit"))[2:] == ["child_exit second 3", "child_exit second 4"]


def test_prometheus_forgets_dead_workers(project, tmp_path):
    """The way of prometheus_client's documentation: child_exit marks what a worker leaves behind."""
    pytest.importorskip("prometheus_client")
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    site = project("""
from prometheus_client import multiprocess
def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
    note("marked", worker.pid)
def post_worker_init(worker):
    from prometheus_client import Gauge
    Gauge("live_workers", "that live", multiprocess_mode="liveall").set(1)
""", env={"PROMETHEUS_MULTIPROC_DIR": str(metrics)})
    first = site.wait_workers(1)[0]
    mine = metrics / f"gauge_liveall_{first}.db"
    until(mine.exists, "the metrics of the first worker")
    os.kill(first, signal.SIGKILL)
    assert site.wait_note("marked")[0][1] == f"marked {first}"
    assert not mine.exists()
    until(lambda: list(metrics.glob("gauge_liveall_*.db")), "those of the next one")


def test_gunicorns_loggers_write_to_the_error_log(project):
    site = project("")
    assert site.ask("GET", "/log").status == 200
    assert re.search(r"\] \[\d+\] \[WARNING\] an app says this\nin two lines\n", site.log())
    assert "is quiet" not in site.log()


LOGGING = {
    "version": 1,
    "formatters": {"short": {"format": "SHORT %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "short", "stream": "ext://sys.stdout"},
                 "error_console": {"class": "logging.StreamHandler", "formatter": "short"}},
    "loggers": {"shop": {"level": "INFO", "handlers": ["console"], "propagate": False}},
}
INI = """
[loggers]
keys=root,shop
[handlers]
keys=console
[formatters]
keys=short
[logger_root]
handlers=
[logger_shop]
level=INFO
qualname=shop
handlers=console
[handler_console]
class=StreamHandler
formatter=short
args=(sys.stderr,)
[formatter_short]
format=SHORT %(name)s %(message)s
"""


@pytest.mark.parametrize("how", ["dict", "object", "json", "ini"])
def test_logconfig(project, tmp_path, how):
    (tmp_path / "logging.json").write_text(json.dumps(LOGGING), encoding="utf-8")
    (tmp_path / "logging.ini").write_text(INI, encoding="utf-8")
    conf = {"dict": f"logconfig_dict = {LOGGING!r}", "json": "",
            "object": f"import logging\nlogconfig_dict = {LOGGING!r}\nlogconfig_dict['formatters']['short']['()'] = logging.Formatter\n",
            "ini": f"logconfig = {str(tmp_path / 'logging.ini')!r}"}[how]
    site = project(conf, *(["--log-config-json", tmp_path / "logging.json"] if how == "json" else []))
    assert site.ask("GET", "/log").status == 200
    site.wait_log(r"SHORT shop the shop says so\n")
    if how == "ini":
        assert "SHORT gunicorn" not in site.log()


def test_logconfig_that_is_wrong(project):
    site = project("logconfig_dict = {'version': 7}\n", ready=False, expect_errors=True)
    assert site.wait() == 3 and "Unsupported version: 7" in site.log()
