"""200 clients that ask for 4 MB and read one byte a second, and 200 half-sent requests, beside a client that wants an answer."""

import os
import time

import pytest

from lib import board
from lib.crowd import Crowd
from lib.limits import until

pytestmark = pytest.mark.python

SECONDS = int(15 * float(os.environ.get("MONOCEROS_SOAK", "1")))


def test_both_crowds_for_a_while(monoceros):
    site = monoceros("basic:app", "-w", "2", "--send-timeout", "600", "--header-timeout", "600")
    site.wait_workers(2)
    with Crowd() as crowd:
        crowd.slow_readers(site.address, 200, f"/big?size={4 << 20}")
        crowd.half_requests(site.address, 200)
        until(lambda: sum(slot.requests for slot in board.slots(site.pid)) >= 200, "all apps to return", 120)
        worst, answers, busy = 0.0, 0, 0
        for _ in range(SECONDS):
            second = time.monotonic()
            crowd.sip()
            while time.monotonic() < second + 1:
                start = time.monotonic()
                assert site.ask("GET", "/").body == b"Hello, world!"
                worst = max(worst, time.monotonic() - start)
                answers += 1
                busy += sum(slot.state != "idle" for slot in board.slots(site.pid))
                time.sleep(0.02)
        slots = board.slots(site.pid)
        print(f"\n{SECONDS} s: {answers} answers beside 400 bad clients, the slowest after {worst * 1000:.1f} ms;",
              f"workers seen busy {busy} times; now {[(slot.state, slot.connections) for slot in slots]}")
        assert sum(slot.connections for slot in slots) >= 400
        until(lambda: all(slot.state == "idle" for slot in board.slots(site.pid)), "both workers to be idle")
