"""What a server owes to each frame: cases by section of RFC 9113, RFC 7541 and RFC 9218.

A case is (section, name, bytes that are sent behind the preface and our SETTINGS, what must come). Wanted is one of
  status(n)        stream 1 is answered with it, and the connection lives
  reset(code...)   stream 1 is reset with one of these codes, and the connection lives
  goaway(code...)  the connection ends with GOAWAY and one of these codes
  closed(code...)  the same, but the server may also just close
  not 3            that stream is not served, and the connection lives
  fine             nothing: the connection lives and a request after it is served
Where the RFC lets a server choose between an error of the stream and one of the connection, wanted names both.
"""

import struct

from lib.frames import (ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, ENABLE_CONNECT_PROTOCOL, ENABLE_PUSH, END_HEADERS, END_STREAM,
                        FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADER_TABLE_SIZE, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS,
                        MAX_FRAME_SIZE, NO_ERROR, NO_RFC7540_PRIORITIES, PADDED, PING, PRIORITY, PRIORITY_UPDATE, PROTOCOL_ERROR, PUSH_PROMISE,
                        RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, WITH_PRIORITY, field, fields, frame, goaway, padded, ping, request, rst,
                        settings, varint, window)

ALL = END_HEADERS | END_STREAM


def status(n):
    return ("status", n)


def reset(*codes):
    return ("reset", codes)


def goaway_of(*codes):
    return ("goaway", codes)


def closed(*codes):
    return ("closed", codes)


def either(*codes):
    """An error of the stream or of the connection."""
    return ("either", codes)


fine = ("fine",)

GET = fields(*request())
POST = fields(*request("/length", "POST"))


def head(block=GET, flags=ALL, stream=1):
    return frame(HEADERS, flags, stream, block)


def get(*pairs, path="/", method="GET", **kwargs):
    return head(fields(*request(path, method, *pairs, **kwargs)))


def post(*bodies, more=(), end=True):
    out = head(fields(*request("/length", "POST", *more)), END_HEADERS)
    for i, b in enumerate(bodies):
        out += frame(DATA, END_STREAM if end and i + 1 == len(bodies) else 0, 1, b)
    return out


def pairs(*p):
    return head(fields(*p))


M, S, P, A = (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")

CASES = [
    # --- 3.4, 4.1: frames in general
    ("3.4", "the first frame is no SETTINGS of ours, but a second one may follow", settings(), fine),
    ("4.1", "a frame of an unknown type is ignored", frame(0xFA, 0xFF, 0, b"what"), fine),
    ("4.1", "also on a stream", frame(0xFA, 0, 7, b"what"), fine),
    ("4.1", "unknown flags are ignored", frame(PING, 0x16, 0, b"12345678"), fine),
    ("4.1", "the reserved bit is ignored", frame(PING, 0, 0x80000000, b"12345678"), fine),
    # --- 4.2: sizes
    ("4.2", "DATA of the largest size", post(b"x" * 16384), status(200)),
    ("4.2", "DATA larger than allowed", post(b"x" * 16385), goaway_of(FRAME_SIZE_ERROR)),
    ("4.2", "HEADERS larger than allowed", frame(HEADERS, ALL, 1, b"x" * 16385), goaway_of(FRAME_SIZE_ERROR)),
    ("4.2", "an unknown frame larger than allowed", frame(0xFA, 0, 0, b"x" * 16385), goaway_of(FRAME_SIZE_ERROR)),
    ("4.2", "a length of three bytes", frame(DATA, 0, 1, b"", length=0xFFFFFF), goaway_of(FRAME_SIZE_ERROR)),
    # --- 4.3, 6.10: header blocks
    ("4.3", "a block that HPACK does not know", head(b"\xff\xff\xff\xff\xff\xff"), goaway_of(COMPRESSION_ERROR)),
    ("4.3", "PING inside of a block", head(GET, END_STREAM) + ping(), goaway_of(PROTOCOL_ERROR)),
    ("4.3", "an unknown frame inside of a block", head(GET, END_STREAM) + frame(0xFA), goaway_of(PROTOCOL_ERROR)),
    ("4.3", "HEADERS of another stream inside of a block", head(GET, END_STREAM) + head(stream=3), goaway_of(PROTOCOL_ERROR)),
    ("4.3", "a block that ends in the middle of a field", head(GET[:-3]), goaway_of(COMPRESSION_ERROR)),
    ("6.10", "a block in three pieces", head(GET[:5], END_STREAM) + frame(CONTINUATION, 0, 1, GET[5:9]) +
     frame(CONTINUATION, END_HEADERS, 1, GET[9:]), status(200)),
    ("6.10", "empty pieces", head(b"", END_STREAM) + frame(CONTINUATION, 0, 1) + frame(CONTINUATION, END_HEADERS, 1, GET), status(200)),
    ("6.10", "CONTINUATION of another stream", head(GET[:5], END_STREAM) + frame(CONTINUATION, END_HEADERS, 3, GET[5:]), goaway_of(PROTOCOL_ERROR)),
    ("6.10", "CONTINUATION on stream 0", head(GET[:5], END_STREAM) + frame(CONTINUATION, END_HEADERS, 0, GET[5:]), goaway_of(PROTOCOL_ERROR)),
    ("6.10", "CONTINUATION behind the end of a block", head(flags=END_HEADERS) + frame(CONTINUATION, END_HEADERS, 1), goaway_of(PROTOCOL_ERROR)),
    ("6.10", "CONTINUATION without HEADERS", frame(CONTINUATION, END_HEADERS, 1, GET), goaway_of(PROTOCOL_ERROR)),
    ("6.10", "CONTINUATION behind DATA", post(b"x", end=False) + frame(CONTINUATION, END_HEADERS, 1), goaway_of(PROTOCOL_ERROR)),
    ("6.10", "DATA inside of a block", head(GET[:5], 0) + frame(DATA, 0, 1, b"x"), goaway_of(PROTOCOL_ERROR)),
    # --- 5.1: states
    ("5.1", "DATA on an idle stream", frame(DATA, 0, 1, b"x"), goaway_of(PROTOCOL_ERROR)),
    ("5.1", "RST_STREAM of an idle stream", rst(1), goaway_of(PROTOCOL_ERROR)),
    ("5.1", "WINDOW_UPDATE of an idle stream", window(1, 1), goaway_of(PROTOCOL_ERROR)),
    ("5.1", "PRIORITY of an idle stream is allowed", frame(PRIORITY, 0, 1, bytes(5)), fine),
    ("5.1", "DATA behind the end of the stream", head(fields(*request("/wait"))) + frame(DATA, 0, 1, b"x"), either(STREAM_CLOSED)),
    ("5.1", "HEADERS behind the end of the stream", head(fields(*request("/wait"))) + head(), either(STREAM_CLOSED)),
    ("5.1", "WINDOW_UPDATE behind the end of the stream is allowed", head() + window(1, 5), status(200)),
    ("5.1", "PRIORITY behind the end of the stream is allowed", head() + frame(PRIORITY, 0, 1, bytes(5)), status(200)),
    ("5.1", "DATA behind RST_STREAM is not fatal to others", post(end=False) + rst(1) + frame(DATA, 0, 1, b"x"), fine),
    ("5.1", "WINDOW_UPDATE behind RST_STREAM is ignored", post(end=False) + rst(1) + window(1, 1), fine),
    ("5.1", "a second RST_STREAM is ignored", post(end=False) + rst(1) + rst(1), fine),
    ("5.1.1", "an even number", head(stream=2), goaway_of(PROTOCOL_ERROR)),
    ("5.1.1", "a number that was passed over is not served", head(stream=5) + head(stream=3), ("not", 3)),
    ("5.1.1", "HEADERS on stream 0", head(stream=0), goaway_of(PROTOCOL_ERROR)),
    ("5.1.1", "numbers may be passed over", head(stream=1), status(200)),
    ("5.4.1", "errors of a stream with unknown codes", post(end=False) + rst(1, 0xFFFF), fine),
    ("5.5", "an unknown setting", settings((0xFFFE, 77)), fine),
    # --- 6.1: DATA
    ("6.1", "DATA on stream 0", frame(DATA, 0, 0, b"x"), goaway_of(PROTOCOL_ERROR)),
    ("6.1", "padding is left out", head(POST, END_HEADERS) + padded(b"12345", 100, END_STREAM, DATA, 1), status(200)),
    ("6.1", "nothing but padding", head(POST, END_HEADERS) + padded(b"", 255, END_STREAM, DATA, 1), status(200)),
    ("6.1", "padding as long as the frame", head(POST, END_HEADERS) + frame(DATA, PADDED | END_STREAM, 1, b"\x05abcd"), goaway_of(PROTOCOL_ERROR)),
    ("6.1", "no room for the length of the padding", head(POST, END_HEADERS) + frame(DATA, PADDED | END_STREAM, 1), goaway_of(PROTOCOL_ERROR, FRAME_SIZE_ERROR)),
    ("6.1", "an empty last DATA", post(b"abc", b""), status(200)),
    # --- 6.2: HEADERS
    ("6.2", "padding", padded(GET, 40, ALL, HEADERS, 1), status(200)),
    ("6.2", "padding longer than the frame", frame(HEADERS, ALL | PADDED, 1, b"\xff" + GET), goaway_of(PROTOCOL_ERROR)),
    ("6.2", "with a priority", frame(HEADERS, ALL | WITH_PRIORITY, 1, bytes(5) + GET), status(200)),
    ("6.2", "with a priority that is cut off", frame(HEADERS, ALL | WITH_PRIORITY, 1, bytes(4)), goaway_of(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ("6.2", "with padding and priority", frame(HEADERS, ALL | WITH_PRIORITY | PADDED, 1, b"\x02" + bytes(5) + GET + b"\0\0"), status(200)),
    # --- 6.3, RFC 9218: priorities
    ("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, bytes(5)), goaway_of(PROTOCOL_ERROR)),
    ("6.3", "PRIORITY of a wrong size", head(fields(*request("/wait"))) + frame(PRIORITY, 0, 1, bytes(4)), either(FRAME_SIZE_ERROR)),
    ("9218", "the field priority", get(("priority", "u=0, i")), status(200)),
    ("9218", "a field that is no list", get(("priority", "u=;;,9999=(")), status(200)),
    ("9218", "PRIORITY_UPDATE of a stream", head() + frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"u=7"), status(200)),
    ("9218", "PRIORITY_UPDATE before its stream", frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"u=1,i") + head(), status(200)),
    ("9218", "PRIORITY_UPDATE on a stream", frame(PRIORITY_UPDATE, 0, 1, struct.pack(">I", 1) + b"u=1"), goaway_of(PROTOCOL_ERROR)),
    ("9218", "PRIORITY_UPDATE that is cut off", frame(PRIORITY_UPDATE, 0, 0, b"\0\0"), goaway_of(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ("9218", "SETTINGS_NO_RFC7540_PRIORITIES is 0 or 1", settings((NO_RFC7540_PRIORITIES, 2)), goaway_of(PROTOCOL_ERROR)),
    # --- 6.4: RST_STREAM
    ("6.4", "RST_STREAM of stream 0", rst(0), goaway_of(PROTOCOL_ERROR)),
    ("6.4", "RST_STREAM of a wrong size", post(end=False) + frame(RST_STREAM, 0, 1, b"\0\0\0"), goaway_of(FRAME_SIZE_ERROR)),
    ("6.4", "a stream that is reset", post(end=False) + rst(1), fine),
    # --- 6.5: SETTINGS
    ("6.5", "an ACK with a payload", frame(SETTINGS, ACK, 0, bytes(6)), goaway_of(FRAME_SIZE_ERROR)),
    ("6.5", "SETTINGS on a stream", settings(stream=1), goaway_of(PROTOCOL_ERROR)),
    ("6.5", "SETTINGS of a wrong size", frame(SETTINGS, 0, 0, bytes(5)), goaway_of(FRAME_SIZE_ERROR)),
    ("6.5.2", "ENABLE_PUSH is 0 or 1", settings((ENABLE_PUSH, 2)), goaway_of(PROTOCOL_ERROR)),
    ("6.5.2", "ENABLE_PUSH 0", settings((ENABLE_PUSH, 0)), fine),
    ("6.5.2", "INITIAL_WINDOW_SIZE of 2^31", settings((INITIAL_WINDOW_SIZE, 1 << 31)), goaway_of(FLOW_CONTROL_ERROR)),
    ("6.5.2", "INITIAL_WINDOW_SIZE of 2^31-1", settings((INITIAL_WINDOW_SIZE, (1 << 31) - 1)), fine),
    ("6.5.2", "MAX_FRAME_SIZE too small", settings((MAX_FRAME_SIZE, 16383)), goaway_of(PROTOCOL_ERROR)),
    ("6.5.2", "MAX_FRAME_SIZE too large", settings((MAX_FRAME_SIZE, 1 << 24)), goaway_of(PROTOCOL_ERROR)),
    ("6.5.2", "MAX_CONCURRENT_STREAMS 0 is for pushes", settings((MAX_CONCURRENT_STREAMS, 0)), fine),
    ("6.5.2", "HEADER_TABLE_SIZE 0", settings((HEADER_TABLE_SIZE, 0)), fine),
    ("6.5.2", "ENABLE_CONNECT_PROTOCOL is 0 or 1", settings((ENABLE_CONNECT_PROTOCOL, 2)), goaway_of(PROTOCOL_ERROR)),
    ("6.5.3", "the last value counts", settings((INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 65535)), fine),
    ("6.5.3", "an ACK of nothing", settings(flags=ACK) + settings(flags=ACK), goaway_of(PROTOCOL_ERROR)),
    # --- 6.6: PUSH_PROMISE
    ("6.6", "a client may not push", frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + GET), goaway_of(PROTOCOL_ERROR)),
    # --- 6.7: PING
    ("6.7", "PING on a stream", frame(PING, 0, 1, bytes(8)), goaway_of(PROTOCOL_ERROR)),
    ("6.7", "PING of a wrong size", frame(PING, 0, 0, bytes(7)), goaway_of(FRAME_SIZE_ERROR)),
    ("6.7", "an ACK that nobody waits for", ping(flags=ACK), fine),
    # --- 6.8: GOAWAY
    ("6.8", "GOAWAY on a stream", goaway(stream=1), goaway_of(PROTOCOL_ERROR)),
    ("6.8", "GOAWAY of a wrong size", frame(GOAWAY, 0, 0, bytes(7)), goaway_of(FRAME_SIZE_ERROR)),
    ("6.8", "a stream before GOAWAY is served", head() + goaway(), ("last", 200)),
    ("6.8", "GOAWAY with an unknown code and text", head() + goaway(0, 0x7777, b"so long"), ("last", 200)),
    # --- 6.9: WINDOW_UPDATE
    ("6.9", "an increment of 0 for the connection", window(0, 0), goaway_of(PROTOCOL_ERROR)),
    ("6.9", "an increment of 0 for a stream", post(end=False) + window(1, 0), either(PROTOCOL_ERROR)),
    ("6.9", "WINDOW_UPDATE of a wrong size", frame(WINDOW_UPDATE, 0, 0, bytes(3)), goaway_of(FRAME_SIZE_ERROR)),
    ("6.9", "the reserved bit of the increment", window(0, 0x80000001), fine),
    ("6.9.1", "a window of the connection over 2^31-1", window(0, 0x7FFFFFFF) + window(0, 0x7FFFFFFF), goaway_of(FLOW_CONTROL_ERROR)),
    ("6.9.1", "a window of a stream over 2^31-1", post(end=False) + window(1, 0x7FFFFFFF), either(FLOW_CONTROL_ERROR)),
    ("6.9.2", "SETTINGS that push a window over 2^31-1", post(end=False) + window(1, 0x7FFF0000) + settings((INITIAL_WINDOW_SIZE, 0x7FFFFFFF)),
     either(FLOW_CONTROL_ERROR)),
    # --- 8.1: messages
    ("8.1", "a body", post(b"hello"), status(200)),
    ("8.1", "trailers", post(b"hello", end=False) + head(fields(("x-sum", "1"))), status(200)),
    ("8.1", "trailers that do not end the stream", post(b"hello", end=False) + head(fields(("x-sum", "1")), END_HEADERS), reset(PROTOCOL_ERROR)),
    ("8.1", "trailers with a pseudo-header field", post(b"hello", end=False) + head(fields((":path", "/x"))), reset(PROTOCOL_ERROR)),
    ("8.1", "a trailer in upper case", post(b"hello", end=False) + head(fields(("X-Sum", "1"))), reset(PROTOCOL_ERROR)),
    ("8.1.1", "more than Content-Length says", post(b"hello", more=[("content-length", "4")]), reset(PROTOCOL_ERROR)),
    ("8.1.1", "less than Content-Length says", post(b"hello", more=[("content-length", "6")]), reset(PROTOCOL_ERROR)),
    ("8.1.1", "in several frames", post(b"he", b"llo", more=[("content-length", "4")]), reset(PROTOCOL_ERROR)),
    ("8.1.1", "Content-Length that fits", post(b"he", b"llo", more=[("content-length", "5")]), status(200)),
    ("8.1.1", "Content-Length without a body", get(("content-length", "1"), path="/length", method="POST"), reset(PROTOCOL_ERROR)),
    ("8.1.1", "Content-Length 0 without a body", get(("content-length", "0"), path="/length", method="POST"), status(200)),
    ("8.1.1", "two Content-Lengths", post(b"hello", more=[("content-length", "5"), ("content-length", "5")]), reset(PROTOCOL_ERROR)),
    ("8.1.1", "a list of Content-Lengths", post(b"hello", more=[("content-length", "5, 5")]), reset(PROTOCOL_ERROR)),
    ("8.1.1", "a Content-Length with a sign", post(b"hello", more=[("content-length", "+5")]), reset(PROTOCOL_ERROR)),
    ("8.1.1", "a Content-Length over 2^63", post(b"hello", more=[("content-length", "9223372036854775808")]), reset(PROTOCOL_ERROR)),
    # --- 8.2: fields
    ("8.2.1", "a name in upper case", get(("X-Upper", "1")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a name with one letter in upper case", get(("x-uppeR", "1")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "an empty name", get(("", "1")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a name with a colon", get(("x:y", "1")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a name with a space", get(("x y", "1")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a name with a control byte", get(("x\x01", "1")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a name beyond ASCII", get((b"x\xe9", "1")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a value with NUL", get(("x", "a\0b")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a value with CR LF", get(("x", "a\r\nhost: evil")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a value with LF", get(("x", "a\nb")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a value that begins with a space", get(("x", " a")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a value that ends with a tab", get(("x", "a\t")), reset(PROTOCOL_ERROR)),
    ("8.2.1", "a value beyond ASCII is text of the app", get(("x", b"\xc3\xa9")), status(200)),
    ("8.2.1", "an empty value", get(("x", "")), status(200)),
    ("8.2.2", "Connection", get(("connection", "close")), reset(PROTOCOL_ERROR)),
    ("8.2.2", "Keep-Alive", get(("keep-alive", "timeout=5")), reset(PROTOCOL_ERROR)),
    ("8.2.2", "Proxy-Connection", get(("proxy-connection", "keep-alive")), reset(PROTOCOL_ERROR)),
    ("8.2.2", "Transfer-Encoding", post(b"x", more=[("transfer-encoding", "chunked")]), reset(PROTOCOL_ERROR)),
    ("8.2.2", "Upgrade", get(("upgrade", "websocket")), reset(PROTOCOL_ERROR)),
    ("8.2.2", "HTTP2-Settings", get(("http2-settings", "AAMAAABk")), status(400)),
    ("8.2.2", "TE: trailers", get(("te", "trailers")), status(200)),
    ("8.2.2", "TE with something else", get(("te", "gzip, trailers")), reset(PROTOCOL_ERROR)),
    ("8.2.3", "a cookie in crumbs", get(("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), path="/cookie"), status(200)),
    # --- 8.3: pseudo-header fields
    ("8.3", "an unknown one", get((":what", "1")), reset(PROTOCOL_ERROR)),
    ("8.3", "one of responses", get((":status", "200")), reset(PROTOCOL_ERROR)),
    ("8.3", "one behind a field", pairs(M, S, ("x", "y"), P, A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "no :method", pairs(S, P, A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "no :scheme", pairs(M, P, A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "no :path", pairs(M, S, A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "no fields at all", head(b""), reset(PROTOCOL_ERROR)),
    ("8.3.1", "an empty :path", pairs(M, S, (":path", ""), A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "a :path without a slash", pairs(M, S, (":path", "x"), A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "a whole URI as :path", pairs(M, S, (":path", "http://localhost/"), A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "a :path with a space", get(path="/a b"), ("either status", 400, PROTOCOL_ERROR)),
    ("8.3.1", "a :path with a fragment", get(path="/a#b"), status(400)),
    ("8.3.1", "a :path that climbs", get(path="/../../etc/passwd"), status(400)),
    ("8.3.1", "a :path with %00", get(path="/%00"), status(400)),
    ("8.3.1", "a :path with a bad escape", get(path="/%zz"), status(400)),
    ("8.3.1", "two :methods", pairs(M, M, S, P, A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "two :schemes", pairs(M, S, S, P, A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "two :paths", pairs(M, S, P, P, A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "two :authorities", pairs(M, S, P, A, A), reset(PROTOCOL_ERROR)),
    ("8.3.1", "OPTIONS *", pairs((":method", "OPTIONS"), S, (":path", "*"), A), ("any",)),
    ("8.3.1", "GET *", pairs(M, S, (":path", "*"), A), ("either status", 400, PROTOCOL_ERROR)),
    ("8.3.1", "Host in place of :authority", pairs(M, S, P, ("host", "localhost")), status(200)),
    ("8.3.1", "both, the same", get(("host", "LocalHost")), status(200)),
    ("8.3.1", "both, different", get(("host", "evil")), ("either status", 400, PROTOCOL_ERROR)),
    ("8.3.1", "neither", pairs(M, S, P), ("either status", 400, PROTOCOL_ERROR)),
    ("8.3.1", "user information", get(authority="me@localhost"), ("either status", 400, PROTOCOL_ERROR)),
    ("8.3.1", "a port that is none", get(authority="localhost:99999"), status(400)),
    ("8.3.1", "an empty :authority", get(authority=""), ("either status", 400, PROTOCOL_ERROR)),
    ("8.3.1", "a scheme that is neither", pairs(M, (":scheme", "gopher"), P, A), status(400)),
    ("8.3.1", "a method in lower case", get(method="get"), status(501)),
    ("8.3.1", "a method with a space", get(method="GET X"), ("either status", 400, PROTOCOL_ERROR)),
    ("8.3.1", "TRACE", get(method="TRACE"), status(405)),
    ("8.5", "CONNECT is refused", pairs((":method", "CONNECT"), (":authority", "localhost:80")), status(501)),
    ("8.5", "CONNECT with a path", pairs((":method", "CONNECT"), (":authority", "localhost:80"), P, S), reset(PROTOCOL_ERROR)),
    ("8441", "an extended CONNECT to what makes no tunnels", head(fields((":method", "CONNECT"), (":protocol", "websocket"), S, P, A), END_HEADERS), status(501)),
    ("8441", "an extended CONNECT without a path", pairs((":method", "CONNECT"), (":protocol", "websocket"), S, A), reset(PROTOCOL_ERROR)),
    ("8441", "an extended CONNECT without a scheme", pairs((":method", "CONNECT"), (":protocol", "websocket"), P, A), reset(PROTOCOL_ERROR)),
    ("8441", "an extended CONNECT without an authority", pairs((":method", "CONNECT"), (":protocol", "websocket"), S, P), reset(PROTOCOL_ERROR)),
    ("8441", "a protocol with another method", pairs(M, (":protocol", "websocket"), S, P, A), reset(PROTOCOL_ERROR)),
    ("8441", "two protocols", pairs((":method", "CONNECT"), (":protocol", "websocket"), (":protocol", "x"), S, P, A), reset(PROTOCOL_ERROR)),
    ("8441", "a protocol that is no token", pairs((":method", "CONNECT"), (":protocol", "a/b"), S, P, A), status(400)),
    ("8441", "an extended CONNECT with Upgrade", pairs((":method", "CONNECT"), (":protocol", "websocket"), S, P, A, ("upgrade", "websocket")), reset(PROTOCOL_ERROR)),
    # --- RFC 7541
    ("7541 2.3.2", "a field from the dynamic table", head(fields(M, S, P, A) + b"\x40\x01x\x01y" + b"\xbe"), status(200)),
    ("7541 2.3.3", "an index beyond the tables", head(GET + b"\xfe"), goaway_of(COMPRESSION_ERROR)),
    ("7541 4.2", "a table smaller", head(b"\x3f\x00" + GET), status(200)),
    ("7541 4.2", "a table of nothing, then a larger one", head(b"\x20\x3f\xe1\x1f" + GET), status(200)),
    ("7541 4.2", "a table larger than allowed", head(b"\x3f\xe2\x1f" + GET), goaway_of(COMPRESSION_ERROR)),
    ("7541 4.2", "a table that changes inside of a block", head(GET + b"\x20"), goaway_of(COMPRESSION_ERROR)),
    ("7541 4.4", "an entry larger than the table", head(b"\x20" + fields(M, S, P, A) + b"\x40\x01x\x01y"), status(200)),
    ("7541 5.1", "a number that never ends", head(b"\x7f" + b"\xff" * 20), goaway_of(COMPRESSION_ERROR)),
    ("7541 5.2", "a string longer than the block", head(b"\x00\x7f" + varint(5000) + b"x"), goaway_of(COMPRESSION_ERROR)),
    ("7541 5.2", "Huffman", head(fields(M, S, P) + b"\x00\x0a:authority\x86\xa0\xe4\x1d\x13\x9d\x09"), status(200)),
    ("7541 5.2", "padding of a Huffman string that is not all ones", head(GET + b"\x00\x01x\x81\x00"), goaway_of(COMPRESSION_ERROR)),
    ("7541 5.2", "padding of more than 7 bits", head(GET + b"\x00\x01x\x82\x1f\xff"), goaway_of(COMPRESSION_ERROR)),
    ("7541 5.2", "EOS in a Huffman string", head(GET + b"\x00\x01x\x84\xff\xff\xff\xff"), goaway_of(COMPRESSION_ERROR)),
    ("7541 6.1", "index 0", head(GET + b"\x80"), goaway_of(COMPRESSION_ERROR)),
    ("7541 6.2.2", "a literal with a name from the table", head(fields(M, S, P, A) + b"\x0f\x2b\x03abc"), status(200)),
    ("7541 6.2.3", "a literal that is never indexed", head(fields(M, S, P, A) + b"\x10\x06x-auth\x03abc"), status(200)),
]
