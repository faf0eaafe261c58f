"""Apps in C behind a hop: what holds of them beside their server's own listener holds of them in another pool."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "native"))

import test_native as beside  # noqa: E402
from test_native import file, test_back_pressure_reaches_the_client, test_bodies_flow_both_ways, test_cleanups_run, test_early_hints  # noqa: E402,F401
from test_native import test_echo, test_facts, test_gone, test_gone_within_a_body_that_nobody_reads, test_later, test_sendfile, test_statuses, test_stream, test_trailers, test_waits  # noqa: E402,F401
from test_native import test_a_slow_reader_is_not_waited_for, test_what_an_app_may_not_do  # noqa: E402,F401

from lib.fixtures import WORKERS  # noqa: E402

pytestmark = beside.pytestmark

SITE = """
pool "front" { worker_class = FRONT  workers = 1  keepalive = 5s  worker_connections = 2000 }
pool "apps" { worker_class = {worker}  workers = 1 }
app "it" { type = native  module = "MODULE"  pool = apps }
server "main" { listen = "{address}"  pool = front  limit_request_body = 1g  route "all" { app = it } }
"""


def site(module):
    front = "epoll" if "epoll" in WORKERS else WORKERS[0]
    return SITE.replace("FRONT", front).replace("MODULE", str(beside.APPS / module))


@pytest.fixture(scope="module")
def kit(shared_monoceros, file):  # noqa: F811
    return shared_monoceros(config=site("kit.so"), env={"KIT_FILE": str(file)}, python=False)


@pytest.fixture(scope="module")
def flow(shared_monoceros):
    return shared_monoceros(config=site("flow.so"), python=False)
