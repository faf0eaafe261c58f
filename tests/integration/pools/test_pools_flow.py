"""Requests from one pool to another: what flows, what breaks off, who answers for it, and who may come."""

import os
import pwd
import re
import subprocess
import sys

import pytest

from lib import procfs
from lib.fixtures import WORKERS
from lib.limits import until
from lib.server import APPS
from lib.wire import Closed, request

pytestmark = [pytest.mark.python, pytest.mark.workers(WORKERS[0])]
FRONT = "epoll" if "epoll" in WORKERS else WORKERS[0]
SYNC = "sync" if "sync" in WORKERS else "gthread"

def config(top="", fronts="", apps="", server="", routes="", kind=SYNC):
    return f"""
accesslog = "-"
{top}
pool "front" {{ worker_class = {FRONT}  workers = 1  {fronts} }}
pool "apps" {{ worker_class = {kind}  threads = 1  workers = 1  {apps} }}
pool "fast" {{ worker_class = {SYNC}  threads = 1  workers = 1 }}
app "slow" {{ type = wsgi  module = "hop:app"  chdir = "{APPS / 'pools'}"  pool = apps }}
app "quick" {{ type = wsgi  module = "hop:app"  chdir = "{APPS / 'pools'}"  pool = fast }}
server "main" {{ listen = "{{address}}"  pool = front  {server}
    route "quick" {{ match {{ prefix = "/quick" }}  app = quick }}
    {routes}
    route "rest" {{ app = slow }} }}
"""


@pytest.fixture
def site(monoceros):
    def start(expect_errors=False, **words):
        made = monoceros(config=config(**words), python=True, expect_errors=expect_errors)
        made.wait_workers(3)
        assert made.ask("GET", "/").status == 200 and made.ask("GET", "/quick").status == 200
        return made
    return start


def begin(site, path, tmp_path, name, method="GET", **more):
    """A client whose request is inside the app now, and the file that ends it."""
    began, ends = tmp_path / (name + ".began"), tmp_path / (name + ".ends")
    client = site.connect()
    client.send(request(method, f"{path}?{began},{ends}", **more))
    until(began.exists, "the app to begin")
    return client, ends


# ---- what flows


def test_interim_replies_and_long_bodies(site):
    made = site()
    answer = made.ask("GET", "/hints")
    assert [(one.status, one.get("Link")) for one in answer.interim] == [(103, "</style.css>; rel=preload")]
    body = os.urandom(3 << 20)
    assert made.ask("POST", "/echo", body=body).body == body
    assert made.ask("HEAD", "/echo").body == b""
    with made.connect(rcvbuf=65536) as slow:
        slow.send(request("GET", "/stream?5000"))
        assert made.ask("GET", "/").status == 200
        assert len(slow.read().body) == sum(len(b"%d\n" % number) * 1000 for number in range(5000))


def test_connections_between_pools_are_kept(site):
    made = site()
    worker = int(made.ask("GET", "/").text)

    def connections():
        return len([1 for target in procfs.fds(worker).values() if target.startswith("socket:")])
    before = connections()
    for _ in range(20):
        assert made.ask("GET", "/").status == 200
    assert connections() == before


def test_one_line_in_the_access_log(site):
    made = site()
    assert made.ask("GET", "/marked", headers=[("User-Agent", "me")]).status == 200
    made.wait_log(r'127\.0\.0\.1 - - \[[^]]+\] "GET /marked HTTP/1.1" 200 \d+ "-" "me"')
    made.ask("GET", "/later")
    made.wait_log("GET /later")
    assert made.stop().count('"GET /marked') == 1


def test_an_error_is_the_fronts_to_answer(site, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("our own page")
    made = site(expect_errors=True, server=f'error_page = {{"500 file:{page}"}}')
    answer = made.ask("GET", "/raise")
    assert answer.status == 500 and answer.text == "our own page" and answer.get("Monoceros-Hop") is None
    answer = made.ask("GET", "/500")            # what an app says itself is its own
    assert (answer.status, answer.reason, answer.text) == (500, "Mine", "my own error")


def test_a_cut_stays_a_cut(site):
    made = site(expect_errors=True)
    with pytest.raises(Closed) as cut, made.connect() as client:
        client.ask("GET", "/cut")
    assert b"begun" in cut.value.partial or cut.value.partial == b""
    with made.connect() as client:
        client.send(request("GET", "/cut", version="HTTP/1.0"))
        with pytest.raises(Closed):
            client.read()
    assert made.ask("GET", "/").status == 200


# ---- what breaks off


def test_a_worker_that_dies_is_no_answer(site, tmp_path):
    made = site(expect_errors=True)
    ran = tmp_path / "ran"
    answer = made.ask("POST", "/die", body=b"x")
    assert answer.status == 502
    made.wait_log(r'pool "apps": it closed the connection without a reply; 502: POST /die')
    assert made.ask("POST", f"/append?{ran}", body=b"x").status == 200 and ran.read_text() == "x"
    with pytest.raises(Closed):
        made.ask("GET", "/half")
    made.wait_log(r'pool "apps": .*; the reply is cut: GET /half')
    assert made.ask("GET", "/").status == 200


def test_requests_wait_for_a_pool_that_starts_again(site):
    made = site(expect_errors=True)
    for _ in range(3):
        first = int(made.ask("GET", "/").text)
        os.kill(first, 9)
        answer = made.ask("POST", "/", body=b"not idempotent")      # it may go on a connection that is dead by now
        assert answer.status == 200 and int(answer.text) != first, made.log()


def test_a_pool_that_cannot_start(site, tmp_path):
    broken = tmp_path / "broken"
    made = site(expect_errors=True, apps=f'queue_timeout = 500ms  env = {{"HOP_BROKEN={broken}"}}')
    broken.write_text("")
    os.kill(int(made.ask("GET", "/").text), 9)
    answer = made.ask("GET", "/")
    assert answer.status == 503 and answer.get("Retry-After") == "1"
    made.wait_log(r'pool "apps": no worker was free for it within 0\.5 s; 503: GET /')
    assert made.ask("GET", "/quick").status == 200
    broken.unlink()
    until(lambda: made.ask("GET", "/").status == 200, "the pool to come back", 40)


def test_request_timeout_of_the_front(site, tmp_path):
    made = site(expect_errors=True, fronts="request_timeout = 1s")
    client, ends = begin(made, "/begin", tmp_path, "one")
    with client:
        assert client.read().status == 504
    ends.write_text("")
    until(lambda: made.ask("GET", "/").status == 200, "the app to be back")


@pytest.mark.skipif("gthread" not in WORKERS, reason="built without gthread")
def test_the_deadline_goes_along(site, tmp_path):
    """The other pool has no request_timeout of its own: it knows the front's, and gets its thread back."""
    made = site(expect_errors=True, fronts="request_timeout = 1s", kind="gthread")
    first = int(made.ask("GET", "/").text)
    client, _ = begin(made, "/begin", tmp_path, "one")
    with client:
        assert client.read().status == 504
    made.wait_log(rf"REQUEST TIMEOUT \(pid:{first}\) GET /begin")
    until(lambda: made.ask("GET", "/").text != str(first), "another worker")


# ---- the queue


def test_a_slow_pool_holds_up_no_other(site, tmp_path):
    made = site(apps="queue = 3")
    busy, ends = begin(made, "/begin", tmp_path, "busy")
    waiting = [made.connect().send(request("POST", "/echo", body=b"%d" % number)) for number in range(3)]
    for _ in range(10):
        assert made.ask("GET", "/quick").status == 200
    refused = []

    def is_full():
        with made.connect() as client:
            client.send(request("GET", "/more"))
            client.sock.settimeout(0.5)
            try:
                answer = client.read()
            except TimeoutError:
                return False                    # it waits, as the ones before are still on their way there
        refused.append(answer)
        return True
    until(is_full, "the queue to be full")
    assert refused[0].status == 503 and refused[0].get("Retry-After") == "30"
    for _ in range(5):
        assert made.ask("GET", "/more").status == 503
    assert made.ask("GET", "/quick").status == 200
    ends.write_text("")
    assert busy.read().status == 200
    assert [client.read().text for client in waiting] == ["0", "1", "2"]
    for client in [busy, *waiting]:
        client.close()
    assert made.ask("GET", "/").status == 200
    lines = re.findall(r'pool "apps": as many requests wait already as may \(queue\); 503.*', made.log())
    assert 1 <= len(lines) <= 4, lines          # one a second


def test_who_gave_up_waiting_is_not_served(site, tmp_path):
    made = site(apps="queue_timeout = 300ms")
    ran = tmp_path / "ran"
    busy, ends = begin(made, "/begin", tmp_path, "busy")
    assert made.ask("POST", f"/append?{ran}", body=b"x").status == 503
    with made.connect() as client:              # nor who left by himself
        client.send(request("POST", f"/append?{ran}", body=b"x"))
    ends.write_text("")
    assert busy.read().status == 200
    busy.close()
    until(lambda: made.ask("GET", "/").status == 200, "the pool to be free")
    assert not ran.exists()


def test_the_queue_times_only_what_waits(site, tmp_path):
    """A request that an app has taken may take its time."""
    made = site(apps="queue_timeout = 200ms")
    assert made.ask("GET", "/sleep?1").status == 200


# ---- the end


def test_term_loses_no_request(site, tmp_path):
    made = site()
    busy, ends = begin(made, "/begin", tmp_path, "busy")
    waiting = [made.connect().send(request("POST", "/echo", body=b"%d" % number)) for number in range(5)]
    made.ask("GET", "/quick")                   # the front has seen the others by now
    made.signal(15)
    made.wait_log("Handling signal: term")
    ends.write_text("")
    assert busy.read().status == 200
    assert [client.read().text for client in waiting] == [str(number) for number in range(5)]
    for client in [busy, *waiting]:
        client.close()
    assert made.wait() == 0
    assert "graceful_timeout" not in made.log() and "was killed" not in made.log()


# ---- who may come


def address(pid):
    """The abstract sockets of the server's pools."""
    inodes = {target[8:-1] for target in procfs.fds(pid).values() if target.startswith("socket:[")}
    with open("/proc/net/unix", encoding="utf-8") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sorted({row[7] for row in rows if len(row) > 7 and row[6] in inodes and row[7].startswith("@monoceros/")})


STRANGER = """
import os, socket, sys
if sys.argv[2] != "-": os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect("\\0" + sys.argv[1][1:])
try:
    s.sendall(sys.stdin.buffer.read())
    data = b""
    while more := s.recv(65536): data += more
except ConnectionError as e: data = b"closed"
sys.stdout.buffer.write(data or b"closed")
"""


def strange(place, text, user="-"):
    done = subprocess.run([sys.executable, "-c", STRANGER, place, str(user)], input=text, capture_output=True, timeout=60, check=True)
    return done.stdout


def test_strangers(site):
    made = site()
    places = address(made.pid)
    assert len(places) == 2 and len(set(places)) == 2
    for field in (b"", b"Monoceros-Hop: " + b"0" * 64 + b" 1=0 2=11 a=slow b=main\r\n", b"Monoceros-Hop: error\r\n"):
        answer = strange(places[0], b"GET / HTTP/1.1\r\nHost: x\r\n" + field + b"\r\nGET / HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1 and b"Connection: close" in answer, answer
    made.wait_log(r"a request without a valid Monoceros-Hop has come to its socket: 400")
    if os.geteuid() == 0:
        assert strange(places[0], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", pwd.getpwnam("nobody").pw_uid) == b"closed"
        made.wait_log(r"of user \d+ has connected to its socket: closed")
    assert made.ask("GET", "/").status == 200
    token = re.compile(rb"[0-9a-f]{64}")
    for pid in [made.pid, *made.workers()]:     # nothing that a list of processes shows tells the token
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                assert not token.search(file.read())


def test_unix_addresses_are_random(site):
    assert address(site().pid) != address(site().pid)

