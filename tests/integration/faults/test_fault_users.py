"""What an ordinary user may not do, and what the server does without it."""

import os
import signal
import subprocess

import pytest

from lib import wire
from lib.limits import until
from lib.server import BINARY

USER = 60123            # nobody in particular
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]

NATIVE = """
pool "web" { worker_class = {worker}  workers = 3 }
server "main" { listen = "{address}"  route "all" { respond { body = "here" } } }
"""


def can_run_as_user():
    try:
        return os.geteuid() == 0 and subprocess.run([*AS_USER, BINARY, "-v"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not can_run_as_user(), reason="needs root, setpriv and a program that others can read")


def test_term_under_load_loses_nothing(monoceros, load, tmp_path):
    """Some kernels let only root attach a socket filter."""
    for parent in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(parent, 0o755)
    site = monoceros(config=NATIVE, prefix=AS_USER)
    site.wait_workers(3)
    clients = load(site.address, clients=8, request=wire.request("GET", "/", close=True))
    clients.wait_answered(200)
    site.signal(signal.SIGTERM)
    assert site.wait(60) == 0
    until(lambda: clients.refused, "a refused connection")
    clients.stop()
    assert clients.lost == clients.wrong == 0, clients.notes
