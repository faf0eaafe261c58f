#!/usr/bin/env python3
"""Instructions of a request, counted by callgrind in whole servers: instructions.py check | update REASON | profile DIRECTORY

A server runs under callgrind and gets N requests, then 2 N, one by one on one connection; before and after a request that ends in an error page, at
which callgrind writes down what it has (--dump-before). The difference of the two divided by N is what a request costs: start, connection and error
pages drop out. The least of some series is taken, so what the server does once a second drops out, too. `check` compares with the budgets in instructions.txt and allows 5 %. `update` writes new figures for those that have changed, with
the reason. `profile` leaves tables by function in a directory.

Budgets hold for one compiler and one machine type, which the file names: elsewhere the figures are only shown.
"""

import argparse
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUDGETS = HERE / "instructions.txt"
ERROR_PAGE = "mc_response_error"
UNDER = f"valgrind -q --tool=callgrind --trace-children=yes --dump-before={ERROR_PAGE}"
SLACK = 0.05
WARMING, TIMES, SERIES = 60, 60, 4

sys.path.insert(0, str(HERE.parent / "integration"))
os.environ["MONOCEROS_UNDER"] = f"{UNDER} --callgrind-out-file={tempfile.gettempdir()}/%p"     # says that all is slow; each server has its own

from callgrind import Profile                       # noqa: E402
from lib import server as under_test                # noqa: E402
from lib.frames import Client as H2Client           # noqa: E402
from lib.limits import until                        # noqa: E402
from lib.pki import Pki                             # noqa: E402
from lib.wire import Connection, request            # noqa: E402

BROWSER = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
           ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
           ("Accept-Language", "en-GB,en;q=0.5"), ("Accept-Encoding", "gzip, deflate, br, zstd"), ("DNT", "1"), ("Connection", "keep-alive"),
           ("Cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"), ("Upgrade-Insecure-Requests", "1"), ("Sec-Fetch-Dest", "document"),
           ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "none"), ("Sec-Fetch-User", "?1"), ("Priority", "u=0, i")]
SHORT = [("User-Agent", "count"), ("Accept", "*/*")]
APPS = Path(os.environ.get("MONOCEROS_OBJS", "objs")) / "tests/apps/native"
BUILT = {line.split()[1] for line in under_test.modules().splitlines() if re.match(r"  [a-z]+ +[a-z0-9_]+$", line)}
EXTENSION = "_monoceros"


class Http1:
    def __init__(self, address, fields=(), batch=1):
        self.connection, self.fields, self.batch = Connection(address), fields, batch

    def ask(self, target, status):
        batch = self.batch if status == 200 else 1
        self.connection.send(request("GET", target, self.fields) * batch)
        for _ in range(batch):
            assert self.connection.read().status == status


class Tls(Http1):
    def __init__(self, address, fields=()):
        super().__init__(address, fields)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.connection.sock = context.wrap_socket(self.connection.sock, suppress_ragged_eofs=False)


class EachItsOwn:
    """A connection for each request."""

    def __init__(self, address, fields=()):
        self.address, self.fields, self.batch = address, [*fields, ("Connection", "close")], 1

    def ask(self, target, status):
        with Connection(self.address) as connection:
            connection.send(request("GET", target, self.fields))
            assert connection.read().status == status
            assert not connection.fill()        # the end


class Http2:
    def __init__(self, address):
        self.client, self.batch = H2Client(address), 1

    def ask(self, target, status):
        assert self.client.answer(self.client.ask(target), update=False).status == status      # no window updates at a time of their own


# Servers: worker type, settings, what answers "/", what the build must have; and the clients whose requests are counted.
# Of each request the items: its instructions in all, or of a function with all that it calls, or of ours alone (what Python does is its own),
# or how often we call Python.
SITES = [
    ("sync", "", 'respond { body = "Hello, world!" }', "", (), [
        ("hello", lambda a: Http1(a, SHORT), {"hello": "all", "hello: parse": "mc_head_request", "hello: route": "mc_request_route",
                                              "hello: respond": "mc_request_dispatch", "hello: response head": "encode_head"}),
        ("browser", lambda a: Http1(a, BROWSER), {"browser's head": "all", "browser's head: parse": "mc_head_request"}),
        ("pipelined", lambda a: Http1(a, SHORT, 16), {"16 pipelined, each": "all"}),
        ("close", lambda a: EachItsOwn(a, SHORT), {"a connection, hello": "all"})]),
    ("sync", 'tls { certificate "it" { cert = "{files}.pem"  key = "{files}.key" } }', 'respond { body = "Hello, world!" }', "", ("tls",), [
        ("tls", lambda a: Tls(a, SHORT), {"TLS hello": "all", "TLS hello: recv": "tls_recv", "TLS hello: send": "tls_send"})]),
    ("sync", "", 'proxy { to = "upstream:origin" }', 'upstream "origin" { peer "127.0.0.1:{origin}" { } }', ("proxy",), [
        ("proxy", lambda a: Http1(a, SHORT), {"proxied hello": "all", "proxied hello: asked": "mc_request_dispatch", "proxied hello: reply": "mc_up_on_io"})]),
    ("sync", "http2_cleartext = prior-knowledge", 'respond { body = "Hello, world!" }', "", ("http2",), [
        ("h2", Http2, {"HTTP/2": "all"})]),
    ("sync", "", 'static { root = "{files}" }', "", ("static",), [
        ("file", lambda a: Http1(a, SHORT), {"file of 1 KB": "all"})]),
    ("sync", "", "app = it", f'app "it" {{ type = native  module = "{APPS}/kit.so" }}', ("native",), [
        ("native", lambda a: Http1(a, SHORT), {"app in C": "all"})]),
    ("sync", "", "app = it", f'app "it" {{ type = wsgi  module = "costs:wsgi"  chdir = "{under_test.APPS}" }}', ("python",), [
        ("wsgi", lambda a: Http1(a, SHORT), {"WSGI: ours": "ours", "WSGI: ours, environ": "own mc_environ_new", "WSGI: calls of Python": "calls"})]),
    ("asgi", 'asgi_loop = "asyncio"', "app = it", f'app "it" {{ type = asgi  module = "costs:asgi"  chdir = "{under_test.APPS}" }}', ("python",), [
        ("asgi", lambda a: Http1(a, SHORT), {"ASGI: ours": "ours", "ASGI: ours, scope": "own mc_scope_new", "ASGI: calls of Python": "calls"})]),
]
CONFIG = """
pool "main" {{ worker_class = {worker}  workers = 1  keepalive = 1h }}
{app}
server "main" {{ listen = "{address}"  {settings}  route "it" {{ match {{ exact = "{target}" }}  {answer} }} }}
"""


def serve(row, directory):
    """Yields (name, profile of one request, items) for each of the clients of a row."""
    worker, settings, answer, app, _, clients = row
    port = under_test.free_port()
    target = "/1k" if "static" in row[4] else "/echo" if "native" in row[4] else "/"
    files = directory / "files"     # by themselves: the server watches the folder for changes
    files.mkdir()
    (files / "1k").write_bytes(b"x" * 1024)
    os.utime(files / "1k", (1e9, 1e9))
    address = f"127.0.0.1:{port}"
    if "tls" in row[4]:
        Pki(directory).make("files")
        address += " tls"
    origin = start_origin(directory) if "{origin}" in app else None
    if origin:
        app = app.replace("{origin}", str(origin.address[1]))
    settings = settings.replace("{files}", str(files))
    config = CONFIG.format(worker=worker, app=app, address=address, settings="" if worker == "asgi" else settings, target=target,
                           answer=answer.replace("{files}", str(files)))
    if worker == "asgi":
        config = config.replace("keepalive = 1h", f"keepalive = 1h  {settings}")
    (directory / "server.conf").write_text(config, encoding="utf-8")
    under_test.UNDER[:] = [*UNDER.split(), f"--callgrind-out-file={directory}/%p"]
    server = under_test.Monoceros("-c", directory / "server.conf", directory=directory, python="python" in row[4], address=("127.0.0.1", port))
    part = 0
    try:
        worker_pid = server.wait_workers(1, seconds=60)[0]
        for name, make, items in clients:
            client, series = make(server.address), {TIMES: [], 2 * TIMES: []}
            for count in [WARMING, *[TIMES, 2 * TIMES] * SERIES]:
                for _ in range(count):
                    client.ask(target, 200)
                client.ask("/error", 404)
                part += 1
                path = directory / f"{worker_pid}.{part}"
                until(path.exists, f"callgrind's {path}")
                series[count].append(path)
            once, twice = (min((Profile.read(path) for path in series[count][-SERIES:]), key=lambda one: one.total) for count in (TIMES, 2 * TIMES))
            yield name, twice.less(once, TIMES * client.batch), items
    finally:
        server.stop()
        if origin:
            origin.stop()


def start_origin(directory):
    """An upstream, which is not counted."""
    home = directory / "origin"
    home.mkdir()
    port = under_test.free_port()
    (home / "server.conf").write_text(CONFIG.format(worker="sync", app="", address=f"127.0.0.1:{port}", settings="", target="/",
                                                    answer='respond { body = "Hello, world!" }'), encoding="utf-8")
    under_test.UNDER.clear()
    return under_test.Monoceros("-c", home / "server.conf", directory=home, address=("127.0.0.1", port))


def figure(profile, item):
    ours = [key for key in profile.own if EXTENSION in key[0]]
    if item == "all":
        return profile.total
    if item == "ours":
        return sum(profile.own[key] for key in ours)
    if item == "calls":
        return sum(count for (caller, callee), count in profile.calls.items() if EXTENSION in caller and EXTENSION not in callee and "python" in callee)
    own, _, function = item.rpartition(" ")
    assert profile.within[function] > 0, f"no function {function} was called: has it another name now?"
    return profile.inside(ours[0][0], function) if own else profile.within[function]


def measure():
    """Figures by item, and profiles by name."""
    figures, profiles = {}, {}
    for row in SITES:
        needs = set(row[4])
        if needs - BUILT or ("native" in needs and not (APPS / "kit.so").exists()):
            continue
        with tempfile.TemporaryDirectory() as directory:
            for name, profile, items in serve(row, Path(directory)):
                profiles[name] = profile
                figures.update({item: round(number, 1 if number < 100 else None) for item, what in items.items() for number in [figure(profile, what)]})
    return figures, profiles


def build():
    """What the figures depend on: compiler, its options, machine type."""
    flags = os.environ.get("CFLAGS", "")
    done = subprocess.run([*os.environ.get("CC", "cc").split(), "--version"], capture_output=True, text=True, check=False).stdout
    name = "clang" if "clang" in done else "gcc"
    version = re.search(r"(\d+)\.\d+", done)
    return f"{name} {version[1] if version else '?'}, {flags or 'no CFLAGS'}, {platform.machine()}"


def read_budgets():
    """(the build that they are of, {item: (figure, reason)})"""
    made, budgets = None, {}
    for line in BUDGETS.read_text(encoding="utf-8").splitlines() if BUDGETS.exists() else []:
        if line.startswith("# Build: "):
            made = line[9:]
        elif line and not line.startswith("#"):
            number, item, reason = (word.strip() for word in line.split("|"))
            budgets[item] = float(number), reason
    return made, budgets


def write_budgets(budgets):
    lines = ["# Instructions of a request: budget, item, why it is that. Written by make instructions-update REASON=\"...\"; see instructions.py.",
             f"# Build: {build()}"]
    lines += [f"{number:8g} | {item:32} | {reason}" for item, (number, reason) in budgets.items()]
    BUDGETS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def check(figures):
    made, budgets = read_budgets()
    known = made == build()
    if not known:
        print(f"the budgets are those of {made}; this is {build()}: nothing is compared")
    failed = []
    for item, number in figures.items():
        budget = budgets.get(item, (0, ""))[0]
        change = number / budget - 1 if budget else 1
        print(f"{number:10,.0f}  {item:32} {f'{change:+.1%} of {budget:,.0f}' if known and budget else ''}")
        if known and change > SLACK:
            failed.append(f"{item}: {number:,.0f}, but the budget is {budget:,.0f}")
        elif known and change < -SLACK:
            print(f"{'':12}less than its budget: make instructions-update")
    for line in failed:
        print(f"instructions: {line}", file=sys.stderr)
    print(f"instructions: {len(figures) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def update(figures, reason):
    made, budgets = read_budgets()
    new = {}
    for item, number in {**{item: budget[0] for item, budget in budgets.items()}, **figures}.items():
        old = budgets.get(item)
        new[item] = old if old and made == build() and abs(number / old[0] - 1) < 0.005 else (number, reason)
        if new[item] is not old:
            print(f"{item}: {old[0] if old else 'new'} -> {number}")
    write_budgets(new)
    return 0


def show(profiles, directory):
    """A table for each kind of request: by object, by function with and without what it calls."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, profile in profiles.items():
        objects = {}
        for (where, _), cost in profile.own.items():
            objects[where] = objects.get(where, 0) + cost
        lines = [f"{name}: {profile.total:,.0f} instructions a request", "", "by object"]
        lines += [f"{cost:10,.1f}  {os.path.basename(where)}" for where, cost in sorted(objects.items(), key=lambda one: -one[1]) if cost >= 1]
        lines += ["", "by function, itself"]
        lines += [f"{cost:10,.1f}  {cost / profile.total:6.1%}  {function}  [{os.path.basename(where)}]"
                  for (where, function), cost in sorted(profile.own.items(), key=lambda one: -one[1])[:60]]
        lines += ["", "by function, with what it calls"]
        lines += [f"{cost:10,.1f}  {cost / profile.total:6.1%}  {function}" for function, cost in sorted(profile.within.items(), key=lambda one: -one[1])[:90]]
        (directory / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("check", "update", "profile"))
    parser.add_argument("word", nargs="?", default="")
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("instructions: needs valgrind (Debian: valgrind)")
    if arguments.what != "check" and not arguments.word:
        sys.exit(f"instructions: {arguments.what} needs " + ('REASON="why the figures change"' if arguments.what == "update" else "a directory"))
    figures, profiles = measure()
    if arguments.what == "profile":
        return show(profiles, Path(arguments.word))
    return check(figures) if arguments.what == "check" else update(figures, arguments.word)


if __name__ == "__main__":
    sys.exit(main())
