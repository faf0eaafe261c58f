"""gevent and eventlet over HTTP/2: the streams of one connection are greenlets beside each other."""

import importlib.util

import pytest

from lib import server as under_test
from lib.server import APPS

pytestmark = [pytest.mark.python, pytest.mark.workers("greenlet")]


@pytest.fixture(scope="module", params=["gevent", "eventlet"])
def site(shared_monoceros, request):
    for name in (request.param, "h2"):
        if not importlib.util.find_spec(name):
            pytest.skip(f"{name} is not installed")
    if "http2" not in under_test.modules():
        pytest.skip("built without http2")
    return shared_monoceros("green:app", "-k", request.param, "--http2-cleartext", "prior-knowledge", "--keep-alive", "30",
                            "--http2-max-concurrent-streams", "200", cwd=APPS / "green")


@pytest.fixture
def client(site):
    from lib.h2client import H2Client
    with H2Client(site.address) as client:
        yield client


def test_streams_sleep_at_once(client):
    streams = [client.ask("/meet?count=100") for _ in range(100)]
    client.finish(*streams)
    assert {client.bodies[stream] for stream in streams} == {b"100"}


def test_uploads(client):
    streams = [client.ask("/upload", "POST", body=500_000) for _ in range(3)]
    client.finish(*streams)
    assert {client.bodies[stream] for stream in streams} == {b"500000"}


def test_a_large_stream_waits_and_small_ones_go_on(client, site):
    note, held = client.note, []

    def hold(event):
        """The large stream's window stays shut, that of the connection does not."""
        if getattr(event, "flow_controlled_length", None) and event.stream_id == large:
            client.sizes[large] += len(event.data)
            held.append(event.flow_controlled_length)
            client.h2.increment_flow_control_window(held[-1])
        else:
            note(event)

    client.note = hold
    large = client.ask("/write?count=100")
    small = [client.ask("/echo") for _ in range(3)]
    client.finish(*small)
    assert {client.bodies[stream] for stream in small} == {b"SHOUT"}
    assert sum(held) <= 65535 and large not in client.ended
    client.note = note
    client.h2.increment_flow_control_window(sum(held), large)
    client.flush()
    client.finish(large)
    assert client.sizes[large] == 100 * 65536
    site.wait_log("all is written")


def test_a_stream_that_is_cancelled(client, site):
    stream = client.ask("/stream?size=1000&count=10000000")
    while client.sizes[stream] < 100_000:
        client.step()
    client.cancel(stream)
    site.wait_log("stream closed")
    other = client.ask("/")
    client.finish(other)
    assert client.heads[other][":status"] == "200"
