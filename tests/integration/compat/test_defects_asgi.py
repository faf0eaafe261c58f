"""What goes wrong in Gunicorn 26.1 with ASGI apps, in the same run here: docs/gunicorn-defects.md has the table.

Command lines are Gunicorn's but for the time limits that it lacks, so that MONOCEROS=.../gunicorn MONOCEROS_WORKERS=epoll runs them there.
"""

import signal

import pytest

from lib.server import APPS
from lib.websocket import upgrade

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"


@pytest.fixture
def lives(monoceros, tmp_path):
    """A server of an app that notes its lifespan in tmp_path/events; `what` goes wrong with it."""
    return lambda what, *arguments, **options: monoceros("lives:app", "-k", "asgi", *arguments, cwd=HERE,
                                                         env={"LIFESPAN": what, "LIFESPAN_FILE": str(tmp_path / "events")}, **options)


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_startup_that_failed(lives, mode):
    """The server ends: such an app is never served, and not booted again and again."""
    site = lives("fails", "--asgi-lifespan", mode, ready=False, expect_errors=True)
    assert site.process.wait(30) == 3
    site.waited = True
    assert site.log().count("Booting worker") == 1 and "no database" in site.log()


def test_an_idle_connection_is_closed(lives):
    site = lives("", "--keep-alive", "1")
    with site.connect() as client:
        assert client.ask("GET", "/").keep
        assert client.ended()


@pytest.mark.parametrize("sent, status", [(b"", None), (b"GET / HTTP/1.1\r\nHost: loc", 408), (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", 408)],
                         ids=["nothing", "half a header", "half a body"])
def test_silent_clients_are_sent_away(monoceros, sent, status):
    site = monoceros("plain:app", "-k", "asgi", "--header-timeout", "1", "--body-timeout", "1", "--asgi-disconnect-grace-period", "1", cwd=HERE)
    with site.connect() as client:
        client.send(sent.replace(b"POST /", b"POST /read_on"))
        assert status is None or client.read().status == status
        assert client.ended()


def test_term_and_an_idle_connection(lives, tmp_path):
    """It costs no time, and the app's shutdown runs to its end."""
    site = lives("", "--keep-alive", "100", "--graceful-timeout", "100")
    with site.connect() as client:
        assert client.ask("GET", "/").keep
        site.signal(signal.SIGTERM)
        assert client.ended()
        assert site.wait() == 0
    assert (tmp_path / "events").read_text().split()[-1] == "done"


def test_a_websocket_that_is_refused(monoceros):
    site = monoceros("sockets:app", "-k", "asgi", cwd=HERE)
    with site.connect() as client:
        client.send(upgrade("/refuse"))
        assert client.read().status == 403
