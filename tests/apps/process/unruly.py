"""An app that misbehaves when it is asked to."""

import ctypes
import os
import subprocess
import sys
import time
from urllib.parse import parse_qs

def segv(query):
    ctypes.string_at(0)


def leave(query):
    os._exit(int(query.get("code", ["0"])[0]))


def stuck(query):
    print("stuck in", os.getpid(), file=sys.stderr, flush=True)
    while True:
        time.sleep(1)


def close_all(query):
    os.closerange(3, 4096)
    return b"closed"


def orphan(query):
    """A grandchild that ends after its parent: whoever adopts it must reap it."""
    subprocess.run(["sh", "-c", "(sleep 0.2; exit 7) & echo $!"], check=True)
    return b"left"


def scribble(query):
    """Noise over the whole scoreboard, as a worker that was taken over would write it."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            if "monoceros-board" in line:
                start, end = (int(word, 16) for word in line.split()[0].split("-"))
                ctypes.memmove(start, os.urandom(end - start), end - start)
                return b"scribbled"
    return b"no scoreboard"


def environment(query):
    return "\n".join(f"{key}={value}" for key, value in sorted(os.environ.items())).encode()


def where(query):
    mask = os.umask(0)
    os.umask(mask)
    return f"{os.getcwd()} {mask:o}".encode()


def inherited(query):
    """What a subprocess that keeps all descriptors gets of ours."""
    return subprocess.run(["ls", "-l", "/proc/self/fd"], check=True, capture_output=True, close_fds=False).stdout


PAGES = {"/segv": segv, "/leave": leave, "/stuck": stuck, "/close": close_all, "/orphan": orphan, "/scribble": scribble, "/environment": environment,
         "/where": where, "/inherited": inherited}


def app(environ, start_response):
    page = PAGES.get(environ["PATH_INFO"], lambda query: str(os.getpid()).encode())
    body = page(parse_qs(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
