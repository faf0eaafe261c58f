"""What goes wrong in Gunicorn 26.1 in requests and responses, in the same run here: docs/gunicorn-defects.md has the table.

Command lines, files and signals are Gunicorn's, so that MONOCEROS=.../gunicorn MONOCEROS_WITH_PYTHON=yes runs them there.
"""

import base64
import json

import pytest

from lib import wire

pytestmark = [pytest.mark.python, pytest.mark.workers("gthread")]

APP = """
import json
def app(environ, start_response):
    path = environ["PATH_INFO"]
    environ["wsgi.input"].read()
    fields = [("Content-Type", "text/plain")]
    if path == "/short":
        fields.append(("Content-Length", "10"))
    if path == "/split":
        fields.append(("X-Split", "a\\r\\nX-Other: b"))
    start_response("200 OK", fields)
    return [json.dumps({key: environ[key] for key in ("REMOTE_ADDR", "REMOTE_PORT") if key in environ}).encode() if path == "/who" else b"four"]
"""
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


@pytest.fixture
def site(monoceros, tmp_path):
    def start(*arguments):
        (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
        return monoceros("shop:app", *arguments, cwd=tmp_path, expect_errors=True)
    return start


def who(client):
    client.send(wire.request("GET", "/who"))
    answer = client.read()
    assert answer.status == 200
    return json.loads(answer.text)


def test_fewer_bytes_than_were_promised(site):
    """Who waits for the rest must not do so for `keepalive`."""
    with site("--keep-alive", "60").connect() as client:
        client.send(wire.request("GET", "/short"))
        with pytest.raises(wire.Closed) as closed:
            client.read()
        assert closed.value.partial


def test_a_field_of_the_app_with_a_line_end(site):
    assert site().ask("GET", "/split").status == 500


def test_a_bad_chunk_size_is_answered(site):
    with site().connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert client.read().status == 400


def test_no_host(site):
    with site().connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.read().status == 400


def test_the_proxied_client_of_a_kept_connection(site):
    with site("--proxy-protocol", "v1").connect() as client:
        client.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n")
        assert [who(client)["REMOTE_ADDR"] for _ in range(3)] == ["192.0.2.7"] * 3


def test_a_check_of_the_proxy_itself(site):
    with site("--proxy-protocol", "v2").connect() as client:
        port = client.sock.getsockname()[1]
        client.send(LOCAL)
        assert who(client) == {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": str(port)}


def test_a_proxy_that_does_not_know(site):
    with site("--proxy-protocol", "v1").connect() as client:
        client.send(b"PROXY UNKNOWN\r\n")
        assert who(client)["REMOTE_ADDR"] == "127.0.0.1"


def test_a_user_with_a_line_end_forges_no_line(site):
    server = site("--access-logfile", "-")
    user = base64.b64encode(b"joe\n127.0.0.1 - admin forged:x").decode()
    assert server.ask("GET", "/", headers=[("Authorization", f"Basic {user}")]).status == 200
    server.wait_log('"GET / HTTP/1.1" 200')
    assert "\n127.0.0.1 - admin" not in server.log()
