"""Every nth call that fails, and any signal at any time: the long versions of tests/integration/faults."""

import errno
import os
import random
import signal
import time

import pytest

from lib import failing, wire
from lib.limits import until

SCALE = float(os.environ.get("MONOCEROS_SOAK", "1"))
SEED = int(os.environ.get("MONOCEROS_SEED", str(random.randrange(1 << 32))))

NATIVE = """
accesslog = "-"
graceful_timeout = 3s
pool "web" { worker_class = {worker}  workers = 3  keepalive = 5s  timeout = 3s }
server "main" { listen = "{address}"  route "all" { respond { body = "here" } } }
"""

HARMLESS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGCHLD, signal.SIGCONT,
            signal.SIGPIPE, signal.SIGURG]
STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
ERRORS = {"malloc": errno.ENOMEM, "epoll_ctl": errno.ENOMEM, "mmap": errno.ENOMEM, "socketpair": errno.EMFILE, "eventfd": errno.EMFILE,
          "fork": errno.EAGAIN, "read": errno.EIO, "recvmsg": errno.ENOBUFS, "sendmsg": errno.ENOBUFS}


def listening(site):
    try:
        wire.open_socket(site.address).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("call", ERRORS)
def test_every_call_at_the_start(monoceros, tmp_path, call):
    for number in range(1, int((500 if call == "malloc" else 40) * SCALE) + 1):
        site = monoceros(config=NATIVE, ready=False, expect_errors=True, env=failing.environment(tmp_path, call, ERRORS[call], nth=number))
        until(lambda: site.process.poll() is not None or listening(site), "a start or an end")
        if site.alive():
            site.signal(signal.SIGTERM)
        assert site.wait() in (0, 1, 2, 3), (number, site.log())
        assert site.log().strip(), f"{call} {number}: nothing said"
        site.stop()


@pytest.mark.python
@pytest.mark.parametrize("python", [False, True], ids=["native", "python"])
def test_any_signal_at_any_time(monoceros, python):
    """To the arbiter by hundreds, to workers some: it serves afterwards, and one that stops it does."""
    print(f"\nMONOCEROS_SEED={SEED}")
    dice = random.Random(SEED)
    for _ in range(max(1, int(20 * SCALE))):
        if python:
            site = monoceros("basic:app", "-w", "3", "--graceful-timeout", "3", "--timeout", "3", expect_errors=True)
        else:
            site = monoceros(config=NATIVE, expect_errors=True)
        assert site.ask("GET", "/").status == 200       # a first start that fails would stop it, rightly
        for _ in range(300):
            site.signal(dice.choice(HARMLESS))
            if dice.random() < 0.3:
                time.sleep(dice.random() * 0.01)
            workers = site.workers() if dice.random() < 0.05 else []
            if workers:
                try:
                    os.kill(dice.choice(workers), dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGSTOP]))
                except ProcessLookupError:
                    pass
        until(lambda: answered(site), "an answer")
        site.signal(dice.choice(STOPS))
        assert site.wait() == 0, site.log()[-2000:]
        until(lambda: not site.leftovers(), f"{site.leftovers()} to end")


def answered(site):
    try:
        with site.connect(timeout=5) as client:
            return client.ask("GET", "/").status == 200
    except (wire.Closed, OSError):
        return False                                    # it was a stopped worker's
