"""Apps in C: the blocking test app (kit.c), loop apps (flow.c), and apps that no server may run (wrong.c)."""

import os
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from lib import server as under_test
from lib.limits import until
from lib.wire import Closed

OBJS = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent)
APPS = OBJS / "tests/apps/native"

pytestmark = pytest.mark.skipif(not (APPS / "kit.so").exists(), reason="no native apps are built")
blocking = pytest.mark.workers("sync", "gthread", "greenlet")

SITE = """
pool "main" { worker_class = {worker}  workers = 1  keepalive = 5s  worker_connections = 2000 }
app "it" { type = native  module = "MODULE"  SYMBOL }
server "main" { listen = "{address}"  limit_request_body = 1g  route "all" { app = it } }
"""


def site(module, symbol=None):
    return SITE.replace("MODULE", str(module)).replace("SYMBOL", f'symbol = "{symbol}"' if symbol else "")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("kit") / "file"
    path.write_bytes(bytes(range(256)) * 4096)
    return path


@pytest.fixture(scope="module")
def kit(shared_monoceros, file):
    return shared_monoceros(config=site(APPS / "kit.so"), env={"KIT_FILE": str(file)}, python=False)


@pytest.fixture(scope="module")
def flow(shared_monoceros):
    return shared_monoceros(config=site(APPS / "flow.so"), python=False)


def chunked(*pieces):
    """Keywords of a request with a chunked body."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return {"headers": [("Transfer-Encoding", "chunked")], "body": body}


def stat(server, name):
    return int(re.search(rf"{name}=(\d+)", server.ask("GET", "/stats").text)[1])


# ---- blocking apps


@blocking
def test_facts(kit):
    answer = kit.ask("POST", "/a/../facts?x=%20", headers=[("X-One", "1"), ("X-One", "2")], body=b"body", host="Name.example:81").text
    facts = answer.splitlines()
    for line in ("method=POST", "target=/a/../facts?x=%20", "path=/facts", "query=x=%20", "scheme=http", "peer=127.0.0.1",
                 "x-one=1", "no-x-none=", "no-tls=", "X-One=1", "X-One=2", "version=11 length=4"):
        assert line in facts, answer
    assert "host=name.example" in answer.lower().splitlines()
    assert "no-query=" in kit.ask("GET", "/facts").text.splitlines()


@blocking
def test_echo(kit):
    body = os.urandom(300000)
    assert kit.ask("POST", "/echo", body=body).body == body
    assert kit.ask("POST", "/echo", **chunked(body[:1000], body[1000:])).body == body
    assert kit.ask("POST", "/echo", body=bytes((1 << 20) + 1)).status == 413
    assert kit.ask("GET", "/echo").body == b""


@blocking
def test_trailers(kit):
    answer = kit.ask("POST", "/count", body=b"x" * 4500)
    assert answer.framing == "chunked" and answer.body == b"x" * 4500 and answer.trailers == [("X-Pieces", "5")]
    assert answer.get("Trailer") is None        # not known when the head was sent
    empty = kit.ask("POST", "/count")
    assert empty.trailers == [("X-Pieces", "0")] and empty.get("Trailer") == "X-Pieces"
    old = kit.ask("POST", "/count", body=b"x" * 1500, version="HTTP/1.0")
    assert old.framing == "close" and old.body == b"x" * 1500


@blocking
def test_stream(kit):
    answer = kit.ask("GET", f"/stream?{10 << 20}")
    assert answer.framing == "chunked" and answer.body == b"s" * (10 << 20)
    assert kit.ask("HEAD", "/stream?100000").body == b""


@blocking
def test_sendfile(kit, file):
    whole = file.read_bytes()
    assert kit.ask("GET", "/file").body == whole + b"end"
    assert kit.ask("GET", f"/file?{len(whole) - 10}").body == whole[-10:] + b"end"
    assert kit.ask("GET", f"/file?{len(whole) + 1}").status == 416


@blocking
def test_early_hints(kit):
    answer = kit.ask("GET", "/hints")
    assert answer.text == "hinted" and [(one.status, one.get("Link")) for one in answer.interim] == [(103, "</style.css>; rel=preload; as=style")]
    assert kit.ask("GET", "/hints", version="HTTP/1.0").text == "hinted"


@blocking
def test_what_an_app_may_not_do(kit):
    assert kit.ask("GET", "/refusals").text == "ok"


@blocking
def test_cleanups_run(kit):
    counts = [int(kit.ask("GET", "/cleanups").text) for _ in range(3)]
    assert counts == [0, 1, 2]


@blocking
def test_statuses(kit):
    for status in (404, 503):
        assert kit.ask("GET", f"/status?{status}").status == status
    for wrong in (-1, -2, 200, 99):     # failures, and what is no status to return
        assert kit.ask("GET", f"/status?{wrong}").status == 500
    assert 'app "it" returned 200: neither' in kit.log()
    assert kit.ask("GET", "/forgets").status == 500
    with pytest.raises(Closed):
        kit.ask("GET", "/half")


@blocking
def test_waits(kit):
    assert kit.ask("GET", "/sleep?20").text == "rested"
    assert kit.ask("GET", "/waits").text == "ok"


@blocking
def test_upstream(kit):
    answers = [b"HTTP/1.0 200 OK\r\n\r\n" + b"u" * 100000, b"", None]    # None: says nothing
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve():
            held = []
            for answer in answers:
                peer, _ = listener.accept()
                held.append(peer)
                peer.recv(1000)
                if answer is not None:
                    peer.sendall(answer)
                    peer.shutdown(socket.SHUT_WR)
            asked.wait(30)
            for peer in held:
                peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert kit.ask("GET", f"/upstream?{port}").body == answers[0]
        assert kit.ask("GET", f"/upstream?{port}").body == b""
        assert kit.ask("GET", f"/upstream?{port}").status == 504
        asked.set()
        thread.join()
    assert kit.ask("GET", f"/upstream?{port}").status == 502


@blocking
def test_several_things_at_once(kit, worker_class):
    most = 10 if worker_class == "greenlet" else 1
    for _ in range(3):
        assert kit.ask("GET", "/together?10").text == f"sum=90 most={most} inside=0 refused=1"
    assert kit.ask("GET", "/together?1").text == "sum=0 most=1 inside=0 refused=1"
    assert kit.ask("GET", "/together?0").text == "sum=0 most=0 inside=0 refused=1"
    if worker_class == "greenlet":
        assert kit.ask("GET", "/together?-64").text == "sum=4032 most=64 inside=0 refused=1"


@pytest.mark.workers("gthread", "greenlet")
def test_waits_hold_up_nobody(monoceros):
    server = monoceros(APPS / "kit.so", "--threads", "4", python=False)
    with server.connect() as slow:
        slow.send(b"GET /sleep?3000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.ask("GET", "/waits").text == "ok"
        assert slow.still_open()
        assert slow.read().text == "rested"


# ---- loop apps


def test_bodies_flow_both_ways(flow):
    body = os.urandom(300000)
    pieces = [body[at:at + 10000] for at in range(0, len(body), 10000)]
    for part in (pieces, [body], []):
        with flow.connect() as client:      # reads while it sends: neither side keeps more than its buffers
            client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            sender = threading.Thread(target=client.send, args=(chunked(*part)["body"],))
            sender.start()
            assert client.read().body == b"".join(part)
            sender.join()
    assert flow.ask("POST", "/echo", body=body[:1000]).body == body[:1000]


def test_a_slow_reader_is_not_waited_for(flow):
    size = 30 << 20
    before = stat(flow, "rooms")
    with flow.connect(rcvbuf=65536) as slow:
        slow.send(f"GET /pour?{size} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert stat(flow, "clients") == 2
        assert slow.read().body == b"p" * size
    assert stat(flow, "rooms") > before


def test_back_pressure_reaches_the_client(flow):
    """An echo whose answer nobody reads takes no more than buffers hold: the client cannot go on sending."""
    with flow.connect(rcvbuf=65536) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 400000000\r\n\r\n")
        client.sock.settimeout(2)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 100 << 20:
                sent += client.sock.send(b"b" * 65536)
        assert sent < 100 << 20


def test_later(flow):
    with flow.connect() as connection:
        for _ in range(3):
            assert connection.ask("GET", "/later?20").text == "later"
            assert connection.ask("GET", "/post").text == "posted"
    assert flow.ask("GET", "/wait").text == "refused"
    assert flow.ask("GET", "/nothing").status == 404


def test_gone(flow):
    before = stat(flow, "gone")
    until(lambda: stat(flow, "clients") == 1, "the others to end")
    for reset in (False, True):
        with flow.connect() as client:
            client.send(b"GET /later?600000 HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: stat(flow, "clients") == 2, "the request to start")
            if reset:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        until(lambda: stat(flow, "clients") == 1, "the app to be told")
    assert stat(flow, "gone") >= before + 2


def test_gone_within_a_body_that_nobody_reads(flow):
    """The end of the connection is seen though what came before it is not taken: there is no room for it."""
    before = stat(flow, "gone")
    until(lambda: stat(flow, "clients") == 1, "the others to end")
    with flow.connect() as client:
        client.send(b"POST /later?600000 HTTP/1.1\r\nHost: x\r\nContent-Length: 400000000\r\n\r\n")
        client.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                client.sock.send(b"b" * 65536)
        assert stat(flow, "clients") == 2
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until(lambda: stat(flow, "clients") == 1, "the app to be told")
    assert stat(flow, "gone") == before + 1


def test_whole_bodies_for_loop_apps(monoceros):
    server = monoceros(config=site(APPS / "flow.so", "whole_app"), python=False)
    body = os.urandom(90000)
    with server.connect() as slow:
        slow.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + body[:50000])
        assert server.ask("POST", "/", body=body).body == body
        slow.send(body[50000:])
        assert slow.read().body == body
    assert server.ask("POST", "/", body=bytes(100001)).status == 413


def test_a_body_that_stalls_or_is_broken(monoceros):
    """What a loop app reads as it comes fails in its hands; the client is told why."""
    server = monoceros(config=site(APPS / "flow.so").replace("limit_request_body = 1g", "body_timeout = 1s"), python=False)
    for sent, status in ((b"5\r\n", 408), (b"x\r\n", 400)):
        with server.connect() as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + sent)
            assert client.read().status == status


# ---- the life of an app


def crash(monoceros, module):
    server = monoceros(APPS / module, "-w", "2", python=False, expect_errors=True)
    first = set(server.wait_workers(2))
    with pytest.raises(Closed):
        server.ask("GET", "/crash?now")
    server.wait_log(r"\[CRITICAL\] .*SIGSEGV while handling: GET /crash\?now")
    server.wait_log(r"was sent SIGSEGV! It was in: GET /crash\?now")
    until(lambda: len(set(server.workers()) - first) == 1 and len(server.workers()) == 2, "a new worker")
    assert len(first & set(server.workers())) == 1
    assert server.ask("GET", "/none").status == 404


@blocking
def test_a_crash_ends_one_worker(monoceros):
    crash(monoceros, "kit.so")


def test_a_crash_on_the_loop_ends_one_worker(monoceros):
    crash(monoceros, "flow.so")


@blocking
def test_init_and_exit(monoceros):
    server = monoceros("./kit.so", cwd=APPS, python=False)
    log = server.stop()
    assert re.search(r"kit: init of default on \d+\.\d+", log) and log.count("kit: exit of default") == 1


WRONG = [
    ("wrong.so", None, 4, r'app "it": \S+wrong.so does not export monoceros_app'),
    ("none.so", None, 4, r'app "it": cannot find \S+none.so: No such file or directory'),
    ("wrong.so", "nothing", 4, r"does not export nothing"),
    ("wrong.so", "other_abi", 3, r'app "it" was built for ABI 2, this server has ABI 1'),
    ("wrong.so", "other_size", 3, r"struct monoceros_app of 8 bytes, this server's has \d+"),
    ("wrong.so", "later_api", 3, r"API of \d+ bytes, this server's has \d+: it was built for a later"),
    ("wrong.so", "no_kind", 3, r"kind is 0, not MONOCEROS_BLOCKING or MONOCEROS_LOOP"),
    ("wrong.so", "no_request", 3, r"has no request\(\)"),
    ("text", None, 3, r"cannot load .*text: (invalid ELF header|file too short)"),
]


@pytest.mark.parametrize("module, symbol, code, message", WRONG)
def test_apps_that_cannot_be_loaded(monoceros, tmp_path, module, symbol, code, message):
    path = APPS / module
    if module == "text":
        path = tmp_path / "text"
        path.write_text("no library")
    server = monoceros(config=site(path, symbol), python=False, ready=False)
    assert server.wait() == code
    assert len(re.findall(message, server.log())) == 1, server.log()
    check = under_test.run("-c", server.directory / "test.conf", "--check-config")
    assert check.returncode == 1 and re.search(message, check.stderr)


def test_init_fails(monoceros):
    server = monoceros(config=site(APPS / "wrong.so", "no_init"), python=False, ready=False)
    assert server.wait() == 3
    assert 'app "it": init() failed with 7' in server.log()
    check = under_test.run("-c", server.directory / "test.conf", "--check-config")
    assert check.returncode == 0, check.stderr     # which initialises nothing


@pytest.mark.workers("epoll")
def test_epoll_runs_no_blocking_app(monoceros):
    server = monoceros(APPS / "kit.so", python=False, ready=False)
    assert server.wait() == 3
    assert "worker_class 'epoll' cannot run app \"default\" of type native, which may block; worker types that can: " in server.log()


@pytest.mark.parametrize("words, message", [
    ("type = native", 'app "x" needs module = "PATH.so"'),
    ('type = wsgi  module = "x:y"  symbol = "z"', "only apps of type native have one"),
])
def test_words_of_an_app(tmp_path, words, message):
    if "wsgi" in words and not under_test.has_python():
        pytest.skip("built without the python module")
    path = tmp_path / "test.conf"
    path.write_text('app "x" { %s }\nserver "s" { listen = "127.0.0.1:1"  route "r" { app = x } }\n' % words)
    done = under_test.run("-c", path, "--check-config")
    assert done.returncode == 1 and message in done.stderr, done.stderr


@pytest.mark.parametrize("compiler", [["cc", "-std=c99"], ["cc", "-std=c17"], ["c++", "-std=c++20", "-x", "c++"]], ids=" ".join)
def test_the_header_compiles_alone(tmp_path, compiler):
    (tmp_path / "app.c").write_text("#include <monoceros/app.h>\n")
    if subprocess.run(["sh", "-c", f"command -v {compiler[0]}"], capture_output=True, check=False).returncode:
        pytest.skip(f"no {compiler[0]}")
    done = subprocess.run([*compiler, "-D_DEFAULT_SOURCE", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{OBJS}/include", "-fsyntax-only",
                           tmp_path / "app.c"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
