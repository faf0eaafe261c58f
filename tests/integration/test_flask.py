"""A real Flask site over HTTP: JSON, forms, uploads, streams, cookies, sessions, files, errors."""

import hashlib
import json
import os

import pytest
import requests

from lib import server as under_test
from lib import wire

pytestmark = pytest.mark.python


@pytest.fixture(scope="module")
def site(shared_monoceros):
    return shared_monoceros("flasksite.site:app", "-w", "2")


@pytest.fixture
def client():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_json(site, client):
    value = {"text": "naïve ☃", "numbers": [1, 2.5, None], "nested": {"deep": True}}
    answer = client.post(site.url + "/json", json=value)
    assert answer.status_code == 200 and answer.json() == {"got": value, "type": "application/json"}
    assert client.post(site.url + "/json", data="{", headers={"Content-Type": "application/json"}).status_code == 400
    assert client.post(site.url + "/json", data="{}").status_code == 415


def test_form(site, client):
    answer = client.post(site.url + "/form", data=[("a", "1"), ("a", "zwei"), ("b", "x & y = ü")])
    assert answer.json() == [["a", "1"], ["a", "zwei"], ["b", "x & y = ü"]]


def test_upload(site, client):
    data = os.urandom(3 << 20)
    answer = client.post(site.url + "/upload", data={"note": "three"}, files={"file": ("three.bin", data)})
    assert answer.json() == {"name": "three.bin", "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "note": "three"}


def test_chunked_upload(site, client):
    blocks = [os.urandom(size) for size in (1, 10, 1000, 100000, 1000000)]
    answer = client.post(site.url + "/raw", data=iter(blocks))      # requests sends an iterator in chunks
    data = b"".join(blocks)
    assert answer.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_stream(site):
    answer = site.ask("GET", "/stream/300")
    assert answer.framing == "chunked" and answer.text == "".join(f"/stream/300 {number}\n" for number in range(300))


def test_cookies(site):
    answer = site.ask("GET", "/cookies", headers=[("Cookie", "a=1; b=2"), ("Cookie", "c=3")])
    assert json.loads(answer.text) == {"a": "1", "b": "2", "c": "3"}
    set_cookies = answer.all("Set-Cookie")
    assert [cookie.split("=")[0] for cookie in set_cookies] == ["first", "second", "gone"]
    assert "HttpOnly" in set_cookies[0] and "SameSite=Lax" in set_cookies[1]


def test_session(site, client):
    counts = [client.get(site.url + "/count").json() for _ in range(3)]
    assert [one["count"] for one in counts] == [1, 2, 3] and counts[2]["messages"] == ["visit 3"]


def test_files_and_ranges(site):
    whole = site.ask("GET", "/file")
    assert whole.status == 200 and whole.body == b"0123456789" * 1000
    part = site.ask("GET", "/file", headers=[("Range", "bytes=5-14")])
    assert part.status == 206 and part.body == b"5678901234" and part.get("Content-Range") == "bytes 5-14/10000"
    again = site.ask("GET", "/file", headers=[("If-None-Match", whole.get("ETag"))])
    assert again.status == 304
    source = site.ask("GET", "/source")
    assert source.body == (under_test.APPS / "flasksite/site.py").read_bytes()


def test_head(site):
    answer = site.ask("HEAD", "/file")
    assert answer.status == 200 and answer.get("Content-Length") == "10000" and answer.body == b""


def test_redirect(site):
    answer = site.ask("GET", "/redirect", host="shop.example:81")
    assert answer.status == 302 and answer.get("Location") == "http://shop.example:81/"


def test_paths(site):
    assert site.ask("GET", "/hello/J%C3%BCrgen%20%26%20Co").text == "Hello, Jürgen & Co!"
    assert site.ask("GET", "/hello/a%2Fb").status == 404        # %2F is decoded in PATH_INFO, as everywhere


def test_errors(site):
    missing = site.ask("GET", "/nowhere")
    assert missing.status == 404 and json.loads(missing.text)["path"] == "/nowhere"
    assert site.ask("GET", "/teapot").status == 418
    wrong = site.ask("DELETE", "/form")
    assert wrong.status == 405 and "POST" in wrong.get("Allow")


def test_empty(site):
    answer = site.ask("GET", "/empty")
    assert answer.status == 204 and answer.framing == "none"


def test_page_that_fails(monoceros):
    site = monoceros("flasksite.site:app", expect_errors=True)
    answer = site.ask("GET", "/fails")
    assert answer.status == 500 and b"on purpose" not in answer.body
    assert site.ask("GET", "/").status == 200
    site.wait_log("this page fails on purpose")


def test_factory(monoceros):
    site = monoceros("flasksite.site:create_app('made')")
    assert site.ask("GET", "/").status == 200


def test_keep_alive_session(monoceros):
    site = monoceros("flasksite.site:app", "--keep-alive", "15")
    with site.connect() as connection:
        for number in range(20):
            answer = connection.ask("GET", f"/hello/{number}")
            assert answer.text == f"Hello, {number}!" and answer.keep
        # An upload that the app does not read must not spoil the connection, or the connection ends.
        connection.send(wire.request("POST", "/nowhere", body=b"x" * 100000))
        answer = connection.read("POST")
        assert answer.status in (404, 405)
        if answer.keep:
            assert connection.ask("GET", "/hello/again").text == "Hello, again!"
