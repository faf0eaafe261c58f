"""One unchanged app under three worker types: 100 requests, each waiting 200 ms for a real server, one worker. Records the wall time."""

import time

import pytest

from lib import services, wire
from lib.compile import build

COUNT = 100
pytestmark = pytest.mark.workers("sync", "gthread", "greenlet")


class Slow(services.Peer):
    """Thinks for 200 ms about each request."""

    def exchange(self, file):
        time.sleep(0.2)
        super().exchange(file)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("apps"), "clients", CURL="libcurl", REDIS="hiredis", PQ="libpq")


@pytest.fixture
def record(monoceros, worker_class, library, request):
    """Factory: asks the same COUNT times, all at once, and prints how long that took; the bodies."""
    def run(path, body=None, env=None):
        server = monoceros(library, "-k", worker_class, "--threads", 10 if worker_class == "gthread" else 1, python=False,
                           env={"no_proxy": "*", **(env or {})})
        start = time.monotonic()
        connections = [server.connect(timeout=120) for _ in range(COUNT)]
        for connection in connections:
            connection.send(wire.request("POST" if body else "GET", path, body=body, close=True))
        answers = [connection.read() for connection in connections]
        print(f"\n{request.node.originalname} {worker_class}: {COUNT} × 200 ms in {time.monotonic() - start:.2f} s")
        assert {answer.status for answer in answers} == {200}
        return [answer.body for answer in answers]
    return run


def test_libcurl(record):
    with Slow() as peer:
        assert record(f"/curl?{peer.url}") == [peer.data] * COUNT


def test_libcurl_tls(record, tmp_path):
    tls = services.certificate(tmp_path)
    with Slow(tls=tls) as peer:
        assert record(f"/curl?{peer.url}", env={"CLIENTS_CA": str(tls[0])}) == [peer.data] * COUNT


def test_hiredis(record, tmp_path):
    with services.redis(tmp_path) as redis:
        assert record(f"/redis?{redis.path}", b"BLPOP nothing 0.2") == [b"nil"] * COUNT


def test_libpq(record):
    with services.postgres() as postgres:
        assert record(f"/pq?host={postgres.place}+user=test+dbname=postgres", b"select 'slept' from pg_sleep(0.2)") == [b"slept"] * COUNT
