"""The manual that the build makes from the tables: complete, and in order for man and mandoc."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from lib import server as under_test

OBJS = pathlib.Path(os.environ.get("MONOCEROS_OBJS", under_test.ROOT / "objs"))
PAGES = ["monoceros.8", "monoceros.conf.5"]


def page(name):
    return (OBJS / name).read_text(encoding="utf-8").replace("\\-", "-")


def printed(tmp_path):
    path = tmp_path / "site.conf"
    path.write_text('server "s" { listen = "127.0.0.1:1"  route "r" { respond { } } }\n', encoding="utf-8")
    done = under_test.run("-c", path, "--print-config")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_option_of_help_is_there():
    flags = set(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)", "\n".join(re.findall(r"^ +-.*$", under_test.run("--help").stdout, re.M))))
    assert len(flags) > 80
    text, completion = page("monoceros.8"), (OBJS / "monoceros.bash").read_text(encoding="utf-8")
    for flag in flags:
        assert f"\\fB{flag}\\fR" in text or f".B {flag}\n" in text, flag
        assert not flag.startswith("--") or flag in completion, flag


@pytest.mark.parametrize("file", ["monoceros.conf.5", "docs/settings.md"])
def test_every_setting_is_there(tmp_path, file):
    text = page(file)
    names = set(re.findall(r"^ *(?:# )?(\w+)(?: =| is not set)", printed(tmp_path), re.M)) - {"listen", "pool"}
    assert len(names) > 50
    for name in names:
        assert f"\\fB{name}\\fR = " in text or f"| `{name}` |" in text, name
    for section in ("pool", "app", "server", "route", "match", "upstream", "peer", "respond"):
        assert re.search(rf'^(\.SS|###) {section}( (\\\(dq|")NAME(\\\(dq|"))?$', text, re.M), section
    assert not re.search(r"^@\w+@$|@[A-Z_]+@", text, re.M)


@pytest.mark.skipif(not shutil.which("man"), reason="there is no man")
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_terminal(name):
    done = subprocess.run(["man", "-l", OBJS / name], capture_output=True, text=True, check=True,
                          env={**os.environ, "MANWIDTH": "80", "MANPAGER": "cat", "GROFF_NO_SGR": "1", "MAN_KEEP_FORMATTING": ""})
    lines = re.sub(".\x08", "", done.stdout).splitlines()
    assert len(lines) > 300
    assert [line for line in lines if len(line) > 80] == []
    assert not re.search(r"\b(Unix://|Rfc5424)", done.stdout)                # values keep their letters


@pytest.mark.parametrize("name", PAGES)
def test_groff_and_mandoc_have_nothing_to_say(name):
    tools = [["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-man", "-Tutf8", "-ww", "-z"]]
    tools = [tool for tool in tools if shutil.which(tool[0])]
    if not tools:
        pytest.skip("neither mandoc nor groff is installed")
    for tool in tools:
        done = subprocess.run([*tool, OBJS / name], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), tool


def test_completion_is_bash():
    done = subprocess.run(["bash", "-c", f"source '{OBJS}/monoceros.bash'; COMP_WORDS=(monoceros --worker-cl); COMP_CWORD=1; _monoceros; echo ${{COMPREPLY[*]}};"
                           " COMP_WORDS=(monoceros -k ''); COMP_CWORD=2; _monoceros; echo ${COMPREPLY[*]}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    flags, workers = done.stdout.splitlines()
    assert flags == "--worker-class" and set(workers.split()) == set(re.findall(r"^ +worker +(\w+)$", under_test.modules(), re.M))
