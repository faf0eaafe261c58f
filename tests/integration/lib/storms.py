"""Sites for storms: what takes some milliseconds in each worker type, clients of every kind on it, and what must be as before afterwards."""

import os
from pathlib import Path
from signal import SIGHUP
from time import sleep

from lib import board, procfs, server as under_test, wire
from lib.fixtures import NATIVE, WORKERS
from lib.limits import until

# For what differs only between Python and native pools: one type of each.
FEW = [next(name for name in kind if name in WORKERS) for kind in (("gthread", "sync"), ("greenlet", "epoll")) if set(kind) & set(WORKERS)]
KIT = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "tests/apps/native/kit.so"

SITE = """
{top}
pidfile = "{tmp}/pid"
keepalive = 5s
pool "web" { worker_class = {worker}  workers = {count}  {pool} }
{app}
server "main" { listen = {"{address}", "unix:{tmp}/http.sock"}  {server}  route "all" { {handler} } }
"""

APP = """
import os, time
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    query = environ["QUERY_STRING"]
    while query.startswith("/") and not os.path.exists(query):
        time.sleep(0.01)
    if query.isdigit():
        time.sleep(int(query) / 1000)
    return [b"%s"]
"""


class Site:
    """A server of this worker type whose target(ms) takes so long: an app in Python or C, or nothing at all where no app may block (epoll).

    It is started by start(); write(), break_app() and change() alter what the next reload finds.
    """

    def __init__(self, monoceros, worker_class, directory, count=2, top="", pool="", server=""):
        self.monoceros, self.worker_class, self.directory = monoceros, worker_class, directory
        self.python = worker_class not in NATIVE and under_test.has_python()
        self.kit = not self.python and worker_class != "epoll" and KIT.exists()
        if self.python:
            self.write("one")
        app = f'app "it" {{ type = wsgi  module = "shop:app"  chdir = "{directory}" }}' if self.python else \
            f'app "it" {{ type = native  module = "{KIT}" }}' if self.kit else ""
        handler = "app = it" if app else 'respond { body = "one" }'
        self.words = {"top": top, "count": count, "pool": pool, "app": app, "server": server, "handler": handler}
        self.text = self.fill(self.words)
        self.count = count

    @staticmethod
    def fill(words):
        text = SITE
        for name, value in words.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    def start(self, **options):
        server = self.monoceros(config=self.text, python=self.python, **options)
        until(lambda: len(ready(server)) == self.count, f"{self.count} ready workers")
        server.storm = self
        return server

    def target(self, ms):
        """Milliseconds; an app in Python takes a file, too, whose coming ends the request."""
        return f"/?{ms}" if self.python else f"/sleep?{ms}" if self.kit else "/"

    def write(self, body):
        """The app, for the next import; a text with line ends is the whole module."""
        put(self.directory / "shop.py", body if "\n" in body else APP % body)

    def write_late(self, seconds, body):
        """An app whose import takes so long, and says so in the log."""
        self.write(f"import sys, time\nprint('importing', '{body}', file=sys.stderr, flush=True)\ntime.sleep({seconds})\n" + APP % body)

    def crowd(self, load, server, each=3, address=None, **options):
        """Clients on new connections, on kept ones, and one whose requests take a while."""
        address = address or server.address
        quick = self.target(10)
        return [load(address, clients=each, request=wire.request("GET", quick, close=True), **options),
                load(address, clients=each, keep=True, request=wire.request("GET", quick), **options),
                load(address, clients=1, request=wire.request("GET", self.target(700), close=True), **options)]


def put(path, text):
    """The whole text at once: a reload that reads the file just now finds the old one or the new one."""
    other = path.with_name(path.name + "~")
    other.write_text(text)
    other.replace(path)


def ready(server):
    return [slot for slot in board.slots(server.pid) if slot.state in ("idle", "busy")]


def file(server):
    return server.directory / "test.conf"


def change(server, old, new):
    text = file(server).read_text()
    assert old in text, (old, text)
    put(file(server), text.replace(old, new))


def answered(clients, more):
    """Until each kind of client has had so many more answers (the slow ones a few)."""
    for one in clients:
        one.wait_answered(one.answered + (more if b"?700" not in one.request else 1))


def nothing_lost(clients):
    for one in clients:
        one.stop()
    for one in clients:
        one.nothing_lost()


def zygotes(pid):
    return [child for child in procfs.children(pid) if "zygote" in procfs.title(child)]


def facts(server):
    """What a storm must leave as it was: descriptors of the arbiter, and processes by what they are. No zombie may be there."""
    family = procfs.of_session(server.pid)
    dead = [pid for pid in family if procfs.zombie(pid)]
    return len(procfs.fds(server.pid)), len(ready(server)), len(zygotes(server.pid)), len(family), dead


def at_rest(server):
    """The facts, once the arbiter has nothing left to do of the start."""
    heard(server)
    return facts(server)


def calm(server, before):
    """Until the arbiter, its children and its descriptors are what they were."""
    until(lambda: facts(server) == before, f"all to be as before: {before}, not {facts(server)}", 60)


def heard(server):
    """Until the arbiter has heard all signals that it was sent: it sleeps, and none waits."""
    def asleep():
        return not int(procfs.status(server.pid, "ShdPnd")[0], 16) and procfs.stat(server.pid)[0] == b"S"
    until(lambda: all(asleep() and not sleep(0.01) for _ in range(10)), "the arbiter to rest", 60)


def reload(server):
    """The number of workers that the file says, whatever came before: signals that wait together are taken in no order."""
    heard(server)
    done = server.log().count("Reload: done")
    server.signal(SIGHUP)
    until(lambda: server.log().count("Reload: done") > done, "the reload", 60)


def other_settings(server, dice, spare):
    """Writes a configuration that differs in anything but its main address; spare: ports that may be listened at, too."""
    site, python = server.storm, server.storm.python
    words = dict(site.words)
    words["count"] = dice.randrange(1, 4)
    words["top"] = "\n".join([f"reuse_port = {dice.choice(['yes', 'no'])}", f"backlog = {dice.choice([64, 512, 2048])}",
                              f"accesslog = \"{server.directory}/{dice.choice(['one', 'two'])}.access\"", f"proc_name = p{dice.randrange(9)}",
                              f"reload_surge = {dice.randrange(1, 4)}", f"preload_app = {dice.choice(['yes', 'no'])}" if python else ""])
    words["pool"] = f"max_requests = {dice.choice([0, 30])}  worker_connections = {dice.choice([100, 1000])}"
    listens = "".join(f', "127.0.0.1:{port}"' for port in spare if dice.random() < 0.5)
    text = site.fill(words).replace('"unix:{tmp}/http.sock"', ('"unix:{tmp}/http.sock"' if dice.random() < 0.5 else '"unix:{tmp}/other.sock"') + listens)
    text = text.replace('"web"', dice.choice(['"web"', '"wild"']))
    for name, value in {"address": f"127.0.0.1:{server.address[1]}", "tmp": server.directory, "worker": site.worker_class}.items():
        text = text.replace("{" + name + "}", str(value))
    put(file(server), text)
