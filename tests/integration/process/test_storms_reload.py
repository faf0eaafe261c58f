"""HUP under load, at bad moments and beside other signals: outside clients count what they sent and what was answered. tests/soak goes on for longer."""

import os
import random
import shutil
import signal
import time

import pytest

from lib import procfs, storms, wire
from lib.fixtures import NATIVE, WORKERS
from lib.limits import until
from lib.server import free_port
from tls.conftest import context, pki  # noqa: F401  fixtures

one_type = pytest.mark.workers(WORKERS[0])
few = pytest.mark.workers(*storms.FEW)
an_app = pytest.mark.workers(*[name for name in storms.FEW if name not in NATIVE])


@pytest.fixture
def storm(monoceros, worker_class, tmp_path):
    def make(**options):
        return storms.Site(monoceros, worker_class, tmp_path, **options)
    return make


def hup(site, count=1):
    site.signal(signal.SIGHUP)
    return site.wait_log("Reload: done", count)


# --- one after the other

def test_hup_after_hup(storm, load):
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    before = storms.at_rest(site)
    for number in range(8):
        site.storm.write(str(number))
        site.signal(signal.SIGHUP)
        time.sleep(0.4)                                 # the pace of the storm, not a wait for something
    storms.answered(clients, 10)
    storms.nothing_lost(clients)
    storms.calm(site, before)
    assert "Reload failed" not in site.log()


@few
def test_other_settings_each_time(storm, load):
    """Pools by other names, of more and fewer workers, a socket for each or one for all, listeners that come and go: the address that stays loses nothing."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    site = storm().start()
    clients = site.storm.crowd(load, site)
    spare = [free_port() for _ in range(2)]
    for number in range(8):
        storms.answered(clients, 3)
        site.storm.write(str(number))
        storms.other_settings(site, dice, spare)
        site.signal(signal.SIGHUP)
        if dice.random() < 0.7:
            site.wait_log("Reload: done", site.log().count("Reload: done") + 1)
    storms.reload(site)
    storms.answered(clients, 3)
    storms.nothing_lost(clients)
    assert "Reload failed" not in site.log()


@few
def test_broken_settings(storm, load):
    """Words that are none, and no file at all: each is told and changes nothing."""
    site = storm().start()
    clients = site.storm.crowd(load, site)
    workers = site.workers()
    good = storms.file(site).read_text()
    for number, text in enumerate(["nonsense = {", None, good + 'pool "other" { workers = -1 }'], 1):
        storms.file(site).unlink(missing_ok=True)
        if text is not None:
            storms.put(storms.file(site), text)
        storms.answered(clients, 10)
        site.signal(signal.SIGHUP)
        site.wait_log(r"\[ERROR\] Reload failed: .*; generation 1 goes on", number)
    assert sorted(site.workers()) == sorted(workers)
    storms.put(storms.file(site), good)
    hup(site)
    storms.answered(clients, 10)
    storms.nothing_lost(clients)


@pytest.mark.python
@an_app
def test_broken_apps(storm, load):
    site = storm().start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    for number, text in enumerate(["def app(:\n", "import nowhere_to_be_found\n", "import os\nos._exit(7)\n"], 1):
        storms.answered(clients, 10)
        site.storm.write(text)
        site.signal(signal.SIGHUP)
        site.wait_log(r"\[ERROR\] Reload failed: .*; generation 1 goes on", number)
    site.storm.write("two")
    hup(site)
    storms.answered(clients, 10)
    storms.nothing_lost(clients)
    assert site.ask("GET", "/").body == b"two"


@pytest.mark.python
@an_app
def test_an_import_that_hangs(storm, load):
    """Until timeout; HUP after HUP meanwhile becomes the one that follows it."""
    site = storm(pool="timeout = 2s").start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    site.storm.write_late(1000, "never")
    site.signal(signal.SIGHUP)
    site.wait_log("importing never")
    site.storm.write("two")
    for _ in range(5):
        site.signal(signal.SIGHUP)
        time.sleep(0.1)
    site.wait_log(r"Reload failed: .*silent for longer than timeout")
    site.wait_log("Reload: done")
    assert site.ask("GET", "/").body == b"two"
    storms.answered(clients, 10)
    storms.nothing_lost(clients)


@few
def test_broken_certificates(monoceros, load, worker_class, tmp_path, pki, context):  # noqa: F811
    def use(pem, key):
        for name, kind in ((pem, "pem"), (key, "key")):
            shutil.copy(pki[f"{name}.{kind}"], tmp_path / f"x.{kind}")
            (tmp_path / f"x.{kind}").chmod(0o600)
    use("ec", "ec")
    made = storms.Site(monoceros, worker_class, tmp_path, server=f'tls {{ certificate "x" {{ cert = "{tmp_path}/x.pem" key = "{tmp_path}/x.key" }} }}')
    made.text = made.text.replace('"{address}"', '"{address} tls"')
    site = made.start()
    clients = made.crowd(load, site, tls=context())
    for number, change in enumerate([lambda: use("ec", "rsa"), lambda: (tmp_path / "x.pem").write_text("nothing"), (tmp_path / "x.pem").unlink], 1):
        storms.answered(clients, 5)
        change()
        site.signal(signal.SIGHUP)
        site.wait_log(r"\[ERROR\] Reload failed: .*; generation 1 goes on", number)
    use("rsa", "rsa")
    hup(site)
    storms.answered(clients, 5)
    storms.nothing_lost(clients)


# --- beside other signals

def test_the_number_changes_meanwhile(storm, load):
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    for number in range(3):
        site.storm.write_late(0.3, str(number))
        site.signal(signal.SIGHUP)
        for count, wanted in enumerate((signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU), 1):
            site.signal(wanted)
            site.wait_log("Handling signal: tt(in|ou)", 3 * number + count)     # two that wait together are one
    storms.answered(clients, 10)
    storms.reload(site)
    storms.nothing_lost(clients)
    site.wait_workers(2)


@few
@pytest.mark.parametrize("to", ["old", "new", "both"])
def test_hup_beside_an_upgrade(storm, load, to):
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    site.storm.write_late(0.5, "two")
    site.signal(signal.SIGUSR2)
    if to == "old":
        site.signal(signal.SIGHUP)                      # while the new one starts
        site.wait_log("Reload: done")
    new = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready\. TERM")[0][1])
    for pid in {"old": [site.pid], "new": [new], "both": [site.pid, new]}[to]:
        done = site.log().count("Reload: done")
        os.kill(pid, signal.SIGHUP)
        site.wait_log("Reload: done", done + 1)
    storms.answered(clients, 10)
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    site.wait_log("Master has been promoted")
    storms.answered(clients, 10)
    storms.nothing_lost(clients)
    os.kill(new, signal.SIGTERM)
    until(lambda: not procfs.alive(new), "the new one to end")


@few
def test_an_upgrade_that_fails(storm, load):
    """By its settings, its log, its app: the old one goes on, and the next one succeeds."""
    site = storm().start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    good = storms.file(site).read_text()
    bad = ["nonsense = {", f'errorlog = "{site.directory}/none/log"\n' + good]
    for number, text in enumerate([*bad, good] if site.storm.python else bad, 1):
        storms.put(storms.file(site), text)
        if text is good:
            site.storm.write("import nowhere_to_be_found\n")
        storms.answered(clients, 5)
        site.signal(signal.SIGUSR2)
        site.wait_log(r"The new master \(pid:\d+\) exited with code \d before it was ready; this one goes on", number)
    storms.put(storms.file(site), good)
    site.storm.write("two")
    site.signal(signal.SIGUSR2)
    new = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready\. TERM")[0][1])
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    storms.answered(clients, 5)
    storms.nothing_lost(clients)
    os.kill(new, signal.SIGTERM)
    until(lambda: not procfs.alive(new), "the new one to end")


@few
def test_winch_and_hup(storm, load):
    """The old one of an upgrade has sent its workers away: HUP brings them back, and the new one may go."""
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    old = site.workers()
    site.signal(signal.SIGUSR2)
    new = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready\. TERM")[0][1])
    site.signal(signal.SIGWINCH)
    until(lambda: not any(procfs.alive(pid) for pid in old), "the old workers to leave")
    storms.answered(clients, 10)
    hup(site)
    until(lambda: len(storms.ready(site)) == 2, "the workers to come back")
    os.kill(new, signal.SIGTERM)
    site.wait_log(r"The new master \(pid:\d+\) has left; this one goes on")
    storms.answered(clients, 10)
    storms.nothing_lost(clients)
    site.wait_workers(2)


@few
def test_winch_before_the_new_one_is_ready(storm, load, tmp_path, worker_class):
    """It waits for that; and when the new one leaves, the old one's workers come back while the new one still has a long request."""
    # With one thread whoever shares a worker with the long request would wait for it.
    site = storm(pool="threads = 4" if worker_class == "gthread" else "").start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 5)
    site.storm.write_late(0.7, "two")
    site.signal(signal.SIGUSR2)
    site.wait_log("Upgrade: starting")
    site.signal(signal.SIGWINCH)
    new = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready\. TERM")[0][1])
    assert "SIGWINCH waits until the new master is ready" in site.log() or not site.storm.python
    until(lambda: not site.workers(), "the old workers to leave")
    storms.answered(clients, 5)
    with site.connect() as client:
        client.send(wire.request("GET", site.storm.target(tmp_path / "end" if site.storm.python else 100), close=True))
        storms.answered(clients, 5)
        os.kill(new, signal.SIGTERM)
        until(lambda: len(storms.ready(site)) == 2, "the old one's workers")
        storms.answered(clients, 5)
        assert procfs.alive(new) or not site.storm.python
        (tmp_path / "end").touch()
        assert client.read().status == 200
    site.wait_log(r"The new master \(pid:\d+\) has left; this one goes on")
    storms.nothing_lost(clients)


@few
@pytest.mark.parametrize("first", ["old", "new"])
def test_both_of_an_upgrade_leave(storm, load, first):
    """Who leaves second serves what is queued."""
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 5)
    site.signal(signal.SIGUSR2)
    new = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready\. TERM")[0][1])
    storms.answered(clients, 5)
    one, other = (site.pid, new) if first == "old" else (new, site.pid)
    os.kill(one, signal.SIGTERM)
    site.wait_log("Handling signal: term")
    os.kill(other, signal.SIGTERM)
    assert site.wait() == 0
    until(lambda: not procfs.alive(new), "the new one to end")
    for one in clients:
        one.stop()
        assert one.sent == one.answered + one.stale and not one.wrong, one.told()


@few
def test_winch_gives_a_reload_up(storm, load):
    """While the configuration is still read; HUP at once begins the next one."""
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 5)
    before = storms.at_rest(site)
    good = storms.file(site).read_text()
    site.signal(signal.SIGUSR2)
    new = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready\. TERM")[0][1])
    begin(site, "loading")
    site.signal(signal.SIGWINCH)
    site.wait_log("Reload: given up")
    storms.answered(clients, 5)
    storms.put(storms.file(site), good)
    hup(site)
    os.kill(new, signal.SIGTERM)
    storms.answered(clients, 5)
    storms.nothing_lost(clients)
    storms.calm(site, before)
    assert "Reload failed" not in site.log()


@few
@pytest.mark.parametrize("when", ["loading", "importing", "rolling"])
def test_term_within_a_reload(storm, load, when):
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    begin(site, when)
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    for one in clients:
        one.stop()
        assert one.sent == one.answered + one.stale and not one.wrong, one.told()
        assert not one.stale or one.keep


def begin(site, when):
    """A reload that is in this state now."""
    if when == "loading":                               # much to read, and who reads it stands still
        storms.put(storms.file(site), "#\n" * 1500000 + storms.file(site).read_text())
        for done in range(1, 20):
            before = procfs.children(site.pid)
            site.signal(signal.SIGHUP)
            loader = until(lambda before=before: set(procfs.children(site.pid)) - set(before), "who reads the configuration", pause=0.001).pop()
            os.kill(loader, signal.SIGSTOP)
            if site.log().count("is loaded and starts") < done:
                return
            os.kill(loader, signal.SIGCONT)             # it was too late: that is a new worker
            site.wait_log("Reload: done", done)
        raise AssertionError("the configuration is always read too soon")
    site.storm.write_late(1, "two")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: generation 2 is loaded" if when == "importing" else "generation 2 takes over")


@few
@pytest.mark.parametrize("when", ["loading", "importing", "rolling"])
def test_the_arbiter_is_killed_within_a_reload(storm, load, when):
    """Workers of both generations answer what they have and what is queued, and leave; so do zygotes and who reads the configuration."""
    site = storm().start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    begin(site, when)
    site.processes()
    site.signal(signal.SIGKILL)
    site.wait()
    until(lambda: not site.leftovers(), f"{site.leftovers()} to leave", 30)
    for one in clients:
        one.stop()
        assert one.sent == one.answered + one.stale and not one.wrong, one.told()
        assert not one.stale or one.keep


@pytest.mark.python
@an_app
@pytest.mark.parametrize("which", ["old", "new"])
def test_a_zygote_is_killed_within_a_reload(storm, load, which):
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    old = storms.zygotes(site.pid)
    site.storm.write_late(0.7, "two")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: generation 2 is loaded")
    os.kill(old[0] if which == "old" else until(lambda: set(storms.zygotes(site.pid)) - set(old), "the new zygote").pop(), signal.SIGKILL)
    site.wait_log("Reload: done")
    storms.answered(clients, 10)
    storms.nothing_lost(clients)
    assert site.ask("GET", "/").body == b"two"


# --- what is gone by then

@one_type
def test_files_that_move_and_vanish(storm, load, tmp_path):
    """The pidfile moves, to a place that is not there and to one that is; the directory of a log is gone, and comes back."""
    logs = tmp_path / "logs"
    logs.mkdir()
    site = storm(top=f'accesslog = "{logs}/access"').start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    place = str(site.directory)
    storms.change(site, f'pidfile = "{place}/pid"', f'pidfile = "{place}/none/pid"')
    site.signal(signal.SIGHUP)
    site.wait_log("Reload failed: .*none/pid.*; generation 1 goes on")
    assert (site.directory / "pid").read_text() == f"{site.pid}\n"
    storms.change(site, f"{place}/none/pid", f"{place}/other")
    (site.directory / "pid").unlink()
    hup(site)
    assert (site.directory / "other").read_text() == f"{site.pid}\n"
    shutil.rmtree(logs)
    site.signal(signal.SIGHUP)
    site.wait_log("Reload failed", 2)
    storms.answered(clients, 10)
    logs.mkdir()
    hup(site, 2)
    storms.answered(clients, 10)
    storms.nothing_lost(clients)
    site.stop()
    assert "200" in (logs / "access").read_text() and not (site.directory / "other").exists()


@one_type
def test_the_working_directory_is_gone(storm, load, tmp_path):
    place = tmp_path / "release"
    place.mkdir()
    site = storm().start(cwd=place)
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    place.rmdir()
    site.signal(signal.SIGHUP)
    site.wait_log("Reload failed: .*release.*; generation 1 goes on")
    storms.answered(clients, 10)
    place.mkdir()                                       # another one of that name
    hup(site)
    storms.answered(clients, 10)
    storms.nothing_lost(clients)


# --- other shapes

@few
def test_reuse_port_and_deaths(storm, load):
    """HUP and kill -9 in turns, a socket for each worker: only what a killed worker had taken is lost."""
    site = storm(count=3, top="reuse_port = yes").start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 10)
    for number in range(4):
        site.signal(signal.SIGHUP)
        time.sleep(0.4)
    storms.answered(clients, 10)
    site.wait_log("Reload: done")
    assert not [one.told() for one in clients if one.lost or one.stale or one.refused or one.wrong]
    kills = 4
    for _ in range(kills):
        site.signal(signal.SIGHUP)
        os.kill(until(site.workers, "a worker")[0], signal.SIGKILL)
        storms.answered(clients, 10)
    for one in clients:
        one.stop()
        assert one.lost + one.stale <= kills * len(one.threads) and not one.refused and not one.wrong, one.told()
    until(lambda: len(storms.ready(site)) == 3 and len(site.workers()) == 3, "three workers")


HOP = """
keepalive = 5s
pool "front" { worker_class = {front}  workers = 2 }
pool "apps" { worker_class = {worker}  workers = 2 }
app "it" { type = wsgi  module = "shop:app"  chdir = "{place}"  pool = apps }
server "main" { listen = "{address}"  pool = front  route "all" { app = it } }
"""


def another_name(text, number):
    old, new = ("apps", "other") if number % 2 == 0 else ("other", "apps")
    return text.replace(f'pool "{old}"', f'pool "{new}"').replace(f"pool = {old}", f"pool = {new}")


def no_longer_asked(text, number):
    """The app's own pool has the clients; then the other one again."""
    old, new = ("front", "apps") if number % 2 == 0 else ("apps", "front")
    return text.replace(f"pool = {old}  route", f"pool = {new}  route")


@pytest.mark.python
@an_app
@pytest.mark.parametrize("change", [another_name, no_longer_asked])
def test_pools(monoceros, load, worker_class, tmp_path, change):
    """Requests from pool to pool while both are replaced, and who is asked changes each time."""
    made = storms.Site(monoceros, worker_class, tmp_path)
    front = "epoll" if "epoll" in WORKERS else worker_class
    site = monoceros(config=HOP.replace("{front}", front).replace("{place}", str(tmp_path)), python=True)
    until(lambda: len(storms.ready(site)) == 4, "four ready workers")
    clients = made.crowd(load, site)
    storms.answered(clients, 10)
    before = storms.at_rest(site)
    for number in range(6):
        made.write(str(number))
        storms.put(storms.file(site), change(storms.file(site).read_text(), number))
        site.signal(signal.SIGHUP)
        time.sleep(0.5)
    storms.answered(clients, 10)
    storms.nothing_lost(clients)
    storms.calm(site, before)


@pytest.mark.python
@an_app
def test_a_late_request_to_a_pool_that_is_no_longer_asked(monoceros, worker_class, tmp_path):
    """The request of an old worker is there when all others are new: somebody is still there for it."""
    storms.Site(monoceros, worker_class, tmp_path)
    front = "epoll" if "epoll" in WORKERS else worker_class
    site = monoceros(config=HOP.replace("{front}", front).replace("{place}", str(tmp_path)), python=True)
    until(lambda: len(storms.ready(site)) == 4, "four ready workers")
    old = set(site.workers())
    with site.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        until(lambda: sum(slot.connections for slot in storms.ready(site)) >= 1, "the request to begin")
        storms.put(storms.file(site), no_longer_asked(storms.file(site).read_text(), 0))
        site.signal(signal.SIGHUP)
        until(lambda: len(old & set(site.workers())) == 2, "one old worker of each pool")
        time.sleep(1)
        client.send(b"cd")
        assert client.read().body == b"one"
    until(lambda: not old & set(site.workers()), "the old ones to leave")
    site.wait_log("Reload: done")
