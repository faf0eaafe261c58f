"""ASGI over HTTP: what apps are told, what clients get, on Python's own event loop and on uvloop."""

import importlib.util
import json
import os
import selectors
import time

import pytest

from lib import procfs
from lib.limits import until
from lib.server import APPS
from lib.wire import Closed, request

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="there is no uvloop"))]


@pytest.fixture(scope="module", params=LOOPS)
def site(shared_monoceros, request):
    return shared_monoceros("plain:app", "-k", "asgi", "--asgi-loop", request.param, "--keep-alive", "5", "--asgi-disconnect-grace-period", "500ms",
                            "--graceful-timeout", "3", cwd=HERE)       # a client that closes behind bytes that nobody reads is not seen


def show(site, *args, **kwargs):
    return json.loads(site.ask(*args, **kwargs).text)["scope"]


def notes(site):
    return json.loads(site.ask("GET", "/notes").text)


def noted(site, word):
    return until(lambda: (found := notes(site)) and word in found and found, f"{word} among the notes")


# --- the scope

def test_scope(site):
    answer = json.loads(site.ask("GET", "/a%20%C3%A9/%2F/show?x=%20&y", headers=[("X-Twice", "one"), ("x-TWICE", "two")], host="example.org:81").text)
    scope, kinds = answer["scope"], answer["kinds"]
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["http_version"], scope["method"], scope["scheme"]) == ("1.1", "GET", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a é///show", "/a%20%C3%A9/%2F/show", "x=%20&y")
    assert scope["root_path"] == ""
    assert ["host", "example.org:81"] in scope["headers"]
    assert [value for name, value in scope["headers"] if name == "x-twice"] == ["one", "two"]
    assert scope["server"] == ["127.0.0.1", site.address[1]]
    assert scope["client"][0] == "127.0.0.1" and isinstance(scope["client"][1], int)
    assert (kinds["raw_path"], kinds["query_string"], kinds["path"], kinds["headers"], kinds["client"]) == ("bytes", "bytes", "str", "list", "tuple")
    assert {"http.response.pathsend", "http.response.zerocopysend", "http.response.early_hint"} == set(scope["extensions"])


def test_scope_of_other_requests(site):
    assert show(site, "PUT", "/show")["method"] == "PUT"
    assert show(site, "GET", "/show", version="HTTP/1.0")["http_version"] == "1.0"
    assert show(site, "GET", "/%ff/show")["path"] == "/\ufffd/show"
    assert ["host", "other.example"] in show(site, "GET", "http://other.example/show")["headers"]
    assert "http.response.trailers" in show(site, "GET", "/show", headers=[("TE", "trailers")])["extensions"]


def test_header_policy_is_that_of_wsgi(site):
    scope = show(site, "GET", "/show", headers=[("X_Spoofed", "1"), ("Proxy", "http://evil"), ("X-Forwarded-Proto", "https")])
    names = [name for name, _ in scope["headers"]]
    assert "x_spoofed" not in names and "proxy" not in names
    assert scope["scheme"] == "https"      # 127.0.0.1 is trusted


def test_unix_socket_and_root_path(monoceros):
    site = monoceros("plain:app", "-k", "uvicorn.workers.UvicornWorker", "--root-path", "/api", bind="unix", cwd=HERE)
    scope = show(site, "GET", "/a%20b/show")
    assert scope["client"] is None and scope["server"] == [site.address, None]
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/a b/show", "/api/a%20b/show")


# --- bodies and responses

def test_bodies(site):
    for body in (b"", b"x", b"y" * 16384, os.urandom(400_000)):
        assert site.ask("POST", "/echo", body=body).body == body
    with site.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
        assert client.read().body == b"abcdefg"


def test_a_body_comes_in_pieces_that_are_bounded(site):
    sizes = json.loads(site.ask("POST", "/sizes", body=b"x" * 1_000_000).text)
    assert sum(sizes) == 1_000_000 and max(sizes) <= 65536


def test_a_body_is_read_while_the_response_is_sent(site):
    with site.connect() as client:
        client.send(b"POST /mirror HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        response = client.read_head()
        assert response.status == 200
        client.send(b"6\r\nsecond\r\n0\r\n\r\n")
        client.read_body(response, "POST")
        assert response.body == b"firstsecond"


def test_one_piece_has_a_length(site):
    response = site.ask("GET", "/hello")
    assert (response.framing, response.get("content-length"), response.body) == ("length", "13", b"Hello, world\n")


def test_a_stream_is_sent_as_it_is_made(site):
    response = site.ask("GET", "/drip")
    assert (response.framing, response.body) == ("chunked", b"0\n1\n2\nend\n")
    assert response.chunks == [2, 2, 2, 4]


def test_head_and_bodyless(site):
    response = site.ask("HEAD", "/hello")
    assert (response.status, response.get("content-length"), response.body) == (200, "13", b"")
    with site.connect() as client:
        for _ in range(2):
            client.send(request("HEAD", "/drip"))
            assert client.read("HEAD").status == 200


def test_http10(site):
    response = site.ask("GET", "/drip", version="HTTP/1.0")
    assert response.body == b"0\n1\n2\nend\n" and response.framing == "close"


def test_pipelined_requests_are_answered_in_order(site):
    with site.connect() as client:
        client.send(request("GET", "/sleep?0.1") + request("GET", "/hello") + request("POST", "/echo", body=b"third") + request("GET", "/drip"))
        assert [client.read().body for _ in range(4)] == [b"slept\n", b"Hello, world\n", b"third", b"0\n1\n2\nend\n"]


def test_a_slow_client_stops_the_app(site):
    with site.connect(rcvbuf=4096) as client:
        client.send(request("GET", "/stream?400"))
        last = -1
        while (count := notes(site)[0] if notes(site) else 0) != last or count == 0:
            last = count
            time.sleep(0.3)
        assert count < 200             # of 25 MB: what the kernel and 128 KiB hold
        assert len(client.read().body) == 400 * 65536


def test_an_app_that_does_not_read_stops_the_client(site):
    """What it leaves unread is not in our memory."""
    worker = site.wait_workers(1)[0]
    before = procfs.rss(worker)
    with site.connect() as client:
        client.sock.settimeout(1)
        client.send(b"POST /disconnect HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        sent = 0
        try:
            while sent < 100_000_000:
                sent += client.sock.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert sent < 60_000_000
        assert procfs.rss(worker) < before + (8 << 20)


# --- extensions

def test_early_hints(site):
    response = site.ask("GET", "/hints")
    assert [(each.status, each.get("link")) for each in response.interim] == [(103, "</a.css>; rel=preload, </b.js>; rel=preload")]
    assert response.body == b"hinted\n"
    assert site.ask("GET", "/hints", version="HTTP/1.0").interim == []


def test_trailers(site):
    response = site.ask("GET", "/trail", headers=[("TE", "trailers")])
    assert response.body == b"body\n" and response.trailers == [("x-sum", "5"), ("x-more", "yes")]


def test_files(site):
    whole = (HERE / "plain.py").read_bytes()
    response = site.ask("GET", "/file")
    assert response.body == whole and response.get("content-length") == str(len(whole))
    assert site.ask("HEAD", "/file").get("content-length") == str(len(whole))
    assert site.ask("GET", "/pieces").body == b"<" + whole[10:30] + whole[5:] + b">"


def test_a_file_that_is_not_there_can_be_told(site):
    assert site.ask("GET", "/missing").body == b"FileNotFoundError"


# --- the task

def test_what_frameworks_expect_of_a_task(site):
    found = json.loads(site.ask("GET", "/task").text)
    assert found.pop("loop") in ("asyncio", "monoceros", "uvloop")
    assert found == {"current": True, "variable": "set at startup", "timeout": True, "group": [0, 1], "cancelled": True, "waited": True,
                     "first": "http.request"}
    assert json.loads(site.ask("GET", "/task").text)["variable"] == "set at startup"


@pytest.fixture(scope="module", params=LOOPS)
def tasks(shared_monoceros, request):
    return shared_monoceros("tasks:app", "-k", "asgi", "--asgi-loop", request.param, "--keep-alive", "5", cwd=HERE)


def test_a_task_is_among_all_tasks_while_it_lives(tasks):
    first = json.loads(tasks.ask("GET", "/").text)
    assert (first["known"], first["requests"]) == (True, 1)
    waiting = tasks.connect()
    waiting.send(request("GET", "/wait"))
    second = until(lambda: (found := json.loads(tasks.ask("GET", "/").text))["requests"] == 2 and found, "two tasks")
    assert second["known"] and second["names"] > first["names"]
    waiting.close()
    until(lambda: json.loads(tasks.ask("GET", "/").text)["requests"] == 1, "one task")


def test_garbage_may_talk_to_the_loop_while_tasks_are_made(tasks):
    client = tasks.connect()
    client.ask("GET", "/litter")
    for _ in range(200):
        assert json.loads(client.ask("GET", "/").text)["known"]
    found = json.loads(client.ask("GET", "/tidy").text)
    assert found["made"] > 100
    assert found["called"] == found["ran"] == found["made"]


def test_the_loop_is_a_whole_one(site):
    assert site.ask("GET", "/thread").text == "499500"
    assert site.ask("GET", "/process").text == "from a child\n"
    assert site.ask("GET", "/sockets").text == "HELLO\n"


def test_five_hundred_meet_in_one_worker(site):
    clients = [site.connect() for _ in range(500)]
    for client in clients:
        client.send(request("GET", "/meet?500"))
    assert {client.read().text for client in clients} == {"500"}
    for client in clients:
        client.close()


def test_newcomers_have_as_many_turns_as_the_others(site):
    """200 keep the worker busy, 200 more come: all of these have their answers before those have had a few more."""
    old = [site.connect() for _ in range(200)]
    ask, answered = request("GET", "/work"), 0
    with selectors.DefaultSelector() as selector:
        for client in old:
            client.send(ask)
            selector.register(client.sock, selectors.EVENT_READ, client)

        def serve(seconds=20):
            found = [key.data for key, _ in selector.select(seconds)]
            for client in found:
                assert client.read().body == b"done"
            return found

        while answered < 400:
            for client in serve():
                client.send(ask)
                answered += 1
        new = [site.connect() for _ in range(200)]
        for client in new:
            client.send(ask)
            selector.register(client.sock, selectors.EVENT_READ, client)
        waiting, begun = set(new), answered
        while waiting and answered - begun < 1000:
            for client in serve():
                if client in waiting:
                    waiting.discard(client)
                else:
                    client.send(ask)
                    answered += 1
    assert not waiting
    for client in old + new:
        client.close()


# --- ends

def test_the_client_leaves(site):
    client = site.connect()
    client.send(request("GET", "/disconnect"))
    noted(site, "begun")
    client.close()
    assert noted(site, "cancelled") == ["begun", "http.disconnect", "ConnectionResetError", "cancelled"]


def test_work_behind_the_response(site):
    with site.connect() as client:
        client.send(request("GET", "/background"))
        assert client.read().body == b"answered\n"
        client.send(request("GET", "/hello"))
        assert client.read().body == b"Hello, world\n"       # the connection is free at once
        assert noted(site, "done") == ["http.disconnect", "http.disconnect", "done"]


def test_a_stream_whose_client_leaves(site):
    client = site.connect(rcvbuf=4096)
    client.send(request("GET", "/stream?100000"))
    until(lambda: notes(site), "some of the stream")
    client.close()
    until(lambda: (a := notes(site), time.sleep(0.3)) and a == notes(site), "the end of the stream")


def test_continue_is_said_when_the_body_is_asked_for(site):
    with site.connect() as client:
        client.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        response = client.read()
        assert response.status == 403 and response.interim == []
    with site.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        client.fill()
        client.send(b"hello")
        response = client.read()
        assert [each.status for each in response.interim] == [100] and response.body == b"hello"


def test_a_body_over_the_limit(monoceros):
    site = monoceros("plain:app", "-k", "asgi", "--limit-request-body", "100000", cwd=HERE)
    assert site.ask("POST", "/echo", body=b"x" * 100_001).status == 413
    with site.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(10):
                client.send(b"7000\r\n" + b"x" * 0x7000 + b"\r\n")
            client.send(b"0\r\n\r\n")
        except OSError:
            pass
        assert client.read().status == 413


def test_a_body_that_stops(monoceros):
    site = monoceros('plain:app', "-k", "asgi", cwd=HERE)
    client = site.connect()
    client.send(b"POST /read_on HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nfirst")
    noted(site, "http.request")
    client.close()
    assert noted(site, "http.disconnect")[-1] == "http.disconnect"


@pytest.mark.parametrize("framing", ["Content-Length: 100000\r\n\r\nfirst", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"])
def test_a_body_that_stalls(monoceros, framing):
    """408, and its app hears that nobody is there any more; where the answer has begun it is cut."""
    site = monoceros("plain:app", "-k", "asgi", "--body-timeout", "1", "--asgi-disconnect-grace-period", "300ms", cwd=HERE)
    with site.connect() as client:
        client.send(b"POST /read_on HTTP/1.1\r\nHost: x\r\n" + framing.encode())
        response = client.read()
        assert response.status == 408 and not response.keep and client.ended()
    assert noted(site, "http.disconnect")[-2:] == ["http.request", "http.disconnect"]
    with site.connect() as client:
        client.send(b"POST /mirror HTTP/1.1\r\nHost: x\r\n" + framing.encode())
        response = client.read_head()
        assert response.status == 200
        with pytest.raises(Closed):
            client.read_body(response, "POST")


def test_a_request_that_takes_too_long(monoceros):
    site = monoceros("plain:app", "-k", "asgi", "--request-timeout", "1", cwd=HERE, expect_errors=True)
    assert site.ask("GET", "/sleep?30").status == 504
    assert site.ask("GET", "/hello").status == 200


def test_a_cut_response(site):
    """It has begun, so the client must see that it is not whole."""
    with pytest.raises(Closed):
        site.ask("GET", "/short")
