"""Who the client is when others stand between: the PROXY protocol and headers of trusted proxies."""

import socket
import struct

import pytest

from lib.wire import Closed, WireError, request

BODY = "'$remote_addr|$realip_remote_addr|$proxy_protocol_addr:$proxy_protocol_port|$scheme|$http_x_forwarded_for|$http_forwarded|$proxy_protocol_tlv_authority'"
SITES = """
pool "web" { worker_class = {worker}  workers = 1  keepalive = 5s }
server "main" {
    listen = "{address}"
    OPTIONS
    route "all" { respond { body = BODY } }
}
""".replace("BODY", BODY)


def site(monoceros, options, *arguments):
    return monoceros(*arguments, config=SITES.replace("OPTIONS", options))


def ask(server, prefix=b"", headers=(), count=1):
    with server.connect() as connection:
        answers = []
        for i in range(count):
            connection.send((prefix if i == 0 else b"") + request("GET", "/", headers))
            answers.append(connection.read().text.split("|"))
        return answers[-1]


V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 443\r\n"


def v2(command=0x21, family=0x11, payload=None, tlvs=b""):
    if payload is None:
        payload = socket.inet_aton("203.0.113.5") + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 777, 80)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + struct.pack(">H", len(payload) + len(tlvs)) + payload + tlvs


def refused(server, data):
    """The connection ends, with a 400 at most."""
    with server.connect() as connection:
        connection.send(data)
        try:
            assert connection.read().status == 400
        except (Closed, WireError, ConnectionError):
            pass


def test_both_versions(monoceros):
    server = site(monoceros, "proxy_protocol = auto")
    assert ask(server, V1)[:3] == ["192.0.2.7", "127.0.0.1", "192.0.2.7:5555"]
    assert ask(server, V1, count=3)[:3] == ["192.0.2.7", "127.0.0.1", "192.0.2.7:5555"]     # on later requests, too
    assert ask(server, v2(tlvs=b"\2\0\4name"))[::6] == ["203.0.113.5", "name"]
    v6 = socket.inet_pton(socket.AF_INET6, "2001:db8::9") + bytes(16) + struct.pack(">HH", 1, 2)
    assert ask(server, v2(family=0x21, payload=v6))[0] == "2001:db8::9"
    assert ask(server, v2(tlvs=b"\x20\0\5\1\0\0\0\0"))[3] == "https"
    for local in (b"PROXY UNKNOWN\r\n", v2(command=0x20, family=0, payload=b"")):
        assert ask(server, local)[:3] == ["127.0.0.1", "127.0.0.1", ":"]


def test_byte_by_byte(monoceros):
    server = site(monoceros, "proxy_protocol = auto")
    for header in (V1, v2()):
        with server.connect() as connection:
            for byte in header:
                connection.send(bytes([byte]))
            connection.send(request("GET", "/"))
            assert connection.read().text.split("|")[0] in ("192.0.2.7", "203.0.113.5")


def test_what_is_no_header_is_refused(monoceros):
    server = site(monoceros, "proxy_protocol = v1")
    wrong = [request("GET", "/"), v2() + request("GET", "/"), b"PROXY TCP4 1.2.3.4\r\n" + request("GET", "/"), b"PROXY " + b"x" * 200,
             b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 70000\r\n" + request("GET", "/")]
    for data in wrong:
        refused(server, data)
    assert ask(server, V1)[0] == "192.0.2.7"


def test_never_in_the_middle_of_a_connection(monoceros):
    server = site(monoceros, "proxy_protocol = auto")
    with server.connect() as connection:
        connection.send(V1 + request("GET", "/"))
        assert connection.read().status == 200
        connection.send(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n" + request("GET", "/"))
        assert connection.read().status == 400


def test_only_from_peers_that_may(monoceros):
    server = site(monoceros, "proxy_protocol = auto  proxy_allow_ips = {\"10.0.0.0/8\"}")
    refused(server, V1 + request("GET", "/"))
    refused(server, v2() + request("GET", "/"))
    assert ask(server)[0] == "127.0.0.1"


FORWARDED = [
    ("X-Forwarded-For", "198.51.100.9", "198.51.100.9"),
    ("X-Forwarded-For", "1.1.1.1, 198.51.100.9, 10.1.1.1, 10.2.2.2", "198.51.100.9"),
    ("X-Forwarded-For", "198.51.100.9:4711, 10.1.1.1", "198.51.100.9"),
    ("X-Forwarded-For", "[2001:db8::1]:80", "2001:db8::1"),
    ("X-Forwarded-For", "2001:db8::1", "2001:db8::1"),
    ("X-Forwarded-For", "198.51.100.9, junk, 10.1.1.1", "10.1.1.1"),
    ("X-Forwarded-For", "junk", "127.0.0.1"),
    ("X-Forwarded-For", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
    ("Forwarded", "for=198.51.100.9;proto=https, for=10.1.1.1", "198.51.100.9"),
    ("Forwarded", 'For="[2001:db8::1]:4711"', "2001:db8::1"),
    ("Forwarded", 'by=x;for="198.51.100.9, x"', "127.0.0.1"),
    ("Forwarded", "for=198.51.100.9, for=unknown, for=10.1.1.1", "10.1.1.1"),
]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_the_client_of_trusted_proxies(monoceros, header):
    server = site(monoceros, f'real_ip_header = "{header}"  forwarded_allow_ips = {{"127.0.0.1", "10.0.0.0/8"}}')
    for name, value, client in FORWARDED:
        if name == header:
            assert ask(server, headers=[(name, value)])[:2] == [client, "127.0.0.1"], value
    if header == "Forwarded":
        assert ask(server, headers=[("Forwarded", "for=198.51.100.9;proto=https")])[3] == "https"
    else:
        assert ask(server, headers=[(header, "198.51.100.9"), (header, "10.1.1.1")])[0] == "198.51.100.9"


def test_strangers_lose_their_fields(monoceros):
    server = site(monoceros, 'real_ip_header = "X-Forwarded-For"  forwarded_allow_ips = {"10.0.0.1"}')
    answer = ask(server, headers=[("X-Forwarded-For", "1.1.1.1"), ("Forwarded", "for=1.1.1.1"), ("X-Forwarded-Proto", "https")])
    assert answer[0] == "127.0.0.1" and answer[3:6] == ["http", "", ""]


def test_without_the_setting_nothing_is_believed(monoceros):
    server = site(monoceros, "")
    answer = ask(server, headers=[("X-Forwarded-For", "1.1.1.1")])
    assert answer[0] == "127.0.0.1" and answer[4] == "1.1.1.1"


def test_a_proxied_client_is_the_one_that_counts(monoceros):
    """Trust in headers is in the client that the balancer names, not in the balancer: it passes on what its clients send."""
    server = site(monoceros, 'proxy_protocol = v1  real_ip_header = "X-Forwarded-For"')
    assert ask(server, V1, [("X-Forwarded-For", "1.1.1.1")])[0] == "192.0.2.7"
    assert ask(server, V1.replace(b"192.0.2.7", b"127.0.0.1"), [("X-Forwarded-For", "1.1.1.1")])[0] == "1.1.1.1"


def test_the_access_log_sees_the_client(monoceros):
    server = site(monoceros, "proxy_protocol = v1", "--access-logfile", "-")
    assert ask(server, V1)[0] == "192.0.2.7"
    server.wait_log(r"192\.0\.2\.7 - ")


@pytest.mark.python
def test_apps_see_the_client(monoceros):
    server = monoceros("wsgi.probe:app", "--real-ip-header", "X-Forwarded-For")
    environ = server.ask("GET", "/", [("X-Forwarded-For", "198.51.100.9")]).text
    assert "198.51.100.9" in environ
    assert "198.51.100.9" not in server.ask("GET", "/").text
    plain = monoceros("wsgi.probe:app")         # as in Gunicorn: whoever has connected
    assert "'REMOTE_ADDR': '127.0.0.1'" in plain.ask("GET", "/", [("X-Forwarded-For", "198.51.100.9")]).text.replace('"', "'")
