"""Worker type gthread: requests overlap, threads last, clients never hold one, busy workers leave connections to idle ones."""

import json
import os
import re
import signal
import threading

import pytest

from lib import procfs, wire
from lib.crowd import Crowd
from lib.limits import until
from lib.server import APPS

pytestmark = [pytest.mark.workers("gthread"), pytest.mark.python]

HERE = APPS / "workers"
HOLDING = r"holding (\d+) (\S+)"


@pytest.fixture
def held(tmp_path):
    """The file that ends what holds."""
    path = tmp_path / "released"
    yield path
    path.touch()


def site_of(monoceros, *arguments, settings="", **options):
    return monoceros(*arguments, config=f"""
        chdir = "{HERE}"
        {settings}
        app "threaded" {{ type = wsgi  module = "threaded:app" }}
        server "all" {{
            listen = {{"{{address}}"}}
            route "fixed" {{ match {{ prefix = "/fixed" }}  respond {{ body = "fixed" }} }}
            route "rest" {{ app = threaded }}
        }}
    """, **options)


def hold(site, held, count, path="/hold"):
    """This many requests that do not end until the file is there."""
    clients = [site.connect() for _ in range(count)]
    for client in clients:
        client.send(wire.request("GET", f"{path}?file={held}"))
    return clients


def told(response):
    assert response.status == 200, response
    return json.loads(response.body)


def test_requests_overlap_and_loop_handlers_go_on(monoceros, held):
    site = site_of(monoceros, settings="threads = 4")
    clients = hold(site, held, 4)
    found = site.wait_log(HOLDING, 4)
    assert len({match[2] for match in found}) == 4
    assert site.ask("GET", "/fixed").text == "fixed"        # nobody is free, nobody is needed
    held.touch()
    assert [client.read().text for client in clients] == ["released"] * 4
    assert site.ask("GET", "/").text == found[0][1]


def test_one_more_waits_its_turn(monoceros, held):
    site = site_of(monoceros, settings="threads = 2")
    with site.connect() as late:                            # accepted while there is room
        late.ask("GET", "/fixed")
        clients = hold(site, held, 2)
        site.wait_log(HOLDING, 2)
        late.send(wire.request("GET", "/"))
        assert site.log().count("holding") == 2 and late.still_open()
        held.touch()
        assert late.read().status == 200
        assert [client.read().text for client in clients] == ["released"] * 2


def test_threads_last_and_keep_what_is_theirs(monoceros, held):
    """As many objects as threads have run the app: never more than `threads` and the one that is left over."""
    site = site_of(monoceros, settings="threads = 4")
    for _ in range(3):
        clients = [site.connect() for _ in range(8)]
        for _ in range(20):
            for client in clients:
                client.send(wire.request("GET", "/thread"))
            answers = [told(client.read()) for client in clients]
    by_name = {}
    held_by = {match[2] for match in (hold(site, held, 4), site.wait_log(HOLDING, 4))[1]}
    held.touch()
    for _ in range(200):
        answers.append(told(site.ask("GET", "/thread")))
    for answer in answers:
        by_name.setdefault(answer["name"], set()).add((answer["object"], answer["id"]))
    assert all(len(objects) == 1 for objects in by_name.values()), by_name
    made = answers[-1]["made"]
    assert len(made) == len(set(made)) <= 5, made
    assert set(made) | held_by <= {f"gthread-{number}" for number in range(1, 6)}
    assert not any(answer["daemon"] for answer in answers)      # threads of the app inherit this
    names = {open(f"/proc/{answers[0]['pid']}/task/{task}/comm", encoding="utf-8").read().strip()
             for task in os.listdir(f"/proc/{answers[0]['pid']}/task")}
    assert len(os.listdir(f"/proc/{answers[0]['pid']}/task")) >= 5, names


def test_bad_clients_hold_no_thread(monoceros):
    """One thread, which serves on among half-sent heads and clients that read nothing of what they asked for."""
    site = site_of(monoceros, settings="threads = 1")
    with Crowd() as crowd:
        crowd.half_requests(site.address, 50)
        crowd.slow_readers(site.address, 20, "/big?size=5000000")
        for _ in range(20):
            assert site.ask("GET", "/").status == 200
        for connection in crowd.connections[50:]:       # they have their response whole, when they like
            assert len(connection.read().body) == 5000000


def test_busy_workers_leave_connections_to_idle_ones(monoceros, held):
    site = site_of(monoceros, settings="threads = 2\nworkers = 2")
    site.wait_workers(2)
    clients = hold(site, held, 3)
    busy = [match[1] for match in site.wait_log(HOLDING, 3)]
    full = max(set(busy), key=busy.count)
    assert busy.count(full) == 2
    for _ in range(30):
        assert site.ask("GET", "/").text != full
    clients += hold(site, held, 1)
    site.wait_log(HOLDING, 4)
    held.touch()
    assert all(client.read().text == "released" for client in clients)


def test_connections_are_kept_unless_told_otherwise(monoceros):
    site = site_of(monoceros)
    with site.connect() as client:
        assert client.ask("GET", "/").keep
        assert client.ended()                           # after 2 s
    assert not site_of(monoceros, settings="keepalive = 0").ask("GET", "/").keep


def test_threads_of_sync_mean_gthread(monoceros):
    site = monoceros("threaded:app", "-k", "sync", "--threads", "2", cwd=HERE)
    assert "Using worker: gthread" in site.log()
    assert monoceros("threaded:app", "-k", "sync", cwd=HERE).log().count("Using worker: sync") == 1


@pytest.mark.parametrize("keep", [False, True])
def test_term_under_load_loses_nothing(monoceros, load, keep):
    site = site_of(monoceros, settings="threads = 3\nworkers = 2")
    site.wait_workers(2)
    clients = load(site.address, clients=12, keep=keep, request=wire.request("GET", "/wait?seconds=0.01", close=not keep))
    clients.wait_answered(200)
    site.signal(signal.SIGTERM)
    until(lambda: clients.refused, "the listener to close")
    clients.stop()
    assert clients.lost == clients.wrong == 0 and clients.stale == 0, (clients.counts, clients.notes)
    assert site.wait() == 0


def test_killed_workers_are_replaced(monoceros, load):
    site = site_of(monoceros, settings="threads = 3\nworkers = 2")
    clients = load(site.address, clients=8, keep=True)
    for _ in range(3):
        victim = site.wait_workers(2)[0]
        clients.wait_answered(clients.answered + 50)
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in site.workers(), "the death")
    site.wait_workers(2)
    clients.wait_answered(clients.answered + 50)
    clients.stop()
    assert clients.wrong == 0, clients.notes
    assert site.log().count("was sent SIGKILL!") == 3


def test_a_stop_does_not_wait_for_stuck_threads(monoceros, held):
    site = site_of(monoceros, settings="threads = 2\ngraceful_timeout = 1")
    clients = hold(site, held, 1)
    pid = site.wait_log(HOLDING)[0][1]
    site.signal(signal.SIGTERM)
    assert clients[0].ended()
    assert site.wait() == 0
    assert f"[{pid}] [WARNING] 1 thread is still inside the app: left behind" in site.log()


def test_an_app_that_keeps_the_lock_is_silent(monoceros):
    """The loop turns without the interpreter's lock; it must not hide that nothing else can have it."""
    site = site_of(monoceros, settings="threads = 2\ntimeout = 2", expect_errors=True)
    pid = int(site.ask("GET", "/").text)
    with site.connect() as client:
        client.send(wire.request("GET", "/lock?seconds=100"))
        assert client.ended()
    site.wait_log(rf"Worker \(pid:{pid}\) was killed by the arbiter \(SIG(ABRT|KILL)\) after WORKER TIMEOUT")
    log = site.log()
    assert f"[CRITICAL] WORKER TIMEOUT (pid:{pid}) in GET /lock?seconds=100 for " in log
    assert "keep_the_lock" in log                       # the Python stack
    assert int(site.ask("GET", "/").text) != pid


def test_threads_at_work_are_no_silence(monoceros, held):
    site = site_of(monoceros, settings="threads = 2\ntimeout = 1")
    clients = hold(site, held, 2)
    pid = site.wait_log(HOLDING, 2)[0][1]
    site.signal(signal.SIGTTIN)
    site.wait_workers(2)
    for _ in range(3):                                  # the other one has them all: this one is not alone any more
        until(lambda: site.ask("GET", "/wait?seconds=1").status == 200, "time to pass")
    held.touch()
    assert [client.read().text for client in clients] == ["released"] * 2
    assert int(pid) in site.workers() and "TIMEOUT" not in site.log()


def test_many_kinds_at_once(monoceros):
    """Fast, slow and large requests on kept connections, from more clients than threads: each gets its own answer."""
    site = site_of(monoceros, settings="threads = 4")
    wrong = []

    def client(number):
        with site.connect() as c:
            for turn in range(25):
                size = 1000 * number + turn
                paths = [f"/big?size={size}", "/fixed", "/wait?seconds=0.002" if turn % 5 == 0 else "/"]
                for path in paths:
                    c.send(wire.request("GET", path))       # pipelined
                answers = [c.read() for _ in paths]
                if [len(answers[0].body), answers[1].text, answers[2].status] != [size, "fixed", 200]:
                    wrong.append((number, turn, answers))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert re.search(r"left behind", site.stop()) is None


def test_threads_are_not_started_anew(monoceros):
    site = site_of(monoceros, settings="threads = 3")
    pid = int(site.ask("GET", "/").text)
    before = set(os.listdir(f"/proc/{pid}/task"))
    for _ in range(100):
        site.ask("GET", "/")
    assert procfs.alive(pid) and set(os.listdir(f"/proc/{pid}/task")) == before
