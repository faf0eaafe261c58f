"""The life of workers with Tornado's and aiohttp's apps: the loop that is there while they are imported, checks, reloads, TLS before them."""

import importlib.util
import json
import re
import shutil
import signal

import pytest

from lib import frames
from lib import server as under_test
from lib.limits import until
from lib.server import APPS
from tls.conftest import Client, context, pki  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "hosts"
KINDS = ["tornado", "aiohttp"]

WITHOUT = """
import sys
class Nothing:
    def find_spec(name, *_):
        if name in ("tornado", "aiohttp"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing)
def app():
    pass
"""


def needs(*names):
    for name in names:
        if name != "asgi" and not importlib.util.find_spec(name):
            pytest.skip(f"{name} is not installed")


@pytest.fixture(params=KINDS)
def kind(request):
    needs(request.param)
    return request.param


def show(site, path="/"):
    return json.loads(site.ask("GET", path).text)


# --- the loop is there before the app

@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["tornado", "aiohttp", "asgi"])
def test_what_is_tied_to_the_loop_by_the_import_runs(monoceros, kind, loop):
    needs(kind, loop)
    site = monoceros(f"early:{kind}()", "-k", kind, "--asgi-loop", loop, cwd=HERE)
    seen = show(site)
    assert seen["same"] and seen["waited"] == "waited"
    for what in ["ticks", "calls", *["periodic"] * (kind == "tornado")]:
        until(lambda: show(site)[what] > (seen[what] if what != "calls" else 0), f"{what} to go on")
    assert "event loop" not in site.log()


def test_a_preloaded_app_does_not_have_the_loop_of_its_workers(monoceros, kind):
    site = monoceros(f"early:{kind}()", "-k", kind, "--preload", cwd=HERE, env={"EARLY_KEEPS": "1"})
    assert not show(site)["same"]
    assert show(site)["ticks"] == show(site)["ticks"]
    site.wait_log(r"\[WARNING\] preload_app: the app has an event loop already")


# --- checks

@pytest.mark.parametrize("app, words", [
    ("_app:app", None),
    ("_app:make_later()", None),
    ("_app:wsgi", "is not a.*web.Application.* if it is WSGI, it needs worker_class sync or gthread"),
    ("_app:show", "Failed to find attribute 'show'|is not an aiohttp.web.Application"),
    ("_app:nothing", "Failed to find attribute 'nothing' in '.*_app'"),
    ("_none:app", "Failed to find application: No module named"),
])
def test_check_config(kind, app, words):
    done = under_test.run("--check-config", "-k", kind, kind + app, cwd=HERE)
    text = done.stdout + done.stderr
    assert done.returncode == (1 if words else 0) and "Traceback" not in text and "Warning" not in text, text
    assert not words or re.search(words, text), text


def test_a_framework_that_is_not_there(kind, tmp_path):
    (tmp_path / "without.py").write_text(WITHOUT)
    done = under_test.run("--check-config", "-k", kind, "without:app", cwd=tmp_path)
    assert done.returncode == 1 and f"but {kind} is not installed for" in done.stderr, done.stderr


# --- TLS is the engine's

def test_https(monoceros, kind, pki, context):      # noqa: F811
    site = monoceros(f"{kind}_app:app", "-k", kind, "--certfile", pki["ec.pem"], "--keyfile", pki["ec.key"], cwd=HERE)
    with Client(site.address, context()) as client:
        for head in ("", "Monoceros-Client: 6.6.6.6 http\r\n"):
            seen = json.loads(client.ask("/show?x=1", head=head)[2])
            assert (seen["remote"], seen["scheme"], seen["query"]) == ("127.0.0.1", "https", "x=1")
        assert json.loads(client.ask("/upload", method="POST", body=b"x" * 300_000)[2])["size"] == 300_000


@pytest.mark.skipif("http2" not in under_test.modules(), reason="built without http2")
def test_http2_over_tls(monoceros, kind, pki, context):     # noqa: F811
    site = monoceros(f"{kind}_app:app", "-k", kind, "--certfile", pki["ec.pem"], "--keyfile", pki["ec.key"], cwd=HERE)
    with frames.Client(site.address, context(alpn=["h2"])) as client:
        seen = json.loads(client.get("/show").body)
        assert (seen["remote"], seen["scheme"], seen["host"]) == ("127.0.0.1", "https", "localhost")
        assert json.loads(client.get("/upload", "POST", body=b"x" * 50_000).body)["size"] == 50_000
        streams = [client.ask("/slow?s=0.05") for _ in range(20)]
        assert {one.body for one in client.answers(*streams).values()} == {b"slept"}


# --- reload

def test_hup_to_another_app_and_to_a_broken_one(monoceros, kind, tmp_path):
    """The old one stays where the new one cannot be loaded."""
    shutil.copy(HERE / "early.py", tmp_path / "early.py")
    site = monoceros(f"early:{kind}()", "-k", kind, cwd=tmp_path, expect_errors=True)
    first = show(site)["pid"]
    (tmp_path / "broken").touch()
    site.signal(signal.SIGHUP)
    site.wait_log("Reload failed: .*broken as asked")
    assert show(site)["pid"] == first
    (tmp_path / "broken").unlink()
    text = (tmp_path / "early.py").read_text()
    (tmp_path / "early.py").write_text(text.replace('"waited")', '"anew")'))
    site.signal(signal.SIGHUP)
    until(lambda: show(site)["waited"] == "anew", "the new app")


@pytest.mark.parametrize("arguments", [(), ("--preload",), ("--asgi-loop", "asyncio")], ids=["", "preload", "asyncio"])
def test_the_page_of_a_broken_app(monoceros, kind, tmp_path, arguments):
    shutil.copy(HERE / "early.py", tmp_path / "early.py")
    (tmp_path / "broken").touch()
    site = monoceros(f"early:{kind}()", "-k", kind, "--reload", *arguments, cwd=tmp_path, expect_errors=True)
    page = site.ask("GET", "/")
    assert page.status == 500 and "broken as asked" in page.text
    (tmp_path / "broken").unlink()
    (tmp_path / "early.py").write_text((tmp_path / "early.py").read_text() + "\n")
    until(lambda: site.ask("GET", "/").status == 200, "the app")
    (tmp_path / "early.py").write_text("import nothing.such\n")
    until(lambda: "nothing" in site.ask("GET", "/").text, "the page again")
