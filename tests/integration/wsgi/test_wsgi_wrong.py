"""Apps that fail or break PEP 3333: the client gets 500 or a cut connection, never a wrong answer, and the worker goes on."""

import re

import pytest

from lib.server import APPS
from lib.wire import Closed, request

pytestmark = pytest.mark.python

HERE = APPS / "wsgi"


@pytest.fixture
def site(monoceros):
    return monoceros("wrong:app", "--keep-alive", "5", cwd=HERE, expect_errors=True)


def state(site):
    pid, closed = eval(site.ask("GET", "/state").text)
    return pid, dict(closed)


# case: what the traceback in the log says last
REFUSED = {
    "raises": "ValueError: raised at once",
    "base": "wrong.Base: not even an Exception",
    "unprintable": "wrong.Unprintable: <exception str\\(\\) failed>",
    "generator_exit": "GeneratorExit",
    "memory": "MemoryError",
    "deep": "RecursionError: maximum recursion depth exceeded",
    "after_start": "ValueError: raised after start_response",
    "none": "TypeError: 'NoneType' object is not iterable",
    "number": "TypeError: 'int' object is not iterable",
    "text": "TypeError: .* must yield bytes, not <class 'str'>",
    "texts": "TypeError: .* must yield bytes, not <class 'str'>",
    "bytearray": "TypeError: .* must yield bytes, not <class 'bytearray'>",
    "no_start": "AssertionError: .* has not called start_response",
    "no_start_empty": "AssertionError: .* has not called start_response",
    "twice": "AssertionError: Response headers already set!",
    "in_first_piece": "ValueError: raised before the first piece",
    "writes_str": "TypeError: write\\(\\) argument must be bytes, not <class 'str'>",
    "crlf_value": "ValueError: invalid HTTP header value",
    "lf_value": "ValueError: invalid HTTP header value",
    "nul_value": "ValueError: invalid HTTP header value",
    "wide_value": "UnicodeEncodeError: 'latin-1'",
    "surrogate": "UnicodeEncodeError: 'latin-1'",
    "crlf_name": "ValueError: invalid HTTP header name",
    "space_name": "ValueError: invalid HTTP header name",
    "empty_name": "ValueError: invalid HTTP header name",
    "colon_name": "ValueError: invalid HTTP header name",
    "crlf_status": "ValueError: invalid HTTP status",
    "no_status": "ValueError: invalid HTTP status",
    "word_status": "ValueError: invalid HTTP status",
    "short_status": "ValueError: invalid HTTP status",
    "long_status": "ValueError: invalid HTTP status",
    "interim_status": "ValueError: invalid HTTP status",
    "huge_status": "ValueError: invalid HTTP status",
    "bytes_status": "TypeError: the status must be str",
    "number_status": "TypeError: the status must be str",
    "headers_tuple": "TypeError: the headers must be a list",
    "headers_dict": "TypeError: the headers must be a list",
    "headers_none": "TypeError: the headers must be a list",
    "header_list": "TypeError: a header must be a tuple",
    "header_triple": "TypeError: a header must be a tuple",
    "header_bytes": "TypeError: name and value of a header must be str",
    "header_number": "TypeError: name and value of a header must be str",
    "length_text": "ValueError: invalid Content-Length",
    "length_negative": "ValueError: invalid Content-Length",
    "two_lengths": "ValueError: invalid Content-Length",
    "one_argument": "TypeError: start_response\\(\\) takes",
    "four_arguments": "TypeError: start_response\\(\\) takes",
    "bad_exc_info": "TypeError: exc_info must be the tuple",
    "bad_keyword": "TypeError: start_response\\(\\) got an unexpected keyword",
}


def test_500_and_one_record_in_the_log(site):
    pid, _ = state(site)
    for case, last_line in REFUSED.items():
        with site.connect() as c:
            response = c.ask("GET", f"/{case}?secret")
            assert response.status == 500 and b"this must not be seen" not in response.body, case
            assert not response.all("X-A") and not response.all("X-B") and b"raised" not in response.body, case
            assert not response.keep or c.ask("GET", "/state").status == 200, case
        head = rf"\[\d{{4}}-.*\] \[{pid}\] \[ERROR\] Error handling request /{case}\?secret\n"
        record = site.wait_log(head + r"(?:(?!\[\d{4}-).*\n)*")[0][0]
        assert re.search(rf"^{last_line}", record, re.M), record
        assert state(site)[0] == pid, case
        assert len(re.findall(re.escape(f"Error handling request /{case}?"), site.log())) == 1, case


@pytest.mark.parametrize("case", ["in_second_piece", "in_second_piece_length", "exc_info_late", "mixed", "write_then_fail"])
def test_an_error_after_the_head_cuts_the_connection(site, case):
    pid, before = state(site)
    with site.connect() as c:
        with pytest.raises(Closed) as cut:
            c.ask("GET", "/" + case)
        assert b"0\r\n" not in cut.value.partial
    site.wait_log(f"Error handling request /{case}")
    assert "never" not in site.log()
    now, after = state(site)
    assert now == pid
    if case != "write_then_fail":
        assert after[case] == before.get(case, 0) + 1


def test_exc_info_after_the_head_is_raised_again(site):
    with site.connect() as c, pytest.raises(Closed):
        c.ask("GET", "/exc_info_late")
    site.wait_log("LookupError: the real reason")


@pytest.mark.parametrize("case", ["in_first_piece", "too_long", "too_short"])
def test_close_is_called_once(site, case):
    _, before = state(site)
    with site.connect() as c:
        try:
            c.ask("GET", "/" + case)
        except Closed:
            pass
    assert state(site)[1][case] == before.get(case, 0) + 1


def test_an_error_in_close_is_only_logged(site):
    with site.connect() as c:
        assert c.ask("GET", "/in_close").body == b"fine"
        assert state(site)[1]["in_close"] == 1
    site.wait_log("ValueError: raised by close")


def test_too_many_bytes_are_cut(site):
    with site.connect() as c:
        response = c.ask("GET", "/too_long")
        assert response.body == b"abcd"
        assert c.ended()
    site.wait_log("longer than its Content-Length")


def test_too_few_bytes_close_the_connection(site):
    with site.connect() as c, pytest.raises(Closed):
        c.ask("GET", "/too_short")
    site.wait_log("shorter than its Content-Length")


@pytest.mark.parametrize("case, body", [("bytes", b"bare bytes"), ("swallowed", b"recovered"), ("keyword", b"this must not be seen")])
def test_what_is_let_through(site, case, body):
    response = site.ask("GET", "/" + case)
    assert (response.status, response.body) == (200, body)


def test_connection_fields_of_the_app_are_dropped(site):
    with site.connect() as c:
        response = c.ask("GET", "/hop_by_hop")
        assert response.body == b"plain" and response.framing == "length" and response.keep
        assert not response.all("Keep-Alive") and not response.all("Connection")
        assert c.ask("GET", "/hop_by_hop").body == b"plain"
    site.wait_log("Response header Connection of the app dropped")


def test_what_an_app_keeps_is_of_no_use_later(site):
    with site.connect() as c:
        assert c.ask("POST", "/keeps", body=b"body").body == b""
        assert c.ask("GET", "/keeps").body == b"RuntimeError RuntimeError ValueError"
        assert c.ask("GET", "/state").status == 200


@pytest.mark.parametrize("case, error", [("exit", "SystemExit: 3"), ("interrupt", "KeyboardInterrupt")])
def test_an_app_that_ends_its_process_gets_a_new_one(site, case, error):
    pid, _ = state(site)
    with site.connect() as c:
        assert c.ask("GET", "/" + case).status == 500
    site.wait_log(error)
    site.wait_log(rf"Worker exiting \(pid: {pid}\)")
    assert state(site)[0] != pid


def test_a_failure_does_not_break_a_pipeline(site):
    with site.connect() as c:
        c.send(b"".join(request("GET", target) for target in ("/state", "/raises", "/state", "/texts", "/state")))
        seen = []
        while len(seen) < 5:
            seen.append(c.read().status)
        assert seen == [200, 500, 200, 500, 200]


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_where_none_may_be(site, status):
    with site.connect() as c:
        response = c.ask("GET", f"/{status}")
        assert (response.status, response.body) == (status, b"")
        assert state(site)[1][str(status)] == 1
        assert c.ask("GET", "/state").status == 200


def test_odd_sizes_of_reads(site):
    told = site.ask("POST", "/sizes", body=b"one\ntwo\nthree\nfour").text.split("\n")
    assert eval(told[0]) == [b"", b"", b"one\n", b"two\n", b"three\nfour", b"", b"", [], []]
    assert told[1:] == ["TypeError", "TypeError", "TypeError", "TypeError", "OverflowError", "too many"]
