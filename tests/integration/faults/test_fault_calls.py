"""System calls that fail while a server runs, and at its start. tests/soak has the long versions."""

import errno

import pytest

from lib import failing, wire
from lib.limits import until

NATIVE = """
accesslog = "-"
pool "web" { worker_class = {worker}  workers = 1  keepalive = 5s }
server "main" { listen = "{address}"  route "all" { respond { body = "here" } } }
"""


@pytest.mark.parametrize("error", ["ENFILE", "EPROTO", "EPERM"])
def test_accept_fails_for_a_while(monoceros, tmp_path, error):
    gate = tmp_path / "gate"
    site = monoceros(config=NATIVE, env=failing.environment(tmp_path, "accept4", getattr(errno, error), gate=gate))
    workers = site.wait_workers(1)
    gate.touch()
    with site.connect() as client:
        client.send(wire.request("GET", "/"))
        if error != "EPERM":                            # a firewall's word: nobody's fault
            site.wait_log(r"\[ERROR\] (accept|cannot accept at .*): ")
        gate.unlink()
        assert client.read().status == 200
    assert site.workers() == workers


@pytest.mark.parametrize("call, error", [("malloc", errno.ENOMEM), ("epoll_ctl", errno.ENOMEM), ("recv", errno.ECONNRESET),
                                         ("send", errno.EPIPE)])
def test_each_third_call_fails(monoceros, tmp_path, call, error):
    """Clients may be cut off; the worker stays, and is as before when it is over."""
    gate = tmp_path / "gate"
    site = monoceros(config=NATIVE, env=failing.environment(tmp_path, call, error, each=3, gate=gate))
    workers = site.wait_workers(1)
    gate.touch()
    for number in range(60):
        with site.connect(timeout=0.5) as client:
            try:
                client.send(wire.request("POST", "/", body=b"x" * number * 3000) + wire.request("GET", "/") * (number % 5))
                client.read()
            except (wire.Closed, OSError):
                pass
    gate.unlink()
    until(lambda: served(site), "an answer")
    assert site.workers() == workers


def served(site):
    try:
        return site.ask("GET", "/").status == 200
    except (wire.Closed, OSError):
        return False


def test_a_broken_channel_does_not_stop_the_others(monoceros, tmp_path):
    """The worker cannot hear its arbiter, which is alive: it leaves, and the listener stays open for its successor."""
    site = monoceros(config=NATIVE, env=failing.environment(tmp_path, "recvmsg", errno.ENOBUFS, nth=2))
    for _ in range(3):
        site.signal(10)                                 # USR1: messages
        until(lambda: served(site), "an answer")


@pytest.mark.workers("sync")
@pytest.mark.parametrize("call, error", [("malloc", errno.ENOMEM), ("epoll_ctl", errno.ENOMEM), ("mmap", errno.ENOMEM),
                                         ("socketpair", errno.EMFILE), ("eventfd", errno.EMFILE), ("fork", errno.EAGAIN)])
def test_a_start_that_fails_says_why(monoceros, tmp_path, call, error):
    """It serves all the same, or ends with an exit code and a line about it: never by a signal, never in silence."""
    numbers = range(1, 500, 83) if call == "malloc" else range(1, 5)
    for number in numbers:
        site = monoceros(config=NATIVE, ready=False, expect_errors=True, env=failing.environment(tmp_path, call, error, nth=number))
        until(lambda: site.process.poll() is not None or listening(site), "a start or an end")
        if site.alive():
            site.signal(15)
        assert site.wait() in (0, 1, 2, 3), (number, site.log())
        assert site.log().strip(), f"{call} {number}: nothing said"
        site.stop()


def listening(site):
    try:
        wire.open_socket(site.address).close()
        return True
    except OSError:
        return False
