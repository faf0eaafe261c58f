"""HUP: a new generation is read, checked and proved beside the old one; nothing is lost, and what is broken changes nothing."""

import os
import signal
import socket
import threading

import pytest

from lib import board, procfs, storms, wire
from lib.fixtures import WORKERS
from lib.limits import patience, until
from lib.server import free_port

CONFIG = """
{more}
keepalive = 5s
pool "web" { worker_class = {worker}  workers = 2 }
server "main" { listen = "{address}"  route "all" { respond { body = "one" } } }
"""

APP = """
import os, time
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/slow":
        time.sleep(float(environ["QUERY_STRING"]))
    return ["%s".encode()]
"""

one_type = pytest.mark.workers(WORKERS[0])


def change(site, old, new):
    path = site.directory / "test.conf"
    text = path.read_text()
    assert old in text
    storms.put(path, text.replace(old, new))


def hup(site, count=1):
    site.signal(signal.SIGHUP)
    return site.wait_log("Reload: done", count)


def loader(site):
    return [pid for pid in procfs.children(site.pid) if procfs.alive(pid) and pid not in site.workers() and os.getpgid(pid) == pid]


def ready(site, count):
    """Pids of the workers, when so many have loaded their app."""
    until(lambda: len(storms.ready(site)) == count == len(site.workers()), f"{count} workers")
    return site.workers()


def generations(site):
    return {slot.generation for slot in board.slots(site.pid)}


@pytest.fixture
def project(monoceros, tmp_path):
    """An app whose code changes: project.write("two") and so on."""
    def write(text, name="shop.py"):
        storms.put(tmp_path / name, text if "\n" in text else APP % text)

    def start(*args, **options):
        write("one")
        return monoceros("shop:app", *args, cwd=tmp_path, **options)
    start.write, start.monoceros, start.directory = write, monoceros, tmp_path
    return start


# --- what changes

def test_new_settings_are_served_by_new_workers(monoceros):
    site = monoceros(config=CONFIG.replace("{more}", ""))
    old = site.wait_workers(2)
    change(site, '"one"', '"two"')
    hup(site)
    until(lambda: len(new := site.workers()) == 2 and not set(new) & set(old), "other workers")
    assert all(site.ask("GET", "/").body == b"two" for _ in range(8))
    log = site.log()
    assert "Handling signal: hup" in log and "Hang up: Master" in log
    assert "generation 2 takes over from generation 1" in log and "killed" not in log


@pytest.mark.python
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["plain", "preload"])
def test_new_code_is_served(project, options):
    site = project("-w", "2", *options)
    ready(site, 2)
    zygotes = set(site.processes()) - set(site.workers())
    assert site.ask("GET", "/").body == b"one"
    project.write("two")
    hup(site)
    assert all(site.ask("GET", "/").body == b"two" for _ in range(8))
    until(lambda: not zygotes & set(site.processes()), "the old zygote to leave")


@pytest.mark.parametrize("keep", [False, True], ids=["new", "kept"])
def test_nothing_is_lost(monoceros, load, keep):
    site = monoceros(config=CONFIG.replace("{more}", ""))
    clients = load(site.address, keep=keep)
    for i in range(5):
        clients.wait_answered(200 * (i + 1))
        hup(site, i + 1)
    clients.wait_answered(clients.answered + 100)
    clients.stop()
    assert not (clients.lost or clients.stale or clients.refused or clients.wrong), (clients.counts, clients.notes)


@pytest.mark.python
def test_nothing_is_lost_of_an_app(project, load):
    site = project("-w", "2", "--keep-alive", "5")
    fresh, kept = load(site.address, clients=4), load(site.address, clients=4, keep=True)
    for i in range(3):
        fresh.wait_answered(fresh.answered + 50)
        kept.wait_answered(kept.answered + 50)
        hup(site, i + 1)
    for clients in (fresh, kept):
        clients.stop()
        assert not (clients.lost or clients.stale or clients.refused or clients.wrong), (clients.counts, clients.notes)


def test_a_kept_connection_is_answered_and_closed(monoceros):
    site = monoceros(config=CONFIG.replace("{more}", ""))
    with site.connect() as client:
        assert client.ask("GET", "/").keep
        change(site, '"one"', '"two"')
        hup(site)
        last = client.ask("GET", "/")
        assert last.body == b"one" and not last.keep and client.ended()


def test_the_count_is_again_that_of_the_file(monoceros):
    site = monoceros(config=CONFIG.replace("{more}", ""))
    site.wait_workers(2)
    site.signal(signal.SIGTTIN)
    site.wait_workers(3)
    hup(site)
    site.wait_workers(2)
    change(site, "workers = 2", "workers = 5")
    hup(site, 2)
    site.wait_workers(5)
    change(site, "workers = 5", "workers = 1")
    hup(site, 3)
    site.wait_workers(1)


@one_type
def test_pools_come_go_and_change_their_names(monoceros):
    two = CONFIG.replace("{more}", "") + """
pool "more" { worker_class = {worker}  workers = 1 }
server "second" { listen = "127.0.0.1:{other}"  pool = more  route "all" { respond { body = "more" } } }
"""
    other = ("127.0.0.1", free_port())
    site = monoceros(config=two.replace("{other}", str(other[1])))
    site.wait_workers(3)
    assert wire.ask(other, "GET", "/").body == b"more"
    change(site, '"more" { w', '"renamed" { w')
    change(site, "pool = more", "pool = renamed")
    hup(site)
    site.wait_workers(3)
    assert wire.ask(other, "GET", "/").body == b"more"
    path = site.directory / "test.conf"
    whole = path.read_text()
    path.write_text(whole[:whole.index('pool "renamed"')])
    hup(site, 2)
    site.wait_workers(2)
    until(lambda: refused(other), "the address to be free")
    path.write_text(whole)
    hup(site, 3)
    site.wait_workers(3)
    assert wire.ask(other, "GET", "/").body == b"more" and site.ask("GET", "/").body == b"one"


def refused(address):
    try:
        with socket.create_connection(address, timeout=0.2):
            return False
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False


@one_type
def test_files_move(monoceros, tmp_path):
    more = f'errorlog = "{tmp_path}/old.log"\naccesslog = "{tmp_path}/old.access"\npidfile = "{tmp_path}/old.pid"\nproc_name = "before"'
    site = monoceros(config=CONFIG.replace("{more}", more))
    site.log_path = tmp_path / "old.log"
    site.wait_workers(2)
    for word in ("errorlog", "accesslog", "pidfile"):
        change(site, f'{word} = "{tmp_path}/old', f'{word} = "{tmp_path}/new')
    change(site, '"before"', '"after"')
    site.signal(signal.SIGHUP)
    site.log_path = tmp_path / "new.log"
    site.wait_log("Reload: done")
    assert not (tmp_path / "old.pid").exists() and int((tmp_path / "new.pid").read_text()) == site.pid
    assert "master [after]" in procfs.title(site.pid)
    assert site.ask("GET", "/").status == 200
    site.stop()
    assert '"GET / HTTP/1.1" 200' in (tmp_path / "new.access").read_text()
    assert not (tmp_path / "new.pid").exists()


@one_type
def test_logs_are_opened_again(monoceros, tmp_path):
    site = monoceros(config=CONFIG.replace("{more}", f'errorlog = "{tmp_path}/e.log"\naccesslog = "{tmp_path}/a.log"'))
    site.log_path = tmp_path / "e.log"
    site.wait_workers(2)
    for name in ("e.log", "a.log"):
        (tmp_path / name).rename(tmp_path / (name + ".1"))
    site.signal(signal.SIGHUP)
    until(lambda: (tmp_path / "e.log").exists(), "the new log")
    site.wait_log("Reload: done")
    assert site.ask("GET", "/").status == 200
    site.stop()
    assert "200" in (tmp_path / "a.log").read_text() and "200" not in (tmp_path / "a.log.1").read_text()


@pytest.mark.python
def test_the_environment_changes(monoceros, tmp_path):
    (tmp_path / "shop.py").write_text("""
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr((os.environ.get("MC_A"), os.environ.get("MC_B"))).encode()]
""")
    text = 'raw_env = {"MC_A=1"}\npool "web" { worker_class = {worker} }\napp "shop" { type = wsgi  module = "shop:app"  chdir = "%s" }\n' \
           'server "main" { listen = "{address}"  route "all" { app = "shop" } }' % tmp_path
    site = monoceros(config=text)
    assert site.ask("GET", "/").text == "('1', None)"
    change(site, "MC_A=1", "MC_B=2")
    hup(site)
    assert site.ask("GET", "/").text == "(None, '2')"


@one_type
def test_what_cannot_change_is_named(monoceros):
    site = monoceros(config=CONFIG.replace("{more}", ""))
    change(site, "keepalive = 5s", "keepalive = 5s daemon = yes")
    hup(site)
    assert "[WARNING] Reload: daemon stays as it was" in site.log()


# --- listeners

@one_type
def test_listeners_come_and_go(monoceros):
    ports = [free_port() for _ in range(2)]
    site = monoceros(config=CONFIG.replace("{more}", ""))
    change(site, 'listen = "', f'listen = {{"127.0.0.1:{ports[0]}", "unix:{site.directory}/x.sock", "')
    change(site, '"  route', '"}  route')
    hup(site)
    assert wire.ask(("127.0.0.1", ports[0]), "GET", "/").body == b"one"
    assert wire.ask(str(site.directory / "x.sock"), "GET", "/").body == b"one"
    change(site, f'"127.0.0.1:{ports[0]}", "unix:{site.directory}/x.sock"', f'"127.0.0.1:{ports[1]}"')
    hup(site, 2)
    assert wire.ask(("127.0.0.1", ports[1]), "GET", "/").body == b"one" and site.ask("GET", "/").body == b"one"
    assert not (site.directory / "x.sock").exists()
    until(lambda: refused(("127.0.0.1", ports[0])), "the old address to refuse")


@pytest.mark.python
@pytest.mark.workers("sync")
def test_the_queue_of_a_removed_listener_is_served(project):
    """A busy worker has not accepted them yet when it is told to leave."""
    project.write("one")
    text = 'keepalive = 5s\npool "web" { worker_class = {worker} }\napp "shop" { type = wsgi  module = "shop:app"  chdir = "%s" }\n' \
           'server "main" { listen = {"{address}", "127.0.0.1:%d"}  route "all" { app = "shop" } }'
    port = free_port()
    site = project.monoceros(config=text % (project.directory, port))
    site.wait_workers(1)
    with site.connect() as busy, wire.Connection(("127.0.0.1", port)) as queued:
        busy.send(wire.request("GET", "/slow?2"))
        until(lambda: any(slot.running for slot in board.slots(site.pid)), "the request to run")
        queued.send(wire.request("GET", "/"))
        change(site, f', "127.0.0.1:{port}"', "")
        project.write("two")
        hup(site)
        assert busy.read().body == b"one" and queued.read().body == b"one"
    until(lambda: refused(("127.0.0.1", port)), "the old address to refuse")


def test_an_address_in_use_changes_nothing(monoceros):
    site = monoceros(config=CONFIG.replace("{more}", ""))
    workers = site.wait_workers(2)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        change(site, 'listen = "', f'listen = {{"127.0.0.1:{port}", "')
        change(site, '"  route', '"}  route')
        site.signal(signal.SIGHUP)
        site.wait_log(rf"\[ERROR\] Reload failed: Connection in use: 127.0.0.1:{port}; generation 1 goes on")
    assert site.workers() == workers and site.ask("GET", "/").body == b"one"
    hup(site)
    assert wire.ask(("127.0.0.1", port), "GET", "/").body == b"one"


# --- what is broken changes nothing

def test_a_broken_file(monoceros):
    site = monoceros(config=CONFIG.replace("{more}", ""))
    workers = site.wait_workers(2)
    change(site, "respond {", "resbond {")
    site.signal(signal.SIGHUP)
    line = site.wait_log(r"\[ERROR\] Reload failed: .*")[0][0]
    assert "test.conf:5: unknown section 'resbond'" in line and line.endswith("generation 1 goes on")
    assert site.workers() == workers and site.ask("GET", "/").body == b"one"
    (site.directory / "test.conf").rename(site.directory / "gone")
    site.signal(signal.SIGHUP)
    site.wait_log(r"\[ERROR\] Reload failed: ", 2)
    (site.directory / "gone").rename(site.directory / "test.conf")
    change(site, 'resbond { body = "one"', 'respond { body = "two"')
    hup(site)
    assert site.ask("GET", "/").body == b"two" and site.log().count("[ERROR]") == 2


BROKEN = {
    "syntax": ("def app(:\n", "/shop.py, line 1); generation 1"),
    "import": ("\nimport nowhere_to_be_found\n", "ModuleNotFoundError: No module named 'nowhere_to_be_found' (/"),
    "name": ("apple = 1\n\n", "App failed to load: Failed to find attribute 'app' in 'shop'."),
    "exit": ("import os\nos._exit(7)\n", "Worker failed to boot: it exited with code 7"),
    "leaves": ("import os\nos._exit(0)\n", "Worker failed to boot: it exited with code 0"),
    "crash": ("import os\nos.kill(os.getpid(), 11)\n", "Worker failed to boot: it was sent SIGSEGV"),
}


@pytest.mark.python
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["plain", "preload"])
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_app(project, load, what, options):
    site = project("-w", "2", *options, expect_errors=True)
    workers = ready(site, 2)
    clients = load(site.address, clients=2)
    project.write(BROKEN[what][0])
    site.signal(signal.SIGHUP)
    line = site.wait_log(r"\[ERROR\] Reload failed: .*")[0][0]
    assert BROKEN[what][1] in line and line.endswith("generation 1 goes on")
    until(lambda: sorted(site.workers()) == sorted(workers), "the old workers alone")
    assert site.ask("GET", "/").body == b"one"
    project.write("two")
    hup(site)
    assert site.ask("GET", "/").body == b"two"
    clients.stop()
    assert not (clients.lost or clients.refused or clients.wrong), (clients.counts, clients.notes)


@pytest.mark.python
def test_an_import_that_hangs(project):
    site = project("-w", "1", "-t", str(patience(5)), expect_errors=True)
    ready(site, 1)
    project.write("import time\ntime.sleep(1000)\n")
    site.signal(signal.SIGHUP)
    site.wait_log(r"Reload failed: pool \"default\": .*silent for longer than timeout")
    assert site.ask("GET", "/").body == b"one"
    site.wait_workers(1)


@pytest.mark.python
def test_workers_that_end_at_once(project):
    site = project("-w", "1", expect_errors=True)
    ready(site, 1)
    project.write("import threading, os\nthreading.Timer(0.01, os._exit, (9,)).start()\n" + APP % "never")
    site.signal(signal.SIGHUP)
    site.wait_log(r"Reload failed: pool \"default\": ")
    assert site.ask("GET", "/").body == b"one"
    site.wait_workers(1)


# --- many, and in the middle

def test_a_storm_becomes_few_reloads(monoceros, load):
    site = monoceros(config=CONFIG.replace("{more}", ""))
    site.wait_workers(2)
    clients = load(site.address, clients=4)
    seen, ending = set(), threading.Event()

    def watch():
        while not ending.wait(0.005):
            seen.add(len(generations(site)))
    watcher = threading.Thread(target=watch)
    watcher.start()
    clients.wait_answered(50)
    for _ in range(60):
        site.signal(signal.SIGHUP)
        ending.wait(0.01)
    change(site, '"one"', '"two"')
    site.signal(signal.SIGHUP)
    until(lambda: site.ask("GET", "/").body == b"two" and len(generations(site)) == 1, "the last one")
    site.wait_workers(2)
    ending.set()
    watcher.join()
    clients.stop()
    assert max(seen) <= 2 and site.log().count("Reload: done") < 40
    assert not (clients.lost or clients.refused or clients.wrong), (clients.counts, clients.notes)


@pytest.mark.python
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stops_while_the_new_app_is_imported(project, number):
    site = project("-w", "2")
    ready(site, 2)
    project.write("import time\ntime.sleep(5)\n" + APP % "two")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: generation 2 is loaded")
    site.stop(number=number)


@pytest.mark.python
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_stops_while_the_configuration_is_read(project, tmp_path, number):
    (tmp_path / "gunicorn.conf.py").write_text("workers = 2\n")
    site = project("-c", tmp_path / "gunicorn.conf.py")
    ready(site, 2)
    (tmp_path / "gunicorn.conf.py").write_text("import time\ntime.sleep(1000)\n")
    site.signal(signal.SIGHUP)
    until(lambda: loader(site), "the loader")
    assert site.ask("GET", "/").status == 200
    site.stop(number=number)


@pytest.mark.python
def test_stops_while_old_workers_drain(project):
    site = project("-w", "2")
    ready(site, 2)
    with site.connect() as client:
        client.send(wire.request("GET", "/slow?2"))
        until(lambda: any(slot.running for slot in board.slots(site.pid)), "the request to run")
        project.write("two")
        hup(site)
        site.signal(signal.SIGTERM)
        assert client.read().body == b"one"
    assert site.wait() == 0


@pytest.mark.python
def test_an_old_worker_that_does_not_leave_is_killed(project):
    site = project("-w", "1", "--graceful-timeout", "1", expect_errors=True)
    old = site.wait_workers(1)[0]
    with site.connect() as client:
        client.send(wire.request("GET", "/slow?1000"))
        until(lambda: any(slot.running for slot in board.slots(site.pid)), "the request to run")
        hup(site)
        site.wait_log(rf"\(pid:{old}\).*killed|graceful_timeout is over")
        until(lambda: old not in site.workers(), "its end")
    assert site.ask("GET", "/").status == 200


@pytest.mark.python
def test_counting_while_it_reloads(project):
    site = project("-w", "2")
    ready(site, 2)
    project.write("import time\ntime.sleep(1)\n" + APP % "two")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: generation 2 is loaded")
    for number in (signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU):
        site.signal(number)
        site.wait_log(r"\d workers wanted", 1)
    site.wait_log("Reload: done")
    site.wait_workers(3)
    assert site.ask("GET", "/").body == b"two"


@pytest.mark.python
def test_the_loader_is_killed(project, tmp_path):
    (tmp_path / "gunicorn.conf.py").write_text("workers = 2\n")
    site = project("-c", tmp_path / "gunicorn.conf.py")
    workers = ready(site, 2)
    (tmp_path / "gunicorn.conf.py").write_text("import time\ntime.sleep(1000)\n")
    site.signal(signal.SIGHUP)
    os.kill(until(lambda: loader(site), "the loader")[0], signal.SIGKILL)
    site.wait_log("Reload failed: the process that read the configuration was sent SIGKILL; generation 1 goes on")
    assert site.workers() == workers
    (tmp_path / "gunicorn.conf.py").write_text("workers = 3\n")
    hup(site)
    site.wait_workers(3)


@pytest.mark.python
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["worker", "zygote"])
def test_somebody_kills_the_new_one(project, options):
    """Who is killed from outside says nothing about the app: it is tried again."""
    site = project("-w", "1", *options)
    ready(site, 1)
    old = set(site.processes())
    project.write("import time\ntime.sleep(1)\n" + APP % "two")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: generation 2 is loaded")
    victim = until(lambda: [pid for pid in (site.workers() if not options else procfs.children(site.pid))
                            if pid not in old and procfs.alive(pid)], "the victim")[0]
    os.kill(victim, signal.SIGKILL)
    site.wait_log("Reload: done")
    assert site.ask("GET", "/").body == b"two"


@pytest.mark.python
def test_the_old_zygote_dies_meanwhile(project):
    site = project("-w", "2")
    workers = ready(site, 2)
    zygote = next(pid for pid in procfs.children(site.pid) if "zygote" in procfs.title(pid))
    project.write("import time\ntime.sleep(1)\n" + APP % "two")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: generation 2 is loaded")
    os.kill(zygote, signal.SIGKILL)
    os.kill(workers[0], signal.SIGKILL)
    site.wait_log("Reload: done")
    site.wait_workers(2)
    assert site.ask("GET", "/").body == b"two"


@pytest.mark.python
def test_before_the_start_is_complete(project, tmp_path):
    project.write("one")
    site = project("-w", "2", ready=False)
    project.write("import time\ntime.sleep(1)\n" + APP % "two")
    site.wait_log("Booting worker")
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: done")
    assert site.ask("GET", "/").body == b"two"


def test_recycling_goes_on_meanwhile(monoceros, load):
    site = monoceros(config=CONFIG.replace("{more}", "max_requests = 30"))
    clients = load(site.address, clients=4, keep=True)
    for i in range(4):
        clients.wait_answered(clients.answered + 100)
        hup(site, i + 1)
    clients.stop()
    assert not (clients.lost or clients.stale or clients.refused or clients.wrong), (clients.counts, clients.notes)
    site.wait_workers(2)
