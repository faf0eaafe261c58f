"""HTTPS as its clients see it: certificates and names, versions, resumption, sizes, ends."""

import os
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from lib.fixtures import WORKERS
from lib import server as under_test
from tls.conftest import Client

HELLO = 'route "all" { respond { body = "hello" } }'


def one(pki, certs=("ec",), more="", route=HELLO):
    listed = " ".join(f'certificate "{c}" {{ cert = "{pki[c + ".pem"]}" key = "{pki[c + ".key"]}" }}' for c in certs)
    return f'worker_class = {{worker}}\nworkers = 1\nkeepalive = 5s\nserver "a" {{ listen = "{{address}} tls"\n tls {{ {listed} {more} }}\n{route} }}\n'


def reason(call):
    """The reason of the alert, or of what else OpenSSL has against it, as its constants are written."""
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        call()
    return str(caught.value).upper().replace(" ", "_")


def test_a_client_is_served(monoceros, pki, context):
    site = monoceros(config=one(pki))
    with Client(site.address, context(alpn=["http/1.1"])) as c:
        assert c.tls.version() == "TLSv1.3" and c.tls.selected_alpn_protocol() == "http/1.1"
        for _ in range(3):
            assert c.ask()[::2] == (200, b"hello")
    if shutil.which("curl"):
        done = subprocess.run(["curl", "-s", "--cacert", pki["ca.pem"], f"https://localhost:{site.address[1]}/"], capture_output=True, timeout=30)
        assert done.stdout == b"hello"


@pytest.mark.python
def test_gunicorns_settings(monoceros, pki, context):
    site = monoceros("tls_app:app", "-w", "1", "--certfile", pki["rsa.pem"], "--keyfile", pki["rsa.key"], "--ciphers", "ECDHE-RSA-AES256-GCM-SHA384")
    with Client(site.address, context(only=ssl.TLSVersion.TLSv1_2)) as c:
        assert c.tls.cipher()[0] == "ECDHE-RSA-AES256-GCM-SHA384"
        status, _, body = c.ask("/environ")
        facts = dict(line.split("=", 1) for line in body.decode().splitlines())
        assert status == 200 and facts["wsgi.url_scheme"] == "https" and facts["HTTPS"] == "on"
        assert facts["SSL_PROTOCOL"] == "TLSv1.2" and facts["SSL_TLS_SNI"] == "localhost" and "SSL_CLIENT_VERIFY" not in facts


@pytest.mark.python
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bodies_of_any_size(monoceros, pki, context, version):
    site = monoceros("tls_app:app", "-w", "1", "--keep-alive", "5", "--certfile", pki["ec.pem"], "--keyfile", pki["ec.key"])
    with Client(site.address, context(only=version)) as c:
        for n in (0, 1, 16383, 16384, 16385, 70000, 5_000_000):
            assert len(c.ask(f"/bytes/{n}")[2]) == n
        for n in (1, 16384, 100_000, 3_000_000):
            assert c.ask("/count", method="POST", body=os.urandom(n))[2] == str(n).encode()


def test_files_go_through(monoceros, pki, context, tmp_path):
    if "static" not in under_test.modules():
        pytest.skip("built without static")
    data = os.urandom(3_000_001)
    (tmp_path / "file.bin").write_bytes(data)
    site = monoceros(config=one(pki, route=f'route "all" {{ static {{ root = "{tmp_path}" }} }}'))
    with Client(site.address, context()) as c:
        for _ in range(2):
            assert c.ask("/file.bin")[2] == data


def test_a_slow_reader_gets_it_all(monoceros, pki, context, tmp_path):
    if "static" not in under_test.modules():
        pytest.skip("built without static")
    data = os.urandom(2_000_000)
    (tmp_path / "file.bin").write_bytes(data)
    site = monoceros(config=one(pki, route=f'route "all" {{ static {{ root = "{tmp_path}" }} }}'))
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(under_test.patience(30))
    raw.connect(site.address)
    with context().wrap_socket(raw, server_hostname="localhost") as tls:
        tls.sendall(b"GET /file.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = b""
        while more := tls.recv(9999):
            got += more
            if len(got) % 7 == 0:
                time.sleep(0.001)
    assert got.partition(b"\r\n\r\n")[2] == data


def test_rsa_and_ecdsa_side_by_side(monoceros, pki, context):
    site = monoceros(config=one(pki, ["ec", "rsa"]))
    for kind in ("ECDSA", "RSA"):
        with Client(site.address, context(only=ssl.TLSVersion.TLSv1_2, ciphers=f"ECDHE-{kind}-AES128-GCM-SHA256")) as c:
            assert kind in c.tls.cipher()[0] and c.ask()[2] == b"hello"


def test_versions(monoceros, pki, context):
    site = monoceros(config=one(pki, more="protocols = TLSv1.3"))
    refused = reason(lambda: Client(site.address, context(only=ssl.TLSVersion.TLSv1_2)))
    assert "PROTOCOL_VERSION" in refused
    with Client(site.address, context()) as c:
        assert c.ask()[0] == 200


def test_alpn_that_nobody_speaks_is_refused(monoceros, pki, context):
    site = monoceros(config=one(pki))
    for offered in (["smtp"], ["spdy/3"], ["h3", "http/1.0"]):
        assert "NO_APPLICATION_PROTOCOL" in reason(lambda: Client(site.address, context(alpn=offered)))
    for offered, chosen in ((["spdy/3", "http/1.1"], "http/1.1"), (None, None)):
        with Client(site.address, context(alpn=offered)) as c:
            assert c.tls.selected_alpn_protocol() == chosen and c.ask()[0] == 200


NAMES = """
worker_class = {worker}
server "first"  { listen = "{address} tls"  names = "localhost"      tls { certificate "x" { cert = "PKI/ec.pem" key = "PKI/ec.key" } SNI }
                  route "all" { respond { body = "first" } } }
server "second" { listen = "{address} tls"  names = {"b.test", "*.wild.test"}  tls { certificate "x" { cert = "PKI/second.pem" key = "PKI/second.key" } }
                  route "all" { respond { body = "second" } } }
"""


@pytest.fixture
def names(pki):
    if not (pki.dir / "second.pem").exists():
        pki.make("second", ["b.test", "*.wild.test"])
    return NAMES.replace("PKI", str(pki.dir))


def subject(client):
    return dict(pair[0] for pair in client.tls.getpeercert()["subject"])["commonName"]


def test_the_name_chooses_the_certificate(monoceros, names, context):
    site = monoceros(config=names.replace("SNI", ""))
    loose = context()
    loose.check_hostname = False
    for name, expected in (("localhost", "ec"), ("b.test", "second"), ("x.wild.test", "second"), ("B.TEST", "second"), ("unknown.test", "ec"), (None, "ec")):
        with Client(site.address, loose, name=name) as c:
            assert subject(c) == expected, name
            assert c.ask(host=name or "localhost")[2] == (b"second" if expected == "second" else b"first")


def test_unknown_names_are_refused_when_strict(monoceros, names, context):
    site = monoceros(config=names.replace("SNI", "sni = strict"))
    loose = context()
    loose.check_hostname = False
    for name in ("unknown.test", "wild.test", None):
        assert "UNRECOGNIZED_NAME" in reason(lambda name=name: Client(site.address, loose, name=name))
    for name in ("localhost", "b.test", "x.wild.test"):
        with Client(site.address, loose, name=name) as c:
            assert c.ask()[0] == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_in_every_worker(monoceros, pki, context, version):
    site = monoceros(config=one(pki).replace("workers = 1", "workers = 3"))
    site.wait_workers(3)
    made = context(only=version)
    with Client(site.address, made) as c:
        assert not c.tls.session_reused and c.ask()[0] == 200
        session = c.tls.session
    assert session.has_ticket
    for _ in range(12):
        with Client(site.address, made, session=session) as c:
            assert c.tls.session_reused and c.ask()[0] == 200
            session = c.tls.session


def test_machines_share_ticket_keys(monoceros, pki, context):
    for name, size in (("new.tk", 80), ("old.tk", 48)):
        (pki.dir / name).write_bytes(os.urandom(size))
    keys = f'ticket_keys = {{"{pki["new.tk"]}", "{pki["old.tk"]}"}}'
    before = monoceros(config=one(pki, more=f'ticket_keys = "{pki["old.tk"]}"'))
    here, there = monoceros(config=one(pki, more=keys)), monoceros(config=one(pki, more=keys))
    made = context()
    for first in (before, here):
        with Client(first.address, made) as c:
            assert c.ask()[0] == 200
            session = c.tls.session
        with Client(there.address, made, session=session) as c:
            assert c.tls.session_reused


def test_no_tickets(monoceros, pki, context):
    site = monoceros(config=one(pki, more="tickets = no"))
    made = context()
    with Client(site.address, made) as c:
        assert c.ask()[0] == 200
        session = c.tls.session
    with Client(site.address, made, session=session) as c:
        assert not c.tls.session_reused and c.ask()[0] == 200


def test_plain_http_is_told(monoceros, pki):
    site = monoceros(config=one(pki))
    with socket.create_connection(site.address, timeout=under_test.patience(20)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000 + b"\r\n\r\n")
        answer = b""
        while more := raw.recv(4096):
            answer += more
    assert answer.startswith(b"HTTP/1.1 400 ") and b"plain HTTP request was sent to an HTTPS" in answer


def test_noise_is_refused(monoceros, pki, context):
    site = monoceros(config=one(pki))
    for noise in (b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"\xff" * 70000, b"\x80\x2e\x01\x00\x02" + b"\x00" * 60, b"\r\n\r\n"):
        with socket.create_connection(site.address, timeout=under_test.patience(20)) as raw:
            try:
                raw.sendall(noise)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(4096):
                    pass
            except OSError:    # it may have left before we say that we end
                pass
    with Client(site.address, context()) as c:
        assert c.ask()[0] == 200


def test_the_end_is_told(monoceros, pki, context):
    site = monoceros(config=one(pki))
    with Client(site.address, context()) as c:
        assert "connection: close" in c.ask(head="Connection: close\r\n")[1].lower()
        assert c.tls.recv(1) == b""     # without close_notify this would raise


def test_who_only_stops_sending_is_answered(monoceros, pki, context):
    site = monoceros(config=one(pki))
    with Client(site.address, context()) as c:
        c.tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        socket.socket.shutdown(c.tls, socket.SHUT_WR)
        assert c.read()[2] == b"hello"


@pytest.mark.python
def test_a_cut_body_is_no_body(monoceros, pki, context):
    site = monoceros("tls_app:app", "-w", "1", "--certfile", pki["ec.pem"], "--keyfile", pki["ec.key"])
    with Client(site.address, context()) as c:
        c.tls.sendall(b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        socket.socket.shutdown(c.tls, socket.SHUT_WR)
        assert c.read()[0] == 400


@pytest.mark.python
def test_an_app_may_be_a_client_of_its_own(monoceros, pki, context):
    site = monoceros("tls_app:app", "-w", "1", "--certfile", pki["ec.pem"], "--keyfile", pki["ec.key"])
    other = monoceros(config=one(pki).replace("{worker}", WORKERS[-1]))
    with Client(site.address, context()) as c:
        for _ in range(3):
            status, _, body = c.ask(f"/fetch?{other.address[1]}", head=f"X-CA: {pki['ca.pem']}\r\n")
            assert (status, body) == (200, b"hello")
            if site.command[-1] == "sync":
                break


def test_slow_handshakes_end(monoceros, pki, context):
    site = monoceros(config=one(pki, more="handshake_timeout = 100ms"))
    with socket.create_connection(site.address, timeout=under_test.patience(20)) as raw:
        raw.sendall(b"\x16\x03\x01")
        assert raw.recv(1) == b""
    with Client(site.address, context()) as c:
        assert c.ask()[0] == 200


def test_too_many_handshakes_push_out_the_oldest(monoceros, pki, context):
    site = monoceros(config=one(pki, more="handshakes = 4"))
    idle = [socket.create_connection(site.address, timeout=under_test.patience(20)) for _ in range(10)]
    for raw in idle[:6]:
        assert raw.recv(1) == b""
    with Client(site.address, context()) as c:
        assert c.ask()[0] == 200
    for raw in idle:
        raw.close()


WRONG = [
    ('cert = "PKI/ec.pem" key = "PKI/rsa.key"', ":4: tls: key PKI/rsa.key does not belong to certificate PKI/ec.pem"),
    ('cert = "PKI/none.pem"', ":4: tls: cannot read certificate PKI/none.pem: No such file or directory"),
    ('cert = "PKI/ec.key"', "tls: there is no certificate (PEM) in PKI/ec.key"),
    ('cert = "PKI/ec.pem"', "tls: there is no private key (PEM) in PKI/ec.pem"),
    ('cert = "PKI/ec.pem" key = "PKI/locked.key"', "tls: key PKI/locked.key is locked with a passphrase, which nobody can give here"),
    ('key = "PKI/ec.key"', 'certificate "x" needs cert = FILE'),
    ('cert = "PKI/ec.pem" key = "PKI/ec.key" } certificate "y" { cert = "PKI/ec.pem" key = "PKI/ec.key"', "is of the same kind as another one of this server"),
]
SETTINGS = [
    ("verify_client = on", "verify_client = on needs client_ca = FILE"),
    ("verify_client = maybe", "expected off, optional, on or optional_no_ca, not 'maybe'"),
    ("protocols = TLSv1.1", "expected TLSv1.2 or TLSv1.3, not 'TLSv1.1'"),
    ("ciphers = nonsense", "tls: ciphers nonsense: no cipher match"),
    ("groups = nonsense", "tls: groups nonsense: "),
    ('ticket_keys = "PKI/ec.pem"', "80 or 48 random ones are needed"),
    ('client_ca = "PKI/ec.key" verify_client = on', "tls: there is no certificate (PEM) in PKI/ec.key"),
]


@pytest.mark.parametrize("certificate,settings,message", [(c, "", m) for c, m in WRONG] +
                         [('cert = "PKI/ec.pem" key = "PKI/ec.key"', s, m) for s, m in SETTINGS])
def test_mistakes_are_found_at_once(pki, tmp_path, certificate, settings, message):
    if not (pki.dir / "locked.key").exists():
        subprocess.run(["openssl", "ec", "-in", pki["ec.key"], "-aes256", "-passout", "pass:secret", "-out", pki["locked.key"]], check=True, capture_output=True)
    path = tmp_path / "t.conf"
    text = f'\nserver "a" {{ listen = "127.0.0.1:1 tls"\n tls {{ {settings}\n certificate "x" {{ {certificate} }} }}\n {HELLO} }}\n'
    path.write_text(text.replace("PKI", str(pki.dir)))
    done = under_test.run("-c", path, "--check-config")
    assert done.returncode == 1 and message.replace("PKI", str(pki.dir)) in done.stderr, done.stderr


def test_a_server_needs_a_certificate(tmp_path):
    path = tmp_path / "t.conf"
    path.write_text(f'server "a" {{ listen = "127.0.0.1:1 tls" {HELLO} }}\n')
    done = under_test.run("-c", path, "--check-config")
    assert done.returncode == 1 and 't.conf:1: server "a" listens at 127.0.0.1:1 tls and has no certificate' in done.stderr, done.stderr


def test_keys_that_others_may_read_are_told(monoceros, pki):
    shutil.copy(pki["ec.key"], pki["open.key"])
    os.chmod(pki["open.key"], 0o644)
    site = monoceros(config=one(pki).replace("ec.key", "open.key"))
    site.wait_log("open.key can be read by others than its owner \\(mode 0644\\)")


def test_workers_need_not_read_keys(monoceros, pki, context):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    site = monoceros(config='user = "nobody"\n' + one(pki))
    with Client(site.address, context()) as c:
        assert c.ask()[0] == 200
    for pid in site.workers():
        links = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
        assert not [link for link in links if "secrets" in link or str(pki.dir) in link], links


def test_the_normal_form_is_the_same_server(pki, tmp_path):
    path = tmp_path / "t.conf"
    text = one(pki, ["ec", "rsa"], "sni = strict ticket_lifetime = 1h")
    path.write_text(text.replace("{worker}", WORKERS[0]).replace("{address}", "127.0.0.1:1"))
    first = under_test.run("-c", path, "--print-config")
    assert first.returncode == 0, first.stderr
    path.write_text(first.stdout)
    again = under_test.run("-c", path, "--print-config")
    assert under_test.without_origins(again.stdout) == under_test.without_origins(first.stdout) and "sni = 'strict'" in first.stdout
