"""USR2: the program is replaced without a pause, or not at all."""

import os
import signal
import socket
import subprocess
import threading

import pytest

from lib import procfs, server as under_test, wire
from lib.limits import until

pytestmark = pytest.mark.skipif(bool(under_test.UNDER), reason="the program that is started anew is valgrind there")

NATIVE = """
pidfile = "{tmp}/pid"
{settings}
pool "web" { worker_class = {worker}  workers = 2 }
server "main" { listen = {"{address}", "unix:{tmp}/http.sock"{more}}  route "all" { respond { body = "here" } } }
"""


def native(monoceros, settings="", more="", **options):
    return monoceros(config=NATIVE.replace("{settings}", settings).replace("{more}", more), **options)


def pid_in(path):
    try:
        return int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def folder(site):
    return site.directory


def begin(site, old=None):
    """USR2 to the old one; the pid of the new one once it is ready."""
    site.wait_log("Booting worker")
    count = len(site.log().split("is ready. TERM")) - 1
    os.kill(old or site.pid, signal.SIGUSR2)
    return int(site.wait_log(r"The new master \(pid:(\d+)\) is ready\. TERM", count + 1)[-1][1])


def gone(*pids):
    until(lambda: not any(procfs.alive(pid) for pid in pids), f"{pids} to end")


def end(site, pid):
    """The new one, which is no child of ours."""
    os.kill(pid, signal.SIGTERM)
    gone(pid)


def finish(site, new):
    """TERM to the old one; the new one has its place then."""
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    site.wait_log("Master has been promoted")
    until(lambda: pid_in(folder(site) / "pid") == new, "the pidfile of the new one")
    assert not (folder(site) / "pid.2").exists()


def slow_ones(site, count, stop):
    """Requests of a second each, one after the other, in `count` threads; the answers that were none."""
    bad = []

    def client():
        while not stop.is_set():
            try:
                answer = site.ask("GET", "/slow?seconds=1")
                if answer.text != "at last":
                    bad.append(repr(answer))
            except (OSError, wire.WireError) as error:
                bad.append(repr(error))
    threads = [threading.Thread(target=client, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return bad, threads


def test_under_load_nothing_is_lost(monoceros, load, tmp_path):
    site = monoceros("basic:app", "-w", "3", "-p", tmp_path / "pid")
    site.directory = tmp_path
    stop = threading.Event()
    clients = load(site.address, clients=4)
    bad, threads = slow_ones(site, 2, stop)
    clients.wait_answered(20)
    old = site.workers()
    new = begin(site)
    assert pid_in(tmp_path / "pid") == site.pid and pid_in(tmp_path / "pid.2") == new
    assert procfs.parent(new) == site.pid
    clients.wait_answered(clients.answered + 50)
    finish(site, new)
    clients.wait_answered(clients.answered + 50)
    stop.set()
    for thread in threads:
        thread.join(60)
    clients.stop()
    assert not bad and not clients.lost and not clients.refused and not clients.wrong, (bad, clients.counts, clients.notes)
    gone(*old)
    assert int(site.ask("GET", "/who").text) in procfs.children(new)
    end(site, new)
    assert not (tmp_path / "pid").exists()


def test_back_again(monoceros, load):
    """WINCH takes the old one's workers away although it is in the foreground, the end of the new one brings them back."""
    site = native(monoceros)
    clients = load(site.address, clients=4)
    old = site.wait_workers(2)
    new = begin(site)
    site.signal(signal.SIGWINCH)
    gone(*old)
    assert site.alive()
    clients.wait_answered(clients.answered + 50)
    end(site, new)
    site.wait_log(r"The new master \(pid:\d+\) has left; this one goes on")
    site.wait_workers(2)
    clients.wait_answered(clients.answered + 50)
    clients.stop()
    assert not clients.lost and not clients.wrong and not clients.refused, (clients.counts, clients.notes)
    assert pid_in(folder(site) / "pid") == site.pid and not (folder(site) / "pid.2").exists()
    assert wire.ask(str(folder(site) / "http.sock"), "GET", "/").text == "here"
    newer = begin(site)                                 # and once more
    finish(site, newer)
    end(site, newer)


def test_the_old_one_is_killed(monoceros):
    """Its orphans leave the sockets alone, its successor takes over what it left behind."""
    site = native(monoceros, expect_errors=True)
    old = site.wait_workers(2)
    new = begin(site)
    os.kill(site.pid, signal.SIGKILL)
    site.wait()
    gone(*old)
    site.wait_log("Master has been promoted")
    until(lambda: pid_in(folder(site) / "pid") == new, "the pidfile of the new one")
    for address in (site.address, str(folder(site) / "http.sock")):
        for _ in range(5):
            assert wire.ask(address, "GET", "/").text == "here"
    end(site, new)
    assert not (folder(site) / "http.sock").exists() and not (folder(site) / "pid").exists()


def test_the_new_one_is_killed(monoceros):
    site = native(monoceros)
    new = begin(site)
    young = procfs.children(new)
    os.kill(new, signal.SIGKILL)
    site.wait_log(r"The new master \(pid:\d+\) was sent SIGKILL; this one goes on")
    gone(new, *young)
    assert not (folder(site) / "pid.2").exists()
    for address in (site.address, str(folder(site) / "http.sock")):
        for _ in range(5):
            assert wire.ask(address, "GET", "/").text == "here"
    site.stop()
    assert not (folder(site) / "http.sock").exists() and not (folder(site) / "pid").exists()


def test_only_one_at_a_time(monoceros):
    site = native(monoceros)
    new = begin(site)
    site.signal(signal.SIGUSR2)
    site.wait_log(r"USR2 signal ignored\. Child exists\.")
    os.kill(new, signal.SIGUSR2)
    site.wait_log(r"USR2 signal ignored\. Parent exists\.")
    assert len(site.log().split("Starting monoceros")) == 3
    finish(site, new)
    third = begin(site, new)                            # once it has its place it may be replaced itself
    assert pid_in(folder(site) / "pid.2") == third
    end(site, new)
    until(lambda: pid_in(folder(site) / "pid") == third, "the pidfile of the third")
    assert site.ask("GET", "/").text == "here"
    end(site, third)


@pytest.mark.parametrize("text, words, code", [
    ("nonsense = {", "test.conf", 1),
    ('errorlog = "{tmp}/none/log"\n', "none/log", 1),
], ids=["syntax", "log"])
def test_settings_that_are_wrong_by_now(monoceros, text, words, code):
    site = native(monoceros, expect_errors=True)
    path = folder(site) / "test.conf"
    good = path.read_text(encoding="utf-8")
    path.write_text(text.replace("{tmp}", str(folder(site))) + good, encoding="utf-8")
    before = site.wait_workers(2)
    site.signal(signal.SIGUSR2)
    log = site.wait_log(rf"The new master \(pid:\d+\) exited with code {code} before it was ready; this one goes on")[0].string
    assert words in log
    assert site.workers() == before and pid_in(folder(site) / "pid") == site.pid and not (folder(site) / "pid.2").exists()
    assert wire.ask(str(folder(site) / "http.sock"), "GET", "/").text == "here" and site.ask("GET", "/").text == "here"
    path.write_text(good, encoding="utf-8")
    new = begin(site)
    finish(site, new)
    end(site, new)


def test_an_app_that_does_not_start_any_more(monoceros, tmp_path):
    app = tmp_path / "fresh.py"
    app.write_text("from basic import app\n", encoding="utf-8")
    site = monoceros("fresh:app", "--pythonpath", f"{tmp_path},{under_test.APPS}", "-p", tmp_path / "pid", cwd=tmp_path, expect_errors=True)
    assert site.ask("GET", "/").status == 200
    app.write_text("import nothing_of_this_name\n", encoding="utf-8")
    site.signal(signal.SIGUSR2)
    log = site.wait_log(r"The new master \(pid:\d+\) exited with code 3 before it was ready; this one goes on")[0].string
    assert "nothing_of_this_name" in log
    assert site.ask("GET", "/").status == 200 and pid_in(tmp_path / "pid") == site.pid and not (tmp_path / "pid.2").exists()


def test_the_program_itself(monoceros, tmp_path):
    """Found by the path that we were started by, once it is another file; and missed when it is gone."""
    program = tmp_path / "served"
    program.symlink_to(under_test.BINARY)
    site = native(monoceros, prefix=["sh", "-c", 'program=$1; shift 2; exec "$program" "$@"', "sh", str(program)])
    program.unlink()
    site.signal(signal.SIGUSR2)
    site.wait_log(rf"Upgrade: cannot run {program}: No such file or directory")
    site.wait_log(r"before it was ready; this one goes on")
    assert site.ask("GET", "/").text == "here"
    program.write_text(f'#!/bin/sh\ntouch {tmp_path}/fresh\nexec {under_test.BINARY} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    new = begin(site)
    assert (tmp_path / "fresh").exists()
    finish(site, new)
    end(site, new)


# --- monoceros --upgrade

def test_in_one_step(monoceros, load):
    site = native(monoceros)
    clients = load(site.address, clients=4)
    site.wait_workers(2)
    pidfile = folder(site) / "pid"
    # The old one is a child of ours: until somebody has reaped it, it has not left.
    reaper = threading.Thread(target=site.wait)
    reaper.start()
    done = under_test.run("--upgrade", pidfile)
    reaper.join(60)
    new = pid_in(pidfile)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert f"done: the new one has the place of the old one (pid {new})" in done.stdout and new != site.pid
    clients.wait_answered(clients.answered + 50)
    clients.stop()
    assert not clients.lost and not clients.wrong and not clients.refused, (clients.counts, clients.notes)
    end(site, new)


def test_in_one_step_with_wrong_settings(monoceros):
    """Found before anything is started."""
    site = native(monoceros)
    before = site.wait_workers(2)
    path = folder(site) / "test.conf"
    path.write_text(path.read_text(encoding="utf-8") + "\nnonsense = 1\n", encoding="utf-8")
    done = under_test.run("--upgrade", folder(site) / "pid")
    assert done.returncode == 1
    assert "unknown setting 'nonsense'" in done.stderr and f"the check failed with code 1: process {site.pid} goes on" in done.stderr
    assert "usr2" not in site.log() and site.workers() == before


def test_in_one_step_with_an_app_that_passes_the_check_only(monoceros, tmp_path):
    app = tmp_path / "fresh.py"
    app.write_text("from basic import app\n", encoding="utf-8")
    site = monoceros("fresh:app", "--pythonpath", f"{tmp_path},{under_test.APPS}", "-p", tmp_path / "pid", cwd=tmp_path, expect_errors=True)
    assert site.ask("GET", "/").status == 200
    app.write_text("""
import pathlib
seen = pathlib.Path(__file__).with_name("seen")
if seen.exists():
    raise RuntimeError("the second time")
seen.touch()
from basic import app
""", encoding="utf-8")
    done = under_test.run("--upgrade", tmp_path / "pid")
    assert done.returncode == 1 and f"the new one ended with 3 before it was ready; process {site.pid} goes on" in done.stderr, done.stderr
    assert "the second time" in site.log()
    assert site.ask("GET", "/").status == 200 and pid_in(tmp_path / "pid") == site.pid


def test_only_a_monoceros_is_signalled(monoceros, tmp_path):
    """A pidfile that is stale, of another program, or of another server; and an upgrade that is under way."""
    other = subprocess.Popen(["sleep", "600"])
    try:
        for text, words in ((f"{other.pid}\n", "which is no monoceros: nothing was signalled"), ("999999999\n", "names no process that runs")):
            (tmp_path / "foreign").write_text(text, encoding="ascii")
            done = under_test.run("--upgrade", tmp_path / "foreign")
            assert done.returncode == 1 and words in done.stderr
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert under_test.run("--upgrade", tmp_path / "none").returncode == 1
    assert under_test.run("--upgrade").returncode == 2
    site = native(monoceros)
    (tmp_path / "foreign").write_text(f"{site.pid}\n", encoding="ascii")
    done = under_test.run("--upgrade", tmp_path / "foreign")
    assert done.returncode == 1 and "a monoceros with another pidfile" in done.stderr
    (tmp_path / "foreign").write_text(f"{site.wait_workers(2)[0]}\n", encoding="ascii")
    done = under_test.run("--upgrade", tmp_path / "foreign")
    assert done.returncode == 1 and "which is no monoceros" in done.stderr
    new = begin(site)
    done = under_test.run("--upgrade", folder(site) / "pid")
    assert done.returncode == 1 and f"an upgrade is under way already: process {new} beside process {site.pid}" in done.stderr
    done = under_test.run("--upgrade", folder(site) / "pid.2")
    assert done.returncode == 1 and f"its old one is process {site.pid}" in done.stderr
    assert site.log().count("Handling signal: usr2") == 1
    end(site, new)


def test_in_the_background(monoceros, tmp_path):
    log = tmp_path / "log"
    port = under_test.free_port()
    config = f"""
        pidfile = "{tmp_path}/pid"   daemon = yes   errorlog = "{log}"
        pool "web" {{ worker_class = {{worker}} }}
        server "main" {{ listen = "127.0.0.1:{port}"  route "all" {{ respond {{ body = "here" }} }} }}
    """
    launcher = monoceros(config=config, address=("127.0.0.1", port), ready=False)
    assert launcher.wait() == 0
    old = pid_in(tmp_path / "pid")
    try:
        until(lambda: len(procfs.children(old)) == 1, "the worker")
        os.kill(old, signal.SIGUSR2)
        until(lambda: "is ready. TERM" in log.read_text(encoding="utf-8"), "the new one")
        new = pid_in(tmp_path / "pid.2")
        assert procfs.parent(new) == old
        os.kill(old, signal.SIGTERM)
        gone(old)
        until(lambda: pid_in(tmp_path / "pid") == new, "the pidfile")
        assert launcher.ask("GET", "/").text == "here"
        os.kill(new, signal.SIGTERM)
        gone(new)
    finally:
        for path in (tmp_path / "pid", tmp_path / "pid.2"):
            if pid_in(path):
                os.kill(pid_in(path), signal.SIGKILL)


def test_other_addresses(monoceros):
    """The new settings name one address more and one less: the one less is served by the old one to its end, and its file goes with it."""
    site = native(monoceros)
    path = folder(site) / "test.conf"
    port = under_test.free_port()
    path.write_text(path.read_text(encoding="utf-8").replace(f'"unix:{folder(site)}/http.sock"', f'"127.0.0.1:{port}"'), encoding="utf-8")
    file = folder(site) / "http.sock"
    new = begin(site)
    for address in (site.address, ("127.0.0.1", port), str(file)):
        assert wire.ask(address, "GET", "/").text == "here"
    for pid in [new, *procfs.children(new)]:
        assert len([one for one in procfs.fds(pid).values() if one.startswith("socket:") and one in sockets_at(file)]) == 0
    finish(site, new)
    assert not file.exists()
    for address in (site.address, ("127.0.0.1", port)):
        assert wire.ask(address, "GET", "/").text == "here"
    end(site, new)


def sockets_at(path):
    with open("/proc/net/unix", encoding="utf-8") as file:
        return {f"socket:[{line.split()[6]}]" for line in file if line.rstrip().endswith(f" {path}")}


def test_given_sockets(monoceros):
    """fd://N is N for the new one, too."""
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        given.listen(50)
        os.set_inheritable(given.fileno(), True)
        config = NATIVE.replace('"{address}"', f'"fd://{given.fileno()}"').replace("{settings}", "").replace("{more}", "")
        site = monoceros(config=config, address=given.getsockname(), pass_fds=[given.fileno()])
        new = begin(site)
        finish(site, new)
        assert site.ask("GET", "/").text == "here"
        end(site, new)


def test_any_port(monoceros, tmp_path):
    """Port 0 stays the port that it was."""
    site = native(monoceros, more=', "127.0.0.1:0"')
    port = int(site.wait_log(r"Listening at: .*http://127\.0\.0\.1:(\d+) ")[0][1])
    new = begin(site)
    assert f"http://127.0.0.1:{port} ({new})" in site.log()
    finish(site, new)
    assert wire.ask(("127.0.0.1", port), "GET", "/").text == "here"
    end(site, new)


def test_no_child_has_the_words(monoceros, tmp_path):
    (tmp_path / "words.py").write_text("""
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(key for key in os.environ if key.startswith(("MONOCEROS_FD", "MONOCEROS_PID", "LISTEN_"))).encode()]
""", encoding="utf-8")
    site = monoceros("words:app", "--pythonpath", tmp_path, env={"LISTEN_PID": "1", "LISTEN_FDS": "1", "MONOCEROS_FD": "nonsense"})
    assert site.ask("GET", "/").text == ""
    new = begin(site)
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    site.wait_log("Master has been promoted")
    assert site.ask("GET", "/").text == ""
    end(site, new)
