"""Where a server listens: unix sockets, IPv6, several addresses, and what stands in the way."""

import os
import socket
import stat

import pytest

from lib import server as under_test

CONFIG = """
pool "web" { worker_class = {worker}  workers = 2 }
server "main" { listen = {LISTEN}  route "all" { respond { body = "here" } } }
"""


def test_unix_socket(monoceros, tmp_path):
    path = tmp_path / "site.sock"
    site = monoceros(config=CONFIG.replace("{LISTEN}", f'"unix:{path}"'), address=str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert site.ask("GET", "/").body == b"here"
    assert f"unix:{path}" in site.wait_log("Listening at: .*")[0][0]
    site.stop()
    assert not path.exists()


@pytest.mark.python
def test_unix_socket_and_umask_on_the_command_line(monoceros):
    site = monoceros("basic:app", "-m", "007", bind="unix")
    assert stat.S_IMODE(os.stat(site.address).st_mode) == 0o770
    assert site.ask("GET", "/").body == b"Hello, world!"


def test_stale_unix_socket_is_replaced(monoceros, tmp_path):
    path = tmp_path / "site.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    site = monoceros(config=CONFIG.replace("{LISTEN}", f'"unix:{path}"'), address=str(path))
    assert site.ask("GET", "/").body == b"here"


def test_a_file_in_the_place_of_a_unix_socket_stays(monoceros, tmp_path):
    path = tmp_path / "precious"
    path.write_text("text", encoding="utf-8")
    site = monoceros(config=CONFIG.replace("{LISTEN}", f'"unix:{path}"'), address=str(path), ready=False, expect_errors=True)
    assert site.wait(60) == 1
    assert str(path) in site.log() and path.read_text(encoding="utf-8") == "text"


def test_ipv6(monoceros):
    port = under_test.free_port("::1")
    site = monoceros(config=CONFIG.replace("{LISTEN}", f'"[::1]:{port}"'), address=("::1", port))
    assert site.ask("GET", "/").body == b"here"


def test_several_addresses(monoceros, tmp_path):
    other = under_test.free_port("::1")
    path = tmp_path / "site.sock"
    site = monoceros(config=CONFIG.replace("{LISTEN}", '{"{address}", ' + f'"[::1]:{other}", "unix:{path}"' + "}"))
    for address in (site.address, ("::1", other), str(path)):
        assert [under_test.ask(address, "GET", "/").body for _ in range(3)] == [b"here"] * 3


def test_port_in_use(monoceros):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        site = monoceros(config=CONFIG.replace("{LISTEN}", f'"127.0.0.1:{port}"'), address=("127.0.0.1", port), ready=False,
                         expect_errors=True)
        assert site.wait(60) == 1
        assert f"127.0.0.1:{port}" in site.log()


def test_a_live_unix_socket_is_not_taken_away(monoceros, tmp_path):
    path = tmp_path / "site.sock"
    text = CONFIG.replace("{LISTEN}", f'"unix:{path}"')
    first = monoceros(config=text, address=str(path))
    second = monoceros(config=text, address=str(path), ready=False, expect_errors=True)
    assert second.wait(60) == 1
    assert str(path) in second.log()
    assert first.ask("GET", "/").body == b"here"
