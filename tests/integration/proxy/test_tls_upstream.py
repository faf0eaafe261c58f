"""Upstreams over TLS: verified, named, kept alive, and never fooled by bytes that came before the handshake."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from lib.fixtures import WORKERS
from lib import server as under_test
from lib.upstream import Upstream, serving
from lib.wire import Closed, request
from proxy_site import site

pytestmark = pytest.mark.skipif(not shutil.which("openssl") or " tls" not in under_test.modules(), reason="needs openssl and the module tls")


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    place = tmp_path_factory.mktemp("pki")
    for name, san in (("good", "IP:127.0.0.1,DNS:inner.example"), ("other", "DNS:other.example")):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                        "-addext", f"subjectAltName={san}", "-keyout", place / f"{name}.key", "-out", place / f"{name}.pem"], check=True, capture_output=True)
    return place


def context(pki, name="good"):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    return made


def test_requests_over_tls(monoceros, pki):
    made = context(pki)
    names = []
    made.sni_callback = lambda sock, name, ctx: names.append(name)
    with Upstream(serving(lambda peer, head, body: peer.reply(b"%d:" % peer.number + body)), context=made) as up:
        proxy = monoceros(config=site(to=f"https://{up.text}", proxy=f'tls_ca = "{pki}/good.pem"'))
        with proxy.connect() as client:
            assert client.ask("GET", "/").text == "1:"
            body = bytes(range(256)) * 8000
            assert client.ask("POST", "/", body=body).body == b"1:" + body
            assert client.ask("GET", "/").text == "1:"      # kept
        assert names == [None]      # an address is not sent as SNI
        named = monoceros(config=site(up.text, to="https://upstream:u", proxy=f'tls_ca = "{pki}/good.pem" tls_name = "inner.example"'))
        assert named.ask("GET", "/").status == 200
        assert names[1:] == ["inner.example"]


def test_a_quick_stop_with_a_kept_connection(monoceros, pki):
    """It is closed while the transport is there still."""
    ended = threading.Event()

    def answer(peer):
        peer.request()
        peer.reply(b"kept")
        peer.wait_end()
        ended.set()

    with Upstream(answer, context=context(pki)) as up:
        proxy = monoceros(config=site(to=f"https://{up.text}", proxy="tls_verify = off"))
        assert proxy.ask("GET", "/").body == b"kept"
        proxy.stop(number=signal.SIGQUIT)
        assert ended.wait(20)
        assert not re.search(r"SIG(SEGV|ABRT)|was sent|killed", proxy.log())


def test_who_cannot_prove_who_it_is(monoceros, pki):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"secret")), context=context(pki)) as up:
        wrong_name = monoceros(config=site(up.text, to="https://upstream:u", proxy=f'tls_ca = "{pki}/good.pem" tls_name = "other.example"'))
        assert wrong_name.ask("GET", "/x").status == 502
        wrong_name.wait_log(r"\[ERROR\] upstream u \(.*\): cannot connect: .*; 502: GET /x")
        untrusted = monoceros(config=site(to=f"https://{up.text}"))
        assert untrusted.ask("GET", "/").status == 502
        assert not up.requests
        lax = monoceros(config=site(to=f"https://{up.text}", proxy="tls_verify = off"))
        assert lax.ask("GET", "/").body == b"secret"
    done = under_test.run("-c", write(pki, site("127.0.0.1:1", to="https://upstream:u")), "--check-config")
    assert done.returncode == 1 and "tls_name" in done.stderr


def write(pki, text):
    path = pki / "check.conf"
    path.write_text(text.replace("{worker}", WORKERS[0]).replace("{address}", "127.0.0.1:1"))
    return path


def test_plain_bytes_before_the_handshake(monoceros, pki):
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninjected"

    def plain(peer):
        peer.send(reply)
        peer.wait_end()

    with Upstream(plain) as up:
        proxy = monoceros(config=site(to=f"https://{up.text}", proxy="tls_verify = off"))
        assert proxy.ask("GET", "/").status == 502


def test_a_reply_cut_without_close_notify(monoceros, pki):
    """Until the end of the connection, which anybody on the way could forge: it must not look whole."""
    def cutting(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        peer.upstream.gate.wait(60)
        socket.socket(fileno=os.dup(peer.sock.fileno())).shutdown(socket.SHUT_RDWR)

    with Upstream(cutting, context=context(pki)) as up:
        up.gate = threading.Event()
        proxy = monoceros(config=site(to=f"https://{up.text}", proxy="tls_verify = off"))
        with proxy.connect() as client:
            client.send(request("GET", "/"))
            assert client.read_head().status == 200
            up.gate.set()
            with pytest.raises(Closed):
                client.read_chunks(type("", (), {"chunks": [], "body": b"", "trailers": []})())


def test_nobody_answers_the_handshake(monoceros):
    def silent(peer):
        peer.wait_end()

    with Upstream(silent) as up:
        proxy = monoceros(config=site(to=f"https://{up.text}", proxy="tls_verify = off connect_timeout = 300ms"))
        assert proxy.ask("GET", "/").status == 504
        proxy.wait_log("no TLS handshake within 0.3 s; 504: GET /")
