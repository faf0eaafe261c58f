"""request_timeout: 504 or a cut, the stack in the log, a successor, and the stuck thread left behind. Without a loop beside it, the arbiter acts."""

import re

import pytest

from lib import procfs, wire
from lib.limits import until
from lib.server import APPS

pytestmark = pytest.mark.python

HERE = APPS / "workers"
SETTINGS = ("--request-timeout", "1", "--keep-alive", "5")


def start(monoceros, *arguments):
    return monoceros("threaded:app", *SETTINGS, *arguments, cwd=HERE, expect_errors=True)


@pytest.mark.workers("gthread")
def test_504_before_the_head(monoceros, tmp_path):
    site = start(monoceros, "--threads", "2", "--access-logfile", "-")
    old = int(site.ask("GET", "/").text)
    with site.connect() as stuck, site.connect() as kept:
        kept.ask("GET", "/")
        stuck.send(wire.request("GET", f"/hold?file={tmp_path}/never"))
        answer = stuck.read()
        assert answer.status == 504 and not answer.keep and stuck.ended()
        site.wait_log(rf"\[{old}\] \[CRITICAL\] REQUEST TIMEOUT \(pid:{old}\) GET /hold\?file=\S+ after [1-9]\.\d s")
        site.wait_log(r"Autorestarting worker after current request. \(a request is stuck\)")
        assert int(kept.ask("GET", "/").text) == old        # it serves on meanwhile, and what it holds to the end
    until(lambda: not procfs.alive(old), "the old one to leave past the stuck thread")
    assert int(site.ask("GET", "/").text) != old
    log = site.log()
    assert re.search(r'File ".*threaded.py", line \d+ in wait_for\n', log), "the stack"
    assert f"[{old}] [WARNING] 1 thread is still inside the app: left behind" in log
    assert '" 504 ' in log and "was killed by the arbiter" not in log


@pytest.mark.workers("gthread")
def test_a_cut_after_the_head(monoceros, tmp_path):
    site = start(monoceros, "--threads", "2", "--access-logfile", "-")
    with site.connect() as client:
        client.send(wire.request("GET", f"/begin?file={tmp_path}/never"))
        with pytest.raises(wire.Closed):
            client.read()
    site.wait_log("REQUEST TIMEOUT")
    site.wait_log('"GET /begin.*" 200 ')
    site.wait_log("left behind")
    assert site.ask("GET", "/").status == 200


@pytest.mark.workers("gthread")
def test_who_comes_back_late_harms_nobody(monoceros, tmp_path):
    """The borrower returns after its loan was taken away, while the worker still serves."""
    released = tmp_path / "released"
    site = start(monoceros, "--threads", "3", "--graceful-timeout", "20")
    old = int(site.ask("GET", "/").text)
    with site.connect() as first, site.connect() as second, site.connect() as kept:
        kept.ask("GET", "/")
        first.send(wire.request("GET", f"/hold?file={released}"))
        second.send(wire.request("GET", f"/begin?file={released}"))
        assert first.read().status == 504
        with pytest.raises(wire.Closed):
            second.read()
        released.touch()
        for _ in range(50):
            answer = kept.ask("GET", "/big?size=100000")
            assert len(answer.body) == 100000
            if not answer.keep:
                break
    until(lambda: not procfs.alive(old), "the old one to leave")
    assert "left behind" not in site.log()


@pytest.mark.workers("gthread")
def test_all_threads_stuck(monoceros, tmp_path):
    site = start(monoceros, "--threads", "2", "-w", "2")
    site.wait_workers(2)
    clients = [site.connect() for _ in range(4)]
    for client in clients:
        client.send(wire.request("GET", f"/hold?file={tmp_path}/never"))
    for client in clients:
        assert client.read().status == 504
        client.close()
    old = set(re.findall(r"holding (\d+)", site.log()))
    assert len(old) == 2
    until(lambda: not any(procfs.alive(int(pid)) for pid in old), "both to be replaced")
    assert site.ask("GET", "/").status == 200
    assert len(site.wait_workers(2)) == 2


@pytest.mark.workers("gthread")
def test_the_lock_is_kept(monoceros):
    """Nobody inside can do anything but answer: the arbiter's watch on silence ends it."""
    site = start(monoceros, "--threads", "2", "--timeout", "3")
    old = int(site.ask("GET", "/").text)
    with site.connect() as client:
        client.send(wire.request("GET", "/lock?seconds=100"))
        assert client.read().status == 504
    site.wait_log(rf"Worker \(pid:{old}\) was killed by the arbiter \(SIG(ABRT|KILL)\) after WORKER TIMEOUT")
    assert int(site.ask("GET", "/").text) != old


@pytest.mark.workers("sync")
def test_sync_is_ended_by_the_arbiter(monoceros, tmp_path):
    site = start(monoceros, "-w", "2")
    site.wait_workers(2)
    with site.connect() as client:
        client.send(wire.request("GET", f"/hold?file={tmp_path}/never"))
        old = int(site.wait_log(r"holding (\d+)")[0][1])
        assert int(site.ask("GET", "/").text) != old
        assert client.ended()
    log = site.wait_log(rf"Worker \(pid:{old}\) was killed by the arbiter \(SIGABRT\) after REQUEST TIMEOUT")[0].string
    assert re.search(rf"\[CRITICAL\] REQUEST TIMEOUT \(pid:{old}\) in GET /hold\?file=\S+ for [1-9] s", log)
    assert re.search(r'File ".*threaded.py", line \d+ in wait_for\n', log), "the stack"
    site.wait_workers(2)


@pytest.mark.workers("sync")
def test_sync_requests_within_the_limit(monoceros):
    site = start(monoceros)
    old = int(site.ask("GET", "/").text)
    for _ in range(4):
        assert int(site.ask("GET", "/wait?seconds=0.4").text) == old
    assert "TIMEOUT" not in site.log()
