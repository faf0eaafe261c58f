"""Which requests are made again, where, and what the client is told when nobody answers."""

import pytest

from lib.limits import until
from lib.server import free_port
from lib.upstream import Upstream, saying, serving
from lib.wire import request
from proxy_site import site


def good(peer, head, body):
    peer.reply(b"good:" + body)


def closing(peer):
    """Takes a request and closes without a word."""
    peer.request()


def resetting(peer):
    peer.head()
    peer.reset()


def nobody():
    return f"127.0.0.1:{free_port()}"


def test_refused_is_502_and_another_peer_is_asked(monoceros):
    dead = nobody()
    alone = monoceros(config=site(dead))
    assert alone.ask("GET", "/x").status == 502
    alone.wait_log(rf"\[ERROR\] upstream u \({dead}\): cannot connect: Connection refused; 502: GET /x")
    with Upstream(serving(good)) as up:
        both = monoceros(config=site(dead, up.text))
        for _ in range(4):
            assert both.ask("POST", "/", body=b"b").body == b"good:b"      # not a byte was sent: safe for POST, too
        both.wait_log(rf"\[WARNING\] upstream u \({dead}\): cannot connect: Connection refused; another peer is asked: POST /")


@pytest.mark.parametrize("script", [closing, resetting])
def test_only_what_is_safe_is_repeated(monoceros, script):
    with Upstream(script) as bad, Upstream(serving(good)) as up:
        proxy = monoceros(config=site(bad.text, up.text))
        for _ in range(4):
            assert proxy.ask("GET", "/").status == 200
        assert proxy.ask("PUT", "/", body=b"idempotent").body == b"good:idempotent"
        assert len(bad.requests) >= 2
        statuses = [proxy.ask("POST", "/", body=b"x").status for _ in range(4)]
        assert sorted(statuses) == [200, 200, 502, 502]     # round robin: those that met the bad one were not repeated


def test_retry_on_and_retries(monoceros):
    with Upstream(closing) as one, Upstream(closing) as two, Upstream(closing) as three, Upstream(serving(good)) as four:
        peers = [one.text, two.text, three.text, four.text]
        proxy = monoceros(config=site(*peers, proxy="retries = 1"))
        statuses = [proxy.ask("GET", "/").status for _ in range(8)]
        assert 502 in statuses and 200 in statuses
        never = monoceros(config=site(one.text, four.text, proxy="retry_on = off"))
        assert sorted(never.ask("GET", "/").status for _ in range(4)) == [200, 200, 502, 502]
        all_of_them = monoceros(config=site(*peers, proxy="retries = 3"))
        assert {all_of_them.ask("GET", "/").status for _ in range(8)} == {200}


def test_statuses_of_peers(monoceros):
    busy = saying(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nX-From: peer\r\n\r\nbusy", close=False)
    with Upstream(busy) as one, Upstream(serving(good)) as two:
        proxy = monoceros(config=site(one.text, two.text, proxy="retry_on = {error, http_503}"))
        assert {proxy.ask("GET", "/").status for _ in range(6)} == {200}
        assert sorted(proxy.ask("POST", "/", body=b"x").status for _ in range(4)) == [200, 200, 503, 503]
    with Upstream(busy) as one, Upstream(busy) as two:
        proxy = monoceros(config=site(one.text, two.text, proxy="retry_on = {error, http_503}"))
        answer = proxy.ask("GET", "/")
        assert answer.status == 503 and answer.body == b"busy" and answer.get("X-From") == "peer"     # the last one's own words


def test_a_stale_connection_is_replaced(monoceros):
    """It ends exactly when the next request is on its way: idempotent ones do not notice."""
    def script(peer):
        peer.request()
        peer.reply(b"%d" % peer.number)
        if peer.number % 2:
            peer.request()      # and closes
            return
        peer.request()
        peer.reply(b"%d" % peer.number)

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            assert client.ask("GET", "/").text == "1"
            assert client.ask("GET", "/").text == "2"
            assert client.ask("GET", "/").text == "2"
            assert client.ask("GET", "/").text == "3"
            assert client.ask("POST", "/", body=b"x").status == 502     # it may have been done
        assert "[WARNING]" not in proxy.log()


def test_time_outs_are_504(monoceros):
    def silent(peer):
        peer.request()
        peer.wait_end()

    with Upstream(silent) as up, Upstream(serving(good)) as fine:
        proxy = monoceros(config=site(up.text, proxy="read_timeout = 300ms"))
        assert proxy.ask("GET", "/slow").status == 504
        proxy.wait_log(r"\[ERROR\] upstream u .*: no byte of a reply for 0\.3 s; 504: GET /slow")
        until(lambda: up.ended == [1], "the connection to be closed")
        both = monoceros(config=site(up.text, fine.text, proxy="read_timeout = 300ms"))
        assert {both.ask("GET", "/").status for _ in range(4)} == {200}


def test_no_connection_in_time(monoceros):
    """A listener whose queue is full answers no SYN."""
    import socket
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            fillers.append(sock)
        proxy = monoceros(config=site(f"127.0.0.1:{port}", proxy="connect_timeout = 300ms"))
        assert proxy.ask("GET", "/").status == 504
        proxy.wait_log(r"no connection within 0\.3 s; 504: GET /")
        for sock in fillers:
            sock.close()


def test_a_peer_that_takes_nothing(monoceros):
    def deaf(peer):
        peer.upstream.gate.wait(60)

    import threading
    with Upstream(deaf) as up:
        up.gate = threading.Event()
        proxy = monoceros(config=site(up.text, proxy="send_timeout = 300ms"))
        assert proxy.ask("PUT", "/", body=b"x" * 20_000_000).status == 504
        proxy.wait_log(r"it took nothing of the request for 0\.3 s; 504: PUT /")
        up.gate.set()


def test_nobody_is_503(monoceros):
    config = site(top='upstream "none" { peer "127.0.0.1:1" { down = yes } }', to="upstream:none")
    proxy = monoceros(config=config)
    assert proxy.ask("GET", "/").status == 503
    proxy.wait_log(r"\[ERROR\] upstream none \(-\): .*; 503: GET /")


def test_a_streamed_body_is_not_repeated(monoceros):
    with Upstream(closing) as bad, Upstream(serving(good)) as up:
        proxy = monoceros(config=site(bad.text, up.text, proxy="request_buffering = off"))
        statuses = [proxy.ask("PUT", "/", body=b"x" * 100).status for _ in range(4)]
        assert sorted(statuses) == [200, 200, 502, 502]


def test_a_sticky_cookie(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"one"))) as one, Upstream(serving(lambda peer, head, body: peer.reply(b"two"))) as two:
        proxy = monoceros(config=site(one.text, two.text, upstream='sticky = "SRV"'))
        first = proxy.ask("GET", "/")
        cookie = first.get("Set-Cookie").split(";")[0]
        assert cookie.startswith("SRV=")
        for _ in range(6):
            again = proxy.ask("GET", "/", headers=[("Cookie", f"a=b; {cookie}; c=d")])
            assert again.body == first.body and again.get("Set-Cookie") is None
        assert {proxy.ask("GET", "/").text for _ in range(4)} == {"one", "two"}
        assert proxy.ask("GET", "/", headers=[("Cookie", "SRV=ffffffff")]).get("Set-Cookie")


def test_a_hash_of_a_variable(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"one"))) as one, Upstream(serving(lambda peer, head, body: peer.reply(b"two"))) as two:
        proxy = monoceros(config=site(one.text, two.text, upstream="balance = hash key = '$request_uri'"))
        answers = {target: proxy.ask("GET", target).text for target in (f"/{n}" for n in range(20))}
        assert set(answers.values()) == {"one", "two"}
        for target, text in answers.items():
            assert proxy.ask("GET", target).text == text
