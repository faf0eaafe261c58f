"""Upstreams that break the rules: 502 or a cut reply, one line in the log, no memory lost, and never a reply that is another's."""

import pytest

from lib.limits import until
from lib.upstream import Upstream, saying, serving
from lib.wire import Closed, request
from proxy_site import site

OK = b"HTTP/1.1 200 OK\r\n"
BAD = {
    "te-and-cl": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "cl-and-te": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-cl": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "two-equal-cl": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "cl-list": OK + b"Content-Length: 2, 2\r\n\r\nab",
    "cl-sign": OK + b"Content-Length: -1\r\n\r\n",
    "cl-huge": OK + b"Content-Length: 18446744073709551617\r\n\r\na",
    "cl-blank": OK + b"Content-Length : 2\r\n\r\nab",
    "te-unknown": OK + b"Transfer-Encoding: gzip\r\n\r\nab",
    "te-twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "te-on-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "status-99": b"HTTP/1.1 99 X\r\nContent-Length: 0\r\n\r\n",
    "status-1000": b"HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n",
    "status-777": b"HTTP/1.1 777 X\r\nContent-Length: 0\r\n\r\n",
    "status-text": b"HTTP/1.1 abc X\r\nContent-Length: 0\r\n\r\n",
    "version-2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "http-0.9": b"<html>hello</html>",
    "ctl-in-reason": b"HTTP/1.1 200 O\x07K\r\nContent-Length: 0\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
    "bare-lf-in-field": OK + b"X: a\nSet-Cookie: stolen=1\r\nContent-Length: 0\r\n\r\n",
    "bare-cr-in-field": OK + b"X: a\rSet-Cookie: stolen=1\r\nContent-Length: 0\r\n\r\n",
    "nul-in-field": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "fold": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "no-name": OK + b": a\r\nContent-Length: 0\r\n\r\n",
    "no-colon": OK + b"nonsense\r\nContent-Length: 0\r\n\r\n",
    "blank-in-name": OK + b"X Y: a\r\nContent-Length: 0\r\n\r\n",
    "crlf-first": b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "unasked-101": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "1xx-flood": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "many-fields": OK + b"X: y\r\n" * 5000 + b"\r\n",
    "long-line": b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n",
    "long-field": OK + b"X: " + b"x" * 300_000 + b"\r\n\r\n",
    "head-cut": OK + b"Content-Length: 5\r\n",
    "empty": b"",
    "only-interim": b"HTTP/1.1 103 Early Hints\r\n\r\n",
}


@pytest.fixture(scope="module")
def bad(shared_monoceros):
    def script(peer, head, body):
        name = head.split(b" ")[1][1:].decode()
        if name == "good":
            peer.reply(b"good")
            return
        peer.send(BAD[name])
        peer.sock.close()

    with Upstream(serving(script)) as up:
        yield shared_monoceros(config=site(up.text))


@pytest.mark.parametrize("name", BAD)
def test_it_is_502(bad, name):
    before = bad.log().count(f" GET /{name}\n")
    answer = bad.ask("GET", f"/{name}")
    assert answer.status == 502 and answer.get("Set-Cookie") is None
    until(lambda: bad.log().count(f"GET /{name}\n") > before, "its line in the log")
    line = [text for text in bad.log().splitlines() if text.endswith(f"GET /{name}")][-1]
    assert "[ERROR] upstream u (127.0.0.1:" in line and "; 502: " in line
    assert bad.ask("GET", "/good").body == b"good"


CUT = {
    "short-body": OK + b"Content-Length: 10\r\n\r\nshort",
    "chunk-cut": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "no-last-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "bad-chunk-size": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
    "chunk-too-long": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
    "blank-in-size": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5 \r\nhello\r\n0\r\n\r\n",
    "bad-trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX Y: z\r\n\r\n",
}


@pytest.mark.parametrize("name", CUT)
def test_a_reply_that_breaks_off_is_cut(monoceros, name):
    """The client must see that it is not whole: an error, or a 502 when nothing was sent yet."""
    with Upstream(saying(CUT[name])) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            client.send(request("GET", "/"))
            try:
                answer = client.read()
            except Closed:
                pass
            else:
                assert answer.status == 502
            assert client.ended()
        proxy.wait_log(r"\[ERROR\] upstream u \(127\.0\.0\.1:\d+\): .*(the reply is cut|502): GET /")


@pytest.mark.parametrize("name", ["short-body", "no-last-chunk"])
def test_a_reply_that_breaks_off_late(monoceros, name):
    def script(peer):
        peer.request()
        peer.send(CUT[name])
        peer.upstream.gate.wait(60)

    import threading
    with Upstream(script) as up:
        up.gate = threading.Event()
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            client.send(request("GET", "/"))
            assert client.read_head().status == 200
            up.gate.set()
            with pytest.raises(Closed):
                client.exactly(1000)
        proxy.wait_log(r"it closed the connection within the body of the reply; the reply is cut: GET /")


def test_bytes_behind_a_reply_reach_nobody(monoceros):
    poison = OK + b"Content-Length: 6\r\n\r\npoison"

    def script(peer, head, body):
        peer.send(OK + b"Content-Length: 4\r\n\r\ngood" + poison)

    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            for _ in range(5):
                assert client.ask("GET", "/").body == b"good"
        assert up.connections == 5


def test_an_early_reply_ends_the_connection_to_the_upstream(monoceros):
    """The rest of the body must not be taken for a request there, nor the next reply for ours."""
    def script(peer):
        peer.head()
        peer.reply(b"no", status="403 Forbidden")
        peer.wait_end()

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text, proxy="request_buffering = off"))
        with proxy.connect() as client:
            client.send(request("POST", "/", headers=[("Content-Length", "1000000")]) + b"x" * 1000)
            assert client.read("POST").status == 403
            until(lambda: up.ended == [1], "the connection to end")


def test_a_reply_and_a_reset_while_the_body_is_sent(monoceros):
    def script(peer):
        peer.head()
        peer.reply(b"too much", status="413 Content Too Large", headers=[("Connection", "close")])

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text))
        answer = proxy.ask("POST", "/", body=b"x" * 3_000_000)
        assert answer.status in (413, 502)       # what was sent before the reset may be lost on its way to us


def test_endless_heads_take_bounded_memory(monoceros):
    from lib import procfs

    def script(peer):
        peer.request()
        peer.send(OK)
        while True:
            peer.send(b"X-Endless: " + b"y" * 8000 + b"\r\n")

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text))
        worker = proxy.wait_workers(1)[0]
        before = procfs.rss(worker)
        for _ in range(20):
            assert proxy.ask("GET", "/").status == 502
        assert procfs.rss(worker) < before + 8 * 1024 * 1024
