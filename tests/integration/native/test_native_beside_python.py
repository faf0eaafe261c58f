"""One pool with apps of both kinds: Python's, and those in C."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib import server as under_test

APPS = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "tests/apps/native"

pytestmark = [pytest.mark.python, pytest.mark.workers("sync", "gthread"),
              pytest.mark.skipif(not (APPS / "kit.so").exists(), reason="no native apps are built")]

SITE = f"""
pool "both" {{ worker_class = {{worker}}  workers = 2  threads = 4 }}
app "snake" {{ type = wsgi  module = "basic:app"  chdir = "{under_test.APPS}" }}
app "blocks" {{ type = native  module = "{APPS}/kit.so" }}
app "flows" {{ type = native  module = "{APPS}/flow.so" }}
server "main" {{ listen = "{{address}}"
    route "blocks" {{ match {{ prefix = "/sleep" }}  app = blocks }}
    route "flows" {{ match {{ prefix = "/later" }}  app = flows }}
    route "rest" {{ app = snake }} }}
"""


def test_both_are_served(monoceros):
    site = monoceros(config=SITE)

    def ask(number):
        path, text = (("/sleep?5", "rested"), ("/later?5", "later"), ("/", None))[number % 3]
        answer = site.ask("GET", path)
        return answer.status == 200 and text in (None, answer.text)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(120)))
    log = site.stop()
    assert log.count("kit: init of blocks") == 2 and log.count("kit: exit of blocks") == 2


def test_check_config_loads_both(worker_class, tmp_path):
    def check(old="", new=""):
        path = tmp_path / "test.conf"
        path.write_text(SITE.replace("{address}", "127.0.0.1:1").replace("{worker}", worker_class).replace(old, new))
        return under_test.run("-c", path, "--check-config")

    done = check()
    assert done.returncode == 0, done.stderr
    done = check("kit.so", "none.so")
    assert done.returncode == 1 and re.search(r'app "blocks": cannot find \S+none.so', done.stderr), done.stderr
    done = check("basic:app", "nosuchmodule:app")
    assert done.returncode == 1 and "nosuchmodule" in done.stderr


def test_a_native_app_that_cannot_be_loaded(monoceros):
    site = monoceros(config=SITE.replace("kit.so", "none.so"), ready=False)
    assert site.wait() == 4
    assert re.search(r'app "blocks": cannot find \S+none.so', site.log())
