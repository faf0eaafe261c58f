"""Limits of a worker and of the machine: pipelines without end, tiny chunks, too many connections, no descriptors, no disk."""

import os
import resource
import socket

import pytest

from lib import board, procfs, wire
from lib.limits import Late, until

CONFIG = """
pool "web" { worker_class = {worker}  keepalive = 60s  SETTINGS }
server "main" { listen = "{address}"  route "all" { respond { body = "Hello, world!" } } }
"""


def config(settings=""):
    return CONFIG.replace("SETTINGS", settings)


def resident(pid):
    return int(procfs.status(pid, "VmRSS")[0])


def pour(connection, data, limit):
    """Sends data again and again without reading, until the socket takes no more or the limit is reached; the bytes sent."""
    connection.sock.settimeout(1)
    sent = 0
    try:
        while sent < limit:
            sent += connection.sock.send(data)
    except TimeoutError:
        pass
    return sent


@pytest.mark.parametrize("target", ["respond", pytest.param("app", marks=pytest.mark.python)])
def test_a_pipeline_that_nobody_reads(monoceros, target):
    """The server stops reading when its answers find no way out: memory stays bounded, others are served."""
    site = monoceros(config=config()) if target == "respond" else monoceros("basic:app", "--keep-alive", "60")
    worker = site.wait_workers(1)[0]
    assert site.ask("GET", "/").status == 200
    before = resident(worker)
    with site.connect(rcvbuf=4096) as connection:
        train = wire.request("GET", "/") * 500
        sent = pour(connection, train, 200 << 20)
        assert sent < 200 << 20
        assert site.ask("GET", "/").status == 200
        assert resident(worker) < before + 20000, "KiB"
        connection.sock.settimeout(30)
        whole = sent // len(wire.request("GET", "/"))
        for _ in range(min(whole, 2000)):       # what was asked is answered in order when the client reads
            assert connection.read().body == b"Hello, world!"


@pytest.mark.python
def test_a_body_of_tiny_chunks(monoceros):
    app = monoceros("basic:app")
    with app.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            connection.send(b"1\r\nx\r\n" * 1000)
        connection.send(b"0\r\n\r\n")
        assert connection.read("POST").body == b"x" * 100000


def test_more_idle_connections_than_allowed(monoceros):
    """The oldest idle connection makes room for a newcomer."""
    site = monoceros(config=config("worker_connections = 20"))
    idle = [site.connect() for _ in range(20)]
    for connection in idle:
        assert connection.ask("GET", "/").keep
    for _ in range(40):
        assert site.ask("GET", "/").body == b"Hello, world!"
    assert board.slots(site.pid)[0].connections <= 20
    for connection in idle:
        connection.close()


def test_no_descriptor_left(monoceros):
    """With RLIMIT_NOFILE reached by idle clients: a newcomer is served, the worker does not spin, and all is well after."""
    prefix = ("prlimit", "--nofile=64:64")
    site = monoceros(config=config(), prefix=prefix)
    worker = site.wait_workers(1)[0]
    assert resource.prlimit(worker, resource.RLIMIT_NOFILE)[1] == 64
    idle = []
    for _ in range(100):
        connection = site.connect()
        connection.send(wire.request("GET", "/"))
        idle.append(connection)
    assert site.ask("GET", "/").body == b"Hello, world!"
    answered = 0
    for connection in idle:
        try:
            answered += connection.read().status == 200
        except wire.Closed:
            pass
        connection.close()
    assert answered >= 20
    assert [site.ask("GET", "/").status for _ in range(10)] == [200] * 10
    until(lambda: board.slots(site.pid)[0].connections == 0, "all connections to end")


@pytest.mark.python
def test_no_room_for_a_body(monoceros):
    """A temp file that cannot be written costs that request only."""
    limit = 2 << 20         # more than the shared memory of the server
    site = monoceros("basic:app", "--keep-alive", "5", expect_errors=True, prefix=("prlimit", f"--fsize={limit}:{limit}"))
    body = os.urandom(2 * limit)
    with site.connect() as connection:
        try:
            connection.send(wire.request("POST", "/digest", body=body))
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = connection.read("POST")
        assert answer.status in (500, 503, 507) and not answer.keep
    assert site.ask("POST", "/digest", body=b"small").status == 200
    assert site.ask("GET", "/").status == 200 and len(site.workers()) == 1


@pytest.mark.python
def test_half_closed_in_the_middle_of_a_body(monoceros):
    """A short body is never taken as whole."""
    site = monoceros("basic:app", "--keep-alive", "5")
    for head in (b"Content-Length: 10\r\n\r\n12345", b"Transfer-Encoding: chunked\r\n\r\na\r\n12345", b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"):
        with site.connect() as connection:
            connection.send(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + head).half_close()
            try:
                assert connection.read("POST").status >= 400
            except wire.Closed:
                pass
    assert site.ask("GET", "/").status == 200


@pytest.mark.python
def test_an_app_that_leaves_children(monoceros):
    """Processes that an app starts are no workers: their ends are not counted."""
    site = monoceros("children:app", "-w", "1", "--keep-alive", "5")
    worker = site.wait_workers(1)
    for _ in range(5):
        assert site.ask("GET", "/run").text == "ran"
        assert site.ask("GET", "/orphan").text == "left"
    assert site.workers() == worker
    until(lambda: not [pid for pid in procfs.children(site.pid) if procfs.zombie(pid)], "orphans to be reaped")


def test_a_client_of_urgent_data_and_odd_segments(monoceros):
    site = monoceros(config=config())
    with site.connect() as connection:
        connection.send(b"GET / HT")
        connection.sock.send(b"!", socket.MSG_OOB)
        connection.send(b"TP/1.1\r\nHost: a\r\n\r\n")
        assert connection.read().status in (200, 400)
    assert site.ask("GET", "/").status == 200


def quiet(pid, seconds=3):
    """True when some second passes in which the process uses less than a twentieth of it."""
    import time
    for _ in range(seconds * 4):
        before = procfs.cpu_seconds(pid)
        time.sleep(1)
        if procfs.cpu_seconds(pid) - before <= 0.05:
            return True
    return False


def test_no_spinning(monoceros):
    """Idle, with half-read and half-written clients, a worker and the arbiter sleep."""
    site = monoceros(config=config())
    worker = site.wait_workers(1)[0]
    with site.connect() as half, site.connect(rcvbuf=4096) as deaf, site.connect() as closing:
        half.send(b"GET / HTTP/1.1\r\nHost")
        pour(deaf, wire.request("GET", "/") * 500, 50 << 20)
        closing.send(b"bad\r\n\r\n" + b"x" * 100)
        closing.half_close()
        if not quiet(worker) or not quiet(site.pid):
            raise Late("the server spins")
