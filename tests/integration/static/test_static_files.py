"""Files over real sockets, on every worker type: what is served, under which fields, and what a condition or a range makes of it."""

import os
import re
import signal
import time

import pytest

from lib import server as under_test
from lib.limits import until

CONFIG = """
pool "web" { worker_class = {worker}  keepalive = 20s }
file_cache { valid = 500ms }
server "main" {
    listen = "{address}"
    route "kept"    { match { prefix = "/kept/" }    static { root = "ROOT"  expires = 30d  cache_control = "public, immutable" } }
    route "epoch"   { match { prefix = "/epoch/" }   static { root = "ROOT"  expires = epoch } }
    route "sibling" { match { prefix = "/coded/" }   static { root = "ROOT/coded"  precompressed = {br, zstd, gzip} } }
    route "spa"     { match { prefix = "/spa/" }     static { root = "ROOT"  try = {'$rest', '$rest/index.html', 'index.html'} } }
    route "group"   { match { path = '^/group/(?<name>[a-z]+)$' }  static { root = "ROOT"  try = {'$name.txt'} } }
    route "list"    { match { prefix = "/list/" }    static { root = "ROOT"  listing = yes  index = {"none.html"} } }
    route "types"   { match { prefix = "/types/" }   static { root = "ROOT"  charset = off  types = {"text/x-strange txt odd"}  default_type = "text/x-default" } }
    route "behind"  { match { prefix = "/mixed/" }   static { root = "ROOT"  fallthrough = yes } }
    route "app"     { match { prefix = "/mixed/" }   respond { body = "the app" } }
    route "all"     { static { root = "ROOT" } }
}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    top = tmp_path_factory.mktemp("root")
    (top / "index.html").write_text("<h1>home</h1>")
    (top / "a.txt").write_text("0123456789")
    (top / "empty").write_bytes(b"")
    (top / "large.bin").write_bytes(bytes(range(256)) * 1200)
    (top / "noext").write_text("x")
    (top / "sub").mkdir()
    (top / "sub" / "index.html").write_text("<h1>sub</h1>")
    (top / "bare").mkdir()
    (top / "bare" / "<b>&\"'.txt").write_text("odd name")
    (top / "bare" / "dir").mkdir()
    (top / "bare" / ".hidden").write_text("no")
    (top / "coded").mkdir()
    (top / "coded" / "a.js").write_text("plain text")
    for suffix, text in ((".br", "as br"), (".zst", "as zstd"), (".gz", "as gzip")):
        (top / "coded" / ("a.js" + suffix)).write_text(text)
    (top / "coded" / "b.js").write_text("only plain")
    (top / "coded" / "c.js").write_text("or gzip")
    (top / "coded" / "c.js.gz").write_text("as gzip")
    for path in top.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return top


@pytest.fixture(scope="module")
def site(shared_monoceros, root):
    return shared_monoceros(config=CONFIG.replace("ROOT", str(root)))


def get(site, target, *headers, method="GET"):
    with site.connect() as connection:
        answer = connection.ask(method, target, headers=list(headers))
        assert answer.keep
        again = connection.ask(method, target, headers=list(headers))      # out of the cache
        assert (again.status, again.body) == (answer.status, answer.body)
        return answer


def test_a_file_and_its_fields(site):
    answer = get(site, "/a.txt")
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    assert answer.get("Last-Modified") == "Sun, 13 Sep 2020 12:26:40 GMT"
    assert re.fullmatch(r'"[0-9a-f]+-a"', answer.get("ETag"))
    assert answer.get("Accept-Ranges") == "bytes" and answer.get("Cache-Control") is None and answer.get("Vary") is None
    head = get(site, "/a.txt", method="HEAD")
    same = ("Content-Type", "Content-Length", "Last-Modified", "ETag", "Accept-Ranges")
    assert head.body == b"" and [head.get(name) for name in same] == [answer.get(name) for name in same]


@pytest.mark.parametrize("target, status, body", [
    ("/", 200, b"<h1>home</h1>"),
    ("/index.html", 200, b"<h1>home</h1>"),
    ("/sub/", 200, b"<h1>sub</h1>"),
    ("/empty", 200, b""),
    ("/large.bin", 200, bytes(range(256)) * 1200),
    ("/large.bin?x=1", 200, bytes(range(256)) * 1200),
    ("/kept/a.txt", 200, b"0123456789"),
    ("/kept", 404, None),               # no route of /kept/
    ("/kept/", 200, b"<h1>home</h1>"),
    ("/group/a", 200, b"0123456789"),
    ("/group/b", 404, None),
    ("/spa/a.txt", 200, b"0123456789"),
    ("/spa/sub", 200, b"<h1>sub</h1>"),
    ("/spa/some/page", 200, b"<h1>home</h1>"),
    ("/bare/", 404, None),
    ("/nothing", 404, None),
    ("/mixed/a.txt", 200, b"0123456789"),
    ("/mixed/nothing", 200, b"the app"),
    ("/mixed/bare/", 200, b"the app"),
])
def test_what_is_where(site, target, status, body):
    answer = get(site, target)
    assert answer.status == status
    assert body is None or answer.body == body


def test_a_directory_without_its_slash(site):
    answer = get(site, "/sub?a=b")
    assert answer.status == 301 and answer.get("Location") == "/sub/?a=b"
    assert get(site, "//sub").get("Location") == "/sub/"        # never a location of another site
    assert get(site, "/%73ub").get("Location") == "/sub/"
    assert get(site, "/list/bare/dir").get("Location") == "/list/bare/dir/"


def test_methods(site):
    for method in ("POST", "PUT", "DELETE"):
        answer = get(site, "/a.txt", ("Content-Length", "0"), method=method)
        assert answer.status == 405 and answer.get("Allow") == "GET, HEAD, OPTIONS"
    answer = get(site, "/a.txt", method="OPTIONS")
    assert answer.status == 204 and answer.get("Allow") == "GET, HEAD, OPTIONS"
    answer = site.ask("POST", "/mixed/a.txt", body=b"x" * 1000)
    assert answer.body == b"the app"


def test_how_long_it_may_be_kept(site):
    assert get(site, "/kept/a.txt").get("Cache-Control") == "max-age=2592000, public, immutable"
    assert get(site, "/epoch/a.txt").get("Cache-Control") == "no-cache"
    tag = get(site, "/kept/a.txt").get("ETag")
    answer = get(site, "/kept/a.txt", ("If-None-Match", tag))
    assert answer.status == 304 and answer.get("Cache-Control") == "max-age=2592000, public, immutable" and answer.get("ETag") == tag


def test_types(site):
    assert get(site, "/types/a.txt").get("Content-Type") == "text/x-strange"
    assert get(site, "/types/noext").get("Content-Type") == "text/x-default"
    assert get(site, "/noext").get("Content-Type") == "application/octet-stream"
    assert get(site, "/index.html").get("Content-Type") == "text/html; charset=utf-8"


@pytest.mark.parametrize("text", ["types {\n    text/x-read txt;\n    text/x-strange odd;\n}\n", "# a file\ntext/x-read\ttxt\ntext/x-strange\todd\n"])
def test_types_of_a_file(monoceros, root, tmp_path, text):
    types = tmp_path / "mime.types"
    types.write_text(text)
    site = monoceros(config='worker_class = {worker}\nkeepalive = 20\nserver "s" { listen = "{address}"\n route "own" { match { prefix = "/own/" }  static '
                            f'{{ root = "{root}"  types = {{"text/x-own txt"}}  mime_types = "{types}" }} }}\n'
                            f' route "all" {{ static {{ root = "{root}"  mime_types = "{types}" }} }} }}')
    assert get(site, "/a.txt").get("Content-Type") == "text/x-read; charset=utf-8"
    assert get(site, "/own/a.txt").get("Content-Type") == "text/x-own; charset=utf-8"
    assert get(site, "/index.html").get("Content-Type") == "text/html; charset=utf-8"
    printed = under_test.run("-c", site.directory / "test.conf", "--print-config")
    assert "mime_types" not in printed.stdout and "'text/x-strange odd'" in printed.stdout
    types.unlink()
    old = site.wait_workers(1)
    os.kill(old[0], signal.SIGKILL)
    until(lambda: site.workers() not in ([], old), "a successor, which needs no file")
    assert get(site, "/a.txt").get("Content-Type") == "text/x-read; charset=utf-8"


@pytest.mark.parametrize("text, word", [("text/html html\nhtml\n", ":2: a media type"), ("types {\n text/html html\n}\n", ":3: ';' is missing"), (None, "cannot read")])
def test_files_of_types_that_make_no_sense(monoceros, tmp_path, text, word):
    types = tmp_path / "mime.types"
    if text:
        types.write_text(text)
    site = monoceros(config=f'server "s" {{ listen = "{{address}}"  route "r" {{ static {{ root = "/x"  mime_types = "{types}" }} }} }}', ready=False)
    assert site.wait() == 1 and word in site.log() and str(types) in site.log()


@pytest.mark.parametrize("field, value, status", [
    ("If-None-Match", "{etag}", 304),
    ("If-None-Match", 'W/{etag}, "x"', 304),
    ("If-None-Match", '"x"', 200),
    ("If-None-Match", "*", 304),
    ("If-Match", "{etag}", 200),
    ("If-Match", '"x"', 412),
    ("If-Modified-Since", "Sun, 13 Sep 2020 12:26:40 GMT", 304),
    ("If-Modified-Since", "Sun, 13 Sep 2020 12:26:39 GMT", 200),
    ("If-Unmodified-Since", "Sun, 13 Sep 2020 12:26:39 GMT", 412),
])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(site, method, field, value, status):
    etag = get(site, "/a.txt").get("ETag")
    answer = get(site, "/a.txt", (field, value.replace("{etag}", etag)), method=method)
    assert answer.status == status
    assert status != 304 or (answer.body == b"" and answer.get("ETag") == etag and answer.get("Content-Type") is None)


@pytest.mark.parametrize("target", ["/a.txt", "/large.bin"])
@pytest.mark.parametrize("spec, part", [("0-0", slice(0, 1)), ("2-", slice(2, None)), ("-3", slice(-3, None)), ("3-5", slice(3, 6)),
                                        ("0-1000000", slice(0, None)), ("0-3,2-4", slice(0, 5))])
def test_one_range(site, root, target, spec, part):
    data = (root / target[1:]).read_bytes()
    answer = get(site, target, ("Range", "bytes=" + spec))
    assert answer.status == 206 and answer.body == data[part]
    start = range(len(data))[part][0]
    assert answer.get("Content-Range") == f"bytes {start}-{start + len(answer.body) - 1}/{len(data)}"


@pytest.mark.parametrize("target", ["/a.txt", "/large.bin"])
def test_several_ranges(site, root, target):
    data = (root / target[1:]).read_bytes()
    answer = get_once(site, target, ("Range", "bytes=0-1,5-6,-2"))
    assert answer.status == 206
    boundary = re.fullmatch(r"multipart/byteranges; boundary=([\w-]+)", answer.get("Content-Type")).group(1).encode()
    parts = answer.body.split(b"\r\n--" + boundary)
    assert parts[0] == b"" and parts[-1] == b"--\r\n" and len(parts) == 5
    for part, (start, end) in zip(parts[1:-1], [(0, 2), (5, 7), (len(data) - 2, len(data))]):
        head, body = part.split(b"\r\n\r\n", 1)
        assert body == data[start:end]
        assert b"Content-Range: bytes %d-%d/%d" % (start, end - 1, len(data)) in head and b"Content-Type: " in head


def get_once(site, target, *headers):
    with site.connect() as connection:
        answer = connection.ask("GET", target, headers=list(headers))
        assert connection.ask("GET", "/a.txt").body == b"0123456789"       # the framing was right
        return answer


def test_ranges_that_are_not_given(site):
    for spec in ("10-", "-0", "20-30,40-"):
        answer = get(site, "/a.txt", ("Range", "bytes=" + spec))
        assert answer.status == 416 and answer.get("Content-Range") == "bytes */10" and answer.body == b""
    many = ",".join(f"{i}-{i}" for i in range(0, 34, 2))
    for value in ("bytes=5-2", "lines=0-1", "bytes=a-b", f"bytes={many}"):
        assert get(site, "/large.bin", ("Range", value)).status == 200
    overlapping = "bytes=" + ",".join(["0-"] * 16)          # Apache CVE-2011-3192
    assert len(get(site, "/large.bin", ("Range", overlapping)).body) == 256 * 1200
    assert get(site, "/a.txt", ("Range", "bytes=0-1"), method="HEAD").status == 200


def test_if_range(site):
    etag = get(site, "/a.txt").get("ETag")
    for value, status in ((etag, 206), ("W/" + etag, 200), ('"x"', 200), ("Sun, 13 Sep 2020 12:26:40 GMT", 206), ("Sun, 13 Sep 2020 12:26:41 GMT", 200)):
        assert get(site, "/a.txt", ("Range", "bytes=0-1"), ("If-Range", value)).status == status


@pytest.mark.parametrize("target, accept, body, coding", [
    ("/coded/a.js", None, b"plain text", None),
    ("/coded/a.js", "gzip", b"as gzip", "gzip"),
    ("/coded/a.js", "gzip, deflate, br, zstd", b"as br", "br"),
    ("/coded/a.js", "gzip, zstd", b"as zstd", "zstd"),
    ("/coded/a.js", "br;q=0.5, gzip", b"as gzip", "gzip"),
    ("/coded/a.js", "br;q=0", b"plain text", None),
    ("/coded/a.js", "*", b"as br", "br"),
    ("/coded/b.js", "br, gzip", b"only plain", None),
    ("/coded/c.js", "br, gzip", b"as gzip", "gzip"),
])
def test_compressed_siblings(site, target, accept, body, coding):
    headers = [("Accept-Encoding", accept)] if accept else []
    answer = get(site, target, *headers)
    assert (answer.status, answer.body, answer.get("Content-Encoding")) == (200, body, coding)
    assert answer.get("Vary") == "Accept-Encoding" and answer.get("Content-Type") == "text/javascript; charset=utf-8"
    assert get(site, target, ("If-None-Match", answer.get("ETag")), *headers).status == 304
    if coding:
        assert get(site, target).get("ETag") != answer.get("ETag")


def test_a_listing(site):
    answer = get(site, "/list/bare/")
    assert answer.status == 200 and answer.get("Content-Type") == "text/html; charset=utf-8"
    assert "<b>" not in answer.text and "&lt;b&gt;&amp;&quot;&#39;.txt" in answer.text and ".hidden" not in answer.text
    links = re.findall(r'href="([^"]*)"', answer.text)
    assert links == ["../", "./dir/", "./%3Cb%3E&%22'.txt"]
    assert get(site, "/list/bare/" + links[2][2:]).body == b"odd name"
    assert get(site, "/list/bare/dir/").status == 200
    assert get(site, "/bare/").status == 404


def test_changes_are_seen(site, root):
    target = root / "changes.txt"
    assert get(site, "/changes.txt").status == 404
    for text in ("first", "second, longer", "third"):
        fresh = root / ".new"
        fresh.write_text(text)
        os.replace(fresh, target)
        until(lambda text=text: site.ask("GET", "/changes.txt").body == text.encode(), "the new content")
    target.unlink()
    until(lambda: site.ask("GET", "/changes.txt").status == 404, "its end")


def test_never_half_of_two_files(site, root):
    """Replaced all the time while it is read: every answer is one of the versions, whole, with its own tag."""
    target, tags = root / "swap.bin", {}
    for _ in range(60):
        for letter in (b"a" * 70_000, b"b" * 50_000):
            fresh = root / ".swap"
            fresh.write_bytes(letter)
            os.replace(fresh, target)
            with site.connect() as connection:
                for _ in range(3):
                    answer = connection.ask("GET", "/swap.bin")
                    assert answer.status == 200 and answer.body in (b"a" * 70_000, b"b" * 50_000)
                    assert tags.setdefault(answer.get("ETag"), answer.body) == answer.body


def test_a_slow_reader_of_a_large_file_holds_nobody_up(site, root):
    data = os.urandom(1 << 20) * 10
    (root / "ten.bin").write_bytes(data)
    slow = [site.connect(rcvbuf=4096) for _ in range(5)]
    for connection in slow:
        connection.send(b"GET /ten.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(20):
        assert site.ask("GET", "/a.txt").body == b"0123456789"
    for connection in slow[1:]:
        connection.close()
    with slow[0] as connection:
        assert connection.read().body == data
    assert site.ask("GET", "/ten.bin").body == data


def test_a_file_that_shrinks_is_cut(site, root):
    path = root / "shrinks.bin"
    path.write_bytes(b"x" * 8_000_000)
    with site.connect(rcvbuf=4096) as connection:
        connection.send(b"GET /shrinks.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.sock.recv(1000).startswith(b"HTTP/1.1 200")
        os.truncate(path, 100)
        got = 0
        try:
            while piece := connection.sock.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
        assert got < 8_000_000      # closed, not filled up with something else
    assert site.ask("GET", "/a.txt").status == 200


def test_settings_that_make_no_sense(monoceros):
    for text, word in (("static { }", "root is missing"), ('static { root = "/x"  symlinks = maybe }', "symlinks"),
                       ('static { root = "/x"  precompressed = {lzma} }', "precompressed"), ('static { root = "/x"  expires = soon }', "expires"),
                       ('static { root = "/x"  index = {"../x"} }', "index"), ('static { root = "/x"  types = {"nothing"} }', "types"),
                       ("static { root = '/x'  try = {'$nothing'} }", "nothing")):
        site = monoceros(config='server "s" { listen = "{address}"  route "r" { %s } }' % text, ready=False)
        assert site.wait() == 1 and word in site.log()
