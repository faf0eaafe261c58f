"""gevent and eventlet: start, preload_app, hooks, and every way to end, with requests in flight."""

import json
import os
import re
import signal
import sys

import pytest

from lib.limits import until
from lib.server import APPS
from lib.wire import Closed, request

HERE = APPS / "green"

pytestmark = [pytest.mark.python, pytest.mark.workers("greenlet")]


@pytest.fixture
def start(monoceros, kind):
    def run(*arguments, app="green:app", **options):
        return monoceros(app, "-k", kind, *arguments, cwd=HERE, **options)
    return run


def hold(site, count, target):
    clients = [site.connect() for _ in range(count)]
    for client in clients:
        client.send(request("GET", target))
    site.wait_log("holding", count)
    return clients


@pytest.mark.parametrize("app", ["preloaded:app", "green:app"])
def test_preload_app_is_patched_before_its_import(start, kind, app):
    site = start("--preload", "-w", "2", app=app)
    zygote = {json.loads(site.ask("GET", "/counts").text)["imported_by"] for _ in range(5)}
    assert len(zygote) == 1 and zygote.isdisjoint(site.wait_workers(2))
    clients = [site.connect() for _ in range(20)]
    for client in clients:
        client.send(request("GET", "/counts"))
    answers = [json.loads(client.read().text) for client in clients]
    assert {answer["pid"] for answer in answers} <= set(site.workers())
    assert all(answer.get("patched", kind).startswith(kind) for answer in answers)
    killed = site.workers()[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(site.workers()) == 2 and killed not in site.workers(), "another worker")
    assert site.ask("GET", "/counts").status == 200
    site.log_path.write_text(site.log().replace(f"(pid:{killed})", ""))


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_check_config_imports_the_app_as_workers_do(start, kind, preload):
    site = start("--check-config", *["--preload"] * preload, app="preloaded:app", ready=False)
    assert site.wait() == 0


def test_hooks_may_wait(start, kind):
    site = start("-c", str(HERE / "hooks.conf.py"))
    assert site.ask("GET", "/").status == 200
    assert [found[0] for found in site.wait_log("post_fork .*|post_worker_init|post_request .*", 3)] == [
        f"post_fork {'gevent.hub' if kind == 'gevent' else 'eventlet.greenthread'}", "post_worker_init", "post_request / 200 OK"]
    site.signal(signal.SIGINT)
    assert site.wait() == 0
    assert [line for line in site.log().splitlines() if line.startswith("worker_")] == ["worker_int", "worker_exit"]


def test_a_graceful_stop_waits_for_requests(start, tmp_path):
    go = tmp_path / "go"
    site = start("--keep-alive", "60")
    worker = site.wait_workers(1)
    idle = site.connect()
    idle.ask("GET", "/")
    clients = hold(site, 5, f"/hold?file={go}")
    site.signal(signal.SIGTERM)
    site.wait_log("Handling signal: term")
    assert idle.ended()
    assert site.workers() == worker
    go.touch()
    answers = [client.read() for client in clients]
    assert {(answer.text, answer.keep) for answer in answers} == {("released", False)}
    assert site.wait() == 0


def test_graceful_timeout_kills_what_is_left(start):
    """An app's cleanup runs, and may wait a little."""
    site = start("--graceful-timeout", "1")
    clients = hold(site, 3, "/hold?file=/no/such/file&after=0.01")
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    assert site.log().count("ended by GreenletExit\n") == site.log().count("let go\n") == 3
    assert "graceful_timeout is over: 3 connections are cut" in site.log()
    for client in clients:
        try:
            assert client.read().status == 503
        except Closed as error:
            assert error.partial == b""


def test_a_request_that_will_not_die_is_left_behind(start):
    site = start("--graceful-timeout", "1")
    with site.connect() as client:
        client.send(request("GET", "/stubborn"))
        until(lambda: site.ask("GET", "/").status == 200)
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
    site.wait_log("1 requests do not end although they were killed: left behind")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_stop_kills_at_once(start, number):
    site = start("--graceful-timeout", "60")
    hold(site, 3, "/hold?file=/no/such/file")
    site.signal(number)
    assert site.wait() == 0
    assert site.log().count("ended by GreenletExit\n") == 3


def test_streams_are_closed_when_they_are_cut(start):
    site = start("--graceful-timeout", "1")
    with site.connect() as client:
        client.send(request("GET", "/stream?file=/no/such/file"))
        client.read_head()
        assert client.exactly(15)
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        with pytest.raises(Closed):
            client.exactly(1)
    assert "stream ended by GreenletExit\nstream closed\n" in site.log()


def test_a_writer_that_waits_for_its_client_is_cut(start):
    site = start("--graceful-timeout", "1", "--response-buffer-file", "1m", "--send-timeout", "60")
    with site.connect(rcvbuf=65536) as client:
        client.send(request("GET", "/write?count=300"))
        client.read_head()
        assert site.ask("GET", "/").status == 200
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
    assert "write ended by GreenletExit\n" in site.log()


def test_a_slow_client_is_given_up(start):
    site = start("--response-buffer-file", "1m", "--send-timeout", "1")
    with site.connect(rcvbuf=65536) as client:
        client.send(request("GET", "/write?count=300"))
        client.read_head()
        site.wait_log("write ended by ConnectionResetError")
    assert site.ask("GET", "/").status == 200


def test_max_requests(start):
    site = start("--max-requests", "20")
    workers = set()
    until(lambda: workers.add(json.loads(site.ask("GET", "/counts").text)["pid"]) or len(workers) > 1, "a second worker")


def test_a_reload_serves_both_generations(start, tmp_path):
    go = tmp_path / "go"
    site = start()
    old = site.wait_workers(1)
    clients = hold(site, 2, f"/hold?file={go}")
    site.signal(signal.SIGHUP)
    until(lambda: json.loads(site.ask("GET", "/counts").text)["pid"] not in old, "the next generation")
    go.touch()
    assert [client.read().text for client in clients] == ["released"] * 2
    until(lambda: site.workers() and not set(site.workers()) & set(old), "the old worker to leave")


def test_a_library_that_is_not_there(monoceros, tmp_path, kind):
    package = tmp_path / kind
    package.mkdir()
    (package / "__init__.py").write_text(f"raise ModuleNotFoundError(\"No module named '{kind}'\", name='{kind}')\n")
    site = monoceros("green:app", "-k", kind, cwd=HERE, env={"PYTHONPATH": str(tmp_path)}, ready=False, expect_errors=True)
    assert site.wait() == 3
    assert f"RuntimeError: worker_class {kind} needs the package {kind}\n" in site.log()


NAMES = {"gevent_wsgi": "gevent", "gevent_pywsgi": "gevent", "egg:gunicorn#gevent": "gevent", "gunicorn.workers.ggevent.GeventWorker": "gevent",
         "gunicorn.workers.ggevent.GeventPyWSGIWorker": "gevent", "egg:gunicorn#eventlet": "eventlet",
         "gunicorn.workers.geventlet.EventletWorker": "eventlet"}


@pytest.mark.parametrize("name", NAMES)
def test_names(monoceros, name):
    site = monoceros("green:app", "-k", name, "--print-config", cwd=HERE, ready=False)
    assert site.wait() == 0
    assert re.search(rf"worker_class = '?{NAMES[name]}\b", site.log())


def test_asgi_apps_have_to_go_elsewhere(monoceros):
    config = "app \"a\" { type = asgi module = \"green:app\" }\nserver \"s\" { listen = {\"{address}\"} route \"r\" { app = a } }\n"
    site = monoceros("-k", "gevent", config=config, ready=False, python=True)
    assert site.wait() == 1
    assert "worker_class 'gevent' cannot run app \"a\" of type asgi, whose event loop would have to be the worker's; worker types that can: epoll" in site.log()


def test_the_native_greenlet_worker_names_them(monoceros):
    site = monoceros("green:app", "-k", "greenlet", cwd=HERE, ready=False)
    assert site.wait() == 1
    assert "Python cannot run on its coroutines; worker types that can: gevent, eventlet" in site.log()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="old")
def test_beside_other_pools(monoceros, kind):
    """A pool with a hub, one without: each patches its own processes only."""
    site = monoceros(python=True, cwd=HERE, config=f"""
        chdir = "{HERE}"
        pool "green" {{ worker_class = {kind} }}
        pool "plain" {{ worker_class = sync }}
        app "green" {{ module = "green:app" pool = green }}
        app "plain" {{ module = "green:app" pool = plain }}
        server "s" {{ listen = {{"{{address}}"}}
            route "plain" {{ match {{ prefix = "/text" }} app = plain }}
            route "green" {{ app = green }} }}
    """)
    assert site.ask("GET", "/text").text == "none sync socket False"
    assert site.ask("GET", "/").text.startswith(f"{kind} {kind} {kind}")
