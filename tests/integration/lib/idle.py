"""Many kept connections: how much memory of its own a worker needs for one."""

import itertools
import resource
import socket

from lib import procfs, wire
from lib.limits import patience, until


SPARE = 100     # descriptors for all else


def allowed(count):
    """This many connections, or as many as the limits of this process and its children let us hold."""
    soft, hard = (limit if limit != resource.RLIM_INFINITY else 1 << 30 for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    need = count + SPARE
    if soft < need:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (need, max(need, hard)))
        except (ValueError, OSError):       # only root may raise the hard limit, and not everywhere
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return hard - SPARE
    return count


def pss(pid):
    """Bytes of memory of this process, shared pages by halves."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def served(address, source):
    """A connection that has had one answer and is idle now. Sources differ, so that ports do not run out."""
    sock = socket.socket()
    sock.settimeout(patience(20))
    sock.bind((source, 0))
    sock.connect(address)
    sock.sendall(wire.request("GET", "/"))
    answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"onnection: close" not in answer, answer
    return sock


def bytes_each(site, pid, count, connections):
    """Memory of the worker for `count` idle connections, per connection. The connections are added to the list; the caller closes them."""
    sources = itertools.cycle(f"127.0.0.{number}" for number in range(1, 9))
    for _ in range(20):         # what the first few cost once
        connections.append(served(site.address, next(sources)))
    before = pss(pid)
    for _ in range(count):
        connections.append(served(site.address, next(sources)))
    until(lambda: len(procfs.fds(pid)) > count, f"{count} connections in one worker")
    return (pss(pid) - before) / count


SITE = """
workers = 1
worker_class = {worker}
worker_connections = CONNECTIONS
keepalive = 600
server "idle" { listen = "{address}"  route "all" { respond { body = "here" } } }
"""
