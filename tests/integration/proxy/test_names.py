"""Peers by name: A, AAAA and SRV answers, changes, failures, and hostile name servers."""

import re

import pytest

from dns import Names, encode
from lib import server as under_test
from lib.limits import until
from lib.upstream import Upstream, serving
from proxy_site import site


def built_with_resolver():
    return re.search(r"^\s+resolver\s+cares$", under_test.modules(), re.M) is not None


pytestmark = [pytest.mark.workers("epoll", "gthread")]
resolver = pytest.mark.skipif(not built_with_resolver(), reason="built without c-ares")


def echo(number):
    return serving(lambda peer, head, body: peer.reply(str(number).encode()))


def named(names, peer, options="", upstream="", **more):
    text = f'resolver = {{"{names.text}"}}\n{upstream}\n peer "{peer}" {{ max_fails = 0 {options} }}'
    return site("127.0.0.2:1", upstream=text, **more).replace('    peer "127.0.0.2:1" { max_fails = 0 }', "")


def ask(server, status=200):
    with server.connect() as client:
        answer = client.ask("GET", "/")
        assert answer.status == status, answer
        return answer.body.decode()


def two_upstreams_on_one_port():
    one = Upstream(echo(1))
    return one, Upstream(echo(2), address=("127.0.0.2", one.address[1]))


@resolver
def test_all_addresses_are_peers(monoceros):
    one, two = two_upstreams_on_one_port()
    with one, two, Names() as names:
        names.table["api.test"] = {"A": ["127.0.0.1", "127.0.0.2"], "TTL": 60}
        server = monoceros(config=named(names, f"api.test:{one.address[1]}"))
        assert {ask(server) for _ in range(4)} == {"1", "2"}
        assert ("api.test", "AAAA") in names.asked


@resolver
def test_changes_are_followed(monoceros):
    one, two = two_upstreams_on_one_port()
    with one, two, Names() as names:
        names.table["api.test"] = {"A": ["127.0.0.1"], "TTL": 0}
        server = monoceros(config=named(names, f"api.test:{one.address[1]}"))
        assert ask(server) == "1"
        names.table["api.test"] = {"A": ["127.0.0.2"], "TTL": 0}
        until(lambda: ask(server) == "2", "the new address")
        assert {ask(server) for _ in range(4)} == {"2"}
        # Failures keep what is known.
        del names.table["api.test"]
        before = names.count("api.test")
        until(lambda: names.count("api.test") > before + 2, "questions without answer")
        assert ask(server) == "2"
        until(lambda: "cannot resolve api.test" in server.log(), "the warning")
        names.table["api.test"] = {"A": ["127.0.0.1"], "TTL": 0}
        until(lambda: ask(server) == "1", "the name found again")


@resolver
def test_records_of_services(monoceros):
    with Upstream(echo(1)) as one, Upstream(echo(2)) as two, Upstream(echo(3)) as three, Names() as names:
        ports = [up.address[1] for up in (one, two, three)]
        names.table["_http._tcp.svc.test"] = {"SRV": [(10, 1, ports[0], "a.test"), (10, 3, ports[1], "b.test"), (20, 1, ports[2], "a.test")]}
        names.table["a.test"] = names.table["b.test"] = {"A": ["127.0.0.1"], "TTL": 60}
        server = monoceros(config=named(names, "svc.test", 'service = "_http._tcp"'))
        got = [ask(server) for _ in range(8)]
        assert got.count("1") == 2 and got.count("2") == 6


@resolver
def test_no_such_name(monoceros):
    with Names() as names:
        server = monoceros(config=named(names, "nothing.test:80"))
        ask(server, 503)
        until(lambda: "cannot resolve nothing.test" in server.log(), "the warning")


@resolver
def test_the_hosts_file_is_asked_first(monoceros):
    with Upstream(echo(1)) as one, Names() as names:
        server = monoceros(config=named(names, f"localhost:{one.address[1]}"))
        until(lambda: ask(server) == "1", "an answer")
        assert names.count("localhost") == 0


def loop(query, kind):
    """An answer whose name points to itself."""
    end = len(encode("api.test")) + 16
    return query[:2] + b"\x81\x80\0\1\0\2\0\0\0\0" + query[12:end] + (b"\xc0" + bytes([end]) + b"\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1") * 2


def forged(query, kind):
    """Another id, before nothing."""
    return bytes([query[0] ^ 1, query[1]]) + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1"


HOSTILE = {
    "loop": loop,
    "forged": forged,
    "huge": lambda query, kind: query[:2] + b"\x81\x80\0\1\xff\xff\xff\xff\xff\xff" + query[12:] + b"\xc0\x0c\0\1\0\1\xff\xff\xff\xff\xff\xff" + bytes(3900),
    "short": lambda query, kind: query[:11],
    "self": lambda query, kind: query,
    "length": lambda query, kind: query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\3\x7f\0\0",
    "noise": lambda query, kind: query[:2] + bytes(range(256)) * 8,
    "many": lambda query, kind: [query[:2] + b"\x81\x80" + bytes(i) for i in range(40)],
}


@resolver
@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_answers(monoceros, how):
    with Upstream(echo(1)) as one, Names() as names:
        names.table["api.test"] = HOSTILE[how]
        server = monoceros(config=named(names, f"api.test:{one.address[1]}", upstream=f'peer "{one.text}" {{ }}'))
        for _ in range(3):
            assert ask(server) == "1"       # the other peer serves on
        until(lambda: names.count("api.test") > 1, "questions")
        names.table["api.test"] = {"A": ["127.0.0.1"], "TTL": 1}
        until(lambda: "api.test is at 127.0.0.1" in server.log(), "the name, once its server is well", seconds=60)


@pytest.mark.skipif(built_with_resolver(), reason="built with c-ares")
def test_names_are_looked_up_once_without_a_resolver(monoceros):
    with Upstream(echo(1)) as one:
        server = monoceros(config=site(f"localhost:{one.address[1]}"))
        assert ask(server) == "1" and "is looked up once" in server.log()
    for peer, options, word in (("nowhere.invalid:80", "", "cannot resolve 'nowhere.invalid'"), ("localhost", 'service = "_http._tcp"', "needs a build with a resolver")):
        failed = monoceros(config=site("127.0.0.2:1", upstream=f' peer "{peer}" {{ {options} }}'), ready=False)
        assert failed.wait() == 1 and word in failed.log()
