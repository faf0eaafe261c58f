"""What people use, against every worker type over TLS: GET, 50 MB up, a hundred streams at once, trailers, a cancel in the middle."""

import json
import os
import ssl
import subprocess

import pytest

from lib import server as under_test
from lib.browser import CHROMIUM, Browser
from lib.limits import patience, until
from http2.test_h2_clients import run
from http2.test_handlers import APPS

SIZE = 50_000_000
LESS = SIZE if os.environ.get("MONOCEROS_SOAK") else 5_000_000      # for clients in Python, which take their time
# Of each type: type and module of its app; a small answer, a hundred thousand bytes, much more, and where a body is told or sent back.
PYTHON = ("wsgi", "http2.streams:app", "/hello", "/bytes/100000", "/large/1000", "/length")
TARGETS = {
    "sync": PYTHON, "gthread": PYTHON,
    "greenlet": ("native", APPS / "kit.so", "/stream?5", "/stream?100000", "/stream?50000000", "/count"),
    "epoll": ("native", APPS / "flow.so", "/pour?5", "/pour?100000", "/pour?50000000", "/length"),
}


class Target:
    def __init__(self, worker, start, pki, more="", workers=1):
        kind, module, self.small, self.large, self.huge, self.post = TARGETS[worker]
        if kind == "wsgi" and not under_test.has_python() or kind == "native" and not module.exists():
            pytest.skip(f"no app for {worker}")
        self.told = worker != "greenlet"
        self.sends_trailers = worker == "greenlet"
        self.site = start(python=kind == "wsgi", config=f"""worker_class = {{worker}}
keepalive = 30s
limit_request_body = 100m
pool "main" {{ workers = {workers}  {"threads = 4" if worker == "gthread" else ""}  {more} }}
app "it" {{ type = {kind}  module = "{module}"  chdir = "{under_test.APPS}" }}
server "a" {{ listen = "{{address}} tls"
 tls {{ certificate "c" {{ cert = "{pki['ec.pem']}" key = "{pki['ec.key']}" }} }}
 route "all" {{ app = it }} }}
""")
        self.address = self.site.address
        self.url = f"https://localhost:{self.address[1]}"

    def got(self, size, body=b"", sent=SIZE):
        """Was all of it there? By what the app tells, or as it came back."""
        return body == b"%d" % sent if self.told else size == sent


@pytest.fixture
def target(worker_class, monoceros, pki):
    return Target(worker_class, monoceros, pki)


@pytest.fixture
def big(tmp_path):
    path = tmp_path / "big"
    with open(path, "wb") as file:
        file.truncate(SIZE)
    return path


def test_curl(target, pki, big, tmp_path):
    curl = ["curl", "-sS", "--http2", "--cacert", pki["ca.pem"]]
    out = tmp_path / "out"
    assert run(*curl, "-o", out, "-w", "%{http_version} %{http_code} %{size_download}", target.url + target.large) == "2 200 100000"
    run(*curl, "-o", out, "--data-binary", f"@{big}", target.url + target.post)
    assert target.got(out.stat().st_size, out.read_bytes()[:20])
    done = run(*curl, "-Z", "--parallel-max", "100", "-w", "%{http_code} %{size_download}\n", *["-o", "/dev/null", target.url + target.large] * 100)
    assert done == "200 100000\n" * 100
    gave_up = subprocess.run([*curl, "--max-time", "60", target.url + target.huge, "--max-filesize", "1000", "-o", out], check=False, timeout=patience(90),
                             capture_output=True)
    half = subprocess.Popen([*curl, "-N", target.url + target.huge], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert len(half.stdout.read(100_000)) == 100_000
    half.kill()
    half.wait(patience(20))
    assert gave_up.returncode in (0, 63) and len(run(*curl, target.url + target.small)) == 5


def test_nghttp(target, big):
    run("nghttp", "-n", "-m", "100", target.url + target.large)
    assert target.got(len(out := run("nghttp", "-d", big, "--trailer", "x-sum: 1", "-H:method: POST", target.url + target.post)), out.encode()[:20])
    assert ":status: 200" in run("nghttp", "-nv", "--no-dep", target.url + target.small).replace("\x1b[33m", "").replace("\x1b[0m", "").replace("\x1b[1;34m", "")


def test_h2load(target):
    out = run("h2load", "-n", "2000", "-c", "4", "-m", "100", target.url + target.large)
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in out


def test_h2(target, context):
    """Python's h2, which the others stand on."""
    pytest.importorskip("h2")
    from lib.h2client import H2Client
    with H2Client(target.address, context()) as c:
        asked = [c.ask(target.large) for _ in range(100)]
        c.finish(*asked)
        assert {c.sizes[s] for s in asked} == {100_000} and {c.heads[s][":status"] for s in asked} == {"200"}
        if not target.told:             # what sends the body back wants it taken meanwhile: no more than fits the windows
            up = c.ask(target.post, "POST", body=b"x" * 60_000, trailers=[("x-sum", "1")])
            c.finish(up)
            assert c.sizes[up] == 60_000 and (c.trailers.get(up, {}).get("x-pieces") is not None) == target.sends_trailers
        up = c.ask(target.post, "POST", body=LESS, trailers=[("x-sum", "1")])
        c.finish(up)
        assert target.got(c.sizes[up], c.bodies[up], LESS)
        for _ in range(5):
            cancelled = c.ask(target.huge)
            while not c.sizes[cancelled]:
                c.step()
            c.cancel(cancelled)
        small = c.ask(target.small)
        c.finish(small)
        assert c.sizes[small] == 5


def test_httpx(target, pki):
    httpx = pytest.importorskip("httpx")
    with httpx.Client(http2=True, verify=ssl.create_default_context(cafile=pki["ca.pem"]), timeout=patience(60)) as c:
        r = c.get(target.url + target.large)
        assert (r.http_version, r.status_code, len(r.content)) == ("HTTP/2", 200, 100_000)
        assert len(found := c.post(target.url + target.post, content=bytes(LESS)).content) and target.got(len(found), found[:20], LESS)
        with c.stream("GET", target.url + target.large) as r:       # it resets nothing: what it did not read fills its window
            next(r.iter_bytes())
        assert len(c.get(target.url + target.small).content) == 5


PAGE = """(async () => {
  const whole = async (path, options) => (await (await fetch(path, options)).arrayBuffer());
  const all = await Promise.all([...Array(100).keys()].map(i => whole(LARGE)));
  const up = await whole(POST, {method: 'POST', body: new Uint8Array(SIZE)});
  const stop = new AbortController();
  const half = (await fetch(HUGE, {signal: stop.signal})).body.getReader();
  await half.read();
  stop.abort();
  const after = await whole(SMALL);
  const protocols = [...new Set(performance.getEntriesByType('resource').map(e => e.nextHopProtocol))];
  return JSON.stringify({all: all.map(b => b.byteLength), size: up.byteLength, text: up.byteLength < 20 ? new TextDecoder().decode(up) : '', after: after.byteLength, protocols});
})().then(text => { window.found = text }, error => { window.found = JSON.stringify({error: `${error}`}) })"""


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
def test_chromium(target, tmp_path):
    browser = Browser(tmp_path / "profile", "--ignore-certificate-errors")
    try:
        browser.open(target.url + target.small)
        until(lambda: browser.value("document.readyState") == "complete" and browser.value("location.protocol") == "https:", "the page", 30)
        script = PAGE
        for name, value in (("LARGE", target.large), ("POST", target.post), ("HUGE", target.huge), ("SMALL", target.small)):
            script = script.replace(f"({name}", f"('{value}'")
        browser.value(script.replace("SIZE", str(SIZE)))
        found = json.loads(until(lambda: browser.value("window.found"), "the page to have it all", 60))
    finally:
        browser.stop()
    assert "error" not in found, found
    assert found["all"] == [100_000] * 100 and found["after"] == 5 and found["protocols"] == ["h2"]
    assert target.got(found["size"], found["text"].encode())
