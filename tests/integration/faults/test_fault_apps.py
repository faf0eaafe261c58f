"""Apps that break what their worker lives on: it is replaced, and the log says why."""

import pytest

from lib import wire
from lib.limits import until
from lib.server import APPS

HERE = APPS / "faults"

pytestmark = pytest.mark.python


def ask(site, target):
    """A request that may or may not be answered."""
    with site.connect() as client:
        client.send(wire.request("GET", target))
        try:
            client.read()
        except wire.Closed:
            pass


def test_a_worker_without_its_loop_ends(monoceros):
    """It would turn for ever, with a heartbeat and deaf."""
    site = monoceros("wild:app", cwd=HERE, expect_errors=True)
    victim = site.wait_workers(1)[0]
    ask(site, "/close-loop")
    site.wait_log(rf"\[{victim}\] \[CRITICAL\] Event back end \w+ failed: Bad file descriptor")
    until(lambda: site.workers() not in ([], [victim]), "the successor")
    assert site.ask("GET", "/").status == 200


def test_a_worker_without_its_listener_leaves(monoceros):
    site = monoceros("wild:app", cwd=HERE, expect_errors=True)
    victim = site.wait_workers(1)[0]
    ask(site, "/close-listener")
    with site.connect() as client:                      # wakes it, in case nothing else does
        site.wait_log(rf"\[{victim}\] \[CRITICAL\] The listener of .* is lost \(.*\): this worker leaves")
        client.send(wire.request("GET", "/"))
        assert client.read().status == 200
    assert victim not in site.workers()


def test_a_crash_in_the_first_request_is_no_failed_start(monoceros):
    """Else one client who knows such a request could slow down all births."""
    site = monoceros("wild:app", "-w", "2", cwd=HERE, expect_errors=True)
    site.wait_workers(2)
    for _ in range(6):
        ask(site, "/crash")
    site.wait_log(r"was sent SIGSEGV! It was in: GET /crash", 6)
    site.wait_workers(2)
    assert "fail to start" not in site.log()


def test_a_call_that_keeps_the_gil(monoceros):
    site = monoceros("wild:app", "-w", "2", "--timeout", "1", cwd=HERE, expect_errors=True)
    site.wait_workers(2)
    with site.connect() as client:
        client.send(wire.request("GET", "/hang?x"))
        assert client.ended()
    site.wait_log(r"WORKER TIMEOUT \(pid:\d+\) in GET /hang\?x for")
    site.wait_log(r"was killed by the arbiter \(SIG\w+\) after WORKER TIMEOUT")
    assert "wild.py" in site.log()                      # the traceback
    assert site.ask("GET", "/").status == 200
