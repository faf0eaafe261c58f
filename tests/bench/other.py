"""What is measured in other ways than by the load client's requests: HTTP/2 by h2load, memory, the start, reloads."""

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import Callable

import workloads
from measure import LOAD_CORE, Failed, Load, Server, Usage, exchange, pss

IDLE = 9500         # haproxy wants two descriptors for each, and 20,000 is a common limit
HELLO = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def h2load(server, workload):
    """A row of the same shape as those of the load client; h2load tells no percentiles."""
    if not shutil.which("h2load"):
        raise Failed("h2load is not installed (Debian: nghttp2-client)")
    streams, requests = workload.settings["streams"], workload.settings["requests"]
    command = ["taskset", "-c", str(LOAD_CORE), "h2load", "-c", str(workload.connections), "-m", str(streams), "-w", "20", "-W", "22",
               f"https://127.0.0.1:{server.tls}{workload.path}"]

    def go(count):
        out = subprocess.run([*command, "-n", str(count)], capture_output=True, text=True, check=True).stdout
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
        size = int(re.search(r"\((\d+)\) data", out)[1])
        if size != int(done[1]) * (len(workload.answer) if isinstance(workload.answer, bytes) else workloads.FILES[workload.answer.rpartition("/")[2]]):
            raise Failed(f"answers of a wrong length: {size} bytes in {done[1]}")
        return int(done[1]), int(done[2]) + int(done[3]), float(re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", out)[1])

    go(max(workload.connections * streams, requests // 20))     # warm
    before, start = Usage(server.family()), time.monotonic()
    done, failed, rate = go(requests)
    after, took = server.usage(), time.monotonic() - start
    used, user, threads = after.since(before)
    if not done:
        raise Failed("no right answer")
    return {"cpu": used / done, "user": user, "rate": rate, "p50": None, "p99": None, "errors": failed, "requests": done, "connects": 0,
            "share": used / 1e6 / took, "threads": threads}


@dataclass
class Figure:
    """A row of one number for each entry."""
    name: str
    title: str
    section: str
    unit: str
    entries: list
    of: Callable                # (run, server, figure) -> number
    goals: dict = field(default_factory=dict)       # entry: at most
    rounds: int = 3
    settings: dict = field(default_factory=dict)
    quick: bool = False


def take(run, figure):
    for _ in range(min(figure.rounds, run.options.rounds)):
        for name in run.chosen(figure):
            try:
                server = Server(run.all[name], run.directory, run.context)
                try:
                    value = figure.of(run, server, figure)
                finally:
                    server.stop()
            except (Failed, OSError, ValueError) as error:
                value = {"failed": " ".join(str(error).split())[-300:]}
            run.store["figures"].setdefault(figure.name, {}).setdefault(name, []).append(value)


def idle(run, server, figure):
    """Bytes for each connection, after one request on it (or the upgrade)."""
    words = ["idle", *figure.settings.get("words", [])]
    request = run.put("request", HELLO)
    if "ws=echo" in words:
        request = run.put("request", workloads.Workload("", "", "", [], path="/ws-echo", headers=workloads.UPGRADE).request())
        words.append(f"body={run.put('message', workloads.MESSAGE)}")
    else:
        exchange(server.port, HELLO)
    time.sleep(1)
    before = pss(server.family())
    tls = any(word.startswith("tls") for word in words)
    with Load(run.directory, server.tls if tls else server.port, request, 30, IDLE, words) as load:
        load.ready(120)         # thousands of handshakes
        time.sleep(2)           # nothing goes on
        return (pss(server.family()) - before) * 1024 / IDLE


def memory(run, server, figure):
    """MB of the worker (of the process that serves, where there is one only), or of all processes."""
    exchange(server.port, HELLO)
    time.sleep(1)
    pids = server.family()
    if figure.settings.get("workers"):
        pids = pids - {server.process.pid} or pids
    return pss(pids) / 1024


def start(run, server, figure):
    """ms from the command to the first answer."""
    return server.up_after * 1000


def reload(run, server, figure):
    """ms from the signal until the workers of before have left, and new ones answer."""
    before = server.family() - {server.process.pid}
    if not before:
        raise Failed("no worker of its own")
    began = time.monotonic()
    os.kill(server.process.pid, signal.SIGHUP)
    while time.monotonic() - began < 30:
        now = server.family()
        if not before & now and now - {server.process.pid}:
            exchange(server.port, HELLO)
            return (time.monotonic() - began) * 1000
        time.sleep(0.002)
    raise Failed("the workers of before stay")


EDGES = ["monoceros", "raw", "nginx", "haproxy", "h2o", "lighttpd"]
WSGI = ["monoceros-hello-wsgi", "gunicorn-hello-wsgi"]
ASGI = ["monoceros-hello-asgi", "uvicorn-hello-asgi"]


def figures():
    section = "Memory, start, reload"
    yield Figure("idle-plain", f"bytes a connection, {IDLE:,} idle", section, "B",
                 [*EDGES, "monoceros-gthread", "bjoern", "fastpysgi", "gunicorn-gthread", "uvicorn"], idle, {"monoceros": 512}, rounds=1)
    yield Figure("idle-tls", f"bytes a TLS connection, {IDLE:,} idle", section, "B", EDGES, idle, {"monoceros": 14 * 1024}, rounds=1, settings={"words": ["tls=keep"]})
    yield Figure("idle-ws", f"bytes a WebSocket (ASGI), {IDLE:,} idle", section, "B", workloads.SOCKETS, idle, rounds=1, settings={"words": ["ws=echo"]})
    yield Figure("memory-worker", "MB of an idle worker (PSS)", section, "MB", [*EDGES, *WSGI, *ASGI], memory, {"monoceros": 4}, settings={"workers": True})
    yield Figure("memory", "MB of all processes, idle (PSS)", section, "MB", [*EDGES, *WSGI, *ASGI], memory)
    yield Figure("start", "ms to the first answer", section, "ms", [*EDGES, *WSGI, *ASGI], start)
    yield Figure("reload", "ms of a reload (HUP), until the old worker has left and a new one answers", section, "ms", ["monoceros", "nginx", *WSGI], reload)
