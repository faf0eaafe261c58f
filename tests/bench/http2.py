#!/usr/bin/env python3
"""A table of HTTP/2 over TLS beside nginx and h2o: http2.py [--rounds N] [--only WORD,...] [--nginx PROGRAM] [--h2o PROGRAM] [FILE]

Small requests with 1, 10 and 100 streams a connection, files of 100 KB and 10 MB, by h2load. As in edge.py the servers take turns inside each round, one
worker on core 0, the load on core 1; the base figure is the CPU time of the server's processes per request, a ratio is theirs over ours, as the median
of the rounds: above 1.0 we need less. Who is not here has no column.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench
import edge

# name: path, connections, streams of each, requests
WORKLOADS = {
    "small reply, 1 stream": ("/", 16, 1, 60000),
    "small reply, 10 streams": ("/", 16, 10, 150000),
    "small reply, 100 streams": ("/", 16, 100, 200000),
    "file 100 KB, 10 streams": ("/files/100k", 8, 10, 8000),
    "file 10 MB, 2 streams": ("/files/10m", 2, 2, 80),
}

MONOCEROS = """
errorlog = "{dir}/monoceros.log"
worker_class = epoll  workers = 1  worker_connections = 12000  keepalive = 5m
server "edge" {{
    listen = {{"127.0.0.1:{port}", "127.0.0.1:{tls} tls"}}
    tls {{ certificate "it" {{ cert = "{dir}/cert.pem"  key = "{dir}/key.pem" }} }}
    route "files" {{ match {{ prefix = "/files/" }}  static {{ root = "{dir}/files" }} }}
    route "hello" {{ respond {{ body = "Hello, world!" }} }}
}}
"""
NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log; {user}
events {{ worker_connections 12000; }}
http {{ access_log off; sendfile on; keepalive_timeout 300s; keepalive_requests 100000000; server_tokens off;
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
  server {{ listen 127.0.0.1:{port} backlog=2048; listen 127.0.0.1:{tls} ssl http2 backlog=2048;
    location / {{ default_type "text/plain; charset=utf-8"; return 200 "Hello, world!"; }}
    location /files/ {{ root {dir}; }} }} }}
"""
H2O = """
num-threads: 1
pid-file: {dir}/h2o.pid
error-log: {dir}/h2o.log
{user}
http2-idle-timeout: 300
hosts:
  "default":
    listen:
      host: 127.0.0.1
      port: {port}
    listen:
      host: 127.0.0.1
      port: {tls}
      ssl:
        certificate-file: {dir}/cert.pem
        key-file: {dir}/key.pem
    paths:
      "/files":
        file.dir: {dir}/files
      "/":
        file.dir: {dir}/hello
"""


def commands(options, directory):
    def file(name, text):
        (directory / name).write_text(text, encoding="utf-8")
        return str(directory / name)

    (directory / "hello").mkdir()
    (directory / "hello" / "index.html").write_text("Hello, world!", encoding="utf-8")      # what it has that is nearest to a text
    root = os.geteuid() == 0
    user = os.environ.get("USER") or "root"
    found = {"monoceros": lambda port, tls: [bench.MONOCEROS, "-c", file("monoceros.conf", MONOCEROS.format(port=port, tls=tls, dir=directory))]}
    nginx = options.nginx or shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx:
        found["nginx"] = lambda port, tls: [nginx, "-c", file("nginx.conf", NGINX.format(port=port, tls=tls, dir=directory, user=f"user {user};" if root else ""))]
    h2o = options.h2o or shutil.which("h2o")
    if h2o:
        found["h2o"] = lambda port, tls: [h2o, "-m", "worker", "-c", file("h2o.conf", H2O.format(port=port, tls=tls, dir=directory, user=f"user: {user}" if root else ""))]
    return found


def measure(server, workload):
    """CPU µs per request, requests per second, those that failed."""
    path, connections, streams, requests = WORKLOADS[workload]
    load = ["taskset", "-c", "1", "h2load", "-c", str(connections), "-m", str(streams), "-w", "20", "-W", "22", f"https://127.0.0.1:{server.tls}{path}"]

    def run(count):
        out = subprocess.run([*load, "-n", str(count)], capture_output=True, text=True, check=True).stdout
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
        return int(done[1]), int(done[2]) + int(done[3]), float(re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", out)[1])

    run(max(connections * streams, requests // 20))     # warm
    pids = bench.family(server.process.pid)
    before = bench.cpu_ns(pids)
    done, failed, rate = run(requests)
    return (bench.cpu_ns(pids) - before) / 1000 / max(done, 1), rate, failed


def report(results, options):
    names = [name for name in ("monoceros", "nginx", "h2o") if any(one[0] == name for one in results)]
    others = names[1:]
    versions = {"nginx": ["-v"], "h2o": ["--version"]}
    told = [name + " " + re.search(r"\d+\.\d+\.\d+", subprocess.run([getattr(options, name) or shutil.which(name) or "/usr/sbin/nginx", *versions[name]],
                                                                     capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).__str__())[0] for name in others]
    lines = [f"{time.strftime('%Y-%m-%d')}, {edge.machine()}: one worker on one core, h2load on another one, {options.rounds} rounds; {', '.join(told)};",
             f"medians, in brackets the least (network: {os.environ['BENCH_NETWORK']}).", "",
             "| | " + " | ".join(f"{name}: CPU µs | requests/s" for name in names) + "".join(f" | {name} ÷ monoceros" for name in others) + " |",
             "|---|" + "--:|--:|" * len(names) + "--:|" * len(others)]
    for workload in WORKLOADS:
        rounds = {name: results[name, workload] for name in names if (name, workload) in results}
        if not rounds:
            continue
        cells = [f"{edge.number(statistics.median(one[0] for one in of))} ({edge.number(min(one[0] for one in of))}) | "
                 f"{edge.number(statistics.median(one[1] for one in of))}" + (f" ({sum(one[2] for one in of)} failed)" if any(one[2] for one in of) else "")
                 for of in rounds.values()]
        cells += [f"{statistics.median(theirs[0] / ours[0] for ours, theirs in zip(rounds['monoceros'], rounds[name])):.2f}" for name in others]
        lines.append(f"| {workload} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="workloads with one of these words in their names")
    parser.add_argument("--nginx")
    parser.add_argument("--h2o")
    parser.add_argument("file", nargs="?")
    options = parser.parse_args()
    if not shutil.which("h2load"):
        raise SystemExit("this needs h2load (Debian: nghttp2-client)")
    bench.own_network()
    workloads = [name for name in WORKLOADS if not options.only or any(word in name for word in options.only)]
    results, running = {}, {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        edge.prepare(directory)
        try:
            for server, command in commands(options, directory).items():
                running[server] = edge.Edge(command, directory)
            for turn in range(options.rounds):
                for workload in workloads:
                    for server, one in running.items():
                        results.setdefault((server, workload), []).append(measure(one, workload))
                print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
        except SystemExit:
            sys.stderr.write("".join(path.read_text(encoding="utf-8") for path in directory.glob("*.log"))[-4000:])
            raise
        finally:
            for one in running.values():
                one.stop()
    print(text := report(results, options), end="")
    if options.file:
        Path(options.file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
