"""Certificates replaced under load, by HUP and by watched files: no handshake fails, every worker comes to serve each of them, none is replaced."""

import re
import shutil
import signal
import threading
import time

import pytest

from lib.limits import patience, until
from tls.conftest import Client, context, pki  # noqa: F401  fixtures

WORKERS, REPLACEMENTS, SECONDS, CLIENTS = 4, 20, 30, 3      # clients of each kind


class Handshakes:
    """Clients without pause: full handshakes, which see the certificate, and resumed ones. Each request has a path of its own, for the access log."""

    def __init__(self, address, make):
        self.address, self.make = address, make
        self.stopping = threading.Event()
        self.full, self.resumed, self.failures, self.not_resumed = {}, [0] * CLIENTS, [], []
        self.threads = [threading.Thread(target=self.run, args=(what, n)) for what in (self.fully, self.resuming) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, what, n):
        trusting, session, count = self.make(), None, 0
        while not self.stopping.is_set():
            try:
                session = what(trusting, n, count, session)
                count += 1
            except Exception as error:  # noqa: BLE001  whatever it is, it must not be
                self.failures.append(repr(error))

    def fully(self, trusting, n, count, _):
        began = time.monotonic()
        with Client(self.address, trusting) as c:
            name = dict(pair[0] for pair in c.tls.getpeercert()["subject"])["commonName"]
            assert not c.tls.session_reused and c.ask(f"/full-{n}-{count}")[0] == 200
        self.full[f"/full-{n}-{count}"] = (began, time.monotonic(), name)

    def resuming(self, trusting, n, count, session):
        with Client(self.address, trusting, session=session) as c:
            assert c.ask("/resumed")[0] == 200
            if session and not c.tls.session_reused:
                self.not_resumed.append((n, count))
            self.resumed[n] += 1 if session else 0
            return c.tls.session

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(patience(60))
            assert not thread.is_alive(), "a client hangs"


@pytest.fixture
def certificates(pki, tmp_path):  # noqa: F811
    for n in range(REPLACEMENTS + 1):
        if not (pki.dir / f"turn{n}.pem").exists():
            pki.make(f"turn{n}", ["localhost"])

    def use(n):
        """As renewal tools do: each file by rename, so that for a moment key and certificate are of different pairs."""
        for kind in ("key", "pem"):
            shutil.copy(pki[f"turn{n}.{kind}"], tmp_path / "new")
            (tmp_path / "new").chmod(0o600)
            (tmp_path / "new").rename(tmp_path / f"x.{kind}")
        return tmp_path

    return use


def first_served(clients, log, replaced):
    """For each replacement: seconds until each worker has first served it, and until the last handshake with an older one began."""
    served = {path: int(pid) for pid, path in re.findall(r"^<(\d+)> (/full\S+)$", log, re.M)}
    assert served.keys() >= clients.full.keys()
    found = []
    for n, at in replaced.items():
        first, stale = {}, 0.0
        for path, (began, ended, name) in clients.full.items():
            turn = int(name.removeprefix("turn"))
            if turn == n:
                first[served[path]] = min(first.get(served[path], ended - at), ended - at)
            elif turn < n:
                stale = max(stale, began - at)
        found.append((first, stale))
    return found


@pytest.mark.workers("epoll", "sync")
@pytest.mark.parametrize("how", ["hup", "watch"])
def test_replaced_under_load(monoceros, certificates, context, how):  # noqa: F811
    place = certificates(0)
    site = monoceros(config=(
        f'worker_class = {{worker}}\nworkers = {WORKERS}\naccesslog = "{{tmp}}/access"\naccess_log_format = "%(p)s %(U)s"\n'
        f'server "a" {{ listen = "{{address}} tls"\n tls {{ watch = {"yes" if how == "watch" else "no"}\n'
        f'  certificate "x" {{ cert = "{place}/x.pem" key = "{place}/x.key" }} }}\n route "all" {{ respond {{ body = "hello" }} }} }}\n'))
    workers = site.wait_workers(WORKERS)
    clients, replaced = Handshakes(site.address, context), {}
    try:
        for n in range(1, REPLACEMENTS + 1):
            certificates(n)
            replaced[n] = time.monotonic()
            if how == "hup":
                site.signal(signal.SIGHUP)
            until(lambda n=n: clients.failures or sum(1 for *_, name in list(clients.full.values())[-50:] if name == f"turn{n}") >= 8, f"certificate {n}")
            time.sleep(max(0, replaced[n] + SECONDS / REPLACEMENTS - time.monotonic()))
    finally:
        clients.stop()
    assert site.workers() == workers
    site.stop()
    found = first_served(clients, (site.directory / "access").read_text(), replaced)
    times = sorted(t for first, _ in found for t in first.values())
    print(f"\n{how}: {len(found)} replacements in {max(replaced.values()) - min(replaced.values()) + SECONDS / REPLACEMENTS:.0f} s, {len(clients.full)} full and "
          f"{sum(clients.resumed)} resumed handshakes, {len(clients.failures)} failed, {len(clients.not_resumed)} not resumed; a client saw it in {len(times)} of "
          f"{len(found) * WORKERS} turns of a worker, first after {times[0]:.3f} to {times[-1]:.3f} s (median {times[len(times) // 2]:.3f}); "
          f"the last handshake that got an older one began {max(stale for _, stale in found):.3f} s after a replacement")
    assert not clients.failures and not clients.not_resumed, (clients.failures[:3], clients.not_resumed[:3])
    assert all(first for first, _ in found) and len({pid for first, _ in found for pid in first}) == WORKERS
    assert max(stale for _, stale in found) < patience(20)
