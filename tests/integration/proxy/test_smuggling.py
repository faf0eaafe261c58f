"""Two readers of one byte stream: whatever a client sends, the upstream sees whole requests of ours, one a request that we answered as passed on."""

import re

import pytest

from lib.limits import patience
from lib.upstream import Upstream, serving
from lib.wire import Closed, Connection
from proxy_site import site

H = b"Host: localhost\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CASES = {
    "cl-te": b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED)) + SMUGGLED,
    "te-cl": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n",
    "te-te": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "te-space": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "te-fold": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "te-vt": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "te-underscore": b"POST /a HTTP/1.1\r\n" + H + b"Transfer_Encoding: chunked\r\nContent-Length: %d\r\n\r\n" % (5 + len(SMUGGLED)) + b"0\r\n\r\n" + SMUGGLED,
    "te-1.0": b"POST /a HTTP/1.0\r\n" + H + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "te-named-in-connection": b"POST /a HTTP/1.1\r\n" + H + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n",
    "cl-named-in-connection": b"POST /a HTTP/1.1\r\n" + H + b"Connection: Content-Length\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "host-named-in-connection": b"GET /a HTTP/1.1\r\n" + H + b"Connection: Host\r\n\r\n",
    "two-cl": b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "cl-plus": b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: +%d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "chunk-ext-lf": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0;\nx\r\n\r\n" + SMUGGLED,
    "chunk-size-space": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n" + SMUGGLED,
    "chunk-size-0x": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + SMUGGLED,
    "chunk-bare-lf": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\n\n" + SMUGGLED,
    "chunk-trailer-cl": b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 50\r\nX: y\r\n\r\n" + SMUGGLED,
    "get-with-body": b"GET /a HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "expect-with-body": b"POST /a HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "upgrade-with-body": b"GET /a HTTP/1.1\r\n" + H + b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "h2c": b"GET /a HTTP/1.1\r\n" + H + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    "target-lf": b"GET /a\nX HTTP/1.1\r\n" + H + b"\r\n" + SMUGGLED,
    "field-lf": b"GET /a HTTP/1.1\r\n" + H + b"X: y\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "field-cr": b"GET /a HTTP/1.1\r\n" + H + b"X: y\rContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "host-space": b"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host-path": b"GET /a HTTP/1.1\r\nHost: a/../b\r\n\r\n",
    "two-hosts": b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "absolute-and-host": b"GET http://one.example/a HTTP/1.1\r\nHost: two.example\r\n\r\n",
    "pipelined": b"GET /a HTTP/1.1\r\n" + H + b"\r\n" + b"GET /b HTTP/1.1\r\n" + H + b"\r\n",
    "connect": b"CONNECT localhost:80 HTTP/1.1\r\n" + H + b"\r\n" + SMUGGLED,
}
# Requests of which a body holds another one, or that are followed by one: the upstream may see the second as such only where it is one.
PIPELINED = {"chunk-trailer-cl"}


def allowed(head, body):
    """What we may say to an upstream: one reading only."""
    lines = head.split(b"\r\n")
    assert re.fullmatch(rb"(GET|POST|PUT) /[!-~]* HTTP/1\.1", lines[0]), lines[0]
    assert lines[-2:] == [b"", b""]
    names = []
    for line in lines[1:-2]:
        match = re.fullmatch(rb"([!#$%&'*+.^`|~0-9A-Za-z-]+): ([\t\x20-\x7e\x80-\xff]*)", line)
        assert match, line
        names.append(match[1].lower())
    assert names.count(b"host") == 1 and names[0] == b"host"
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert b"transfer-encoding: chunked" in head.lower() or b"transfer-encoding" not in names


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_smuggling(monoceros, buffering):
    seen = []

    def script(peer, head, body):
        seen.append((head, body))
        peer.reply(b"reply to " + head.split(b" ")[1])

    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text, proxy=f"request_buffering = {buffering}"))
        for name, data in sorted(CASES.items(), key=lambda case: case[0] in PIPELINED):     # those last: theirs may come late
            del seen[:]
            answers = []
            with Connection(proxy.address, timeout=patience(5)) as client:
                client.send(data).half_close()
                try:
                    while True:
                        answers.append(client.read())
                except Closed:
                    pass
            for head, body in seen:
                allowed(head, body)
            passed = [answer for answer in answers if answer.body.startswith(b"reply to ")]
            assert len(passed) <= len(seen), name
            targets = [head.split(b" ")[1] for head, _ in seen]
            if name not in PIPELINED:
                assert b"/smuggled" not in targets, (name, targets)
        # nothing of all that is left in the connections to the upstream
        for number in range(10):
            assert proxy.ask("GET", f"/clean{number}").body == f"reply to /clean{number}".encode()


def test_what_the_upstream_sees_is_exact(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"ok"))) as up:
        proxy = monoceros(config=site(up.text, proxy="forwarded = off"))
        with proxy.connect() as client:
            client.send(b"POST /x HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\nA:  b \r\nConnection: A2\r\nA2: c\r\n\r\n5;e=\"f\"\r\nhello\r\n0\r\nT: u\r\n\r\n")
            assert client.read("POST").status == 200
        assert up.requests == [b"POST /x HTTP/1.1\r\nHost: h\r\nA: b\r\nContent-Length: 5\r\n\r\n"]
