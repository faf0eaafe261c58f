"""Gunicorn's settings under Gunicorn's names: each one is known, and its default is never an error, in a file and on the command line."""

import importlib
import pathlib
import re

import pytest

from lib import server as under_test
from lib.fixtures import WORKERS

HERE = pathlib.Path(__file__).parent
SITE = 'server "s" { listen = "127.0.0.1:1"  route "r" { respond { } } }\n'


def rows():
    """name, kind, flags, default, another value; see gunicorn_settings.txt."""
    for line in (HERE / "gunicorn_settings.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, kind, flags, default, other = line.split("\t")
            yield name, kind, [] if flags == "-" else flags.split(), default, other


ROWS = list(rows())
ASK = ("config", "check_config", "print_config")       # what is not set but asked for
WITH_DEFAULT = [row for row in ROWS if row[3] and row[0] not in ASK]


def check(tmp_path, text, *arguments):
    path = tmp_path / "site.conf"
    path.write_text(text + SITE, encoding="utf-8")
    return under_test.run("-c", path.name, *arguments, "--print-config", cwd=tmp_path)


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def test_there_are_119():
    assert len({row[0] for row in ROWS}) == len(ROWS) == 119


def test_the_list_is_gunicorns():
    """Names, flags and defaults, against the table of the Gunicorn that is there; http2_cleartext came after 26.1.0."""
    gunicorn = pytest.importorskip("gunicorn", reason="Gunicorn is not there to be compared with")
    if gunicorn.__version__ != "26.1.0":
        pytest.skip(f"Gunicorn {gunicorn.__version__} has another list")
    config = importlib.import_module("gunicorn.config")
    theirs = {setting.name: setting for setting in config.KNOWN_SETTINGS}
    of_the_machine = {"config", "chdir", "user", "group", "control_socket", "control_socket_mode"}
    assert {row[0] for row in ROWS} - set(theirs) == {"http2_cleartext"} and not set(theirs) - {row[0] for row in ROWS}
    for name, kind, flags, default, _ in ROWS:
        setting = theirs.get(name)
        if not setting:
            continue
        assert flags == (setting.cli or []), name
        assert (kind == "hook") == callable(setting.default), name
        assert not flags or (kind == "flag") == (setting.action in ("store_true", "store_false", "store_const")), name
        value = setting.default
        if callable(value) or name in of_the_machine:
            continue
        if isinstance(value, dict):
            value = [f"{key}: {item}" for key, item in value.items()]
        said = ("no", "yes")[value] if isinstance(value, bool) else ",".join(value) if isinstance(value, list) else str(value or "")
        assert default in (said, {"sendfile": "yes"}.get(name)) or str(value) == default, name


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
    lines = [f"{name} = {quoted(default)}" if kind != "list" else f"{name} = {{{quoted(default)}}}" for name, kind, _, default, _ in WITH_DEFAULT]
    lines.remove("bind = {'127.0.0.1:8000'}")           # the server section has addresses
    lines.remove("worker_class = 'sync'")               # a build may have left it out
    done = check(tmp_path, "\n".join(lines) + "\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_defaults_are_right_on_the_command_line(tmp_path):
    words = []
    for name, kind, flags, default, _ in WITH_DEFAULT:
        if kind != "flag" and flags and name not in ("bind", "worker_class"):
            for flag in flags:
                words += [flag, default]
    done = check(tmp_path, "", *words)
    assert (done.returncode, done.stderr) == (0, "")


def test_flags_that_say_the_default(tmp_path):
    done = check(tmp_path, "", "--suppress-ragged-eofs", "--no-control-socket")
    assert (done.returncode, done.stderr) == (0, "")


# ---- docs/gunicorn.md

def guide():
    """name: (flags, what became of it)"""
    text = (under_test.ROOT / "docs" / "gunicorn.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \| (.*?) \| (\w+) \| (.*) \|$", text, re.M)
    assert len(found) == len({row[0] for row in found})
    return {name: (re.findall(r"`([^`]+)`", flags), word) for name, flags, word, _ in found}


GUIDE = guide()


def test_the_guide_names_all():
    assert {name: row[0] for name, row in GUIDE.items()} == {row[0]: row[2] for row in ROWS}


@pytest.mark.parametrize("row", [row for row in ROWS if row[4]], ids=lambda row: row[0])
def test_what_the_guide_says_of_other_values(tmp_path, row):
    name, kind, _, _, other = row
    if name == "threads" and "gthread" not in WORKERS:
        pytest.skip("built without gthread")
    done = check(tmp_path, f"{name} = {quoted(other)}\n")
    word = GUIDE[name][1]
    if word in ("kept", "changed"):
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    elif word == "accepted":
        assert done.returncode == 0 and done.stderr.startswith(f"monoceros: warning: site.conf:1: {name} is accepted and has no effect: "), done.stderr
        assert len(done.stderr.splitlines()) == 1
    elif word == "refused":
        assert done.returncode == 1 and done.stderr.startswith(f"monoceros: site.conf:1: setting '{name}' "), done.stderr
        assert "not built yet" not in done.stderr
    else:
        assert word == "later" and done.returncode == 1
        assert done.stderr == f"monoceros: site.conf:1: setting '{name}' is not built yet in this version\n"


@pytest.mark.parametrize("name", [row[0] for row in ROWS if row[1] == "hook"])
def test_what_a_file_of_words_cannot_say(tmp_path, name):
    done = check(tmp_path, f"{name} = x\n")
    assert done.returncode == 1 and done.stderr.startswith(f"monoceros: site.conf:1: setting '{name}' "), done.stderr
