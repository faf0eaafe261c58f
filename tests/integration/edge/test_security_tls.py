"""Keys and certificates that somebody made up (threats 14, 20, 21): forged tickets open nothing, and names in certificates are texts like any other."""

import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1])]
from lib.wire import open_socket  # noqa: E402
from tls.conftest import Client, context, pki  # noqa: E402,F401  fixtures

SITE = """
worker_class = {worker}
workers = 2
keepalive = 5
accesslog = "-"
server "a" { listen = "{address} tls"
    tls { certificate "x" { cert = "PKI/ec.pem" key = "PKI/ec.key" } MORE }
    headers { response { set = {'X-DN: $ssl_client_s_dn', 'X-SNI: $ssl_server_name'} } }
    route "all" { respond { body = "in" } } }
"""


def site_of(pki, more=""):
    return SITE.replace("PKI", str(pki.dir)).replace("MORE", more)


def test_tickets_that_were_changed(monoceros, pki, context):
    """Each byte of a ticket matters: changed sessions are new ones (or the end), never resumed."""
    site = monoceros(config=site_of(pki))
    made = context(only=ssl.TLSVersion.TLSv1_2)
    with Client(site.address, made) as c:
        assert c.ask()[0] == 200
    for position in (0, 15, 16, 31, 32, 80, -33, -32, -1):
        assert flip(site, pki, position) in ("New", "failed")
    assert flip(site, pki, None) == "Reused"


def flip(site, pki, position):
    """What openssl s_client says of a session whose ticket had one byte turned round."""
    target = ["-connect", f"127.0.0.1:{site.address[1]}", "-servername", "localhost", "-tls1_2"]
    path = pki.dir / "session.pem"
    subprocess.run(["openssl", "s_client", *target, "-sess_out", str(path)], input="", capture_output=True, text=True, timeout=60, check=True)
    der = ssl.PEM_cert_to_DER_cert(path.read_text().replace("SSL SESSION PARAMETERS", "CERTIFICATE"))
    shown = subprocess.run(["openssl", "sess_id", "-in", str(path), "-noout", "-text"], capture_output=True, text=True, timeout=60, check=True).stdout
    ticket = b"".join(bytes.fromhex(line.group(1).replace("-", " ")) for line in re.finditer(r"^ +[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){1,16})", shown, re.M))
    at = der.index(ticket[:48])
    assert len(ticket) > 100 and at > 0
    if position is not None:
        at += position % len(ticket)
        der = der[:at] + bytes([der[at] ^ 0x55]) + der[at + 1:]
    path.write_text(ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "SSL SESSION PARAMETERS"))
    done = subprocess.run(["openssl", "s_client", *target, "-sess_in", str(path)], input="", capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"^(New|Reused), TLSv1.2", done.stdout, re.M)
    return found[1] if found else "failed"


def test_names_in_certificates_are_texts(monoceros, pki, context):
    """A subject of line ends, quotes and escapes neither ends a field nor a line of the log."""
    for number, name in enumerate(["a\r\nX-Forged: yes", "b\n\nforged", "c\x1b[31m", 'd"\\,;=+<>#', "é\x7f"]):
        pki.make(f"evil{number}", subject="/CN=" + name.replace("\\", "\\\\").replace("+", "\\+"), extra="extendedKeyUsage=clientAuth\n")
        site = monoceros(config=site_of(pki, f'verify_client = on client_ca = "{pki["ca.pem"]}"'))
        with Client(site.address, context(f"evil{number}")) as c:
            status, head, body = c.ask()
            assert status == 200 and body == b"in" and "X-Forged" not in re.findall(r"^([\w-]+):", head, re.M), head
            assert re.fullmatch(r"(?:[\t\x20-\x7e\x80-\uffff]*\r\n)*[\t\x20-\x7e\x80-\uffff]*", head), head
        site.stop()
        assert all(re.fullmatch(r"[\t\x20-\x7e]*", line) and not line.startswith("forged") for line in site.log().splitlines())


def test_names_of_sni_that_are_none(monoceros, pki):
    """Server names with every odd byte: a handshake or none, and no line of theirs in a log."""
    site = monoceros(config=site_of(pki).replace('accesslog = "-"', 'accesslog = "-"\nloglevel = debug'))
    out = ssl.MemoryBIO()
    marker = "x" * 40 + ".example"
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=marker).do_handshake()
    hello = out.read()
    assert hello.count(marker.encode()) == 1
    for odd in (b"\0", b"\r\nforged", b"\x1b[31m", b"%s%n", b"*", b".", b"..", b"\xff", b"/", b"x" * 40):
        name = odd + marker.encode()[len(odd):]
        with open_socket(site.address) as sock:
            sock.sendall(hello.replace(marker.encode(), name))
            assert sock.recv(5)[:1] in (b"\x16", b"\x15")        # a ServerHello or an alert
    site.stop()
    assert all(re.fullmatch(r"[\t\x20-\x7e]*", line) and not line.startswith("forged") for line in site.log().splitlines())
