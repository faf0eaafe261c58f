"""Crowds of slow and greedy clients over TLS and through the proxy (threats 15, 16): the others are served meanwhile, no upstream waits for them, memory
has a bound, and all of them are sent away in the end. MONOCEROS_TEST_CROWD is how many (make soak has more)."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1])]
from lib import procfs  # noqa: E402
from lib import server as under_test  # noqa: E402
from lib.limits import patience, until  # noqa: E402
from lib.upstream import Gone, Upstream, serving  # noqa: E402
from lib.wire import open_socket, request  # noqa: E402

pytestmark = pytest.mark.skipif(not shutil.which("openssl") or " tls" not in under_test.modules(), reason="needs openssl and the module tls")
CROWD = int(os.environ.get("MONOCEROS_TEST_CROWD", "60"))
KILO, MEGA = 1 << 10, 1 << 20
CONFIG = """
worker_class = {worker}
workers = 1
worker_connections = 4000
keepalive = 60
header_timeout = HEAD
body_timeout = BODY
send_timeout = SEND
limit_request_body = 8m
response_buffer_file = 1m
server "s" {
    listen = {"{address}", "127.0.0.1:TLSPORT tls"}
    names = {"localhost"}
    tls { certificate "x" { cert = "PKI/a.pem" key = "PKI/a.key" }  handshake_timeout = HEAD }
    route "up"     { match { prefix = "/up" }     proxy { to = "UPSTREAM" } }
    route "stream" { match { prefix = "/stream" } proxy { to = "UPSTREAM"  request_buffering = off  response_buffering = off } }
    route "file"   { match { prefix = "/file" }   static { root = "PKI" } }
    route "rest"   { respond { body = "here" } }
}
"""
LONG = {"HEAD": "60s", "BODY": "60s", "SEND": "60s"}
SHORT = {"HEAD": "1s", "BODY": "1s", "SEND": "1s"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    place = tmp_path_factory.mktemp("slow")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", place / "a.key", "-out", place / "a.pem"], check=True, capture_output=True)
    (place / "a.key").chmod(0o600)
    (place / "big").write_bytes(b"x" * (4 * MEGA))
    return place


def answer(peer, head, body):
    """4 MB for /…/big, else what came."""
    if b"/big" not in head:
        peer.reply(b"%d" % len(body))
        return
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * MEGA))
    for _ in range(64):
        peer.send(b"x" * (64 * KILO))


class Site:
    def __init__(self, monoceros, pki, times):
        self.upstream = Upstream(serving(answer))
        self.tls_address = ("127.0.0.1", under_test.free_port())
        text = CONFIG.replace("PKI", str(pki)).replace("UPSTREAM", self.upstream.text).replace("TLSPORT", str(self.tls_address[1]))
        for name, value in times.items():
            text = text.replace(name, value)
        self.server = monoceros(config=text)
        self.context = ssl.create_default_context(cafile=pki / "a.pem")
        self.worker = self.server.wait_workers(1)[0]
        self.crowd = []
        for tls in (False, True):       # what is made once
            self.good(tls)
        self.rss, self.fds = procfs.rss(self.worker), len(procfs.fds(self.worker))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.leave()
        self.upstream.close()

    def leave(self):
        for sock in self.crowd:
            sock.close()

    def connect(self, tls, rcvbuf=None):
        sock = open_socket(self.tls_address if tls else self.server.address, rcvbuf=rcvbuf)
        return self.context.wrap_socket(sock, server_hostname="localhost") if tls else sock

    def come(self, tls, data, rcvbuf=None):
        sock = self.connect(tls, rcvbuf)
        sock.sendall(data)
        self.crowd.append(sock)

    def good(self, tls, target="/up/x"):
        with self.connect(tls) as sock:
            sock.sendall(request("POST", target, body=b"12345", close=True))
            data = b""
            while more := sock.recv(65536):
                data += more
        assert data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"\r\n\r\n5"), data

    def others_are_served(self):
        for _ in range(3):
            for tls in (False, True):
                self.good(tls)
                self.good(tls, "/stream/x")

    def grown(self):
        """Memory of the server; ThreadSanitizer keeps several times as much of its own, of which nothing can be told."""
        return 0 if "thread" in under_test.SANITIZED else procfs.rss(self.worker) - self.rss

    def all_sent_away(self):
        """The server ends every one of them, and has its descriptors back."""
        until(lambda: len(procfs.fds(self.worker)) <= self.fds + 4, f"{len(procfs.fds(self.worker))} descriptors to become {self.fds}", 60, 0.1)


def half_head(number):
    return b"GET /up/x HTTP/1.1\r\nHost: localhost\r\nX-Half: " + b"x" * (number % 3000)


def half_body(number):
    return request("POST", "/up/x", headers=[("Content-Length", str(MEGA))]) + b"x" * (number % 3000)


def half_chunk(number):
    return request("POST", "/up/x", headers=[("Transfer-Encoding", "chunked")]) + b"1000\r\n" + b"x" * (number % 3000)


HALVES = [half_head, half_body, half_chunk]


@pytest.mark.parametrize("tls", [False, True])
def test_who_does_not_finish_a_request(monoceros, pki, tls):
    """They cost memory in the loop; no upstream hears of them, and no worker slot is theirs."""
    with Site(monoceros, pki, LONG) as site:
        heads = len(site.upstream.requests)
        for number in range(CROWD):
            for half in HALVES:
                site.come(tls, half(number * 37))
        assert len(site.upstream.requests) == heads
        site.others_are_served()
        assert site.grown() < len(site.crowd) * 128 * KILO + 8 * MEGA


@pytest.mark.parametrize("tls", [False, True])
def test_who_does_not_finish_a_request_is_sent_away(monoceros, pki, tls):
    with Site(monoceros, pki, SHORT) as site:
        for number in range(CROWD):
            for half in HALVES:
                site.come(tls, half(number * 37))
        site.all_sent_away()
        site.others_are_served()


def test_who_does_not_finish_a_handshake(monoceros, pki):
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    hello = out.read()
    with Site(monoceros, pki, LONG) as site:
        for number in range(CROWD):
            for part in (b"", hello[:1 + number % 200], hello):
                sock = open_socket(site.tls_address)
                sock.sendall(part)
                site.crowd.append(sock)
        site.others_are_served()
        assert site.grown() < len(site.crowd) * 128 * KILO + 8 * MEGA
    with Site(monoceros, pki, SHORT) as site:
        for part in (b"", hello[:100], hello):
            sock = open_socket(site.tls_address)
            sock.sendall(part)
            site.crowd.append(sock)
        site.all_sent_away()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("target", ["/up/big", "/stream/big", "/file/big"])
def test_who_asks_for_much_and_reads_nothing(monoceros, pki, tls, target):
    """4 MB each, of which next to nothing is taken: back-pressure, or a bounded file."""
    with Site(monoceros, pki, LONG) as site:
        for _ in range(CROWD // 2):
            site.come(tls, request("GET", target), rcvbuf=4096)
        site.others_are_served()
        assert site.grown() < len(site.crowd) * 768 * KILO + 16 * MEGA
        site.leave()
        until(lambda: len(procfs.fds(site.worker)) <= site.fds + 4, "the descriptors to be closed", 60, 0.1)
        site.others_are_served()


@pytest.mark.parametrize("target", ["/up/big", "/stream/big", "/file/big"])
def test_who_reads_nothing_is_sent_away(monoceros, pki, target):
    with Site(monoceros, pki, SHORT) as site:
        for number in range(CROWD // 2):
            site.come(number % 2 == 0, request("GET", target), rcvbuf=4096)
        site.all_sent_away()
        site.others_are_served()


def test_who_streams_a_body_and_stops(monoceros, pki):
    """The upstream has the head and a part of the body; it is let go with the client, and is never given a whole request."""
    with Site(monoceros, pki, SHORT) as site:
        for number in range(CROWD // 2):
            data = request("POST", "/stream/x", headers=[("Content-Length", "100000")] if number % 2 else [("Transfer-Encoding", "chunked")])
            site.come(number % 4 < 2, data + (b"" if number % 2 else b"5\r\n") + b"12345")
        site.all_sent_away()
        site.others_are_served()
        assert not site.upstream.errors


def test_pipelines_that_nobody_reads(monoceros, pki):
    """Requests without end and no reader of the answers: the server stops reading."""
    with Site(monoceros, pki, LONG) as site:
        flood = request("GET", "/file/big") * 20 + request("GET", "/up/big") * 20
        for tls in (False, True):
            for _ in range(CROWD // 10):
                sock = site.connect(tls, rcvbuf=4096)
                site.crowd.append(sock)
                sock.settimeout(0.05)
                try:
                    while True:
                        sock.sendall(flood)
                except (TimeoutError, socket.timeout, ssl.SSLError):
                    pass
        site.others_are_served()
        assert site.grown() < len(site.crowd) * MEGA + 16 * MEGA


def test_misses_and_names_without_end(monoceros, pki):
    """Files that are not there, hosts, names of SNI and cookies: nothing remembers all of them."""
    with Site(monoceros, pki, LONG) as site:
        def round_(start):
            with site.connect(False) as sock:
                for number in range(start, start + 1500):
                    sock.sendall(request("GET", f"/file/not-there-{number:0200}", host=f"host{number}.example", headers=[("Cookie", f"a={number}")]))
                    data = b""
                    while not data.endswith(b"</html>\n") and b"</html>" not in data:
                        more = sock.recv(65536)
                        assert more
                        data += more
            for number in range(start, start + 20):
                raw = open_socket(site.tls_address)
                with site.context.wrap_socket(raw, server_hostname="localhost") as tls:
                    tls.sendall(request("GET", "/"))
                    assert tls.recv(100)
        round_(0)
        before = procfs.rss(site.worker)
        round_(10000)
        assert procfs.rss(site.worker) < before + 4 * MEGA


def s_client(site, version, command, count):
    """openssl s_client with one command a read; its stderr."""
    with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{site.tls_address[1]}", "-servername", "localhost", version, "-legacy_renegotiation"],
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as client:
        try:
            for _ in range(count):
                client.stdin.write(command + "\n")
                client.stdin.flush()
                time.sleep(0.005)
        except BrokenPipeError:
            pass
        return client.communicate(timeout=patience(60))[1]


def test_renegotiation_is_refused(monoceros, pki):
    with Site(monoceros, pki, LONG) as site:
        said = s_client(site, "-tls1_2", "R", 1)
        assert "RENEGOTIATING" in said and "no renegotiation" in said
        site.others_are_served()


@pytest.mark.parametrize("command", ["K", "k"])
def test_key_updates_without_end(monoceros, pki, command):
    """Theirs, and those that they ask of us: nothing piles up."""
    with Site(monoceros, pki, LONG) as site:
        assert s_client(site, "-tls1_3", command, 300).count("KEYUPDATE") > 100
        assert site.grown() < 8 * MEGA
        site.others_are_served()


def test_the_upstream_that_reads_nothing(monoceros, pki):
    """Uploads of 6 MB towards a peer that takes nothing: in a file or with the client, not in memory."""
    def deaf(peer):
        peer.head()
        peer.upstream.stop.wait(patience(60))
        raise Gone

    with Site(monoceros, pki, LONG) as site:
        site.upstream.stop = threading.Event()
        good, site.upstream.script = site.upstream.script, deaf
        for number in range(10):
            sock = site.connect(number % 2 == 0)
            site.crowd.append(sock)
            sock.settimeout(0.3)
            target = "/up/x" if number % 4 < 2 else "/stream/x"
            try:
                sock.sendall(request("POST", target, headers=[("Content-Length", str(6 * MEGA))]) + b"x" * 6 * MEGA)
            except (TimeoutError, socket.timeout, ssl.SSLError):
                pass
        assert site.grown() < 10 * MEGA + 16 * MEGA
        site.upstream.script = good
        site.leave()
        site.upstream.stop.set()
        until(lambda: len(procfs.fds(site.worker)) <= site.fds + 4, "the descriptors to be closed", 60, 0.1)
        site.others_are_served()
