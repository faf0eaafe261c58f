"""The environ of PEP 3333: what is in it, and what a client cannot put there."""

import json

import pytest

from lib.server import APPS
from lib.wire import Connection, request

pytestmark = pytest.mark.python

HERE = APPS / "wsgi"


@pytest.fixture(params=["app", "validated"])
def probe(request, monoceros):
    return monoceros("probe:" + request.param, "--keep-alive", "5", cwd=HERE)


def told(response):
    assert response.status == 200, response.body
    return json.loads(response.body)


def environ(server, *args, **kwargs):
    return told(server.ask(*args, **kwargs))["environ"]


def test_all_that_pep_3333_asks_for(probe, worker_class):
    answer = told(probe.ask("GET", "/a/b?x=1&y=%20"))
    env = answer["environ"]
    host, port = probe.address
    assert answer["type"] == "dict" and answer["odd"] == [] and answer["version"] == [1, 0]
    expected = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/a/b", "QUERY_STRING": "x=1&y=%20", "RAW_URI": "/a/b?x=1&y=%20",
        "REQUEST_URI": "/a/b?x=1&y=%20", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": host, "SERVER_PORT": str(port),
        "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "wsgi.url_scheme": "http", "wsgi.multithread": worker_class == "gthread",
        "wsgi.multiprocess": False, "wsgi.run_once": False, "wsgi.input_terminated": True,
    }
    assert {key: env[key] for key in expected} == expected
    assert 0 < int(env["REMOTE_PORT"]) < 65536
    assert env["SERVER_SOFTWARE"].startswith("monoceros/")
    assert answer["callable"] == ["wsgi.file_wrapper", "wsgi.early_hints"]
    assert answer["errors"] == ["write", "writelines", "flush"]
    assert "CONTENT_LENGTH" not in env and "CONTENT_TYPE" not in env


def test_nothing_of_one_request_is_left_in_the_next(probe):
    with probe.connect() as c:
        first = told(c.ask("POST", "/one?q=1", [("X-One", "1"), ("Content-Type", "text/x")], b"body"))
        second = told(c.ask("GET", "/two", [("X-Two", "2")]))
    assert first["environ"]["HTTP_X_ONE"] == "1" and first["body"] == "body"
    env = second["environ"]
    assert second["body"] == "" and env["REQUEST_METHOD"] == "GET" and env["QUERY_STRING"] == "" and env["PATH_INFO"] == "/two"
    assert not {"HTTP_X_ONE", "CONTENT_TYPE", "CONTENT_LENGTH"} & set(env)


PATHS = [
    ("/", "/"), ("/%41%2f%20", "/A/ "), ("/caf%C3%A9", "/caf\u00c3\u00a9"), ("/%ff%FE", "/\u00ff\u00fe"), ("/a//b/./c/../d", "/a//b/./c/../d"),
    ("/%25zz", "/%zz"), ("/a+b;c=d,e", "/a+b;c=d,e"),
]


def test_path_is_decoded_to_latin1(probe):
    for target, path in PATHS:
        env = environ(probe, "GET", target)
        assert env["PATH_INFO"] == path and env["RAW_URI"] == target


def test_targets_that_are_no_path(probe):
    env = environ(probe, "OPTIONS", "*")
    assert env["PATH_INFO"] == "" and env["RAW_URI"] == "*"
    env = environ(probe, "GET", "http://b.example:99/x?y", host="a.example")
    assert (env["PATH_INFO"], env["QUERY_STRING"], env["HTTP_HOST"]) == ("/x", "y", "b.example:99")
    assert env["RAW_URI"] == "http://b.example:99/x?y"


def test_query_stays_raw(probe):
    assert environ(probe, "GET", "/?")["QUERY_STRING"] == ""
    assert environ(probe, "GET", "/?a=%2f?b")["QUERY_STRING"] == "a=%2f?b"


def test_methods(probe):
    for method in ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        response = probe.ask(method, "/")
        assert response.status == 200
        if method != "HEAD":
            assert told(response)["environ"]["REQUEST_METHOD"] == method


def test_http_1_0(probe):
    env = environ(probe, "GET", "/", version="HTTP/1.0", host=None)
    assert env["SERVER_PROTOCOL"] == "HTTP/1.0" and "HTTP_HOST" not in env


def test_repeated_fields_are_joined(probe):
    env = environ(probe, "GET", "/", [("X-Dup", "a"), ("x-dup", "b"), ("Cookie", "a=1"), ("X-DUP", ""), ("Cookie", "b=2"), ("X-Odd-1", "c"),
                                      ("X-Odd-1", "d")])
    assert env["HTTP_X_DUP"] == "a,b," and env["HTTP_COOKIE"] == "a=1; b=2" and env["HTTP_X_ODD_1"] == "c,d"


def test_values_are_latin1(probe):
    assert environ(probe, "GET", "/", [("X-Name", "caf\xe9"), ("User-Agent", "\xff\xfe")])["HTTP_X_NAME"] == "caf\xe9"


def test_content_fields_have_their_own_names(probe):
    answer = told(probe.ask("POST", "/", [("Content-Type", "text/x"), ("Content-Length", "3"), ("Content-Encoding", "x")], b"abc"))
    env = answer["environ"]
    assert env["CONTENT_TYPE"] == "text/x" and env["CONTENT_LENGTH"] == "3" and env["HTTP_CONTENT_ENCODING"] == "x"
    assert "HTTP_CONTENT_TYPE" not in env and "HTTP_CONTENT_LENGTH" not in env and answer["body"] == "abc"


def test_a_chunked_body_has_its_length(probe):
    body = b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\nX-Trailer: 1\r\n\r\n"
    answer = told(probe.ask("POST", "/", [("Transfer-Encoding", "chunked")], body))
    env = answer["environ"]
    assert answer["body"] == "abcdefgh" and env["CONTENT_LENGTH"] == "8"
    assert "HTTP_TRANSFER_ENCODING" not in env and "HTTP_X_TRAILER" not in env


def test_an_empty_chunked_body_has_length_0(probe):
    answer = told(probe.ask("POST", "/", [("Transfer-Encoding", "chunked")], b"0\r\n\r\n"))
    assert answer["body"] == "" and answer["environ"]["CONTENT_LENGTH"] == "0"


def test_proxy_and_underscores_are_dropped(probe):
    env = environ(probe, "GET", "/", [("Proxy", "http://evil/"), ("X_Forwarded_For", "1.2.3.4"), ("X-Forwarded-For", "5.6.7.8"),
                                      ("Content_Length", "5"), ("Remote_User", "root")])
    assert "HTTP_PROXY" not in env and env["HTTP_X_FORWARDED_FOR"] == "5.6.7.8"
    assert "CONTENT_LENGTH" not in env and "HTTP_CONTENT_LENGTH" not in env and "HTTP_REMOTE_USER" not in env


def test_many_names_that_nobody_knows(probe):
    """More names than the server learns: the rest takes the slow way to the same result."""
    with probe.connect() as c:
        for i in range(30):
            fields = [(f"X-N{i}-{k}", f"{i}.{k}") for k in range(45)]
            env = told(c.ask("GET", "/", fields + [("X-Again", "1"), ("X-Again", "2")] + fields[:1]))["environ"]
            assert all(env[f"HTTP_X_N{i}_{k}"] == f"{i}.{k}" for k in range(1, 45))
            assert env[f"HTTP_X_N{i}_0"] == f"{i}.0,{i}.0" and env["HTTP_X_AGAIN"] == "1,2"
        name = "X-" + "l" * 3000
        assert told(c.ask("GET", "/", [(name, "1"), (name, "2")]))["environ"]["HTTP_X_" + "L" * 3000] == "1,2"


def test_pipelined_requests_have_their_own_environ(probe):
    with probe.connect() as c:
        c.send(b"".join(request("GET", f"/{i}?{i}", [(f"X-{i}", "1")]) for i in range(20)))
        for i in range(20):
            env = told(c.read())["environ"]
            assert env["PATH_INFO"] == f"/{i}" and env["QUERY_STRING"] == str(i)
            assert [key for key in env if key.startswith("HTTP_X_")] == [f"HTTP_X_{i}"]


# --- what a proxy may say

def test_scheme_of_a_trusted_proxy(monoceros):
    server = monoceros("probe:app", cwd=HERE)
    assert environ(server, "GET", "/", [("X-Forwarded-Proto", "https")])["wsgi.url_scheme"] == "https"
    assert environ(server, "GET", "/", [("X-Forwarded-Proto", "http")])["wsgi.url_scheme"] == "http"
    assert environ(server, "GET", "/")["wsgi.url_scheme"] == "http"


def test_scheme_of_a_stranger(monoceros):
    server = monoceros("probe:app", "--forwarded-allow-ips", "10.0.0.1", cwd=HERE)
    env = environ(server, "GET", "/", [("X-Forwarded-Proto", "https"), ("Script_Name", "/evil")])
    assert env["wsgi.url_scheme"] == "http" and env["SCRIPT_NAME"] == "" and "HTTP_SCRIPT_NAME" not in env


def test_mount_point_of_a_trusted_proxy(monoceros):
    server = monoceros("probe:app", cwd=HERE)
    env = environ(server, "GET", "/shop/cart%20s?x", [("SCRIPT_NAME", "/shop/")])
    assert (env["SCRIPT_NAME"], env["PATH_INFO"], env["RAW_URI"]) == ("/shop", "/cart s", "/shop/cart%20s?x")
    env = environ(server, "GET", "/shop", [("Script_Name", "/shop")])
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/shop", "")
    assert server.ask("GET", "/shopping", [("SCRIPT_NAME", "/shop")]).status == 500
    server.wait_log("Request path /shopping does not start with SCRIPT_NAME /shop")


def test_mount_point_of_the_environment(monoceros):
    server = monoceros("probe:app", cwd=HERE, env={"SCRIPT_NAME": "/site/"})
    env = environ(server, "GET", "/site/a")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/site", "/a")
    assert server.ask("GET", "/other").status == 500


def test_header_map(monoceros):
    refuse = monoceros("probe:app", "--header-map", "refuse", cwd=HERE)
    assert refuse.ask("GET", "/", [("X_A", "1")]).status == 400
    assert refuse.ask("GET", "/", [("X-A", "1")]).status == 200
    dangerous = monoceros("probe:app", "--header-map", "dangerous", cwd=HERE)
    env = environ(dangerous, "GET", "/", [("X_A", "1"), ("X-A", "2"), ("X_A", "3"), ("X-B", "4"), ("X_B", "5")])
    assert env["HTTP_X_A"] == "1,2,3" and env["HTTP_X_B"] == "4,5"


def test_unix_socket(monoceros):
    server = monoceros("probe:app", bind="unix", cwd=HERE)
    env = environ(server, "GET", "/", [("X-Forwarded-Proto", "https")], host="example.org")
    assert (env["REMOTE_ADDR"], env["SERVER_NAME"], env["SERVER_PORT"]) == ("", "example.org", "443")
    assert "REMOTE_PORT" not in env and env["wsgi.url_scheme"] == "https"
    env = environ(server, "GET", "/", host="example.org:81")
    assert (env["SERVER_NAME"], env["SERVER_PORT"]) == ("example.org", "81")
    env = environ(server, "GET", "/", host=None, version="HTTP/1.0")
    assert (env["SERVER_NAME"], env["SERVER_PORT"]) == ("localhost", "80")


def test_each_request_has_its_own_client(monoceros):
    """Templates of the environ keep the last client's address, for the next request of it."""
    server = monoceros("probe:app", "--keep-alive", "5", "--proxy-protocol", "v1", "--bind", "127.0.0.1:0", bind="unix", cwd=HERE)
    other = ("127.0.0.1", int(server.wait_log(r"http://127\.0\.0\.1:(\d+)")[0][1]))
    for kind, client, port in [("TCP4 192.0.2.7 192.0.2.1 5555 80", "192.0.2.7", "5555"), ("TCP4 192.0.2.8 192.0.2.1 5811 80", "192.0.2.8", "5811"),
                               ("UNKNOWN", "", None)] * 2:
        for address in (server.address, other, server.address):
            with Connection(address) as connection:
                connection.send(f"PROXY {kind}\r\n".encode() + request("GET", "/"))
                env = told(connection.read())["environ"]
                if kind == "UNKNOWN" and address == other:
                    assert env["REMOTE_ADDR"] == "127.0.0.1" and env["REMOTE_PORT"] == str(connection.sock.getsockname()[1])
                else:
                    assert (env["REMOTE_ADDR"], env.get("REMOTE_PORT")) == (client, port), (kind, address)


def test_ipv6(monoceros):
    server = monoceros("probe:app", bind="tcp6", cwd=HERE)
    env = environ(server, "GET", "/")
    assert (env["REMOTE_ADDR"], env["SERVER_NAME"], env["SERVER_PORT"]) == ("::1", "::1", str(server.address[1]))


def test_more_workers_are_multiprocess(monoceros):
    assert environ(monoceros("probe:app", "-w", "2", cwd=HERE), "GET", "/")["wsgi.multiprocess"] is True
