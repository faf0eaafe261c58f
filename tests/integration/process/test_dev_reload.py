"""`reload`: workers are restarted when a file of the app changes, and an app that cannot be imported has a page."""

import os
import re
import textwrap

import pytest

from lib import procfs
from lib.fixtures import WORKERS
from lib.limits import until

pytestmark = [pytest.mark.python, pytest.mark.workers(*[name for name in WORKERS if name in ("sync", "gthread")])]

SITE = """
    import helper

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/late":
            import late
            return [late.TEXT]
        return [helper.TEXT]
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")


@pytest.fixture
def site(monoceros, tmp_path):
    """Factory: an app in a directory of its own, with `reload`."""
    place = tmp_path / "app"
    write(place / "site_app.py", SITE)
    write(place / "helper.py", 'TEXT = b"one"')
    write(place / "late.py", 'TEXT = b"late one"')

    def start(*arguments, app="site_app:app", **options):
        server = monoceros(app, "--reload", *arguments, cwd=place, python=True, **options)
        server.place = place
        server.ask("GET", "/")                          # its worker has told what it has loaded
        return server

    return start


def answer(server, path="/"):
    return server.ask("GET", path).body


def wait_answer(server, want, path="/"):
    until(lambda: answer(server, path) == want, f"the answer {want!r}")


def wait_page(server, words, path="/"):
    """Until the page with these words is there."""
    page = None

    def shown():
        nonlocal page
        page = server.ask("GET", path)
        return page.status == 500 and words in page.text
    until(shown, f"the page with {words!r}")
    return page


def test_a_change_of_a_module(site):
    server = site("-w", "2")
    assert answer(server) == b"one"
    first = server.wait_workers(2)
    write(server.place / "helper.py", 'TEXT = b"two"')
    wait_answer(server, b"two")
    server.wait_log(rf"Reloading: {server.place}/helper\.py changed")
    until(lambda: len(server.workers()) == 2 and not set(first) & set(server.workers()), "two new workers")
    write(server.place / "helper.py", 'TEXT = b"three"')
    wait_answer(server, b"three")
    assert len(re.findall("Reloading: ", server.log())) == 2


def test_how_editors_save(site):
    """A new file renamed over the old one; the old one renamed away; written in pieces: one reload each, and none for what they leave about."""
    server = site()
    helper = server.place / "helper.py"
    write(server.place / ".helper.py.swp", "x")
    write(server.place / "4913", "x")
    os.unlink(server.place / "4913")
    write(server.place / "helper.py.tmp", 'TEXT = b"two"')
    os.replace(server.place / "helper.py.tmp", helper)
    wait_answer(server, b"two")
    os.rename(helper, server.place / "helper.py~")
    write(helper, 'TEXT = b"three"')
    wait_answer(server, b"three")
    with open(helper, "w", encoding="utf-8") as file:
        for piece in ("TEXT ", "= b'fo", "ur'\n"):
            file.write(piece)
            file.flush()
    wait_answer(server, b"four")
    assert re.findall(r"Reloading: (\S+) changed", server.log()) == [str(helper)] * 3


def test_what_is_imported_later_and_new_modules(site):
    server = site()
    assert answer(server, "/late") == b"late one"
    files = server.place / "late.py"
    until(lambda: "late" in server.log() or write(files, 'TEXT = b"late two"') or answer(server, "/late") == b"late two", "the change to be seen")
    wait_answer(server, b"late two", "/late")
    count = len(re.findall("Reloading: ", server.log()))
    write(server.place / "fresh.py", "x = 1")
    server.wait_log(rf"Reloading: {server.place}/fresh\.py changed")
    until(lambda: len(re.findall("Reloading: ", server.log())) == count + 1, "one reload")
    (server.place / "notes.txt").write_text("not a module")
    write(server.place / "helper.py", 'TEXT = b"last"')
    wait_answer(server, b"last")
    assert "notes.txt" not in server.log()


def test_extra_files(site):
    place = None

    def told(path, number):
        server.wait_log(rf"Reloading: {re.escape(str(path))} changed", number)

    server = site("--reload-extra-file", "templates/**/*.html", "--reload-extra-file", "site.toml", "--reload-extra-file", "data")
    place = server.place
    assert "Reloading" not in server.log()
    write(place / "site.toml", "a = 1")                 # was not there
    told(place / "site.toml", 1)
    (place / "templates").mkdir()
    write(place / "templates" / "a.html", "x")
    until(lambda: f"{place}/templates/a.html changed" in server.log() or write(place / "templates" / "a.html", "y"), "the new template", pause=0.3)
    (place / "templates" / "deep").mkdir()
    until(lambda: f"{place}/templates/deep/b.html changed" in server.log() or write(place / "templates" / "deep" / "b.html", "x"), "the deeper one",
          pause=0.3)
    write(place / "templates" / "c.css", "x")
    count = server.log().count("a.html changed")
    os.unlink(place / "templates" / "a.html")
    told(place / "templates" / "a.html", count + 1)
    write(place / "site.toml", "a = 22")
    told(place / "site.toml", 2)
    assert "c.css" not in server.log()
    assert answer(server) == b"one"


def test_directories_of_extra_files(site):
    """As a checkout makes them: they come, with all that is in them, and go as a whole."""
    server = site("--reload-extra-file", "templates/**/*.html")
    place = server.place
    write(place / "made" / "shop" / "a.html", "x")
    write(place / "plain" / "notes.txt", "x")

    def reloads(action, number):
        action()
        server.wait_log(r"Reloading: ", number)

    reloads(lambda: os.rename(place / "made", place / "templates"), 1)
    os.rename(place / "plain", place / "templates" / "plain")   # nothing that matches
    reloads(lambda: write(place / "templates" / "more" / "b.html", "x"), 2)
    reloads(lambda: os.rename(place / "templates" / "more", place / "elsewhere"), 3)
    reloads(lambda: os.rename(place / "elsewhere", place / "templates" / "more"), 4)
    assert re.findall(r"Reloading: (\S+) changed", server.log())[2:] == [f"{place}/templates/more"] * 2
    assert f"{place}/templates/plain changed" not in server.log()


@pytest.mark.parametrize("preload", [False, True])
def test_an_app_that_cannot_be_imported_has_a_page(site, preload):
    server = site("-w", "2", *["--preload"][:preload], expect_errors=True)
    assert answer(server) == b"one"
    write(server.place / "helper.py", 'TEXT = b"<two>\n')
    page = wait_page(server, "unterminated", "/any/where")
    assert page.get("content-type") == "text/html; charset=utf-8" and page.get("cache-control") == "no-store"
    assert "<h1>SyntaxError: unterminated string literal" in page.text and f"{server.place}/helper.py&quot;, line 1" in page.text
    assert "&lt;two&gt;" in page.text and "<two>" not in page.text
    write(server.place / "helper.py", "import nowhere_to_be_found")
    wait_page(server, "No module named &#x27;nowhere_to_be_found&#x27;")
    write(server.place / "nowhere_to_be_found.py", "TEXT = b'found'")
    write(server.place / "helper.py", "from nowhere_to_be_found import TEXT")
    wait_answer(server, b"found")


def test_the_first_start_with_a_broken_app(site, monoceros):
    server = site(app="missing:app", expect_errors=True)
    wait_page(server, "No module named &#x27;missing&#x27;")
    write(server.place / "missing.py", "app = 3 +")
    wait_page(server, "SyntaxError")
    write(server.place / "missing.py", "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'there']\n")
    wait_answer(server, b"there")


def test_a_directory_that_is_replaced(site, tmp_path):
    """As git does when it goes to another branch and back."""
    package = tmp_path / "app" / "package"
    text = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"
    write(package / "inner.py", text % "first")
    server = site(app="package.inner:app", expect_errors=True)
    assert answer(server) == b"first"
    os.rename(package, tmp_path / "away")
    wait_page(server, "No module named &#x27;package")
    os.rename(tmp_path / "away", package)
    wait_answer(server, b"first")
    write(package / "inner.py", text % "second")
    wait_answer(server, b"second")


def test_without_reload_nothing_is_told(monoceros, site, tmp_path):
    write(tmp_path / "app" / "helper.py", "TEXT = ")
    server = monoceros("site_app:app", cwd=tmp_path / "app", python=True, ready=False, expect_errors=True)
    assert server.wait() == 3
    checked = monoceros("site_app:app", "--reload", "--check-config", cwd=tmp_path / "app", python=True, ready=False, expect_errors=True)
    assert checked.wait() == 1                          # and a check is not lenient


def test_no_watches_without_reload(monoceros, site, tmp_path):
    server = monoceros("site_app:app", cwd=tmp_path / "app", python=True)
    assert answer(server) == b"one"
    assert "anon_inode:inotify" not in procfs.fds(server.pid).values()
    write(tmp_path / "app" / "helper.py", 'TEXT = b"two"')
    assert answer(server) == b"one" and "Reloading" not in server.log()
