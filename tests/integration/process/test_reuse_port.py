"""reuse_port: a socket for each worker, none of whose queues is ever lost."""

import itertools
import os
import signal
import threading

import pytest

from lib import procfs, server as under_test, wire
from lib.limits import until

anew = pytest.mark.skipif(bool(under_test.UNDER), reason="the program that is started anew is valgrind there")

NATIVE = """
pidfile = "{tmp}/pid"
reuse_port = {reuse}
pool "web" { worker_class = {worker}  workers = {count} }
server "main" { listen = {"{address}", "unix:{tmp}/http.sock"}  route "all" { respond { body = "here" } } }
"""


def native(monoceros, count, reuse="yes", **options):
    return monoceros(config=NATIVE.replace("{count}", str(count)).replace("{reuse}", reuse), **options)


def listeners():
    """Rows of /proc/net/tcp: those that listen come first, and the rest may be long."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        next(file)
        return list(itertools.takewhile(lambda row: row[3] == "0A", map(str.split, file)))


def sockets(address):
    """Inodes of the sockets that listen there."""
    return {f"socket:[{row[9]}]" for row in listeners() if row[1].endswith(f":{address[1]:04X}")}


def held(pid, address):
    """Those of them that a process has."""
    return sockets(address) & set(procfs.fds(pid).values())


def seats(site, address=None):
    """Socket by worker; no two have the same, and each has one only."""
    found = {pid: held(pid, address or site.address) for pid in site.workers()}
    one_each = all(len(own) == 1 for own in found.values()) and len(set().union(*found.values())) == len(found)
    return found if one_each else None


def settled(site, count):
    until(lambda: len(sockets(site.address)) == count and len(site.workers()) == count and seats(site), f"{count} sockets, one a worker")
    return seats(site)


def test_a_socket_for_each(monoceros):
    site = native(monoceros, 3)
    site.wait_workers(3)
    settled(site, 3)
    assert len(held(site.pid, site.address)) == 3           # the arbiter keeps them all
    for _ in range(20):
        assert site.ask("GET", "/").text == "here"
    assert wire.ask(str(site.directory / "http.sock"), "GET", "/").text == "here"
    site.stop()
    assert not sockets(site.address)


def test_of_python_workers_too(monoceros):
    site = monoceros("basic:app", "-w", "3", "--reuse-port")
    site.wait_workers(3)
    settled(site, 3)
    served = {site.ask("GET", "/who").text for _ in range(60)}
    assert served == {str(pid) for pid in site.workers()}


def test_without_it_all_share_one(monoceros):
    site = native(monoceros, 3, reuse="no")
    site.wait_workers(3)
    assert len(sockets(site.address)) == 1


def test_a_successor_inherits_the_queue(monoceros):
    """Connections in the queue of a worker that is killed are answered by the next one on its seat."""
    site = monoceros("basic:app", "-w", "2", "--reuse-port", expect_errors=True)
    before = settled(site, 2)
    victim, socket = next((pid, own) for pid, own in before.items())
    os.kill(victim, signal.SIGSTOP)
    clients = [wire.Connection(site.address) for _ in range(40)]
    for one in clients:
        one.send(wire.request("GET", "/who", close=True))
    until(lambda: backlog(socket) > 0, "connections in the queue of the one that stands still")
    os.kill(victim, signal.SIGKILL)
    answers = [one.read().text for one in clients]
    for one in clients:
        one.close()
    after = settled(site, 2)
    heir = next(pid for pid, own in after.items() if own == socket)
    assert heir not in before and str(heir) in answers and str(victim) not in answers


def backlog(inodes):
    """Connections that wait to be accepted."""
    return sum(int(row[4].split(":")[1], 16) for row in listeners() if f"socket:[{row[9]}]" in inodes)


def test_workers_come_and_go_under_load(monoceros, load):
    site = monoceros("basic:app", "-w", "2", "--reuse-port")
    site.wait_workers(2)
    clients = load(site.address, clients=6)
    for _ in range(4):                                      # replaced: the socket stays
        worker = site.workers()[0]
        kept = held(worker, site.address)
        os.kill(worker, signal.SIGTERM)
        until(lambda worker=worker: worker not in site.workers() and len(site.workers()) == 2, "the next one")
        assert kept <= sockets(site.address)
    for count in (3, 4):
        site.signal(signal.SIGTTIN)
        settled(site, count)
    clients.wait_answered(clients.answered + 50)
    for count in (3, 2, 1):
        site.signal(signal.SIGTTOU)
        settled(site, count)
        clients.wait_answered(clients.answered + 20)
    site.signal(signal.SIGTTIN)
    settled(site, 2)
    clients.wait_answered(clients.answered + 50)
    clients.stop()
    assert not clients.lost and not clients.refused and not clients.wrong, (clients.counts, clients.notes)


def test_a_stop_under_load(monoceros, load):
    site = monoceros("basic:app", "-w", "3", "--reuse-port")
    site.wait_workers(3)
    clients = load(site.address, clients=6)
    clients.wait_answered(50)
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    clients.stop()
    assert not clients.lost and not clients.wrong, (clients.counts, clients.notes)


def test_the_arbiter_is_killed(monoceros, load):
    """Each worker switches its own socket off and serves its queue."""
    site = native(monoceros, 3, expect_errors=True)
    site.wait_workers(3)
    clients = load(site.address, clients=4)
    clients.wait_answered(20)
    workers = site.workers()
    site.signal(signal.SIGKILL)
    site.wait()
    until(lambda: not any(procfs.alive(pid) for pid in workers), "the workers to leave")
    clients.stop()
    assert not clients.lost and not clients.wrong, (clients.counts, clients.notes)


def serving(site):
    """Workers that answer new connections."""
    return {site.ask("GET", "/who").text for _ in range(60)}


def test_a_seat_that_was_to_go_is_taken_again(monoceros):
    """One worker fewer and, before its socket is closed, one more: the kernel chooses that socket again."""
    site = monoceros("basic:app", "-w", "3", "--reuse-port")
    settled(site, 3)
    site.signal(signal.SIGTTOU)
    site.wait_log("2 workers wanted")
    site.signal(signal.SIGTTIN)
    site.wait_log("3 workers wanted")
    settled(site, 3)
    until(lambda: len(serving(site)) == 3, "all three to serve")


def test_a_seat_without_a_worker(monoceros, tmp_path):
    """Births fail, and two of three seats are empty: the third one's worker serves the queues of all."""
    app = tmp_path / "wobbly.py"
    app.write_text("""import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
""")
    site = monoceros("wobbly:app", "-w", "3", "--reuse-port", "--chdir", str(tmp_path), expect_errors=True)
    settled(site, 3)
    until(lambda: len(serving(site)) == 3, "all three to serve")
    app.write_text("raise RuntimeError('not now')\n")
    *dead, alive = site.workers()
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    site.wait_log("fail to start")
    assert serving(site) == {str(alive)}


ROLLBACK = """
pidfile = "{tmp}/pid"  reuse_port = yes  worker_class = {worker}  workers = 2
app "who" { type = wsgi  module = "basic:app" }
server "main" { listen = {"{address}"}  route "all" { app = who } }
"""


@anew
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("count", ["4", "1"])
def test_back_from_an_upgrade_under_load(monoceros, load, count, how):
    """The new program, of more or fewer workers, leaves again: nothing is lost, and both workers of the old one serve."""
    site = monoceros(config=ROLLBACK, expect_errors=True)
    settled(site, 2)
    clients = load(site.address, clients=6)
    clients.wait_answered(50)
    path = site.directory / "test.conf"
    path.write_text(path.read_text(encoding="utf-8").replace("workers = 2", f"workers = {count}"), encoding="utf-8")
    site.signal(signal.SIGUSR2)
    pid = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready")[0][1])
    clients.wait_answered(clients.answered + 100)
    os.kill(pid, how)
    until(lambda: len(sockets(site.address)) == 2, "the new one's sockets to go")
    site.wait_log("this one goes on")
    clients.wait_answered(clients.answered + 100)
    clients.stop()
    until(lambda: len(serving(site)) == 2, "both to serve")
    assert not clients.lost and not clients.refused and not clients.wrong, (clients.counts, clients.notes)


changes = pytest.mark.parametrize("old, new", [("3 yes", "3 yes"), ("4 yes", "2 yes"), ("1 yes", "3 yes"), ("2 no", "3 yes"), ("3 yes", "2 no")])


def rewrite(site, old, new):
    """Workers and reuse_port of the next configuration: the new ones, as words."""
    path = site.directory / "test.conf"
    text = path.read_text(encoding="utf-8")
    for name, was, now in zip(("workers", "reuse_port"), old.split(), new.split()):
        assert f"{name} = {was}" in text
        text = text.replace(f"{name} = {was}", f"{name} = {now}")
    path.write_text(text, encoding="utf-8")
    return new.split()


@anew
@changes
def test_an_upgrade_under_load(monoceros, load, old, new):
    """As many sockets, fewer, more, and the setting taken away or new."""
    count, reuse = old.split()
    site = native(monoceros, count, reuse=reuse)
    site.wait_workers(int(count))
    clients = load(site.address, clients=6)
    clients.wait_answered(50)
    kept = sockets(site.address)
    count, reuse = rewrite(site, old, new)
    site.signal(signal.SIGUSR2)
    pid = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready")[0][1])
    clients.wait_answered(clients.answered + 50)
    waiter = threading.Thread(target=site.wait)
    waiter.start()
    site.signal(signal.SIGTERM)
    waiter.join(60)
    number = int(count) if reuse == "yes" else 1
    until(lambda: len(sockets(site.address)) == number, f"{number} sockets, not {len(sockets(site.address))}")
    assert len(kept & sockets(site.address)) == min(number, len(kept))
    clients.wait_answered(clients.answered + 50)
    clients.stop()
    assert not clients.lost and not clients.refused and not clients.wrong, (clients.counts, clients.notes)
    os.kill(pid, signal.SIGTERM)
    until(lambda: not procfs.alive(pid), "the new one to end")
    assert not sockets(site.address)


@changes
def test_a_reload_under_load(monoceros, load, old, new):
    """The workers of the new generation sit down on the seats of the old one."""
    count, reuse = old.split()
    site = native(monoceros, count, reuse=reuse)
    site.wait_workers(int(count))
    clients = load(site.address, clients=6)
    clients.wait_answered(50)
    kept, before = sockets(site.address), set(site.workers())
    count, reuse = rewrite(site, old, new)
    site.signal(signal.SIGHUP)
    site.wait_log("Reload: done")
    until(lambda: not before & set(site.workers()) and len(site.workers()) == int(count), "the new workers")
    number = int(count) if reuse == "yes" else 1
    until(lambda: len(sockets(site.address)) == number, f"{number} sockets, not {len(sockets(site.address))}")
    assert len(kept & sockets(site.address)) == min(number, len(kept))
    clients.wait_answered(clients.answered + 50)
    clients.stop()
    assert not clients.lost and not clients.refused and not clients.wrong, (clients.counts, clients.notes)
