"""Naming an app, finding it, and what happens when it is not there."""

import pytest

from lib.server import APPS, run
from lib.wire import request

pytestmark = pytest.mark.python

HERE = APPS / "wsgi"


@pytest.mark.parametrize("spec, text", [
    ("probe:site", "object"), ("probe:site.app", "object"), ("probe:Site", None), ("probe:Site()", "object"), ("probe:Site('given')", "given"),
    ("probe:make(1, 'two', end='!')", "1 two!"), ("probe:Site(word=\"x:y\")", "x:y"), ("probe:site.answer", "object"),
])
def test_forms(monoceros, spec, text):
    server = monoceros(spec, cwd=HERE, expect_errors=text is None)
    response = server.ask("GET", "/")
    if text is None:    # a class is callable, but what it makes is no iterable of bytes
        assert response.status == 500
    else:
        assert response.text == text


def test_default_name_and_path(monoceros, tmp_path):
    extra = tmp_path / "extra"
    extra.mkdir()
    server = monoceros("application", "--pythonpath", extra, cwd=HERE)
    words = server.ask("GET", "/").text.split("\n")
    assert words[:4] == ["monoceros", "application", str(extra), str(HERE)] and "" not in words
    assert words[-1] == "probe"


def test_chdir(monoceros):
    assert monoceros("probe:site", "--chdir", HERE, cwd=APPS).ask("GET", "/").text == "object"


# What the log says: 4 when there is no such app, 3 when it fails.
@pytest.mark.parametrize("spec, code, text", [
    ("nowhere:app", 4, "No module named 'nowhere'"),
    ("probe.py", 4, "Failed to find application, did you mean 'probe:application'?"),
    ("probe:nothing", 4, "Failed to find attribute 'nothing' in 'probe'."),
    ("probe:site.nothing", 4, "Failed to find attribute 'nothing' in 'probe'."),
    ("probe", 4, "Failed to find attribute 'application' in 'probe'."),
    ("probe:", 4, "Failed to parse '' as an attribute name or function call."),
    ("probe:1 +", 4, "Failed to parse '1 +' as an attribute name or function call."),
    ("probe:[0]", 4, "Failed to parse '[0]' as an attribute name or function call."),
    ("probe:make(x)", 4, "Failed to parse arguments as literal values: 'make(x)'"),
    ("probe:make(word=1)", 4, "unexpected keyword argument 'word'"),
    ("probe:make_nothing()", 4, "Failed to find application object: 'make_nothing()'"),
    ("probe:number", 4, "Application object must be callable."),
    ("probe:make_trouble()", 3, "TypeError: object of type 'int' has no len()"),
    ("broken:app", 3, "ModuleNotFoundError: No module named 'a_module_that_nobody_has_written'"),
    ("leaves:app", 3, "SystemExit: 7"),
])
@pytest.mark.parametrize("preload", [False, True])
def test_an_app_that_cannot_be_loaded(spec, code, text, preload):
    done = run(spec, "-b", "127.0.0.1:0", "-w", "1", *(["--preload"] if preload else []), cwd=HERE)
    log = done.stdout + done.stderr
    assert text in log
    assert done.returncode == code, log
    assert ("Traceback (most recent call last)" in log) == (code == 3)


def test_preload_imports_once(monoceros):
    server = monoceros("once:app", "--preload", "-w", "3", cwd=HERE)
    seen = {server.ask("GET", "/").text for _ in range(12)}
    assert len({text.split()[0] for text in seen}) == 1, "imported by one process"
    assert server.stop().count("once: imported") == 1


def test_threads_and_exit_functions_end_in_peace(monoceros):
    server = monoceros("once:app", "-w", "1", cwd=HERE)
    server.ask("GET", "/thread")
    log = server.stop()
    assert log.count("once: thread ended") == 1 and log.count("once: exit function called") == 1
    assert log.index("once: thread ended") < log.index("once: exit function called")


def test_signal_handlers_of_the_app_do_not_stop_ours(monoceros):
    server = monoceros("once:app", "-w", "1", cwd=HERE, env={"ONCE_TAKES_SIGNALS": "1"})
    server.ask("GET", "/")
    server.stop()   # asserts that TERM ends it with code 0


def test_several_apps_in_one_pool(monoceros):
    server = monoceros(config="""
        chdir = "%s"
        workers = 1
        app "one" { type = wsgi  module = "probe:Site('one')" }
        app "two" { type = wsgi  module = "probe:Site('two')" }
        server "all" {
            listen = {"{address}"}
            route "two" { match { prefix = "/two" }  app = two }
            route "rest" { app = one }
        }
    """ % HERE)
    assert server.ask("GET", "/two/x").text == "two" and server.ask("GET", "/x").text == "one"


@pytest.mark.parametrize("path, signal", [("/hang", "SIGABRT"), ("/spin", "SIGABRT"), ("/crash", "SIGSEGV")])
def test_a_worker_that_dies_says_where(monoceros, worker_class, path, signal):
    if worker_class == "gthread" and signal == "SIGABRT":
        pytest.skip("a request that hangs does not silence this worker")
    server = monoceros("dies:app", "-w", "1", "--timeout", "2", cwd=HERE, expect_errors=True)
    pid = server.ask("GET", "/").text
    with server.connect() as c:
        c.send(request("GET", path + "?why"))
        assert c.ended()
    server.wait_log(rf"\[{pid}\] \[CRITICAL\] {signal} while handling: GET {path}\?why")
    server.wait_log(r'most recent call first\):\n(?:  File .*\n)*  File ".*dies.py", line \d+ in app')
    assert server.ask("GET", "/").text != pid


def test_a_worker_that_hangs_in_import_is_killed_with_a_traceback(monoceros):
    server = monoceros("dies:app", "-w", "1", "--timeout", "2", cwd=HERE, env={"DIES_IN_IMPORT": "1"}, expect_errors=True)
    server.wait_log(r"\[CRITICAL\] WORKER TIMEOUT")
    server.wait_log(r'most recent call first\):\n  File ".*dies.py", line \d+ in <module>')


def test_what_an_app_prints_appears_at_once(monoceros):
    server = monoceros("once:app", "-w", "2", cwd=HERE)
    server.wait_log("once: imported\n", count=2)


def test_each_app_is_imported_in_its_directory(monoceros, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"app_{name}.py").write_text(
            "import os\nwhere = os.getcwd()\n"
            "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [where.encode()]\n")
    server = monoceros(config=f"""
        workers = 1
        app "one" {{ type = wsgi  module = "app_one:app"  chdir = "{tmp_path}/one" }}
        app "two" {{ type = wsgi  module = "app_two:app"  chdir = "{tmp_path}/two" }}
        server "all" {{
            listen = {{"{{address}}"}}
            route "two" {{ match {{ prefix = "/two" }}  app = two }}
            route "rest" {{ app = one }}
        }}
    """)
    assert server.ask("GET", "/two").text == f"{tmp_path}/two" and server.ask("GET", "/").text == f"{tmp_path}/one"
