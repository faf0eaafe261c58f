"""Extended CONNECT (RFC 8441): a stream becomes a tunnel, to whoever speaks Upgrade behind it."""

import base64
import hashlib
import os
import socket

import pytest

from lib.frames import (DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, RST_STREAM, SETTINGS, ACK, CANCEL, frame, rst, window)
from lib.limits import until
from lib.upstream import Gone, Upstream, serving
from proxy.proxy_site import site as proxy_site

H2C = "http2_cleartext = prior-knowledge"


def connect(c, path="/ws", protocol="websocket", *more, end=False):
    stream, c.next = c.next, c.next + 2
    pairs = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path), (":authority", "localhost"),
             ("sec-websocket-version", "13"), *more]
    c.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, c.encode(pairs)))
    return stream


def opened(c, *args, **kwargs):
    stream = connect(c, *args, **kwargs)
    f = c.until(lambda f: f.stream == stream)
    assert f.kind == HEADERS and dict(f.headers)[":status"] == "200" and not f.end, f
    return stream, f.headers


def data(c, stream, n):
    got = b""
    while len(got) < n:
        f = c.until(lambda f: f.stream == stream)
        assert f.kind == DATA, f
        got += f.payload
        if f.payload and not f.end:
            c.send(window(0, len(f.payload)), window(stream, len(f.payload)))
    return got


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def switching(peer, accept=accept_of):
    head = peer.head()
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    names = {name.lower(): value for name, value in lines.items()}
    assert head.startswith(b"GET /ws HTTP/1.1\r\n") and names[b"upgrade"] == b"websocket" and names[b"connection"] == b"upgrade", head
    assert len(names[b"sec-websocket-key"]) == 24 and names[b"sec-websocket-version"] == b"13" and b":" not in b"".join(names), head
    assert len(base64.b64decode(names[b"sec-websocket-key"])) == 16
    accepted = accept(names[b"sec-websocket-key"])
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              + (b"Sec-WebSocket-Accept: %s\r\n" % accepted if accepted else b"") + b"Sec-WebSocket-Protocol: chat\r\n\r\nfirst")


def echoing(peer):
    switching(peer)
    try:
        while True:
            if not peer.buffer:
                peer.fill()
            got, peer.buffer = peer.buffer, b""
            peer.send(got)
    except Gone:
        peer.upstream.ended.append(peer.number)


def test_it_is_offered(monoceros, client):
    c = client(monoceros(config=proxy_site("127.0.0.1:1", top=H2C)))
    f = c.until(lambda f: f.kind == SETTINGS and not f.flags & ACK)
    assert b"\x00\x08\x00\x00\x00\x01" in [f.payload[i:i + 6] for i in range(0, len(f.payload), 6)]


def test_echo(monoceros, client):
    with Upstream(echoing) as up:
        c = client(monoceros(config=proxy_site(up.text, top=H2C, server="limit_request_body = 1000")))
        stream, headers = opened(c)
        assert ("sec-websocket-protocol", "chat") in headers
        assert not {"sec-websocket-accept", "upgrade", "connection"} & {name for name, _ in headers}
        assert data(c, stream, 5) == b"first"
        for size in (1, 100, 5000, 16384):
            sent = os.urandom(size)
            c.send(frame(DATA, 0, stream, sent))
            assert data(c, stream, size) == sent
        other, _ = opened(c)                # many of them on one connection, and requests beside them
        assert data(c, other, 5) == b"first"
        c.send(frame(DATA, END_STREAM, stream, b"last"))
        assert data(c, stream, 4) == b"last"
        assert c.seen[-1].end or c.until(lambda f: f.stream == stream).end
        until(lambda: len(up.ended) == 1, "the upstream to see the end")
        c.send(rst(other))
        until(lambda: len(up.ended) == 2, "the upstream to see the reset")
        c.alive()


def test_much_in_both_directions(monoceros, client):
    """The windows bound what is on its way; none of it is lost."""
    with Upstream(echoing) as up:
        c = client(monoceros(config=proxy_site(up.text, top=H2C)))
        stream, _ = opened(c)
        assert data(c, stream, 5) == b"first"
        size, sent, got, room = 1_000_000, 0, 0, {0: 65535, stream: 65535}
        for f in c.seen:
            if f.kind == 8:
                room[f.stream] += int.from_bytes(f.payload, "big")
        while got < size:
            n = min(16384, size - sent, *room.values())
            if n > 0:
                c.send(frame(DATA, 0, stream, b"e" * n))
                sent += n
                room = {k: v - n for k, v in room.items()}
                continue
            f = c.read()
            assert f.kind not in (RST_STREAM, GOAWAY), f
            if f.kind == 8:
                room[f.stream] += int.from_bytes(f.payload, "big")
            elif f.kind == DATA:
                got += len(f.payload)
                c.send(window(0, len(f.payload)), window(stream, len(f.payload)))


def test_half_close_of_the_client(monoceros, client):
    def script(peer):
        switching(peer)
        try:
            while True:
                peer.fill()
        except Gone:
            peer.send(b"all of it: " + peer.buffer)

    with Upstream(script) as up:
        c = client(monoceros(config=proxy_site(up.text, top=H2C)))
        stream, _ = opened(c)
        c.send(frame(DATA, END_STREAM, stream, b"some bytes"))
        assert data(c, stream, 26) == b"firstall of it: some bytes"
        assert c.seen[-1].end or c.until(lambda f: f.stream == stream).end


def test_half_close_of_the_upstream(monoceros, client):
    def script(peer):
        switching(peer)
        peer.send(b"bye")
        peer.sock.shutdown(socket.SHUT_WR)
        peer.wait_end()
        peer.upstream.got = peer.buffer

    with Upstream(script) as up:
        c = client(monoceros(config=proxy_site(up.text, top=H2C)))
        stream, _ = opened(c)
        assert data(c, stream, 8) == b"firstbye"
        assert c.seen[-1].end or c.until(lambda f: f.stream == stream and f.kind == DATA).end
        c.alive()
        c.send(frame(DATA, END_STREAM, stream, b"still here"))
        until(lambda: up.ended == [1], "the end at the upstream")
        assert up.got == b"still here"


def test_the_upstream_declines(monoceros, client):
    def script(peer, head, body):
        peer.reply(b"no", status="403 Forbidden" if head.split()[1] == b"/no" else "200 OK")

    with Upstream(serving(script)) as up:
        c = client(monoceros(config=proxy_site(up.text, top=H2C)))
        for path, status in (("/no", "403"), ("/yes", "501")):       # 2xx would say that there is a tunnel
            stream = connect(c, path)
            c.send(frame(DATA, 0, stream, b"too early"))
            f = c.until(lambda f: f.stream == stream)
            assert dict(f.headers)[":status"] == status
            end = f if f.end else c.until(lambda f: f.stream == stream and f.end)
            assert status == "501" or end.payload == b"no"
            assert c.until(lambda f: f.stream == stream and f.kind == RST_STREAM).code == NO_ERROR
        assert c.get("/").body == b"no"


@pytest.mark.parametrize("accept", [b"", b"x", b"dGhlIHNhbXBsZSBub25jZQ==", accept_of(b"dGhlIHNhbXBsZSBub25jZQ==")])
def test_an_upstream_that_has_not_read_the_key(monoceros, client, accept):
    """A cache's answer, or that of a server that speaks something else: the handshake is ours to check, as HTTP/2 has none."""
    def script(peer):
        switching(peer, lambda key: accept)
        peer.wait_end()

    with Upstream(script) as up:
        site = monoceros(config=proxy_site(up.text, top=H2C))
        c = client(site)
        stream = connect(c, "/ws", "websocket", ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))     # its own counts for nothing
        f = c.until(lambda f: f.stream == stream)
        assert dict(f.headers)[":status"] == "502"
        site.wait_log(r"its answer is no handshake for this client; 502: GET /ws")
        c.alive()


def test_other_protocols_are_for_the_route_to_allow(monoceros, client):
    def script(peer, head, body):
        peer.reply(b"upgrade" if b"\r\nupgrade:" in head.lower() else b"plain", status="404 Not Found")

    with Upstream(serving(script)) as up:
        c = client(monoceros(config=proxy_site(up.text, top=H2C)))
        stream = connect(c, "/x", "connect-udp")
        assert c.until(lambda f: f.stream == stream and f.kind == DATA).payload == b"plain"


def test_a_client_that_breaks_off(monoceros, client):
    with Upstream(echoing) as up:
        site = monoceros(config=proxy_site(up.text, top=H2C))
        c = client(site)
        opened(c)
        c.sock.close()
        until(lambda: up.ended == [1], "the upstream to see the end")
        c = client(site)
        stream, _ = opened(c, end=True)             # nothing is to come from this one at all
        assert data(c, stream, 5) == b"first"
        until(lambda: len(up.ended) == 2, "the upstream to see the end")
        c.send(rst(stream, CANCEL))


@pytest.mark.python
def test_an_app_that_knows_of_no_tunnels(streams, client):
    c = client(streams())
    stream = connect(c, "/hello")
    f = c.until(lambda f: f.stream == stream)
    assert dict(f.headers)[":status"] == "501" and f.end
    assert c.get("/hello").status == 200
