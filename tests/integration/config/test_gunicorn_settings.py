"""Gunicorn's settings under Gunicorn's names: each one is known, and its default is never an error, in a file and on the command line."""

import pathlib
import re

import pytest

from lib import server as under_test

HERE = pathlib.Path(__file__).parent
SITE = 'server "s" { listen = "127.0.0.1:1"  route "r" { respond { } } }\n'


def rows():
    """name, kind, flags, default; see gunicorn_settings.txt."""
    for line in (HERE / "gunicorn_settings.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, kind, flags, default = line.split("\t")
            yield name, kind, [] if flags == "-" else flags.split(), default


ROWS = list(rows())
ASK = ("config", "check_config", "print_config")       # what is not set but asked for
WITH_DEFAULT = [row for row in ROWS if row[3] and row[0] not in ASK]


def check(tmp_path, text, *arguments):
    path = tmp_path / "site.conf"
    path.write_text(text + SITE, encoding="utf-8")
    return under_test.run("-c", path, *arguments, "--print-config", cwd=tmp_path)


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def test_there_are_119():
    assert len({row[0] for row in ROWS}) == len(ROWS) == 119


@pytest.mark.parametrize("name", [row[0] for row in ROWS])
def test_a_name_is_known(tmp_path, name):
    done = check(tmp_path, f"{name} = 'no-such-value'\n")
    assert "unknown setting" not in done.stderr, done.stderr


@pytest.mark.parametrize("flag, kind", [(flag, row[1]) for row in ROWS for flag in row[2]])
def test_a_flag_is_known(tmp_path, flag, kind):
    done = check(tmp_path, "", flag, *([] if kind == "flag" else ["no-such-value"]))
    assert "unknown option" not in done.stderr, done.stderr
    assert not re.search(rf"{flag} (needs|takes no) ", done.stderr), done.stderr


def test_defaults_are_right_in_a_file(tmp_path):
    lines = [f"{name} = {quoted(default)}" if kind != "list" else f"{name} = {{{quoted(default)}}}" for name, kind, _, default in WITH_DEFAULT]
    lines.remove("bind = {'127.0.0.1:8000'}")           # the server section has addresses
    lines.remove("worker_class = 'sync'")               # a build may have left it out
    done = check(tmp_path, "\n".join(lines) + "\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_defaults_are_right_on_the_command_line(tmp_path):
    words = []
    for name, kind, flags, default in WITH_DEFAULT:
        if kind != "flag" and flags and name not in ("bind", "worker_class"):
            for flag in flags:
                words += [flag, default]
    done = check(tmp_path, "", *words)
    assert (done.returncode, done.stderr) == (0, "")


def test_flags_that_say_the_default(tmp_path):
    done = check(tmp_path, "", "--suppress-ragged-eofs", "--no-control-socket")
    assert (done.returncode, done.stderr) == (0, "")
