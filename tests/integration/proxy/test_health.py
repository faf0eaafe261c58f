"""Active health checks: who answers them badly is not asked by clients, until it is well again."""

import pytest

from lib.limits import until
from lib.upstream import Upstream, serving
from proxy_site import site

pytestmark = pytest.mark.workers("epoll", "gthread")
CHECKS = 'health { path = "/healthz?x" interval = 50ms timeout = 2s fails = 2 passes = 2 expect = {"200-299", "304"} }'


class Backend:
    def __init__(self, number):
        self.number = number
        self.state = "200 OK"
        self.checks = []
        self.served = 0

    def answer(self, peer, head, body):
        if head.startswith(b"GET /healthz"):
            self.checks.append(head)
            if self.state == "cut":
                peer.sock.close()
                return
            if self.state == "noise":
                peer.send(b"\x00\x01\x02\r\n\r\n")
                return
            peer.reply(b"", status=self.state)
        else:
            self.served += 1
            peer.reply(str(self.number).encode())


def ask(server):
    with server.connect() as client:
        answer = client.ask("GET", "/")
        return answer.body.decode() if answer.status == 200 else answer.status


def test_a_sick_peer_is_left_out(monoceros):
    one, two = Backend(1), Backend(2)
    with Upstream(serving(one.answer)) as a, Upstream(serving(two.answer)) as b:
        server = monoceros(config=site(a.text, b.text, upstream=CHECKS))
        until(lambda: one.checks and two.checks, "checks")    # before any request
        assert one.served == two.served == 0
        assert one.checks[0].startswith(b"GET /healthz?x HTTP/1.1\r\nHost: " + a.text.encode() + b"\r\n")
        assert {ask(server) for _ in range(4)} == {"1", "2"}
        for state, why in (("503 Down", "status 503 to /healthz?x"), ("cut", "no valid answer"), ("noise", "no valid answer")):
            message = f"{a.text} is sick: {why}"
            before = server.log().count(message)
            one.state = state
            until(lambda: server.log().count(message) > before, f"{state} to be noticed")
            assert [ask(server) for _ in range(4)] == ["2"] * 4
            one.state = "304 Not Modified" if state == "cut" else "204 No Content"
            until(lambda: ask(server) == "1", "the peer to come back")
        one.state = two.state = "500 Down"
        until(lambda: ask(server) == 503, "nobody to be left")
        two.state = "200 OK"
        until(lambda: ask(server) == "2", "one to be left")


def test_a_peer_that_takes_no_connections(monoceros):
    one, two = Backend(1), Backend(2)
    with Upstream(serving(one.answer)) as a, Upstream(serving(two.answer)) as b:
        server = monoceros(config=site(a.text, b.text, upstream=CHECKS))
        b.close()
        until(lambda: f"{b.text} is sick: cannot connect" in server.log(), "the refusal to be noticed")
        assert [ask(server) for _ in range(4)] == ["1"] * 4


def test_a_peer_that_says_nothing(monoceros):
    one = Backend(1)

    def silent(peer):
        peer.wait_end()

    with Upstream(serving(one.answer)) as a, Upstream(silent) as b:
        checks = CHECKS.replace("2s", "100ms")
        server = monoceros(config=site(a.text, b.text, upstream=checks))
        until(lambda: f"{b.text} is sick: " in server.log(), "the silence to be noticed")
        assert [ask(server) for _ in range(4)] == ["1"] * 4


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_peers_that_want_the_proxy_protocol(monoceros, version):
    """A check is nobody's request, and says so; without the header the peer would look sick."""
    nobody = b"PROXY UNKNOWN\r\n" if version == "v1" else b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
    checks = []

    def script(peer):
        first = peer.exactly(len(nobody))
        if first == nobody:
            checks.append(peer.request())
            peer.reply(b"")
        elif first.startswith(nobody[:6]):      # a client's: longer
            while b"GET /" not in peer.buffer:
                peer.fill()
            peer.buffer = peer.buffer[peer.buffer.index(b"GET /"):]
            peer.request()
            peer.reply(b"client")

    with Upstream(script) as up:
        server = monoceros(config=site(up.text, upstream=CHECKS, proxy=f"proxy_protocol = {version}"))
        until(lambda: len(checks) > 4, "checks")
        assert ask(server) == "client"
        assert "sick" not in server.log()
