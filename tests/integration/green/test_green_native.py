"""Apps in C in a pool of gevent or eventlet: they run in its greenlets, and their waits hold up nobody."""

import importlib.util
import os
from pathlib import Path

import pytest

from lib import server as under_test
from lib.wire import request

APPS = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "tests/apps/native"

pytestmark = [pytest.mark.python, pytest.mark.workers("greenlet"),
              pytest.mark.skipif(not (APPS / "kit.so").exists(), reason="no native apps are built")]


@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_both_wait_beside_each_other(monoceros, kind):
    if not importlib.util.find_spec(kind):
        pytest.skip(f"{kind} is not installed")
    site = monoceros(python=True, config=f"""
        pool "both" {{ worker_class = {kind} }}
        app "snake" {{ module = "green:app"  chdir = "{under_test.APPS / 'green'}" }}
        app "blocks" {{ type = native  module = "{APPS}/kit.so" }}
        server "main" {{ listen = {{"{{address}}"}}
            route "snake" {{ match {{ prefix = "/meet" }}  app = snake }}
            route "rest" {{ app = blocks }} }}
    """)
    targets = ["/sleep?300", "/waits", "/meet?count=10"] * 10
    clients = [site.connect() for _ in targets]
    for client, target in zip(clients, targets):
        client.send(request("GET", target))
    answers = [client.read().text for client in clients]
    assert answers[::3] == ["rested"] * 10 and answers[2::3] == ["10"] * 10
    assert answers[1::3] == ["ok"] * 10
    site.signal(15)
    assert site.wait() == 0
