#!/usr/bin/env python3
"""A table of one worker of each type, as markdown: workers.py [--rounds N] [--seconds S] [--only WORD,...] [FILE]

Requests per second, CPU time per request and p99 for an answer at once and for one after a wait of 10 ms, at 64 and 1,000
connections, from an app in C (blocking.c; for epoll looping.c) and from one in Python (hello.py), which Gunicorn's gevent worker runs,
too. As in bench.py the servers take turns inside each round, on core 0, with the load on core 1; each measurement has a server of its
own, because one that is full leaves much to do behind. The figures are medians of the rounds.
"""

import argparse
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench

APPS = ("blocking", "looping")
LOADS = [(path, connections) for path in ("/", "/wait") for connections in (64, 1000)]
TITLES = {"/": "An answer at once", "/wait": "An answer after 10 ms"}

# What it is called, worker type, app, settings
WORKERS = [
    ("native, sync", "sync", "blocking", ""),
    ("native, sync, keepalive = 2", "sync", "blocking", "keepalive = 2"),
    ("native, gthread, 8 threads", "gthread", "blocking", "threads = 8"),
    ("native, gthread, 64 threads", "gthread", "blocking", "threads = 64"),
    ("native, greenlet", "greenlet", "blocking", ""),
    ("native, epoll, loop app", "epoll", "looping", ""),
    ("WSGI, sync", "sync", "hello", ""),
    ("WSGI, sync, keepalive = 2", "sync", "hello", "keepalive = 2"),
    ("WSGI, gthread, 8 threads", "gthread", "hello", "threads = 8"),
    ("WSGI, gthread, 64 threads", "gthread", "hello", "threads = 64"),
    ("WSGI, gevent", "gevent", "hello", ""),
    ("WSGI, eventlet", "eventlet", "hello", ""),
    ("Gunicorn, gevent", "gunicorn", "hello", "gevent"),
]
CONFIG = """
worker_class = {worker}  workers = 1  worker_connections = 4000  {settings}
app "it" {{ {app} }}
server "all" {{ listen = "127.0.0.1:{port}"  route "all" {{ app = it }} }}
"""


def build_apps(directory):
    """The apps in C, against the header where it will be installed."""
    (directory / "monoceros").mkdir()
    shutil.copy(bench.ROOT / "modules/handler/native/app.h", directory / "monoceros/app.h")
    for name in APPS:
        subprocess.run([*os.environ.get("CC", "cc").split(), "-std=gnu11", "-O2", "-fPIC", "-shared", f"-I{directory}",
                        "-o", directory / f"{name}.so", bench.HERE / f"{name}.c"], check=True)


def command(worker, path, directory, port):
    _, kind, app, settings = worker
    if kind == "gunicorn":
        return [bench.PYTHON, "-m", "gunicorn", "-k", settings, "--worker-connections", "4000", "--no-control-socket", "--chdir", str(bench.HERE),
                "-b", f"127.0.0.1:{port}", "hello:wait" if path == "/wait" else "hello:app"]
    if app in APPS:
        text = f'type = native  module = "{directory / app}.so"'
    else:
        text = f'type = wsgi  module = "hello:{"wait" if path == "/wait" else "app"}"  chdir = "{bench.HERE}"'
        settings += f'  python = "{bench.PYTHON}"'
    config = directory / "server.conf"
    config.write_text(CONFIG.format(worker=kind, settings=settings, app=text, port=port), encoding="utf-8")
    return [bench.MONOCEROS, "-c", str(config)]


def measure(worker, path, connections, directory, seconds):
    """Requests per second, CPU µs per request, p99 in ms, errors."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode()
    log = directory / "output.log"
    log.unlink(missing_ok=True)
    try:
        server = bench.Server(lambda port: command(worker, path, directory, port), directory)
    except SystemExit as error:
        raise SystemExit(f"{log.read_text(encoding='utf-8')}{error}") from None
    try:
        load = ["taskset", "-c", "1", str(directory / "load"), str(server.port)]
        subprocess.run([*load, "0.3", "8"], input=request, capture_output=True, check=True)
        time.sleep(0.2)         # what the warming left
        pids = bench.family(server.process.pid)
        before = bench.cpu_ns(pids)
        done = subprocess.run([*load, str(seconds), str(connections)], input=request, capture_output=True, check=True)
        used = bench.cpu_ns(pids) - before
        requests, took, errors, _, _, p99, _ = done.stdout.split()
        return int(requests) / float(took), used / 1000 / max(int(requests), 1), int(p99) / 1000, int(errors)
    finally:
        server.process.send_signal(signal.SIGQUIT)      # no grace for what still waits
        server.stop()


def report(results, options):
    def number(value):
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"

    lines = [f"{time.strftime('%Y-%m-%d')}, {machine()}: one worker on one core, the load on another one, {options.rounds} rounds of",
             f"{options.seconds:g} s, medians (network: {os.environ['BENCH_NETWORK']})."]
    for path, connections in LOADS:
        lines += ["", f"### {TITLES[path]}, {connections:,} connections", "",
                  "| one worker | requests/s | CPU µs/request | p99 ms | errors |", "|---|--:|--:|--:|--:|"]
        for name, *_ in WORKERS:
            rounds = results.get((name, path, connections))
            if rounds:
                rate, cpu, p99 = (number(statistics.median(one[i] for one in rounds)) for i in range(3))
                lines.append(f"| {name} | {rate} | {cpu} | {p99} | {sum(one[3] for one in rounds)} |")
    return "\n".join(lines) + "\n"


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="entries with one of these words in their names")
    parser.add_argument("file", nargs="?")
    options = parser.parse_args()
    bench.own_network()
    results = {}
    text = subprocess.run([bench.MONOCEROS, "-V"], capture_output=True, text=True, check=True).stdout
    workers = [one for one in WORKERS if (not options.only or any(word in one[0] for word in options.only))
               and (one[2] in APPS or "python" in text.replace("--without-python", ""))]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        bench.build(directory)
        build_apps(directory)
        for number in range(options.rounds):
            for path, connections in LOADS:
                for worker in workers:
                    results.setdefault((worker[0], path, connections), []).append(measure(worker, path, connections, directory, options.seconds))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print(text := report(results, options), end="")
    if options.file:
        Path(options.file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
