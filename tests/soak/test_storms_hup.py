"""Reloads, upgrades and signals under load for long: outside clients count. MONOCEROS_SOAK scales the number of blows (default 1)."""

import os
import random
import signal
import time

import pytest

from lib import board, procfs, storms
from lib.limits import until

SCALE = float(os.environ.get("MONOCEROS_SOAK", "1"))
SEED = int(os.environ.get("MONOCEROS_SEED", str(random.randrange(1 << 32))))
HARMLESS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGCHLD, signal.SIGCONT,
            signal.SIGPIPE, signal.SIGURG]


def test_a_reload_every_second(monoceros, load, worker_class, tmp_path):
    site = storms.Site(monoceros, worker_class, tmp_path, count=3).start()
    new, kept, slow = clients = site.storm.crowd(load, site, each=4)
    storms.answered(clients, 20)
    before = storms.at_rest(site)
    seconds = int(30 * SCALE)
    for number in range(seconds):
        second = time.monotonic() + 1
        site.storm.write(str(number))
        site.signal(signal.SIGHUP)
        time.sleep(max(0, second - time.monotonic()))
    storms.answered(clients, 20)
    for one in clients:
        one.stop()
    done = site.log().count("Reload: done")
    print(f"\n{worker_class}: {seconds} HUP in as many seconds, {done} reloads; new connections: {new.told()}; kept: {kept.told()}; long: {slow.told()}")
    storms.nothing_lost(clients)
    storms.calm(site, before)


@pytest.mark.workers(*storms.FEW)
def test_signals_without_end(monoceros, load, worker_class, tmp_path):
    """Thousands to the arbiter, upgrades among them, whose new program is told this and that, too, or killed. Then it is as it was."""
    print(f"\nMONOCEROS_SEED={SEED}")
    dice = random.Random(SEED)
    site = storms.Site(monoceros, worker_class, tmp_path).start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 20)
    before = storms.at_rest(site)
    sent, ending = 0, set()                             # a second TERM would be harsher, and lose
    while sent < 10000 * SCALE:
        for _ in range(dice.randrange(1, 50)):
            site.signal(dice.choice(HARMLESS))
            sent += 1
            time.sleep(dice.random() * 0.005)
        heir = heir_of(site)
        if heir and heir not in ending and dice.random() < 0.2:
            tell(heir, number := dice.choice([signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL]))
            if number != signal.SIGHUP:
                ending.add(heir)
    settle(site, ending)
    storms.reload(site)
    storms.answered(clients, 20)
    storms.calm(site, before)
    for one in clients:
        one.stop()
    print(f"{worker_class}: {sent} signals, {site.log().count('Reload: done')} reloads, {site.log().count('Starting monoceros') - 1} upgrades; "
          + "; ".join(one.told() for one in clients))
    storms.nothing_lost(clients)


def heir_of(site):
    try:
        pid = int((site.directory / "pid.2").read_text())
    except (FileNotFoundError, ValueError):
        return 0
    return pid if pid != site.pid and procfs.alive(pid) else 0


def tell(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def settle(site, ending):
    """Until no new program is there: the last upgrade may still be on its way."""
    def alone():
        storms.heard(site)
        heir = heir_of(site)
        if heir and heir not in ending:
            ending.add(heir)
            tell(heir, signal.SIGTERM)
        return not heir and not [pid for pid in procfs.of_session(site.pid) if pid != site.pid and "master" in procfs.title(pid)]
    until(alone, "the new program to leave", 60, pause=0.5)


def test_requests_and_reloads(monoceros, load, worker_class, tmp_path):
    """100 reloads among as many requests as there is time for: nothing grows."""
    site = storms.Site(monoceros, worker_class, tmp_path).start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 20)

    def reloads(count):
        for number in range(count):
            done = site.log().count("Reload: done")
            site.storm.write(str(number))
            site.signal(signal.SIGHUP)
            until(lambda done=done: site.log().count("Reload: done") > done, "the reload", 60, pause=0.005)
        until(lambda: len({slot.generation for slot in board.slots(site.pid)}) == 1, "the old workers to leave")

    reloads(max(2, int(10 * SCALE)))                    # what libraries and logs keep for themselves is there by then
    before, resident, shared = storms.facts(site), procfs.rss(site.pid), shm()
    reloads(max(2, int(100 * SCALE)))
    storms.calm(site, before)
    after = procfs.rss(site.pid)
    for one in clients:
        one.stop()
    print(f"\n{worker_class}: {site.log().count('Reload: done')} reloads, {sum(one.answered for one in clients)} answers; arbiter: {before[0]} descriptors, "
          f"{resident >> 10} -> {after >> 10} KiB; " + "; ".join(one.told() for one in clients))
    storms.nothing_lost(clients)
    assert after <= resident * 1.05 and shm() == shared


def shm():
    return sorted(name for name in os.listdir("/dev/shm") if "monoceros" in name)
