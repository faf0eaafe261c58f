"""One path, many spellings (threats 10, 11): access rules, files, upstreams and redirects see one normal form, so that no spelling slips past a rule."""

import itertools
import random
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "proxy")]
from proxy_site import site as proxy_site  # noqa: E402

from lib.upstream import Upstream, serving  # noqa: E402
from lib.wire import Closed, request  # noqa: E402

SECRET = b"for nobody"
CONFIG = """
worker_class = {worker}
keepalive = 20
server "main" {
    listen = "{address}"
    route "prefix" { match { prefix = "/admin/" }                 access { deny = all }  static { root = "{tmp}/www/admin" } }
    route "exact"  { match { exact = "/one/secret" }              access { deny = all }  respond { body = "for nobody" } }
    route "regex"  { match { path = '^/[a-z]+/private/(.*)$' }    access { deny = all }  respond { body = "for nobody" } }
    route "up"     { match { prefix = "/up/" }                    proxy { to = "UPSTREAM" } }
    route "cut"    { match { prefix = "/cut/" }                   proxy { to = "UPSTREAM"  strip_prefix = "/cut" } }
    route "inner"  { match { prefix = "/inner/" }                 rewrite { to = '/$rest' } }
    route "files"  { match { prefix = "/files/" }                 static { root = "{tmp}/www" } }
    route "all"    { static { root = "{tmp}/www" } }
}
"""


def escaped(text, chosen):
    return "".join(f"%{ord(c):02{'xX'[i % 2]}}" if i in chosen else c for i, c in enumerate(text))


def spellings(path, seed):
    """Texts that mean this path: escapes, dot segments, doubled slashes, escaped slashes, ways there and back."""
    rng = random.Random(seed)
    yield from (path, path.replace("/", "//"), path.replace("/", "/./"), "/x/.." + path, "/x/y/../.." + path, "/%2e" + path, "/x/%2e%2E" + path,
                path.replace("/", "/.%2f"), "/" + path[1:].replace("/", "%2f"), "/" + path[1:].replace("/", "%2F%2f"), "/x%2f..%2f" + path[1:],
                path + "?a=/../", "http://localhost" + path, "http://localhost//" + path[1:])
    for _ in range(40):
        count = rng.randrange(1, len(path))
        text = escaped(path[1:], set(rng.sample(range(len(path) - 1), count)))
        yield rng.choice(["/", "//", "/./", "/a/../", "/%61/%2e%2e/", "/a%2f../"]) + text


def ask_all(site, targets):
    client = site.connect()
    for target in targets:
        for attempt in (1, 2):
            try:
                client.send(request("GET", target))
                answer = client.read()
                break
            except Closed:
                assert attempt == 1, target
                client.close()
                client = site.connect()
        yield target, answer
        if not answer.keep:
            client.close()
            client = site.connect()
    client.close()


@pytest.fixture(scope="module")
def site(shared_monoceros, tmp_path_factory):
    seen = []
    with Upstream(serving(lambda peer, head, body: (seen.append(head.split(b" ")[1].decode("latin-1")), peer.reply(b"up"))[1])) as up:
        started = shared_monoceros(config=CONFIG.replace("UPSTREAM", up.text))
        root = started.directory / "www"
        (root / "admin").mkdir(parents=True)
        (root / "admin" / "secret").write_bytes(SECRET)
        (root / "open").write_bytes(b"for all")
        started.seen_upstream = seen
        yield started


@pytest.mark.parametrize("path", ["/admin/secret", "/one/secret", "/abc/private/x", "/inner/admin/secret", "/inner/one/secret", "/inner/inner/admin/secret"])
def test_no_spelling_slips_past_a_rule(site, path):
    wrong = [(target, answer.status, answer.body) for target, answer in ask_all(site, spellings(path, path)) if answer.status != 403]
    assert not wrong


@pytest.mark.parametrize("path, body", [("/open", b"for all"), ("/files/open", b"for all"), ("/inner/open", b"for all"), ("/inner/up/x", b"up")])
def test_every_spelling_of_what_is_open_gives_one_answer(site, path, body):
    wrong = [(target, answer.status, answer.body) for target, answer in ask_all(site, spellings(path, path)) if (answer.status, answer.body) != (200, body)]
    assert not wrong


def test_what_an_upstream_sees(site):
    """The client's own spelling where nothing was cut; cut and encoded anew, the normal form, from which no dots lead out."""
    del site.seen_upstream[:]
    targets = list(spellings("/up/a b%c/d".replace(" ", "+").replace("%", "~"), 1))
    assert all(answer.body == b"up" for _, answer in ask_all(site, targets))
    assert site.seen_upstream == [target.replace("http://localhost", "", 1) if target.startswith("http:") else target for target in targets]
    del site.seen_upstream[:]
    targets = list(spellings("/cut/admin/secret", 2))
    assert all(answer.body == b"up" for _, answer in ask_all(site, targets))
    assert {target.split("?")[0] for target in site.seen_upstream} == {"/admin/secret"}
    del site.seen_upstream[:]
    escapes = ["/cut/%2561dmin", "/cut/a%3fb=c", "/cut/a%23b", "/cut/a%20HTTP%2f1.1%0d%0aX:%20y", "/cut/%e2%82%ac", "/cut/%25%30%30", "/cut/;a=b/c"]
    assert all(answer.body == b"up" for _, answer in ask_all(site, escapes))
    assert site.seen_upstream == ["/%2561dmin", "/a%3Fb=c", "/a%23b", "/a%20HTTP/1.1%0D%0AX:%20y", "/%E2%82%AC", "/%2500", "/;a=b/c"]


def test_ways_out_of_what_an_upstream_may_see(site):
    del site.seen_upstream[:]
    ups = ["..", "%2e%2e", ".%2e", "%2E."]
    slashes = ["/", "%2f", "//", "/./"]
    targets = ["/cut" + slash + (up + slash) * depth + "x" for up, slash, depth in itertools.product(ups, slashes, (2, 3, 6))]
    for target, answer in ask_all(site, targets):
        assert answer.status == 400, target
    for target, answer in ask_all(site, ["/cut/../x", "/cut/%2e%2e/x", "/cut/..%2fx", "/cut%2f..%2fx", "/cut/..;/x/../../y"]):
        assert answer.status in (200, 404), target
        assert answer.body != b"up" or "..;" in target
    assert all(target.split("?")[0].startswith("/") and "/../" not in target for target in site.seen_upstream)


def test_neighbours_of_a_prefix(site):
    """/admin/ is neither /admin nor /adminx: no rule reaches further than it says, and no file of it is below a neighbour."""
    for target, answer in ask_all(site, ["/admin", "/adminx/secret", "/admin%00/secret", "/admin\\secret", "/admin%5csecret", "/Admin/secret", "/admin;/secret",
                                         "/admin/..;/open", "/files../admin/secret", "/files..%2fadmin/secret", "/up../x", "/cutx/secret"]):
        assert answer.body not in (SECRET, b"up"), target
        assert answer.status in (301, 400, 403, 404), target


def test_addresses_in_another_family(monoceros):
    """127.0.0.1 that comes to an IPv6 listener as ::ffff:127.0.0.1 is the same client."""
    text = """
        worker_class = {worker}
        server "s" { listen = "[::]:{port}"
            route "no"  { match { prefix = "/no" }  access { deny = {"127.0.0.0/8"} }  respond { body = "in" } }
            route "yes" { match { prefix = "/yes" } access { allow = {"127.0.0.1"} }   respond { body = "in" } }
            route "cond" { match { client = {"127.0.0.1"} } respond { body = "here" } }
            route "rest" { respond { body = "$" } } }
    """
    site = monoceros(config=text)
    assert site.ask("GET", "/no").status == 403
    assert site.ask("GET", "/yes").text == "in"
    assert site.ask("GET", "/x").text == "here"


def test_a_proxy_below_rules_of_its_own(monoceros):
    """The rules of a route that a rewrite leads to are asked, too, and those of the server for every route."""
    with Upstream(serving(lambda peer, head, body: peer.reply(b"up"))) as up:
        proxy = monoceros(config=proxy_site(up.text, server='access { deny = {"127.0.0.1"}  status = 404 }', more="""
            route "in" { match { prefix = "/in/" } rewrite { to = '/$rest' } }
            route "own" { match { exact = "/own" } access { allow = all } respond { body = "own" } }
        """))
        assert proxy.ask("GET", "/x").status == 404
        assert proxy.ask("GET", "/in/x").status == 404
        assert proxy.ask("GET", "/own").text == "own"
        assert not up.requests


def range_specs(rng):
    number = lambda: rng.choice(["", "0", "1", "499", "500", "999", "1000", "1001", "9" * rng.randrange(1, 60), "-1", "+1", " 5", "0x5", "a", "00012"])  # noqa: E731
    for _ in range(400):
        yield rng.choice(["bytes=", "bytes=", "bytes=", "Bytes=", "bytes =", "lines=", "bytes", ""]) + rng.choice([",", ", ", ",,", ";"]).join(
            number() + rng.choice(["-", "-", "-", "", "--"]) + number() for _ in range(rng.choice([1, 1, 1, 2, 3, 16, 17, 200])))


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_ranges_never_give_more_than_there_is(monoceros, tmp_path, size):
    """Random Range fields: 200, 206 or 416, framed right, and the parts are never more than the file and their heads."""
    (tmp_path / "file").write_bytes(bytes(i * 7 % 251 for i in range(size)))
    site = monoceros(config=f'worker_class = {{worker}}\nkeepalive = 20\nserver "s" {{ listen = "{{address}}" route "all" {{ static {{ root = "{tmp_path}" }} }} }}')
    with site.connect() as client:
        for spec in range_specs(random.Random(size)):
            answer = client.ask("GET", "/file", headers=[("Range", spec)])
            assert answer.status in (200, 206, 416), spec
            assert len(answer.body) <= size + 16 * 200, spec
            if answer.status == 200:
                assert len(answer.body) == size
        flood = "bytes=" + ",".join(f"{i}-" for i in range(1300))
        assert client.ask("GET", "/file", headers=[("Range", flood)]).status == 200
