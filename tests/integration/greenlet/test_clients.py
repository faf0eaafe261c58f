"""Client libraries of the system, untouched, inside native apps: all requests wait for their servers at the same time, in one worker."""

import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from apps import build  # noqa: E402

from lib.limits import patience, until  # noqa: E402

COUNT = {"greenlet": 100, "gthread": 8}
pytestmark = pytest.mark.workers("greenlet", "gthread")


@pytest.fixture
def clients(monoceros, worker_class, tmp_path):
    """Factory: sends as many requests for a path as a worker takes at once; a function that gives their bodies."""
    def start(define, package, path):
        library = build(tmp_path, "clients", define, package)
        count = COUNT[worker_class]
        server = monoceros(library, "-k", worker_class, "--threads", 8 if worker_class == "gthread" else 1, python=False)
        connections = [server.connect() for _ in range(count)]
        for connection in connections:
            connection.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return count, lambda: [connection.read().text for connection in connections]
    return start


class Upstream(threading.Thread):
    """Answers nobody before `count` requests are there."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.count = None
        self.known = threading.Event()

    def run(self):
        self.known.wait()
        waiting = []
        self.listener.settimeout(patience(60))
        while len(waiting) < self.count:
            sock, _ = self.listener.accept()
            sock.settimeout(patience(60))
            while b"\r\n\r\n" not in sock.recv(65536, socket.MSG_PEEK):
                pass
            sock.recv(65536)
            waiting.append(sock)
        for sock in waiting:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nupstream")
            sock.close()


def test_libcurl(clients):
    upstream = Upstream()
    upstream.start()
    count, answers = clients("CURL", "libcurl", f"/curl?http://localhost:{upstream.port}/")
    upstream.count = count
    upstream.known.set()
    assert answers() == ["upstream"] * count
    upstream.join()


@pytest.fixture
def redis(tmp_path):
    program, tool = shutil.which("redis-server"), shutil.which("redis-cli")
    if not program or not tool:
        pytest.skip("redis-server is not installed")
    path = tmp_path / "redis.sock"
    process = subprocess.Popen([program, "--port", "0", "--unixsocket", path, "--dir", tmp_path, "--save", ""], stdout=subprocess.DEVNULL)

    def command(*words):
        done = subprocess.run([tool, "-s", path, *map(str, words)], capture_output=True, text=True, check=False)
        return done.stdout

    try:
        until(lambda: command("PING") == "PONG\n", "redis to answer")
        command.path = path
        yield command
    finally:
        process.terminate()
        process.wait()


def test_hiredis(clients, redis):
    count, answers = clients("REDIS", "hiredis", f"/redis?{redis.path}")
    until(lambda: f"blocked_clients:{count}\r\n" in redis("INFO", "clients") or f"blocked_clients:{count}\n" in redis("INFO", "clients"),
          f"{count} clients inside BLPOP")
    redis("RPUSH", "queue", *["value"] * count)
    assert answers() == ["value"] * count


@pytest.fixture
def postgres(tmp_path_factory):
    """A database of its own; yields the directory of its socket and a function for SQL."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not versions or not shutil.which("psql"):
        pytest.skip("postgresql is not installed")
    import os
    import pwd
    import tempfile
    as_user = {}
    if os.getuid() == 0:      # it refuses to run as root
        try:
            entry = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("there is no user postgres")
        as_user = {"user": entry.pw_uid, "group": entry.pw_gid}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if as_user:
            os.chown(place, entry.pw_uid, entry.pw_gid)
        data = place / "data"
        common = {"cwd": place, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **as_user}
        subprocess.run([versions[-1] / "initdb", "-D", data, "-A", "trust", "-U", "test", "-N"], check=True, **common)
        place.chmod(0o755)
        server = subprocess.Popen([versions[-1] / "postgres", "-D", data, "-k", place, "-c", "listen_addresses=", "-c", "max_connections=150",
                                   "-c", "fsync=off"], **common)

        def session(*words):
            return ["psql", "-h", str(place), "-U", "test", "-d", "postgres", "-At", *words]

        def sql(text):
            return subprocess.run(session("-c", text), capture_output=True, text=True, check=False).stdout

        sql.session = session
        sql.place = place
        try:
            until(lambda: sql("select 1") == "1\n", "postgres to answer", 60)
            yield sql
        finally:
            server.send_signal(2)
            server.wait()


def test_libpq(clients, postgres):
    with subprocess.Popen(postgres.session(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdin.write("select pg_advisory_lock(1);\nselect 'held';\n")
        holder.stdin.flush()
        while holder.stdout.readline() != "held\n":
            pass
        count, answers = clients("PQ", "libpq", f"/pq?host={postgres.place}+user=test+dbname=postgres")
        until(lambda: postgres("select count(*) from pg_locks where locktype = 'advisory' and not granted") == f"{count}\n",
              f"{count} sessions to wait for the lock", 60)
        holder.stdin.close()
        assert answers() == ["locked"] * count
