"""The number of workers follows the load between workers_min and workers_max; TTIN and TTOU, one by one and in storms."""

import json
import re
import signal
import time

import pytest

from lib import wire
from lib.fixtures import WORKERS
from lib.limits import until
from lib.server import run

SLOW = wire.request("GET", "/slow?seconds=0.1", close=True)


def pool(site):
    return json.loads(run("--status", site.pid, "--json").stdout)["pools"][0]


def settled(site, count):
    return until(lambda: (found := pool(site))["workers"]["ready"] == count == found["workers"]["wanted"] and found, f"{count} ready workers", 60)


def test_the_number_follows_the_load(monoceros, load):
    site = monoceros("basic:app", "--workers-min", "1", "--workers-max", "3", "--workers-idle-timeout", "1")
    found = settled(site, 1)
    assert found["workers"] == {"wanted": 1, "min": 1, "max": 3, "starting": 0, "ready": 1, "draining": 0}
    clients = load(site.address, clients=6, request=SLOW)
    settled(site, 3)
    log = site.wait_log(r'\[INFO\] Pool "default": (\d) workers wanted \((\d+ wait, busy \d+ % over 1 s|busy \d+ % over 5 s)\)', 2)[-1].string
    assert "4 workers wanted" not in log
    clients.stop()
    light = load(site.address, clients=1)           # while they leave somebody asks, now and then
    light.request = wire.request("GET", "/slow?seconds=0", close=True)
    site.wait_log(r'\[INFO\] Pool "default": 2 workers wanted \(less than 33 % busy for 1 s\)', 1, 60)
    light.stop()
    settled(site, 1)
    assert clients.lost == clients.wrong == clients.stale == light.lost == light.wrong == light.stale == 0, clients.notes + light.notes
    until(lambda: pool(site)["restarts"]["scaling"] == 2, "both to be counted")
    assert re.search(r"^default +\w+ +1/1 +1-3 ", run("--status", site.pid, env={"COLUMNS": "0"}).stdout, re.M)


@pytest.mark.workers(WORKERS[0])
def test_a_busy_worker_is_left_alone(monoceros):
    """Three of four may go; the one with the long request is not among them, although it is the oldest."""
    site = monoceros("basic:app", "-w", "4", "--workers-min", "1", "--workers-max", "4", "--workers-idle-timeout", "1", "--graceful-timeout", "1")
    settled(site, 4)
    with site.connect() as client:
        client.send(wire.request("GET", "/slow?seconds=9", close=True))
        site.wait_log(r"3 workers wanted \(less than", 1, 60)
        assert client.read().status == 200
    settled(site, 1)
    assert "graceful_timeout" not in site.log()


@pytest.mark.workers(WORKERS[0])
def test_signals_move_the_bounds_along(monoceros):
    site = monoceros("basic:app", "--workers-min", "2", "--workers-max", "3")
    settled(site, 2)

    def after(number, count, low, high):
        site.signal(number)
        bounds = settled(site, count)["workers"]
        assert (bounds["min"], bounds["max"]) == (low, high)
    after(signal.SIGTTIN, 3, 2, 3)
    after(signal.SIGTTIN, 4, 2, 4)
    after(signal.SIGTTOU, 3, 2, 4)
    after(signal.SIGTTOU, 2, 2, 4)
    after(signal.SIGTTOU, 1, 1, 4)


def test_a_storm_of_signals_loses_nothing(monoceros, load):
    """40 at 50 ms: up from 2 to 8, up and down, and down to the floor; then the count is what arithmetic says. Each is seen to arrive: where the server
    gets no processor for so long, the system makes one of two that are alike."""
    site = monoceros("basic:app", "-w", "2")
    settled(site, 2)
    clients = load(site.address, clients=4)
    sent = 0

    def storm(numbers):
        nonlocal sent
        for number in numbers:
            sent += 1
            site.signal(number)
            time.sleep(0.05)        # the pace of the storm, not a wait for something
            site.wait_log("Handling signal: tt(in|ou)", sent)
    storm([signal.SIGTTIN] * 6 + [signal.SIGTTOU, signal.SIGTTIN] * 12 + [signal.SIGTTOU] * 10)
    settled(site, 1)
    storm([signal.SIGTTIN] * 2)
    settled(site, 3)
    clients.wait_answered(100)
    clients.stop()
    assert clients.lost == clients.wrong == clients.stale == clients.refused == 0, clients.notes


@pytest.mark.parametrize("text, words", [
    ("workers = 3\nworkers_max = 2\n", "test.conf:2: workers_max 2 is less than workers 3"),
    ("pool \"web\" {\nworkers_min = 4\n\n  workers_max = 2 }\n", "test.conf:4: workers_max 2 is less than workers_min 4"),
    ("workers_idle_timeout = 10ms\n", "test.conf:1: workers_idle_timeout"),
])
def test_bounds_that_make_no_sense(tmp_path, text, words):
    path = tmp_path / "test.conf"
    path.write_text(text + 'server "main" { listen = "127.0.0.1:0"  route "all" { respond { body = "here" } } }\n')
    done = run("-c", path, "--check-config")
    assert done.returncode == 1 and words in done.stderr


@pytest.mark.parametrize("given, workers, low, high", [
    ("workers_max = 4", 1, 1, 4), ("workers = 3  workers_min = 2", 3, 2, 3), ("workers_min = 2  workers_max = 4", 2, 2, 4),
    ("workers_min = 2", 2, 2, 2), ("workers = 9  workers_min = 2  workers_max = 4", 4, 2, 4)])
def test_bounds_that_are_not_given(tmp_path, given, workers, low, high):
    path = tmp_path / "test.conf"
    path.write_text('pool "web" { %s }\nserver "main" { listen = "127.0.0.1:0"  route "all" { respond { body = "here" } } }\n' % given)
    printed = run("-c", path, "--print-config").stdout
    block = printed.partition("pool 'web' {")[2].partition("\n}")[0]
    values = {name: int(value) for name, value in re.findall(r"^\s*(workers\w*) = (\d+)\b", block, re.M)}
    assert (values["workers"], values["workers_min"], values["workers_max"]) == (workers, low, high), printed
