"""Back-pressure both ways, and clients that leave."""

import threading

import pytest

from lib import procfs
from lib.limits import until
from lib.server import SANITIZED
from lib.upstream import Gone, Upstream, serving
from lib.wire import request
from proxy_site import site

MEGA = 1 << 20
ROOM = (32 if SANITIZED else 6) * MEGA     # what a worker may grow by


def flood(size):
    def script(peer, head, body):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = bytes(range(256)) * 256
        sent = 0
        while sent < size:
            peer.send(piece[:size - sent])
            sent += min(len(piece), size - sent)
            peer.upstream.sent = sent
    return script


def check(client, size):
    got = 0
    while got < size:
        if not client.buffer:
            assert client.fill()
        for i in (0, len(client.buffer) - 1):
            assert client.buffer[i] == (got + i) % 256
        got += len(client.buffer)
        client.buffer = b""
    assert got == size


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_a_slow_client_of_50_megabytes(monoceros, buffering):
    size = 50 * MEGA
    with Upstream(serving(flood(size))) as up:
        up.sent = 0
        proxy = monoceros(config=site(up.text, proxy=f"response_buffering = {buffering}"))
        worker = proxy.wait_workers(1)[0]
        before = procfs.rss(worker)
        with proxy.connect(rcvbuf=16384) as client:
            client.send(request("GET", "/"))
            head = client.read_head()
            assert head.status == 200
            if buffering == "on":
                until(lambda: up.sent == size, "the upstream to be rid of its reply")     # though the client has read next to nothing
            else:
                last = -1
                while up.sent != last:      # until nothing moves any more
                    last = up.sent
                    threading.Event().wait(0.3)
                assert up.sent < 20 * MEGA      # sockets' buffers and ours
            assert procfs.rss(worker) < before + ROOM
            check(client, size)
        assert procfs.rss(worker) < before + ROOM


def test_the_file_of_a_reply_is_bounded(monoceros):
    size = 50 * MEGA
    with Upstream(serving(flood(size))) as up:
        up.sent = 0
        proxy = monoceros(config=site(up.text, server="response_buffer_file = 4m"))
        with proxy.connect(rcvbuf=16384) as client:
            client.send(request("GET", "/"))
            assert client.read_head().status == 200
            last = -1
            while up.sent != last:
                last = up.sent
                threading.Event().wait(0.3)
            assert 4 * MEGA <= up.sent < 30 * MEGA
            check(client, size)


def test_a_slow_upstream_holds_up_a_streaming_client(monoceros):
    size = 50 * MEGA
    gate = threading.Event()

    def script(peer):
        peer.head()
        gate.wait(60)
        got = len(peer.buffer)
        while got < size:
            peer.buffer = b""
            peer.fill()
            got += len(peer.buffer)
        peer.reply(b"%d" % got)

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text, proxy="request_buffering = off"))
        worker = proxy.wait_workers(1)[0]
        before = procfs.rss(worker)
        with proxy.connect() as client:
            sent = [0]

            def push():
                client.send(request("PUT", "/", headers=[("Content-Length", str(size))]))
                piece = b"x" * 65536
                while sent[0] < size:
                    client.sock.sendall(piece)
                    sent[0] += len(piece)

            thread = threading.Thread(target=push, daemon=True)
            thread.start()
            last = -1
            while sent[0] != last:
                last = sent[0]
                threading.Event().wait(0.3)
            assert sent[0] < 30 * MEGA
            assert procfs.rss(worker) < before + ROOM
            gate.set()
            assert client.read("PUT").text == str(size)
            thread.join()


def test_a_client_that_leaves_ends_the_call(monoceros):
    def script(peer):
        peer.request()
        peer.wait_end()

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text))
        client = proxy.connect()
        client.send(request("GET", "/"))
        up.wait_requests(1)
        client.close()
        until(lambda: up.ended == [1], "the upstream to see the end")
        assert "[ERROR]" not in proxy.log()


def test_a_client_that_leaves_within_a_reply(monoceros):
    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                peer.send(b"5\r\nhello\r\n" * 1000)
        except Gone:
            peer.upstream.ended.append(peer.number)

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text, proxy="response_buffering = off"))
        client = proxy.connect()
        client.send(request("GET", "/"))
        assert client.read_head().status == 200
        client.close()
        until(lambda: up.ended == [1], "the upstream to see the end")


def test_a_client_that_leaves_within_its_body(monoceros):
    def script(peer):
        peer.head()
        peer.wait_end()

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text, proxy="request_buffering = off"))
        client = proxy.connect()
        client.send(request("POST", "/", headers=[("Content-Length", "1000")]) + b"half")
        up.wait_requests(1)
        client.close()
        until(lambda: up.ended == [1], "the upstream to see the end")


def test_a_slow_body_holds_no_upstream(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(body))) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            client.send(request("POST", "/", headers=[("Content-Length", "5")]) + b"hel")
            assert proxy.ask("GET", "/").status == 200     # meanwhile
            assert up.connections == 1
            client.send(b"lo")
            assert client.read("POST").body == b"hello"
            assert up.connections == 1


def test_many_at_once(monoceros):
    body = bytes(range(256)) * 40

    def answer(peer, head, got):
        assert got == body
        peer.reply(head.split(b" ")[1] + got)

    with Upstream(serving(answer), backlog=512) as up:
        proxy = monoceros(config=site(up.text))
        failures = []

        def one(number):
            try:
                with proxy.connect() as client:
                    for i in range(10):
                        target = f"/{number}/{i}"
                        assert client.ask("POST", target, body=body).body == target.encode() + body
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
