"""What a hostile client can make the edge say to an upstream (threats 1-4, 6, 7, 9, 31): nothing that two readers could understand differently."""

import re
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("http", "proxy")]
import wire_drive  # noqa: E402
import wire_table  # noqa: E402
from proxy_site import site  # noqa: E402

from lib.upstream import Upstream, serving  # noqa: E402
from lib.wire import Closed, request  # noqa: E402

TOKEN = rb"[!#$%&'*+.^`|~0-9A-Za-z-]+"         # no '_': CGI would make it another name
LINE = re.compile(rb"(" + TOKEN + rb") ([/*][!-\"$-~\x80-\xff]*) HTTP/1\.1")
FIELD = re.compile(rb"(" + TOKEN + rb"): ([\t\x20-\x7e\x80-\xff]*)")
HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[-!$&'()*+.;=_~0-9A-Za-z]+)(:[0-9]*)?")
STAYS = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"expect", b"http2-settings", b"proxy-authorization"}


def check_head(head):
    """One reading only, whoever reads: strict grammar, one Host, one framing, nothing that belongs to the client's connection."""
    lines = head.split(b"\r\n")
    assert LINE.fullmatch(lines[0]), lines[0]
    assert lines[-2:] == [b"", b""] and b"\n" not in b"".join(lines) and b"\r" not in b"".join(lines)
    fields = [FIELD.fullmatch(line) for line in lines[1:-2]]
    assert all(fields), head
    fields = [(match[1].lower(), match[2]) for match in fields]
    names = [name for name, _ in fields]
    assert names.count(b"host") == 1 and HOST.fullmatch(dict(fields)[b"host"]), head
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, head
    for name, value in fields:
        assert name != b"content-length" or value.isdigit()
        assert name != b"transfer-encoding" or value == b"chunked"
        assert name not in STAYS - {b"connection", b"te"}, head
        assert name != b"connection" or value in (b"close", b"TE", b"close, TE"), head
        assert name != b"te" or value == b"trailers", head


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_the_table_of_hostile_bytes_through_the_proxy(monoceros, buffering):
    """Every row of the wire table: refused as without a proxy, and the upstream sees whole, strict requests, one for each that is answered."""
    seen = []

    def answer(peer, head, body):
        seen.append(head)
        peer.reply(b"passed on")

    with Upstream(serving(answer)) as up:
        proxy = monoceros(config=site(up.text, proxy=f"request_buffering = {buffering}"))
        failures = []
        for row in wire_table.ROWS:
            if row.echo or row.name == "FIN after a request":      # who closes its side has left, for a proxy
                continue
            seen.clear()
            statuses, problems = wire_drive.run(proxy.address, row)
            served = sum(200 <= status < 400 for status in statuses) + (row.end == wire_table.KEEP and not problems)
            early = buffering == "off" and 400 in statuses        # its head was passed on before its body turned out to be bad
            if len(seen) != served and not (early and len(seen) == served + 1):
                problems.append(f"the upstream saw {len(seen)} requests, {served} were answered")
            if problems:
                failures.append(f"{row.name}: {statuses} {'; '.join(problems)}")
            for head in seen:
                check_head(head)
        assert not failures, "\n".join(failures)
        assert up.requests


LIES = {
    "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "70666",
    "X-Forwarded-Prefix": "/evil", "X-Forwarded-Ssl": "on", "X-Forwarded-Server": "evil", "X-Forwarded-Anything": "evil", "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;proto=https;host=evil.example",
}
SPELLINGS = [lambda name: name, str.lower, str.upper, lambda name: name.replace("-", "_")]


def said(head):
    return [tuple(part.strip() for part in line.decode("latin-1").split(":", 1)) for line in head.split(b"\r\n")[1:-2]]


@pytest.mark.parametrize("forwarded", ["x", "rfc7239", "off"])
def test_lies_about_the_client(monoceros, forwarded):
    """Peer trusted or not × field × spelling: strangers' words never arrive, in no spelling; those of a trusted proxy do, as it wrote them."""
    with Upstream(serving(lambda peer, head, body: peer.reply())) as up:
        for trusted in (False, True):
            allowed = "127.0.0.1" if trusted else "10.99.99.99"
            proxy = monoceros(config=site(up.text, proxy=f"forwarded = {forwarded}", top=f'forwarded_allow_ips = {{"{allowed}"}}'))
            for name, value in LIES.items():
                for spell in SPELLINGS:
                    del up.requests[:]
                    assert proxy.ask("GET", "/", headers=[(spell(name), value)]).status == 200
                    fields = said(up.requests[0])
                    check_head(up.requests[0])
                    told = [field for field in fields if value in field[1]]
                    if not trusted or "_" in spell(name):
                        assert not told, (name, fields)
                    assert len([key for key, _ in fields if key.lower() == name.lower()]) <= 1
            proxy.stop()


def test_conflicting_words_of_a_trusted_proxy(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply())) as up:
        proxy = monoceros(config=site(up.text))
        both = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")]
        assert proxy.ask("GET", "/", headers=both).status == 400
        assert proxy.ask("GET", "/", headers=[("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")]).status == 400
        assert not up.requests


def test_fields_that_the_client_would_have_dropped(monoceros):
    """Connection names hop-by-hop fields, but none that the edge answers for."""
    names = ["Host", "X-Forwarded-For", "X-Forwarded-Proto", "Content-Length", "X-Set", "Transfer-Encoding"]
    with Upstream(serving(lambda peer, head, body: peer.reply())) as up:
        proxy = monoceros(config=site(up.text, proxy="set_header = {'X-Set: $scheme'}"))
        answer = proxy.ask("POST", "/", headers=[("Connection", ", ".join(names)), ("X-Set", "mine"), ("X-Gone", "y"), ("Connection", "x-gone")], body=b"abc")
        assert answer.status == 200
        fields = dict(said(up.requests[0]))
        assert fields["Content-Length"] == "3" and fields["X-Set"] == "http" and fields["X-Forwarded-Proto"] == "http"
        assert fields["X-Forwarded-For"] == "127.0.0.1" and "X-Gone" not in fields
        check_head(up.requests[0])


def test_which_host_it_is(monoceros):
    """The authority of an absolute form is the host for routing and for the upstream; a Host beside it is not seen by anybody."""
    with Upstream(serving(lambda peer, head, body: peer.reply(b"one"))) as one, Upstream(serving(lambda peer, head, body: peer.reply(b"two"))) as two:
        proxy = monoceros(config=f"""
            worker_class = {{worker}}
            keepalive = 5
            server "one" {{ listen = "{{address}}" names = {{"one.example"}} route "a" {{ proxy {{ to = "{one.text}" }} }} }}
            server "two" {{ listen = "{{address}}" names = {{"two.example"}} route "a" {{ proxy {{ to = "{two.text}" }} }} }}
        """)
        for line, host, body in ((b"/", b"one.example", b"one"), (b"/", b"TWO.example:80", b"two"), (b"http://two.example/", b"one.example", b"two"),
                                 (b"http://ONE.example:1/", b"two.example", b"one"), (b"/http://two.example/", b"one.example", b"one")):
            with proxy.connect() as client:
                client.send(b"GET " + line + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                assert client.read().body == body, (line, host)
        for head in one.requests:
            check_head(head)
            assert b"two" not in head.replace(b"/http://two.example/", b"")
        for head in two.requests:
            check_head(head)
            assert b"one" not in head


HUGE = ["9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "18446744073709551621", "79228162514264337593543950341"]


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_sizes_beyond_all_numbers(monoceros, buffering):
    sizes = ["8000000000000000", "ffffffffffffffff", "fffffffffffffffa", "10000000000000000", "1" + "0" * 40]
    with Upstream(serving(lambda peer, head, body: peer.reply())) as up:
        proxy = monoceros(config=site(up.text, proxy=f"request_buffering = {buffering}", server="limit_request_body = 1m"))
        for number in HUGE:
            with proxy.connect() as client:
                client.send(request("POST", "/", headers=[("Content-Length", number)]) + b"x" * 100)
                assert client.read("POST").status in (400, 413), number
        for size in sizes:
            with proxy.connect() as client:
                client.send(request("POST", "/", headers=[("Transfer-Encoding", "chunked")]) + b"3\r\nabc\r\n" + size.encode() + b"\r\nx")
                assert client.read("POST").status in (400, 413), size
        assert proxy.ask("GET", "/").status == 200


@pytest.mark.parametrize("size", ["7fffffffffffffff", "ffffffffffffffff", "10000000000000000"])
def test_chunks_of_upstreams_beyond_all_numbers(monoceros, size):
    def script(peer, head, body):
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + size.encode() + b"\r\nabc")
        peer.sock.close()

    with Upstream(serving(script)) as up:
        proxy = monoceros(config=site(up.text))
        with proxy.connect() as client:
            client.send(request("GET", "/"))
            try:
                assert client.read().status == 502
            except Closed:
                pass


def test_patterns_that_never_end(monoceros):
    """(a+)+$ and friends: a limit ends them, the client gets an error, and the others are served meanwhile."""
    proxy = monoceros(config="""
        worker_class = {worker}
        workers = 1
        server "s" { listen = "{address}"
            route "bad"  { match { path = '^/(a+)+$' }          respond { body = "a" } }
            route "head" { match { header = {'X-Word: ^(([a-z])+.)+[A-Z]([a-z])+$'} } respond { body = "word" } }
            route "rest" { respond { body = "rest" } } }
    """)
    evil = [request("GET", "/" + "a" * 4000 + "!"), request("GET", "/x", headers=[("X-Word", "a" * 4000)])]
    for head in evil * 3:
        with proxy.connect() as client:
            client.send(head)
            assert client.read().status in (200, 500)
        assert proxy.ask("GET", "/aaa").text == "a"
