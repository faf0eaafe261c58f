"""request_timeout where the request waits on a coroutine: 504 or a cut, the stack of the coroutine in the log, a successor."""

import re

import pytest

from lib import procfs, wire
from lib.compile import build
from lib.limits import until

pytestmark = pytest.mark.workers("greenlet")


@pytest.fixture(scope="module")
def meet(tmp_path_factory):
    return build(tmp_path_factory.mktemp("apps"), "meet")


@pytest.fixture
def serve(monoceros, meet):
    def start(*more):
        return monoceros(meet, "--request-timeout", "1", "--keep-alive", "20", *more, python=False, expect_errors=True)
    return start


@pytest.mark.parametrize("path", ["/for-ever", "/meet/recv/2", "/meet/poll/2", "/never-ends"])
def test_504_before_the_head(serve, path):
    site = serve("--access-logfile", "-")
    old = site.wait_workers(1)[0]
    with site.connect() as stuck, site.connect() as kept:
        assert kept.ask("GET", "/most").keep
        stuck.send(wire.request("GET", path))
        answer = stuck.read()
        assert answer.status == 504 and not answer.keep and stuck.ended()
        log = site.wait_log(rf"\[{old}\] \[CRITICAL\] REQUEST TIMEOUT \(pid:{old}\) GET {path} after [1-9]\.\d s")[0].string
        assert re.search(r"meet\.so\(", log[log.index("REQUEST TIMEOUT"):]), "the stack of the coroutine"
        site.wait_log(r"Autorestarting worker after current request. \(a request is stuck\)")
        site.wait_log(r"Booting worker", 2)
        assert kept.ask("GET", "/most").status == 200       # it serves on meanwhile, and what it holds to the end
    until(lambda: not procfs.alive(old), "the old one to leave")
    assert site.ask("GET", "/most").status == 200
    log = site.stop()
    assert f'"GET {path} HTTP/1.1" 504 ' in log and "was killed by the arbiter" not in log
    assert ("requests do not end although their waits fail: left behind" in log) == (path == "/never-ends")


def test_a_cut_after_the_head(serve):
    site = serve()
    with site.connect() as client:
        client.send(wire.request("GET", "/begin"))
        assert client.read_head().status == 200
        with pytest.raises(wire.Closed):
            while client.fill():
                pass
    log = site.wait_log(r"REQUEST TIMEOUT \(pid:\d+\) GET /begin")[0].string
    assert re.search(r"meet\.so\(", log[log.index("REQUEST TIMEOUT"):])
    assert site.ask("GET", "/most").status == 200


def test_who_comes_back_late_harms_nobody(serve):
    """The app returns after its loan was taken away, in a worker that still serves."""
    site = serve("--graceful-timeout", "20")
    old = site.wait_workers(1)[0]
    with site.connect() as late, site.connect() as kept:
        assert kept.ask("GET", "/most").keep
        late.send(wire.request("GET", "/meet/recv/2"))
        assert late.read().status == 504
        assert kept.ask("GET", "/meet/recv/2").text == "met\n"       # which lets the other one go
    until(lambda: not procfs.alive(old), "the old one to leave")
    assert "left behind" not in site.stop()
