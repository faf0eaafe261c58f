"""Processes that apps fork: they end as Python would end them, and nothing of the worker changes."""

import os
import signal

import pytest

from lib.server import APPS

pytestmark = pytest.mark.python

HERE = APPS / "compat"


@pytest.fixture
def site(monoceros):
    return monoceros("forks:app", "-w", "1", cwd=HERE, expect_errors=True)


@pytest.mark.workers("sync")    # Python sets signal handlers on the first thread only, and one of these apps does
def test_children_end_and_the_worker_goes_on(site):
    pid = site.ask("GET", "/pid").text
    for path, text in (("/back", "0"), ("/exit", "5"), ("/none", "0"), ("/text", "1"), ("/raise", "1"), ("/terminate", "-15"), ("/handler", "heard0"),
                       ("/stream", "piece 6")):
        connection = site.connect()
        response = connection.ask("GET", path)
        assert (response.status, response.text) == (200, text), path
        assert connection.ended(), path     # the child has sent nothing behind it
        assert site.ask("GET", "/pid").text == pid, path
    assert site.stop().count("Booting worker") == 1


def test_an_error_of_the_child_is_logged(site):
    assert site.ask("GET", "/raise").text == "1"
    assert "ValueError: in the child" in site.stop()


def test_a_child_that_stays_keeps_neither_client_nor_address(site, monoceros):
    connection = site.connect()
    child = int(connection.ask("GET", "/stay").text)
    try:
        assert connection.ended()
        site.stop()
        again = monoceros("forks:app", "-b", f"{site.address[0]}:{site.address[1]}", address=site.address, cwd=HERE)
        assert again.ask("GET", "/pid").status == 200
    finally:
        os.kill(child, signal.SIGKILL)
