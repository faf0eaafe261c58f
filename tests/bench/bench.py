#!/usr/bin/env python3
"""Measures servers in turns, and reports: bench.py [run|quick|report|compare|list] [OPTION...]

run      measures what --only and --entries leave, writes objs/bench/NAME.json as it goes, and prints tables
quick    the same for hello, a file, WSGI and ASGI beside those that the goals name, in two minutes
report   FILE...: docs/performance.md and its plots from the measurements (those of later files replace those of earlier ones)
compare  A B: whether two runs rank the servers alike, each by its measurements or its performance.md
list     workloads and entries, and which entries are absent, and why

A server is started with one worker on the first core, the load is on the last one. In each round all servers of a row have their turn, so that the drift of
a shared machine falls on all alike. The base figure is the CPU time of all threads and processes of the server, also of those that have ended, per
request that was answered rightly; a ratio is that of two servers in the same round, and the median of these.
"""

import argparse
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import entries
import other
import peers
import report
import workloads
from measure import CORES, LOAD_CORE, OBJS, ROOT, Failed, Load, Server, Usage, build, exchange, own_network

BUSY = 0.1      # of the core, while a server has nothing to do


def prepare(directory):
    """Programs, a certificate, files."""
    build(directory)
    entries.build_apps(directory)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                    "-keyout", directory / "key.pem", "-out", directory / "cert.pem"], check=True, capture_output=True)
    (directory / "both.pem").write_bytes((directory / "cert.pem").read_bytes() + (directory / "key.pem").read_bytes())
    directory.chmod(0o755)
    for name in ("files", "hello"):
        (directory / name).mkdir()
    (directory / "hello" / "index.html").write_bytes(workloads.HELLO)
    old = time.time() - 3600
    for name, size in workloads.FILES.items():
        path = directory / "files" / name
        path.write_bytes(os.urandom(size))
        os.utime(path, (old, old))


class Run:
    """One run: the servers that are up, and what was measured."""

    def __init__(self, context, options, store):
        self.context, self.options, self.store = context, options, store
        self.directory = context.directory
        self.all = {entry.name: entry for entry in (*entries.ours(), *peers.peers())}
        self.versions = {}
        self.servers = {}

    def version(self, name):
        if name not in self.versions:
            self.versions[name] = self.all[name].version(self.context)
            entry = self.all[name]
            self.store["entries"][name] = {"version": self.versions[name], "settings": entry.settings, "why": entry.why}
        return self.versions[name]

    def chosen(self, row):
        """The entries of a row that are asked for and here; with quick those that its goals are about."""
        words, names = self.options.entries, row.entries
        if self.options.quick:
            goals = {name for ours, theirs, _ in row.goals for name in (ours, theirs)}
            names = [name for name in names if name in goals]
        return [name for name in names if (not words or any(word in name for word in words)) and self.version(name)]

    def server(self, name, cores=None):
        """One that is up, started now if need be."""
        key = (name, cores)
        if key in self.servers and not self.servers[key].alive():
            self.servers.pop(key).stop()
        if key not in self.servers:
            self.servers[key] = Server(self.all[name], self.directory, self.context, cores)
        return self.servers[key]

    def stop(self):
        for server in self.servers.values():
            server.stop()
        self.servers = {}

    # ---- one row

    def words(self, workload, server):
        """The load client's words; the answer's bytes come from a first request, when every server writes them in its own way."""
        words = list(workload.words)
        if workload.ws:
            words.append(f"body={self.put('message', workload.answer)}")
            return words
        if workload.kind != "h2load":
            head, body = exchange(server.tls if workload.tls else server.port, workload.request(), workload.tls)
            if not workloads.right(workload, self.directory, head, body):
                raise Failed(f"a wrong answer: {head[:200]!r} {body[:100]!r}")
            path = self.directory / workload.answer if isinstance(workload.answer, str) else self.put(f"answer-{server.entry.name}", body)
            words.append(f"body={path}")
        return words

    def put(self, name, data):
        path = self.directory / name
        path.write_bytes(data)
        return path

    def measure(self, workload, name):
        seconds = self.options.seconds * workload.weight
        cores = ",".join(map(str, CORES[:2])) if workload.settings.get("cores") else None
        server = self.server(name, cores)
        if workload.kind == "h2load":
            return other.h2load(server, workload)
        request = self.put("request", workload.request())
        words = self.words(workload, server)
        beside = None
        try:
            if workload.kind == "beside":
                slow = workload.settings
                more = self.put("request-slow", f"GET {slow['path']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                beside = Load(self.directory, server.port, more, 60, slow["connections"], slow["words"])
                beside.ready()
                beside.go()
            with Load(self.directory, server.tls if workload.tls else server.port, request, seconds, workload.connections, words) as load:
                load.ready()
                pids = server.family()
                before, start = Usage(pids), time.monotonic()
                load.go()
                result = load.result()
                after, took = server.usage(), time.monotonic() - start
        finally:
            if beside:
                beside.__exit__()
        if not server.alive():
            raise Failed(f"the server has ended: {server.tail()}")
        used, user, threads = after.since(before)
        self.check_handshakes(workload, result)
        if not result["requests"]:
            raise Failed(f"no right answer, {result['errors']} errors")
        return {"cpu": used / result["requests"], "user": user, "rate": result["requests"] / result["seconds"], "p50": result["p50"], "p99": result["p99"],
                "errors": result["errors"], "requests": result["requests"], "connects": result["connects"], "share": used / 1e6 / took, "threads": threads}

    def check_handshakes(self, workload, result):
        resumed = result["resumed"]
        if "tls=full" in workload.words and resumed or "tls=resumed" in workload.words and resumed + 2 * workload.connections < result["connects"]:
            raise Failed(f"{resumed} of {result['connects']} handshakes were resumed")

    def stop_busy(self, idle, took):
        """Servers that had the core while it was another one's turn are stopped until it is theirs; whether there was one."""
        busy = [key for key, (server, before) in idle.items() if server.usage().since(before)[0] > BUSY * took * 1e6]
        for key in busy:
            print(f"{key[0]} has nothing to do, and is busy: stopped until its turn", file=sys.stderr)
            self.servers.pop(key).stop()
        return bool(busy)

    def turn(self, workload, name):
        try:
            idle = {key: (server, server.usage()) for key, server in self.servers.items() if key[0] != name}
            start = time.monotonic()
            one = self.measure(workload, name)
            if self.stop_busy(idle, time.monotonic() - start):
                one = self.measure(workload, name)
        except (Failed, OSError, ValueError, KeyError) as error:
            one = {"failed": " ".join(str(error).split())[-300:]}
            for key in [key for key in self.servers if key[0] == name]:
                self.servers.pop(key).stop()
        self.store["cells"].setdefault(workload.name, {}).setdefault(name, []).append(one)

    # ---- all of it

    def section(self, rows):
        needs_origin = any(row.path in ("/small", "/large") for row in rows)
        if needs_origin:
            source = Server(entries.origin(), self.directory, self.context, str(LOAD_CORE))
            self.context.origin = source.port
        try:
            for turn in range(self.options.rounds):
                for row in rows:
                    names = self.chosen(row)
                    shift = turn % len(names) if names else 0
                    for name in names[shift:] + names[:shift]:
                        self.turn(row, name)
                print(f"{rows[0].section}: round {turn + 1} of {self.options.rounds}", file=sys.stderr)
        finally:
            self.stop()
            if needs_origin:
                source.stop()


def python_of(options):
    found = options.python or os.environ.get("BENCH_PYTHON") or OBJS / "bench-venv/bin/python3"
    return str(found) if os.access(found, os.X_OK) else sys.executable


def machine(context):
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": os.uname().release.split("-")[0], "openssl": entries.told(["openssl", "version"]),
            "python": entries.make_python(context), "load": os.getloadavg()[0], "network": os.environ["BENCH_NETWORK"]}


def files():
    """Descriptors for 10,000 connections."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(options):
    own_network()
    files()
    os.sched_setaffinity(0, {LOAD_CORE})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # so that servers are stopped, too
    rows = [row for row in workloads.everything() if wanted(row, options)]
    figures = [figure for figure in other.figures() if wanted(figure, options)] if not options.quick else []
    out = Path(options.out or OBJS / "bench" / (time.strftime("%Y%m%d-%H%M%S") + ".json"))
    out.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        context = entries.Context(Path(name), python_of(options))
        prepare(context.directory)
        store = {"date": time.strftime("%Y-%m-%d"), "machine": machine(context), "rounds": options.rounds, "seconds": options.seconds, "entries": {}, "cells": {}, "figures": {}}
        one = Run(context, options, store)

        def keep():
            store["took"] = round(time.monotonic() - started)
            out.write_text(json.dumps(store), encoding="utf-8")
        try:
            for section in dict.fromkeys(row.section for row in rows):
                one.section([row for row in rows if row.section == section])
                keep()
            for figure in figures:
                other.take(one, figure)
                keep()
        finally:
            one.stop()
            keep()
    print(report.text(store))
    print(f"{out}: {store['took']} s", file=sys.stderr)
    return out


def wanted(row, options):
    if options.quick and not row.quick:
        return False
    return not options.only or any(re.search(word, text) for word in options.only for text in (row.name, row.section))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="run", choices=["run", "quick", "report", "compare", "list"])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    words = {"type": lambda text: text.split(","), "default": []}
    parser.add_argument("--only", **words, help="workloads whose name or section has one of these (regular expressions)")
    parser.add_argument("--entries", **words, help="entries whose name has one of these words")
    parser.add_argument("--python", help="the interpreter with the peers' packages (objs/bench-venv)")
    parser.add_argument("--out", help="where the measurements go")
    parser.add_argument("--docs", help="with run: makes the report, too, in this folder")
    options = parser.parse_intermixed_args()
    if options.what == "compare" and len(options.files) != 2 or options.what == "report" and not options.files:
        parser.error(f"{options.what}: which files?")
    if missing := [name for name in options.files if not Path(name).is_file()]:
        parser.error(f"no such file: {missing[0]}")
    options.quick = options.what == "quick"
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.seconds = options.seconds or 0.5
    if options.what in ("run", "quick"):
        out = run(options)
        if options.docs:
            report.write([out], Path(options.docs))
    elif options.what == "report":
        report.write([Path(name) for name in options.files], Path(options.docs or ROOT / "docs"))
    elif options.what == "compare":
        print(report.compare(*(Path(name) for name in options.files)))
    else:
        listing(options)


def listing(options):
    context = entries.Context(Path(tempfile.gettempdir()), python_of(options))
    for row in (*workloads.everything(), *other.figures()):
        print(f"{row.name:20} {row.section}: {row.title}\n{'':20}   {' '.join(row.entries)}")
    print()
    for entry in (*entries.ours(), *peers.peers()):
        version = entry.version(context)
        print(f"{entry.name:24} {version or 'absent: ' + entry.why}\n{'':24}   {entry.settings}")


if __name__ == "__main__":
    main()
