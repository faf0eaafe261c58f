"""The lifespan of ASGI apps, and the end of a worker that has some."""

import importlib.util
import signal

import pytest

from lib.limits import until
from lib.server import APPS
from lib.wire import request

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="there is no uvloop"))]


@pytest.fixture
def lives(monoceros, tmp_path):
    """Starts a server with such a lifespan. lives.lines(): what it noted, without pids."""
    path = tmp_path / "events"

    def start(what="", *arguments, **kwargs):
        env = {"LIFESPAN": what, "LIFESPAN_FILE": str(path)}
        return monoceros(kwargs.pop("app", "lives:app"), "-k", "asgi", *arguments, cwd=HERE, env=env, **kwargs)
    start.lines = lambda: [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []
    return start


def ends(site, code):
    assert site.process.wait(60) == code
    site.waited = True


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("stop", ["SIGTERM", "SIGINT"])
def test_startup_and_shutdown(lives, loop, stop):
    site = lives("", "--asgi-loop", loop)
    assert site.ask("GET", "/").body == b"alive\n"
    assert lives.lines() == ["lifespan.startup"]
    site.signal(getattr(signal, stop))
    ends(site, 0)
    assert lives.lines() == ["lifespan.startup", "lifespan.shutdown", "done"]


@pytest.mark.parametrize("what", ["unknown", "returns"])
def test_apps_without_one_are_served(lives, what):
    site = lives(what)
    assert site.ask("GET", "/").body == b"alive\n"
    assert 'App "default" has no lifespan' in site.log()


@pytest.mark.parametrize("what, why", [("unknown", "KeyError: 'http'"), ("returns", "it has ended before")])
def test_on_means_that_there_must_be_one(lives, what, why):
    site = lives(what, "--asgi-lifespan", "on", ready=False, expect_errors=True)
    ends(site, 3)
    assert 'App "default": its startup failed: ' in site.log() and why in site.log()


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_startup_that_failed_is_never_served(lives, mode):
    site = lives("fails", "--asgi-lifespan", mode, ready=False, expect_errors=True)
    ends(site, 3)
    assert "its startup failed: no database\nat db:5432" in site.log()
    assert "never retrieved" not in site.log()


@pytest.mark.parametrize("what", ["exits", "wrong"])
def test_other_failures_of_a_startup(lives, what):
    site = lives(what, "--asgi-lifespan", "on", ready=False, expect_errors=True)
    ends(site, 3)


def test_off(lives):
    site = lives("fails", "--asgi-lifespan", "off")
    assert site.ask("GET", "/").status == 200 and lives.lines() == []


def test_a_startup_that_hangs(lives):
    """Nobody hides it: a worker that does not get ready in `timeout` is replaced, and at the first start that is the end."""
    site = lives("hangs", "--timeout", "1", "--graceful-timeout", "1", ready=False, expect_errors=True)
    site.wait_log("WORKER TIMEOUT")
    site.signal(signal.SIGTERM)
    site.process.wait(60)
    site.waited = True
    assert "lifespan.startup" in lives.lines()


CONFIG = """
workers = 1
timeout = 4
pool "ws" { worker_class = asgi }
app "lives" { module = "lives:app" chdir = "HERE" env = {"LIFESPAN=WHAT", "LIFESPAN_FILE=PLACE"} }
server "s" { listen = "{address}" pool = ws  route "all" { app = lives } }
"""


@pytest.mark.parametrize("what, words", [("fails", "its startup failed: no database"), ("hangs", "WORKER TIMEOUT")])
def test_a_reload_whose_startup_does_not_succeed(monoceros, tmp_path, what, words):
    """The old worker goes on."""
    text = CONFIG.replace("HERE", str(HERE)).replace("PLACE", f"{tmp_path}/events")
    site = monoceros(config=text.replace("WHAT", ""), python=True, expect_errors=True)
    worker = site.wait_workers(1)
    path = site.directory / "test.conf"
    path.write_text(path.read_text().replace("LIFESPAN=\"", f"LIFESPAN={what}\""))
    site.signal(signal.SIGHUP)
    site.wait_log("Reload failed: .*goes on", seconds=60)
    assert words in site.log()
    assert site.ask("GET", "/").body == b"alive\n" and site.wait_workers(1) == worker


@pytest.mark.parametrize("what, words", [("stays", "its shutdown is not complete in time"), ("breaks", "ValueError: broken shutdown"),
                                         ("regrets", "its shutdown failed: could not save")])
def test_failures_of_a_shutdown(lives, what, words):
    site = lives(what, "--graceful-timeout", "3", expect_errors=True)
    assert site.ask("GET", "/").status == 200
    site.signal(signal.SIGTERM)
    ends(site, 0)
    assert words in site.log() and "SIGKILL" not in site.log()


@pytest.mark.parametrize("loop", LOOPS)
def test_requests_are_finished_first(lives, loop):
    site = lives("", "--asgi-loop", loop)
    with site.connect() as client, site.connect() as behind:
        client.send(request("GET", "/slow"))
        behind.send(request("GET", "/behind"))
        assert behind.read().status == 200
        site.signal(signal.SIGTERM)
        assert client.read().body == b"alive\n"
    ends(site, 0)
    assert lives.lines() == ["lifespan.startup", "behind", "lifespan.shutdown", "done"]


@pytest.mark.parametrize("loop", LOOPS)
def test_what_does_not_end_is_cancelled_and_the_shutdown_comes(lives, loop):
    site = lives("", "--graceful-timeout", "2", "--asgi-loop", loop)
    with site.connect() as client, site.connect() as behind:
        client.send(request("GET", "/endless"))
        behind.send(request("GET", "/behind-endless"))
        assert behind.read().status == 200
        site.signal(signal.SIGTERM)
        ends(site, 0)
    assert lives.lines() == ["lifespan.startup", "cancelled", "lifespan.shutdown", "done"]


def test_each_worker_has_its_own(lives):
    site = lives("", "-w", "2")
    site.wait_workers(2)
    until(lambda: lives.lines() == ["lifespan.startup"] * 2, "two startups")
    site.signal(signal.SIGTERM)
    ends(site, 0)
    assert sorted(lives.lines()) == ["done"] * 2 + ["lifespan.shutdown"] * 2 + ["lifespan.startup"] * 2


@pytest.mark.parametrize("arguments", [("--preload",), ("--max-requests", "5")])
def test_a_worker_is_replaced(lives, arguments):
    site = lives("", *arguments)
    for _ in range(7):
        assert site.ask("GET", "/").status == 200
    if "--preload" in arguments:
        site.signal(signal.SIGHUP)
    until(lambda: lives.lines().count("done") >= 1, "the end of the first worker")
    assert lives.lines().count("lifespan.startup") >= 2
    assert site.ask("GET", "/").status == 200


@pytest.mark.parametrize("app", ["lives:Double", "lives:instance", "lives:factory()"])
def test_kinds_of_apps(lives, app):
    assert lives("", app=app).ask("GET", "/").body == b"alive\n"


def test_apps_of_one_worker_and_of_another_pool(monoceros, tmp_path):
    site = monoceros(config=f'''
pool "ws" {{ worker_class = asgi }}
pool "two" {{ worker_class = {{worker}} }}
app "lives" {{ module = "lives:app" chdir = "{HERE}" env = {{"LIFESPAN_FILE={tmp_path}/events"}} }}
app "plain" {{ module = "plain:app" chdir = "{HERE}" type = asgi pool = two root_path = "/mounted" }}
server "s" {{ listen = "{{address}}" pool = ws
    route "plain" {{ match {{ prefix = "/plain" }} app = plain }}
    route "rest" {{ app = lives }} }}
''', python=True)
    assert site.ask("GET", "/").body == b"alive\n"
    scope = site.ask("GET", "/plain/show").text
    assert '"root_path": "/mounted"' in scope and '"path": "/mounted/plain/show"' in scope and f'"server": ["127.0.0.1", {site.address[1]}]' in scope
    assert site.ask("POST", "/plain/echo", body=b"over the hop" * 9000).body == b"over the hop" * 9000
