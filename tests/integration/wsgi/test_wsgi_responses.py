"""The ways of a WSGI response, each plain and under wsgiref.validate."""

import pytest

from lib.server import APPS
from lib.wire import request

pytestmark = pytest.mark.python

HERE = APPS / "wsgi"


@pytest.fixture(params=["app", "validated"])
def site(request, monoceros):
    return monoceros("responses:" + request.param, "--keep-alive", "5", cwd=HERE)


def plain(site):
    return site.command[1].endswith(":app")


def closes(site):
    return dict(eval(site.ask("GET", "/counts").text))


MANY = b"abc" + b"d" * 20000 + b"eee"
# case: status, body, framing when plain (validate hides what kind of iterable it is)
GOOD = {
    "one": (200, b"one piece", "length"),
    "many": (200, MANY, "length"),
    "a_tuple": (200, b"xy", "length"),
    "nothing": (200, b"", "length"),
    "empty_pieces": (200, b"", "length"),
    "generator": (200, b"first second", "chunked"),
    "silent_generator": (200, b"", "length"),
    "late_start": (202, b"late", "chunked"),
    "counted": (200, b"ab", "chunked"),
    "sized": (200, b"just this", "length"),
    "with_length": (200, b"abcdef", "length"),
    "writer": (200, b"written twice and returned", "chunked"),
    "writer_only": (200, b"written", "length"),
    "replaced": (500, b"replaced", "length"),
    "late_header": (200, b"late", "chunked"),
    "a_file": (200, (bytes(range(250)) * 1200)[5:], "length"),
    "a_memory_file": (200, b"0123456789" * 1000, "chunked"),
    "a_named_file": (200, b"0123", "length"),
    "a_pipe": (200, b"not the file", "chunked"),
    "hints": (200, b"hinted", "length"),
}


def test_bodies(site):
    for case, (status, body, framing) in GOOD.items():
        with site.connect() as c:
            response = c.ask("GET", "/" + case)
            assert (response.status, response.body) == (status, body), case
            assert response.framing == framing or not plain(site), case
            assert response.keep or case == "a_named_file" and not plain(site), case
            if response.keep:
                assert c.ask("GET", "/one").body == b"one piece", case


def test_bodies_for_http_1_0(site):
    for case, (status, body, _) in GOOD.items():
        response = site.ask("GET", "/" + case, version="HTTP/1.0")
        assert (response.status, response.body) == (status, body), case
        assert response.framing in ("length", "close") and not response.keep, case


def test_head_has_the_fields_of_get_and_no_body(site):
    unknown = {"Date", "Transfer-Encoding", "Content-Length"}   # a body that was not made has no known length
    for case in set(GOOD) - {"late_header"}:
        with site.connect() as c:
            full = c.ask("GET", "/" + case)
            if not full.keep:
                continue
            short = c.ask("HEAD", "/" + case)
            again = c.ask("GET", "/" + case)
        assert (short.status, short.body) == (full.status, b"") and again.body == full.body, case
        assert [f for f in short.headers if f[0] not in unknown] == [f for f in full.headers if f[0] not in unknown], case
        assert short.get("Content-Length") in (full.get("Content-Length"), None), case
    for case in ("one", "many", "a_tuple", "with_length", "a_file"):
        assert site.ask("HEAD", "/" + case).get("Content-Length") or not plain(site), case


def test_chunks_are_the_pieces(site):
    assert site.ask("GET", "/generator").chunks == [6, 6]
    assert site.ask("GET", "/writer").chunks == [8, 6, 12]


def test_close_is_called_once(site):
    for case in ("counted", "late_start", "sized", "with_length"):
        for method, version in [("GET", "HTTP/1.1"), ("GET", "HTTP/1.0"), ("HEAD", "HTTP/1.1")]:
            before = closes(site).get(case, 0)
            site.ask(method, "/" + case, version=version)
            assert closes(site)[case] == before + 1, case


def test_close_of_a_wrapped_file(site):
    before = closes(site).get("pipe", 0)
    site.ask("GET", "/a_pipe")
    assert closes(site)["pipe"] == before + 1


def test_reasons_and_bytes_beyond_ascii(site):
    response = site.ask("GET", "/custom_reason")
    assert (response.status, response.reason) == (299, "So, it's fine!")
    response = site.ask("GET", "/latin1")
    assert (response.reason, response.get("X-Name")) == ("Tr\xe8s bien", "caf\xe9")


def test_fields_keep_their_order(site):
    assert site.ask("GET", "/cookies").all("Set-Cookie") == ["a=1", "b=2; Path=/", "c=3"]


def test_names_that_are_made_for_each_response(site):
    for _ in range(3):
        response = site.ask("GET", "/many_names")
        assert [response.all(f"X-{i}") for i in range(300)] == [[str(i)] for i in range(300)]
        assert (response.get("X-" + "l" * 100), response.all("Content-Length"), response.body) == ("long", ["2"], b"ok")


def test_own_date_and_server_stay(site):
    response = site.ask("GET", "/own_date")
    assert response.all("Date") == ["Thu, 01 Jan 1970 00:00:00 GMT"] and response.all("Server") == ["me"]


def test_statuses_without_a_body(site):
    with site.connect() as c:
        assert c.ask("GET", "/no_content").status == 204
        response = c.ask("GET", "/not_modified")
        assert response.status == 304 and response.get("ETag") == '"x"'
        assert c.ask("GET", "/one").body == b"one piece"


def test_replaced_headers(site):
    response = site.ask("GET", "/replaced")
    assert response.status == 500 and response.get("X-Second") == "2" and not response.all("X-First")


def test_late_changes_of_the_header_list(site):
    response = site.ask("GET", "/late_header")
    assert response.get("X-Late") == "2" and response.get("X-Later") == "3" and not response.all("X-Early")


def test_early_hints(site):
    response = site.ask("GET", "/hints")
    assert [hint.status for hint in response.interim] == [103]
    assert response.interim[0].all("Link") == ["</style.css>; rel=preload", "</app.js>; rel=preload"]
    assert site.ask("GET", "/hints", version="HTTP/1.0").interim == []


LINES = b"one\ntwo\n\nthree, without an end"


READS = [
    ("4", b"one\n|two\n|\nthr|ee, |with|out |an e|nd|"), ("1000", LINES + b"|"), ("lines", LINES), ("iter", LINES),
    ("hint", b"one\ntwo\n|\nthree, without an end"), ("mixed", b"one\n|two|\n|\n|three, without an end"),
]


def test_reading_the_body(site):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (LINES[:5], LINES[5:])) + b"0\r\n\r\n"
    for how, expected in READS:
        assert site.ask("POST", "/reads?" + how, body=LINES).body == expected, how
        assert site.ask("POST", "/reads?" + how, [("Transfer-Encoding", "chunked")], chunks).body == expected, how


def test_reading_no_body(site):
    for how in ("lines", "iter", "1000"):
        assert site.ask("GET", "/reads?" + how).body == b"", how


def test_reading_a_body_that_went_to_a_file(site):
    body = b"".join(b"%d %s\n" % (i, b"x" * (i % 9000)) for i in range(700))
    for how in ("lines", "iter", "70000"):
        with site.connect() as c:
            got = c.ask("POST", "/reads?" + how, body=body).body
            assert (got.replace(b"|", b"") if how == "70000" else got) == body, how
            assert c.ask("GET", "/one").body == b"one piece", how


def test_an_unread_body_does_not_disturb_the_next_request(site):
    with site.connect() as c:
        for size in (5, 100000, 3000000):
            c.send(request("POST", "/one", body=b"x" * size))
            assert c.read().body == b"one piece"
        assert c.ask("GET", "/one").body == b"one piece"


def test_the_error_stream(site):
    assert site.ask("GET", "/logs").status == 200
    site.wait_log(r"(?m)^one whole line\n")
    site.wait_log(r"(?m)^a line in parts\n")
    site.wait_log(r"(?m)^and another with \u20ac and \\udcff\n")
    site.wait_log(r"(?m)^without an end\n")


def test_pieces_are_sent_before_the_next_is_asked_for(monoceros):
    """The app makes its second piece only when a second connection says that the first one has come."""
    server = monoceros("slowly:app", "--keep-alive", "5", "-w", "2", cwd=HERE)
    with server.connect() as c:
        c.send(request("GET", "/"))
        head = c.read_head()
        assert head.get("Transfer-Encoding") == "chunked"
        while b"first" not in c.buffer:
            assert c.fill()
        assert b"second" not in c.buffer
        go = c.buffer.split(b"\r\n")[1].split()[1].decode()
        open(go, "w").close()
        while b"0\r\n\r\n" not in c.buffer:
            assert c.fill()
        assert b"second" in c.buffer


def test_a_client_that_leaves_ends_the_iteration(monoceros):
    server = monoceros("slowly:endless_app", "--graceful-timeout", "20", cwd=HERE)
    with server.connect() as c:
        c.send(request("GET", "/"))
        c.read_head()
    server.wait_log(r"(?m)^closed after \d+ pieces")
    assert "Error handling" not in server.log()
