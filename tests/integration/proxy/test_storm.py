"""Upstreams and clients that do anything at any time, all at once; afterwards the server is as it was."""

import random
import socket
import threading

from lib import procfs
from lib.limits import until
from lib.upstream import Gone, Upstream, serving
from lib.wire import open_socket, request
from proxy_site import site

OK = b"HTTP/1.1 200 OK\r\n"
REPLIES = [
    OK + b"Content-Length: 5\r\n\r\nhello", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n", OK + b"\r\nuntil the end",
    OK + b"Content-Length: 50000\r\n\r\n" + b"x" * 50000, OK + b"Content-Length: 50000\r\n\r\n" + b"x" * 20000, b"HTTP/1.1 204 No Content\r\n\r\n", b"garbage",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", OK + b"Content-Length: 2\r\n\r\nabtoo much", b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw bytes", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
]
REQUESTS = [
    request("GET", "/"), request("HEAD", "/"), request("POST", "/", body=b"b" * 100), request("PUT", "/", body=b"b" * 100_000), request("DELETE", "/"),
    request("GET", "/", headers=[("Connection", "upgrade"), ("Upgrade", "websocket")]) + b"raw", request("GET", "/a") * 5,
    request("PUT", "/", headers=[("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\n0\r\n\r\n", request("POST", "/", headers=[("Content-Length", "1000")]) + b"half",
    b"GET / HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n",
]


def any_script(seed):
    def script(peer):
        dice = random.Random(seed * 1000 + peer.number)
        while dice.random() < 0.95:
            if dice.random() < 0.9:
                peer.head()
            data = dice.choice(REPLIES)
            for start in range(0, len(data), step := dice.choice([1, 17, 100_000]) if len(data) < 1000 else 100_000):
                peer.send(data[start:start + step])
            if dice.random() < 0.1:
                peer.reset()
                return
            if dice.random() < 0.1:
                threading.Event().wait(0.05)
    return script


def any_client(address, dice):
    sock = open_socket(address)
    with sock:
        for _ in range(dice.randrange(1, 4)):
            data = dice.choice(REQUESTS)
            cut = dice.randrange(len(data)) if dice.random() < 0.1 else len(data)
            sock.sendall(data[:cut])
            if dice.random() < 0.1:
                sock.shutdown(socket.SHUT_WR)
            if dice.random() < 0.2:
                return
            sock.settimeout(dice.choice([0.01, 0.3]))
            while sock.recv(65536):
                pass


def test_storm(monoceros):
    with Upstream(any_script(1), backlog=512) as one, Upstream(any_script(2), backlog=512) as two, Upstream(serving(lambda peer, head, body: peer.reply(b"fine"))) as good:
        routes = f'route "good" {{ match {{ exact = "/good" }} proxy {{ to = "{good.text}" }} }}\n' \
                 'route "a" { match { exact = "/a" } proxy { to = "upstream:u" request_buffering = off response_buffering = off } }'
        proxy = monoceros(config=site(one.text, two.text, more=routes, proxy="read_timeout = 1 retry_on = {error, timeout, http_503}", upstream="keepalive_timeout = 1"))
        worker = proxy.wait_workers(1)[0]

        def run(seed):
            dice = random.Random(seed)
            for _ in range(60):
                try:
                    any_client(proxy.address, dice)
                except OSError:
                    pass

        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert proxy.ask("GET", "/good").body == b"fine"
        assert proxy.workers() == [worker]
        until(lambda: len([name for name in procfs.fds(worker).values() if "socket" in name]) < 12, "sockets to be closed", 30)
