"""The training of --with-pgo: train.py PROGRAM WORKER,... EXTRA,... serves what servers mostly serve, for a build that counts what it runs through.

One server a scenario, stopped by TERM so that all its processes write what they have counted. EXTRA are python, tls: what the build has. The load is
a closed loop of a few plain sockets: what is counted is which way the code goes, not how fast.
"""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROUNDS = 400        # of each client in a scenario
PLAIN = b"Host: localhost\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
BROWSER = (b"Host: www.example.org\r\nConnection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"140\"\r\nsec-ch-ua-mobile: ?0\r\nUpgrade-Insecure-Requests: 1\r\n"
           b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n"
           b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: none\r\n"
           b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n"
           b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n")
POST = b"Host: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 10240\r\n\r\n" + b"p" * 10240
APP = '''
HEADERS = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", "13"), ("X-Frame-Options", "DENY")]


def wsgi(environ, start_response):
    body = environ["wsgi.input"].read() if environ["REQUEST_METHOD"] == "POST" else b"Hello, world!"
    start_response("200 OK", HEADERS if len(body) == 13 else [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b"Hello, world!" if scope["method"] == "GET" else (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
'''
CONFIG = """
errorlog = "{dir}/error.log"  accesslog = "{dir}/access.log"
worker_class = {worker}  workers = 1  keepalive = 5s  {threads}  {python}
upstream "origin" {{ keepalive = 8  peer "127.0.0.1:{origin}" {{ }} }}
{app}
server "all" {{
    listen = {{"127.0.0.1:{port}"{tls_listen}}}
    {tls}
    route "files" {{ match {{ prefix = "/files/" }}  static {{ root = "{dir}/files" }} }}
    route "origin" {{ match {{ prefix = "/origin/" }}  proxy {{ to = "upstream:origin" }} }}
    {route}
    route "hello" {{ respond {{ body = "Hello, world!" }} }}
}}
server "origin" {{ listen = "127.0.0.1:{origin}"  route "hello" {{ respond {{ body = "Hello, world!" }} }} }}
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def answer(file):
    """Reads one response; its body has a length here."""
    status = file.readline()
    if not status.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")):
        raise SystemExit(f"train.py: the server answered {status!r}")
    length = 0
    while (line := file.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    file.read(length)


def connect(port, context):
    sock = socket.create_connection(("127.0.0.1", port), 30)
    return context.wrap_socket(sock) if context else sock


def client(port, requests, keep, train, context=None):
    """Asks for them in turn; train: how many at once."""
    with contextlib.ExitStack() as stack:
        file = sock = None
        for number in range(ROUNDS if keep else ROUNDS // 4):
            if not file:
                sock = stack.enter_context(connect(port, context))
                file = stack.enter_context(sock.makefile("rb"))
            sock.sendall(requests[number % len(requests)] * train)
            for _ in range(train):
                answer(file)
            if not keep:
                file.close()
                sock.close()
                file = None


def load(port, tls):
    def get(path, head=PLAIN):
        return b"GET %s HTTP/1.1\r\n%s" % (path, head)

    context = None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    usual = [get(b"/"), get(b"/some/page?with=a&query=string", BROWSER), b"POST / HTTP/1.1\r\n" + POST]
    files = [get(b"/files/1k"), get(b"/files/100k"), get(b"/files/1k", BROWSER)]
    passed = [get(b"/origin/"), get(b"/origin/page?a=b", BROWSER)]
    close = [get(b"/", b"Connection: close\r\n" + PLAIN)]
    scenes = [(port, close, False, 1), (port, usual, True, 1), (port, files, True, 1), (port, passed, True, 1), (port, usual[:1], True, 16)]
    if tls:
        scenes += [(tls, usual, True, 1, context), (tls, files, True, 1, context)]
    threads = [threading.Thread(target=client, args=scene) for scene in scenes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def scenario(program, directory, worker, app, extras):
    port, origin, tls = free_port(), free_port(), free_port() if "tls" in extras else 0
    config = directory / "server.conf"
    config.write_text(CONFIG.format(
        dir=directory, worker=worker, port=port, origin=origin, python=f'python = "{sys.executable}"' if app else "", threads="threads = 4" if worker == "gthread" else "",
        app=f'app "it" {{ type = {app}  module = "trained:{app}"  chdir = "{directory}" }}' if app else "",
        route='route "app" { match { exact = "/" }  app = it }' if app else "",
        tls_listen=f', "127.0.0.1:{tls} tls"' if tls else "",
        tls=f'tls {{ certificate "it" {{ cert = "{directory}/cert.pem"  key = "{directory}/key.pem" }} }}' if tls else ""), encoding="utf-8")
    server = subprocess.Popen([program, "-c", str(config)])
    try:
        for _ in range(600):
            if server.poll() is not None:
                raise SystemExit(f"train.py: {program} ended with {server.returncode}; its log:\n{(directory / 'error.log').read_text()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 30):
                break
            time.sleep(0.1)
        load(port, tls)
    finally:
        server.terminate()
        server.wait(60)
    print(f"  TRAIN   {worker}{', ' + app if app else ''}", flush=True)


def main():
    program, workers, extras = sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(",")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "files").mkdir()
        for word, size in (("1k", 1024), ("100k", 102400)):
            (directory / "files" / word).write_bytes(b"f" * size)
            os.utime(directory / "files" / word, (1e9, 1e9))
        (directory / "trained.py").write_text(APP, encoding="utf-8")
        if "tls" in extras and shutil.which("openssl"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3", "-subj", "/CN=localhost",
                            "-keyout", directory / "key.pem", "-out", directory / "cert.pem"], check=True, capture_output=True)
        else:
            extras = [extra for extra in extras if extra != "tls"]
        for worker in workers:
            scenario(program, directory, worker, None, extras)
            if "python" in extras and worker in ("sync", "gthread", "epoll"):
                scenario(program, directory, worker, "asgi" if worker == "epoll" else "wsgi", extras)


if __name__ == "__main__":
    main()
