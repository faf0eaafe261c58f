"""request_timeout for loop apps, in every worker type: 504 or a cut, and the worker goes on."""

import os
from pathlib import Path

import pytest

from lib import server as under_test
from lib import procfs, wire
from lib.limits import until

OBJS = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent)

pytestmark = pytest.mark.skipif(not (OBJS / "tests/apps/native/flow.so").exists(), reason="no native apps are built")


def test_504_before_the_head(monoceros):
    site = monoceros(OBJS / "tests/apps/native/flow.so", "--request-timeout", "1", python=False, expect_errors=True)
    worker = site.wait_workers(1)
    with site.connect() as client:
        client.send(wire.request("GET", "/later?600000"))
        answer = client.read()
        assert answer.status == 504 and not answer.keep and client.ended()
    site.wait_log(r"\[CRITICAL\] REQUEST TIMEOUT \(pid:\d+\) GET /later\?600000 after [1-9]\.\d s")
    until(lambda: "clients=1 " in site.ask("GET", "/stats").text + " ", "the app to be told")
    assert site.workers() == worker


def test_a_cut_after_the_head(monoceros):
    site = monoceros(OBJS / "conf/examples/native/events.so", "--request-timeout", "1", python=False, expect_errors=True, env={"TICK_MS": "50"})
    worker = site.wait_workers(1)
    with site.connect() as client:
        client.send(wire.request("GET", "/"))
        with pytest.raises(wire.Closed):
            client.read()
    site.wait_log("REQUEST TIMEOUT")
    assert site.ask("POST", "/").status == 405
    assert site.workers() == worker


@pytest.mark.workers("gthread")
def test_a_thread_that_is_stuck(monoceros):
    site = monoceros(OBJS / "tests/apps/native/kit.so", "--threads", "2", "--request-timeout", "1", python=False, expect_errors=True)
    old = site.wait_workers(1)[0]
    with site.connect() as client:
        client.send(wire.request("GET", "/sleep?600000"))
        assert client.read().status == 504
    site.wait_log("REQUEST TIMEOUT")
    site.wait_log(r"kit\.so\(")                       # its stack
    until(lambda: not procfs.alive(old), "the old one to leave past the stuck thread")
    assert site.ask("GET", "/sleep?1").text == "rested"
    assert "1 thread is still inside the app: left behind" in site.stop()


@pytest.mark.workers("sync")
def test_a_worker_that_is_stuck(monoceros):
    site = monoceros(OBJS / "tests/apps/native/kit.so", "--request-timeout", "1", python=False, expect_errors=True)
    old = site.wait_workers(1)[0]
    with site.connect() as client:
        client.send(wire.request("GET", "/sleep?600000"))
        assert client.ended()
    site.wait_log(rf"Worker \(pid:{old}\) was killed by the arbiter \(SIGABRT\) after REQUEST TIMEOUT")
    site.wait_log(r"kit\.so\(")
    assert site.ask("GET", "/sleep?1").text == "rested"
