"""reuse_port: counts, reloads, replaced workers and upgrades there and back, in any order, under load: nothing is lost, and in the end each worker serves its
own socket."""

import os
import random
import re
import signal
import threading
import time

import pytest

from lib import procfs, server as under_test
from lib.limits import until

SCALE = float(os.environ.get("MONOCEROS_SOAK", "1"))
SEED = int(os.environ.get("MONOCEROS_SEED", str(random.randrange(1 << 32))))
CONFIG = """
pidfile = "{tmp}/pid"  reuse_port = yes  worker_class = {worker}  workers = 3
app "who" { type = wsgi  module = "basic:app" }
server "main" { listen = "{address}"  route "all" { app = who } }
"""
READY = r"The new master \(pid:(\d+)\) is ready"
STEPS = ["more", "more", "fewer", "fewer", "reload", "reload", "replace", "upgrade", "back"]


class Site:
    def __init__(self, server, dice):
        self.server, self.dice, self.main = server, dice, server.pid
        self.path = server.directory / "test.conf"

    def workers(self):
        return [pid for pid in procfs.children(self.main) if "worker" in procfs.title(pid)]

    def sockets(self):
        with open("/proc/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file]
        return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{self.server.address[1]:04X}")}

    def more(self):
        os.kill(self.main, signal.SIGTTIN)

    def fewer(self):
        os.kill(self.main, signal.SIGTTOU)

    def reload(self):
        text = self.path.read_text(encoding="utf-8")
        self.path.write_text(re.sub(r"workers = \d", f"workers = {self.dice.choice([1, 2, 4])}", text), encoding="utf-8")
        os.kill(self.main, signal.SIGHUP)

    def replace(self):
        workers = self.workers()
        if workers:
            os.kill(self.dice.choice(workers), signal.SIGTERM)

    def begin(self):
        """The new program, beside which the old one may get another worker, or one fewer."""
        before = len(re.findall(READY, self.server.log()))
        os.kill(self.main, signal.SIGUSR2)
        until(lambda: len(re.findall(READY, self.server.log())) > before, "the new program")
        new = int(re.findall(READY, self.server.log())[-1])
        time.sleep(self.dice.random())
        if self.dice.random() < 0.5:
            os.kill(self.dice.choice([self.main, new]), self.dice.choice([signal.SIGTTIN, signal.SIGTTOU]))
            time.sleep(self.dice.random() / 2)
        return new

    def upgrade(self):
        new = self.begin()
        if self.main == self.server.pid:
            threading.Thread(target=self.server.wait).start()       # reaps it
        os.kill(self.main, signal.SIGTERM)
        until(lambda: not procfs.alive(self.main), "the old program to end")
        self.main = new

    def back(self):
        new = self.begin()
        os.kill(new, signal.SIGTERM)
        until(lambda: not procfs.alive(new), "the new program to end")

    def one_each(self):
        sockets = self.sockets()
        held = {pid: sockets & set(procfs.fds(pid).values()) for pid in self.workers()}
        return len(held) == len(sockets) == len(set().union(*held.values())) and all(len(own) == 1 for own in held.values())


@pytest.mark.python
@pytest.mark.skipif(bool(under_test.UNDER), reason="the program that is started anew is valgrind there")
@pytest.mark.parametrize("run", range(max(1, int(4 * SCALE))))
def test_seats(monoceros, load, run):
    print(f"seed {SEED} run {run}")
    dice = random.Random(SEED + run)
    server = monoceros(config=CONFIG)
    server.wait_workers(3)
    site = Site(server, dice)
    clients = load(server.address, clients=6)
    done = []
    for _ in range(14):
        done.append(dice.choice(STEPS))
        getattr(site, done[-1])()
        time.sleep(dice.random() * 0.7)
    clients.stop()
    assert not clients.lost and not clients.refused and not clients.wrong, (done, clients.counts, clients.notes)
    until(site.one_each, f"a socket for each worker after {done}")
    count = len(site.workers())
    until(lambda: len({server.ask("GET", "/who").text for _ in range(40 * count)}) == count, f"all {count} to serve after {done}")
    if site.main != server.pid:
        os.kill(site.main, signal.SIGTERM)
        until(lambda: not procfs.alive(site.main), "the end")
