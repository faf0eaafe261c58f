"""HUP every second for half a minute, under new, kept and long requests, in every worker type. MONOCEROS_SOAK scales it (default 1)."""

import os
import signal
import time

from lib import storms

SECONDS = int(30 * float(os.environ.get("MONOCEROS_SOAK", "1")))


def test_a_reload_every_second(monoceros, load, worker_class, tmp_path):
    site = storms.Site(monoceros, worker_class, tmp_path, count=3).start()
    new, kept, slow = clients = site.storm.crowd(load, site, each=4)
    storms.answered(clients, 20)
    before = storms.facts(site)
    for number in range(SECONDS):
        second = time.monotonic() + 1
        site.storm.write(str(number))
        site.signal(signal.SIGHUP)
        time.sleep(max(0, second - time.monotonic()))
    storms.answered(clients, 20)
    for one in clients:
        one.stop()
    done = site.log().count("Reload: done")
    print(f"\n{worker_class}: {SECONDS} HUP in as many seconds, {done} reloads; new connections: {new.told()}; kept: {kept.told()}; long: {slow.told()}")
    storms.nothing_lost(clients)
    storms.calm(site, before)
