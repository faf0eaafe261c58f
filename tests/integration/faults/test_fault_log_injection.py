"""Whatever bytes a client sends, a line of a log is a line, in printable ASCII."""

import base64
import re

import pytest

from lib import wire

pytestmark = pytest.mark.python

ACCESS = re.compile(rb'[\x20-\x7e]+')
FORGED = re.compile(rb"^(?!\[)(forged|.*\[CRITICAL\] forged)", re.MULTILINE)


def send(site, data):
    with site.connect() as client:
        client.send(data)
        try:
            return client.read().status
        except wire.Closed:
            return None


def test_every_byte_in_every_logged_field(monoceros, tmp_path):
    log = tmp_path / "access"
    site = monoceros("basic:app", "--access-logfile", log, "--access-logformat", "%(h)s %(u)s %(r)s %(f)s %(a)s %({x-any}i)s %(U)s %(q)s end",
                     "--log-level", "debug", expect_errors=True)
    answered = 0
    for number in range(256):
        byte = bytes([number])
        user = base64.b64encode(b"me" + byte + b"\n127.0.0.1 forged:secret")
        fields = (b"Referer: a" + byte + b"b\r\nUser-Agent: \"" + byte + b"\\\r\nX-Any: %s" % byte + b"x\r\nAuthorization: Basic " + user)
        for target in (b"/fails", b"/fails?q=" + byte + b"x", b"/fails" + byte + b"forged", b"/fails%%%02x%%0aforged?%%0a" % number):
            for head in (fields, b"A: b"):
                answered += send(site, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + head + b"\r\nConnection: close\r\n\r\n") is not None
    site.stop()
    lines = log.read_bytes().split(b"\n")
    assert lines.pop() == b"" and answered and len(lines) == answered
    assert all(ACCESS.fullmatch(line) and line.endswith(b" end") for line in lines)
    assert not FORGED.search(site.log_path.read_bytes())
    assert b"\x1b" not in site.log_path.read_bytes()
