"""Conditions of routes, names that are patterns, and the actions that use what they matched."""

import pytest

from lib.fixtures import WORKERS
from lib import server as under_test

SITES = r"""
pool "web" { worker_class = {worker}  workers = 1  keepalive = 5s }
server "main" {
    listen = "{address}"
    names = {"example.org"}
    route "old"    { match { path = '^/old/(\d{1,4})/(?<rest>.*)$' }  redirect { to = '/new/$1/$rest$is_args$args' code = 301 } }
    route "https"  { match { prefix = "/secure" scheme = http }       redirect { to = 'https://$host$request_uri' code = 308 } }
    route "up"     { match { prefix = "/up" }                         redirect { to = '/$arg_to' } }
    route "moved"  { match { path = '^/moved(?<x>/.*)$' }             rewrite { to = '/show$x' } }
    route "newq"   { match { prefix = "/newq" }                       rewrite { to = '/show?fresh=1' } }
    route "loop"   { match { prefix = "/loop" }                       rewrite { to = '/loop/x' } }
    route "hidden" { match { prefix = "/hidden" } internal = yes      respond { body = "hidden" } }
    route "tohid"  { match { prefix = "/tohidden" }                   rewrite { to = '/hidden' } }
    route "hdr"    { match { prefix = "/m" header = {'X-Version: ^(?<major>\d+)', "!X-Old"} }  respond { body = 'version $major' } }
    route "qry"    { match { prefix = "/m" query = {"a", 'b=^x(?<b>.*)$'} }      respond { body = 'query $b' } }
    route "cook"   { match { prefix = "/m" cookie = {"session=."} }             respond { body = 'cookie $cookie_session' } }
    route "meth"   { match { prefix = "/m" method = {PUT, DELETE} }             respond { body = 'method $request_method' } }
    route "notme"  { match { prefix = "/m" client = {"!127.0.0.0/8"} }          respond { body = 'elsewhere' } }
    route "host"   { match { prefix = "/m" host = {'~^(?<who>\w+)\.other$', "*.third"} }  respond { body = 'host $who' } }
    route "me"     { match { exact = "/m/me" client = {"127.0.0.1"} }           respond { body = 'client $remote_addr' } }
    route "show"   { match { prefix = "/show" }                                 respond { body = '$uri|$args|$request_uri' } }
    route "hang"   { match { path = '^/(a+)+$' }                                respond { body = 'hang' } }
    route "rest"   { respond { body = 'rest' headers = {'X-Uri: $request_uri', 'X-Empty: $arg_none'} } }
}
server "users" {
    listen = "{address}"
    names = {'~^(?<user>[a-z]+)\.example\.net$'}
    route "all" { respond { body = 'user $user' } }
}
"""


@pytest.fixture(scope="module")
def sites(shared_monoceros):
    return shared_monoceros(config=SITES)


REDIRECTS = [
    ("/old/12/a%20b/%3f?q=1", 301, "/new/12/a%20b/%3F?q=1"),
    ("/old/12//evil.example", 301, "/new/12/evil.example"),
    ("/old/12/%5cevil", 301, "/new/12/%5Cevil"),
    ("/secure/x?y=%41", 308, "https://example.org/secure/x?y=%41"),
    ("/up?to=/evil.example", 302, "/evil.example"),
    ("/up?to=%2f%2fevil.example", 302, "/%2f%2fevil.example"),
]


@pytest.mark.parametrize("target,status,location", REDIRECTS)
def test_redirects(sites, target, status, location):
    response = sites.ask("GET", target, host="example.org")
    assert (response.status, response.get("Location")) == (status, location)


@pytest.mark.parametrize("target", ["/old/1/a%0d%0aX-Evil:%201", "/old/1/%0a"])
def test_a_newline_never_ends_a_field(sites, target):
    response = sites.ask("GET", target, host="example.org")
    assert response.get("X-Evil") is None
    assert response.status in (200, 301, 404)


BODIES = [
    ("/moved/a?b=c", {}, "/show/a|b=c|/moved/a?b=c"),
    ("/newq?old=1", {}, "/show|fresh=1|/newq?old=1"),
    ("/tohidden", {}, "hidden"),
    ("/hidden", {}, "rest"),
    ("/m", {"X-Version": "12b"}, "version 12"),
    ("/m", {"X-Version": "x"}, "rest"),
    ("/m", {"X-Version": "12", "X-Old": "1"}, "rest"),
    ("/m?a=1&b=x%41z", {}, "query Az"),
    ("/m?b=xyz", {}, "rest"),
    ("/m", {"Cookie": "a=1; session=abc"}, "cookie abc"),
    ("/m", {"Cookie": "a=1; session="}, "rest"),
    ("/m/me", {}, "client 127.0.0.1"),
]


@pytest.mark.parametrize("target,headers,body", BODIES)
def test_conditions(sites, target, headers, body):
    assert sites.ask("GET", target, list(headers.items()), host="example.org").text == body


def test_methods_and_hosts(sites):
    assert sites.ask("PUT", "/m", host="example.org").text == "method PUT"
    assert sites.ask("GET", "/m", host="Joe.OTHER").text == "host joe"
    assert sites.ask("GET", "/m", host="a.b.third").text == "host "


def test_names_by_pattern(sites):
    assert sites.ask("GET", "/", host="ann.example.net").text == "user ann"
    assert sites.ask("GET", "/", host="ANN.Example.NET.").text == "user ann"
    assert sites.ask("GET", "/", host="a1.example.net").text == "rest"


def test_a_loop_ends(sites):
    assert sites.ask("GET", "/loop", host="example.org").status == 500
    assert sites.ask("GET", "/", host="example.org").status == 200


def test_a_pattern_cannot_hang_a_worker(sites):
    assert sites.ask("GET", "/" + "a" * 60 + "b", host="example.org").status in (200, 500)


def test_fields_of_respond(sites):
    response = sites.ask("GET", "/x?y", host="example.org")
    assert response.get("X-Uri") == "/x?y"
    assert response.get("X-Empty") is None


HEAD = 'server "s" { listen = "127.0.0.1:1"\n'
WRONG = [
    ("route \"r\" { match { path = '^/(x)' }\n redirect { to = '/$2' } } }", "redirect: to: the route's path has no group for '$2'"),
    ("route \"r\" {\n redirect { to = '$nothing' } } }", "unknown variable '$nothing'"),
    ("route \"r\" { match {\n method = get } respond { } } }", ":3: method: expected a method in capitals"),
    ("route \"r\" { match {\n header = {\"a b\"} } respond { } } }", ":3: header: expected 'NAME' or 'NAME: PATTERN'"),
    ("route \"r\" { match {\n header = {\"A: (\"} } respond { } } }", ":3: header: bad pattern at offset 1"),
    ("route \"r\" { match {\n client = {\"10.0.0.0/33\"} } respond { } } }", ":3: client: expected an address"),
    ("names = {\"a\",\n '~('} route \"r\" { respond { } } }", ":3: names: bad pattern"),
    ("route \"r\" { match { } respond { } } }", "match: write one of"),
    ("access { }\n route \"r\" { respond { } } }", ":2: access: neither allow nor deny"),
    ("limit {\n rate = \"20\" } route \"r\" { respond { } } }", ":3: rate: expected NUMBER/s"),
    ("limit { }\n route \"r\" { respond { } } }", "limit: needs rate"),
    ("headers { response {\n set = {'Content-Length: 1'} } } route \"r\" { respond { } } }", "the field Content-Length belongs to the server"),
    ("headers { request {\n set = {'X'} } } route \"r\" { respond { } } }", ":3: set: expected 'NAME: value'"),
    ("error_page = {\"404\"}\n route \"r\" { respond { } } }", ":2: error_page: expected"),
    ("error_page = {\"404 @nobody\"}\n route \"r\" { respond { } } }", "has no route 'nobody'"),
    ("error_page = {\"404 file:/no/such/file\"}\n route \"r\" { respond { } } }", "/no/such/file: No such file"),
    ("proxy_protocol = yes\n route \"r\" { respond { } } }", ":2: proxy_protocol: expected off, v1, v2 or auto"),
]


@pytest.mark.parametrize("text,message", WRONG)
def test_wrong_configurations_name_their_line(tmp_path, text, message):
    path = tmp_path / "wrong.conf"
    path.write_text(HEAD + text)
    result = under_test.run("-c", path, "--check-config")
    assert result.returncode == 1
    assert message in result.stdout + result.stderr
    assert "wrong.conf:" in result.stdout + result.stderr


def test_the_normal_form_says_the_same(tmp_path):
    path, again = tmp_path / "a.conf", tmp_path / "b.conf"
    path.write_text(SITES.replace("{worker}", WORKERS[0]).replace("{address}", "127.0.0.1:1"))
    first = under_test.run("-c", path, "--print-config")
    assert first.returncode == 0
    again.write_text(first.stdout)
    printed = under_test.run("-c", again, "--print-config").stdout
    assert under_test.without_origins(printed) == under_test.without_origins(first.stdout)
