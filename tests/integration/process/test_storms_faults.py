"""Deaths, stops and lacks of all kinds under load: outside clients count what they sent and what was answered. tests/soak goes on for longer."""

import errno
import os
import random
import signal
import time

import pytest

from lib import failing, procfs, storms, wire
from lib.fixtures import NATIVE, WORKERS
from lib.limits import until
from lib.server import SANITIZED

few = pytest.mark.workers(*storms.FEW)
an_app = pytest.mark.workers(*[name for name in storms.FEW if name not in NATIVE])
HARMLESS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGCHLD, signal.SIGCONT, signal.SIGPIPE, signal.SIGURG]


@pytest.fixture
def storm(monoceros, worker_class, tmp_path):
    def make(**options):
        return storms.Site(monoceros, worker_class, tmp_path, **options)
    return make


def only(clients, most):
    """What was lost is at most what those had who died of it; `most` is their number."""
    for one in clients:
        one.stop()
        assert one.lost + one.stale <= most * len(one.threads) and not one.refused and not one.wrong, one.told()
        assert one.sent == one.answered + one.lost + one.stale


def only_stale(clients):
    """The server has stopped: what was sent on a new connection was answered."""
    for one in clients:
        one.stop()
        assert one.sent == one.answered + one.stale and not one.wrong and (one.keep or not one.stale), one.told()


# --- workers, at every stage of their life

def one_more(site):
    """The pid of a worker that is being born."""
    count = site.log().count("Booting worker with pid")
    site.signal(signal.SIGTTIN)
    return int(site.wait_log(r"Booting worker with pid: (\d+)", count + 1)[-1][1])


DEATHS = (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)


@few
@pytest.mark.parametrize("stage", ["born", "importing"])
def test_before_it_is_ready(storm, load, stage):
    """One more worker dies before it serves: nobody notices, and another one comes."""
    site = storm(pool="timeout = 1s").start(expect_errors=True)
    if stage == "importing" and not site.storm.python:
        pytest.skip("nothing is imported")
    clients = site.storm.crowd(load, site)
    for count, number in enumerate(DEATHS, 3):
        storms.answered(clients, 5)
        if stage == "importing":
            site.storm.write_late(0.5, number.name)
        victim = one_more(site)
        if stage == "importing":
            site.wait_log(f"importing {number.name}")
        os.kill(victim, number)
        until(lambda victim=victim: not procfs.alive(victim), "its end")
        until(lambda count=count, victim=victim: len(storms.ready(site)) == count and victim not in site.workers(), "another one")
    storms.answered(clients, 5)
    if stage == "importing":
        storms.nothing_lost(clients)
    else:
        only(clients, len(DEATHS))                      # it may have become ready meanwhile


def inside(site):
    """A client whose request runs, and the worker that runs it; none where no handler takes time."""
    client = site.connect()
    client.send(wire.request("GET", site.storm.target(2000), close=True))
    if site.storm.target(2000) == "/":
        return client, site.workers()[0]
    slot = until(lambda: next((slot for slot in storms.ready(site) if "2000" in slot.busy), None), "the request to run")
    return client, slot.pid


@few
@pytest.mark.parametrize("stage", ["busy", "draining"])
def test_while_it_serves(storm, load, stage):
    """What the victim had may be lost, but not by TERM; all others are answered, and a successor comes."""
    site = storm(pool="timeout = 4s  graceful_timeout = 9s").start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    for number in DEATHS:
        storms.answered(clients, 5)
        client, victim = inside(site)
        with client:
            booted = site.log().count("Booting worker with pid")
            if stage == "draining":
                os.kill(victim, signal.SIGTERM)
                site.wait_log("Booting worker with pid", booted + 1)
            try:
                os.kill(victim, number)
            except ProcessLookupError:                  # a native one is quick
                assert stage == "draining"
            try:
                answered = client.read().status == 200
            except (wire.Closed, ConnectionResetError):
                answered = False
            assert answered or number != signal.SIGTERM
        until(lambda victim=victim: not procfs.alive(victim), "its end")
        until(lambda: len(storms.ready(site)) == 2 == len(site.workers()), "the successor")
        storms.answered(clients, 5)
        if number == signal.SIGTERM:
            assert not [one.told() for one in clients if one.lost or one.stale or one.refused or one.wrong]
    only(clients, len(DEATHS) - 1)


# --- zygotes and the arbiter

@pytest.mark.python
@an_app
def test_a_zygote_is_killed(storm, load):
    site = storm().start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    for number in range(3):
        storms.answered(clients, 5)
        victim = until(lambda: storms.zygotes(site.pid), "a zygote")[0]
        os.kill(victim, [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM][number])
        if number == 1:                                 # it does not answer who wants a worker
            site.signal(signal.SIGTTIN)
            time.sleep(0.5)
            os.kill(victim, signal.SIGCONT)
            until(lambda: len(storms.ready(site)) == 3, "a third worker")
            continue
        until(lambda victim=victim: not procfs.alive(victim) and storms.zygotes(site.pid), "a new zygote")
    site.signal(signal.SIGTTIN)
    until(lambda: len(storms.ready(site)) == 4, "a fourth worker")
    storms.answered(clients, 5)
    storms.nothing_lost(clients)


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_the_arbiter_is_killed_and_started_again(storm, load, where):
    """Who is in is answered; the next one takes over the stale pidfile and socket."""
    made = storm()
    site = made.start(expect_errors=True)
    address = site.address if where == "tcp" else str(site.directory / "http.sock")
    clients = made.crowd(load, site, address=address)
    storms.answered(clients, 5)
    site.processes()
    site.signal(signal.SIGKILL)
    site.wait()
    until(lambda: not site.leftovers(), f"{site.leftovers()} to leave", 30)
    only_stale(clients)
    assert (site.directory / "pid").exists() and (site.directory / "http.sock").exists()
    again = made.monoceros(config=storms.file(site).read_text(), python=made.python, address=site.address)
    until(lambda: len(storms.ready(again)) == 2, "two ready workers")
    clients = made.crowd(load, again, address=address)
    storms.answered(clients, 5)
    storms.nothing_lost(clients)
    assert (site.directory / "pid").read_text() == f"{again.pid}\n"


THREADED = """
import threading
go, done = threading.Event(), threading.Event()
def run():
    go.wait()
threading.Thread(target=run, daemon=True).start()
def app(environ, start_response):
    threading.Thread(target=done.set).start()
    done.wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"one"]
"""


@pytest.mark.python
@an_app
def test_threads_of_a_preloaded_app(storm, load):
    """They stay behind in the zygote, which is told; workers are none the worse."""
    made = storm(top="preload_app = yes")
    site = made.start()
    made.write(THREADED)
    clients = made.crowd(load, site)
    site.signal(signal.SIGHUP)
    site.wait_log(r"\[WARNING\] preload_app: 1 threads of the app run already; they do not go on in workers")
    site.wait_log("Reload: done")
    storms.answered(clients, 10)
    storms.nothing_lost(clients)


# --- births that fail

@pytest.mark.python
@an_app
def test_a_crash_loop_beside_workers_that_serve(storm, load):
    site = storm().start(expect_errors=True)
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 5)
    site.storm.write("import os\nos._exit(9)\n")
    site.signal(signal.SIGTTIN)
    found = site.wait_log(r"fail to start \((\d+) in a row\); next try in \d\.\d s", 3)[-1]
    assert found.string[:found.end()].count("Booting worker") <= 3 + int(found[1])
    storms.answered(clients, 5)
    site.storm.write("two")
    until(lambda: len(storms.ready(site)) == 3, "the third worker", 60)
    storms.answered(clients, 5)
    storms.nothing_lost(clients)


@few
def test_nobody_can_be_forked_for_a_while(storm, load, tmp_path):
    gate = tmp_path / "gate"
    site = storm().start(expect_errors=True, env=failing.environment(tmp_path, "fork", errno.EAGAIN, gate=gate))
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 5)
    gate.touch()
    site.signal(signal.SIGTTIN)
    site.signal(signal.SIGHUP)
    site.signal(signal.SIGUSR2)
    site.wait_log("Resource temporarily unavailable", 2)
    os.kill(site.workers()[0], signal.SIGTERM)
    storms.answered(clients, 5)
    gate.unlink()
    site.wait_log("Reload: done|Reload failed")
    until(lambda: len(storms.ready(site)) >= 2, "all workers", 60)
    storms.answered(clients, 5)
    storms.nothing_lost(clients)


# --- descriptors, disks, memory, clocks

@few
def test_no_descriptors_under_load(storm, load):
    """Idle clients take all of them: they are sent away, newcomers are served."""
    site = storm(count=1).start(prefix=("prlimit", "--nofile=64:64"))
    new, _, slow = site.storm.crowd(load, site)
    idle = []
    for _ in range(150):
        idle.append(site.connect())
        idle[-1].send(wire.request("GET", "/"))
    storms.answered([new, slow], 20)
    for one in idle:
        one.close()
    storms.answered([new, slow], 20)
    storms.nothing_lost([new, slow])


@few
def test_logs_on_a_full_disk_under_load(storm, load):
    """Lines are dropped, and nothing else: not by USR1 and not by HUP either."""
    site = storm(top='accesslog = "/dev/full"\nerrorlog = "/dev/full"').start()
    clients = site.storm.crowd(load, site)
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR1):
        storms.answered(clients, 10)
        site.signal(number)
    until(lambda: {slot.generation for slot in storms.ready(site)} == {2}, "the next generation")
    storms.answered(clients, 10)
    storms.nothing_lost(clients)


GREEDY = """
import resource
def app(environ, start_response):
    if environ["PATH_INFO"] == "/greedy":
        resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
        kept = [bytearray(1 << 20) for _ in range(4096)]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"one"]
"""


@pytest.mark.python
@an_app
@pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer wants more address space than the limit")
def test_an_app_without_memory(storm, load):
    """It may answer 500 or end: the others go on."""
    made = storm()
    site = made.start(expect_errors=True)
    made.write(GREEDY)
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: done")
    clients = made.crowd(load, site)
    storms.answered(clients, 5)
    for _ in range(3):
        with site.connect() as client:
            client.send(wire.request("GET", "/greedy", close=True))
            try:
                assert client.read().status == 500
            except wire.Closed:
                pass
        storms.answered(clients, 5)
    only(clients, 3)
    site.wait_workers(2)


@few
def test_the_clock_is_set(storm, load, tmp_path):
    """An hour forth, back and further back: nobody is killed, no timer waits, Date is the clock's."""
    gate = tmp_path / "gate"
    site = storm(pool="timeout = 1s").start(env=failing.clock(tmp_path, gate))
    clients = site.storm.crowd(load, site)
    workers = site.workers()
    dates = set()
    for offset in (None, 3600, -3600, None):
        gate.unlink(missing_ok=True)
        if offset:
            gate.write_text(str(offset))
        time.sleep(1.2)                                 # longer than the timeout
        storms.answered(clients, 5)
        dates.add(site.ask("GET", "/").get("Date").split()[4][:2])
    assert sorted(site.workers()) == sorted(workers) and "TIMEOUT" not in site.log()
    assert len(dates) >= 3
    storms.nothing_lost(clients)


# --- signals at random

def test_signals_at_random(storm, load):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    site = storm().start()
    clients = site.storm.crowd(load, site)
    storms.answered(clients, 5)
    before = storms.at_rest(site)
    for _ in range(150):
        site.signal(dice.choice(HARMLESS))
        time.sleep(dice.random() * 0.02)
    storms.answered(clients, 5)
    storms.reload(site)                                 # the number of the file again
    storms.calm(site, before)
    storms.nothing_lost(clients)
