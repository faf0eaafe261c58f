"""Compression on the way out, on every worker type: what is compressed, for whom, and that it comes out as it went in."""

import gzip
import os
import random
import shutil
import subprocess
import zlib

import pytest

from lib import server as under_test

PAGE = "<p>the same line again and again</p>\n" * 300
CONFIG = """
pool "web" { worker_class = {worker}  keepalive = 20s  THREADS }
APP
compress { min = 500 }
server "main" {
    listen = "{address}"
    route "off"    { match { prefix = "/off/" }     compress { enabled = no }            static { root = "ROOT" } }
    route "gzip"   { match { prefix = "/gzip/" }    compress { algorithms = {gzip}  level = 9  types = {"*"}  min = 1 }  static { root = "ROOT" } }
    route "reply"  { match { prefix = "/reply" }    respond { type = "text/html"  body = "PAGE" } }
    ROUTE
    route "all"    { static { root = "ROOT" } }
}
"""
APP = 'app "a" { type = wsgi  module = "wsgi.squeezed:application" }'
ROUTE = 'route "cookies" { match { prefix = "/app/cookies" }  compress { cookies = yes }  app = a }  route "app" { match { prefix = "/app" }  app = a }'

pytestmark = pytest.mark.skipif("coding" not in under_test.modules() or "gzip" not in under_test.modules(), reason="built without codings")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    top = tmp_path_factory.mktemp("root")
    (top / "page.html").write_text(PAGE)
    (top / "short.html").write_text("short")
    (top / "photo.jpg").write_bytes(os.urandom(5000))
    rows = random.Random(1)
    (top / "large.json").write_text("[%s]" % ",".join('{"id": %d, "name": "item %d"}' % (i, rows.randrange(10**6)) for i in range(200_000)))
    return top


def text(root, app, worker_class):
    config = CONFIG.replace("THREADS", "threads = 4" if worker_class == "gthread" else "").replace("ROOT", str(root)).replace("PAGE", "reply " * 500)
    return config.replace("APP", APP if app else "").replace("ROUTE", ROUTE if app else "")


@pytest.fixture(scope="module")
def site(shared_monoceros, root, worker_class):
    return shared_monoceros(config=text(root, False, worker_class))


@pytest.fixture(scope="module")
def app(shared_monoceros, root, worker_class):
    return shared_monoceros(config=text(root, True, worker_class))


def decode(answer):
    coding = answer.get("Content-Encoding")
    if coding is None:
        return answer.body
    if coding == "gzip":
        return gzip.decompress(answer.body)
    tool = {"br": ["brotli", "-dc"], "zstd": ["zstd", "-dcq"]}[coding]
    if not shutil.which(tool[0]):
        pytest.skip(f"no {tool[0]} to decode with")
    return subprocess.run(tool, input=answer.body, capture_output=True, check=True).stdout


def get(site, target, accept="gzip", *headers, method="GET"):
    with site.connect() as connection:
        answer = connection.ask(method, target, headers=[("Accept-Encoding", accept), *headers] if accept else list(headers))
        assert connection.ask("GET", "/short.html").body == b"short"
        return answer


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("target", ["/page.html", "/large.json"])
def test_what_comes_out_went_in(site, root, target, coding):
    if {"br": "brotli"}.get(coding, coding) not in under_test.modules().split():
        pytest.skip(f"built without {coding}")
    plain = get(site, target, None)
    answer = get(site, target, coding)
    assert answer.status == 200 and answer.get("Content-Encoding") == coding and len(answer.body) < len(plain.body) / 3
    assert answer.get("Vary") == "Accept-Encoding" == plain.get("Vary")
    assert answer.get("ETag") == "W/" + plain.get("ETag") and answer.get("Accept-Ranges") is None
    assert (answer.framing, plain.framing) == ("length" if target == "/page.html" else "chunked", "length")
    assert decode(answer) == plain.body == (root / target[1:]).read_bytes()


def test_head_says_what_get_says(site):
    for target in ("/page.html", "/large.json"):
        head, answer = get(site, target, method="HEAD"), get(site, target)
        assert head.body == b"" and [head.get(n) for n in ("Content-Encoding", "Vary", "ETag", "Content-Type")] == \
            [answer.get(n) for n in ("Content-Encoding", "Vary", "ETag", "Content-Type")]


def test_what_is_left_alone(site):
    for target in ("/short.html", "/photo.jpg", "/off/page.html"):
        answer = get(site, target)
        assert answer.get("Content-Encoding") is None and answer.get("Vary") is None and answer.get("Accept-Ranges") == "bytes"
    for accept in (None, "identity", "gzip;q=0", "deflate"):
        answer = get(site, "/page.html", accept)
        assert answer.get("Content-Encoding") is None and answer.get("Vary") == "Accept-Encoding" and answer.body == PAGE.encode()
    part = get(site, "/page.html", "gzip", ("Range", "bytes=0-99"))
    assert part.status == 206 and part.get("Content-Encoding") is None and part.body == PAGE[:100].encode()
    with site.connect() as connection:
        old = connection.ask("GET", "/page.html", headers=[("Accept-Encoding", "gzip")], version="HTTP/1.0")
        assert old.get("Content-Encoding") is None and old.body == PAGE.encode()


def test_settings_of_a_route(site, root):
    answer = get(site, "/gzip/photo.jpg", "br, gzip")
    assert answer.get("Content-Encoding") == "gzip" and decode(answer) == (root / "photo.jpg").read_bytes()
    answer = get(site, "/reply")
    assert answer.get("Content-Encoding") == "gzip" and decode(answer) == b"reply " * 500


def test_a_tag_that_was_weakened_is_still_ours(site):
    tag = get(site, "/page.html").get("ETag")
    assert tag.startswith("W/")
    answer = get(site, "/page.html", "gzip", ("If-None-Match", tag))
    assert answer.status == 304 and answer.body == b""


def test_slow_readers_of_what_is_being_compressed(site, root):
    slow = [site.connect(rcvbuf=4096) for _ in range(4)]
    for connection in slow:
        connection.send(b"GET /large.json HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
    for _ in range(20):
        assert site.ask("GET", "/short.html").body == b"short"
    slow[0].close()
    for connection in slow[1:]:
        with connection:
            assert gzip.decompress(connection.read().body) == (root / "large.json").read_bytes()


@pytest.mark.python
def test_apps(app):
    answer = get(app, "/app/page")
    assert answer.get("Content-Encoding") == "gzip" and decode(answer) == PAGE.encode() and answer.get("ETag") == 'W/"x"'
    answer = get(app, "/app/large")
    assert decode(answer) == b"0123456789abcdef" * 200_000
    assert get(app, "/app/coded").get("Content-Encoding") == "x-own"
    assert get(app, "/app/transform").get("Content-Encoding") is None
    assert get(app, "/app/empty").status == 204


@pytest.mark.python
def test_secrets_are_not_measured(app):
    """BREACH: what knows the client is compressed only where the operator says that it is harmless."""
    for header in (("Cookie", "a=b"), ("Authorization", "Basic x")):
        assert get(app, "/app/page", "gzip", header).get("Content-Encoding") is None
        assert get(app, "/app/public", "gzip", header).get("Content-Encoding") == "gzip"
        assert get(app, "/page.html", "gzip", header).get("Content-Encoding") == "gzip"
        assert get(app, "/app/cookies/page", "gzip", header).get("Content-Encoding") == "gzip"
    assert get(app, "/app/login").get("Content-Encoding") is None
    assert get(app, "/app/cookies/login").get("Content-Encoding") == "gzip"


@pytest.mark.python
def test_files_of_apps(app, root):
    answer = get(app, "/app/file?" + str(root / "large.json"))
    assert answer.get("Content-Encoding") == "gzip" and decode(answer) == (root / "large.json").read_bytes()


@pytest.mark.python
@pytest.mark.workers("gthread")
def test_a_stream_is_seen_as_it_is_made(app):
    """Each piece that an app yields can be decoded before the next one is made: it waits for us."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    with app.connect() as connection:
        connection.send(b"GET /app/steps HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
        head = connection.read_head()
        assert ("Content-Encoding", "gzip") in head.headers
        seen = b""
        for step in range(3):
            while b"step %d\n" % step not in seen:
                line = connection.line([])
                size = int(line, 16)
                assert size > 0
                seen += decoder.decompress(connection.exactly(size))
                connection.exactly(2)
            app.ask("GET", f"/app/go?{step}")


@pytest.mark.python
def test_a_short_body_is_not_made_to_look_whole(app):
    answer = app.ask("GET", "/app/short", headers=[("Accept-Encoding", "gzip")])
    assert answer.status == 500
