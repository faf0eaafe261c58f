"""Bytes of clients and upstreams that come out again (threats 5, 8, 12, 14, 29, 33): in Location, in fields, in targets, in logs and pages. They never
end a line that somebody reads, and never grow without bound."""

import base64
import re
import socket
import struct
import sys
import urllib.parse
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "proxy")]
from proxy_site import site  # noqa: E402

from lib import procfs  # noqa: E402
from lib.limits import until  # noqa: E402
from lib.upstream import Upstream, serving  # noqa: E402
from lib.wire import Closed, request  # noqa: E402

ECHO = """
worker_class = {worker}
workers = 1
keepalive = 20
limit_request_line = 8190
server "s" {
    listen = "{address}"
    headers { response { set = {'X-Uri: <$uri>', 'X-Rest: $rest', 'X-Arg: $arg_a', 'X-Cookie: $cookie_c', 'X-Field: $http_x_any', 'X-User: $remote_user',
                                'X-Target: $request_uri', 'X-Host: $host', 'X-All: $uri$args$uri$args$uri$args$uri$args$uri$args$uri$args'} } }
    route "self"  { match { prefix = "/self/" }  redirect { to = '/new/$rest' } }
    route "other" { match { prefix = "/other/" } redirect { to = 'https://$host/$arg_a' } }
    route "slash" { match { prefix = "/slash" }  redirect { to = '/$rest' } }
    route "group" { match { path = '^/group/(.*)$' } redirect { to = '/$1?a=$arg_a' } }
    route "many"  { match { path = '^/many/((.*))$' } redirect { to = '/$1$2$1$2$1$2$1$2$1$2$1$2$1$2$1$2$1$2$1$2' } }
    route "loop"  { match { prefix = "/loop/" }  rewrite { to = '/loop/$rest$rest/x' } }
    route "up"    { match { prefix = "/up/" }    proxy { to = "UPSTREAM"  uri = '/base$uri'  set_header = {'X-Arg: $arg_a', 'X-Uri: $uri', 'X-Field: $http_x_any'} } }
    route "uparg" { match { prefix = "/uparg/" } proxy { to = "UPSTREAM"  uri = '/base/$arg_a' } }
    route "uphost" { match { prefix = "/uphost/" } proxy { to = "UPSTREAM"  host = '$arg_a' } }
    route "rest"  { respond { body = "rest" } }
}
"""
STRICT = re.compile(rb"[A-Z]+ /[!-~\x80-\xff]* HTTP/1\.1\r\n(?:[!#$%&'*+.^`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*\r\n")
FORGED = "%0d%0aX-Forged:%20yes%0d%0a%0d%0a"


@pytest.fixture(scope="module")
def echo(shared_monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply(b"up"))) as up:
        started = shared_monoceros(config=ECHO.replace("UPSTREAM", up.text))
        started.up = up
        yield started


def visit(server, target, headers=()):
    """The strict reader of lib.wire fails on anything that ends a line."""
    with server.connect() as client:
        client.send(request("GET", target, headers))
        answer = client.read()
        assert answer.get("X-Forged") is None, target
        return answer


def hostile():
    for number in list(range(0x21)) + [0x22, 0x23, 0x25, 0x3b, 0x3f, 0x5c, 0x7f, 0x80, 0x85, 0xff]:
        yield f"%{number:02x}"
    yield from (FORGED, "%e5%98%8a%e5%98%8d", "%c4%8a%c4%8d", "%2f%2fevil.example", "%5c%5cevil.example", "%09", "%3f%23", "%250d%250a")


@pytest.mark.parametrize("where", ["self", "other", "slash", "group", "up", "uparg", "uphost", "rest"])
def test_escapes_stay_escapes(echo, where):
    del echo.up.requests[:]
    for text in hostile():
        answer = visit(echo, f"/{where}/{text}x?a={text}y", [("X-Any", urllib.parse.unquote(text, "latin-1") if re.fullmatch("%[8-f].|%09", text) else "x"),
                                                             ("Cookie", f"c={text}")])
        assert answer.status in (200, 302, 400, 404), (where, text)
        if answer.status == 302:
            place = answer.get("Location")
            assert re.fullmatch(r"[!-~]+", place), place
            expected = "https://localhost/" if where == "other" else "/"
            assert place.startswith(expected) and not place.startswith(("//", "/\\")), place
    for head in echo.up.requests:
        assert STRICT.fullmatch(head), head
        assert b"X-Forged" not in re.sub(rb"%0[dD]%0[aA]X-Forged", b"", head), head


@pytest.mark.parametrize("target", ["//evil.example", "/slash//evil.example", "/slash/%2f%2fevil.example", "/slash/%5cevil.example", "/slash/.%2f/evil.example",
                                    "/group///evil.example", "/group/%2fevil.example/%2e%2e", "/self///evil.example"])
def test_no_redirect_to_another_site(echo, target):
    answer = visit(echo, target)
    if answer.status == 302:
        assert re.match(r"/([^/\\]|$)", answer.get("Location")), answer.get("Location")


def test_long_expansions(echo):
    """Each way a text may grow, with lengths around the marks of the buffers: an answer or an error, and no memory beyond a bound."""
    worker = echo.wait_workers(1)[0]
    before = procfs.rss(worker)
    for length in (1, 200, 255, 256, 257, 2047, 4095, 4096, 7000, 8100):
        for letter in ("a", "%20", "%41", "é".encode().decode("latin-1"), "%"):
            text = (letter * length)[:length] if letter != "%" else "%25" * (length // 3)
            for where in ("self", "many", "group", "up", "loop", "rest", "slash"):
                with echo.connect() as client:
                    client.send(f"GET /{where}/{text}?a={text[:3000]} HTTP/1.1\r\nHost: a\r\nCookie: c={text[:3000]}\r\nX-Any: {text[:3000]}\r\n\r\n".encode("latin-1"))
                    answer = client.read()
                    assert answer.status in (200, 302, 400, 404, 414, 431, 500, 502, 503), (where, length)
    assert procfs.rss(worker) < before + 64 * 1024 * 1024
    assert visit(echo, "/").status == 200


def test_what_strangers_say_in_logs(monoceros, tmp_path):
    """Every byte in each logged field of the edge, the upstream's own fields among them: a line stays a line of printable ASCII."""
    def answer(peer, head, body):
        number = int(re.search(rb"n=(\d+)", head)[1])
        byte = bytes([number]) if number in (9, *range(0x20, 0x7f), *range(0x80, 0x100)) else b"-"
        if b"/bad" in head:
            peer.send(b"HTTP/1.1 200 O" + bytes([number]) + b"K\nbad\r\n\r\n")
            peer.sock.close()
            return
        peer.send(b"HTTP/1.1 200 O" + byte + b"K\r\nX-Up: a" + byte + b"b\r\nContent-Length: 0\r\n\r\n")

    log = tmp_path / "access.log"
    format_ = "%(h)s %(r)s %(f)s %(a)s %({x-any}i)s %({x-up}o)s %(u)s %(U)s %(q)s end"
    answered = 0
    with Upstream(serving(answer)) as up:
        proxy = monoceros(config=site(up.text, top=f'accesslog = "{log}"\naccess_log_format = \'{format_}\'\nloglevel = debug'))
        for number in range(256):
            byte = bytes([number])
            user = base64.b64encode(b"me" + byte + b"\nforged:x")
            for target in (b"/?n=%d" % number, b"/bad?n=%d" % number, b"/%%%02xforged?n=%d&%%%02x" % (number, number, number), b"/" + byte + b"forged?n=%d" % number):
                for fields in (b"Referer: a" + byte + b"b\r\nUser-Agent: \"" + byte + b"\\\r\nX-Any: " + byte + b"x\r\nAuthorization: Basic " + user, b"A: b"):
                    with proxy.connect() as client:
                        client.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\nConnection: close\r\n\r\n")
                        try:
                            client.read()
                            answered += 1
                        except Closed:
                            pass
        proxy.stop()
    lines = log.read_bytes().split(b"\n")
    assert lines.pop() == b"" and len(lines) == answered > 1000
    for line in lines:
        assert re.fullmatch(rb"[\x20-\x7e]+", line) and line.endswith(b" end"), line
    for line in proxy.log_path.read_bytes().split(b"\n"):
        assert re.fullmatch(rb"[\t\x20-\x7e]*", line) and not line.startswith(b"forged"), line


# --- PROXY protocol

def v2(src="192.0.2.1", dst="192.0.2.2", sport=1111, dport=80, command=0x21, family=0x11, tlvs=b"", length=None):
    body = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", sport, dport) + tlvs
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


GOOD = {"v1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 80\r\n", "v2": v2(), "v2-tlv": v2(tlvs=tlv(2, b"name.example") + tlv(5, b"\x01\x02"))}
BAD = {
    "v1-lf": b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 80\n", "v1-long": b"PROXY TCP4 " + b"1" * 200 + b"\r\n", "v1-port": b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n",
    "v1-sign": b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 80\r\n", "v1-zero": b"PROXY TCP4 192.0.2.1 192.0.2.2 01 80\r\n", "v1-two": b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 80\r\n",
    "v1-nul": b"PROXY TCP4 192.0.2.1\0 192.0.2.2 1 80\r\n", "v1-family": b"PROXY TCP6 192.0.2.1 192.0.2.2 1 80\r\n", "v1-octal": b"PROXY TCP4 0300.0.2.1 192.0.2.2 1 80\r\n",
    "v1-short": b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "v1-more": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80 x\r\n", "v1-lower": b"proxy TCP4 192.0.2.1 192.0.2.2 1 80\r\n",
    "v2-version": v2(command=0x11), "v2-command": v2(command=0x22), "v2-family": v2(family=0x41), "v2-small": v2(length=11), "v2-huge": v2(length=65535),
    "v2-tlv-over": v2(tlvs=b"\x01\xff\xffab"), "v2-tlv-cut": v2(tlvs=b"\x01\x00"), "v2-crc": v2(tlvs=tlv(3, b"\0\0\0\1")), "v2-text": v2(tlvs=tlv(2, b"a\r\nforged")),
    "v2-ssl-short": v2(tlvs=tlv(0x20, b"\1")), "v2-ssl-inner": v2(tlvs=tlv(0x20, b"\1\0\0\0\0" + b"\x21\xff\xff")), "none": b"", "tls": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
}
SHOWS = """
worker_class = {worker}
keepalive = 20
proxy_protocol = auto
proxy_allow_ips = {"ALLOWED"}
forwarded_allow_ips = {"10.0.0.1"}
accesslog = "-"
server "s" { listen = "{address}"
    headers { response { set = {'X-Client: $remote_addr', 'X-Via: $proxy_protocol_addr', 'X-Name: $proxy_protocol_tlv_authority'} } }
    route "all" { respond { body = "seen" } } }
"""


def test_proxy_headers_of_trusted_peers(monoceros):
    site = monoceros(config=SHOWS.replace("ALLOWED", "127.0.0.1"))
    for name, header in GOOD.items():
        for step in (1, 1 << 20):
            with site.connect() as client:
                data = header + request("GET", "/")
                for at in range(0, len(data), step):
                    client.send(data[at:at + step])
                answer = client.read()
                assert answer.get("X-Client") == "192.0.2.1", name
                assert client.ask("GET", "/").get("X-Client") == "192.0.2.1"
                client.send(header + request("GET", "/"))       # never again in the middle of a connection
                assert client.read().status == 400 and client.ended()
    for name, header in BAD.items():
        with site.connect() as client:
            try:
                client.send(header + request("GET", "/")).half_close()
                answer = client.read()
            except OSError:
                pass
            except Closed as end:
                assert not end.partial, name
            else:
                raise AssertionError(f"{name}: {answer}")
    assert "forged" not in site.log()


def test_proxy_headers_of_strangers(monoceros):
    """A client that is not trusted is a client: its header is a bad request, its own address stays, and without one it is served."""
    site = monoceros(config=SHOWS.replace("ALLOWED", "10.9.9.9"))
    assert site.ask("GET", "/").get("X-Client") == "127.0.0.1"
    for name, header in {**GOOD, **BAD}.items():
        if name == "none":
            continue
        with site.connect() as client:
            client.send(header + request("GET", "/"))
            answer = client.read()
            assert answer.status >= 400, name
            assert client.ended()


# --- what the edge tells of itself

def test_pages_of_errors_tell_nothing(monoceros, tmp_path):
    with Upstream(serving(lambda peer, head, body: peer.send(b"nonsense\r\n\r\n"))) as up:
        site_ = monoceros(config=site(up.text, server='server_tokens = "off"', more=f"""
            route "files" {{ match {{ prefix = "/files/" }} static {{ root = "{tmp_path}" }} }}
            route "none"  {{ match {{ prefix = "/none/" }} proxy {{ to = "127.0.0.1:9" }} }}
            route "deny"  {{ match {{ prefix = "/deny/" }} access {{ deny = all }} respond {{ body = "" }} }}
            route "loop"  {{ match {{ prefix = "/loop/" }} rewrite {{ to = "/loop/x" }} }}
        """))
        statuses = set()
        for method, target in (("GET", "/"), ("GET", "/files/x"), ("GET", "/none/"), ("GET", "/deny/"), ("GET", "/loop/"), ("TRACE", "/"), ("CONNECT", "/"),
                               ("GET", "/%00"), ("POST", "/files/x")):
            with site_.connect() as client:
                client.send(request(method, target, headers=[("X-Secret", "in the request")]))
                answer = client.read(method)
            statuses.add(answer.status)
            page = answer.body.decode() + str(answer.headers)
            for word in (str(tmp_path), up.text, "127.0.0.1", "in the request", "monoceros", target if len(target) > 3 else "//"):
                assert word.lower() not in page.lower(), (target, word, page)
        assert {400, 403, 404, 405, 500, 502} <= statuses
        site_.stop()


def listening(pid):
    """Inodes of the TCP and unix sockets that listen among the descriptors of a process."""
    mine = {target[8:-1] for target in procfs.fds(pid).values() if target.startswith("socket:[")}
    found = set()
    for name, state, inode in (("tcp", 3, 9), ("tcp6", 3, 9), ("unix", 3, 6)):
        with open(f"/proc/{pid}/net/{name}", encoding="utf-8") as file:
            for words in map(str.split, list(file)[1:]):
                if words[inode] in mine and (words[state] == "0A" if name != "unix" else words[state] == "00010000"):
                    found.add(words[inode])
    return found


def test_nothing_listens_that_was_not_asked_for(monoceros):
    with Upstream(serving(lambda peer, head, body: peer.reply())) as up:
        proxy = monoceros(config=site(up.text))
        assert proxy.ask("GET", "/").status == 200
        until(lambda: proxy.workers(), "workers")
        for pid in (proxy.pid, *proxy.workers()):
            assert len(listening(pid)) == 1, procfs.fds(pid)
