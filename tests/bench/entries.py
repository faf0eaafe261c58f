"""Entries of the bench that are Monoceros, and what an entry is: how one server is started with one worker, how to know that it is up, its version."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from measure import HERE, OBJS, ROOT

MONOCEROS = os.path.abspath(os.environ.get("MONOCEROS") or OBJS / "monoceros")


@dataclass
class Context:
    """What commands are made from: a folder for files, the interpreter with the peers' packages, the port of the upstream."""
    directory: Path
    python: str
    origin: int = 9         # where nobody listens, while no row asks an upstream

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def user(self):
        """The name that servers started as root are to keep, or nothing."""
        return (os.environ.get("USER") or "root") if os.geteuid() == 0 else ""


@dataclass
class Entry:
    name: str
    command: Callable           # (context, server) -> argv
    settings: str               # what it is told, for the report
    version: Callable           # (context) -> text, or None: absent
    why: str = ""               # how it could be had
    ready: str = "/"
    only_tls: bool = False
    stop_signal: int = signal.SIGTERM
    tags: frozenset = field(default_factory=frozenset)

    def __str__(self):
        return self.name


def told(argv, pattern=r"\d+\.\d+(\.\d+)*"):
    """The version that a program tells, or None."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=20)
    except OSError:
        return None
    found = re.search(pattern, done.stdout + done.stderr)
    return found[0] if found else None


def program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def package(context, name):
    """The version of a package of the bench's interpreter, or None."""
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run([context.python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


# ---- Monoceros

COMMON = 'errorlog = "{log}"\nworker_connections = 12000  keepalive = 5m\n'
EDGE = COMMON + """
worker_class = epoll  workers = {workers}
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
ORIGIN = COMMON + """
worker_class = epoll  workers = 1
server "origin" {{ listen = "127.0.0.1:{port}"
    route "large" {{ match {{ exact = "/large" }}  static {{ root = "{dir}/files"  try = {{"/1m"}} }} }}
    route "hello" {{ respond {{ body = "Hello, world!" }} }} }}
"""
APP = COMMON + """
worker_class = {kind}  workers = {workers}  {settings}
app "it" {{ {app} }}
server "all" {{ listen = "127.0.0.1:{port}"  route "all" {{ app = it }} }}
"""


def features():
    """What the build has: configure's words, and the version."""
    done = subprocess.run([MONOCEROS, "-V"], capture_output=True, text=True, check=False) if os.access(MONOCEROS, os.X_OK) else None
    return (done.stdout + done.stderr) if done else ""


FEATURES = features()
WORKERS = (os.environ.get("MONOCEROS_WORKERS") or "sync,gthread,greenlet,epoll").split(",")


def version(*needs, python=False):
    """A function for entries that need these worker types."""
    def of(context):
        if not FEATURES or any(need not in WORKERS for need in needs) or (python and "python" not in FEATURES.replace("--without-python", "")):
            return None
        return re.search(r"\d+\.\d+(\.\d+)*\S*", FEATURES)[0]
    return of


def edge(text, workers=1):
    def command(context, server):
        name = f"{server.entry.name}.conf"
        return [MONOCEROS, "-c", context.file(name, text.format(port=server.port, tls=server.tls, origin=context.origin, dir=context.directory,
                                                               log=server.log, workers=workers))]
    return command


def app(kind, what, settings="", workers=1, chdir=HERE / "apps"):
    """A worker type with one app: "name.so" of the folder, or "wsgi module:name", "asgi module:name"."""
    def command(context, server):
        more = settings
        if what.endswith(".so"):
            text = f'type = native  module = "{context.directory / what}"'
        else:
            interface, module = what.split()
            text = f'type = {interface}  module = "{module}"  chdir = "{chdir}"'
            more += f'  python = "{context.python}"'
        name = f"{server.entry.name}.conf"
        return [MONOCEROS, "-c", context.file(name, APP.format(kind=kind, settings=more, app=text, port=server.port, log=server.log, workers=workers))]
    return command


def build_apps(directory):
    """The apps in C, against the header where it will be installed."""
    (directory / "monoceros").mkdir(exist_ok=True)
    shutil.copy(ROOT / "modules/handler/native/app.h", directory / "monoceros/app.h")
    for name in ("blocking", "looping"):
        subprocess.run([*os.environ.get("CC", "cc").split(), "-std=gnu11", "-O2", "-fPIC", "-shared", f"-I{directory}", "-o", directory / f"{name}.so",
                        HERE / "apps" / f"{name}.c"], check=True)


KEEP = "keepalive = 5m, worker_connections = 12000, no access log (the default)"


def ours():
    why = "the build has not what it needs"
    yield Entry("monoceros", edge(EDGE), f"worker_class = epoll; {KEEP}", version("epoll"), why)
    yield Entry("monoceros-2w", edge(EDGE, 2), "the same with 2 workers", version("epoll"), why)
    for kind, what in (("sync", "blocking.so"), ("gthread", "blocking.so"), ("greenlet", "blocking.so"), ("epoll", "looping.so")):
        settings = "threads = 8" if kind == "gthread" else ""
        yield Entry(f"monoceros-c-{kind}", app(kind, what, settings), f"an app in C; worker_class = {kind} {settings}; {KEEP}", version(kind), why)
    yield Entry("monoceros-c-gthread-64", app("gthread", "blocking.so", "threads = 64"), f"an app in C; worker_class = gthread threads = 64; {KEEP}", version("gthread"), why)
    for kind, settings in (("sync", ""), ("gthread", "threads = 8"), ("gevent", ""), ("eventlet", "")):
        need = "greenlet" if kind in ("gevent", "eventlet") else kind
        yield Entry(f"monoceros-{kind}", app(kind, "wsgi wsgi:app", settings), f"worker_class = {kind} {settings}; {KEEP}", version(need, python=True), why)
    yield Entry("monoceros-gthread-64", app("gthread", "wsgi wsgi:app", "threads = 64"), "worker_class = gthread threads = 64", version("gthread", python=True), why)
    yield Entry("monoceros-gthread-2w", app("gthread", "wsgi wsgi:app", "threads = 8", 2), "worker_class = gthread threads = 8, 2 workers",
                version("gthread", python=True), why)
    for loop in ("asyncio", "uvloop"):
        yield Entry(f"monoceros-asgi-{loop}", app("asgi", "asgi asgi:app", f"asgi_loop = {loop}"), f"worker_class = asgi asgi_loop = {loop}; {KEEP}",
                    version("epoll", python=True), why)
    for name, kind, what in (("wsgi", "sync", "wsgi hello_wsgi:app"), ("asgi", "asgi", "asgi hello_asgi:app")):
        yield Entry(f"monoceros-hello-{name}", app(kind, what), f"worker_class = {kind}, the smallest app", version("sync", "epoll", python=True), why)


def origin():
    """The upstream of the rows of proxies: ours, on the core of the load, so that it is the same one for all."""
    return Entry("origin", edge(ORIGIN), "", version("epoll"))


def make_python(context):
    return f"Python {told([context.python, '-V']) or sys.version}"
