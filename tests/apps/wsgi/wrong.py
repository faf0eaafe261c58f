"""Apps that do what PEP 3333 forbids, or fail; the path picks one. The next request must be served as if nothing had been."""

import os
import sys

TEXT = ("Content-Type", "text/plain")
closed = {}
kept = []


class Result:
    def __init__(self, name, pieces, at_close=None):
        self.name = name
        self.pieces = iter(pieces)
        self.at_close = at_close

    def __iter__(self):
        return self.pieces

    def close(self):
        closed[self.name] = closed.get(self.name, 0) + 1
        if self.at_close:
            raise self.at_close


def respond(result):
    """An app that starts a good response and returns this."""
    def case(environ, start_response):
        start_response("200 OK", [TEXT])
        return result
    return case


def start(*arguments, **keywords):
    """An app that calls start_response like this."""
    def case(environ, start_response):
        start_response(*arguments, **keywords)
        return [b"this must not be seen"]
    return case


def raising(error):
    def case(environ, start_response):
        raise error
    return case


def after_start(environ, start_response):
    start_response("200 OK", [TEXT])
    raise ValueError("raised after start_response")


def no_start(environ, start_response):
    return [b"this must not be seen"]


def no_start_empty(environ, start_response):
    return []


def swallowed(environ, start_response):
    """The error of a bad header is not the end if the app goes on with good ones."""
    try:
        start_response("200 OK", [("Bad\r\nName", "x")])
    except ValueError:
        start_response("200 OK", [TEXT])
    return [b"recovered"]


def twice(environ, start_response):
    start_response("200 OK", [TEXT])
    start_response("200 OK", [TEXT])
    return [b"this must not be seen"]


def in_first_piece(environ, start_response):
    start_response("200 OK", [TEXT])
    def pieces():
        raise ValueError("raised before the first piece")
        yield b""
    return Result("in_first_piece", pieces())


def in_second_piece(environ, start_response):
    start_response("200 OK", [TEXT])
    def pieces():
        yield b"first"
        raise ValueError("raised after the first piece")
    return Result("in_second_piece", pieces())


def in_second_piece_length(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "100")])
    def pieces():
        yield b"first"
        raise ValueError("raised after the first piece")
    return Result("in_second_piece_length", pieces())


def exc_info_late(environ, start_response):
    """Too late to change the answer: start_response() raises the error again."""
    start_response("200 OK", [TEXT])
    def pieces():
        yield b"first"
        try:
            raise LookupError("the real reason")
        except LookupError:
            start_response("500 Late", [TEXT], sys.exc_info())
        yield b"never"
    return Result("exc_info_late", pieces())


def in_close(environ, start_response):
    start_response("200 OK", [TEXT])
    return Result("in_close", [b"fine"], ValueError("raised by close"))


def mixed(environ, start_response):
    start_response("200 OK", [TEXT])
    return Result("mixed", [b"fine", "not bytes"])


def writes_str(environ, start_response):
    start_response("200 OK", [TEXT])("str")
    return []


def write_then_fail(environ, start_response):
    start_response("200 OK", [TEXT])(b"first")
    raise ValueError("raised after write")


def too_long(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "4")])
    return Result("too_long", [b"abc", b"defgh"])


def too_short(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "10")])
    return Result("too_short", [b"abc"])


def two_lengths(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "4"), ("Content-Length", "5")])
    return [b"abcd"]


def hop_by_hop(environ, start_response):
    start_response("200 OK", [TEXT, ("Connection", "keep-alive"), ("Transfer-Encoding", "chunked"), ("Keep-Alive", "5")])
    return [b"plain"]


def keeps(environ, start_response):
    """Keeps everything that belongs to one request; what it kept is of no use later."""
    start_response("200 OK", [TEXT])
    told = []
    if kept:
        old_environ, old_start, old_write = kept.pop()
        for attempt in (lambda: old_start("200 OK", [TEXT]), lambda: old_write(b"x"), lambda: old_environ["wsgi.input"].read()):
            try:
                attempt()
                told.append("nothing")
            except Exception as error:
                told.append(type(error).__name__)
    else:
        write = start_response.__self__ and start_response("200 OK", [TEXT], (ValueError, ValueError("x"), None))
        kept.append((environ, start_response, write))
    return [" ".join(told).encode()]


def body_with(status):
    def case(environ, start_response):
        start_response(status, [TEXT])
        return Result(status[:3], [b"this must ", b"not be seen"])
    return case


def sizes(environ, start_response):
    """Sizes that wsgiref.validate does not let an app ask for."""
    body = environ["wsgi.input"]
    parts = [body.read(0), body.readline(0), body.readline(-1), body.readline(None), body.read(None), body.read(), body.read(-1),
             body.readlines(0), body.readlines(None)]
    told = [repr(parts)]
    for name, argument in (("read", "5"), ("read", 5.0), ("readline", "5"), ("readlines", "5"), ("read", 1 << 80)):
        try:
            getattr(body, name)(argument)
            told.append("nothing")
        except Exception as error:
            told.append(type(error).__name__)
    try:
        body.read(1, 2)
    except TypeError:
        told.append("too many")
    start_response("200 OK", [TEXT])
    return ["\n".join(told).encode()]


def deep(environ, start_response):
    return deep(environ, start_response)


class Base(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


CASES = {
    "raises": raising(ValueError("raised at once")),
    "base": raising(Base("not even an Exception")),
    "unprintable": raising(Unprintable()),
    "generator_exit": raising(GeneratorExit()),
    "memory": raising(MemoryError()),
    "exit": raising(SystemExit(3)),
    "interrupt": raising(KeyboardInterrupt()),
    "none": respond(None),
    "number": respond(5),
    "text": respond("text"),
    "texts": respond(["text"]),
    "bytes": respond(b"bare bytes"),
    "bytearray": respond([bytearray(b"x")]),
    "crlf_value": start("200 OK", [TEXT, ("X-A", "a\r\nX-B: b")]),
    "lf_value": start("200 OK", [TEXT, ("X-A", "a\nX-B: b")]),
    "nul_value": start("200 OK", [TEXT, ("X-A", "a\0b")]),
    "wide_value": start("200 OK", [TEXT, ("X-A", "\u20ac")]),
    "surrogate": start("200 OK", [TEXT, ("X-A", "\udcff")]),
    "crlf_name": start("200 OK", [TEXT, ("X-A\r\nX-B", "b")]),
    "space_name": start("200 OK", [TEXT, ("X A", "b")]),
    "empty_name": start("200 OK", [TEXT, ("", "b")]),
    "colon_name": start("200 OK", [TEXT, ("X:", "b")]),
    "crlf_status": start("200 OK\r\nX-A: b", [TEXT]),
    "no_status": start("", [TEXT]),
    "word_status": start("OK", [TEXT]),
    "short_status": start("20 OK", [TEXT]),
    "long_status": start("2000 OK", [TEXT]),
    "interim_status": start("100 Continue", [TEXT]),
    "huge_status": start("600 What", [TEXT]),
    "bytes_status": start(b"200 OK", [TEXT]),
    "number_status": start(200, [TEXT]),
    "headers_tuple": start("200 OK", (TEXT,)),
    "headers_dict": start("200 OK", dict([TEXT])),
    "headers_none": start("200 OK", None),
    "header_list": start("200 OK", [list(TEXT)]),
    "header_triple": start("200 OK", [("a", "b", "c")]),
    "header_bytes": start("200 OK", [(b"X-A", b"b")]),
    "header_number": start("200 OK", [("X-A", 5)]),
    "length_text": start("200 OK", [("Content-Length", "many")]),
    "length_negative": start("200 OK", [("Content-Length", "-1")]),
    "one_argument": start("200 OK"),
    "four_arguments": start("200 OK", [TEXT], None, None),
    "bad_exc_info": start("200 OK", [TEXT], "exc_info"),
    "bad_keyword": start("200 OK", [TEXT], error=None),
    "204": body_with("204 No Content"),
    "304": body_with("304 Not Modified"),
    "sizes": sizes,
    "keyword": start(status="200 OK", headers=[TEXT], exc_info=None),
}
CASES.update({name: case for name, case in list(globals().items()) if callable(case) and name in (
    "after_start", "no_start", "no_start_empty", "swallowed", "twice", "in_first_piece", "in_second_piece", "in_second_piece_length",
    "exc_info_late", "in_close", "mixed", "writes_str", "write_then_fail", "too_long", "too_short", "two_lengths", "hop_by_hop", "keeps", "deep")})


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    if name in CASES:
        return CASES[name](environ, start_response)
    start_response("200 OK", [TEXT])
    return [repr((os.getpid(), sorted(closed.items()))).encode()]
