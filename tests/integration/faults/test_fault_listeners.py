"""Addresses that stand in each other's way, and who is woken by them."""

import re
import socket
from pathlib import Path

import pytest

from lib import wire
from lib.limits import until
from lib.server import has_epoll

NATIVE = """
pool "web" { worker_class = {worker}  workers = 2 }
server "main" { listen = %s  route "all" { respond { body = "here" } } }
"""


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_all_addresses_of_both_families_with_one_port(monoceros):
    for order in ('{"0.0.0.0:{port}", "[::]:{port}"}', '{"[::]:{port}", "0.0.0.0:{port}"}'):
        site = monoceros(config=NATIVE % order)
        for host in ("127.0.0.1", "::1"):
            assert wire.ask((host, site.address[1]), "GET", "/").body == b"here"
        site.stop()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_all_ipv6_addresses_alone_take_ipv4_too(monoceros):
    site = monoceros(config=NATIVE % '"[::]:{port}"')
    assert site.ask("GET", "/").body == b"here"


@pytest.mark.skipif(not has_epoll(), reason="poll has no such thing")
def test_listeners_of_a_pool_that_never_blocks_wake_one_worker(monoceros):
    site = monoceros(config=NATIVE % '"{address}"')
    for pid in site.wait_workers(2):
        def exclusive():
            infos = [path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir()]
            events = [int(word, 16) for info in infos for word in re.findall(r"tfd:.*events:\s*([0-9a-f]+)", info)]
            return len([word for word in events if word & 1 << 28]) == 1      # EPOLLEXCLUSIVE
        until(exclusive, "one listener to be watched")


def test_a_socket_path_that_another_server_has_taken_over(monoceros, tmp_path):
    path = tmp_path / "sock"
    text = NATIVE % f'"unix:{path}"'
    first = monoceros(config=text, address=str(path))
    path.unlink()
    second = monoceros(config=text, address=str(path))
    first.stop()
    assert second.ask("GET", "/").body == b"here"
    second.stop()
    assert not path.exists()
