"""Workers that are replaced: max_requests, max_lifetime, max_rss. The successor comes first, one at a time, and nobody loses a request."""

import re
import threading
import time
from pathlib import Path

import pytest

from lib import board, procfs, wire
from lib.limits import until
from lib.server import APPS

HERE = APPS / "workers"
AUTORESTART = r"Autorestarting worker after current request. \({}\)"


class Watch:
    """Looks at the scoreboard all the time: how few workers were ready, how many successors were on their way at once."""

    def __init__(self, site):
        self.pid = site.pid
        self.fewest, self.most, self.looks, self.pids = 1 << 30, 0, 0, set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.ending.set()
        self.thread.join()

    def run(self):
        while not self.ending.is_set():
            slots = board.slots(self.pid)
            ready = [slot for slot in slots if slot.state in ("idle", "busy")]
            self.fewest = min(self.fewest, len(ready))
            self.most = max(self.most, len([slot for slot in slots if slot.state == "starting"]))
            self.pids |= {slot.pid for slot in ready}
            self.looks += 1
            time.sleep(0.002)


def fixed(monoceros, settings):
    return monoceros(config=f'{settings}\nserver "a" {{ listen = "{{address}}" route "all" {{ respond {{ body = "here" }} }} }}')


@pytest.mark.parametrize("keep", [True, False])
def test_max_requests_under_load(monoceros, load, keep):
    site = fixed(monoceros, "workers = 3\nmax_requests = 50\nmax_requests_jitter = 20\nkeepalive = 5")
    site.wait_workers(3)
    until(lambda: sum(slot.state == "idle" for slot in board.slots(site.pid)) == 3, "three ready workers")
    with Watch(site) as watch:
        clients = load(site.address, clients=8, keep=keep)
        until(lambda: len(watch.pids) >= 9, "two generations and more", 60)
        clients.stop()
    assert clients.lost == clients.wrong == clients.stale == clients.refused == 0, (clients.counts, clients.notes)
    assert watch.fewest >= 3 and watch.most <= 1, (watch.fewest, watch.most, watch.looks)
    assert len(re.findall(AUTORESTART.format("max_requests"), site.log())) >= 6
    site.wait_workers(3)


@pytest.mark.python
def test_max_requests_of_an_app(monoceros, load):
    site = monoceros("threaded:app", "-w", "2", "--threads", "2", "--max-requests", "50", "--keep-alive", "2", cwd=HERE)
    site.wait_workers(2)
    until(lambda: sum(slot.state == "idle" for slot in board.slots(site.pid)) == 2, "two ready workers")
    with Watch(site) as watch:
        clients = load(site.address, clients=6, keep=True)
        until(lambda: len(watch.pids) >= 6, "two generations and more", 60)
        clients.stop()
    assert clients.lost == clients.wrong == clients.stale == clients.refused == 0, (clients.counts, clients.notes)
    assert watch.fewest >= 2 and watch.most <= 1, (watch.fewest, watch.most, watch.looks)


def test_max_lifetime(monoceros):
    site = fixed(monoceros, "workers = 2\nmax_lifetime = 1")
    first = set(site.wait_workers(2))
    site.wait_log(AUTORESTART.format("max_lifetime"), 4)
    until(lambda: not first & set(site.workers()), "both to be replaced")
    assert site.ask("GET", "/").text == "here"


@pytest.mark.python
def test_max_rss(monoceros):
    site = monoceros("threaded:app", "--max-rss", "150m", cwd=HERE)
    pid = int(site.ask("GET", "/").text)
    assert site.ask("GET", f"/grow?size={100 << 20}").status == 200
    assert site.ask("GET", f"/grow?size={100 << 20}").status == 200
    site.wait_log(AUTORESTART.format("max_rss"))
    until(lambda: not procfs.alive(pid), "the large one to leave")
    assert int(site.ask("GET", "/").text) != pid
    assert len(site.wait_workers(1)) == 1


def test_a_kept_connection_is_told(monoceros):
    """An idle connection of a worker that leaves keeps its time; its next request is the last one."""
    site = fixed(monoceros, "keepalive = 20\nmax_requests = 5")
    old = site.wait_workers(1)[0]
    with site.connect() as kept:
        for _ in range(5):
            assert kept.ask("GET", "/").keep
        site.wait_log("Autorestarting")
        until(lambda: [slot for slot in board.slots(site.pid) if slot.pid == old and slot.state == "draining"], "the successor to be ready")
        assert kept.still_open()
        last = kept.ask("GET", "/")
        assert last.text == "here" and not last.keep and kept.ended()
    until(lambda: old not in site.workers(), "the old one to leave")


def test_a_successor_that_cannot_start(monoceros, tmp_path, load, worker_class):
    """The old worker serves on."""
    if worker_class not in ("sync", "gthread"):
        pytest.skip("native workers start from what is there")
    app = Path(tmp_path) / "fragile.py"
    app.write_text((HERE / "threaded.py").read_text(encoding="utf-8"), encoding="utf-8")
    site = monoceros("fragile:app", "--max-requests", "10", "--keep-alive", "2", cwd=tmp_path, expect_errors=True)
    pid = int(site.ask("GET", "/").text)
    app.write_text("raise RuntimeError('not any more')\n", encoding="utf-8")
    clients = load(site.address, clients=2, keep=True, check=lambda r: r.status == 200 and int(r.text) == pid)
    site.wait_log("not any more", 2)
    clients.wait_answered(clients.answered + 50)
    clients.stop()
    assert clients.lost == clients.wrong == clients.stale == 0, (clients.counts, clients.notes)
    assert site.ask("GET", "/").text == wire.ask(site.address, "GET", "/").text == str(pid)
