"""The example apps of conf/examples/native, as a newcomer runs them."""

import os
import re
from pathlib import Path

import pytest

from lib import server as under_test
from lib.services import Peer

EXAMPLES = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "conf/examples/native"

pytestmark = pytest.mark.skipif(not (EXAMPLES / "hello.so").exists(), reason="no native apps are built")
blocking = pytest.mark.workers("sync", "gthread", "greenlet")
curl = pytest.mark.skipif(not (EXAMPLES / "aggregate.so").exists(), reason="built without libcurl")


@blocking
def test_hello(monoceros):
    server = monoceros("./hello.so", cwd=EXAMPLES, python=False)
    assert server.ask("GET", "/").text == "Hello, world!\n"
    assert server.ask("GET", "/?Ada").text == "Hello, Ada!\n"
    assert server.ask("GET", "/?" + "x" * 300).status == 400


def read_until(client, pattern):
    while not re.search(pattern, client.buffer):
        assert client.fill()
    client.buffer = b""


def test_events(monoceros):
    server = monoceros("./events.so", cwd=EXAMPLES, python=False, env={"TICK_MS": "50"})
    assert server.ask("POST", "/").status == 405
    clients = [server.connect() for _ in range(200)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in clients:
        assert client.read_head().get("Content-Type") == "text/event-stream"
    for client in clients:
        read_until(client, rb'"clients": 200}')
    for client in clients[:150]:
        client.close()
    for client in clients[150:]:
        read_until(client, rb'"clients": 50}')
        client.close()


def test_a_slow_subscriber_holds_up_nobody(monoceros):
    server = monoceros("./events.so", cwd=EXAMPLES, python=False, env={"TICK_MS": "1"})
    with server.connect(rcvbuf=4096) as slow, server.connect() as fast:
        for client in (slow, fast):
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            client.read_head()
        for _ in range(300):
            assert fast.fill()
            fast.buffer = b""
        assert slow.fill()


@blocking
@curl
def test_aggregate(monoceros, worker_class):
    at_once = 3 if worker_class == "greenlet" else 1
    with Peer(at_once) as peer:        # answers when so many ask
        urls = [peer.url + name for name in "abc"]
        server = monoceros("./aggregate.so", cwd=EXAMPLES, python=False, env={"UPSTREAMS": " ".join(urls), "no_proxy": "*"})
        for _ in range(2):
            assert server.ask("GET", "/").body == b"".join(b"== %s: ok\n%s" % (url.encode(), peer.data) for url in urls)
        assert peer.most == at_once
    failed = server.ask("GET", "/")
    assert failed.status == 502 and len(failed.text.splitlines()) == 3 and ": ok" not in failed.text


@blocking
@curl
def test_aggregate_without_upstreams(monoceros):
    server = monoceros("./aggregate.so", cwd=EXAMPLES, python=False, ready=False)
    assert server.wait() == 3 and "aggregate: UPSTREAMS names no URL" in server.log()
