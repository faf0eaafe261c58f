"""Settings of TLS that would be passed over, or protect nothing, are errors that say what to do."""

import pytest

from lib.server import run

PLAIN = 'server "main" { listen = "127.0.0.1:0"  route "all" { respond { body = "hello" } } }\n'


def secure(more=""):
    return 'server "main" { listen = "127.0.0.1:0 tls"  %s  route "all" { respond { body = "hello" } } }\n' % more


def check(place, text, *more):
    path = place / "test.conf"
    path.write_text(text)
    return run("-c", path, "--check-config", *more, cwd=place)


@pytest.mark.parametrize("written", [False, True], ids=["command line", "file"])
def test_a_certfile_that_nobody_takes(pki, tmp_path, written):
    pair = ("--certfile", pki["ec.pem"], "--keyfile", pki["ec.key"])
    top = f'certfile = "{pki["ec.pem"]}"\nkeyfile = "{pki["ec.key"]}"\n' if written else ""
    more = () if written else pair
    done = check(tmp_path, top + PLAIN, *more)
    assert done.returncode == 1 and "certfile: no server listens with TLS: write 'tls' behind an address" in done.stderr, done.stderr
    section = 'tls { certificate "a" { cert = "%s"  key = "%s" } }' % (pki["rsa.pem"], pki["rsa.key"])
    done = check(tmp_path, top + secure(section), *more)
    assert done.returncode == 1 and "certfile: the servers that listen with TLS have certificates in tls sections" in done.stderr, done.stderr
    # One server that takes it is enough, and so is none that is written.
    done = check(tmp_path, top + PLAIN + secure().replace("main", "other").replace("127.0.0.1", "127.0.0.2"), *more)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [48, 80])
def test_ticket_keys_of_zeros(pki, tmp_path, size):
    (tmp_path / "zeros").write_bytes(bytes(size))
    (tmp_path / "named").write_bytes(b"x" * 16 + bytes(size - 16))
    (tmp_path / "good").write_bytes(b"x" * 16 + bytes(size - 17) + b"y")
    pair = 'certificate "a" { cert = "%s"  key = "%s" }' % (pki["ec.pem"], pki["ec.key"])
    for name in ("zeros", "named"):
        done = check(tmp_path, secure('tls { %s  ticket_keys = {"good", "%s"} }' % (pair, name)))
        assert done.returncode == 1 and "is all zeros, which anybody can guess" in done.stderr and name in done.stderr, done.stderr
    done = check(tmp_path, secure('tls { %s  ticket_keys = {"good"} }' % pair))
    assert done.returncode == 0, done.stderr


@pytest.mark.python
@pytest.mark.parametrize("text, words", [
    ("\ncertfile = 'none.pem'\n", "site.py:2: tls: cannot read certificate none.pem: No such file or directory"),
    ("certfile = '{cert}'\ncert_reqs = 2\n", "site.py:1: cert_reqs needs ca_certs"),
])
def test_the_line_of_gunicorns_settings(pki, tmp_path, text, words):
    (tmp_path / "site.py").write_text(text.replace("{cert}", pki["ec.pem"]), encoding="utf-8")
    done = run("-c", "site.py", "--check-config", "site_app:app", cwd=tmp_path)
    assert done.returncode == 1 and words in done.stderr, done.stderr
