"""Blocking calls of native apps under the worker types that run several requests at once: one unchanged app (tests/apps/greenlet/meet.c)."""

import pytest

from lib import server as under_test
from lib.compile import build

CALLS = ["recv", "recvfrom", "recvmsg", "read", "readv", "poll", "ppoll", "select", "pselect", "epoll_wait", "read-pipe", "readv-pipe", "poll-pipe",
         "send", "sendto", "sendmsg", "write", "writev", "write-pipe", "writev-pipe", "usleep", "nanosleep", "clock_nanosleep", "sleep",
         "getaddrinfo", "connect"]
several = pytest.mark.workers("greenlet", "gthread")
greenlet = pytest.mark.workers("greenlet")


@pytest.fixture(scope="module")
def meet(tmp_path_factory):
    return build(tmp_path_factory.mktemp("apps"), "meet")


@pytest.fixture
def serve(monoceros, worker_class, meet):
    def start(*more, threads=8):
        return monoceros(meet, "-k", worker_class, "--threads", threads if worker_class == "gthread" else 1, *more, python=False)
    return start


def at_once(server, path, count):
    """Sends `count` requests before it reads the first answer; the bodies."""
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answers = [client.read() for client in clients]
    assert {answer.status for answer in answers} == {200}
    return {answer.text.strip() for answer in answers}


@several
def test_requests_meet_inside_blocking_calls(serve):
    server = serve()
    for call in CALLS:
        assert at_once(server, f"/meet/{call}/6", 6) == {"met"}, call


@several
def test_blocking_descriptors_keep_their_contract(serve):
    server = serve()
    assert at_once(server, "/contract", 1) == {"kept"}
    assert at_once(server, "/contract", 8) == {"kept"}


@greenlet
@pytest.mark.parametrize("call", ["recv", "usleep", "poll"])
def test_a_hundred_requests_wait_in_one_worker(serve, call):
    server = serve()
    assert at_once(server, f"/meet/{call}/100", 100) == {"met"}
    assert int(server.ask("GET", "/most").text) >= 100


@greenlet
def test_greenlet_libc_off_leaves_calls_alone(serve):
    server = serve("--no-greenlet-libc")
    assert at_once(server, "/contract", 4) == {"kept"}
    assert server.ask("GET", "/most").text == "1\n"


@greenlet
def test_a_small_stack_is_enough(serve):
    assert at_once(serve("--greenlet-stack", "64k"), "/meet/recv/20", 20) == {"met"}


@greenlet
def test_no_more_requests_at_once_than_worker_connections(serve):
    server = serve("--worker-connections", "4")
    assert at_once(server, "/meet/usleep/4", 4) == {"met"}
    at_once(server, "/contract", 12)
    assert int(server.ask("GET", "/most").text) <= 4


@greenlet
def test_a_stop_lets_waits_fail(serve):
    server = serve("--graceful-timeout", "1")
    clients = [server.connect() for _ in range(3)]
    for client in clients:
        client.send(b"GET /for-ever HTTP/1.1\r\nHost: x\r\n\r\n")
    assert at_once(server, "/meet/usleep/2", 2) == {"met"}      # so the others are inside by now
    server.signal(15)
    assert [client.read().text for client in clients] == ["cut\n"] * 3
    server.stop()


@greenlet
def test_a_stop_leaves_behind_who_waits_on(serve):
    server = serve("--graceful-timeout", "1")
    client = server.connect()
    client.send(b"GET /never-ends HTTP/1.1\r\nHost: x\r\n\r\n")
    assert at_once(server, "/meet/usleep/2", 2) == {"met"}
    server.signal(15)
    server.wait()
    assert "1 requests do not end although their waits fail: left behind" in server.stop()


@several
@pytest.mark.parametrize("call", ["poll", "recv"])
def test_who_never_waits_lets_others_in(serve, call):
    server = serve()
    with server.connect() as busy:
        busy.send(f"GET /busy/{call} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert busy.still_open()
        assert server.ask("GET", "/enough").text == "told\n"
        assert busy.read().text == "done\n"


debug = pytest.mark.skipif("--with-debug" not in under_test.modules(), reason="only a debug build watches locks")


@greenlet
@debug
@pytest.mark.parametrize("kind", ["normal", "recursive"])
def test_a_mutex_held_across_a_wait_is_told(monoceros, meet, kind):
    server = monoceros(meet, "-k", "greenlet", python=False, expect_errors=True)
    assert at_once(server, f"/mutex/{kind}", 3) == {"0 0"}     # one at a time all the same
    server.wait_log(rf"a mutex \(0x[0-9a-f]+\) is held across a wait by GET /mutex/{kind} and wanted by GET /mutex/{kind}: a deadlock")


@greenlet
@debug
def test_a_mutex_that_nobody_unlocks_is_told(monoceros, meet):
    server = monoceros(meet, "-k", "greenlet", python=False)
    assert at_once(server, "/leaves-locked", 1) == {"0"}
    server.wait_log("GET /leaves-locked has ended with a mutex locked")


@greenlet
def test_python_is_refused(worker_class):
    if not under_test.has_python():
        pytest.skip("built without the python module")
    done = under_test.run("-k", worker_class, "--check-config", "basic:app")
    assert done.returncode == 1
    assert "worker_class 'greenlet' cannot run app" in done.stderr and "Python cannot run on its coroutines" in done.stderr
