"""Requests through the proxy as the upstream sees them, replies as the client sees them."""

import re

import pytest

from lib.limits import until
from lib.upstream import Upstream, saying, serving
from lib.wire import request
from proxy_site import site


def echo(peer, head, body):
    peer.reply(head + body)


def fields(head):
    return [line.decode("latin-1") for line in head.split(b"\r\n")[1:] if line]


def test_a_request_and_its_reply(monoceros):
    with Upstream(serving(echo)) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            answer = client.ask("GET", "/a/%2e%41?x=/../y", headers=[("X-A", "1"), ("X-A", "2"), ("Accept", "*/*")], host="example.org:81")
            assert answer.status == 200 and answer.keep
            assert up.requests[0] == answer.body
            lines = answer.text.split("\r\n")
            assert lines[0] == "GET /a/%2e%41?x=/../y HTTP/1.1"
            assert lines[1] == "Host: example.org:81"
            assert lines[2:5] == ["X-A: 1", "X-A: 2", "Accept: */*"]
            assert "X-Forwarded-For: 127.0.0.1" in lines and "X-Forwarded-Proto: http" in lines
            assert "X-Forwarded-Host: example.org:81" in lines and f"X-Forwarded-Port: {proxy.address[1]}" in lines
            assert not any(re.match("(?i)connection|transfer|content|te:|upgrade", line) for line in lines)


@pytest.mark.parametrize("size", [0, 1, 5000, 100_000, 1_000_000])
@pytest.mark.parametrize("buffering", ["on", "off"])
def test_bodies(monoceros, size, buffering):
    body = bytes(i * 7 % 251 for i in range(size))
    seen = []

    def script(peer, head, got):
        seen.append((head, got))
        peer.reply(got[::-1])

    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text, proxy=f"request_buffering = {buffering}"))
        with proxy.connect() as client:
            answer = client.ask("POST", "/", body=body)
            assert answer.body == body[::-1]
            assert f"\r\nContent-Length: {size}\r\n".encode() in seen[0][0]
            chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[i:i + 3000] for i in range(0, size, 3000))) + b"0\r\n\r\n"
            client.send(request("PUT", "/", headers=[("Transfer-Encoding", "chunked")]) + chunked)
            assert client.read("PUT").body == body[::-1]
            assert seen[1][1] == body
            if buffering == "on":
                assert f"\r\nContent-Length: {size}\r\n".encode() in seen[1][0]


def test_connections_are_kept(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"%d" % peer.number))) as up:
        proxy = monoceros(config=site(up.text, upstream="keepalive_requests = 5"))
        with proxy.connect() as client:
            numbers = [client.ask("GET", "/").text for _ in range(12)]
        assert numbers == ["1"] * 5 + ["2"] * 5 + ["3"] * 2
        assert proxy.ask("GET", "/").text == "3"


def test_no_connections_are_kept(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"%d" % peer.number))) as up:
        proxy = monoceros(config=site(up.text, upstream="keepalive = 0"))
        with proxy.connect() as client:
            assert [client.ask("GET", "/").text for _ in range(3)] == ["1", "2", "3"]
        assert b"\r\nConnection: close\r\n" in up.requests[0]


def test_an_idle_connection_that_ends_is_dropped(monoceros):
    def script(peer):
        peer.request()
        peer.reply(b"%d" % peer.number)
        if peer.number == 1:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
            peer.wait_end()
        elif peer.number == 2:
            peer.sock.close()
        else:
            peer.request()
            peer.reply(b"again")

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            assert client.ask("GET", "/").text == "1"
            until(lambda: up.ended == [1], "the proxy to close a connection with bytes that nobody asked for")
            assert client.ask("GET", "/").text == "2"
            assert client.ask("GET", "/").text == "3"
            assert client.ask("GET", "/").text == "again"


def test_head_and_bodyless_statuses(monoceros):
    def script(peer, head, body):
        method, target = head.split(b" ")[:2]
        if method == b"HEAD":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nX-A: b\r\n\r\n")
        elif target == b"/204":
            peer.send(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        elif target == b"/304":
            peer.send(b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 500\r\n\r\n")
        else:
            peer.reply(b"%d" % peer.number)

    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            answer = client.ask("HEAD", "/")
            assert answer.status == 200 and answer.get("Content-Length") == "500" and answer.get("X-A") == "b"
            assert client.ask("GET", "/204").status == 204
            answer = client.ask("GET", "/304")
            assert answer.status == 304 and answer.get("ETag") == '"x"'
            assert client.ask("GET", "/").text == "1"     # all of these left the connection in order


def test_framings_of_replies(monoceros):
    def script(peer, head, body):
        target = head.split(b" ")[1]
        if target == b"/chunked":
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: end\r\n\r\n")
        elif target == b"/close":
            peer.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
            peer.sock.close()
        elif target == b"/old":
            peer.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
        else:
            peer.reply(b"plain", headers=[("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Server", "theirs"), ("Keep-Alive", "timeout=5")])

    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            answer = client.ask("GET", "/chunked", headers=[("TE", "trailers"), ("Connection", "TE")])
            assert answer.body == b"hello world" and answer.framing == "chunked" and answer.trailers == [("X-T", "end")]
            assert b"\r\nTE: trailers\r\nConnection: TE\r\n" in up.requests[-1]
            assert client.ask("GET", "/close").body == b"until the end"
            assert client.ask("GET", "/old").body == b"old"
            answer = client.ask("GET", "/plain")
            assert answer.body == b"plain" and answer.all("Server") == ["theirs"] and answer.all("Date") == ["Thu, 01 Jan 1970 00:00:00 GMT"]
            assert answer.get("Keep-Alive") is None
            client.send(b"GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n")
            answer = client.read()
            assert answer.body == b"hello world" and answer.framing == "close" and client.ended()


def test_interim_replies(monoceros):
    def script(peer, head, body):
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: y\r\n\r\n")
        peer.reply(b"then")

    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text))
        answer = proxy.ask("GET", "/")
        assert [(one.status, one.headers) for one in answer.interim] == [(103, [("Link", "</a.css>")])]
        assert answer.body == b"then"
        with proxy.connect() as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            answer = client.read()
            assert not answer.interim and answer.body == b"then"


def test_expect_is_ours(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(body))) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            client.send(request("POST", "/", headers=[("Expect", "100-continue"), ("Content-Length", "5")]))
            assert client.read_head().status == 100
            client.send(b"hello")
            assert client.read("POST").body == b"hello"
        assert b"Expect" not in up.requests[0]


def test_hop_by_hop_fields_stay(monoceros):
    def script(peer, head, body):
        peer.reply(head, headers=[("Connection", "X-Secret, close"), ("X-Secret", "1"), ("Proxy-Connection", "keep-alive"), ("Upgrade", "h2c"), ("X-Open", "2"),
                                  ("X-Accel-Redirect", "/x")])

    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text, proxy='hide_header = {"X-Powered-By", "X-Hidden"}'))
        answer = proxy.ask("GET", "/", headers=[
            ("Connection", "X-Mine, keep-alive"), ("X-Mine", "1"), ("X-Other", "2"), ("Keep-Alive", "9"), ("Proxy-Connection", "x"), ("Proxy", "evil"),
            ("TE", "gzip"), ("Trailer", "X"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAA"), ("X_Under", "score")])
        sent = fields(answer.body)
        assert "X-Other: 2" in sent
        for name in ("connection", "x-mine", "keep-alive", "proxy-connection", "proxy", "te", "trailer", "upgrade", "http2-settings", "x_under"):
            assert not any(line.lower().startswith(name + ":") for line in sent), name
        assert answer.get("X-Open") == "2"
        for name in ("X-Secret", "Proxy-Connection", "Upgrade", "X-Accel-Redirect"):
            assert answer.get(name) is None, name


def test_who_the_client_is(monoceros):
    claims = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Host", "evil"), ("X-Forwarded-Port", "1"), ("X-Real-IP", "6.6.6.6"),
              ("X-Forwarded-Prefix", "/x"), ("Forwarded", "for=6.6.6.6")]
    with Upstream(serving(echo)) as up:
        strict = monoceros(config=site(up.text, top='forwarded_allow_ips = "10.0.0.1"'))
        sent = fields(strict.ask("GET", "/", headers=claims, host="good").body)
        assert not any("6.6.6.6" in line or "evil" in line or "Prefix" in line for line in sent)
        assert "X-Forwarded-For: 127.0.0.1" in sent and "X-Forwarded-Host: good" in sent

        believing = monoceros(config=site(up.text, proxy="forwarded = both", top='forwarded_allow_ips = "127.0.0.1"'))
        sent = fields(believing.ask("GET", "/", headers=claims, host="good").body)
        assert "X-Forwarded-For: 6.6.6.6, 127.0.0.1" in sent and "X-Forwarded-Host: evil" in sent and "X-Forwarded-Port: 1" in sent
        assert "X-Forwarded-Prefix: /x" in sent and "X-Real-IP: 6.6.6.6" in sent
        assert 'Forwarded: for=6.6.6.6, for=127.0.0.1;host="good";proto=http' in sent

        silent = monoceros(config=site(up.text, proxy="forwarded = off", top='forwarded_allow_ips = "10.0.0.1"'))
        assert not any("orward" in line for line in fields(silent.ask("GET", "/", headers=claims).body))


def test_fields_that_the_route_sets(monoceros):
    with Upstream(serving(echo)) as up:
        proxy = monoceros(config=site(up.text, proxy="set_header = {'X-Method: $request_method', 'X-Gone:', 'User-Agent: proxy', 'Host: inner.example'}"))
        sent = fields(proxy.ask("GET", "/", headers=[("User-Agent", "a"), ("user-agent", "b"), ("X-Gone", "c")]).body)
        assert sent[0] == "Host: inner.example"
        assert [line for line in sent if line.lower().startswith("user-agent")] == ["User-Agent: proxy"]
        assert "X-Method: GET" in sent and not any(line.startswith("X-Gone") for line in sent)


def test_paths(monoceros):
    routes = """
    route "strip" { match { prefix = "/api/" } proxy { to = "upstream:u" strip_prefix = "/api" } }
    route "uri"   { match { path = '^/user/(?<name>[^/]+)$' } proxy { to = "upstream:u" uri = '/v2/$name' } }
    """
    pairs = [("/api/x?y", "/x?y"), ("/api/", "/"), ("/api/a%20b%2fc", "/a%20b/c"), ("/api/../api/x", "/x"), ("/x/../api/y", "/y"), ("/user/joe?a=b", "/v2/joe?a=b"),
             ("/user/%0d%0aX:y", "/v2/%0D%0AX:y"), ("/user/a%3fb", "/v2/a%3Fb"), ("/other/%2E%2e/x", "/other/%2E%2e/x"), ("http://h/abs?q", "/abs?q")]
    with Upstream(serving(echo)) as up:
        proxy = monoceros(config=site(up.text, more=routes))
        with proxy.connect() as client:
            for asked, wanted in pairs:
                got = client.ask("GET", asked).text.split(" ")[1]
                assert got.lower() == wanted.lower(), asked
        assert proxy.ask("GET", "http://named.example/x", host="other").text.split("\r\n")[1] == "Host: named.example"


def test_unix_and_direct_upstreams(monoceros, tmp_path):
    with Upstream(serving(echo), unix=tmp_path / "up.sock") as up:
        proxy = monoceros(config=site(to=up.text))
        assert proxy.ask("GET", "/", host="h").text.split("\r\n")[1] == "Host: h"
        with proxy.connect() as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert client.read().text.split("\r\n")[1] == "Host: localhost"
    with Upstream(serving(echo)) as up:
        proxy = monoceros(config=site(to=f"http://{up.text}"))
        assert proxy.ask("GET", "/").status == 200


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_proxy_protocol(monoceros, version):
    firsts = []

    def script(peer):
        if version == "v1":
            while b"\r\n" not in peer.buffer:
                peer.fill()
            line, peer.buffer = peer.buffer.split(b"\r\n", 1)
        else:
            line = peer.exactly(28)
        firsts.append(line)
        peer.request()
        peer.reply(b"%d" % peer.number)

    with Upstream(script) as up:
        proxy = monoceros(config=site(up.text, proxy=f"proxy_protocol = {version}"))
        with proxy.connect() as client:
            port = client.sock.getsockname()[1]
            assert [client.ask("GET", "/").text for _ in range(2)] == ["1", "2"]
        if version == "v1":
            assert firsts[0] == f"PROXY TCP4 127.0.0.1 127.0.0.1 {port} {proxy.address[1]}".encode()
        else:
            assert firsts[0] == (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([127, 0, 0, 1]) * 2 + port.to_bytes(2, "big") + proxy.address[1].to_bytes(2, "big"))


def test_sse_comes_at_once(monoceros):
    def script(peer, head, body):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.upstream.gate.wait(60)
        peer.send(b"6\r\ndata:1\r\n")
        peer.upstream.gate2.wait(60)
        peer.send(b"0\r\n\r\n")

    import threading
    with Upstream(serving(script)) as up:
        up.gate, up.gate2 = threading.Event(), threading.Event()
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            client.send(request("GET", "/"))
            assert client.read_head().status == 200       # before any of the body
            up.gate.set()
            assert client.exactly(11) == b"6\r\ndata:1\r\n"
            up.gate2.set()
            assert client.exactly(5) == b"0\r\n\r\n"


def test_wrong_configurations(monoceros):
    from lib.server import run
    import tempfile
    import os
    cases = [("", "to"), ('to = "upstream:none"', "none"), ('to = "127.0.0.1:1" retry_on = {sometimes}', "retry_on"), ('to = "127.0.0.1:1" forwarded = "maybe"', "forwarded"),
             ('to = "127.0.0.1:1" set_header = "nonsense"', "set_header"), ('to = "127.0.0.1:1" set_header = "Transfer-Encoding: x"', "set_header"),
             ('to = "127.0.0.1:1" uri = "x"', "uri"), ('to = "127.0.0.1:1" proxy_protocol = v3', "proxy_protocol"), ('to = "127.0.0.1:1" upgrade = h2c', "h2c"),
             ("to = \"127.0.0.1:1\" set_header = 'X: $nosuchvariable'", "nosuchvariable")]
    for text, word in cases:
        with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as file:
            file.write(f'server "s" {{ listen = "127.0.0.1:1" route "r" {{ proxy {{ {text} }} }} }}\n')
        done = run("-c", file.name, "--check-config")
        os.unlink(file.name)
        assert done.returncode == 1 and word in done.stderr and file.name in done.stderr, (text, done.stderr)


def test_pages_in_place_of_the_peers(monoceros):
    def script(peer, head, body):
        peer.reply(b"their page", status="404 Not Found" if b"/gone" in head else "503 Busy")

    page = "error_page = {'503 /sorry'}\n    " + 'route "sorry" { match { exact = "/sorry" } respond { body = "ours" } }'
    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text, more=page, proxy="intercept_errors = on"))
        answer = proxy.ask("POST", "/x", body=b"y")
        assert answer.status == 503 and answer.body == b"ours"
        answer = proxy.ask("GET", "/gone")
        assert answer.status == 404 and answer.body == b"their page"
        plain = monoceros(config=site(up.text, more=page))
        assert plain.ask("GET", "/x").body == b"their page"


def test_variables_of_the_upstream(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"x", status="203 Fine"))) as up:
        proxy = monoceros(config=site(up.text, server="""headers { response { set = {'X-Up: $upstream_addr $upstream_status', 'X-Time: $upstream_header_time'} } }"""))
        answer = proxy.ask("GET", "/")
        assert answer.get("X-Up") == f"{up.text} 203" and re.fullmatch(r"\d+\.\d\d\d", answer.get("X-Time"))
