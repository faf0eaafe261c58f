"""One worker, eight threads: what the loop does for some clients while threads answer others over TLS, through the filters. Every byte is looked at."""

import os
import random
import ssl
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1])]
from lib import server as under_test  # noqa: E402
from lib import wire  # noqa: E402
from lib.upstream import Upstream, serving  # noqa: E402
from tls.conftest import context, pki  # noqa: E402,F401  fixtures

KIT = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "tests/apps/native/kit.so"
NEEDED = ["static", "proxy", "native", "tls", "headers", "compress", "limit", "gzip"]

pytestmark = [pytest.mark.workers("gthread"), pytest.mark.skipif(not KIT.exists(), reason="no native apps are built")]

CLIENTS = 16
EACH = 16       # turns of a client
LARGEST = 300_000
# The half of it shrinks, and no two pieces of it are alike.
BYTES = b"".join(b"%09d" % n + random.Random(n).randbytes(9) for n in range((LARGEST + 100_000) // 18))

SITE = """
accesslog = "{tmp}/access.log"
access_log_format = '%(m)s %(U)s %(s)s %({x-name}i)s'
pool "web" { worker_class = gthread  workers = 1  threads = 8  keepalive = 60s }
app "kit" { type = native  module = "KIT" }
SNAKE
server "edge" {
    listen = "{address} tls"
    tls { certificate "x" { cert = "PKI/ec.pem"  key = "PKI/ec.key" } }
    compress { types = "*"  min = 1  cookies = yes }
    limit { key = '$remote_addr'  rate = "10000/s"  burst = 16000  conns = CLIENTS }
    route "files" { match { path = '^/static/(.*)$' }  static { root = "FILES" }  HEADERS }
    route "proxied" { match { path = '^/proxied/(.*)$' }  proxy { to = "UPSTREAM" }  HEADERS }
    ROUTES
    route "kit" { match { path = '^/(.*)$' }  app = kit  HEADERS }
}
"""
SNAKE = f'app "snake" {{ type = wsgi  module = "basic:app"  chdir = "{under_test.APPS}" }}'
HEADERS = """headers { request { set = {'X-Way: $request_id'} }
              response { set = {'X-Seen: $1 $ssl_protocol $remote_addr $http_x_name'}  add = {'Vary: X-Name'}  remove = {'X-Gone'} } }"""
ROUTES = """route "snake" { match { path = '^/(.*)$'  header = {"X-Snake: yes"} }  app = snake  HEADERS }"""


class Client(wire.Connection):
    """Over TLS, with kept connections; one in four has hardly any room for what it is sent."""

    def __init__(self, address, context, number):
        super().__init__(address, rcvbuf=4096 if number % 4 == 0 else None)
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.name = f"client-{number}"
        self.random = random.Random(number)
        self.coded = 0

    def piece(self):
        size = self.random.choice((1, 700, 6144, 16384, 16385, 70_000, LARGEST))
        start = self.random.randrange(len(BYTES) - size)
        return start, BYTES[start:start + size]

    def plan(self, python):
        """What to ask for: (method, path, its group in the route, fields, body) and the body that it brings."""
        start, data = self.piece()
        snake = [("X-Snake", "yes")]
        third = len(data) // 3
        ways = [
            (("POST", "/echo", "echo", [], data), data),
            (("POST", "/count", "count", [], data), data),
            (("GET", f"/stream?{len(data)}", "stream", [], None), b"s" * len(data)),
            (("GET", f"/file?{start}", "file", [], None), BYTES[start:] + b"end"),
            (("GET", "/sleep?7", "sleep", [], None), b"rested"),
            (("GET", "/static/bytes.txt", "bytes.txt", [], None), BYTES),
            (("GET", "/static/small.txt", "small.txt", [], None), BYTES[:100]),
            (("GET", f"/proxied/{start}-{len(data)}", f"{start}-{len(data)}", [], None), data),
            (("POST", "/proxied/echo", "echo", [], data), data),
        ]
        if python:
            ways += [
                (("POST", "/echo", "echo", snake, data), data),
                (("GET", f"/stream?count=3&size={third}", "stream", snake, None), 3 * (bytes(range(256)) * 400)[:third]),
                (("GET", "/slow?seconds=0.007", "slow", snake, None), b"at last"),
            ]
        return self.random.choice(ways)

    def ask_for(self, method, path, _, fields, body):
        coding = self.random.choice(("gzip", "identity"))
        always = [("X-Name", self.name), ("Accept-Encoding", coding), ("Content-Type", "text/plain")]
        return wire.request(method, path, always + fields, body)

    def check(self, group, body):
        answer = self.read()
        assert answer.status == 200 and answer.keep, answer
        assert answer.get("X-Seen").split() == [group, self.sock.version(), "127.0.0.1", self.name] and not answer.get("X-Gone")
        got = answer.body
        if answer.get("Content-Encoding") == "gzip":
            self.coded += 1
            got = zlib.decompress(got, 31)
        assert got == body

    def turns(self, python):
        """Now and then two requests at once, so that the loop hears of a connection that a thread has."""
        asked = 0
        for turn in range(EACH):
            plans = [self.plan(python) for _ in range(1 + (turn % 3 == 0))]
            self.send(b"".join(self.ask_for(*request) for request, _ in plans))
            for request, body in plans:
                self.check(request[2], body)
            asked += len(plans)
        return asked, self.coded


def answer(peer, head, body):
    """The upstream: bytes START-COUNT, or the request's body; and it was told who asks."""
    target = head.split()[1].decode().rpartition("/")[2]
    assert b"\r\nX-Way: " in head
    if target != "echo":
        start, count = map(int, target.split("-"))
        body = BYTES[start:start + count]
    peer.reply(body, headers=[("Content-Type", "text/plain"), ("X-Gone", "1")])


def test_sixteen_clients_of_everything(monoceros, pki, context, tmp_path):
    missing = [name for name in NEEDED if name not in under_test.modules()]
    if missing:
        pytest.skip(f"built without {', '.join(missing)}")
    python = under_test.has_python()
    files = tmp_path / "www" / "static"
    files.mkdir(parents=True)
    (files / "bytes.txt").write_bytes(BYTES)
    (files / "small.txt").write_bytes(BYTES[:100])
    contexts = [context(only=version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    with Upstream(serving(answer)) as up:
        values = {"HEADERS": HEADERS, "KIT": KIT, "PKI": pki.dir, "FILES": files.parent, "UPSTREAM": up.text, "CLIENTS": CLIENTS}
        config = SITE.replace("SNAKE", SNAKE if python else "").replace("ROUTES", ROUTES if python else "")
        for name, value in values.items():
            config = config.replace(name, str(value))
        site = monoceros(config=config, python=python, env={"KIT_FILE": str(files / "bytes.txt")})

        def run(number):
            with Client(site.address, contexts[number % 2], number) as client:
                return client.turns(python)

        with ThreadPoolExecutor(CLIENTS) as threads:
            done = list(threads.map(run, range(CLIENTS)))
        site.stop()
    assert sum(coded for _, coded in done) > CLIENTS
    lines = (site.directory / "access.log").read_text().splitlines()
    assert len(lines) == sum(asked for asked, _ in done) and all(line.split()[2] == "200" for line in lines)


LATE = """
pool "web" { worker_class = gthread  workers = 1  threads = 2  request_timeout = 1s }
app "kit" { type = native  module = "KIT" }
server "edge" {
    listen = "{address} tls"
    tls { certificate "x" { cert = "PKI/ec.pem"  key = "PKI/ec.key" } }
    route "kit" { app = kit }
}
"""


def test_a_late_thread_reads_what_it_was_told(monoceros, pki, context):
    """The client has its 504 and is gone; the thread of its request knows nothing of that."""
    if "tls" not in under_test.modules():
        pytest.skip("built without TLS")
    site = monoceros(config=LATE.replace("KIT", str(KIT)).replace("PKI", str(pki.dir)), python=False, expect_errors=True)
    with Client(site.address, context(), 1) as client:
        client.send(wire.request("GET", "/deaf?4000"))
        assert client.read().status == 504 and client.ended()
    site.wait_log("kit: deaf for localhost, as before")
