"""monoceros --status: what an operator and his scripts are told of a running server, and of one that does not run."""

import json
import os
import pwd
import re
import signal
import struct
import subprocess
import threading

import pytest

from lib import procfs, wire
from lib.limits import patience, until
from lib.server import APPS, BINARY, environment, run

HERE = APPS / "process"
WIDE = {"COLUMNS": "0"}


def status(site, *more):
    """The parsed JSON of a running server, by its pid."""
    done = run("--status", site.pid, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def worker_of(told, pid):
    return next(worker for worker in told["workers"] if worker["pid"] == pid)


def pool_of(told, name="default"):
    return next(pool for pool in told["pools"] if pool["name"] == name)


def test_a_table_and_the_same_as_json(monoceros, tmp_path):
    pidfile = tmp_path / "pid"
    site = monoceros("basic:app", "-w", "2", "-p", pidfile)
    workers = site.wait_workers(2)
    assert [site.ask("GET", "/").status for _ in range(5)] == [200] * 5
    site.ask("GET", "/nowhere")
    until(lambda: pool_of(status(site))["requests"] == 6, "six requests")
    until(lambda: pool_of(status(site))["workers"]["ready"] == 2, "two ready workers")

    done = run("--status", pidfile, env=WIDE)
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert re.match(rf"monoceros [\d.]+ \[basic:app\], pid {site.pid}, up [\d.]+s, generation 1$", lines[0])
    assert lines[1] == f"Listening at: {site.url}"
    assert re.match(r"POOL +TYPE +WORKERS", lines[3]) and re.match(r"default +\w+ +2/2 +fixed ", lines[4])
    assert lines[6].split()[:5] == ["PID", "POOL", "GEN", "STATE", "AGE"]
    assert sorted(int(line.split()[0]) for line in lines[7:]) == sorted(workers)

    told = status(site)
    assert told["arbiter"]["pid"] == site.pid and told["arbiter"]["name"] == "basic:app" and told["arbiter"]["generation"] == 1
    assert told["arbiter"]["reload"] == {"state": "none", "generation": None, "done": 0, "failed": 0, "last_done": None, "last_failed": None,
                                         "failure": None}
    pool = pool_of(told)
    assert pool["workers"] == {"wanted": 2, "min": 2, "max": 2, "starting": 0, "ready": 2, "draining": 0}
    assert (pool["status"]["2xx"] + pool["status"]["4xx"], pool["births"], pool["births_failed"]) == (6, 2, 0)
    assert sum(bucket["count"] for bucket in pool["latency"]["buckets"]) == 6 and pool["latency"]["p50_ms"] <= pool["latency"]["p99_ms"]
    for pid in workers:
        worker = worker_of(told, pid)
        assert worker["state"] == "ready" and worker["rss_bytes"] > 1 << 20 and worker["busy_with"] is None and worker["age_s"] > 0
        assert worker["heartbeat_s"] < patience(5)


def test_what_a_worker_is_busy_with(monoceros):
    site = monoceros("basic:app", "--threads", "4")
    worker = site.wait_workers(1)[0]
    client = wire.open_socket(site.address)
    client.sendall(b"GET /slow?seconds=60&quoted=%22 HTTP/1.1\r\nHost: a\r\n\r\n")
    told = until(lambda: (found := worker_of(status(site), worker))["busy_s"] and found, "a busy worker")
    assert told["state"] == "busy" and told["busy_with"] == "GET /slow?seconds=60&quoted=%22" and told["running"] == 1
    assert told["connections"]["open"] == 1 and told["connections"]["idle"] == 0
    text = run("--status", site.pid, env=WIDE).stdout
    assert re.search(rf"{worker} .* [\d.]+s GET /slow\?seconds=60", text)
    # For a narrow terminal the last column gives way, then others.
    narrow = subprocess.run([BINARY, "--status", str(site.pid)], env=environment({"COLUMNS": "60"}), text=True, capture_output=True, check=True)
    assert all(len(line) <= 60 for line in narrow.stdout.splitlines()[3:]) and "GET /" in narrow.stdout
    client.close()
    site.stop(number=signal.SIGINT)


REASONS = [("max_requests", None), ("killed", signal.SIGKILL), ("crash", signal.SIGSEGV), ("exit", signal.SIGTERM), ("scaling", signal.SIGTTOU)]


@pytest.mark.parametrize("reason, number", REASONS, ids=[reason for reason, _ in REASONS])
def test_restarts_by_reason(monoceros, reason, number):
    more = ("--max-requests", "3") if number is None else ()
    site = monoceros("basic:app", "-w", "2", *more, expect_errors=True)
    first = site.wait_workers(2)
    until(lambda: pool_of(status(site))["workers"]["ready"] == 2, "two ready workers")
    if number is None:
        for _ in range(6):
            site.ask("GET", "/")
    else:
        os.kill(site.pid if number == signal.SIGTTOU else first[0], number)
    pool = until(lambda: (pool := pool_of(status(site)))["restarts"][reason] and pool, f"a restart by {reason}")
    assert all(count == 0 for name, count in pool["restarts"].items() if name != reason), pool["restarts"]
    assert re.search(rf"{reason} \d$", run("--status", site.pid, env=WIDE).stdout, re.M)
    if number is None:      # what those that are gone have counted is not lost
        until(lambda: pool_of(status(site))["requests"] == 6, "all requests to be counted")


def test_failed_births_are_told(monoceros, tmp_path):
    app = tmp_path / "late.py"
    app.write_text("def app(environ, start):\n    start('200 OK', [])\n    return [b'here']\n")
    site = monoceros("late:app", "--chdir", tmp_path, expect_errors=True)
    worker = site.wait_workers(1)[0]
    until(lambda: pool_of(status(site))["workers"]["ready"] == 1, "a ready worker")
    app.write_text("raise SystemExit(9)\n")
    os.kill(worker, signal.SIGKILL)
    pool = until(lambda: (pool := pool_of(status(site)))["births_failed_in_a_row"] and pool, "a failed birth")
    assert pool["births_failed"] >= 1 and pool["restarts"]["killed"] == 1
    assert re.search(r'^Workers of pool "default" fail to start \(\d+ in a row\); next try in [\d.]+s$', run("--status", site.pid).stdout, re.M)


# --- servers that do not run

@pytest.mark.parametrize("text, words, code", [
    (None, "there is no such pidfile", 3),
    ("{dead}\n", "is stale, there is no process {dead}", 3),
    ("{self}\n", "process {self} is no arbiter of monoceros: the pidfile is stale", 3),
    ("web\n", "is no pidfile: it holds no number", 4),
])
def test_not_running(tmp_path, text, words, code):
    pidfile = tmp_path / "pid"
    process = subprocess.Popen(["true"])
    process.wait()
    names = {"dead": process.pid, "self": os.getpid()}
    if text:
        pidfile.write_text(text.format(**names))
    done = run("--status", pidfile)
    assert done.returncode == code and done.stdout == ""
    assert done.stderr.startswith("monoceros: ") and words.format(**names) in done.stderr and done.stderr.count("\n") == 1


def test_the_pidfile_of_the_configuration(monoceros, tmp_path):
    site = monoceros(config='pidfile = "run.pid"  chdir = "%s"\nserver "main" { listen = "{address}"  route "all" { respond { body = "here" } } }' % tmp_path)
    site.wait_workers(1)
    config = site.command[site.command.index("-c") + 1]
    done = run("-c", config, "--status", cwd="/")
    assert done.returncode == 0 and f"pid {site.pid}," in done.stdout, done.stderr
    assert json.loads(run("--status", "--json", "-c", config, cwd="/").stdout)["arbiter"]["pid"] == site.pid
    site.stop()
    done = run("-c", config, "--status", cwd="/")
    assert done.returncode == 3 and "run.pid" in done.stderr


@pytest.mark.python
def test_options_that_make_no_sense(tmp_path):
    done = run("--status", cwd=tmp_path)
    assert done.returncode == 1 and "--status needs a PIDFILE" in done.stderr
    done = run("basic:app", "--status", "--json")
    assert done.returncode == 4 and "the configuration sets no pidfile" in done.stderr
    done = run("basic:app", "--json")
    assert done.returncode == 2 and "there is no --status" in done.stderr


def test_parts_of_a_server_are_not_the_arbiter(monoceros):
    site = monoceros("basic:app")
    for pid in (site.wait_workers(1)[0], pool_of(status(site))["zygote"]):
        done = run("--status", pid)
        assert done.returncode == 3 and f"process {pid} is no arbiter of monoceros" in done.stderr


@pytest.mark.parametrize("at, what, words", [
    (0, b"", "is a part of the server whose arbiter is process {site}"),
    (4, struct.pack("=I32s", 99, b"7.5.0"), "is monoceros 7.5.0, whose scoreboard this build cannot read: use the program that runs there"),
    (40, b"\xff" * 24, "is monoceros {version}, whose scoreboard this build cannot read"),
    (0, os.urandom(4), "has a scoreboard that this build cannot read"),
    (None, b"short", "has a scoreboard that this build cannot read"),
], ids=["of another", "of another version", "sizes", "noise", "short"])
def test_boards_that_cannot_be_read(monoceros, at, what, words):
    """The test itself is the process with that board."""
    site = monoceros("basic:app")
    site.wait_workers(1)
    version = status(site)["arbiter"]["version"]
    number = next(number for number, target in procfs.fds(site.pid).items() if "monoceros-board" in target)
    data = bytearray(b"" if at is None else open(f"/proc/{site.pid}/fd/{number}", "rb").read())
    data[at or 0:(at or 0) + len(what)] = what
    file = os.memfd_create("monoceros-board")
    try:
        os.write(file, data)
        done = run("--status", os.getpid())
    finally:
        os.close(file)
    assert done.returncode == 4 and done.stdout == ""
    assert f"process {os.getpid()} " + words.format(site=site.pid, version=version) in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_other_users_have_no_permission(monoceros, tmp_path):
    site = monoceros("basic:app")
    site.wait_workers(1)
    nobody = pwd.getpwnam("nobody")
    program = tmp_path / "monoceros"
    program.write_bytes(open(BINARY, "rb").read())
    program.chmod(0o755)
    for directory in [tmp_path, *tmp_path.parents][:-2]:
        directory.chmod(directory.stat().st_mode | 0o011)
    done = subprocess.run([program, "--status", str(site.pid)], user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/", env=environment(),
                          text=True, capture_output=True, check=False)
    assert done.returncode == 4 and "be the user that the server was started by, or root" in done.stderr, done.stderr


# --- workers out of their mind

def test_noise_of_a_worker_is_no_danger(monoceros):
    """It fills its slot with noise for a while: the arbiter stays, others stay, --status tells."""
    site = monoceros("noise:app", "-w", "2", "--threads", "2", cwd=HERE, expect_errors=True)
    site.wait_workers(2)
    done = threading.Event()
    failed = []

    def look():
        while not done.is_set():
            table, told = run("--status", site.pid), run("--status", site.pid, "--json")
            if table.returncode or not table.stdout.replace("\n", "").isprintable() or told.returncode or not json.loads(told.stdout)["workers"]:
                failed.append((table, told))

    looker = threading.Thread(target=look)
    looker.start()
    answer = site.ask("GET", "/noise?400")
    assert answer.status == 200
    mad = int(answer.text)
    done.set()
    looker.join()
    assert not failed
    # Whatever it has said: which process it is, is the arbiter's to tell, and it can still be replaced.
    told = worker_of(status(site), mad)
    assert told["pool"] == "default" and told["generation"] == 1
    os.kill(mad, signal.SIGKILL)
    until(lambda: mad not in site.workers() and len(site.workers()) == 2, "its successor")
    assert site.ask("GET", "/").status == 200
    assert pool_of(status(site))["requests"] < 1 << 60
