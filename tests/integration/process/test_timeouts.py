"""Silent workers: aborted, then killed, and the log names the true reason."""

import os
import signal
import time

import pytest

from lib import procfs, wire
from lib.limits import until
from lib.server import APPS

HERE = APPS / "process"


@pytest.mark.workers("sync")
def test_a_stuck_request(monoceros):
    site = monoceros("unruly:app", "-w", "2", "--timeout", "2", cwd=HERE, expect_errors=True)
    site.wait_workers(2)
    with site.connect() as client:
        client.send(wire.request("GET", "/stuck?for=ever"))
        victim = int(site.wait_log(r"stuck in (\d+)")[0][1])
        assert site.ask("GET", "/").status == 200       # the other one
        assert client.ended()
    log = site.wait_log(rf"Worker \(pid:{victim}\) was killed by the arbiter \(SIGABRT\) after WORKER TIMEOUT")[0].string
    assert f"[CRITICAL] WORKER TIMEOUT (pid:{victim}) in GET /stuck?for=ever for " in log
    assert "unruly.py" in log and " in stuck" in log    # the Python traceback
    assert "memory" not in log
    site.wait_workers(2)


def test_a_stopped_worker_is_killed(monoceros):
    site = monoceros("basic:app", "--timeout", "1", expect_errors=True)
    victim = site.wait_workers(1)[0]
    os.kill(victim, signal.SIGSTOP)
    site.wait_log(rf"Worker \(pid:{victim}\) was killed by the arbiter \(SIGKILL\) after WORKER TIMEOUT")
    until(lambda: site.ask("GET", "/").status == 200, "the successor")


def test_an_import_that_hangs(monoceros, tmp_path):
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(1000)\n", encoding="utf-8")
    site = monoceros("hangs:app", "--timeout", "1", cwd=tmp_path, expect_errors=True, ready=False)
    log = site.wait_log("WORKER TIMEOUT", 3)[0].string
    assert "still booting" in log and "hangs.py" in log
    assert site.alive()


def test_no_timeout(monoceros):
    site = monoceros("basic:app", "--timeout", "0")
    worker = site.wait_workers(1)[0]
    assert site.ask("GET", "/slow?seconds=3").text == "at last"
    assert site.workers() == [worker]


def test_a_server_that_stood_still_kills_nobody(monoceros):
    """Ctrl-Z and fg: all workers were silent, none of them is to blame."""
    site = monoceros("basic:app", "-w", "2", "--timeout", "2")
    workers = site.wait_workers(2)
    everyone = [site.pid, *procfs.children(site.pid)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: procfs.stat(site.pid)[0] == b"T", "the server to stop")
    time.sleep(4)                                       # longer than the timeout
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)
    assert site.ask("GET", "/").status == 200
    site.signal(signal.SIGTTIN)                         # the arbiter has looked at everybody since
    site.wait_workers(3)
    assert set(workers) <= set(site.workers()) and "TIMEOUT" not in site.log()
