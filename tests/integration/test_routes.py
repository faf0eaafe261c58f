"""A config file with several servers, names and routes, with and without apps; --check-config and --print-config."""

import pytest

from lib import server as under_test

SITES = r"""
# names, order of routes, both kinds of handlers
pool "web" { worker_class = {worker}  workers = 2  keepalive = 5s }

server "first" {
    listen = "{address}"
    names = {"example.org", "www.example.org"}
    route "exact"  { match { exact = "/exact" }             respond { body = "exact" } }
    route "year"   { match { path = '^/(19|20)\d\d/' }      respond { body = "year" } }
    route "api"    { match { prefix = "/api/" }             respond { body = "api" } }
    route "rest"   { respond { body = "first" } }
}
server "stars"  { listen = "{address}"  names = "*.example.org"    route "all" { respond { body = "stars" } } }
server "closer" { listen = "{address}"  names = "*.sub.example.org"  route "all" { respond { body = "closer" } } }
server "short"  { listen = "{address}"  names = "short.example"    route "only" { match { exact = "/only" } respond { body = "only" } } }
"""

HOSTS = [
    ("example.org", "first"), ("EXAMPLE.org", "first"), ("www.example.org:8080", "first"), ("example.org.", "first"),
    ("a.example.org", "stars"), ("b.c.example.org", "stars"), ("x.sub.example.org", "closer"),
    ("unknown.example", "first"), ("[::1]", "first"), ("127.0.0.1", "first"),
]
PATHS = [
    ("/exact", "exact"), ("/exact/", "first"), ("/exactly", "first"), ("/exact?query", "exact"), ("/%65xact", "exact"), ("/./exact", "exact"),
    ("/a/../exact", "exact"), ("//exact", "exact"), ("/1999/x", "year"), ("/2024/", "year"), ("/2124/", "first"), ("/api/", "api"),
    ("/api/v1?x=/exact", "api"), ("/api", "first"), ("/", "first"), ("/a/b/../../api/x", "api"),
]


@pytest.fixture(scope="module")
def sites(shared_monoceros):
    return shared_monoceros(config=SITES)


def test_names(sites):
    for host, body in HOSTS:
        assert sites.ask("GET", "/somewhere", host=host).text == body, host


def test_routes(sites):
    with sites.connect() as connection:
        for path, body in PATHS:
            assert connection.ask("GET", path, host="example.org").text == body, path


def test_absolute_form_wins_over_host(sites):
    assert sites.ask("GET", "http://a.example.org/x", host="example.org").text == "stars"


def test_no_route(sites):
    assert sites.ask("GET", "/only", host="short.example").text == "only"
    assert sites.ask("GET", "/other", host="short.example").status == 404


def test_climbing_above_the_root_is_refused(sites):
    assert sites.ask("GET", "/../exact", host="example.org").status == 400


def test_servers_of_their_own_addresses(monoceros):
    other = under_test.free_port()
    site = monoceros(config=SITES + f'server "apart" {{ listen = "127.0.0.1:{other}"  route "all" {{ respond {{ body = "apart" }} }} }}')
    assert site.ask("GET", "/", host="example.org").text == "first"
    assert under_test.ask(("127.0.0.1", other), "GET", "/", host="example.org").text == "apart"


APPS = """
pool "web" { worker_class = {worker}  workers = 2 }
app "basic" { type = wsgi  module = "basic:app"  chdir = "APPS" }
app "flask" { type = wsgi  module = "flasksite.site:create_app('other')"  chdir = "APPS" }
server "main" {
    listen = "{address}"
    route "flask" { match { prefix = "/hello/" }  app = flask }
    route "fixed" { match { exact = "/fixed" }    respond { body = "fixed" } }
    route "big"   { match { exact = "/echo" }     limit_request_body = 1k  app = basic }
    route "rest"  { app = basic }
}
"""


@pytest.mark.python
def test_apps_and_fixed_answers_side_by_side(monoceros):
    site = monoceros(config=APPS.replace("APPS", str(under_test.APPS)), cwd="/")
    assert site.ask("GET", "/").text == "Hello, world!"
    assert site.ask("GET", "/hello/you").text == "Hello, you!"
    assert site.ask("GET", "/fixed").text == "fixed"
    assert site.ask("POST", "/echo", body=b"x" * 1024).status == 200
    assert site.ask("POST", "/echo", body=b"x" * 1025).status == 413
    assert site.ask("POST", "/digest", body=b"x" * 1025).status == 200


# --- checking and printing

def write(tmp_path, text, name="test.conf"):
    path = tmp_path / name
    path.write_text(text.replace("{address}", "127.0.0.1:18080").replace("{worker}", "sync"), encoding="utf-8")
    return path


def test_check_config(tmp_path):
    done = under_test.run("--check-config", "-c", write(tmp_path, SITES))
    assert done.returncode == 0, done.stderr
    done = under_test.run("--check-config", "-c", write(tmp_path, SITES + "server {\n"))
    assert done.returncode == 1 and "test.conf:" in done.stderr


@pytest.mark.python
def test_check_config_imports_the_app():
    assert under_test.run("--check-config", "basic:app").returncode == 0
    done = under_test.run("--check-config", "nosuchmodule:app")
    assert done.returncode == 1 and "nosuchmodule" in done.stderr + done.stdout


def test_print_config_parses_back(tmp_path):
    printed = under_test.run("--print-config", "-c", write(tmp_path, SITES), "-w", "3", "--limit-request-body", "5m")
    assert printed.returncode == 0, printed.stderr
    assert "limit_request_body = 5m" in printed.stdout or "limit_request_body = 5242880" in printed.stdout
    again = under_test.run("--print-config", "-c", write(tmp_path, printed.stdout, "printed.conf"))
    assert again.returncode == 0, again.stderr
    assert under_test.without_origins(again.stdout) == under_test.without_origins(printed.stdout)


WRONG = [
    ('workers = 0\n', 1, "workers"),
    ('workers = 2\nworkers = 3\n', 2, "workers"),
    ('\n\nworkerz = 2\n', 3, "workerz"),
    ('# a comment\n\nloglevel = loud\n', 3, "loglevel"),
    ('server "a" { listen = "127.0.0.1:1"\n route "x" { respond { status = 99 } } }\n', 2, "status"),
    ('server "a" { listen = "127.0.0.1:1"\n route "x" { match { path = "(" } respond { body = "x" } } }\n', 2, ""),
    ('server "a" { listen = "127.0.0.1:1"\n route "x" { app = nowhere } }\n', 2, "nowhere"),
    ('server "a" { listen = "127.0.0.1:1"\n route "x" { } }\n', 2, "x"),
    ('server "a" {\n listen = *:80\n}\n', 2, ""),
    ('pool "a" { workers = 2\n', 1, ""),
    ('timeout = 10 parsecs\n', 1, ""),
    ('pool "a" { worker_class = twisted }\n', 1, "twisted"),
]


@pytest.mark.parametrize("text, line, word", WRONG, ids=range(len(WRONG)))
def test_errors_name_file_and_line(tmp_path, text, line, word):
    done = under_test.run("--check-config", "-c", write(tmp_path, text))
    assert done.returncode == 1
    assert f"test.conf:{line}" in done.stderr and word in done.stderr, done.stderr


def test_config_files_that_are_none(tmp_path):
    done = under_test.run("--check-config", "-c", tmp_path)
    assert done.returncode == 1 and str(tmp_path) in done.stderr
    done = under_test.run("--check-config", "-c", tmp_path / "absent.conf")
    assert done.returncode == 1 and "absent.conf" in done.stderr


def test_precedence(tmp_path):
    path = write(tmp_path, 'timeout = 20s\nserver "a" { listen = "127.0.0.1:18080" route "x" { respond { body = "x" } } }\n')

    def workers(*arguments, **env):
        done = under_test.run("--print-config", *arguments, env=env)
        assert done.returncode == 0, done.stderr
        found = [line.split("=")[1].split("#")[0].strip() for line in done.stdout.splitlines() if line.strip().startswith("workers =")]
        return int(found[0]) if found else 1

    assert workers("-c", path) == 1
    assert workers("-c", path, WEB_CONCURRENCY="2") == 2
    path.write_text("workers = 3\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert workers("-c", path, WEB_CONCURRENCY="2") == 3
    assert workers("-c", path, WEB_CONCURRENCY="2", MONOCEROS_CMD_ARGS="-w 4") == 4
    assert workers("-c", path, "-w", "5", WEB_CONCURRENCY="2", MONOCEROS_CMD_ARGS="-w 4") == 5
