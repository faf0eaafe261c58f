"""Every spelling of a way out of the root, on every worker type: nothing outside is ever sent, nothing hidden, nothing but files."""

import os

import pytest

from lib.wire import Closed, request

SECRET = b"secret outside of the root"
CONFIG = """
pool "web" { worker_class = {worker}  keepalive = 20s }
file_cache { valid = 0 }
server "main" {
    listen = "{address}"
    route "sub"    { match { prefix = "/static/" }  static { root = "TOP/www/sub" } }
    route "bare"   { match { prefix = "/bare" }     static { root = "TOP/www/sub" } }
    route "no"     { match { prefix = "/no/" }      static { root = "TOP/www"  symlinks = no } }
    route "any"    { match { prefix = "/any/" }     static { root = "TOP/www"  symlinks = any } }
    route "dots"   { match { prefix = "/dots/" }    static { root = "TOP/www"  hidden = yes } }
    route "query"  { match { prefix = "/query" }    static { root = "TOP/www"  try = {'$arg_name'} } }
    route "group"  { match { path = '^/group/(?<name>.*)$' }  static { root = "TOP/www"  try = {'sub/$name'} } }
    route "all"    { static { root = "TOP/www"  listing = yes } }
}
"""


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    top = tmp_path_factory.mktemp("top")
    (top / "secret").write_bytes(SECRET)
    (top / "www").mkdir()
    (top / "wwwsecret").write_bytes(SECRET)
    root = top / "www"
    (root / "file").write_text("fine")
    (root / "sub").mkdir()
    (root / "sub" / "file").write_text("fine below")
    (root / "..x").write_text("hidden")
    (root / ".hidden").write_text("hidden")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("hidden")
    (root / ".well-known").mkdir()
    (root / ".well-known" / "token").write_text("token")
    os.symlink("../secret", root / "out")
    os.symlink("..", root / "outdir")
    os.symlink(top / "secret", root / "absolute")
    os.symlink("sub/file", root / "in")
    os.symlink("../file", root / "sub" / "up")
    os.symlink("/proc/self/root", root / "proc")
    os.symlink("round", root / "round")
    os.mkfifo(root / "fifo")
    return top


@pytest.fixture(scope="module")
def site(shared_monoceros, top):
    return shared_monoceros(config=CONFIG.replace("TOP", str(top)))


UP = ["..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", "..%00", "..;", "...", "..\\", "%2e%2e%5c", "%c0%ae%c0%ae", "%u002e%u002e", "..%0d", "..%ff"]
SLASH = ["/", "%2f", "%2F", "//", "/./", "\\", "%5c", "%252f", "%c0%af"]


def spellings():
    for prefix in ("", "static", "static/", "bare", "sub", "no", "dots", "group", "x/y", "file", "outdir", "query"):
        for up in UP:
            for slash in SLASH:
                for depth in (1, 2, 6):
                    yield "/" + prefix + (slash if prefix else "") + (up + slash) * depth + "secret"
                    if depth == 6:
                        yield "/" + prefix + (slash if prefix else "") + (up + slash) * depth + "etc/passwd"


def answers(site, targets, headers=()):
    """One keep-alive connection for as long as it lasts."""
    connection = site.connect()
    try:
        for target in targets:
            for attempt in (1, 2):
                try:
                    connection.send(request("GET", target, headers))
                    answer = connection.read()
                    break
                except Closed:
                    assert attempt == 1, target
                    connection.close()
                    connection = site.connect()
            yield target, answer
            if not answer.keep:
                connection.close()
                connection = site.connect()
    finally:
        connection.close()


def test_no_spelling_leads_out(site):
    tried = 0
    for target, answer in answers(site, spellings()):
        tried += 1
        assert SECRET not in answer.body and b"root:" not in answer.body, target
        assert answer.status in (400, 404), (target, answer.status)
    assert tried > 4000


def test_prefixes_match_whole_segments(site):
    """The root's neighbour of the same beginning, and nginx's alias without slash."""
    for target, answer in answers(site, ["/static../secret", "/static../wwwsecret", "/bare../wwwsecret", "/bare..%2fwwwsecret", "/barefile",
                                         "/staticfile", "/../wwwsecret", "/static/..%2f..%2fwwwsecret"]):
        assert answer.status in (400, 404) and SECRET not in answer.body, target
    assert site.ask("GET", "/bare/file").body == b"fine below" and site.ask("GET", "/static/file").body == b"fine below"


@pytest.mark.parametrize("target, status", [
    ("/in", 200), ("/sub/up", 200), ("/out", 404), ("/outdir/secret", 404), ("/absolute", 404), ("/proc/etc/passwd", 404), ("/round", 404),
    ("/static/up", 404),                # beneath the root of that route it is not
    ("/no/in", 404), ("/no/file", 200), ("/no/out", 404),
    ("/any/out", 200), ("/any/absolute", 200), ("/any/in", 200), ("/any/../secret", 404),
    ("/fifo", 404), ("/sub", 301), ("/file/", 404), ("/file/.", 404), ("/file/x", 404), ("/file%00", 400), ("/file%00.html", 400),
    ("/.hidden", 404), ("/.git/config", 404), ("/.git/", 404), ("/%2ehidden", 404), ("/..x", 404), ("/.well-known/token", 200),
    ("/dots/.hidden", 200), ("/dots/.git/config", 200), ("/dots/..x", 200), ("/dots/../secret", 404),
    ("/query?name=file", 200), ("/query?name=../secret", 404), ("/query?name=/etc/passwd", 404), ("/query?name=..%2fsecret", 404),
    ("/query?name=.hidden", 404), ("/query?name=sub//file", 404), ("/query?name=", 404), ("/query", 404), ("/query?name=out", 404),
    ("/group/file", 200), ("/group/../../secret", 400), ("/group/%2e%2e/file", 200),
    ("/" + "a" * 300, 404), ("/" + "a/" * 2000, 404), ("/" + "sub/../" * 500 + "file", 200),
])
def test_what_a_name_is(site, target, status):
    (_, answer), = answers(site, [target])
    assert answer.status == status, target
    assert SECRET not in answer.body or target.startswith("/any/")


def test_a_link_that_turns_into_one_that_leads_out(site, top):
    """Swapped all the time between a file and a link out of the root: openat2 follows once, at the moment of opening."""
    victim, fresh = top / "www" / "victim", top / "www" / ".fresh"
    for round_ in range(150):
        if round_ % 2:
            fresh.write_text("fine")
        else:
            os.symlink("../secret", fresh)
        os.replace(fresh, victim)
        for _, answer in answers(site, ["/victim"] * 3):
            assert answer.status in (200, 404) and answer.body != SECRET


def test_unreadable_files(site, top):
    path = top / "www" / "closed"
    path.write_text("x")
    path.chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    assert site.ask("GET", "/closed").status == 403
