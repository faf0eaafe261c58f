"""An idle connection costs a worker at most 1 KiB; make soak holds 20,000."""

import pytest

from lib import idle
from lib.server import SANITIZED, UNDER

COUNT = 1000


@pytest.mark.skipif(bool(SANITIZED or UNDER), reason="sanitizers and valgrind need memory of their own")
def test_memory_of_idle_connections(monoceros):
    site = monoceros(config=idle.SITE.replace("CONNECTIONS", str(2 * COUNT)))
    connections = []
    assert idle.allowed(COUNT) == COUNT
    try:
        each = idle.bytes_each(site, site.wait_workers(1)[0], COUNT, connections)
        assert each <= 1024, each
        assert site.ask("GET", "/").text == "here"
    finally:
        for sock in connections:
            sock.close()
