"""Servers as processes, what they use, and the load on them."""

import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OBJS = Path(os.environ.get("MONOCEROS_OBJS") or ROOT / "objs")
TICK = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


class Failed(Exception):
    """A server does not start, or does not answer as it should."""


def own_network():
    """Runs this program again in a network namespace of its own with reno, where the system lets it: bbr, the default of some kernels, paces the loopback."""
    if os.environ.get("BENCH_NETWORK"):
        return
    setup = "ip link set lo up 2>/dev/null; echo reno > /proc/sys/net/ipv4/tcp_congestion_control && exec \"$@\""
    for flags in (["-n"], ["-rn"]):
        probe = subprocess.run(["unshare", *flags, "sh", "-c", setup, "sh", "true"], stderr=subprocess.DEVNULL, check=False)
        if probe.returncode == 0:
            os.environ["BENCH_NETWORK"] = "own, reno"
            os.execvp("unshare", ["unshare", *flags, "sh", "-c", setup, "sh", sys.executable, *sys.argv])
    os.environ["BENCH_NETWORK"] = "shared, " + Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="ascii").strip()


def build(directory):
    """Compiles the load client and the bare loop."""
    flags = [*os.environ.get("CC", "cc").split(), "-std=gnu11", "-O2", "-D_GNU_SOURCE"]
    for name, parts in (("raw", ["raw"]), ("load", ["load", "load_io", "load_ws"])):
        subprocess.run([*flags, "-o", directory / name, *(HERE / f"{part}.c" for part in parts), "-lhttp_parser", "-lssl", "-lcrypto"], check=True)


# ---- processes


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


class Usage:
    """CPU time of a family at one moment: by thread in ns (exact), and user and system in ticks with all that have ended and been waited for."""

    def __init__(self, pids):
        self.threads, self.user, self.system = {}, 0, 0
        for pid in pids:
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    user, system, child_user, child_system = map(int, file.read().rpartition(b") ")[2].split()[11:15])
                self.user += user + child_user
                self.system += system + child_system
                for thread in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                        self.threads[thread] = int(file.read().split()[0])
            except OSError:
                pass

    def since(self, before):
        """µs in all, the share of it in user mode, threads that did at least a fiftieth of it."""
        each = {thread: ns - before.threads.get(thread, 0) for thread, ns in self.threads.items()}
        exact = sum(each.values()) / 1000
        user, system = self.user - before.user, self.system - before.system
        coarse = (user + system) / TICK * 1e6
        # What threads and processes used that have ended meanwhile is in the ticks only; one process's are at most two behind.
        total = coarse if coarse - exact > 3 / TICK * 1e6 else exact
        busy = sum(ns / 1000 >= total / 50 for ns in each.values())
        return total, user / max(user + system, 1), busy


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


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def exchange(port, request, tls=False, seconds=10):
    """The head and body of one answer, from a connection of its own. The body ends as its head says, else with the connection."""
    with socket.create_connection(("127.0.0.1", port), seconds) as sock:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        with sock:
            sock.sendall(request)
            data = b""
            while b"\r\n\r\n" not in data:
                piece = sock.recv(65536)
                if not piece:
                    raise Failed(f"the answer ends in its head: {data[:200]!r}")
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            lower = head.lower()
            whole = None
            if b"\r\ncontent-length:" in lower:
                whole = int(lower.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            chunked = b"\r\ntransfer-encoding: chunked" in lower
            parts = [body]
            size = len(body)
            last = body
            while (whole is not None and size < whole) or (chunked and not last.endswith(b"0\r\n\r\n")) or (whole is None and not chunked):
                piece = sock.recv(1 << 20)
                if not piece:
                    break
                parts.append(piece)
                size += len(piece)
                last = (last + piece)[-16:]
            body = b"".join(parts)
            return head, unchunk(body) if chunked else body


def unchunk(data):
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        size = int(size.split(b";")[0] or b"0", 16)
        if size == 0:
            break
        body, data = body + data[:size], data[size + 2:]
    return body


class Server:
    """An entry that runs, on the server's core."""

    def __init__(self, entry, directory, context, cores=None):
        self.entry, self.port, self.tls = entry, free_port(), free_port()
        self.log = directory / f"{entry.name}.log"
        env = {key: value for key, value in os.environ.items() if not key.startswith("MONOCEROS_") or key == "MONOCEROS_EXTENSION"}
        env.update(BENCH_FILE=str(directory / "files" / "50k"), PYTHONDONTWRITEBYTECODE="1")
        self.argv = [str(word) for word in entry.command(context, self)]
        self.started = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["taskset", "-c", cores or str(SERVER_CORE), *self.argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                            cwd=HERE / "apps")
        try:
            self.up_after = self.wait()
        except Failed:
            self.stop()
            raise

    def wait(self):
        """Seconds until the first answer."""
        request = b"GET " + self.entry.ready.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        while time.monotonic() - self.started < 30:
            if self.process.poll() is not None:
                raise Failed(f"{self.entry.name} ended with {self.process.returncode}: {self.tail()}")
            try:
                if b" 200 " in exchange(self.tls if self.entry.only_tls else self.port, request, self.entry.only_tls)[0]:
                    return time.monotonic() - self.started
            except (OSError, Failed):
                pass
            time.sleep(0.005)
        raise Failed(f"{self.entry.name} does not answer: {self.tail()}")

    def tail(self):
        return self.log.read_text(encoding="utf-8", errors="replace")[-600:].strip()

    def family(self):
        return family(self.process.pid)

    def usage(self):
        return Usage(self.family())

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        pids = self.family()
        self.process.send_signal(self.entry.stop_signal)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        for pid in pids:        # whatever is left of it
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.wait()


# ---- the load


class Load:
    """The load client on a server. It says when all clients are served; then the time starts with go(), and result() is what it counted."""

    def __init__(self, directory, port, request, seconds, connections, words):
        command = [directory / "load", str(port), str(seconds), str(connections), request, *words]
        self.seconds = seconds
        self.process = subprocess.Popen(["taskset", "-c", str(LOAD_CORE), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def line(self, seconds):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise Failed("the load client waits for ever")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(self.process.stderr.read().decode().strip() or "the load client failed")
        return line

    def ready(self, seconds=30):
        if self.line(seconds) != b"ready\n":
            raise Failed("the load client is not ready")

    def go(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def result(self):
        return json.loads(self.line(self.seconds + 30))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
