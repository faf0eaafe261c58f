"""conf/examples/edge.conf: everything an edge does, from one file, as clients of many kinds see it."""

import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import backends  # noqa: E402

from lib import server as under_test  # noqa: E402
from lib.browser import CHROMIUM, Browser  # noqa: E402
from lib.limits import patience, until  # noqa: E402

pytestmark = [pytest.mark.python, pytest.mark.workers("gthread")]
CONFIG = under_test.ROOT / "conf" / "examples" / "edge.conf"
NEEDED = ["static", "proxy", "fastcgi", "redirect", "tls", "headers", "compress"]


class Edge:
    def __init__(self, directory, start):
        self.api = [backends.Peer("first"), backends.Peer("second")]
        self.echo = backends.Echo()
        self.php = backends.Php(directory) if backends.FPM else None
        self.ca = backends.certificates(directory)
        self.http, self.https = backends.ports()
        if self.php:
            until(self.php.listens, "php-fpm to listen", 20)
        env = backends.settings(directory, self.http, self.https, self.api, self.echo, self.php)
        self.checked = under_test.run("--check-config", "-c", CONFIG, env=env)
        self.server = start("-c", CONFIG, env=env, bind=None, address=("127.0.0.1", self.https), python=True)

    def context(self, **more):
        context = ssl.create_default_context(cafile=self.ca)
        for name, value in more.items():
            getattr(context, name)(value)
        return context

    def tls(self, name="shop.example.org", context=None):
        sock = socket.create_connection(("127.0.0.1", self.https), patience(20))
        return (context or self.context()).wrap_socket(sock, server_hostname=name)

    def ask(self, method, path, body=None, headers=None, name="shop.example.org"):
        connection = http.client.HTTPConnection(name)
        connection.sock = self.tls(name)
        connection.request(method, path, body, {"Host": f"{name}:{self.https}", "Connection": "close", **(headers or {})})
        answer = connection.getresponse()
        answer.body = answer.read()
        connection.close()
        return answer

    def stop(self):
        for one in (*self.api, self.echo, self.php):
            if one:
                one.stop()


@pytest.fixture(scope="module")
def edge(shared_monoceros, tmp_path_factory):
    missing = [name for name in NEEDED if f" {name}\n" not in under_test.modules()]
    if missing:
        pytest.skip(f"built without {', '.join(missing)}")
    made = Edge(tmp_path_factory.mktemp("edge"), shared_monoceros)
    yield made
    made.stop()


def test_check_config_is_content(edge):
    assert edge.checked.returncode == 0, edge.checked.stderr


def test_http_goes_to_https(edge):
    connection = http.client.HTTPConnection("127.0.0.1", edge.http, timeout=patience(20))
    connection.request("GET", "/a?b=c", headers={"Host": "shop.example.org"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://shop.example.org:{edge.https}/a?b=c")
    connection.close()


@pytest.mark.parametrize("kind, ciphers", [("ecdsa", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("rsa", "ECDHE-RSA-AES128-GCM-SHA256")])
@pytest.mark.parametrize("name", ["shop.example.org", "eu.shop.example.org", "www.example.org"])
def test_each_site_has_both_certificates(edge, name, kind, ciphers):
    context = edge.context(set_ciphers=ciphers)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with edge.tls(name, context) as sock:
        pem = (edge.ca.parent / f"{'www' if name[0] == 'w' else 'shop'}.{kind}.pem").read_text()
        assert ssl.DER_cert_to_PEM_cert(sock.getpeercert(True)).strip() in pem


def test_page_of_the_app(edge):
    answer = edge.ask("GET", "/")
    assert answer.status == 200
    assert b"<b id=\"scheme\">https</b>" in answer.body and b"127.0.0.1" in answer.body
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_assets(edge):
    answer = edge.ask("GET", "/static/style.css")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert "max-age=3600" in answer.headers["Cache-Control"]
    assert edge.ask("GET", "/static/style.css", headers={"If-None-Match": answer.headers["ETag"]}).status == 304
    assert edge.ask("GET", "/static/hello.txt", headers={"Range": "bytes=2-5"}).body == b"file"
    assert edge.ask("GET", "/static/../shop.py").status in (400, 404)


def test_second_site_is_files_only(edge):
    assert b"The second site" in edge.ask("GET", "/", name="www.example.org").body
    assert b"The second site" in edge.ask("GET", "/deep/link", name="www.example.org").body
    assert edge.ask("GET", "/hello.txt", name="www.example.org").body == b"A file from the disk.\n"


def test_api_of_two_peers(edge):
    bodies = [edge.ask("GET", "/api/who?x=1").body.decode() for _ in range(8)]
    assert {body.split()[0] for body in bodies} == {"first", "second"}
    assert all(body.split(" ", 1)[1] == "/who?x=1 for 127.0.0.1 by https\n" for body in bodies)
    until(lambda: all(peer.checked for peer in edge.api), "both peers to be checked", 30)


def test_upload(edge):
    data = os.urandom(3_000_000)
    answer = edge.ask("POST", "/upload", data)
    assert answer.body.decode() == f'{{"bytes": 3000000, "sha256": "{hashlib.sha256(data).hexdigest()}"}}\n'
    assert edge.ask("POST", "/upload", headers={"Content-Length": str(30 << 20)}).status == 413


def test_websocket_through_the_edge(edge):
    with edge.tls() as sock:
        sock.sendall(b"GET /ws HTTP/1.1\r\nHost: shop.example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += backends.exactly(sock, 1)
        assert head.startswith(b"HTTP/1.1 101 ") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        sock.sendall(b"\x81\x85abcd" + bytes(byte ^ b"abcd"[index % 4] for index, byte in enumerate(b"hello")))
        assert backends.exactly(sock, 7) == b"\x81\x05hello"


@pytest.mark.skipif(not backends.FPM, reason="no php-fpm")
def test_php(edge):
    answer = edge.ask("GET", "/php/hello.php?name=%3Cedge%3E")
    assert answer.status == 200 and answer.body.startswith(b"Hello, &lt;edge&gt;, from PHP") and b"over https" in answer.body
    assert edge.ask("GET", "/php/none.php").status == 404


@pytest.mark.skipif(not CHROMIUM, reason="no chromium")
def test_browser_sees_everything_work(edge, tmp_path):
    browser = Browser(tmp_path, "--ignore-certificate-errors", f"--host-resolver-rules=MAP shop.example.org 127.0.0.1:{edge.https}")
    try:
        browser.open(f"https://shop.example.org:{edge.https}/")
        browser.wait("document.querySelectorAll('td.ok, td.bad').length == 5", "all cells of the page")
        cells = json.loads(browser.value("JSON.stringify(Object.fromEntries([...document.querySelectorAll('td')].map(c => [c.id, [c.className, c.textContent]])))"))
        color = browser.value("getComputedStyle(document.querySelector('td.ok')).color")
    finally:
        browser.stop()
    expected = {"static": "A file from the disk.", "api": "/who for 127.0.0.1 by https", "ws": "hello over a tunnel",
                "upload": "1048576 bytes, sha256 30e14955ebf1"}
    if edge.php:
        expected["php"] = "Hello, edge, from PHP"
    for name, text in expected.items():
        assert cells[name][0] == "ok" and text in cells[name][1], cells
    assert color == "rgb(26, 127, 55)"      # of the style sheet
