"""gevent and eventlet: WebSockets by `monoceros.socket` in the environ."""

import importlib.util
import signal
import socket
import ssl
import time

import pytest

from lib import server, socketio
from lib.limits import until
from lib.server import APPS
from lib.services import certificate
from lib.websocket import CLOSE, TEXT, WebSocket, close, frame, upgrade

HERE = APPS / "green"

pytestmark = [pytest.mark.python, pytest.mark.workers("greenlet")]


@pytest.fixture(scope="module")
def site(shared_monoceros, kind):
    return shared_monoceros("sockets:app", "-k", kind, "--access-logfile", "-", "--access-logformat", "%(m)s %(U)s %(s)s %(b)s", "--request-timeout", "3",
                            "--send-timeout", "60", cwd=HERE, expect_errors=True)


def needs(name):
    if not importlib.util.find_spec(name):
        pytest.skip(f"{name} is not installed")


def test_bytes_go_both_ways(site):
    with WebSocket(site.address, "/raw") as client:
        for size in (1, 10, 70_000, 1_000_000):
            client.send(b"x" * size)
            assert client.exactly(size) == b"x" * size
        client.half_close()
        assert client.ended()
    site.wait_log("the client has closed")
    site.wait_log(r"GET /raw 101 \d{7}\n")


def test_what_comes_right_behind_the_request_is_not_lost(site):
    with site.connect() as client:
        client.send(upgrade("/raw") + b"early")
        assert client.read_head().status == 101
        assert client.exactly(5) == b"early"


def test_one_greenlet_reads_and_one_writes(site):
    with WebSocket(site.address, "/push") as client:
        client.send(b"letters")
        seen = b""
        while b"L" not in seen or seen.count(b".") < 5 or b"S" not in seen:
            seen += client.exactly(1)
        assert seen.replace(b".", b"") == b"LETTERS"
    site.wait_log("writer ended by OSError|writer ended by BrokenPipeError|writer ended by ConnectionResetError")


def test_a_slow_client_holds_up_its_own_greenlet_only(site):
    with WebSocket(site.address, "/flood", rcvbuf=65536) as client:
        assert site.ask("GET", "/plain").status == 426
        assert "flooded" not in site.log()
        assert client.exactly(200 * 65536) == b"f" * (200 * 65536)
        assert client.ended()


def test_a_client_that_vanishes(site):
    client = WebSocket(site.address, "/flood", rcvbuf=65536)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    site.wait_log("BrokenPipeError|ConnectionResetError")
    assert site.ask("GET", "/plain").status == 426


def test_no_request_timeout(site, kind):
    """It is no request any more."""
    if kind != "gevent":
        pytest.skip("it takes its time, and is the same code")
    with WebSocket(site.address, "/push") as client:
        end = time.monotonic() + 7      # the arbiter looks at it 2 s after the worker
        while time.monotonic() < end:
            client.exactly(1)
        assert "REQUEST TIMEOUT" not in site.log()


def test_a_socket_s_manners(site):
    with WebSocket(site.address, "/patience") as client:
        while client.fill():
            pass
        assert client.buffer == b"None,late,would block,True,True,True"
        client.send(b"rest")
        client.half_close()
        site.wait_log(r"rest: b'rest' b''\nclosed: 9\n")


def test_too_late(site):
    with site.connect() as client:
        client.send(upgrade("/late"))
        assert client.read().text == "begun the response has begun, or the client has left"


def test_an_app_that_fails_or_stops(site):
    with WebSocket(site.address, "/stop") as client:
        assert client.exactly(4) == b"done" and client.ended()
    before = len(site.log())
    with WebSocket(site.address, "/fail") as client:
        assert client.ended()
    site.wait_log("ValueError: failed after the handshake")
    assert "StopIteration" not in site.log()[before:]


def test_an_app_that_answers_twice(site):
    before = len(site.log())
    with WebSocket(site.address, "/answers_twice") as client:
        assert client.ended() and client.buffer == b""
    site.wait_log("answered twice")
    assert site.ask("GET", "/plain").status == 426
    assert "Traceback" not in site.log()[before:]


def test_an_app_that_answers_as_usual(site):
    with site.connect() as client:
        client.send(upgrade("/plain"))
        answer = client.read()
        assert (answer.status, answer.text) == (426, "refused, True") and answer.keep
        assert client.ask("GET", "/plain").text == "refused, False"


@pytest.mark.parametrize("path", ["/simple", "/eventlets"])
def test_libraries(site, kind, path):
    needs("simple_websocket")
    if path == "/eventlets" and kind != "eventlet":
        pytest.skip("eventlet's own")
    with WebSocket(site.address, path) as client:
        for text in (b"hello", b"x" * 100_000, b"bye"):
            client.send(frame(TEXT, text))
            until(lambda: (got := client.frame())[0] == TEXT and got[1] == text, "the echo")
        client.send(close(1000))
        until(lambda: (got := client.frame()) is None or got[0] == CLOSE, "its close")
        assert client.ended()


def test_flask_sock(monoceros, kind):
    needs("flask_sock")
    site = monoceros("sockets:make_flask()", "-k", kind, cwd=HERE)
    assert site.ask("GET", "/").text == "index"
    with WebSocket(site.address, "/echo") as client:
        client.send(frame(TEXT, b"hello"))
        assert client.frame() == (TEXT, b"hello")
        client.send(close(1000))
        assert client.frame()[0] == CLOSE and client.ended()
    assert site.ask("GET", "/").text == "index"


def test_flask_socketio(monoceros, kind):
    needs("flask_socketio")
    if importlib.util.find_spec("geventwebsocket"):
        pytest.skip("Flask-SocketIO would want the server of gevent-websocket")
    site = monoceros("sockets:make_socketio()", "-k", kind, cwd=HERE, env={"HUB": kind})
    socketio.talk(site)
    socketio.upgrade(site)


def test_the_worker_of_gevent_websocket_is_told_apart():
    done = server.run("-k", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker", "--check-config", "sockets:app", cwd=HERE)
    assert done.returncode == 1 and "say gevent" in done.stderr


def test_over_tls(monoceros, kind, tmp_path):
    cert, key = certificate(tmp_path)
    site = monoceros("sockets:app", "-k", kind, "--certfile", cert, "--keyfile", key, cwd=HERE)
    context = ssl.create_default_context(cafile=str(cert))
    with context.wrap_socket(socket.create_connection(site.address, timeout=20), server_hostname="localhost") as sock, sock.makefile("rb") as file:
        sock.sendall(upgrade("/raw"))
        while (line := file.readline()) != b"\r\n":
            assert line
        for size in (5, 100_000):
            sock.sendall(b"y" * size)
            assert file.read(size) == b"y" * size


def test_a_stop_cuts_them(monoceros, kind):
    site = monoceros("sockets:app", "-k", kind, "--graceful-timeout", "1", cwd=HERE)
    with WebSocket(site.address, "/raw") as client, WebSocket(site.address, "/push") as other:
        other.exactly(1)
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert client.ended()


def test_in_a_pool_behind_another(monoceros, kind):
    site = monoceros(python=True, config=f"""
        chdir = "{HERE}"
        pool "front" {{ worker_class = epoll }}
        pool "green" {{ worker_class = {kind} }}
        app "sockets" {{ module = "sockets:app" pool = green }}
        server "s" {{ listen = {{"{{address}}"}} pool = front route "all" {{ app = sockets }} }}
    """)
    assert site.ask("GET", "/plain").text == "refused, False"
    with WebSocket(site.address, "/raw") as client:
        client.send(b"through and back")
        assert client.exactly(16) == b"through and back"


def test_many(monoceros, kind):
    site = monoceros("sockets:app", "-k", kind, "--worker-connections", "600", cwd=HERE)
    clients = [WebSocket(site.address, "/raw") for _ in range(500)]
    for n, client in enumerate(clients):
        client.send(b"%4d" % n)
    assert [int(client.exactly(4)) for client in clients] == list(range(500))
    for client in clients:
        client.close()
    site.wait_log("the client has closed", 500)
