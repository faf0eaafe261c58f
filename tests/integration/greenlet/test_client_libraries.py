"""Client libraries of the system, untouched, inside one native app: the requests of a worker that can have several wait at the same time."""

import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import services
from lib.compile import build
from lib.limits import until

COUNT = {"sync": 1, "greenlet": 100, "gthread": 8}
MB = 1 << 20
pytestmark = pytest.mark.workers("sync", "greenlet", "gthread")


@pytest.fixture
def serve(monoceros, worker_class, tmp_path):
    """Factory: one worker with the app clients.c and these libraries."""
    def start(env=None, **libraries):
        library = build(tmp_path, "clients", **libraries)
        return monoceros(library, "-k", worker_class, "--threads", 8 if worker_class == "gthread" else 1, python=False, env={"no_proxy": "*", **(env or {})})
    return start


@pytest.fixture
def clients(serve, worker_class):
    """Factory: sends as many requests for a path as a worker takes at once; a function that gives their bodies."""
    def start(path, **libraries):
        server = serve(**libraries)
        connections = [server.connect() for _ in range(COUNT[worker_class])]
        for connection in connections:
            connection.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return lambda: [connection.read().body for connection in connections]
    return start


def test_libcurl(clients, worker_class):
    count = COUNT[worker_class]
    with services.Peer(count) as peer:
        answers = clients(f"/curl?{peer.url}", CURL="libcurl")
        assert answers() == [peer.data] * count
        assert peer.most == count


@pytest.mark.parametrize("way", ["down", "up"])
def test_libcurl_tls_20_mb_against_a_slow_peer(serve, worker_class, tmp_path, way):
    """Each transfer ends only when all of them have come half-way: bytes are compared, and the peer counts how many are there at once."""
    count = min(COUNT[worker_class], 4)
    rounds = 2 if count == 1 else 1
    tls = services.certificate(tmp_path)
    with services.Peer(count, size=20 * MB, slow=0.005, tls=tls) as peer, ThreadPoolExecutor(count * rounds) as threads:
        server = serve({"CLIENTS_CA": str(tls[0])}, CURL="libcurl")
        bodies = [os.urandom(20 * MB) if way == "up" else None for _ in range(count * rounds)]
        answers = list(threads.map(lambda body: server.ask("PUT" if body else "GET", f"/curl?{peer.url}", body=body), bodies))
        assert {answer.status for answer in answers} == {200}
        if way == "up":
            assert [answer.text for answer in answers] == [hashlib.sha256(body).hexdigest() for body in bodies]
        else:
            assert all(answer.body == peer.data for answer in answers)
        assert peer.most == count


def test_libcurl_refuses_a_stranger(serve, tmp_path):
    """The certificate is looked at, so the test above shows TLS as it is used."""
    with services.Peer(tls=services.certificate(tmp_path)) as peer:
        server = serve(CURL="libcurl")
        assert server.ask("GET", f"/curl?{peer.url}").status == 500
        until(lambda: peer.errors, "the handshake to fail")
        peer.errors.clear()


@pytest.fixture
def redis(tmp_path):
    with services.redis(tmp_path) as command:
        yield command


def test_hiredis(clients, redis, worker_class):
    count = COUNT[worker_class]
    answers = clients(f"/redis?{redis.path}", REDIS="hiredis")
    until(lambda: f"blocked_clients:{count}" in redis("INFO", "clients").split(), f"{count} clients inside BLPOP")
    redis("RPUSH", "queue", *["value"] * count)
    assert answers() == [b"value"] * count


@pytest.fixture
def postgres():
    with services.postgres() as sql:
        yield sql


def test_libpq(clients, postgres, worker_class):
    count = COUNT[worker_class]
    with subprocess.Popen(postgres.session(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdin.write("select pg_advisory_lock(1);\nselect 'held';\n")
        holder.stdin.flush()
        while holder.stdout.readline() != "held\n":
            pass
        answers = clients(f"/pq?host={postgres.place}+user=test+dbname=postgres", PQ="libpq")
        until(lambda: postgres("select count(*) from pg_locks where locktype = 'advisory' and not granted") == f"{count}\n",
              f"{count} sessions to wait for the lock", 60)
        holder.stdin.close()
        assert answers() == [b"locked"] * count
