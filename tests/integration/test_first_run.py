"""What somebody sees who tries the program for the first time."""

import json
import re
import signal

import pytest

from lib.fixtures import WORKERS
from lib import server as under_test

EXAMPLES = under_test.ROOT / "conf" / "examples"


def test_no_app_and_no_config(tmp_path):
    done = under_test.run(cwd=tmp_path)
    assert done.returncode != 0 and not done.stdout
    lines = done.stderr.splitlines()
    assert 2 <= len(lines) <= 6 and "monoceros" in done.stderr and "--help" in done.stderr, done.stderr


def test_help_and_versions():
    done = under_test.run("--help")
    assert done.returncode == 0 and not done.stderr
    for word in ("--workers", "-w", "--bind", "--config", "--check-config", "--keep-alive", "--worker-class"):
        assert word in done.stdout
    done = under_test.run("-v")
    assert done.returncode == 0 and re.search(r"\b\d+\.\d+\.\d+\b", done.stdout)
    text = under_test.modules()
    for word in ("configure", "respond", "http1"):
        assert word in text
    assert re.search(r"^ +worker +\w+$", text, re.M) and re.search(r"^ +event +\w+$", text, re.M)


@pytest.mark.parametrize("arguments, word", [
    (["--no-such-flag"], "--no-such-flag"), (["-w"], "-w"), (["-w", "many", "basic:app"], "many"), (["a:b", "c:d"], "c:d"),
])
def test_a_wrong_command_line(arguments, word):
    done = under_test.run(*arguments)
    assert done.returncode in (1, 2) and word in done.stderr and len(done.stderr.splitlines()) <= 3


@pytest.mark.parametrize("arguments", [["--spew"], ["-k", "gthread"]])
def test_what_is_not_built_yet_says_so(arguments):
    if arguments[-1] in under_test.modules():
        pytest.skip("built")
    done = under_test.run(*arguments, "basic:app", "--check-config")
    assert done.returncode in (1, 2) and arguments[0 if arguments[0] != "-k" else 1] in done.stderr


def fits(text):
    """Skips what asks for more than this build has."""
    if "type = wsgi" in text and not under_test.has_python():
        pytest.skip("built without the python module")
    for name in re.findall(r"worker_class = (\w+)", text):
        if name not in WORKERS:
            pytest.skip(f"built without {name}")


@pytest.mark.parametrize("path", [path for path in sorted(EXAMPLES.glob("*.conf")) if path.name != "edge.conf"] + [EXAMPLES.parent / "monoceros.conf"], ids=lambda path: path.name)
def test_example_files_are_right(path, tmp_path):
    fits(path.read_text(encoding="utf-8"))
    done = under_test.run("--print-config", "-c", path, cwd=path.parent)
    assert done.returncode == 0, done.stderr


def test_respond_example(monoceros):
    port = under_test.free_port()
    fits((EXAMPLES / "respond.conf").read_text(encoding="utf-8"))
    text = (EXAMPLES / "respond.conf").read_text(encoding="utf-8").replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    site = monoceros(config=text, address=("127.0.0.1", port))
    answer = site.ask("GET", "/")
    assert answer.status == 200 and "Monoceros" in answer.text and answer.get("Content-Type").startswith("text/html")
    assert site.ask("GET", "/health").text == "ok\n"
    assert site.ask("GET", "/nowhere").status == 404


@pytest.mark.python
@pytest.mark.workers("sync")
def test_demo(monoceros):
    site = monoceros("--chdir", EXAMPLES / "demo", "demo:app", cwd=under_test.ROOT, python=True)
    log = site.wait_log(r"Booting worker with pid: \d+")[0].string
    for words in (r"Starting monoceros \d+\.\d+\.\d+", rf"Listening at: {site.url} \({site.pid}\)", r"Using worker: sync"):
        assert re.search(words, log), log
    worker = site.workers()[0]
    page = site.ask("GET", "/")
    assert page.status == 200 and page.get("Content-Type") == "text/html; charset=utf-8"
    assert f"worker {worker}" in page.text and 'href="/readme"' in page.text and "sync" in page.text
    assert not re.search(r'(?:src|href)="https?:', page.text)      # nothing from elsewhere
    facts = json.loads(site.ask("GET", "/json", headers=[("X-Mine", "yes")]).text)
    assert facts["Worker"]["pid"] == worker and facts["Worker"]["type"] == "sync" and facts["Worker"]["arbiter pid"] == site.pid
    assert facts["Headers"]["X-Mine"] == "yes" and facts["Worker"]["requests"] == 2
    assert site.ask("GET", "/readme").body == (under_test.ROOT / "README.md").read_bytes()
    answer = site.ask("POST", "/form", headers=[("Content-Type", "application/x-www-form-urlencoded")], body=b"name=A%3Cb%3E")
    assert "Hello, <b>A&lt;b&gt;</b>!" in answer.text
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n12345\r\n--b--\r\n'
    assert "5 bytes" in site.ask("POST", "/upload", headers=[("Content-Type", "multipart/form-data; boundary=b")], body=body).text
    stream = site.ask("GET", "/stream")
    assert stream.framing == "chunked" and len(stream.chunks) == 10 and stream.text.count("\n") == 10
    assert site.ask("PUT", "/form", body=b"").status == 405 and site.ask("GET", "/none").status == 404
    log = site.stop(number=signal.SIGINT)       # Ctrl-C
    assert "Handling signal: int" in log and "Shutting down: Master" in log


# --- the README keeps its word

README = (under_test.ROOT / "README.md").read_text(encoding="utf-8")


def test_config_examples_of_the_readme_are_right(tmp_path):
    blocks = re.findall(r"```conf\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        fits(block)
        path = tmp_path / "readme.conf"
        path.write_text(block, encoding="utf-8")
        done = under_test.run("--print-config", "-c", path)
        assert done.returncode == 0, done.stderr
        assert block in [example.read_text(encoding="utf-8") for example in EXAMPLES.glob("*.conf")]


def test_links_of_the_readme_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links and [link for link in links if not (under_test.ROOT / link).exists()] == []


def test_flags_of_the_readme_exist():
    told = under_test.run("--help").stdout
    flags = set(re.findall(r"(?<=`)--?[a-z][a-z-]*(?=[`= ])", README)) - {"--without-python", "--add-module"}
    assert flags and [flag for flag in flags if not re.search(rf"(?<![\w-]){flag}(?![\w-])", told) and "--with" not in flag] == []


@pytest.mark.parametrize("name, least", [("reliability", 80), ("asgi", 30)])
def test_tests_of_the_promises_exist(name, least):
    text = (under_test.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    there = {name for path in (under_test.ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.M)}
    assert len(named) > least and named <= there, named - there
