"""Servers that the apps under test ask: HTTP and HTTPS peers that count how many ask at once, redis, postgres."""

import contextlib
import hashlib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from lib.limits import patience, until


def certificate(directory):
    """A self-signed certificate for localhost: (certificate, key)."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


class Peer:
    """An HTTP server, a thread a connection. As a context: it listens, and fails at its end if a thread of it has failed.

    count: in the middle of each exchange it waits until so many are there; who waits for them one by one never gets on.
    size: of a GET's body. slow: seconds that each piece of a body takes. tls: (certificate, key).
    """

    PIECE = 1 << 18

    def __init__(self, count=1, size=8, slow=0.0, tls=None):
        self.size, self.slow = size, slow
        self.data = os.urandom(size)
        self.barrier = threading.Barrier(count, timeout=patience(60))
        self.lock = threading.Lock()
        self.inside = self.most = 0
        self.errors = []
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if self.context else 'http'}://localhost:{self.port}/"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *failed):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if failed[0] is None:
            assert not self.errors, self.errors

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            sock.settimeout(patience(60))
            with self.context.wrap_socket(sock, server_side=True) if self.context else sock as peer, peer.makefile("rwb") as file:
                self.exchange(file)
        except (OSError, ValueError, threading.BrokenBarrierError) as error:
            self.errors.append(repr(error))

    def exchange(self, file):
        method = file.readline().split()[0]
        head = {name.lower(): value.strip() for name, value in (line.split(b":", 1) for line in iter(file.readline, b"\r\n"))}
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        if method == b"GET":
            file.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % self.size)
            self.in_the_middle(self.size, lambda at, n: (file.write(self.data[at:at + n]), file.flush()))
        else:
            if b"expect" in head:
                file.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                file.flush()
            digest = hashlib.sha256()
            self.in_the_middle(int(head[b"content-length"]), lambda _, n: digest.update(file.read(n)))
            file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\nConnection: close\r\n\r\n" + digest.hexdigest().encode())
        file.flush()

    def in_the_middle(self, size, piece):
        """A body, piece by piece; all exchanges meet before its second half."""
        met = False
        for at in range(0, size, self.PIECE):
            if not met and at * 2 >= size - self.PIECE:
                self.barrier.wait()
                met = True
            if at + self.PIECE >= size:     # before the other side can know that it has ended
                with self.lock:
                    self.inside -= 1
            piece(at, min(self.PIECE, size - at))
            time.sleep(self.slow)


@contextlib.contextmanager
def redis(directory):
    """A redis of its own: a function for commands, .path is its socket."""
    program, tool = shutil.which("redis-server"), shutil.which("redis-cli")
    if not program or not tool:
        pytest.skip("redis-server is not installed")
    path = directory / "redis.sock"
    process = subprocess.Popen([program, "--port", "0", "--unixsocket", path, "--dir", directory, "--save", ""], stdout=subprocess.DEVNULL)

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


def postgres_user():
    """It refuses to run as root."""
    if os.getuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("there is no user postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid}


@contextlib.contextmanager
def postgres():
    """A postgres of its own: a function for SQL, .place is the directory of its socket, .session() the command of a client."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not versions or not shutil.which("psql"):
        pytest.skip("postgresql is not installed")
    as_user = postgres_user()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if as_user:
            os.chown(place, as_user["user"], as_user["group"])
        common = {"cwd": place, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **as_user}
        subprocess.run([versions[-1] / "initdb", "-D", place / "data", "-A", "trust", "-U", "test", "-N"], check=True, **common)
        place.chmod(0o755)
        server = subprocess.Popen([versions[-1] / "postgres", "-D", place / "data", "-k", place, "-c", "listen_addresses=",
                                   "-c", "max_connections=150", "-c", "fsync=off"], **common)

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
