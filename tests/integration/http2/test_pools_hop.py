"""An app in another pool, asked over HTTP/2: the same environ as in the server's own pool, and as over HTTP/1.1 but for the version."""

import json

import pytest

from lib import server as under_test
from lib.fixtures import WORKERS
from lib.frames import CANCEL, RST_STREAM, rst
from lib.limits import until
from lib.wire import Connection

pytestmark = [pytest.mark.python, pytest.mark.workers(WORKERS[0])]
TYPES = [name for name in ("sync", "gthread") if name in WORKERS]
FRONT = next((name for name in ("epoll", "gthread", "sync") if name in WORKERS), "sync")

SITE = """
http2_cleartext = prior-knowledge
pool "front" {{ worker_class = {front}  workers = 1  keepalive = 30 }}
pool "apps" {{ worker_class = {type}  {threads}  workers = {workers} }}
app "probe" {{ type = wsgi  module = "{module}"  chdir = "{chdir}"  pool = apps }}
server "main" {{ listen = "{{address}}"  pool = {pool}  limit_request_body = 10m
    route "moved" {{ match {{ prefix = "/old" }}  rewrite {{ to = "/environ?moved=yes&$query_string" }} }}
    route "all" {{ app = probe }} }}
"""


def start(monoceros, kind, pool, module="hop:app", folder="pools", workers=2, **options):
    threads = "threads = 4" if kind == "gthread" else ""
    text = SITE.format(front=FRONT, type=kind, pool=pool, module=module, threads=threads, workers=workers, chdir=under_test.APPS / folder)
    if pool == "apps":      # nobody is in front then, who would be needed
        text = text.replace(f'pool "front" {{ worker_class = {FRONT}  workers = 1  keepalive = 30 }}\n', "").replace(f"workers = {workers} }}", f"workers = {workers}  keepalive = 30 }}")
    return monoceros(config=text, python=True, **options)


def plainly(environ, site, sock):
    names = {str(site.address[1]): "SITE", str(sock.getsockname()[1]): "CLIENT"}
    out = {}
    for key, value in environ:
        for text, word in names.items():
            value = value.replace(text, word) if isinstance(value, str) else value
        out[key] = value
    return out


REQUESTS = {
    "plain": ("/environ", "GET", [], None),
    "query": ("/%65nviron?q=%41+b&c=%C3%A9", "GET", [("accept", "*/*"), ("x-case", "One"), ("cookie", "a=b"), ("cookie", "c=d")], None),
    "rewritten": ("/old/one?x=%2F", "GET", [], None),
    "underscores": ("/environ", "GET", [("x_y", "1"), ("x-y", "2")], None),
    "body": ("/environ", "POST", [("content-type", "text/plain"), ("content-length", "5")], b"hello"),
    "no length": ("/environ", "PUT", [], b"z" * 40000),
    "te": ("/environ", "GET", [("te", "trailers"), ("x-forwarded-for", "1.2.3.4")], None),
}


def over_2(site, c, name):
    path, method, fields, body = REQUESTS[name]
    a = c.get(path, method, *fields, body=body, authority="site.example")
    assert a.status == 200, (name, a.status, a.body)
    told = json.loads(a.body)
    fields = [pair for pair in a.headers if pair[0] not in ("date", ":status")]
    return plainly(told["environ"], site, c.sock), told["body"], fields


def over_1(site, name):
    path, method, fields, body = REQUESTS[name]
    framing = "" if body is None or "content-length" in dict(fields) else "Transfer-Encoding: chunked\r\n"
    cookies = "; ".join(value for field, value in fields if field == "cookie")     # crumbs are one field there
    lines = "".join(f"{field}: {value}\r\n" for field, value in fields if field != "cookie") + (f"cookie: {cookies}\r\n" if cookies else "")
    data = body or b""
    if framing:
        data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
    with Connection(site.address) as c:
        c.send(f"{method} {path} HTTP/1.1\r\nhost: site.example\r\n{framing}{lines}\r\n".encode() + data)
        a = c.read()
        assert a.status == 200, (name, a.status)
        told = json.loads(a.body)
        return plainly(told["environ"], site, c.sock), told["body"]


@pytest.mark.parametrize("kind", TYPES)
def test_trailers_of_an_app(monoceros, client, kind):
    c = client(start(monoceros, kind, "front", module="http2.streams:app", folder="."))
    for how in ("early", "late"):
        a = c.get(f"/trailers/{how}")
        assert (a.status, a.body, a.trailers) == (200, b"the answer", [("x-first", "1"), ("x-second", "2")]), how


@pytest.mark.parametrize("kind", TYPES)
def test_the_environ(monoceros, client, kind):
    sites = [start(monoceros, kind, pool) for pool in ("apps", "front")]
    clients = [client(site) for site in sites]
    for name in REQUESTS:
        own, other = (over_2(site, c, name) for site, c in zip(sites, clients))
        assert own == other, name
        assert own[0]["SERVER_PROTOCOL"] == "HTTP/2.0"
        for site in sites:
            environ, body = over_1(site, name)
            assert environ.pop("SERVER_PROTOCOL") == "HTTP/1.1"
            only_2 = {"SERVER_PROTOCOL": "HTTP/2.0", "gunicorn.http2.send_trailers": own[0]["gunicorn.http2.send_trailers"]}
            assert {**environ, **only_2} == own[0] and body == own[1], name


@pytest.mark.parametrize("kind", TYPES)
def test_what_passes(monoceros, client, tmp_path, kind):
    site = start(monoceros, kind, "front", expect_errors=True)
    c = client(site)
    asked = [c.ask("/echo", "POST", body=b"%d" % i * 100) for i in range(50)]
    assert [a.body for a in c.answers(*asked).values()] == [b"%d" % i * 100 for i in range(50)]
    assert len(c.get("/stream?200").body) > 200_000
    assert [dict(h).get("link") for h in c.get("/hints").interim] == ["</style.css>; rel=preload"]
    assert c.get("/500").body == b"my own error"
    sent = c.ask("/echo", "POST", ("te", "trailers"), body=b"x", trailers=[("x-sum", "1")])
    assert c.answer(sent).body == b"x"
    began, ends = tmp_path / "began", tmp_path / "ends"
    cancelled = c.ask(f"/begin?{began},{ends}")
    until(began.exists, "the request to begin")
    c.send(rst(cancelled, CANCEL))
    assert c.get("/environ").status == 200          # by the other worker, or behind it
    ends.touch()
    stream = c.ask("/cut")
    assert c.until(lambda f: f.stream == stream and f.kind == RST_STREAM)
    assert c.get("/environ").status == 200


@pytest.mark.skipif("gthread" not in WORKERS, reason="built without gthread")
def test_streams_are_inside_at_the_same_time(monoceros, client):
    """Four threads of the other pool, four streams of one connection: all of them are inside before the first one leaves."""
    c = client(start(monoceros, "gthread", "front", "http2.streams:app", ".", workers=1))
    asked = [c.ask("/meet/4") for _ in range(4)]
    assert [a.body for a in c.answers(*asked).values()] == [b"met"] * 4
