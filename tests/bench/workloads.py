"""What is measured: the request, how it is sent, what the answer must be, which entries answer it, and the goals."""

import json
import os
from dataclasses import dataclass, field

KB, MB = 1024, 1024 * 1024
FILES = {"1k": KB, "50k": 50 * KB, "100k": 100 * KB, "1m": MB, "10m": 10 * MB}
HELLO = b"Hello, world!"
BROWSER = ["Connection: keep-alive", 'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"', "sec-ch-ua-mobile: ?0", "Upgrade-Insecure-Requests: 1",
           "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
           "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate",
           "Sec-Fetch-Dest: document", "Accept-Encoding: gzip, deflate, br", "Accept-Language: en-GB,en;q=0.9",
           "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark"]
UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
DATA = {"message": "Hello, world!", "numbers": list(range(10)), "nested": {"ok": True, "none": None}}
MESSAGE = (b"0123456789" * 10)[:100]


@dataclass
class Workload:
    """kind: load (the load client), h2load, or a function of other.py. answer: bytes, a file's name, or JSON data that the body must hold."""
    name: str
    title: str
    section: str
    entries: list
    path: str = "/"
    connections: int = 64
    words: list = field(default_factory=list)
    answer: object = HELLO
    send: bytes = b""
    headers: list = field(default_factory=list)
    kind: str = "load"
    base: str = ""              # whose round the ratios are to; the first entry when it is not there
    goals: list = field(default_factory=list)       # (ours, other, at most): ours over other in the same round
    quick: bool = False
    weight: float = 1.0         # of the seconds of a measurement
    settings: dict = field(default_factory=dict)

    @property
    def tls(self):
        return any(word.startswith("tls=") for word in self.words) or self.kind == "h2load"

    @property
    def ws(self):
        return any(word.startswith("ws=") for word in self.words)

    def request(self):
        method = "POST" if self.send else "GET"
        lines = [f"{method} {self.path} HTTP/1.1", "Host: localhost", *(self.headers or ["User-Agent: bench", "Accept: */*"])]
        if self.send:
            lines += ["Content-Type: application/octet-stream", f"Content-Length: {len(self.send)}"]
        if "close" in self.words:
            lines.append("Connection: close")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.send


def goal(others, ours="monoceros"):
    """Goals of a row: {"nginx": 0.85} or {("bjoern", "fastpysgi"): 1.0}."""
    return [(ours, name, limit) for names, limit in others.items() for name in ([names] if isinstance(names, str) else names)]


EDGES = ["monoceros", "raw", "nginx", "haproxy", "h2o", "lighttpd"]
FILED = ["monoceros", "raw", "nginx", "h2o", "lighttpd"]
PROXIES = ["monoceros", "nginx", "haproxy", "h2o"]
NATIVE = ["monoceros-c-sync", "monoceros-c-gthread", "monoceros-c-greenlet", "monoceros-c-epoll"]
WSGI_OURS = ["monoceros-sync", "monoceros-gthread", "monoceros-gevent"]
WSGI_FEW = [*WSGI_OURS, "bjoern", "fastpysgi", "uwsgi", "granian-wsgi", "gunicorn-gthread", "gunicorn-gevent"]
WSGI_ALL = ["monoceros-sync", "monoceros-gthread", "monoceros-gevent", "monoceros-eventlet", "bjoern", "fastpysgi", "uwsgi", "granian-wsgi",
            "gunicorn-sync", "gunicorn-gthread", "gunicorn-gthread-h1c", "gunicorn-gevent", "gunicorn-gevent-h1c"]
ASGI = ["monoceros-asgi-asyncio", "monoceros-asgi-uvloop", "uvicorn", "granian-asgi", "gunicorn-asgi", "gunicorn-asgi-h1c", "hypercorn", "fastpysgi-asgi"]
SOCKETS = [name for name in ASGI if name != "fastpysgi-asgi"]       # it has no WebSockets
OURS_WSGI, OURS_ASGI = "monoceros-sync", "monoceros-asgi-uvloop"
WSGI_GOAL = goal({("bjoern", "fastpysgi", "granian-wsgi"): 1.0, "uwsgi": 0.35, "gunicorn-sync": 0.06}, OURS_WSGI)
ASGI_GOAL = goal({"uvicorn": 0.45, ("granian-asgi", "fastpysgi-asgi"): 1.0}, OURS_ASGI)
HALF = goal({"uvicorn": 0.5, "granian-asgi": 1.0}, OURS_ASGI)
BODY = os.urandom(10 * KB)
LONG = os.urandom(64 * KB)
RAW_NGINX = goal({"raw": 1.10, "nginx": 0.85})


def plain():
    section = "A small reply"
    yield Workload("hello", "hello, keep-alive, c=64", section, [*EDGES, *NATIVE], base="raw", goals=RAW_NGINX, quick=True)
    yield Workload("hello-1000", "hello, keep-alive, c=1000", section, EDGES, connections=1000, base="raw", goals=RAW_NGINX)
    yield Workload("hello-10000", "hello, keep-alive, c=10,000", section, ["monoceros", "raw", "nginx", "h2o"], connections=10000, base="raw")
    yield Workload("browser", "a browser's head, c=64", section, EDGES, headers=BROWSER, base="raw", goals=RAW_NGINX)
    yield Workload("pipelined", "16 pipelined requests, c=64", section, EDGES, words=["pipeline=16"], base="raw", goals=goal({"raw": 1.5, "nginx": 0.25}))
    yield Workload("close", "a connection per request, c=64", section, EDGES, words=["close"], base="raw", goals=goal({"nginx": 0.9}))
    yield Workload("slow-readers", "hello at c=64 beside 200 slow readers of 1 MB", section, ["monoceros", "nginx", "h2o", "lighttpd"], base="nginx", kind="beside",
                   settings={"path": "/files/1m", "connections": 200, "words": ["slow=65536"]})


def files():
    section = "Files"
    limits = {"1k": 0.65, "100k": 0.85, "10m": 1.0}
    for name, text in (("1k", "1 KB"), ("100k", "100 KB"), ("10m", "10 MB")):
        # Few at once for the large one: what has begun at the end costs time and counts for nothing.
        yield Workload(f"file-{name}", f"file of {text}", section, FILED, path=f"/files/{name}", connections=2 if name == "10m" else 64, answer=f"files/{name}",
                       base="nginx", goals=goal({"nginx": limits[name]}), quick=name == "1k")


def tls():
    section = "TLS 1.3 (ECDSA P-256, X25519, AES-128-GCM)"
    yield Workload("tls-hello", "hello, keep-alive, c=64", section, EDGES, words=["tls=keep"], base="nginx", goals=goal({"nginx": 0.8}))
    yield Workload("tls-full", "full handshake and hello, c=32", section, EDGES, connections=32, words=["tls=full"], base="nginx", goals=goal({"nginx": 0.95}))
    yield Workload("tls-resumed", "resumed handshake and hello, c=32", section, EDGES, connections=32, words=["tls=resumed"], base="nginx", goals=goal({"nginx": 0.95}))
    yield Workload("tls-100k", "file of 100 KB, c=64", section, FILED, path="/files/100k", answer="files/100k", words=["tls=keep"], base="nginx")
    yield Workload("tls-10m", "file of 10 MB, c=2", section, FILED, path="/files/10m", connections=2, answer="files/10m", words=["tls=keep"], base="nginx", weight=1.5,
                   goals=goal({"nginx": 0.8}))


def proxy():
    section = "Proxy (keep-alive to the upstream)"
    yield Workload("proxy-small", "a small reply, c=64", section, PROXIES, path="/small", base="nginx", goals=goal({"nginx": 0.85}))
    yield Workload("proxy-1m", "1 MB, c=8", section, PROXIES, path="/large", connections=8, answer="files/1m", base="nginx", goals=goal({"nginx": 0.9}))


def http2():
    section = "HTTP/2 over TLS (h2load)"
    names = ["monoceros", "nginx", "h2o"]
    for streams, requests in ((1, 15000), (10, 50000), (100, 80000)):
        yield Workload(f"h2-{streams}", f"hello, {streams} streams", section, names, kind="h2load", connections=16, base="nginx",
                       settings={"streams": streams, "requests": requests})
    yield Workload("h2-100k", "file of 100 KB, 10 streams", section, names, kind="h2load", path="/files/100k", answer="files/100k",
                   connections=8, base="nginx", settings={"streams": 10, "requests": 3000})
    yield Workload("h2-10m", "file of 10 MB, 2 streams", section, names, kind="h2load", path="/files/10m", answer="files/10m",
                   connections=2, base="nginx", settings={"streams": 2, "requests": 40})


def python(section, prefix, names, first, sleepers, frameworks, goals, others):
    """The rows that WSGI and ASGI have in common."""
    def row(name, title, who=names, **more):
        return Workload(f"{prefix}-{name}", title, section, who, base=first, **more)

    yield row("hello", "hello, c=64", goals=goals, quick=True)
    yield row("10k", "10 KB reply", path="/10k", answer=b"x" * 10240, goals=others)
    yield row("100k", "100 KB reply", path="/100k", answer=b"x" * 102400)
    yield row("echo", "POST of 10 KB, echoed", path="/echo", send=BODY, answer=BODY, goals=goals)
    yield row("echo-stream", "POST of 64 KB, echoed as it comes, c=16", path="/echo-stream", send=LONG, answer=LONG, connections=16)
    yield row("stream", "16 pieces of 1 KB", path="/stream", answer=b"x" * 16384, goals=others)
    yield row("file", "file of 50 KB by " + ("wsgi.file_wrapper" if prefix == "wsgi" else "pathsend"), path="/file", answer="files/50k")
    for name in frameworks:
        yield row(name.lower(), f"JSON through {name}", path=f"/{name.lower()}", answer=DATA)
    yield row("wait", "a sleep of 10 ms, c=512", who=sleepers, path="/wait", connections=512)


def wsgi():
    sleepers = ["monoceros-gthread-64", "monoceros-gevent", "monoceros-eventlet", "granian-wsgi", "gunicorn-gthread-64", "gunicorn-gevent", "gunicorn-gevent-h1c"]
    for one in python("WSGI", "wsgi", WSGI_FEW, "bjoern", sleepers, ["Flask", "Django"], WSGI_GOAL, []):
        if one.name in ("wsgi-hello", "wsgi-echo"):
            one.entries = WSGI_ALL
        if one.name == "wsgi-wait":
            one.base = "gunicorn-gevent"
        yield one


def asgi():
    return python("ASGI", "asgi", ASGI, "uvicorn", SOCKETS, ["Starlette", "FastAPI"], ASGI_GOAL, HALF)


def sockets():
    section = "WebSockets (ASGI)"
    common = {"section": section, "entries": SOCKETS, "headers": UPGRADE, "answer": MESSAGE, "base": "uvicorn", "goals": HALF}
    yield Workload("ws-echo", "echo of 100 bytes, c=64", path="/ws-echo", words=["ws=echo"], **common)
    yield Workload("ws-broadcast", "broadcast of 100 bytes to 64, per message delivered", path="/ws-broadcast", words=["ws=broadcast"], **common)
    yield Workload("ws-broadcast-1000", "broadcast of 100 bytes to 1,000, per message delivered", path="/ws-broadcast", connections=1000, words=["ws=broadcast"], **common)


def types():
    """Who waits in sync holds up the worker, so 1,000 clients of it would wait for the rest of the round."""
    section = "Worker types, while the app sleeps 10 ms"
    names = ["monoceros-c-gthread-64", "monoceros-c-greenlet", "monoceros-c-epoll", "monoceros-gthread-64", "monoceros-gevent", "monoceros-eventlet"]
    for connections in (64, 1000):
        yield Workload(f"types-{connections}", f"c={connections:,}", section, [*(["monoceros-c-sync", "monoceros-sync"] if connections == 64 else []), *names], path="/wait",
                       connections=connections, base="monoceros-c-epoll")


def scaling():
    section = "One worker and two (all on cores 0 and 1, the load too)"
    yield Workload("scale-hello", "hello, c=64", section, ["monoceros", "monoceros-2w", "nginx", "nginx-2w"], base="monoceros", settings={"cores": 2})
    yield Workload("scale-django", "JSON through Django", section, ["monoceros-gthread", "monoceros-gthread-2w"], path="/django", answer=DATA, base="monoceros-gthread",
                   settings={"cores": 2})


def everything():
    found = [one for part in (plain, files, tls, proxy, http2, wsgi, asgi, sockets, types, scaling) for one in part()]
    assert len({one.name for one in found}) == len(found)
    return found


def body_of(workload, directory):
    """The bytes that an answer has, or None when they are JSON that each server writes in its own way."""
    if isinstance(workload.answer, bytes):
        return workload.answer
    return (directory / workload.answer).read_bytes() if isinstance(workload.answer, str) else None


def right(workload, directory, head, body):
    """Whether an answer is as it should be."""
    if b" 200" not in head.partition(b"\r\n")[0]:
        return False
    expected = body_of(workload, directory)
    if expected is not None:
        return body == expected
    try:
        return json.loads(body) == workload.answer
    except ValueError:
        return False
