"""A small PKI for the tests of TLS, made by the openssl command, and clients that know it."""

import shutil
import socket
import ssl

import pytest

from lib import server as under_test
from lib.pki import Pki


class Client:
    """A TLS connection that speaks HTTP/1.1: ask(path) gives (status, head, body)."""

    def __init__(self, address, context, name="localhost", session=None):
        raw = socket.create_connection(address, timeout=under_test.patience(20))
        try:
            self.tls = context.wrap_socket(raw, server_hostname=name, session=session, suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def ask(self, path="/", host=None, method="GET", body=b"", head=""):
        lines = f"{method} {path} HTTP/1.1\r\nHost: {host or self.name or 'localhost'}\r\nContent-Length: {len(body)}\r\n{head}\r\n"
        self.tls.sendall(lines.encode() + body)
        return self.read()

    def read(self):
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.tls.recv(65536)
            assert more, f"the end in the head: {data!r}"
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            more = self.tls.recv(262144)
            assert more, "the end in the body"
            body += more
        return int(head.split()[1]), head.decode(), body


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("no openssl command")
    if "tls" not in under_test.modules():
        pytest.skip("built without TLS")
    return Pki(tmp_path_factory.mktemp("pki")).make("ec", ["localhost", "127.0.0.1"]).make("rsa", ["localhost", "127.0.0.1"], kind="rsa")


@pytest.fixture
def context(pki):
    """Factory: context(cert="client") is an SSLContext that trusts the CA; versions by name."""

    def make(cert=None, ca="ca.pem", only=None, ciphers=None, alpn=None):
        made = ssl.create_default_context(cafile=pki[ca])
        if cert:
            made.load_cert_chain(pki[cert + ".pem"], pki[cert + ".key"])
        if only:
            made.minimum_version = made.maximum_version = only
        if ciphers:
            made.set_ciphers(ciphers)
        if alpn:
            made.set_alpn_protocols(alpn)
        return made

    return make
