"""What a request costs: system calls and allocations, counted and not timed, so that no busy machine decides and no needless one comes back.

A round sends on every connection while the worker stands still, so the events come together and a wait serves many connections. Bounds are those of
the bare work; what the server does each second, and what a wait costs, is a part of a call (SLACK).
"""

import contextlib
import importlib.util
import os
import re
import ssl
from collections import Counter
from pathlib import Path

import pytest

from lib import allocations, calls
from lib import server as under_test
from lib.fixtures import NATIVE, WORKERS
from lib.frames import Client as H2Client
from lib.pki import Pki
from lib.upstream import Upstream
from lib.wire import Connection, open_socket, request

pytestmark = [pytest.mark.skipif(bool(under_test.SANITIZED or under_test.UNDER), reason="sanitizers and valgrind have costs of their own")]

CONNECTIONS, ROUNDS, WARMING = 25, 8, 6
GROWTH = 0.5        # threads whose turn comes late still make room in their heaps, as may what a work allocates; allocations are counted by themselves
SLACK = 0.25
APPS = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "tests/apps/native"
BUILT = {line.split()[1] for line in under_test.modules().splitlines() if re.match(r"  [a-z]+ +[a-z0-9_]+$", line)}


# --- clients: each sends one round's request, then reads what came

class Plain:
    """HTTP/1.1 on a connection that stays; batch requests at a time."""

    def __init__(self, site, target, batch=1):
        self.connection, self.batch = Connection(site.address), batch
        self.bytes = request("GET", target) * batch

    def send(self):
        self.connection.send(self.bytes)

    def read(self):
        for _ in range(self.batch):
            assert self.connection.read().status == 200

    def close(self):
        self.connection.close()


class Tls(Plain):
    def __init__(self, site, target, batch=1):
        super().__init__(site, target, batch)
        context = ssl.create_default_context(cafile=site.ca)
        self.connection.sock.close()
        self.connection.sock = context.wrap_socket(open_socket(site.tls), server_hostname="localhost")


class Once:
    """A connection for each request, which the server closes."""
    batch = 1

    def __init__(self, site, target):
        self.address, self.bytes = site.address, request("GET", target, close=True)

    def send(self):
        self.connection = Connection(self.address).send(self.bytes)

    def read(self):
        assert self.connection.read().status == 200 and self.connection.ended()
        self.connection.close()

    def close(self):
        pass


class Streams:
    """HTTP/2; batch streams at a time."""

    def __init__(self, site, target, batch=1):
        self.client, self.target, self.batch = H2Client(site.h2), target, batch

    def send(self):
        self.streams = [self.client.ask(self.target) for _ in range(self.batch)]

    def read(self):
        assert all(answer.status == 200 for answer in self.client.answers(*self.streams, update=False).values())

    def close(self):
        self.client.sock.close()


class Work:
    """A kind of request and the bounds of what one round of a client costs: system calls but waits, allocations of ours, and of libraries
    that work for us."""

    def __init__(self, name, client, target, calls, own=0, library=0, needs=(), workers=(), **more):
        self.name, self.client, self.target, self.calls, self.own, self.lib = name, client, target, calls, own, library
        self.needs, self.workers, self.more = set(needs), workers, more

    def __repr__(self):
        return self.name


DATE = 0.75     # each second there is a new one in the tables that compress the fields, two pieces for each connection
BLOCKING = ("sync", "gthread", "greenlet")
EDGE = WORKERS[-1:]             # what runs on the loop is the same in every worker type: once is enough
WORKS = [
    Work("hello", Plain, "/", 2),
    Work("hello, a connection each", Once, "/", 5),     # accept4, recvfrom, sendto, close; and shutdown, so that the end leaves with the answer
    Work("hello, 16 at a time", Plain, "/", 2, batch=16),
    Work("hello over TLS", Tls, "/", 2, library=4, needs=["tls"], workers=EDGE),        # OpenSSL 3 asks for two pieces a record
    Work("hello over HTTP/2", Streams, "/", 2, own=DATE, needs=["http2"]),
    Work("hello over HTTP/2, 8 streams", Streams, "/", 2, own=DATE, needs=["http2"], workers=EDGE, batch=8),
    Work("file of 1 KB", Plain, "/files/1k", 2, needs=["static"], workers=EDGE),
    Work("proxied", Plain, "/proxied", 4, needs=["proxy"], workers=EDGE),
    Work("app in C", Plain, "/echo", 2, needs=["native"], workers=BLOCKING),
    Work("loop app in C", Plain, "/stats", 2, needs=["native"], workers=EDGE),
    # Five threads hand the loop on for each request, as its app sleeps: who leads next must be woken (futex), and the leader told of the end (write).
    Work("slow app in C", Plain, "/sleep?2", 10, own=2.5, needs=["native"], workers=["gthread"]),
]
PYTHON = [
    ("sync", "wsgi", Work("WSGI", Plain, "/", 2)),
    ("gthread", "wsgi", Work("WSGI", Plain, "/", 2)),
    ("gthread", "wsgi", Work("WSGI over HTTP/2", Streams, "/", 2, own=DATE, needs=["http2"])),
    ("gevent", "wsgi", Work("WSGI", Plain, "/", 2)),
    ("eventlet", "wsgi", Work("WSGI", Plain, "/", 2.5)),       # its hub sets a timer for each wait
    ("asyncio", "asgi", Work("ASGI", Plain, "/", 2)),
    ("uvloop", "asgi", Work("ASGI", Plain, "/", 2)),
]


# --- servers

class Site:
    """A server with an address for each protocol that is built, its worker, and who counts its allocations."""

    def __init__(self, start, directory, worker, settings="", routes="", apps="", **options):
        self.port = {name: under_test.free_port() for name in ("tls", "h2")}
        self.tls, self.h2 = (("127.0.0.1", self.port[name]) for name in ("tls", "h2"))
        tls = ""
        if "tls" in BUILT and options.get("pki"):
            pki = options["pki"]
            self.ca = pki["ca.pem"]
            tls = f'server "tls" {{ listen = "127.0.0.1:{self.port["tls"]} tls"  tls {{ certificate "it" {{ cert = "{pki["ec.pem"]}"  key = "{pki["ec.key"]}" }} }} {routes} }}'
        h2 = f'server "h2" {{ listen = "127.0.0.1:{self.port["h2"]}"  http2_cleartext = prior-knowledge  {routes} }}' if "http2" in BUILT else ""
        config = f'''pool "main" {{ worker_class = {worker}  workers = 1  keepalive = 1h  {settings} }}
{apps}
server "main" {{ listen = "{{address}}"  {routes} }}
{tls}
{h2}
'''
        self.counter = self.without = None
        try:
            self.counter = allocations.Counter(directory)
        except allocations.Unusable as error:
            self.without = str(error)
        env = self.counter.environment() if self.counter else {}
        self.server = start(config=config, env=env, python=options.get("python", False))
        self.address = self.server.address
        self.pid = self.server.wait_workers(1)[0]
        self.costs = {}

    def cost(self, work):
        """Measured once for both tests."""
        if work not in self.costs:
            self.costs[work] = self.measure(work)
        return self.costs[work]

    def measure(self, work):
        clients = [work.client(self, work.target, **work.more) for _ in range(CONNECTIONS)]
        found, counted, refused = Counter(), None, None
        with contextlib.ExitStack() as stack:
            try:
                counted = stack.enter_context(calls.counted(self.pid))
            except calls.Refused as error:
                refused = str(error)
            for number in range(WARMING + ROUNDS):
                if number == WARMING:
                    if counted:
                        counted.forget()
                    if self.counter:
                        found = stack.enter_context(self.counter.of(self.pid))
                with counted.hold() if counted else contextlib.nullcontext():
                    for client in clients:
                        client.send()
                for client in clients:
                    client.read()
            shown = counted.shown() if counted else {}
        for client in clients:
            client.close()
        maps = allocations.Maps(self.pid)
        parts = {"own": Counter(), "library": Counter(), "python": Counter()}
        for stack, count in found.items():
            parts[maps.whose(stack)][stack] += count
        return Cost(shown, refused, parts, maps)


class Cost:
    def __init__(self, shown, refused, parts, maps):
        self.calls, self.refused, self.parts, self.maps = shown, refused, parts, maps
        self.times = CONNECTIONS * ROUNDS

    def check_calls(self, bound, own):
        if self.refused:
            pytest.skip(self.refused)
        waits = sum(self.calls[name] for name in calls.WAITS) / self.times
        memory = sum(self.calls[name] for name in calls.MEMORY) / self.times
        others = sum(self.calls.values()) / self.times - waits - memory
        told = "system calls: " + ", ".join(f"{name} {count / self.times:.2f}" for name, count in self.calls.most_common())
        print(told)
        assert others <= bound + SLACK, f"{others:.2f} beside waits, not {bound}; {told}"
        assert waits <= bound * SLACK, f"{waits:.2f} waits; {told}"
        assert memory <= GROWTH + own, f"{memory:.2f} for memory; {told}"

    def check_allocations(self, **bounds):
        for name, bound in bounds.items():
            found = self.parts[name]
            each = sum(found.values()) / self.times
            print(f"allocations, {name}: {each:.2f}")
            assert each <= bound + 0.1, f"{each:.2f} allocations ({name}), not {bound}:\n{self.maps.show(found, self.times)}"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    if "tls" not in BUILT:
        return None
    return Pki(tmp_path_factory.mktemp("pki")).make("ec", ["localhost"])


@pytest.fixture(scope="module")
def upstream():
    def script(peer):
        while True:
            peer.head()
            peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with Upstream(script) as up:
        yield up


@pytest.fixture(scope="module")
def edge(shared_monoceros, worker_class, tmp_path_factory, pki, upstream):
    """One server for all works of a worker type."""
    directory = tmp_path_factory.mktemp("costs")
    (directory / "1k").write_bytes(b"x" * 1024)
    os.utime(directory / "1k", (1e9, 1e9))
    routes, apps = 'route "hello" { match { exact = "/" }  respond { body = "Hello, world!" } }\n', ""
    if "static" in BUILT:
        routes += f'route "files" {{ match {{ prefix = "/files/" }}  static {{ root = "{directory}" }} }}\n'
    if "proxy" in BUILT:
        apps += f'upstream "origin" {{ keepalive = {CONNECTIONS}  keepalive_requests = 1000000  peer "{upstream.text}" {{ }} }}\n'
        routes += 'route "proxied" { match { prefix = "/proxied" }  proxy { to = "upstream:origin" } }\n'
    if (APPS / "flow.so").exists():
        apps += f'app "flow" {{ type = native  module = "{APPS}/flow.so" }}\n'
        routes += 'route "flow" { match { exact = "/stats" }  app = flow }\n'
        if worker_class in BLOCKING:
            apps += f'app "kit" {{ type = native  module = "{APPS}/kit.so" }}\n'
            routes += 'route "kit" { app = kit }\n'
    return Site(shared_monoceros, directory, worker_class, "threads = 4" if worker_class == "gthread" else "", routes, apps, pki=pki)


def wanted(work, worker_class):
    if work.needs - BUILT or (work.workers and worker_class not in work.workers):
        pytest.skip("not for this build or worker type")
    if "native" in work.needs and not (APPS / "kit.so").exists():
        pytest.skip("no native apps are built")
    return work


@pytest.mark.parametrize("work", WORKS, ids=repr)
def test_system_calls(edge, worker_class, work):
    edge.cost(wanted(work, worker_class)).check_calls(work.calls, work.own)


@pytest.mark.parametrize("work", WORKS, ids=repr)
def test_allocations(edge, worker_class, work):
    if edge.without:
        pytest.skip(edge.without)
    edge.cost(wanted(work, worker_class)).check_allocations(own=work.own, library=work.lib)


# --- apps in Python: a server each

def python_site(shared_monoceros, directory, worker, kind, h2):
    settings = {"gthread": "threads = 4", "asyncio": 'asgi_loop = "asyncio"', "uvloop": 'asgi_loop = "uvloop"'}.get(worker, "")
    app = f'app "it" {{ type = {kind}  module = "costs:{kind}"  chdir = "{under_test.APPS}" }}'
    return Site(shared_monoceros, directory, "asgi" if kind == "asgi" else worker, settings, 'route "it" { app = it }', app, python=True)


@pytest.fixture(scope="module", params=sorted({row[:2] for row in PYTHON}), ids="-".join)
def app_site(request, shared_monoceros, worker_class, tmp_path_factory):
    worker, kind = request.param
    library = {"gevent": "gevent", "eventlet": "eventlet", "uvloop": "uvloop"}.get(worker)
    home = {"gevent": "greenlet", "eventlet": "greenlet", "asyncio": WORKERS[-1], "uvloop": WORKERS[-1]}.get(worker, worker)
    if not under_test.has_python() or worker_class != home or (library and not importlib.util.find_spec(library)):
        pytest.skip("not for this build or worker type, or the library is not here")
    site = python_site(shared_monoceros, tmp_path_factory.mktemp("costs"), worker, kind, None)
    site.works = [work for *key, work in PYTHON if tuple(key) == request.param and not work.needs - BUILT]
    return site


@pytest.mark.python
def test_system_calls_of_python_apps(app_site):
    for work in app_site.works:
        app_site.cost(work).check_calls(work.calls, work.own)


@pytest.mark.python
def test_allocations_for_python_apps(app_site):
    """Ours, not Python's own, which are a few pieces: the environ is larger than what Python's allocator keeps."""
    if app_site.without:
        pytest.skip(app_site.without)
    for work in app_site.works:
        app_site.cost(work).check_allocations(own=work.own, library=work.lib, python=3)
