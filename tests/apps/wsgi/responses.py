"""Apps that answer in every way that PEP 3333 knows; the path picks one. All of them also pass wsgiref.validate."""

import io
import os
import sys
import tempfile
from wsgiref.validate import validator

TEXT = ("Content-Type", "text/plain")
closed = {}     # name of a case: how often the server called close() on its result


class Result:
    """An iterable whose close() is counted."""

    def __init__(self, name, pieces, length=None):
        self.name = name
        self.pieces = iter(pieces)
        self.length = length
        closed.setdefault(name, 0)

    def __iter__(self):
        return self.pieces

    def close(self):
        closed[self.name] += 1


class Sized(Result):
    def __len__(self):
        return self.length


def one(environ, start_response):
    start_response("200 OK", [TEXT])
    return [b"one piece"]


def many(environ, start_response):
    start_response("200 OK", [TEXT])
    return [b"a", b"", b"bc", b"d" * 20000, b"e" * 3]


def a_tuple(environ, start_response):
    start_response("200 OK", [TEXT])
    return (b"x", b"y")


def nothing(environ, start_response):
    start_response("200 OK", [TEXT])
    return []


def empty_pieces(environ, start_response):
    start_response("200 OK", [TEXT])
    return [b"", b""]


def generator(environ, start_response):
    start_response("200 OK", [TEXT])
    yield b""
    yield b"first "
    yield b""
    yield b"second"


def silent_generator(environ, start_response):
    start_response("200 OK", [TEXT])
    yield b""


def late_start(environ, start_response):
    """start_response() is called on the way to the first bytes."""
    def pieces():
        start_response("202 Accepted", [TEXT])
        yield b"late"
    return Result("late_start", pieces())


def counted(environ, start_response):
    start_response("200 OK", [TEXT])
    return Result("counted", [b"a", b"b"])


def sized(environ, start_response):
    """len() == 1: the server may tell the length."""
    start_response("200 OK", [TEXT])
    return Sized("sized", [b"just this"], 1)


def with_length(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "6")])
    return Result("with_length", [b"abc", b"def"])


def writer(environ, start_response):
    write = start_response("200 OK", [TEXT])
    write(b"written ")
    write(b"")
    write(b"twice ")
    return [b"and returned"]


def writer_only(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "7")])(b"written")
    return []


def custom_reason(environ, start_response):
    start_response("299 So, it's fine!", [TEXT])
    return [b"ok"]


def latin1(environ, start_response):
    start_response("200 Tr\xe8s bien", [TEXT, ("X-Name", "caf\xe9")])
    return [b"ok"]


def cookies(environ, start_response):
    start_response("200 OK", [TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"), ("set-cookie", "c=3")])
    return [b"ok"]


def many_names(environ, start_response):
    """More than the server keeps in mind, made anew each time."""
    fields = [(f"X-{i}", str(i)) for i in range(300)]
    start_response("200 OK", [TEXT, *fields, ("X-" + "l" * 100, "long"), ("Content-" + "Length", "2")])
    return [b"ok"]


def own_date(environ, start_response):
    start_response("200 OK", [TEXT, ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Server", "me")])
    return [b"ok"]


def no_content(environ, start_response):
    start_response("204 No Content", [])
    return []


def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return []


def replaced(environ, start_response):
    """An error before anything was sent: the second call replaces the first."""
    start_response("200 OK", [TEXT, ("X-First", "1")])
    try:
        raise ValueError("thought better of it")
    except ValueError:
        start_response("500 Changed", [TEXT, ("X-Second", "2")], sys.exc_info())
    return [b"replaced"]


def late_header(environ, start_response):
    """The list of headers may change until the first bytes."""
    headers = [TEXT, ("X-Early", "1")]
    start_response("200 OK", headers)
    def pieces():
        headers[1] = ("X-Late", "2")
        headers.append(("X-Later", "3"))
        yield b"late"
    return pieces()


def reads(environ, start_response):
    """wsgi.input as the query says: read, readline, readlines, iter."""
    body, how = environ["wsgi.input"], environ["QUERY_STRING"]
    if how == "lines":
        parts = body.readlines()
    elif how == "hint":
        parts = [*body.readlines(5), b"|", *body.readlines(1 << 20)]
    elif how == "iter":
        parts = list(body)
    elif how == "mixed":
        parts = [body.readline(), b"|", body.read(3), b"|", body.readline(2), b"|", body.readline(), b"|", body.read(1 << 20)]
    else:
        parts = []
        while part := body.read(int(how)):
            parts.append(part)
            parts.append(b"|")
    parts += [body.read(10), body.readline(), *body.readlines()]    # the end stays the end
    start_response("200 OK", [TEXT])
    return [b"".join(parts)]


def logs(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("one whole line\n")
    errors.write("a line ")
    errors.write("in parts\nand ")
    errors.writelines(["another ", "with \u20ac and \udcff\n"])
    errors.flush()
    errors.write("without an end")
    start_response("200 OK", [TEXT])
    return [b"ok"]


def a_file(environ, start_response):
    """A real file of 300000 bytes from offset 5."""
    file = tempfile.TemporaryFile()
    file.write(bytes(range(250)) * 1200)
    file.seek(5)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](file, 4096)


def a_memory_file(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"0123456789" * 1000), 1000)


def a_named_file(environ, start_response):
    """With a Content-Length that is less than the file has."""
    file = tempfile.NamedTemporaryFile()
    file.write(b"0123456789")
    file.flush()
    file.seek(0)
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", "4")])
    return environ["wsgi.file_wrapper"](file)


class Pipe(io.RawIOBase):
    """Has a fileno() that is not what read() gives."""

    def __init__(self):
        self.file = open(os.devnull, "rb")
        self.left = [b"not ", b"the ", b"file"]

    def fileno(self):
        return self.file.fileno()

    def read(self, size=-1):
        return self.left.pop(0) if self.left else b""

    def close(self):
        closed["pipe"] = closed.get("pipe", 0) + 1
        self.file.close()
        super().close()


def a_pipe(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](Pipe())


def hints(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload"), ("Link", "</app.js>; rel=preload")])
    start_response("200 OK", [TEXT])
    return [b"hinted"]


def counts(environ, start_response):
    start_response("200 OK", [TEXT])
    return [repr(sorted(closed.items())).encode()]


def missing(environ, start_response):
    start_response("404 Not Found", [TEXT])
    return [b"no such case"]


def app(environ, start_response):
    return globals().get(environ["PATH_INFO"].strip("/"), missing)(environ, start_response)


validated = validator(app)
