"""A database driver in C under gevent and eventlet: its queries overlap in one worker."""

import importlib.util

import pytest

from lib.server import APPS
from lib.services import postgres
from lib.wire import request

pytestmark = [pytest.mark.python, pytest.mark.workers("greenlet")]


@pytest.fixture(scope="module")
def database():
    for name in ("psycopg2", "psycogreen"):
        if not importlib.util.find_spec(name):
            pytest.skip(f"{name} is not installed")
    with postgres() as sql:
        yield sql


@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_queries_overlap(monoceros, database, kind):
    if not importlib.util.find_spec(kind):
        pytest.skip(f"{kind} is not installed")
    site = monoceros("drivers:app", "-k", kind, cwd=APPS / "green", env={"PGHOST": str(database.place)})
    clients = [site.connect() for _ in range(30)]
    for client in clients:
        client.send(request("GET", "/?30", close=True))
    assert [client.read().text for client in clients] == ["30"] * 30
