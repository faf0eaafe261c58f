"""Blocking native handlers under load: sleeping, streaming, large bodies both ways, clients that leave, requests that are taken away, a stop.
For gthread the run under ThreadSanitizer (make test-tsan) is the point."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from lib import server as under_test
from lib import wire
from lib.limits import until

KIT = Path(os.environ.get("MONOCEROS_OBJS") or Path(under_test.BINARY).parent) / "tests/apps/native/kit.so"

pytestmark = [pytest.mark.skipif(not KIT.exists(), reason="no native apps are built"), pytest.mark.workers("gthread", "greenlet", "sync")]

SITE = f"""
keepalive = 5
SETTINGS
app "kit" {{ type = native  module = "{KIT}" }}
server "all" {{
    listen = "{{address}}"
    route "fixed" {{ match {{ prefix = "/fixed" }}  respond {{ body = "fixed" }} }}
    route "rest" {{ app = kit }}
}}
"""


def site_of(monoceros, worker_class, settings="", **options):
    threads = "threads = 4\n" if worker_class == "gthread" else ""        # with sync it would mean gthread
    return monoceros(config=SITE.replace("SETTINGS", threads + settings + "\nworker_class = {worker}"), python=False, **options)


def crowd(count, work):
    """Runs work(number) in this many threads; what they raise is raised here."""
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def one_of_each(connection, chance):
    size = chance.randrange(1, 400000)
    kind = chance.randrange(6)
    if kind == 0:
        assert connection.ask("GET", f"/sleep?{chance.randrange(1, 15)}").text == "rested"
    elif kind == 1:
        answer = connection.ask("GET", f"/stream?{size}")
        assert len(answer.body) == size and answer.framing == "chunked"
    elif kind == 2:
        body = bytes(chance.randrange(256) for _ in range(64)) * (size // 64)
        assert connection.ask("POST", "/echo", body=body).body == body
    elif kind == 3:
        assert connection.ask("GET", "/status?503").status == 503
    else:
        assert connection.ask("GET", "/fixed").text == "fixed"


def test_all_kinds(monoceros, worker_class):
    site = site_of(monoceros, worker_class)

    def work(number):
        chance = random.Random(number)
        with site.connect() as connection:
            for _ in range(40):
                one_of_each(connection, chance)

    crowd(12, work)


def test_clients_that_leave(monoceros, worker_class):
    site = site_of(monoceros, worker_class, "send_timeout = 1")

    def work(number):
        chance = random.Random(number)
        for _ in range(25):
            with site.connect(rcvbuf=4096) as connection:
                connection.send(wire.request("GET", chance.choice(["/stream?3000000", "/sleep?10", "/half", "/fixed"])))
                if chance.random() < 0.7:
                    connection.sock.recv(100)

    crowd(8, work)
    assert site.ask("GET", "/fixed").text == "fixed"


@pytest.mark.workers("gthread")
def test_requests_that_are_taken_away(monoceros, worker_class):
    """They come back late, while others are served, again and again."""
    site = site_of(monoceros, worker_class, "workers = 2\nrequest_timeout = 300ms\ngraceful_timeout = 10", expect_errors=True)

    def work(number):
        chance = random.Random(number)
        for _ in range(12):
            with site.connect() as connection:
                if number < 2:
                    answer = connection.ask("GET", f"/sleep?{chance.randrange(600, 2500)}")
                    assert answer.status in (200, 504)
                else:
                    for path, status in (("/sleep?5", 200), ("/status?404", 404), ("/fixed", 200)):
                        answer = connection.ask("GET", path)
                        assert answer.status == status
                        if not answer.keep:
                            break

    crowd(8, work)
    assert site.log().count("REQUEST TIMEOUT") >= 3
    assert site.log().count("Autorestarting") >= 1


def test_term_under_load(monoceros, worker_class, load):
    site = site_of(monoceros, worker_class, "workers = 2")
    site.wait_workers(2)
    clients = load(site.address, clients=10, request=wire.request("GET", "/sleep?3", close=True))
    clients.wait_answered(100)
    site.signal(signal.SIGTERM)
    until(lambda: clients.refused, "the listener to close")
    clients.stop()
    assert clients.lost == clients.wrong == 0, (clients.counts, clients.notes)
    assert site.wait() == 0
