"""Cases of RFC 6455 and RFC 7692: what a client sends (frames), and all that a server answers that sends messages back and takes LIMIT bytes."""

from lib.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocket, close, deflated, frame

DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]
LIMIT = 200_000


def bye(code):
    """What the server's close says."""
    return CLOSE, code.to_bytes(2, "big") if code else b""


ENDS = close(1000)
END = bye(1000)
CASES = {}


def case(name, sent, *expected, headers=()):
    assert name not in CASES
    CASES[name] = sent, list(expected), headers


# --- frames: sizes of messages, forms of lengths, reserved bits and operations, masks

for size in (0, 1, 2, 125, 126, 127, 128, 1000, 16383, 16384, 65535, 65536, 131072):
    for op, word in ((TEXT, "text"), (BINARY, "binary")):
        case(f"{word} of {size}", frame(op, b"*" * size) + ENDS, (op, b"*" * size), END)
        case(f"{word} of {size}, compressed", frame(op, deflated(b"*" * size), rsv=4) + ENDS, (op, b"*" * size), END, headers=DEFLATE)
case("many in one packet", b"".join(frame(TEXT, str(i)) for i in range(300)) + ENDS, *((TEXT, str(i).encode()) for i in range(300)), END)
case("every byte", frame(BINARY, bytes(range(256)) * 5) + ENDS, (BINARY, bytes(range(256)) * 5), END)
case("mask of zeros", frame(TEXT, "plain", mask=b"\0\0\0\0") + ENDS, (TEXT, b"plain"), END)
for rsv in range(1, 8):
    for op in (TEXT, BINARY, PING, PONG, CLOSE):
        case(f"reserved bits {rsv} of operation {op}", frame(op, b"", rsv=rsv), bye(1002))
for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    case(f"operation {op}", frame(TEXT, "before") + frame(op), (TEXT, b"before"), bye(1002))
    case(f"operation {op} with data", frame(op, b"data"), bye(1002))
for op in (TEXT, BINARY, PING, CLOSE):
    case(f"operation {op} without a mask", frame(op, b"", mask=None), bye(1002))
for size, form in ((0, 16), (125, 16), (0, 64), (125, 64), (126, 64), (65535, 64)):
    case(f"length {size} in {form} bits", frame(BINARY, b"x" * size, length=form), bye(1002))
case("length beyond 63 bits", bytes([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), bye(1002))

# --- pings and pongs

for size in (0, 1, 60, 125):
    case(f"ping of {size}", frame(PING, b"p" * size) + ENDS, (PONG, b"p" * size), END)
    case(f"pong of {size} that nobody asked for", frame(PONG, b"p" * size) + frame(TEXT, "x") + ENDS, (TEXT, b"x"), END)
for op in (PING, PONG, CLOSE):
    case(f"operation {op} of 126", frame(op, b"p" * 126), bye(1002))
    case(f"operation {op} of 70000", frame(op, b"p" * 70000), bye(1002))
    case(f"operation {op} in fragments", frame(op, b"p", fin=False), bye(1002))
case("ten pings", b"".join(frame(PING, str(i)) for i in range(10)) + ENDS, *((PONG, str(i).encode()) for i in range(10)), END)
case("ping of any bytes", frame(PING, b"\x00\xff\xfe") + ENDS, (PONG, b"\x00\xff\xfe"), END)

# --- fragments

for op, word in ((TEXT, "text"), (BINARY, "binary")):
    case(f"{word} in two", frame(op, "frag", fin=False) + frame(0, "ment") + ENDS, (op, b"fragment"), END)
    case(f"{word} in many", frame(op, "0", fin=False) + b"".join(frame(0, str(i), fin=i == 99) for i in range(1, 100)) + ENDS,
         (op, "".join(map(str, range(100))).encode()), END)
    case(f"{word} in empty ones", frame(op, "", fin=False) + frame(0, "", fin=False) + frame(0) + ENDS, (op, b""), END)
    case(f"{word} with empty ones between", frame(op, "", fin=False) + frame(0, "in", fin=False) + frame(0, "", fin=False) + frame(0, "side") + ENDS,
         (op, b"inside"), END)
    case(f"{word} with a ping between", frame(op, "a", fin=False) + frame(PING, "p") + frame(0, "b") + ENDS, (PONG, b"p"), (op, b"ab"), END)
    case(f"{word} with a pong between", frame(op, "a", fin=False) + frame(PONG, "p") + frame(0, "b") + ENDS, (op, b"ab"), END)
    case(f"{word} with a close between", frame(op, "a", fin=False) + ENDS, END)
    case(f"{word} and another one begun", frame(op, "a", fin=False) + frame(op, "b"), bye(1002))
    case(f"{word} in large ones", frame(op, b"x" * 60000, fin=False) + frame(0, b"y" * 60000, fin=False) + frame(0, b"z" * 60000) + ENDS,
         (op, b"x" * 60000 + b"y" * 60000 + b"z" * 60000), END)
    case(f"{word} compressed, cut into frames of one byte", b"".join(
        frame(op if i == 0 else 0, piece, fin=last, rsv=4 if i == 0 else 0)
        for i, (piece, last) in enumerate([(bytes([byte]), False) for byte in deflated("cut to bytes" * 9)] + [(b"", True)])) + ENDS,
        (op, b"cut to bytes" * 9), END, headers=DEFLATE)
    case(f"{word} compressed, a ping between", frame(op, deflated("x" * 99)[:3], fin=False, rsv=4) + frame(PING) + frame(0, deflated("x" * 99)[3:]) + ENDS,
         (PONG, b""), (op, b"x" * 99), END, headers=DEFLATE)
    case(f"{word} whose continuation says it is compressed", frame(op, deflated("xyz")[:2], fin=False, rsv=4) + frame(0, deflated("xyz")[2:], rsv=4),
         bye(1002), headers=DEFLATE)
for fin in (True, False):
    case(f"continuation of nothing, final: {fin}", frame(0, "x", fin=fin), bye(1002))
    case(f"continuation behind a whole message, final: {fin}", frame(TEXT, "whole") + frame(0, "x", fin=fin), (TEXT, b"whole"), bye(1002))
case("continuation behind all fragments", frame(TEXT, "a", fin=False) + frame(0, "b") + frame(0, "c"), (TEXT, b"ab"), bye(1002))

# --- text: what is UTF-8, as a whole, cut anywhere, and compressed

RIGHT = ["κόσμε", "\u0080", "߿", "ࠀ", "\uffff", "\ufffe", "𐀀", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufeffx", "a\0b", "é" * 300, "\U0001f600" * 99]
WRONG = {"a continuation": b"\x80", "two continuations": b"\x80\xbf", "FE": b"\xfe", "FF": b"\xff", "C0": b"\xc0\xaf", "C1": b"\xc1\xbf",
         "overlong of 3": b"\xe0\x80\xaf", "overlong of 3, the largest": b"\xe0\x9f\xbf", "overlong of 4": b"\xf0\x80\x80\xaf",
         "overlong of 4, the largest": b"\xf0\x8f\xbf\xbf", "overlong of 5": b"\xf8\x80\x80\x80\xaf", "overlong of 6": b"\xfc\x80\x80\x80\x80\xaf",
         "overlong NUL": b"\xc0\x80", "surrogate D800": b"\xed\xa0\x80", "surrogate DFFF": b"\xed\xbf\xbf", "a pair": b"\xed\xa0\x80\xed\xb0\x80",
         "above 10FFFF": b"\xf4\x90\x80\x80", "F5": b"\xf5\x80\x80\x80", "cut after 1 of 2": b"\xc3", "cut after 1 of 3": b"\xe2", "cut after 2 of 3": b"\xe2\x82",
         "cut after 3 of 4": b"\xf0\x9f\x98", "a letter too early": b"\xe2\x82x", "latin-1": b"caf\xe9 ole", "in the middle": b"right \xff right"}
for i, text in enumerate(RIGHT):
    data = text.encode()
    case(f"right text {i}", frame(TEXT, data) + ENDS, (TEXT, data), END)
    case(f"right text {i}, compressed", frame(TEXT, deflated(data), rsv=4) + ENDS, (TEXT, data), END, headers=DEFLATE)
    cut = data[:9]
    while cut.decode(errors="ignore").encode() != cut:
        cut = cut[:-1]
    case(f"right text {i}, a byte a frame", b"".join(frame(TEXT if k == 0 else 0, cut[k:k + 1], fin=k == len(cut) - 1) for k in range(len(cut))) + ENDS,
         (TEXT, cut), END)
for name, data in WRONG.items():
    case(f"wrong text: {name}", frame(TEXT, data), bye(1007))
    case(f"wrong text, compressed: {name}", frame(TEXT, deflated(data), rsv=4), bye(1007), headers=DEFLATE)
    case(f"wrong text in fragments: {name}", frame(TEXT, "x" + "é" * 3, fin=False) + frame(0, data[:1], fin=False) + frame(0, data[1:]), bye(1007))
    case(f"wrong text is fine as bytes: {name}", frame(BINARY, data) + ENDS, (BINARY, data), END)
case("wrong text is found before its end", frame(TEXT, b"abc\xff", fin=False), bye(1007))

# --- closing

case("close without a code", close(), bye(None))
case("close with half a code", frame(CLOSE, b"\x03"), bye(1002))
for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
    case(f"close with {code}", close(code), bye(code))
for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535):
    case(f"close with {code}, which is none", close(code), bye(1002))
case("close with a reason", close(1000, "bye"), END)
case("close with the longest reason", close(1000, "x" * 123), END)
for name, data in list(WRONG.items())[:8]:
    case(f"close with a reason that is no text: {name}", close(1000, data), bye(1007))
case("messages behind a close", frame(TEXT, "one") + ENDS + frame(TEXT, "two") + frame(PING), (TEXT, b"one"), END)

# --- limits

case("a message of the limit", frame(BINARY, b"x" * LIMIT) + ENDS, (BINARY, b"x" * LIMIT), END)
case("a message over the limit", frame(BINARY, b"x" * (LIMIT + 1)), bye(1009))
case("a message over the limit is refused at its head", frame(BINARY, b"x" * (LIMIT + 1))[:14], bye(1009))
case("a huge length", bytes([0x82, 0xff, 0x7f]) + b"\xff" * 7 + b"mask", bye(1009))
case("fragments over the limit", frame(BINARY, b"x" * LIMIT, fin=False) + frame(0, b"x"), bye(1009))
case("a message over the limit when it is inflated", frame(BINARY, deflated(b"x" * (LIMIT + 1)), rsv=4), bye(1009), headers=DEFLATE)
case("a bomb", frame(BINARY, deflated(bytes(20_000_000), 9), rsv=4), bye(1009), headers=DEFLATE)
case("a message of the limit when it is inflated", frame(BINARY, deflated(b"x" * LIMIT), rsv=4) + ENDS, (BINARY, b"x" * LIMIT), END, headers=DEFLATE)

# --- compression

noise = bytes((i * 7919 + i // 3) % 251 for i in range(5000))
for level in range(10):
    case(f"compressed with level {level}", frame(BINARY, deflated(noise, level), rsv=4) + ENDS, (BINARY, noise), END, headers=DEFLATE)
case("not compressed though it could be", frame(TEXT, "plain" * 50) + ENDS, (TEXT, b"plain" * 50), END, headers=DEFLATE)
case("one compressed, one not", frame(TEXT, deflated("one"), rsv=4) + frame(TEXT, "two") + frame(TEXT, deflated("three"), rsv=4) + ENDS,
     (TEXT, b"one"), (TEXT, b"two"), (TEXT, b"three"), END, headers=DEFLATE)
case("nothing, compressed", frame(TEXT, b"\0", rsv=4) + ENDS, (TEXT, b""), END, headers=DEFLATE)
case("blocks that are final (RFC 7692 7.2.3.4)", frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4) + ENDS, (TEXT, b"Hello"), END, headers=DEFLATE)
case("a stored block (7.2.3.3)", frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=4) + ENDS, (TEXT, b"Hello"), END, headers=DEFLATE)
case("two blocks (7.2.3.5)", frame(TEXT, bytes.fromhex("f248050000 00ffff cac9c90700".replace(" ", "")), rsv=4) + ENDS, (TEXT, b"Hello"), END, headers=DEFLATE)
case("what is not deflated at all", frame(BINARY, b"\xff" * 50, rsv=4), bye(1007), headers=DEFLATE)
case("a reference before the beginning", frame(BINARY, bytes.fromhex("f200110000"), rsv=4), bye(1007), headers=DEFLATE)
case("a compressed ping", frame(PING, b"x", rsv=4), bye(1002), headers=DEFLATE)
case("a compressed close", frame(CLOSE, b"\x03\xe8", rsv=4), bye(1002), headers=DEFLATE)
case("compressed without an agreement", frame(TEXT, deflated("x"), rsv=4), bye(1002))


def run(address, name, connect=WebSocket):
    """In one packet, and in packets of one byte."""
    sent, expected, headers = CASES[name]
    for step in (None, 1) if len(sent) < 3000 else (None,):
        with connect(address, headers=headers) as ws:
            try:
                for i in range(0, len(sent), step or len(sent)):
                    ws.send(sent[i:i + (step or len(sent))])
            except OSError:
                assert expected[-1][1] in (b"\x03\xea", b"\x03\xef", b"\x03\xf1"), "only whoever breaks the rules is not heard to the end"
            assert ws.frames() == expected, f"in steps of {step}"
