"""Client certificates, and that a session or a connection of one server opens no door of another."""

import ssl
import subprocess

import pytest

from tls.conftest import Client
from tls.test_tls import reason

ROUTE = 'route "all" { respond { body = "in" } }'


@pytest.fixture(scope="session")
def clients(pki):
    pki.make("joe", subject="/O=Example/CN=joe", extra="extendedKeyUsage=clientAuth\n")
    pki.make("gone", subject="/CN=gone", extra="extendedKeyUsage=clientAuth\n")
    pki.ca("other")
    pki.make("stranger", subject="/CN=stranger", ca="other")
    pki.crl("crl.pem", "gone")
    return pki


def site_of(pki, more, route=ROUTE):
    return (f'worker_class = {{worker}}\nworkers = 1\nkeepalive = 5s\nserver "a" {{ listen = "{{address}} tls"\n'
            f' tls {{ certificate "x" {{ cert = "{pki["ec.pem"]}" key = "{pki["ec.key"]}" }} {more.replace("PKI", str(pki.dir))} }}\n{route} }}\n')


def visit(site, context, **kwargs):
    """Status of a request: TLS 1.3 tells a client only then that its certificate was refused."""
    with Client(site.address, context, **kwargs) as c:
        return c.ask()[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificates_are_required(monoceros, clients, context, version):
    site = monoceros(config=site_of(clients, 'verify_client = on client_ca = "PKI/ca.pem"'))
    assert "CERTIFICATE_REQUIRED" in reason(lambda: visit(site, context(only=version))) or version == ssl.TLSVersion.TLSv1_2
    assert "UNKNOWN_CA" in reason(lambda: visit(site, context("stranger", only=version)))
    assert visit(site, context("joe", only=version)) == 200


def test_certificates_are_optional(monoceros, clients, context):
    site = monoceros(config=site_of(clients, 'verify_client = optional client_ca = "PKI/ca.pem"'))
    assert visit(site, context()) == 200
    assert visit(site, context("joe")) == 200
    assert reason(lambda: visit(site, context("stranger")))


def test_revoked_ones_are_refused(monoceros, clients, context):
    site = monoceros(config=site_of(clients, 'verify_client = on client_ca = "PKI/ca.pem" client_crl = "PKI/crl.pem"'))
    assert visit(site, context("joe")) == 200
    assert "REVOKED" in reason(lambda: visit(site, context("gone")))


@pytest.mark.python
def test_apps_learn_of_them(monoceros, clients, context):
    site = monoceros("tls_app:app", "-w", "1", "--certfile", clients["ec.pem"], "--keyfile", clients["ec.key"], "--ca-certs", clients["ca.pem"],
                     "--cert-reqs", "2")
    with Client(site.address, context("joe")) as c:
        facts = dict(line.split("=", 1) for line in c.ask("/environ", head="SSL_CLIENT_S_DN: CN=root\r\nSSL-Client-S-DN: CN=root\r\n")[2].decode().splitlines())
    assert facts["SSL_CLIENT_VERIFY"] == "SUCCESS" and facts["SSL_CLIENT_S_DN"] == "CN=joe,O=Example" and facts["SSL_CLIENT_I_DN"] == "CN=Test ca"
    shown = subprocess.run(["openssl", "x509", "-in", clients["joe.pem"], "-noout", "-serial", "-fingerprint", "-sha256"], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    assert facts["SSL_CLIENT_M_SERIAL"] == shown[0].partition("=")[2]
    assert facts["SSL_CLIENT_FINGERPRINT"] == shown[1].partition("=")[2].replace(":", "").lower()
    assert facts["SSL_CLIENT_CERT"].startswith("-----BEGIN CERTIFICATE-----") and "GMT" in facts["SSL_CLIENT_V_END"]


@pytest.mark.python
def test_unchecked_ones_are_told(monoceros, clients, context):
    site = monoceros(config=site_of(clients, "verify_client = optional_no_ca", 'route "all" { app = x }') +
                     'app "x" { type = wsgi module = "tls_app:app" }\n')
    for cert, verify in (("stranger", "FAILED:"), (None, "NONE")):
        with Client(site.address, context(cert)) as c:
            facts = dict(line.split("=", 1) for line in c.ask("/environ")[2].decode().splitlines())
            assert facts["SSL_CLIENT_VERIFY"].startswith(verify)


def test_resumed_sessions_keep_their_client(monoceros, clients, context):
    site = monoceros(config=site_of(clients, 'verify_client = on client_ca = "PKI/ca.pem"'))
    made = context("joe")
    with Client(site.address, made) as c:
        assert c.ask()[0] == 200
        session = c.tls.session
    with Client(site.address, made, session=session) as c:
        assert c.tls.session_reused and c.ask()[0] == 200


TWO = """
worker_class = {worker}
workers = 2
keepalive = 5s
server "open" { listen = "{address} tls" names = "localhost" tls { certificate "x" { cert = "PKI/ec.pem" key = "PKI/ec.key" } }
    route "all" { respond { body = "open" } } }
server "alike" { listen = "{address} tls" names = "alike.test" tls { certificate "x" { cert = "PKI/ec.pem" key = "PKI/ec.key" } }
    route "all" { respond { body = "alike" } } }
server "closed" { listen = "{address} tls" names = "closed.test"
    tls { certificate "x" { cert = "PKI/ec.pem" key = "PKI/ec.key" } verify_client = on client_ca = "PKI/ca.pem" }
    route "all" { respond { body = "closed" } } }
"""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_one_server_is_worth_nothing_in_another(monoceros, clients, context, version):
    site = monoceros(config=TWO.replace("PKI", str(clients.dir)))
    loose = context(only=version)
    loose.check_hostname = False
    with Client(site.address, loose, name="localhost") as c:
        assert c.ask()[2] == b"open"
        session = c.tls.session
    with Client(site.address, loose, name="localhost", session=session) as c:
        assert c.tls.session_reused
    assert reason(lambda: visit(site, loose, name="closed.test", session=session))
    with Client(site.address, loose, name="alike.test", session=session) as c:
        assert not c.tls.session_reused and c.ask()[2] == b"alike"
    # and a guest of the closed one is a nobody in the open one
    joe = context("joe", only=version)
    joe.check_hostname = False
    with Client(site.address, joe, name="closed.test") as c:
        assert c.ask()[2] == b"closed"
        session = c.tls.session
    with Client(site.address, joe, name="localhost", session=session) as c:
        assert not c.tls.session_reused and c.ask()[2] == b"open"


def test_requests_for_a_server_with_other_demands_are_misdirected(monoceros, clients, context):
    site = monoceros(config=TWO.replace("PKI", str(clients.dir)))
    loose = context("joe")
    loose.check_hostname = False
    with Client(site.address, loose, name="localhost") as c:
        assert c.ask(host="alike.test")[::2] == (200, b"alike")
        assert c.ask(host="closed.test")[0] == 421
        assert c.ask(host="localhost")[::2] == (200, b"open")
    with Client(site.address, loose, name="closed.test") as c:
        assert c.ask()[::2] == (200, b"closed")
        assert c.ask(host="localhost")[0] == 421
