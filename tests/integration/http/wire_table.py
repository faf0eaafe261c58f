"""The bytes-on-the-wire table: requests that are malformed or at the edge, and what may come back.

A row is: name, bytes, the statuses allowed for each answer in turn, whether the server must close. Rows with `echo` need an app at
/echo that sends a body back; the others only need 200 at every path. Run alone against any server: python3 wire_table.py HOST PORT [echo]
"""

import re
from dataclasses import dataclass, field

HOST = b"Host: localhost\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n"
OLD = b"GET / HTTP/1.0\r\n"
SECOND = GET + HOST + b"Connection: close\r\n\r\n"      # pipelined: a second answer after a refusal is a desync
CHUNKED = POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
SERVED = frozenset(range(200, 400))
BAD = frozenset([400])
CODING = frozenset([400, 501])
LARGE = frozenset([400, 413, 431])
LINE = frozenset([400, 413, 414, 431, 501])
KEEP, CLOSE, EITHER = "keep", "close", "either"


@dataclass
class Row:
    name: str
    data: bytes                     # or a list: the later parts are sent when something has come back
    answers: list                   # allowed statuses, one set for each answer
    end: str = CLOSE
    fin: bool = False               # the client half-closes after its bytes
    fewer: bool = False             # fewer answers will do (a connection that is only closed)
    methods: tuple = ()             # of the requests that are answered; GET for the rest
    echo: bool = False
    body: bytes = None              # of the first answer
    interim: tuple = (0,)           # how many 1xx answers there may be
    want: dict = field(default_factory=dict)    # header fields of the first answer: text, or None for absent


ROWS = []


def refuse(name, data, statuses=BAD, then=SECOND, **options):
    """One refusal, then the connection ends, whatever follows."""
    tail = then if isinstance(data, bytes) else b""
    ROWS.append(Row(name, data + tail if tail else data, [frozenset(statuses)], **options))


def serve(name, data, count=1, end=KEEP, **options):
    ROWS.append(Row(name, data, [SERVED] * count, end, **options))


def twice(name, data, **options):
    """Served, and the request behind it as well."""
    serve(name, data + SECOND, 2, CLOSE, **options)


# --- request line
serve("plain", GET + HOST + b"\r\n")
serve("1.0 without Host", OLD + b"\r\n", end=CLOSE)
serve("1.2 as 1.1", b"GET / HTTP/1.2\r\n" + HOST + b"\r\n")
serve("1.9 as 1.1", b"GET / HTTP/1.9\r\n" + HOST + b"\r\n")
serve("one empty line before", b"\r\n" + GET + HOST + b"\r\n")
serve("two empty lines before", b"\r\n\r\n" + GET + HOST + b"\r\n")
twice("empty line between", GET + HOST + b"\r\n\r\n")
refuse("three empty lines before", b"\r\n\r\n\r\n" + GET + HOST + b"\r\n")
for version in (b"http/1.1", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1.1x", b"HTCPCP/1.1", b"HTTP/1.", b"HTTP/11", b"HTTP/1,1", b"HTTP/-1.1",
                b"HTTP /1.1", b"HTTP/1.1 ", b" HTTP/1.1", b"x HTTP/1.1", b"HTTPS/1.1", b"ICE/1.0", b"\tHTTP/1.1", b"HTTP/1.1\t"):
    refuse(f"version {version!r}", b"GET / " + version + b"\r\n" + HOST + b"\r\n")
for version in (b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9", b"HTTP/9.9"):
    refuse(f"version {version!r}", b"GET / " + version + b"\r\n" + HOST + b"\r\n", {400, 505})
refuse("no version", b"GET /\r\n", then=b"")
refuse("no target", b"GET HTTP/1.1\r\n" + HOST + b"\r\n")
refuse("empty target", b"GET  HTTP/1.1\r\n" + HOST + b"\r\n")
refuse("method only", b"GET\r\n" + HOST + b"\r\n")
refuse("SP before the method", b" " + GET + HOST + b"\r\n")
refuse("TAB before the method", b"\t" + GET + HOST + b"\r\n")
refuse("two SP after the method", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n")
refuse("TAB after the method", b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n")
refuse("SP inside the target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n")
refuse("bare LF ends the request line", b"GET / HTTP/1.1\n" + HOST + b"\r\n")
refuse("bare CR ends the request line", b"GET / HTTP/1.1\r" + HOST + b"\r\n")
refuse("CR CR LF ends the request line", b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n")
for method in (b"GE(T", b"GET:", b"GET\0", b"GET\xc3", b"GET\x7f", b"\"GET\"", b"G\x01ET", b"{GET}"):
    refuse(f"method {method!r}", method + b" / HTTP/1.1\r\n" + HOST + b"\r\n")
for method in (b"BREW", b"QUERY", b"VERSION-CONTROL", b"-BLARGH"):
    serve(f"method {method!r}", method + b" / HTTP/1.1\r\n" + HOST + b"\r\n")
for method in (b"get", b"Get", b"GETx", b"BREW#"):
    refuse(f"method {method!r}", method + b" / HTTP/1.1\r\n" + HOST + b"\r\n", {400, 405, 501})
refuse("method of 100 kB", b"A" * 100000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", LINE)
refuse("line of 200 kB", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", LINE)
refuse("line of 4,095", b"GET /" + b"a" * 4081 + b" HTTP/1.1\r\n" + HOST + b"\r\n", {414})
serve("line of 4,094", b"GET /" + b"a" * 4080 + b" HTTP/1.1\r\n" + HOST + b"\r\n")
refuse("CONNECT", b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", {400, 405, 501})
refuse("CONNECT with a path", b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n", {400, 405, 501})
refuse("TRACE", b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", {405})
serve("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n")

# --- target
serve("absolute form", b"GET http://localhost/x HTTP/1.1\r\n" + HOST + b"\r\n")
serve("absolute form without path", b"GET http://localhost HTTP/1.1\r\n" + HOST + b"\r\n")
serve("absolute form of another host", b"GET http://other/ HTTP/1.1\r\n" + HOST + b"\r\n")
serve("raw bytes over 0x7f", b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n")
serve("marks that no RFC allows and browsers send", b"GET /{a}|^`\"<>\\?{b}|^`\"<>\\ HTTP/1.1\r\n" + HOST + b"\r\n")
serve("percent in the query", b"GET /?q=100% HTTP/1.1\r\n" + HOST + b"\r\n")
for target in (b"*", b"foo", b"localhost:80", b"?x", b"#", b"/#x", b"http://u:p@localhost/", b"ftp://localhost/", b"http://", b"http:///x",
               b"http://localhost:99999/", b"http://a b/", b"/%", b"/%4", b"/%zz", b"/%00", b"/\0", b"/\x7f", b"/\x01", b"/a\tb", b"*x"):
    refuse(f"target {target!r}", b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
for target in (b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/..%2f..%2fetc/passwd", b"/a/../../etc/passwd", b"//../etc/passwd"):
    refuse(f"target {target!r}", b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
for target in (b"/..\\..\\etc/passwd", b"/%c0%af../etc/passwd", b"/%252e%252e/etc/passwd", b"/..;/etc/passwd", b"/a/../b", b"//a//b", b"/."):
    serve(f"target {target!r}", b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")

# --- Host
refuse("no Host", GET + b"\r\n")
refuse("no Host but absolute form", b"GET http://localhost/ HTTP/1.1\r\n\r\n")
refuse("two Hosts", GET + HOST + HOST + b"\r\n")
refuse("two Hosts on 1.0", OLD + HOST + b"host: b\r\n\r\n")
for host in (b"a b", b"a/b", b"u@a", b"<a>", b"a\"b", b"a:8o", b"\xe9a", b"[::1", b"a#b", b"a?b", b"a\\b", b"a\0b", b"a:99999", b"a:80:80", b"",
             b":80", b"a,b", b"a, b", b"[::1]x", b"[]", b"[1.2.3.4]", b"[fe80::1%25eth0]", b"::1", b"a:-1", b"a%00b", b"http://a", b"a\tb"):
    refuse(f"Host {host!r}", GET + b"Host: " + host + b"\r\n\r\n")
refuse("bad Host beside a good absolute form", b"GET http://localhost/ HTTP/1.1\r\nHost: a b\r\n\r\n")
for host in (b"[::1]:80", b"[::1]", b"localhost:80", b"localhost:", b"1.2.3.4", b"example.org."):
    serve(f"Host {host!r}", GET + b"hOsT: " + host + b"\r\n\r\n")

# --- fields
refuse("obs-fold", GET + HOST + b"X: a\r\n b\r\n\r\n")
refuse("obs-fold with TAB", GET + HOST + b"X: a\r\n\tb\r\n\r\n")
refuse("obs-fold before the first field", GET + b" " + HOST + b"\r\n")
refuse("obs-fold of blanks", GET + HOST + b"X: a\r\n \r\n\r\n")
refuse("obs-fold in Content-Length", POST + HOST + b"Content-Length:\r\n 5\r\n\r\nhello")
refuse("obs-fold in Transfer-Encoding", POST + HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n")
refuse("line without colon", GET + HOST + b"nothing\r\n\r\n")
for name in (b"", b"X ", b"X\t", b"X Y", b"X(", b"X\0", b"X\x7f", b"X\xc3", b"\"X\"", b" X", b"X\x0b", b"X\r", b"{", b"X/Y"):
    refuse(f"name {name!r}", GET + HOST + name + b": y\r\n\r\n")
for value in (b"\0", b"a\0b", b"\x01", b"\x7f", b"\x0b", b"a\rb", b"\x1b[0m", b"a\nb", b"\x08"):
    refuse(f"value {value!r}", GET + HOST + b"X: " + value + b"\r\n\r\n")
refuse("bare LF after a field", GET + HOST + b"X: a\n\r\n")
refuse("bare LF as the empty line", GET + HOST + b"\n", then=b"")
refuse("only LF", b"GET / HTTP/1.1\nHost: localhost\n\n")
refuse("CR and a letter as the empty line", GET + HOST + b"\rZ", then=b"")
refuse("CR CR LF as the empty line", GET + HOST + b"\r\r\n")
refuse("CR CR LF after a field", GET + HOST + b"X: a\r\r\n\r\n")
refuse("two Content-Types", GET + HOST + b"Content-Type: a\r\nContent-Type: b\r\n\r\n")
serve("name of every tchar", GET + HOST + b"!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n")
serve("obs-text value", GET + HOST + b"X: \x80\xff\xe9\r\n\r\n")
serve("TAB as OWS", GET + b"Host:\tlocalhost\t\r\nX:\t a \t\r\n\r\n")
serve("no OWS, empty value", GET + b"Host:localhost\r\nX:\r\nY: \r\n\r\n")
serve("90 fields", GET + HOST + b"".join(b"X-%d: y\r\n" % i for i in range(89)) + b"\r\n")
refuse("101 fields", GET + HOST + b"".join(b"X-%d: y\r\n" % i for i in range(100)) + b"\r\n", {431})
refuse("20,000 fields", GET + HOST + b"X: y\r\n" * 20000 + b"\r\n", LARGE)
refuse("value of 200 kB", GET + HOST + b"X: " + b"y" * 200000 + b"\r\n\r\n", LARGE)
refuse("name of 200 kB", GET + HOST + b"X" * 200000 + b": y\r\n\r\n", LARGE)
refuse("100 kB of head in good fields", GET + HOST + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 2000) for i in range(50)) + b"\r\n", LARGE)
refuse("bad field and 256 kB after it", POST + HOST + b"X : y\r\nContent-Length: 262144\r\n\r\n" + b"z" * 262144, then=b"")
refuse("NUL in a head that does not end", GET + HOST + b"X: \0", then=b"")

# --- Content-Length
for value in (b"-5", b"-0", b"+5", b"0x5", b"5e0", b"5.0", b"0_5", b"5a", b"5 5", b"\"5\"", b"", b"abc", b"5, 6", b"\x0b5", b"5\xa0", b"\"\\\"5\\\"\"",
              b"\xef\xbc\x95", b"5, 5", b"5,", b",5", b"5;a", b"5\0", b"0 5", b"five", b"5\r"):
    refuse(f"Content-Length {value!r}", POST + HOST + b"Content-Length: " + value + b"\r\n\r\nhello")
refuse("Content-Length twice, equal", POST + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
refuse("Content-Length twice", POST + HOST + b"Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello")
refuse("Content-Length SP colon", POST + HOST + b"Content-Length : 5\r\n\r\nhello")
for value in (2**63, 2**64, 2**64 + 5, 2**96 + 5):
    refuse(f"Content-Length {value}", POST + HOST + b"Content-Length: %d\r\n\r\nhello" % value, {400, 413})
refuse("Content-Length over the limit", POST + HOST + b"Content-Length: %d\r\n\r\nhello" % (2**63 - 1), {413})
twice("Content-Length 0", POST + HOST + b"Content-Length: 0\r\n\r\n", methods=("POST",))
twice("Content-Length 0005", POST + HOST + b"Content-Length: 0005\r\n\r\nhello", methods=("POST",))
twice("body on GET", GET + HOST + b"Content-Length: 5\r\n\r\nhello")
twice("Content_Length is another name", POST + HOST + b"Content_Length: 99\r\nContent-Length: 5\r\n\r\nhello")
twice("CRLF after a body", POST + HOST + b"Content-Length: 5\r\n\r\nhello\r\n")

# --- Transfer-Encoding
for order in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
              b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
              b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n"):
    refuse(f"both: {order!r}", POST + HOST + order + b"\r\n0\r\n\r\n", CODING)
for value in (b"chunked, identity", b"identity, chunked", b"chunked\r\nTransfer-Encoding: cow", b"cow\r\nTransfer-Encoding: chunked",
              b"chunked\r\nTransfer-Encoding: chunked", b"chunked, chunked", b"xchunked", b"chunkedx", b"\x0bchunked", b"chunked\x0b", b"\xa0chunked",
              b"chunked\x85", b"\"chunked\"", b"cow", b"\"chun ked\"", b"chunked;a=b", b"", b"chunked\r", b"chunked\0", b"gzip, chunked", b"gzip",
              b"identity", b"chunked,", b",chunked", b"chun ked", b"chunked\r\nTransfer-Encoding:"):
    refuse(f"Transfer-Encoding {value!r}", POST + HOST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n", CODING)
refuse("chunked on 1.0", b"POST / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
refuse("Transfer-Encoding with 0xa0 in its name", POST + HOST + b"Transfer-Encoding\xa0: chunked\r\n\r\n0\r\n\r\n")
refuse("Transfer-Encoding SP colon", POST + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")
refuse("Transfer-Encoding cut in two", POST + HOST + b"Transfer-\r\nEncoding: chunked\r\n\r\n0\r\n\r\n")
twice("Transfer_Encoding is another name", POST + HOST + b"Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n")
twice("CHUNKED", POST + HOST + b"Transfer-Encoding:\tCHUNKED \r\n\r\n5\r\nhello\r\n0\r\n\r\n")

# --- chunks
for size in (b"-5", b"+5", b"0x5", b"0_5", b" 5", b"", b"G", b";a=b", b"5x", b"5,5", b"5\0", b"5\rX", b"5\r", b"5 ", b"5\t", b"0" * 17 + b"5", b"5 ;a",
             b"5;", b"5; a", b"5;a b", b"5;a\0", b"5;a\xff", b"5;a=\"b", b"5;a\n", b"\xef\xbc\x95", b"5.", b"0" * 100000 + b"5",
             b"8000000000000000", b"ffffffffffffffff", b"10000000000000005", b"-0", b"5\x0b"):
    refuse(f"chunk size {size[:20]!r}", CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n")
refuse("LF after a chunk size", CHUNKED + b"5\nhello\r\n0\r\n\r\n")
refuse("LF after chunk data", CHUNKED + b"5\r\nhello\n0\r\n\r\n")
refuse("LF after the last chunk", CHUNKED + b"5\r\nhello\r\n0\n\r\n")
refuse("LF as the final empty line", CHUNKED + b"5\r\nhello\r\n0\r\n\n")
refuse("no CRLF after chunk data", CHUNKED + b"5\r\nhello0\r\n\r\n")
refuse("chunk data too long", CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n")
refuse("chunk data too short", CHUNKED + b"5\r\nhell\r\n0\r\n\r\n")
refuse("any two bytes after chunk data", CHUNKED + b"5\r\nhelloXX0\r\n\r\n")
refuse("CR and a letter after chunk data", CHUNKED + b"5\r\nhello\rX0\r\n\r\n")
refuse("letters after the last chunk", CHUNKED + b"0\r\nXX")
refuse("extensions of 1 MB", CHUNKED + b"5;" + b"a" * (1 << 20) + b"\r\nhello\r\n0\r\n\r\n", LARGE)
refuse("extensions of 1 MB in small chunks", CHUNKED + b"1;aaaaaaaaaaaaaaa\r\nx\r\n" * 50000 + b"0\r\n\r\n", LARGE)
refuse("trailers of 1 MB", CHUNKED + b"0\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", LARGE)
refuse("1 MB of small trailers", CHUNKED + b"0\r\n" + b"X: aaaaaaaaaa\r\n" * 70000 + b"\r\n", LARGE)
refuse("trailer without colon", CHUNKED + b"0\r\nX\r\n\r\n")
refuse("folded trailer", CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n")
refuse("trailer name SP colon", CHUNKED + b"0\r\nX : a\r\n\r\n")
twice("chunks, extensions, trailers", CHUNKED + b"1;a;b=c;d=\"e;\\\"f\"\r\nh\r\n4\r\nello\r\n000\r\nX-Sum: 1\r\n\r\n")
twice("framing fields in trailers are dropped", CHUNKED + b"0\r\nContent-Length: 50\r\nTransfer-Encoding: cow\r\nHost: x\r\nConnection: close\r\n\r\n")
twice("20,000 chunks of one byte", CHUNKED + b"1\r\nx\r\n" * 20000 + b"0\r\n\r\n")
twice("a chunk size of 16 digits", CHUNKED + b"000000000000000A\r\n0123456789\r\n0\r\n\r\n")

# --- bodies that are cut off, requests that are cut off
for name, data in (("chunked body", CHUNKED + b"5\r\nhel"), ("chunked body before its end", CHUNKED + b"5\r\nhello\r\n0\r\n"),
                   ("body", POST + HOST + b"Content-Length: 10\r\n\r\nhello"), ("head", GET + HOST), ("request line", b"GET / HT"),
                   ("line end", GET + HOST + b"\r")):
    ROWS.append(Row(f"{name} cut by FIN", data, [frozenset([400, 408])], fin=True, fewer=True))
serve("FIN after a request", GET + HOST + b"\r\n", end=CLOSE, fin=True)
ROWS.append(Row("FIN at once", b"", [], fin=True))
ROWS.append(Row("FIN after an empty line", b"\r\n", [], fin=True))

# --- the life of a connection
serve("Connection: close, then more", GET + HOST + b"Connection: close\r\n\r\n" + SECOND, end=CLOSE)
serve("Connection: a, CLOSE", GET + HOST + b"Connection: a, CLOSE\r\n\r\n" + SECOND, end=CLOSE)
serve("keep-alive beside close", GET + HOST + b"Connection: keep-alive\r\nConnection: close\r\n\r\n" + SECOND, end=CLOSE)
serve("1.0, then more", OLD + HOST + b"\r\n" + SECOND, end=CLOSE)
twice("1.0 keep-alive", OLD + HOST + b"Connection: keep-alive\r\n\r\n", want={"Transfer-Encoding": None})
serve("10 pipelined", (GET + HOST + b"\r\n") * 10, 10)
serve("POST with length, POST chunked, then GET", POST + HOST + b"Content-Length: 5\r\n\r\nhello" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + SECOND,
      3, CLOSE)
twice("Connection: Content-Length", POST + HOST + b"Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", want={"Upgrade": None})
twice("Upgrade: foo", GET + HOST + b"Connection: upgrade\r\nUpgrade: foo\r\n\r\n")
twice("h2c offer", GET + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
twice("Proxy-Connection: close", GET + HOST + b"Proxy-Connection: close\r\n\r\n")
twice("HEAD", b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n", methods=("HEAD",), want={"Transfer-Encoding": None})
ROWS.append(Row("a good request, then a bad one, then a good one", GET + HOST + b"\r\n" + GET + b"X : y\r\n\r\n" + SECOND, [SERVED, BAD]))
ROWS.append(Row("a body, then a bad request", POST + HOST + b"Content-Length: 5\r\n\r\nhello" + b"hello" + SECOND, [SERVED, CODING]))
ROWS.append(Row("chunks, then noise", CHUNKED + b"0\r\n\r\n0\r\n\r\n" + SECOND, [SERVED, BAD]))
refuse("HEAD without Host", b"HEAD / HTTP/1.1\r\n\r\n", methods=("HEAD",))

# --- Expect
refuse("Expect: cake", POST + HOST + b"Expect: cake\r\nContent-Length: 5\r\n\r\nhello", {417})
refuse("Expect: 100-continue, cake", POST + HOST + b"Expect: 100-continue, cake\r\nContent-Length: 5\r\n\r\nhello", {417})
serve("Expect on 1.0", b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", end=CLOSE)
twice("Expect with the body already there", POST + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", interim=(0, 1))
twice("Expect without a body", GET + HOST + b"Expect: 100-continue\r\n\r\n")

# --- what is no HTTP
refuse("TLS hello", bytes.fromhex("16030100c8010000c40303") + b"\x55" * 200)
refuse("PRI preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", {400, 505})
refuse("PRI on 1.1", b"PRI * HTTP/1.1\r\n" + HOST + b"\r\n", {400, 501, 505})
refuse("PROXY v1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n")
refuse("PROXY v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2")
refuse("NULs", b"\0" * 1000)
refuse("noise", bytes((i * 197 + 31) % 256 for i in range(4096)))
refuse("40,000 lines", b"A\r\n" * 40000)
refuse("200 kB of CRLF", b"\r\n" * 100000)
refuse("a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
refuse("SMTP", b"EHLO localhost\r\nMAIL FROM:<a@b>\r\n")

# --- bodies arrive as they were sent
ECHO = b"POST /echo HTTP/1.1\r\n" + HOST
for name, data, body in (
        ("length", ECHO + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        ("nothing", ECHO + b"Content-Length: 0\r\n\r\n", b""),
        ("chunks", ECHO + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nX: y\r\n\r\n", b"hello"),
        ("CRLF in chunks", ECHO + b"Transfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n1\r\n0\r\n0\r\n\r\n", b"\r\n\r\n0"),
        ("a request in a body", ECHO + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND, SECOND),
        ("100 kB in chunks of 7", ECHO + b"Transfer-Encoding: chunked\r\n\r\n" + b"7\r\n0123456\r\n" * 14000 + b"0\r\n\r\n", b"0123456" * 14000),
        ("600 kB", ECHO + b"Content-Length: 600000\r\n\r\n" + b"0123456789" * 60000, b"0123456789" * 60000)):
    twice(f"echo of {name}", data, echo=True, body=body)
serve("echo after 100 Continue", [ECHO + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"hello"], echo=True, body=b"hello", interim=(1,))


def find(pattern):
    return [row for row in ROWS if re.search(pattern, row.name)]


if __name__ == "__main__":
    import sys
    from wire_drive import main
    sys.exit(main(sys.argv[1:], ROWS))
