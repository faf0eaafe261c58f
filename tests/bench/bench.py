#!/usr/bin/env python3
"""Measures CPU time per request of several servers, in turns: bench.py [--rounds N] [--seconds S] [--only NAME,...] [--load NAME,...]

Each round runs every server once on core 0 with the load client on core 1, so that the drift of a shared machine falls on
all of them alike; the base figure is the CPU time that the server's processes spent (schedstat of all threads) over the
requests answered, the ratio is that of the same round. It runs in a network namespace of its own where it may, with reno:
bbr, the default in some kernels, paces the loopback.

raw is tests/bench/raw.c, the practical limit. Gunicorn and nginx are measured when they are found: --gunicorn PROGRAM,
--nginx PROGRAM, else those of the PATH.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MONOCEROS = os.path.abspath(os.environ.get("MONOCEROS") or ROOT / "objs/monoceros")
PYTHON = os.environ.get("MONOCEROS_PYTHON") or sys.executable

HELLO = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
BROWSER = (b"GET /some/page?with=a&query=string HTTP/1.1\r\nHost: www.example.org\r\nConnection: keep-alive\r\n"
           b"sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\nUpgrade-Insecure-Requests: 1\r\n"
           b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n"
           b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
           b"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br\r\n"
           b"Accept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n")

# name: request, connections, further words for load
LOADS = {
    "keep-alive": (HELLO, 64, []),
    "c=1000": (HELLO, 1000, []),
    "browser": (BROWSER, 64, []),
    "pipelined": (HELLO, 64, ["pipeline=16"]),
    "close": (HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 64, ["close"]),
}
CONFIG = """
errorlog = "{log}"
worker_connections = 4000
pool "web" {{ worker_class = sync  workers = 1  keepalive = 30s }}
server "hello" {{ listen = "127.0.0.1:{port}"  route "all" {{ respond {{ body = "Hello, world!" }} }} }}
"""
NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ default_type "text/plain; charset=utf-8"; return 200 "Hello, world!"; }} }} }}
"""


def own_network():
    """Runs this program again in a network namespace with reno, where the system lets it."""
    if os.environ.get("BENCH_NETWORK"):
        return
    setup = "ip link set lo up 2>/dev/null; echo reno > /proc/sys/net/ipv4/tcp_congestion_control && exec \"$@\""
    for flags in (["-n"], ["-rn"]):
        probe = subprocess.run(["unshare", *flags, "sh", "-c", setup, "sh", "true"], stderr=subprocess.DEVNULL, check=False)
        if probe.returncode == 0:
            os.environ["BENCH_NETWORK"] = "own"
            os.execvp("unshare", ["unshare", *flags, "sh", "-c", setup, "sh", sys.executable, *sys.argv])
    os.environ["BENCH_NETWORK"] = "shared"


def build(directory):
    """Compiles raw and load."""
    for name in ("raw", "load"):
        subprocess.run([*os.environ.get("CC", "cc").split(), "-std=gnu11", "-O2", "-D_GNU_SOURCE", "-o", directory / name, HERE / f"{name}.c",
                        "-lhttp_parser"], check=True)


def servers(options, directory):
    """Commands by name; {port} is filled in later. Those that are not there are left out."""
    def file(name, text):
        (directory / name).write_text(text, encoding="utf-8")
        return str(directory / name)

    wsgi = ["--chdir", str(HERE), "hello:app", "-b", "127.0.0.1:{port}", "--log-file", f"{directory}/{{name}}.log"]
    found = {"raw": lambda port: [str(directory / "raw"), str(port)]}
    if os.access(MONOCEROS, os.X_OK):
        found["respond"] = lambda port: [MONOCEROS, "-c", file("respond.conf", CONFIG.format(port=port, log=directory / "respond.log"))]
        text = subprocess.run([MONOCEROS, "-V"], capture_output=True, text=True, check=False).stdout
        if "python" in text.replace("--without-python", ""):
            found["wsgi"] = lambda port: [MONOCEROS, *(word.format(port=port, name="wsgi") for word in wsgi), "--keep-alive", "5",
                                          "--worker-connections", "4000", "--python", PYTHON]
    gunicorn = options.gunicorn or shutil.which("gunicorn")
    if gunicorn:
        for kind, more in (("sync", []), ("gthread", ["--threads", "4", "--keep-alive", "5"])):
            found[f"gunicorn-{kind}"] = lambda port, kind=kind, more=more: [
                gunicorn, *(word.format(port=port, name="gunicorn") for word in wsgi), "-k", kind, *more]
    nginx = options.nginx or shutil.which("nginx")
    if nginx:
        found["nginx"] = lambda port: [nginx, "-c", file("nginx.conf", NGINX.format(port=port, dir=directory))]
    return {name: command for name, command in found.items() if not options.only or name in options.only}


def family(pid):
    """The process and all its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    parents[int(entry)] = int(stat.read().rpartition(b") ")[2].split()[1])
            except OSError:
                pass
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu_ns(pids):
    total = 0
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
        except OSError:
            pass
    return total


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_ready(process, port):
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"{process.args}: ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), 30) as sock:
                sock.sendall(HELLO)
                if sock.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{process.args}: does not answer")


class Server:
    def __init__(self, command, directory, core=0):
        self.port = free_port()
        env = {key: value for key, value in os.environ.items() if not key.startswith("MONOCEROS_") or key == "MONOCEROS_EXTENSION"}
        with open(directory / "output.log", "ab") as log:
            self.process = subprocess.Popen(["taskset", "-c", str(core), *command(self.port)], stdout=log, stderr=log, env=env)
        wait_ready(self.process, self.port)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def measure(server, directory, load, seconds):
    """CPU µs per request, requests per second, p99 in µs, errors."""
    request, connections, words = LOADS[load]
    command = ["taskset", "-c", "1", str(directory / "load"), str(server.port)]
    subprocess.run([*command, "0.3", str(connections), *words], input=request, capture_output=True, check=True)     # warm
    pids = family(server.process.pid)
    before = cpu_ns(pids)
    done = subprocess.run([*command, str(seconds), str(connections), *words], input=request, capture_output=True, check=True)
    used = cpu_ns(pids) - before
    requests, took, errors, _, _, p99, _ = done.stdout.split()
    return used / 1000 / max(int(requests), 1), int(requests) / float(took), int(p99), int(errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "7")))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--load", type=lambda text: text.split(","), default=["keep-alive", "pipelined", "close"])
    parser.add_argument("--gunicorn")
    parser.add_argument("--nginx")
    options = parser.parse_args()
    own_network()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        build(directory)
        running = {}
        try:
            for server, command in servers(options, directory).items():
                running[server] = Server(command, directory)
            print(f"network: {os.environ['BENCH_NETWORK']}, {options.rounds} rounds of {options.seconds} s; ratio: median of the rounds' ratios to raw")
            for load in options.load:
                table(load, running, directory, options)
        finally:
            for server in running.values():
                server.stop()


def table(load, running, directory, options):
    results = {name: [] for name in running}
    for _ in range(options.rounds):
        for name, server in running.items():
            results[name].append(measure(server, directory, load, options.seconds))
    print(f"\n{load:18} CPU µs/request (min)   ratio     req/s    p99 µs  errors")
    for name, rounds in results.items():
        cpu = [one[0] for one in rounds]
        ratio = "     -"
        if "raw" in results:
            ratio = f"{statistics.median(mine / raw[0] for mine, raw in zip(cpu, results['raw'])):6.2f}"
        print(f"{name:18} {statistics.median(cpu):10.2f} ({min(cpu):6.2f})    {ratio} {statistics.median(one[1] for one in rounds):9.0f}"
              f" {statistics.median(one[2] for one in rounds):9.0f} {sum(one[3] for one in rounds):7}")


if __name__ == "__main__":
    main()
