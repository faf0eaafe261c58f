"""Upgrade: a tunnel to the upstream, bytes as they are, both half-closes, and who may have one."""

import os
import signal
import threading

import pytest

from lib.limits import until
from lib.upstream import Gone, Upstream, serving
from lib.wire import request
from proxy_site import site

UPGRADE = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]


def switching(peer):
    head = peer.head()
    assert b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" in head
    assert b"\r\nSec-WebSocket-Key: dGhl" in head
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nfirst")


def echoing(peer):
    switching(peer)
    try:
        while True:
            if not peer.buffer:
                peer.fill()
            data, peer.buffer = peer.buffer, b""
            peer.send(data)
    except Gone:
        peer.upstream.ended.append(peer.number)


def opened(proxy):
    client = proxy.connect()
    client.send(request("GET", "/ws", headers=UPGRADE))
    answer = client.read()
    assert answer.status == 101, answer
    assert answer.get("Upgrade") == "websocket" and answer.get("Connection") == "upgrade" and answer.get("Sec-WebSocket-Accept") == "x"
    assert client.exactly(5) == b"first"
    return client


def test_echo(monoceros):
    with Upstream(echoing) as up:
        proxy = monoceros(config=site(up.text, server="limit_request_body = 1000"))
        with opened(proxy) as client:
            for size in (1, 100, 5000, 100_000):
                data = os.urandom(size)
                client.send(data)
                assert client.exactly(size) == data
        until(lambda: up.ended == [1], "the upstream to see the end")


def test_much_both_ways(monoceros):
    size = 5_000_000
    with Upstream(echoing) as up:
        proxy = monoceros(config=site(up.text))
        with opened(proxy) as client:
            data = os.urandom(size)
            thread = threading.Thread(target=client.sock.sendall, args=(data,), daemon=True)
            thread.start()
            assert client.exactly(size) == data
            thread.join()


def test_half_close_of_the_client(monoceros):
    def script(peer):
        switching(peer)
        try:
            while True:
                peer.fill()
        except Gone:
            peer.send(b"all of it: " + peer.buffer)

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text))
        with opened(proxy) as client:
            client.send(b"some bytes").half_close()
            assert client.exactly(21) == b"all of it: some bytes"
            assert client.ended()


def test_half_close_of_the_upstream(monoceros):
    import socket

    def script(peer):
        switching(peer)
        peer.send(b"bye")
        peer.sock.shutdown(socket.SHUT_WR)
        peer.wait_end()
        peer.upstream.got = peer.buffer

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text))
        with opened(proxy) as client:
            assert client.exactly(3) == b"bye"
            assert client.ended()
            client.send(b"still here").half_close()
            until(lambda: up.ended == [1], "the end at the upstream")
            assert up.got == b"still here"


def test_the_upstream_declines(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"no", status="400 Bad Request"))) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            answer = client.ask("GET", "/ws", headers=UPGRADE)
            assert answer.status == 400 and answer.body == b"no" and answer.keep
            assert client.ask("GET", "/").status == 400


@pytest.mark.parametrize("upgrade, asked, passed", [
    ("upgrade = off", "websocket", False), ("", "h2c", False), ("upgrade = on", "h2c", False), ("upgrade = on", "spdy", True), ("", "spdy", False),
    ("upgrade = {websocket, imap}", "imap", True), ("", "WebSocket", True)])
def test_which_protocols(monoceros, upgrade, asked, passed):
    with Upstream(serving(lambda peer, head, body: peer.reply(head))) as up:
        proxy = monoceros(config=site(up.text, proxy=upgrade))
        answer = proxy.ask("GET", "/", headers=[("Connection", "Upgrade"), ("Upgrade", asked)])
        assert (b"\r\nUpgrade: " in answer.body) == passed
        assert proxy.ask("GET", "/", headers=[("Upgrade", asked)]).body.count(b"Upgrade") == 0     # without Connection: Upgrade


def test_an_idle_tunnel_ends(monoceros):
    with Upstream(echoing) as up:
        proxy = monoceros(config=site(up.text, proxy="tunnel_timeout = 300ms"))
        with opened(proxy) as client:
            assert client.ended()
        until(lambda: up.ended == [1], "the end at the upstream")


def test_tunnels_outlive_the_request_timeout(monoceros):
    with Upstream(echoing) as up:
        proxy = monoceros(config=site(up.text, top="request_timeout = 1"))
        with opened(proxy) as client:
            threading.Event().wait(2.5)
            client.send(b"alive")
            assert client.exactly(5) == b"alive"


def test_a_drain_gives_tunnels_their_time(monoceros):
    with Upstream(echoing) as up:
        proxy = monoceros(config=site(up.text, top="graceful_timeout = 30"))
        with opened(proxy) as client:
            proxy.signal(signal.SIGTERM)
            proxy.wait_log("Handling signal: term")
            for _ in range(3):
                client.send(b"still here")
                assert client.exactly(10) == b"still here"
            assert proxy.alive()
        assert proxy.wait() == 0


def test_a_drain_cuts_tunnels_in_the_end(monoceros):
    with Upstream(echoing) as up:
        proxy = monoceros(config=site(up.text, top="graceful_timeout = 1"))
        with opened(proxy) as client:
            proxy.signal(signal.SIGTERM)
            assert client.ended()
        assert proxy.wait() == 0
