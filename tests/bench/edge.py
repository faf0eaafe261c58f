#!/usr/bin/env python3
"""A table of the server beside nginx, as markdown: edge.py [--rounds N] [--seconds S] [--only WORD,...] [--nginx PROGRAM] [--no-memory] [FILE]

TLS handshakes and requests, files of 1 KB, 100 KB and 10 MB, replies of an upstream, and what idle TLS connections take. As in bench.py the
servers take turns inside each round, one worker on core 0, the load (and the upstream) on core 1; the base figure is the CPU time of the server's
processes per request, the ratio is nginx's over ours, as the median of the rounds: above 1.0 we need less. Without nginx there is no ratio.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench

KB, MB = 1024, 1024 * 1024
FILES = {"1k": KB, "100k": 100 * KB, "1m": MB, "10m": 10 * MB}

# name: TLS, path, connections, what load_tls does
WORKLOADS = {
    "TLS, small reply, keep-alive": (True, "/", 64, "keep"),
    "TLS, full handshake + small reply": (True, "/", 32, "full"),
    "TLS, resumed handshake + small reply": (True, "/", 32, "resumed"),
    "file 1 KB": (False, "/files/1k", 64, None),
    "file 100 KB": (False, "/files/100k", 64, None),
    "file 10 MB": (False, "/files/10m", 2, None),       # few at once: what has begun at the end costs time and counts for nothing
    "file 1 KB, TLS": (True, "/files/1k", 64, "keep"),
    "file 100 KB, TLS": (True, "/files/100k", 64, "keep"),
    "file 10 MB, TLS": (True, "/files/10m", 2, "keep"),
    "proxied, small reply": (False, "/small", 64, None),
    "proxied, 1 MB": (False, "/large", 8, None),
}
IDLE = 10000
HANDSHAKE = "TLS, full handshake + small reply"

MONOCEROS = """
errorlog = "{dir}/monoceros.log"
worker_class = epoll  workers = 1  worker_connections = 12000  keepalive = 5m
upstream "origin" {{ keepalive = 64  keepalive_requests = 100000000  peer "127.0.0.1:{origin}" {{ }} }}
server "edge" {{
    listen = {{"127.0.0.1:{port}", "127.0.0.1:{tls} tls"}}
    tls {{ certificate "it" {{ cert = "{dir}/cert.pem"  key = "{dir}/key.pem" }} }}
    route "files" {{ match {{ prefix = "/files/" }}  static {{ root = "{dir}/files" }} }}
    route "small" {{ match {{ exact = "/small" }}  proxy {{ to = "upstream:origin" }} }}
    route "large" {{ match {{ exact = "/large" }}  proxy {{ to = "upstream:origin" }} }}
    route "hello" {{ respond {{ body = "Hello, world!" }} }}
}}
"""
ORIGIN = """
errorlog = "{dir}/origin.log"
worker_class = epoll  workers = 1  keepalive = 5m
server "origin" {{ listen = "127.0.0.1:{port}"
    route "large" {{ match {{ exact = "/large" }}  static {{ root = "{dir}/files"  try = {{"/1m"}} }} }}
    route "hello" {{ respond {{ body = "Hello, world!" }} }} }}
"""
# What costs it least: open files cached, keep-alive to the upstream, no cork, and of several sizes of buffers the best.
NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log; {user}
events {{ worker_connections 12000; }}
http {{ access_log off; sendfile on; keepalive_timeout 300s; keepalive_requests 100000000; server_tokens off;
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 100000000; keepalive_timeout 300s; }}
  ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
  server {{ listen 127.0.0.1:{port} backlog=2048; listen 127.0.0.1:{tls} ssl backlog=2048;
    location / {{ default_type "text/plain; charset=utf-8"; return 200 "Hello, world!"; }}
    location /files/ {{ root {dir}; }}
    location /small {{ {proxy} }}
    location /large {{ {proxy} }} }} }}
"""
PROXY = """proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; proxy_buffers 8 16k; proxy_buffer_size 16k;
  proxy_busy_buffers_size 32k;"""


class Edge(bench.Server):
    """A server with a second port, for TLS."""
    def __init__(self, command, directory):
        self.tls = bench.free_port()
        super().__init__(lambda port: command(port, self.tls), directory)


def prepare(directory):
    """Load clients, a certificate and files."""
    bench.build(directory)
    subprocess.run([*os.environ.get("CC", "cc").split(), "-std=gnu11", "-O2", "-D_GNU_SOURCE", "-o", directory / "load_tls", bench.HERE / "load_tls.c",
                    "-lhttp_parser", "-lssl", "-lcrypto"], check=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                    "-keyout", directory / "key.pem", "-out", directory / "cert.pem"], check=True, capture_output=True)
    directory.chmod(0o755)
    (directory / "files").mkdir()
    for name, size in FILES.items():
        (directory / "files" / name).write_bytes(os.urandom(size))
    old = time.time() - 3600
    for name in FILES:
        os.utime(directory / "files" / name, (old, old))


def commands(options, directory, origin):
    def file(name, text):
        (directory / name).write_text(text, encoding="utf-8")
        return str(directory / name)

    user = f"user {os.environ.get('USER') or 'root'};" if os.geteuid() == 0 else ""
    found = {"monoceros": lambda port, tls: [bench.MONOCEROS, "-c", file("monoceros.conf", MONOCEROS.format(port=port, tls=tls, origin=origin, dir=directory))]}
    nginx = options.nginx or shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx:
        found["nginx"] = lambda port, tls: [nginx, "-c", file("nginx.conf", NGINX.format(port=port, tls=tls, origin=origin, dir=directory, user=user, proxy=PROXY))]
    else:
        print("nginx is not here (Debian: nginx-light, or --nginx PROGRAM): no ratios", file=sys.stderr)
    return found


def measure(server, directory, workload, seconds):
    """CPU µs per request, requests per second, p99 in µs, errors."""
    tls, path, connections, what = WORKLOADS[workload]
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode()
    load = [str(directory / "load_tls"), str(server.tls)] if tls else [str(directory / "load"), str(server.port)]

    def run(how_long):
        words = [str(how_long), str(connections), *([what] if tls else [])]
        done = subprocess.run(["taskset", "-c", "1", *load, *words], input=request, capture_output=True, check=True)
        return [float(word) for word in done.stdout.split()]

    run(0.2)            # warm
    pids = bench.family(server.process.pid)
    before = bench.cpu_ns(pids)
    requests, took, errors, _, _, p99, _, *resumed = run(seconds * (2 if "10 MB" in workload else 1))
    used = bench.cpu_ns(pids) - before
    if what == "resumed" and resumed[0] + 2 * connections < requests or what == "full" and resumed[0]:
        raise SystemExit(f"{workload}: {resumed[0]:.0f} of {requests:.0f} handshakes were resumed")
    return used / 1000 / max(requests, 1), requests / took, p99, int(errors)


def pss(pids):
    """KB of memory of these processes, shared pages in parts."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def measure_memory(command, directory):
    """KB of a fresh server, and with IDLE TLS connections that had one request each."""
    server = Edge(command, directory)
    try:
        pids = bench.family(server.process.pid)
        before = pss(pids)
        load = ["taskset", "-c", "1", str(directory / "load_tls"), str(server.tls), "8", str(IDLE), "idle"]
        with subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            client.stdin.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.stdin.close()
            if client.stdout.readline() != b"ready\n":
                raise SystemExit("idle connections: the load client failed")
            time.sleep(5)       # nothing goes on
            after = pss(pids)
            client.terminate()
        return before, after
    finally:
        server.stop()


def limits(directory, seconds):
    """CPU µs of a full handshake: a signature, an X25519, and all that OpenSSL does at the server for a connection with one request, in memory."""
    speed = subprocess.run(["taskset", "-c", "0", "openssl", "speed", "-seconds", "1", "-mr", "ecdsap256", "ecdhx25519"], capture_output=True, text=True,
                           check=True).stdout
    lines = [line.split(":") for line in speed.splitlines()]
    sign, ecdh = (1e6 / next(float(line[3]) for line in lines if line[0] == what) for what in ("+F4", "+F5"))
    own = subprocess.run(["taskset", "-c", "0", str(directory / "load_tls"), "limit", str(seconds), str(directory / "cert.pem"), str(directory / "key.pem")],
                         capture_output=True, text=True, check=True).stdout
    return sign, ecdh, float(own)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def report(results, memory, bounds, options):
    names = [name for name in ("monoceros", "nginx") if any(one[0] == name for one in results)]
    lines = [f"{time.strftime('%Y-%m-%d')}, {machine()}: one worker on one core, the load on another one, {options.rounds} rounds of {options.seconds:g} s,",
             f"medians, in brackets the least (network: {os.environ['BENCH_NETWORK']}).", "",
             "| | " + " | ".join(f"{name}: CPU µs | requests/s" for name in names) + (" | nginx ÷ monoceros |" if len(names) > 1 else " |"),
             "|---|" + "--:|--:|" * len(names) + ("--:|" if len(names) > 1 else "")]
    for workload in WORKLOADS:
        rounds = {name: results[name, workload] for name in names if (name, workload) in results}
        if not rounds:
            continue
        cells = [f"{number(statistics.median(one[0] for one in of))} ({number(min(one[0] for one in of))}) | {number(statistics.median(one[1] for one in of))}"
                 + (f" ({sum(one[3] for one in of)} errors)" if any(one[3] for one in of) else "") for of in rounds.values()]
        if len(names) > 1:
            cells.append(f"{statistics.median(theirs[0] / ours[0] for ours, theirs in zip(rounds['monoceros'], rounds['nginx'])):.2f}")
        lines.append(f"| {workload} | " + " | ".join(cells) + " |")
    if memory:
        each = {name: (after - before) / IDLE for name, (before, after) in memory.items()}
        lines += ["", f"| {IDLE:,} idle TLS connections | " + " | ".join(names) + (" | nginx ÷ monoceros |" if len(names) > 1 else " |"),
                  "|---|" + "--:|" * len(names) + ("--:|" if len(names) > 1 else "")]
        for what, of in (("MB of all processes (PSS)", {name: memory[name][1] / 1024 for name in names}), ("KB each", each)):
            cells = [f"{of[name]:.1f}" for name in names] + ([f"{of['nginx'] / of['monoceros']:.2f}"] if len(names) > 1 else [])
            lines.append(f"| {what} | " + " | ".join(cells) + " |")
    if bounds:
        sign, ecdh, own = (statistics.median(one[i] for one in bounds) for i in range(3))
        mine = statistics.median(one[0] for one in results["monoceros", HANDSHAKE])
        lines += ["", f"Of a full handshake, measured on the same core between the rounds: by `openssl speed` a signature takes {sign:.0f} µs and two X25519 "
                  f"{2 * ecdh:.0f} µs, {sign + 2 * ecdh:.0f} µs in all.",
                  f"The same connection, handshake, request and end between two pieces of memory cost OpenSSL itself {own:.0f} µs (`load_tls limit`); "
                  f"the server, with sockets and HTTP, takes {mine:.0f} µs: {own / mine:.2f} × of OpenSSL's own rate."]
    return "\n".join(lines) + "\n"


def machine():
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return f"{model}, {os.cpu_count()} cores, Linux {os.uname().release.split('-')[0]}, OpenSSL {openssl}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="workloads with one of these words in their names")
    parser.add_argument("--nginx")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("file", nargs="?")
    options = parser.parse_args()
    bench.own_network()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    workloads = [name for name in WORKLOADS if not options.only or any(word in name for word in options.only)]
    results, memory, bounds, running = {}, {}, [], {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        prepare(directory)
        try:
            def origin(port):
                path = directory / "origin.conf"
                path.write_text(ORIGIN.format(port=port, dir=directory), encoding="utf-8")
                return [bench.MONOCEROS, "-c", str(path)]
            running["origin"] = bench.Server(origin, directory, core=1)
            servers = commands(options, directory, running["origin"].port)
            for server, command in servers.items():
                running[server] = Edge(command, directory)
            for turn in range(options.rounds):
                for workload in workloads:
                    for server in servers:
                        results.setdefault((server, workload), []).append(measure(running[server], directory, workload, options.seconds))
                if HANDSHAKE in workloads:
                    bounds.append(limits(directory, 1))
                print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
            for server in servers:
                running.pop(server).stop()
            if not options.no_memory:
                memory = {server: measure_memory(command, directory) for server, command in servers.items()}
        except SystemExit:
            sys.stderr.write("".join(path.read_text(encoding="utf-8") for path in directory.glob("*.log"))[-4000:])
            raise
        finally:
            for server in running.values():
                server.stop()
    print(text := report(results, memory, bounds, options), end="")
    if options.file:
        Path(options.file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
