"""A real Django site over HTTP: admin login with CSRF, uploads, streams, files, errors."""

import hashlib
import json
import os
import re
import subprocess

import pytest
import requests

from lib import server as under_test
from lib import wire
from lib.limits import patience

pytestmark = pytest.mark.python


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A migrated database with one administrator."""
    path = tmp_path_factory.mktemp("django") / "site.sqlite3"
    env = {**os.environ, "DJANGO_DB": str(path), "DJANGO_SETTINGS_MODULE": "djangosite.settings",
           "DJANGO_SUPERUSER_PASSWORD": "open sesame"}
    env.pop("LD_PRELOAD", None)
    for arguments in (["migrate", "-v0"], ["createsuperuser", "--noinput", "--username=ada", "--email=ada@example.org"]):
        subprocess.run([under_test.PYTHON, "-m", "django", *arguments], cwd=under_test.APPS, env=env, check=True, timeout=patience(100))
    return path


@pytest.fixture(scope="module")
def site(shared_monoceros, database):
    return shared_monoceros("djangosite.wsgi", "-w", "2", env={"DJANGO_DB": str(database)})


@pytest.fixture
def client():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def token(page):
    return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]


def login(site, client):
    page = client.get(site.url + "/admin/login/?next=/admin/")
    assert page.status_code == 200
    form = {"username": "ada", "password": "open sesame", "csrfmiddlewaretoken": token(page), "next": "/admin/"}
    return client.post(site.url + "/admin/login/?next=/admin/", data=form, headers={"Referer": page.url})


def test_admin_login_and_work(site, client):
    page = client.get(site.url + "/admin/")
    assert page.url.endswith("/admin/login/?next=/admin/")      # redirected
    page = login(site, client)
    assert page.status_code == 200 and page.url == site.url + "/admin/"
    assert "Site administration" in page.text and "sessionid" in client.cookies

    page = client.get(site.url + "/admin/auth/group/add/")
    name = f"group of {os.getpid()} é"
    page = client.post(page.url, data={"name": name, "csrfmiddlewaretoken": token(page), "_save": "Save"})
    assert page.url == site.url + "/admin/auth/group/" and name in page.text

    page = client.get(site.url + "/admin/")
    page = client.post(site.url + "/admin/logout/", data={"csrfmiddlewaretoken": token(page)})
    assert "Logged out" in page.text
    assert client.get(site.url + "/admin/").url.endswith("/admin/login/?next=/admin/")


def test_login_without_csrf_token_is_refused(site, client):
    answer = client.post(site.url + "/admin/login/", data={"username": "ada", "password": "open sesame"})
    assert answer.status_code == 403 and "CSRF" in answer.text


def test_wrong_password(site, client):
    page = client.get(site.url + "/admin/login/")
    page = client.post(page.url, data={"username": "ada", "password": "wrong", "csrfmiddlewaretoken": token(page)})
    assert page.status_code == 200 and "sessionid" not in client.cookies


def test_upload_of_5_mb(site, client):
    data = os.urandom(5 << 20)
    page = client.get(site.url + "/upload-form")
    answer = client.post(site.url + "/upload", data={"csrfmiddlewaretoken": token(page), "title": "Größe"},
                         files={"file": ("blob.bin", data, "application/x-blob"), "small": ("a.txt", b"tiny", "text/plain")})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["fields"] == {"title": "Größe"}
    assert told["files"]["file"] == {"name": "blob.bin", "size": 5 << 20, "type": "application/x-blob",
                                     "sha256": hashlib.sha256(data).hexdigest()}
    assert told["files"]["small"]["sha256"] == hashlib.sha256(b"tiny").hexdigest()


def test_streaming_response(site):
    answer = site.ask("GET", "/stream?count=500")
    assert answer.status == 200 and answer.framing == "chunked"
    assert answer.text == "".join(f"line {number}\n" for number in range(500))


def test_stream_to_an_http_1_0_client_ends_with_the_connection(site):
    with site.connect() as connection:
        answer = connection.ask("GET", "/stream?count=50", version="HTTP/1.0")
        assert answer.framing == "close" and answer.text.endswith("line 49\n")


def test_file_response(site):
    source = (under_test.APPS / "djangosite/views.py").read_bytes()
    answer = site.ask("GET", "/download")
    assert answer.status == 200 and answer.body == source
    assert answer.get("Content-Length") == str(len(source)) and "views.py" in answer.get("Content-Disposition")


def test_static_files_of_the_admin(site, client):
    page = client.get(site.url + "/admin/login/")
    sheets = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page.text)
    assert sheets
    for sheet in sheets:
        answer = client.get(site.url + sheet)
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/css") and len(answer.content) > 100


def test_head_and_conditional(site):
    whole = site.ask("GET", "/facts")
    head = site.ask("HEAD", "/facts")
    assert head.status == 200 and head.body == b""
    assert head.get("Content-Type") == whole.get("Content-Type") and head.get("ETag") == whole.get("ETag") == '"one"'
    again = site.ask("GET", "/facts", headers=[("If-None-Match", whole.get("ETag"))])
    assert again.status == 304 and again.body == b""


def test_what_the_site_sees_of_the_request(site):
    facts = json.loads(site.ask("GET", "/facts?q=%C3%A9&plain=a+b", host="localhost:1234").text)
    assert facts["query"] == {"q": "é", "plain": "a b"} and facts["method"] == "GET"
    assert facts["host"] == "localhost:1234" and facts["uri"].startswith("http://localhost:1234/facts?q=")
    assert facts["remote"] == "127.0.0.1" and facts["secure"] is False


def test_disallowed_host_and_missing_page(site):
    assert site.ask("GET", "/facts", host="evil.example").status == 400
    assert site.ask("GET", "/no/such/page").status == 404
    assert site.ask("PATCH", "/upload-form", body=b"{}").status == 403      # CSRF


def test_view_that_fails(monoceros, database):
    site = monoceros("djangosite.wsgi", env={"DJANGO_DB": str(database)}, expect_errors=True)
    answer = site.ask("GET", "/fails")
    assert answer.status == 500 and b"on purpose" not in answer.body
    with site.connect() as connection:      # a stream that breaks must not look whole
        connection.send(b"GET /stream-fails HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            assert connection.read().status == 500
        except wire.Closed:
            pass
    assert site.ask("GET", "/").status == 200
    site.wait_log("this stream fails on purpose")
