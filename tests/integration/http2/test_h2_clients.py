"""HTTP/2 over TLS, with the clients that people use: curl, nghttp, h2load, httpx."""

import re
import shutil
import socket
import ssl
import subprocess

import pytest

from lib import server as under_test
from lib.frames import Client
from lib.fixtures import WORKERS
from lib.limits import patience
from tls.test_tls import one

HELLO = 'route "all" { respond { body = "hello" } }'


def run(*words, **kwargs):
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]}")
    done = subprocess.run([str(w) for w in words], capture_output=True, timeout=patience(60), check=False, **kwargs)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode("utf-8", "replace")


@pytest.fixture
def app(monoceros, pki):
    def start(*arguments):
        return monoceros("http2.streams:app", "-w", "1", "--keep-alive", "30", "--certfile", pki["ec.pem"], "--keyfile", pki["ec.key"], *arguments)
    return start


@pytest.mark.python
def test_curl(app, pki, tmp_path):
    url = f"https://localhost:{app().address[1]}"
    curl = ["curl", "-sS", "--http2", "--cacert", pki["ca.pem"]]
    assert run(*curl, "-w", "%{http_version} %{http_code}", url + "/hello") == "hello2 200"
    big = tmp_path / "big"
    big.write_bytes(b"u" * 5_000_000)
    assert run(*curl, "--data-binary", f"@{big}", url + "/length") == "5000000"
    assert len(run(*curl, url + "/bytes/3000000")) == 3_000_000
    assert "HTTP/2 200" in run(*curl, "-I", url + "/bytes/10")
    assert run(*curl, "-Z", *[url + "/hello"] * 20) == "hello" * 20
    assert run("curl", "-sS", "--http1.1", "--cacert", pki["ca.pem"], "-w", "%{http_version}", url + "/hello") == "hello1.1"


@pytest.mark.python
def test_nghttp(app, pki):
    out = run("nghttp", "-nv", "--trailer", "x-sum: 1", "-d", pki["ca.pem"], "-H:method: POST", f"https://localhost:{app().address[1]}/length")
    assert ":status: 200" in re.sub(r"\x1b\[[0-9;]*m", "", out)


@pytest.mark.python
def test_h2load(app):
    """A closed loop of a hundred streams on each of ten connections."""
    out = run("h2load", "-n", "5000", "-c", "10", "-m", "100", f"https://localhost:{app().address[1]}/bytes/1000")
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in out


@pytest.mark.python
def test_httpx(app, pki):
    httpx = pytest.importorskip("httpx")
    url = f"https://localhost:{app().address[1]}"
    with httpx.Client(http2=True, verify=ssl.create_default_context(cafile=pki["ca.pem"]), timeout=patience(30)) as c:
        r = c.get(url + "/hello")
        assert (r.http_version, r.status_code, r.text) == ("HTTP/2", 200, "hello")
        assert c.post(url + "/length", content=b"x" * 300_000).text == "300000"
        with c.stream("GET", url + "/bytes/1000000") as r:
            assert sum(map(len, r.iter_bytes())) == 1_000_000
        with c.stream("GET", url + "/large/100") as r:      # given up in the middle
            next(r.iter_bytes())
        assert c.get(url + "/hello").text == "hello"


def test_what_is_offered(monoceros, pki, context):
    def chosen(site, *offers):
        with socket.create_connection(site.address, timeout=patience(20)) as raw:
            made = context(alpn=list(offers)) if offers else context()
            with made.wrap_socket(raw, server_hostname="localhost") as tls:
                return tls.selected_alpn_protocol()
    both = monoceros(config=one(pki))
    assert chosen(both, "http/1.1", "h2") == "h2" and chosen(both, "http/1.1") == "http/1.1" and chosen(both) is None
    first = monoceros(config="http_protocols = {h1, h2}\n" + one(pki))
    assert chosen(first, "h2", "http/1.1") == "http/1.1" and chosen(first, "h2") == "h2"
    old = monoceros(config="http_protocols = h1\n" + one(pki))
    assert chosen(old, "h2", "http/1.1") == "http/1.1"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        chosen(old, "h2")
    only = monoceros(config="http_protocols = h2\n" + one(pki))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        chosen(only, "http/1.1")
    with Client(only.address, context()) as c:
        assert c.get().body == b"hello"


@pytest.mark.workers(WORKERS[0])
def test_no_http2_no_frames(monoceros, pki, context):
    """ALPN says http/1.1 and then the preface of HTTP/2 comes: it is no request."""
    site = monoceros(config=one(pki))
    made = context(alpn=["http/1.1"])
    with socket.create_connection(site.address, timeout=patience(20)) as raw, made.wrap_socket(raw, server_hostname="localhost") as tls:
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert tls.recv(65536).startswith(b"HTTP/1.1 ")
