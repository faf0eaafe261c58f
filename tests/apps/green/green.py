"""What apps under gevent and eventlet do, with nothing but the standard library, which the worker has patched."""

import contextvars
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs

AT_IMPORT = socket.socket.__module__
KIND = next((name for name in ("gevent", "eventlet") if AT_IMPORT.startswith(name)), "none")
IMPORTED_BY = os.getpid()

where = contextvars.ContextVar("where", default="nowhere")
where.set("import")
local = threading.local()
inside = most = 0
beats = 0


def beat():
    global beats
    while True:
        time.sleep(0.02)
        beats += 1


threading.Thread(target=beat, daemon=True).start()


def text(environ):
    return f"{KIND} {environ['monoceros.worker_class']} {AT_IMPORT} {threading.current_thread() is not threading.main_thread()}"


def meet(environ):
    """Sleeps until so many requests are here at once."""
    global inside, most
    wanted = int(environ["query"]["count"][0])
    inside += 1
    most = max(most, inside)
    until = time.monotonic() + 60
    while most < wanted and time.monotonic() < until:
        time.sleep(0.2)
    inside -= 1
    return str(most)


def context(environ):
    """What other requests have set is not here, what the import has set is; after a sleep it is still ours."""
    before = where.get(), getattr(local, "value", None)
    local.value = mine = environ["query"]["name"][0]
    where.set(mine)
    meet(environ)
    found = [*before, where.get(), local.value]
    del local.value
    return json.dumps(found)


def hold(environ):
    """Until there is a file."""
    path = environ["query"]["file"][0]
    print("holding", os.getpid(), flush=True)
    try:
        while not os.path.exists(path):
            time.sleep(0.02)
    except BaseException as error:
        print("ended by", type(error).__name__, flush=True)
        raise
    finally:
        time.sleep(float(environ["query"].get("after", ["0"])[0]))
        print("let go", flush=True)
    return "released"


def stubborn(environ):
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass


def block(environ):
    """Without the hub."""
    original = time.sleep
    if KIND == "gevent":
        import gevent.monkey
        original = gevent.monkey.get_original("time", "sleep")
    elif KIND == "eventlet":
        import eventlet.patcher
        original = eventlet.patcher.original("time").sleep
    print("blocking", os.getpid(), flush=True)
    original(60)
    return "awake"


def upload(environ):
    size, total = 0, environ["wsgi.input"]
    while piece := total.read(10000):
        size += len(piece)
        time.sleep(0)
    return str(size)


def run(environ):
    return subprocess.run([sys.executable, "-c", "print('from a program')"], capture_output=True, text=True, check=True).stdout


def fork(environ):
    """A child that waits, and so runs the hub, while the parent waits for it."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        for _ in range(5):
            time.sleep(0.02)
        os.write(into, b"from a child")
        os._exit(7)
    os.close(into)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        time.sleep(0.02)
    told = os.read(out, 100).decode()
    os.close(out)
    return told


def fork_and_return(environ):
    """A child that goes on as if it were the worker."""
    pid = os.fork()
    if pid == 0:
        time.sleep(0.05)
        return "from the child"
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        time.sleep(0.02)
    return f"child {os.waitstatus_to_exitcode(done[1])}"


def thread(environ):
    answers = queue.Queue()
    threading.Thread(target=lambda: answers.put(threading.current_thread().name), name="helper").start()
    return answers.get(timeout=20)


def echo(environ):
    """A client of a server, both here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            peer, _ = server.accept()
            with peer:
                peer.sendall(peer.recv(100).upper())
        threading.Thread(target=serve).start()
        with socket.create_connection(server.getsockname()) as sock:
            time.sleep(0.02)
            sock.sendall(b"shout")
            return sock.recv(100).decode()


def kill(environ):
    if KIND == "gevent":
        import gevent
        gevent.kill(gevent.getcurrent())
    else:
        import eventlet
        eventlet.kill(eventlet.getcurrent())
    time.sleep(60)


def late(environ):
    """An alarm that goes off when the request is long over."""
    if KIND == "gevent":
        import gevent
        gevent.Timeout.start_new(0.05)
    else:
        import eventlet
        eventlet.Timeout(0.05)
    return "set"


def fail(environ):
    time.sleep(0.01)
    raise ValueError("failed after a wait")


def leave(environ):
    time.sleep(0.01)
    sys.exit("the app leaves")


def counts(environ):
    return json.dumps({"most": most, "beats": beats, "pid": os.getpid(), "imported_by": IMPORTED_BY})


def stream(environ, start_response):
    """Pieces with waits between them, as many as are asked for; each one is told."""
    query = environ["query"]
    size, count = int(query.get("size", ["10"])[0]), int(query.get("count", ["3"])[0])
    path = query.get("file", [None])[0]
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    try:
        for n in range(count):
            yield b"%d" % (n % 10) * size
            print("piece", n, flush=True)
            while path and n == 0 and not os.path.exists(path):
                time.sleep(0.02)
            time.sleep(0)
        if "fail" in query:
            raise ValueError("failed in a stream")
    except BaseException as error:
        print("stream ended by", type(error).__name__, flush=True)
        raise
    finally:
        print("stream closed", flush=True)


def write(environ, start_response):
    """By write(), which may wait for the client; a greenlet's exception comes out of it."""
    put = start_response("200 OK", [("Content-Type", "application/octet-stream")])
    try:
        for n in range(int(environ["query"]["count"][0])):
            put(b"w" * 65536)
        print("all is written", flush=True)
    except BaseException as error:
        print("write ended by", type(error).__name__, flush=True)
        raise
    return []


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/") or "text"
    environ["query"] = parse_qs(environ["QUERY_STRING"])
    if name in ("stream", "write"):
        return globals()[name](environ, start_response)
    body = globals()[name](environ).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
