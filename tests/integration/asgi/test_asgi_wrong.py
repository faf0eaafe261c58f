"""ASGI apps that fail or break the specification: the client gets 500 or a cut connection, the log has the reason, and the worker goes on."""

import os
import re

import pytest

from lib.server import APPS
from lib.wire import Closed, request

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"

# case: what the traceback in the log says last
REFUSED = {
    "raises": "ValueError: raised at once",
    "raises_later": "ValueError: raised later",
    "after_start": "ValueError: raised after the start",
    "nothing": "RuntimeError: the app returned without a response",
    "only_start": "RuntimeError: the app returned without a response",
    "cancels_itself": "CancelledError",
    "not_a_dict": "TypeError: a message must be a dict, not <class 'str'>",
    "no_type": "KeyError: 'message has no type'",
    "unknown_type": "RuntimeError: unexpected message 'http.response.push': http.response.start is next",
    "body_first": "RuntimeError: unexpected message 'http.response.body': http.response.start is next",
    "start_twice": "RuntimeError: unexpected message 'http.response.start': http.response.body is next",
    "no_status": "KeyError: 'message has no status'",
    "text_status": "TypeError: 'str' object cannot be interpreted as an integer|TypeError: an integer is required",
    "interim_status": "ValueError: invalid HTTP status: 101",
    "huge_status": "ValueError: invalid HTTP status: 1000",
    "str_header": "TypeError: a header must be a pair of bytes",
    "one_header": "TypeError: a header must be a pair of bytes",
    "number_headers": "TypeError: 'int' object is not iterable",
    "crlf_value": "ValueError: invalid HTTP header value",
    "nul_value": "ValueError: invalid HTTP header value",
    "crlf_name": "ValueError: invalid HTTP header name",
    "empty_name": "ValueError: invalid HTTP header name",
    "two_lengths": "ValueError: invalid Content-Length",
    "bad_length": "ValueError: invalid Content-Length",
    "text_body": "TypeError: a bytes-like object is required, not 'str'",
    "none_body": "TypeError: a bytes-like object is required, not 'NoneType'",
    "trailers_unasked": "RuntimeError: unexpected message 'http.response.trailers'",
    "str_links": "TypeError: links must be bytes",
    "no_file": "FileNotFoundError: .*'/no/such/file'",
    "a_directory": "ValueError: only regular files can be sent",
}


@pytest.fixture(scope="module")
def site(shared_monoceros):
    return shared_monoceros("wrong:app", "-k", "asgi", "--keep-alive", "5", cwd=HERE, expect_errors=True)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(site, case):
    worker = site.wait_workers(1)
    before = len(site.log())
    assert site.ask("GET", f"/{case}").status == 500
    site.wait_log(rf"Error handling request /{case}\n(?:.*\n)*?.*(?:{REFUSED[case]})")
    assert "Traceback" in site.log()[before:] or case in ("nothing", "only_start")
    assert site.ask("GET", "/fine").body == b"fine\n" and site.wait_workers(1) == worker


@pytest.mark.parametrize("case", ["in_body", "half"])
def test_cut(site, case):
    worker = site.wait_workers(1)
    with pytest.raises(Closed):
        site.ask("GET", f"/{case}")
    site.wait_log(rf"Error handling request /{case}\n(?:.*\n)*?.*(?:raised in the body|returned before its response was complete)")
    assert site.ask("GET", "/fine").body == b"fine\n" and site.wait_workers(1) == worker


def test_behind_the_response(site):
    worker = site.wait_workers(1)
    with site.connect() as client:
        client.send(request("GET", "/behind"))
        assert client.read().body == b"fine\n"
        site.wait_log("Error behind the response of request /behind\n(?:.*\n)+?ValueError: raised behind")
        client.send(request("GET", "/fine"))
        assert client.read().status == 200
    assert site.wait_workers(1) == worker


def test_more_than_a_response(site):
    assert site.ask("GET", "/more").body == b"fine\n"
    assert len(re.findall("nothing more is next", site.ask("GET", "/notes").text)) == 2


def test_connection_headers_are_ours(site):
    response = site.ask("GET", "/hop_headers")
    assert (response.get("kept"), response.get("transfer-encoding"), response.body) == ("yes", None, b"fine\n")


def test_exit(monoceros):
    """The request fails, the worker leaves when it is done, and another takes its place."""
    site = monoceros("wrong:app", "-k", "asgi", cwd=HERE, expect_errors=True)
    before = site.wait_workers(1)
    assert site.ask("GET", "/exits").status == 500
    site.wait_log("Booting worker", count=2)
    assert site.ask("GET", "/fine").status == 200 and site.wait_workers(1) != before


def test_wsgi_apps_are_told_apart(monoceros):
    wsgi = monoceros("basic:app", "-k", "asgi", ready=False, bind="tcp", expect_errors=True)
    assert wsgi.process.wait(60) == 4
    wsgi.waited = True
    assert "basic:app is not an ASGI application; if it is WSGI, it needs worker_class sync or gthread" in wsgi.log()


def test_asgi_apps_are_told_apart(monoceros):
    if not {"sync", "gthread"} & set(os.environ.get("MONOCEROS_WORKERS", "sync").split(",")):
        pytest.skip("no worker type for WSGI")
    name = "sync" if "sync" in os.environ.get("MONOCEROS_WORKERS", "sync") else "gthread"
    asgi = monoceros("wrong:app", "-k", name, cwd=HERE, ready=False, bind="tcp", expect_errors=True)
    assert asgi.process.wait(60) == 4
    asgi.waited = True
    assert "wrong:app is an ASGI application: it needs worker_class asgi" in asgi.log()
