"""Habits of apps that were written for Gunicorn."""

import json

import pytest

from lib.limits import until
from lib.server import APPS

pytestmark = pytest.mark.python

HERE = APPS / "compat"


@pytest.fixture
def site(monoceros):
    return monoceros("plain:app", "--keep-alive", "5", "--log-level", "critical", cwd=HERE)


def test_methods_of_the_app_reach_it(site):
    with site.connect() as connection:
        for method in ("PROPFIND", "MKCALENDAR", "QUERY", "VERSION-CONTROL", "BAN", "X_1"):
            said = json.loads(connection.ask(method, "/", body=b"<x/>").text)
            assert (said["method"], said["body"]) == (method, "<x/>")


def test_apps_can_tell_what_serves_them(site):
    said = json.loads(site.ask("GET", "/").text)
    assert said["software"].startswith("monoceros/") and said["same"]


def test_the_logging_of_apps_is_theirs(site):
    assert json.loads(site.ask("GET", "/log").text)["root"] == 0
    site.wait_log(r"(?m)^WARNING by the app: one record$")


def test_processes_that_import_the_app_again(site):
    assert json.loads(site.ask("GET", "/spawn").text)["spawned"] == [9, 16]


def test_sys_exit_replaces_the_worker_under_load(monoceros):
    """It answers 500, then leaves although requests go on; they wait for the next one."""
    site = monoceros("plain:app", "-w", "1", cwd=HERE, expect_errors=True)
    pid = json.loads(site.ask("GET", "/").text)["pid"]
    assert site.ask("GET", "/leave").status == 500

    def replaced():
        response = site.ask("GET", "/")
        assert response.status == 200
        return json.loads(response.text)["pid"] != pid

    until(replaced, "another worker", 20)
