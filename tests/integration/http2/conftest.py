"""Sites that speak HTTP/2 without TLS, so that a test sees every frame."""

import pytest

from lib import server as under_test
from lib.frames import Client
from tls.conftest import context, pki  # noqa: F401 (fixtures)


def pytest_collection_modifyitems(items):
    for item in items:
        if "http2" in str(item.path) and "http2" not in under_test.modules():
            item.add_marker(pytest.mark.skip(reason="built without http2"))


@pytest.fixture
def streams(monoceros):
    """Factory: streams("--threads", "4") is a server with the app http2/streams.py."""

    def start(*arguments, **options):
        more = [] if "-w" in arguments or "--workers" in arguments else ["-w", "1"]
        keep = [] if "--keep-alive" in arguments else ["--keep-alive", "30"]
        return monoceros("http2.streams:app", "--http2-cleartext", "prior-knowledge", *more, *keep, *arguments, **options)

    return start


@pytest.fixture
def client():
    """Factory: client(site, ...) is a connection, closed at the end."""
    made = []

    def connect(site, **kwargs):
        made.append(Client(site.address, **kwargs))
        return made[-1]

    yield connect
    for one in made:
        one.sock.close()
