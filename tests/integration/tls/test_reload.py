"""Certificates change while the server runs: HUP, watched files, broken ones; no connection is lost."""

import os
import shutil
import signal
import threading

import pytest

from lib.server import until
from tls.conftest import Client


@pytest.fixture
def live(pki, tmp_path):
    """A directory with the certificate in use: live("name") replaces it as renewal tools do, by rename."""
    for name in ("fresh", "later"):
        if not (pki.dir / f"{name}.pem").exists():
            pki.make(name, ["localhost"])
    place = tmp_path / "live"
    place.mkdir()

    def use(name):
        for kind in ("key", "pem"):
            shutil.copy(pki[f"{name}.{kind}"], place / f"new.{kind}")
            os.chmod(place / f"new.{kind}", 0o600)
            os.rename(place / f"new.{kind}", place / f"x.{kind}")
        return place

    use("ec")
    return use


def config(live, more="", workers=2):
    place = live("ec")
    return (f'worker_class = {{worker}}\nworkers = {workers}\nkeepalive = 20s\nserver "a" {{ listen = "{{address}} tls"\n tls {{ {more}\n'
            f' certificate "x" {{ cert = "{place}/x.pem" key = "{place}/x.key" }} }}\n route "all" {{ respond {{ body = "hello" }} }} }}\n')


def served(site, context):
    with Client(site.address, context()) as c:
        assert c.ask()[0] == 200
        return dict(pair[0] for pair in c.tls.getpeercert()["subject"])["commonName"]


def test_hup_reads_certificates_again(monoceros, live, context):
    site = monoceros(config=config(live))
    site.wait_workers(2)
    kept = Client(site.address, context())
    assert kept.ask()[0] == 200 and served(site, context) == "ec"
    live("fresh")
    assert served(site, context) == "ec"
    site.signal(signal.SIGHUP)
    site.wait_log("Certificates of pool \"default\" were read again")
    until(lambda: all(served(site, context) == "fresh" for _ in range(8)), "the new certificate in every worker")
    assert kept.ask()[0] == 200
    kept.tls.close()
    site.signal(signal.SIGHUP)
    site.wait_log("have not changed")


def test_broken_ones_change_nothing(monoceros, live, context, pki):
    site = monoceros(config=config(live))
    place = live("ec")
    shutil.copy(pki["later.key"], place / "x.key")
    site.signal(signal.SIGHUP)
    site.wait_log("tls: key .*x.key does not belong to certificate .*x.pem")
    site.wait_log("Reload failed: .*; generation 1 goes on")
    assert served(site, context) == "ec"
    (place / "x.pem").write_text("nothing")
    site.signal(signal.SIGHUP)
    site.wait_log("there is no certificate")
    assert served(site, context) == "ec"
    live("later")
    site.signal(signal.SIGHUP)
    until(lambda: all(served(site, context) == "later" for _ in range(8)), "the new certificate")


def test_later_workers_have_the_new_ones(monoceros, live, context):
    site = monoceros(config=config(live, workers=1))
    live("fresh")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: done")
    old = site.wait_workers(1)[0]
    os.kill(old, signal.SIGKILL)
    until(lambda: site.workers() not in ([], [old]), "a successor")
    assert served(site, context) == "fresh"


def test_watched_files(monoceros, live, context):
    site = monoceros(config=config(live, "watch = yes"))
    for name in ("fresh", "later", "ec"):
        live(name)
        until(lambda: all(served(site, context) == name for _ in range(6)), f"the certificate {name}")


def test_sessions_outlive_certificates(monoceros, live, context):
    site = monoceros(config=config(live))
    made = context()
    with Client(site.address, made) as c:
        assert c.ask()[0] == 200
        session = c.tls.session
    live("fresh")
    site.signal(signal.SIGHUP)
    site.wait_log("were read again")
    with Client(site.address, made, session=session) as c:
        assert c.tls.session_reused and c.ask()[0] == 200


def test_no_handshake_fails_meanwhile(monoceros, live, context):
    site = monoceros(config=config(live))
    stop, failures, done = threading.Event(), [], [0]

    def clients():
        while not stop.is_set():
            try:
                served(site, context)
                done[0] += 1
            except Exception as error:  # noqa: BLE001  whatever it is, it must not be
                failures.append(repr(error))

    threads = [threading.Thread(target=clients) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(6):
        live(("fresh", "later")[i % 2])
        site.signal(signal.SIGHUP)
        site.wait_log("were read again", count=i + 1)
    before = done[0]
    until(lambda: done[0] > before + 20 or failures, "more handshakes")
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]


@pytest.mark.python
def test_python_pools_too(monoceros, live, context, pki):
    place = live("ec")
    site = monoceros("tls_app:app", "-w", "2", "--certfile", place / "x.pem", "--keyfile", place / "x.key")
    site.wait_workers(2)
    live("fresh")
    site.signal(signal.SIGHUP)
    until(lambda: all(served(site, context) == "fresh" for _ in range(6)), "the new certificate")
    old = site.wait_workers(2)
    os.kill(old[0], signal.SIGKILL)
    until(lambda: len(new := site.workers()) == 2 and new != old, "a successor")
    assert all(served(site, context) == "fresh" for _ in range(6))
