"""gevent and eventlet: requests overlap in one worker, and what the standard library and these libraries promise greenlets holds."""

import json
import os
import re
import signal

import pytest

from lib.limits import until
from lib.server import APPS
from lib.wire import Closed, request

HERE = APPS / "green"

pytestmark = [pytest.mark.python, pytest.mark.workers("greenlet")]


@pytest.fixture(scope="module")
def site(shared_monoceros, kind):
    site = shared_monoceros("green:app", "-k", kind, "--worker-connections", "1200", "--response-buffer-file", "1m", cwd=HERE, expect_errors=True)
    site.kind = kind
    return site


def counts(site):
    return json.loads(site.ask("GET", "/counts").text)


def crowd(site, count, target):
    """This many requests at once, each with its own number for {}; the answers."""
    clients = [site.connect() for _ in range(count)]
    try:
        for n, client in enumerate(clients):
            client.send(request("GET", target.replace("{}", str(n))))
        return [client.read() for client in clients]
    finally:
        for client in clients:
            client.close()


def test_the_library_is_patched_before_the_app_is_imported(site):
    kind, worker_class, module, other_thread = site.ask("GET", "/").text.split()
    assert (kind, worker_class) == (site.kind, site.kind) and module.startswith(site.kind)
    assert other_thread == "True"
    assert f"Using worker: {site.kind}\n" in site.log()


def test_five_hundred_sleep_at_once(site):
    answers = crowd(site, 500, "/meet?count=500")
    assert {answer.status for answer in answers} == {200}
    assert {answer.text for answer in answers} == {"500"}


def test_contexts_and_locals_are_a_request_s_own(site):
    for answer in crowd(site, 20, "/context?count=20&name=n{}") + [site.ask("GET", "/context?count=1&name=last")]:
        before, local_before, after, local_after = json.loads(answer.text)
        assert (before, local_before) == ("import", None) and after == local_after


def test_greenlets_are_used_again_and_given_up(site):
    """More requests than one greenlet lives for."""
    with site.connect() as client:
        assert {client.ask("GET", "/context?count=1&name=x").text for _ in range(1100)} == {'["import", null, "x", "x"]'}


def test_what_an_app_has_started_goes_on(site):
    before = counts(site)["beats"]
    until(lambda: counts(site)["beats"] > before + 3, "the app's own thread to run")


@pytest.mark.parametrize("body", [b"", b"x" * 9, b"x" * 300_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_upload(site, body, chunked):
    if chunked:
        framed = b"".join(b"%x\r\n%s\r\n" % (len(body[at:at + 70_000]), body[at:at + 70_000]) for at in range(0, len(body), 70_000)) + b"0\r\n\r\n"
        answer = site.ask("POST", "/upload", headers=[("Transfer-Encoding", "chunked")], body=framed)
    else:
        answer = site.ask("POST", "/upload", body=body)
    assert answer.text == str(len(body))


def test_a_piece_is_out_before_the_next_is_made(site, tmp_path):
    go = tmp_path / "go"
    with site.connect() as client:
        client.send(request("GET", f"/stream?file={go}"))
        head = client.read_head()
        assert client.exactly(15) == b"a\r\n0000000000\r\n"
        go.touch()
        client.read_chunks(head)
    assert head.body == b"1" * 10 + b"2" * 10


def test_pipelined_requests_are_answered_in_order(site):
    with site.connect() as client:
        client.send(request("GET", "/run") + request("GET", "/thread") + request("GET", "/echo") + request("POST", "/upload", body=b"12345"))
        assert [client.read().text for _ in range(4)] == ["from a program\n", "helper", "SHOUT", "5"]


@pytest.mark.parametrize("what, told", [("thread", "helper"), ("echo", "SHOUT"), ("run", "from a program\n"), ("fork", "from a child"),
                                        ("fork_and_return", "child 0")])
def test_what_apps_do(site, what, told):
    worker = site.wait_workers(1)
    for _ in range(3):
        assert site.ask("GET", "/" + what).text == told
    assert crowd(site, 5, "/" + what)[4].text == told
    assert site.wait_workers(1) == worker and site.ask("GET", "/").status == 200


def test_an_app_that_fails(site):
    assert site.ask("GET", "/fail").status == 500
    site.wait_log(r"Error handling request /fail\n(?:.*\n)*?.*ValueError: failed after a wait")
    with pytest.raises(Closed), site.connect() as client:
        client.ask("GET", "/stream?fail=1")
    site.wait_log("ValueError: failed in a stream")


def test_a_killed_request_is_no_error(site):
    before = len(site.log())
    assert site.ask("GET", "/kill").status == 503
    assert "Traceback" not in site.log()[before:]
    assert site.ask("GET", "/").status == 200


def test_a_forgotten_alarm_ends_nobody_else(site):
    before = counts(site)["beats"]
    assert site.ask("GET", "/late").text == "set"
    until(lambda: counts(site)["beats"] > before + 10, "the alarm to be late")
    assert [site.ask("GET", "/").status for _ in range(3)] == [200] * 3


def test_a_client_that_leaves(site):
    before = len(site.log())
    client = site.connect()
    client.send(request("GET", "/stream?size=10000&count=100000000"))
    client.exactly(1000)
    client.close()
    site.wait_log(r"stream closed", 1 + site.log()[:before].count("stream closed"))
    assert "Traceback" not in site.log()[before:]


def test_a_slow_reader_holds_up_its_own_greenlet_only(site):
    """More than the server keeps for a client: the app waits in write(), while others are served."""
    with site.connect(rcvbuf=65536) as client:
        client.send(request("GET", "/write?count=300"))
        head = client.read_head()
        for _ in range(3):
            assert site.ask("GET", "/meet?count=1").status == 200
            assert site.ask("GET", "/echo").text == "SHOUT"
        assert "all is written" not in site.log()
        client.read_chunks(head)
        assert len(head.body) == 300 * 65536
    site.wait_log("all is written")


def test_idle_connections_are_cheap_and_kept(site):
    clients = [site.connect() for _ in range(50)]
    assert [client.ask("GET", "/").status for client in clients] == [200] * 50
    for client in clients:
        client.close()


def test_a_system_exit_replaces_the_worker(monoceros, kind):
    site = monoceros("green:app", "-k", kind, cwd=HERE, expect_errors=True)
    worker = site.wait_workers(1)
    assert site.ask("GET", "/leave").status == 500
    until(lambda: site.workers() not in (worker, []), "another worker")
    assert site.ask("GET", "/").status == 200
    assert re.search(r"SystemExit: the app leaves", site.log())


def test_worker_connections_bounds_what_runs(monoceros, kind, tmp_path):
    go = tmp_path / "go"
    site = monoceros("green:app", "-k", kind, "--worker-connections", "3", cwd=HERE)
    clients = [site.connect() for _ in range(6)]
    for client in clients:
        client.send(request("GET", f"/hold?file={go}", close=True))
    site.wait_log("holding", 3)
    assert site.log().count("holding") == 3
    go.touch()
    assert [client.read().text for client in clients] == ["released"] * 6


def test_a_blocked_hub_is_killed(monoceros, kind):
    site = monoceros("green:app", "-k", kind, "--timeout", "4", cwd=HERE, expect_errors=True)
    with site.connect() as client:
        client.send(request("GET", "/block"))
        worker = int(site.wait_log(r"blocking (\d+)")[0][1])
        site.wait_log(rf"WORKER TIMEOUT \(pid:{worker}\)")
    until(lambda: site.workers() not in ([worker], []), "another worker")
    assert site.ask("GET", "/").status == 200


def test_a_request_that_takes_too_long_is_shown(monoceros, kind):
    site = monoceros("green:app", "-k", kind, "--request-timeout", "1", cwd=HERE, expect_errors=True)
    assert site.ask("GET", "/hold?file=/no/such/file").status == 504
    site.wait_log(r"REQUEST TIMEOUT .* /hold\S* after")
    site.wait_log(r"Its greenlet \(most recent call last\):\n(?:.*\n)*?.*in hold\n")


def test_a_sleeping_worker_is_no_silent_one(monoceros, kind):
    if kind != "gevent":
        pytest.skip("it takes its time, and is the same code")
    site = monoceros("green:app", "-k", kind, "--timeout", "3", cwd=HERE)
    worker = site.wait_workers(1)
    before = counts(site)["beats"]
    until(lambda: counts(site)["beats"] > before + 250, "some seconds to pass")
    assert site.workers() == worker
    os.kill(worker[0], signal.SIGTERM)
    until(lambda: site.workers() not in (worker, []), "another worker")
