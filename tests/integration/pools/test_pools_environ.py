"""An app cannot tell whether its requests come from its own pool's listener or from another pool's worker."""

import json
import shutil
import ssl

import pytest

from lib import server as under_test
from lib.fixtures import WORKERS
from lib.pki import Pki
from lib.server import APPS
from lib.wire import Connection

pytestmark = [pytest.mark.python, pytest.mark.workers(WORKERS[0])]
TYPES = [name for name in ("sync", "gthread") if name in WORKERS]
FRONTS = [name for name in ("epoll", "greenlet", "gthread", "sync") if name in WORKERS]

DIRECT = """
pool "apps" {{ worker_class = {type}  threads = 2  workers = 2  keepalive = 5 }}
app "probe" {{ type = wsgi  module = "hop:app"  chdir = "{chdir}"  pool = apps }}
server "main" {{ listen = "{listen}"  pool = apps  {settings}
    route "moved" {{ match {{ prefix = "/old" }}  rewrite {{ to = "/environ?moved=yes&$query_string" }} }}
    route "all" {{ app = probe }} }}
"""
HOP = 'pool "front" {{ worker_class = {front}  workers = 1  keepalive = 5 }}\n' + DIRECT.replace("pool = apps  {settings}", "pool = front  {settings}")


@pytest.fixture(params=TYPES)
def both(request, monoceros):
    """Starts the same site with the app in the server's own pool, and in another one."""
    def start(settings="", listen="{address}", front=FRONTS[0], **options):
        values = {"type": request.param, "front": front, "chdir": APPS / "pools", "listen": listen, "settings": settings}
        return [monoceros(config=text.format(**values), python=True, **options) for text in (DIRECT, HOP)]
    return start


def plain(site):
    return Connection(site.address)


def seen(site, connection, request):
    """What the app was told, with the two sites' and clients' ports out of the way."""
    connection.send(request)
    answer = connection.read()
    assert answer.status == 200 and answer.reason == "Fine", (answer, answer.body)
    told = json.loads(answer.body)
    name = connection.sock.getsockname()
    names = {str(site.address[1]): "SITE"} if isinstance(site.address, tuple) else {}
    if isinstance(name, tuple):
        names[str(name[1])] = "CLIENT"

    def plainly(value):
        for text, word in names.items():
            value = value.replace(text, word) if isinstance(value, str) else value
        return value
    fields = [(name, value) for name, value in answer.headers if name.lower() != "date"]
    return {"environ": [[key, plainly(value)] for key, value in told["environ"]], "body": told["body"], "fields": fields}


def requests(host):
    """All that a head may look like."""
    head = f"Host: {host}\r\n"
    return {
        "plain": "GET /environ HTTP/1.1\r\n" + head + "\r\n",
        "fields": "GET /environ?a=b HTTP/1.1\r\n" + head + "X-Odd:\r\nx-case: One\r\nX-CASE: two\r\nAccept: */*\r\nCookie: a=b\r\nCookie: c=d\r\n.Dotted: 1\r\n"
                  "..Twice: 2\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy: no\r\nProxy-Connection: x\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n"
                  "X-Latin: caf\xe9\r\nConnection: keep-alive, X-Odd\r\n\r\n",
        "underscores": "GET /environ HTTP/1.1\r\n" + head + "X_Y: 1\r\nX-Y: 2\r\n\r\n",
        "script": "GET /mount/environ HTTP/1.1\r\n" + head + "SCRIPT_NAME: /mount\r\nREMOTE_USER: joe\r\n\r\n",
        "encoded": "GET /%65nviron?q=%41+b&c=%C3%A9 HTTP/1.1\r\n" + head + "\r\n",
        "absolute": "GET http://other.example:81/environ HTTP/1.1\r\n" + head + "\r\n",
        "rewritten": "GET /old/one?x=%2F HTTP/1.1\r\n" + head + "\r\n",
        "close": "GET /environ HTTP/1.1\r\n" + head + "Connection: close\r\n\r\n",
        "old": "GET /environ HTTP/1.0\r\n\r\n",
        "old host": "GET /environ HTTP/1.0\r\n" + head + "Connection: keep-alive\r\n\r\n",
        "upgrade": "GET /environ HTTP/1.1\r\n" + head + "Connection: Upgrade\r\nUpgrade: websocket, foo/2\r\nSec-WebSocket-Key: x\r\n\r\n",
        "empty": "POST /environ HTTP/1.1\r\n" + head + "\r\n",
        "zero": "POST /environ HTTP/1.1\r\n" + head + "Content-Length: 0\r\n\r\n",
        "body": "POST /environ HTTP/1.1\r\n" + head + "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
        "get body": "GET /environ HTTP/1.1\r\n" + head + "Content-Length: 5\r\n\r\nhello",
        "chunks": "PUT /environ HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n",
        "long": "POST /environ HTTP/1.1\r\n" + head + "X-Long: " + "y" * 6000 + "\r\nContent-Length: 300000\r\n\r\n" + "z" * 300000,
        "claim": "GET /environ HTTP/1.1\r\n" + head + "Monoceros-Hop: error\r\nmonoceros-hop: " + "0" * 64 + " 2=11 a=probe A=010203041f90\r\n\r\n",
    }


def compare(sites, connect, host="site.example"):
    for name, text in requests(host).items():
        told = []
        for site in sites:
            with connect(site) as connection:
                told.append(seen(site, connection, text.encode("latin-1")))
        assert told[0] == told[1], name


@pytest.mark.parametrize("front", FRONTS)
def test_over_http(both, front):
    sites = both(front=front)
    compare(sites, plain)
    for site in sites:                  # each reply has been given once: one access line, one Server, no Date twice
        answer = site.ask("GET", "/environ")
        assert len(answer.all("Server")) == 1 and len(answer.all("Date")) == 1


@pytest.mark.parametrize("settings", [
    'header_map = dangerous', 'forwarder_headers = {"SCRIPT_NAME", "REMOTE_USER"}', 'forwarded_allow_ips = {"10.0.0.1"}  header_map = dangerous',
    'real_ip_header = "X-Forwarded-For"', 'server_tokens = off',
])
def test_policies_are_the_servers(both, settings):
    compare(both(settings), plain)


def test_expect_is_answered_by_the_front(both):
    told = []
    for site in both():
        with plain(site) as connection:
            connection.send(b"POST /environ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert connection.read_head().status == 100
            told.append(seen(site, connection, b"ok"))
    assert told[0] == told[1] and ["HTTP_EXPECT", "100-continue"] in told[0]["environ"]


def test_over_a_unix_socket(both, tmp_path):
    sites = []
    for number, site in enumerate(both(listen="unix:{tmp}/s.sock", ready=False)):
        site.address = str(site.directory / "s.sock")
        site.wait_ready()
        sites.append(site)
    compare(sites, plain)
    compare(sites, plain, "site.example:99")


def test_behind_a_proxy_that_names_the_client(both):
    def connect(site):
        connection = plain(site)
        connection.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n")
        return connection
    sites = both('proxy_protocol = v1')
    compare(sites, connect)
    with connect(sites[1]) as connection:
        told = dict(seen(sites[1], connection, requests("x")["plain"].encode())["environ"])
    assert told["REMOTE_ADDR"] == "192.0.2.7" and told["REMOTE_PORT"] == "4711"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    if "tls" not in under_test.modules() or not shutil.which("openssl"):
        pytest.skip("no TLS here")
    made = Pki(tmp_path_factory.mktemp("pki"))
    made.make("server", names=("localhost", "127.0.0.1"))
    return made.make("joe", subject="/CN=Joe Doe/O=Ex\\, ample")


class Tls(Connection):
    """The same client over TLS."""

    def __init__(self, site, context, name="localhost"):
        super().__init__(site.address)
        self.sock = context.wrap_socket(self.sock, server_hostname=name)


@pytest.mark.parametrize("verify,sends,front", [("off", False, FRONTS[0]), ("optional", False, FRONTS[0]), ("optional", True, FRONTS[0]),
                                                *[("on", True, front) for front in FRONTS]])
def test_over_https(both, certificates, verify, sends, front):
    policy = "" if verify == "off" else f'verify_client = {verify} client_ca = "{certificates["ca.pem"]}"'
    sites = both(f'tls {{ certificate "x" {{ cert = "{certificates["server.pem"]}" key = "{certificates["server.key"]}" }} {policy} }}',
                 listen="{address} tls", front=front)
    context = ssl.create_default_context(cafile=certificates["ca.pem"])
    if sends:
        context.load_cert_chain(certificates["joe.pem"], certificates["joe.key"])
    compare(sites, lambda site: Tls(site, context))
    with Tls(sites[1], context) as connection:
        told = dict(seen(sites[1], connection, requests("x")["plain"].encode())["environ"])
    assert told["HTTPS"] == "on" and told["wsgi.url_scheme"] == "https" and told["SSL_PROTOCOL"].startswith("TLSv1.") and told["SSL_TLS_SNI"] == "localhost"
    if verify != "off":
        assert told["SSL_CLIENT_VERIFY"] == ("SUCCESS" if sends else "NONE")
    if sends:
        assert "BEGIN CERTIFICATE" in told["SSL_CLIENT_CERT"] and "CN=Joe Doe" in told["SSL_CLIENT_S_DN"]
    assert ("SSL_CLIENT_CERT" in told) == sends
