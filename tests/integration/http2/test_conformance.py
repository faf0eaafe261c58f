"""Each frame of h2_table.py, from a client that sends nothing but bytes."""

import pytest

from lib.fixtures import WORKERS
from lib.frames import GOAWAY, HEADERS, MAGIC, PING, RST_STREAM, SETTINGS, Client, Closed, frame, ping, settings, ACK
from lib import server as under_test
from http2.h2_table import CASES

pytestmark = [pytest.mark.skipif("http2" not in under_test.modules(), reason="built without http2"), pytest.mark.workers(WORKERS[0])]

SITE = """worker_class = {worker}
workers = 1
keepalive = 60s
http2_cleartext = prior-knowledge
server "a" { listen = "{address}"
 route "all" { respond { body = "hello" } }
}
"""


@pytest.fixture(scope="module")
def site(shared_monoceros):
    return shared_monoceros(config=SITE)


def ends_with(client, codes, silent=False):
    frames = client.drained()
    last = [f for f in frames if f.kind == GOAWAY]
    assert silent or last, f"closed without GOAWAY: {client.seen}"
    assert not last or last[-1].code in codes, f"{last[-1]}, not {codes}"


def first_of(client, stream=1):
    """The first frame that says what becomes of the stream or the connection."""
    return client.until(lambda f: f.kind == GOAWAY or (f.stream == stream and f.kind in (HEADERS, RST_STREAM)))


def check(client, wanted):
    kind = wanted[0]
    if kind == "goaway":
        ends_with(client, wanted[1])
    elif kind == "closed":
        ends_with(client, wanted[1], silent=True)
    elif kind == "fine":
        client.next = 101
        assert client.get().status == 200
        assert not [f for f in client.seen if f.kind in (GOAWAY, RST_STREAM) and f.stream not in (0, 1)]
    elif kind == "not":
        client.next = 101
        assert client.get().status == 200
        assert not [f for f in client.seen if f.stream == wanted[1] and f.kind == HEADERS]
    elif kind in ("status", "last"):
        assert client.answer(1).status == wanted[1]
        if kind == "status":
            client.alive()
    elif kind == "any":
        first_of(client)
        client.alive()
    else:
        f = first_of(client)
        while kind == "either" and f.kind == HEADERS:
            f = first_of(client)
        if kind == "either" and f.kind == GOAWAY:
            assert f.code in wanted[1], f
            return
        if kind == "either status" and f.kind == HEADERS:
            assert dict(f.headers)[":status"] == str(wanted[1])
        else:
            codes = wanted[2:] if kind == "either status" else wanted[1]
            assert f.kind == RST_STREAM and f.code in codes, f"{f}, not RST_STREAM with {codes}"
        client.next = 101
        assert client.get().status == 200


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES])
def test_frames(site, case):
    section, name, data, wanted = case
    with Client(site.address) as client:
        client.send(data)
        check(client, wanted)


def test_there_are_enough_cases():
    assert len(CASES) >= 120 and len({(c[0], c[1]) for c in CASES}) == len(CASES)


# --- the beginning (RFC 9113 3.4)

def test_the_server_begins_with_settings(site):
    with Client(site.address) as client:
        first = client.read()
        assert first.kind == SETTINGS and not first.flags & ACK and first.stream == 0
        client.until(lambda f: f.kind == SETTINGS and f.flags & ACK)


def test_the_preface_byte_by_byte(site):
    with Client(site.address, hello=False) as client:
        for byte in MAGIC + settings() + ping():
            client.send(bytes([byte]))
        client.until(lambda f: f.kind == PING)


@pytest.mark.parametrize("data", [ping(), frame(HEADERS, 5, 1, b""), frame(GOAWAY, 0, 0, bytes(8))], ids=["PING", "HEADERS", "GOAWAY"])
def test_settings_come_first(site, data):
    with Client(site.address, hello=False) as client:
        client.send(MAGIC + data)
        ends_with(client, (1,))


def test_another_preface_is_no_http2(site):
    with Client(site.address, hello=False) as client:
        client.send(MAGIC[:18] + b"XX\r\n\r\n")
        client.data = b""
        try:
            while client.sock.recv(65536):
                pass
        except (Closed, OSError):
            pass
    with Client(site.address) as client:
        assert client.get().status == 200


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
def test_any_pieces(site, size):
    with Client(site.address) as client:
        data = b"".join(c[2] for c in CASES if c[1] in ("a block in three pieces",)) + ping(b"pieces!!")
        for i in range(0, len(data), size):
            client.send(data[i:i + size])
        assert client.answer(1).body == b"hello"
