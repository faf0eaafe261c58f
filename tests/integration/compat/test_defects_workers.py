"""What goes wrong in Gunicorn 26.1 between its workers and their clients, in the same run here: docs/gunicorn-defects.md has the table.

Command lines, files and signals are Gunicorn's, so that MONOCEROS=.../gunicorn MONOCEROS_WITH_PYTHON=yes runs them there.
"""

import shutil
import signal
import ssl

import pytest

from lib import h2client, procfs, wire
from lib.fixtures import WORKERS
from lib.limits import until
from lib.pki import Pki
from lib.server import APPS

pytestmark = [pytest.mark.python, pytest.mark.workers("sync", "gthread")]

gthread = pytest.mark.workers("gthread")

SILENT = {"nothing": b"", "half a header": b"GET / HTTP/1.1\r\nHost: loc",
          "half a body": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"}


@pytest.fixture
def crowd():
    """crowd(site, count, bytes): so many clients that send this and then nothing more."""
    connections = []

    def meet(site, count, data):
        for _ in range(count):
            connections.append(site.connect())
            connections[-1].send(data)
    yield meet
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("sent", SILENT)
def test_silent_clients_hold_nobody(monoceros, crowd, worker_class, sent):
    """20 of them, a worker of two threads, or of none: who asks is answered, and no worker is killed."""
    arguments = ["--threads", "2"] if worker_class == "gthread" else []
    site = monoceros("basic:app", "-w", "1", "-t", "3", *arguments)
    worker = site.wait_workers(1)
    crowd(site, 20, SILENT[sent])
    for _ in range(20):
        assert site.ask("GET", "/").status == 200
    assert site.workers() == worker and "WORKER TIMEOUT" not in site.log()


@gthread
def test_silent_clients_are_sent_away(monoceros):
    """Each of the three has its time limit."""
    site = monoceros("basic:app", "--header-timeout", "1", "--body-timeout", "1")
    clients = {}
    for sent, data in SILENT.items():
        clients[sent] = site.connect()
        clients[sent].send(data)
    for sent, client in clients.items():
        with client:
            assert sent == "nothing" or client.read().status == 408
            assert client.ended()


@gthread
def test_term_and_an_idle_connection(monoceros):
    """It is closed at a safe moment; nobody waits for `keepalive` or `graceful_timeout`."""
    site = monoceros("basic:app", "--keep-alive", "100", "--graceful-timeout", "100")
    with site.connect() as client:
        assert client.ask("GET", "/").keep
        site.signal(signal.SIGTERM)
        assert client.ended()
        assert site.wait() == 0


@gthread
def test_replies_while_it_stops_say_close(monoceros):
    site = monoceros("basic:app", "--keep-alive", "100", "--threads", "4")
    with site.connect() as client:
        assert client.ask("GET", "/").keep
        client.send(wire.request("GET", "/slow?seconds=2"))
        with site.connect() as other:
            other.send(wire.request("GET", "/slow?seconds=1"))
            assert site.ask("GET", "/").status == 200
            site.signal(signal.SIGTERM)
            assert [(last.text, last.keep) for last in (client.read(), other.read())] == [("at last", False)] * 2
        assert client.ended()


def test_sessions_are_resumed(monoceros, tmp_path):
    """In another worker, too."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl command")
    pki = Pki(tmp_path)
    pki.make("server")
    site = monoceros("basic:app", "-w", "2", "--certfile", pki["server.pem"], "--keyfile", pki["server.key"])
    context = ssl.create_default_context(cafile=pki["ca.pem"])

    def meet(session=None):
        with site.connect() as client:
            tls = context.wrap_socket(client.sock, server_hostname="localhost", session=session)
            tls.sendall(wire.request("GET", "/", close=True))
            assert tls.recv(4096).startswith(b"HTTP/1.1 200 ")
            client.sock = tls
            return tls.session_reused, tls.session
    first, session = meet()
    assert not first
    assert [meet(session)[0] for _ in range(6)] == [True] * 6


BESIDE = """
import threading
gate, inside = threading.Condition(), 0
def app(environ, start_response):
    global inside
    with gate:
        inside += 1
        gate.notify_all()
        met = gate.wait_for(lambda: inside == 4, 3)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"met" if met else b"alone"]
"""


@gthread
def test_streams_of_a_connection_run_beside_each_other(monoceros, tmp_path):
    """HTTP/2: four requests that wait for each other, on one connection of a worker with four threads."""
    (tmp_path / "beside.py").write_text(BESIDE)
    pki = Pki(tmp_path)
    pki.make("server")
    site = monoceros("beside:app", "-w", "1", "--threads", "4", "--http-protocols", "h2,h1", "--certfile", pki["server.pem"], "--keyfile", pki["server.key"],
                     cwd=tmp_path)
    with h2client.H2Client(site.address, ssl.create_default_context(cafile=pki["ca.pem"])) as client:
        streams = [client.ask("/") for _ in range(4)]
        client.finish(*streams)
        assert [client.bodies[stream] for stream in streams] == [b"met"] * 4
