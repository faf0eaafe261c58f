"""Who may come, how often, and with which header fields: access, auth_basic, limit, headers, error_page."""

import base64
import os
import signal
import socket
import threading

import pytest

from lib.fixtures import WORKERS
from lib.limits import patience

SITES = r"""
pool "web" { worker_class = {worker}  workers = 2  keepalive = 5s }
error_page = {"403 404 @sorry", "418 = /teapot", "500 file:{tmp}/sorry.html"}
server "main" {
    listen = "{address}"
    headers { request { set = {'X-Id: $request_id'} remove = {"X-Drop"} } response { set = {'X-Frame-Options: DENY'} add = {'X-Add: $uri'} remove = {"X-Gone"} } }
    route "sorry"  { match { exact = "/sorry" } internal = yes  respond { body = 'sorry $request_uri' } }
    route "teapot" { match { exact = "/teapot" }  respond { status = 202 body = 'short and stout' } }
    route "brew"   { match { exact = "/brew" }    access { deny = {"all"} status = 418 } respond { } }
    route "cafe"   { match { exact = "/cafe" }    access { deny = {"all"} allow = {"10.0.0.0/8", "127.0.0.0/8"} } respond { body = "cafe" } }
    route "not1"   { match { exact = "/not1" }    access { allow = {"127.0.0.0/8"} deny = {"127.0.0.1"} } respond { } }
    route "only"   { match { exact = "/only" }    access { allow = {"10.0.0.0/8"} } respond { } }
    route "but"    { match { exact = "/but" }     access { deny = {"10.0.0.0/8"} } respond { body = "but" } }
    route "echo"   { match { exact = "/echo" }    respond { headers = {'X-Gone: 1', 'X-Stay: 1'} body = '[$http_x_id|$http_x_drop|$request_id]' } }
    route "quiet"  { match { exact = "/quiet" }   headers { response { set = {'X-Only: 2xx'} always = no } } respond { } }
    route "grave"  { match { exact = "/grave" }   headers { response { set = {'X-Only: 2xx'} always = no } } access { deny = {"all"} status = 451 } respond { } }
}
"""


@pytest.fixture(scope="module")
def sites(shared_monoceros, tmp_path_factory):
    page = tmp_path_factory.mktemp("pages") / "sorry.html"
    page.write_text("<h1>sorry</h1>\n")
    return shared_monoceros(config=SITES.replace("{tmp}/sorry.html", str(page)))


def test_access(sites):
    for path, status in [("/cafe", 200), ("/not1", 403), ("/only", 403), ("/but", 200)]:
        assert sites.ask("GET", path).status == status, path


def test_error_pages(sites):
    response = sites.ask("GET", "/nothing/here?x")
    assert (response.status, response.text) == (404, "sorry /nothing/here?x")
    response = sites.ask("POST", "/only", body=b"x" * 1000)
    assert (response.status, response.text) == (403, "sorry /only")
    response = sites.ask("GET", "/brew")
    assert (response.status, response.text) == (202, "short and stout")
    assert sites.ask("HEAD", "/only").status == 403
    assert sites.ask("GET", "/sorry").status == 404      # internal


def test_error_pages_keep_the_connection(sites):
    with sites.connect() as connection:
        for _ in range(3):
            assert connection.ask("GET", "/nothing").text == "sorry /nothing"
            assert connection.ask("POST", "/only", body=b"abc").text == "sorry /only"
            assert connection.ask("GET", "/but").text == "but"


def test_headers(sites):
    response = sites.ask("GET", "/echo", [("X-Id", "mine"), ("X-Drop", "me")])
    own, dropped, known = response.text[1:-1].split("|")
    assert own == known and len(own) == 32 and dropped == ""
    assert response.get("X-Frame-Options") == "DENY" and response.get("X-Add") == "/echo"
    assert response.get("X-Gone") is None and response.get("X-Stay") == "1"
    assert sites.ask("GET", "/quiet").get("X-Only") == "2xx"
    assert sites.ask("GET", "/grave").get("X-Only") is None


def test_a_value_with_a_newline_is_left_out(sites):
    response = sites.ask("GET", "/echo%0d%0aX-Evil:%201")
    assert response.get("X-Evil") is None


def test_ids_of_trusted_peers(sites):
    assert "|given-1]" in sites.ask("GET", "/echo", [("X-Request-Id", "given-1")]).text
    assert "given" not in sites.ask("GET", "/echo", [("X-Request-Id", "given 1")]).text


# --- auth_basic

# hashes of "secret", "pw:1", "one" and, slow to compute, "secret"
JOE = "$6$Yx8ueKI5xI7dkAfY$CPoxZxMqs/XE5kUUHKHpfiQ/j9.vqBwjQn4LognnL7V/vr1Gb0iYvOFS2v6nJPZYIVejyN2A8dk4jMc8lkgg1/"
ANN = "$2b$08$6rHGXe9JlhPhfrxAc3UrAeoNK65NUHaIU.pArWYPvfcAZBa0C6EAi"
NEW = "$6$2XRCyC5RzxGorBFq$EMNMuY4Tzxzr86IHjlj4vaf9TOjfQZ2zYu9Sru2P0tyHWC/IROabjKRHH2rRisluzwhTEVcnrM7WTSy4h38q2/"
SLOW = "$2b$11$QaxYvn.5gfATjJbzz5mDAurkg9h4tFTyPCaQFRvFwZ7J0oRxKCvSG"

AUTH = r"""
pool "web" { worker_class = {worker}  workers = 1  keepalive = 5s }
server "main" {
    listen = "{address}"
    auth_basic { realm = "Staff" users = "USERS" }
    route "open" { match { prefix = "/open" } auth_basic { off = yes } respond { body = 'open [$remote_user]' } }
    route "all"  { respond { body = 'hello $remote_user' } }
}
"""


def basic(text):
    return [("Authorization", "Basic " + base64.b64encode(text.encode()).decode())]


@pytest.fixture
def staff(monoceros, tmp_path):
    users = tmp_path / "htpasswd"
    users.write_text("# staff\njoe:%s\nann:%s\n" % (JOE, ANN))
    os.chmod(users, 0o644)
    os.chmod(tmp_path, 0o755)
    return monoceros(config=AUTH.replace("USERS", str(users))), users


def test_auth_basic(staff):
    site, _ = staff
    response = site.ask("GET", "/")
    assert response.status == 401 and response.get("WWW-Authenticate") == 'Basic realm="Staff", charset="UTF-8"'
    for good in ("joe:secret", "ann:pw:1", "joe:secret"):
        assert site.ask("GET", "/", basic(good)).text == "hello " + good.split(":")[0]
    for bad in ("joe:Secret", "joe:", "ann:pw", "nobody:secret", "joe", ":secret", "joe:secret\0"):
        assert site.ask("GET", "/", basic(bad)).status == 401, bad
    for junk in ("Basic", "Basic ?", "Bearer abc", "Basic " + "A" * 4000):
        assert site.ask("GET", "/", [("Authorization", junk)]).status == 401
    assert site.ask("GET", "/open").text == "open []"


def test_auth_basic_with_a_body_and_pipelined(staff):
    site, _ = staff
    with site.connect() as connection:
        for _ in range(3):
            assert connection.ask("POST", "/", basic("ann:pw:1"), body=b"x" * 5000).text == "hello ann"
            assert connection.ask("POST", "/", basic("ann:no"), body=b"x" * 5000).status == 401


def test_a_client_that_leaves_meanwhile(staff):
    site, _ = staff
    for _ in range(20):
        sock = socket.create_connection(site.address)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n\r\n" % base64.b64encode(b"ann:wrong"))
        sock.close()
    assert site.ask("GET", "/", basic("joe:secret")).status == 200


def test_a_changed_file_is_read_again(staff):
    site, users = staff
    assert site.ask("GET", "/", basic("new:one")).status == 401
    users.write_text("new:%s\n" % NEW)
    for _ in range(100):
        if site.ask("GET", "/", basic("new:one")).status == 200:
            break
        threading.Event().wait(0.1)
    assert site.ask("GET", "/", basic("new:one")).status == 200
    assert site.ask("GET", "/", basic("joe:secret")).status == 401


def test_files_of_users_are_checked(tmp_path):
    from lib import server as under_test
    users, conf = tmp_path / "users", tmp_path / "a.conf"
    conf.write_text(AUTH.replace("{worker}", WORKERS[0]).replace("{address}", "127.0.0.1:1").replace("USERS", str(users)))
    for text, message in [(None, "No such file"), ("joe:{SHA}xyz\n", "users:1: the hash of 'joe'"), ("\njoe\n", "users:2: expected NAME:HASH")]:
        if text is not None:
            users.write_text(text)
        result = under_test.run("-c", conf, "--check-config")
        assert result.returncode == 1 and message in result.stdout + result.stderr


# --- limit

LIMITS = r"""
pool "web" { worker_class = {worker}  workers = 3  keepalive = 5s }
server "main" {
    listen = "{address}"
    route "rate"  { match { prefix = "/rate" }   limit { key = '$arg_k' rate = "5/h" burst = 4 } respond { body = "ok" } }
    route "delay" { match { prefix = "/delay" }  limit { rate = "50/s" burst = 10 delay = yes } respond { body = "ok" } }
    route "dry"   { match { prefix = "/dry" }    limit { rate = "1/h" dry_run = yes } respond { body = "ok" } }
    route "one"   { match { prefix = "/same1" }  limit { key = 'x' rate = "2/h" burst = 1 zone = "z" } respond { } }
    route "two"   { match { prefix = "/same2" }  limit { key = 'x' rate = "2/h" burst = 1 zone = "z" } respond { } }
    route "conns" { match { prefix = "/conns" }  limit { key = 'x' conns = 2 status = 503 } auth_basic { users = "USERS" } respond { } }
}
"""


@pytest.fixture
def limited(monoceros, tmp_path):
    users = tmp_path / "htpasswd"
    users.write_text("joe:%s\n" % SLOW)
    os.chmod(users, 0o644)
    os.chmod(tmp_path, 0o755)
    return monoceros(config=LIMITS.replace("USERS", str(users)))


def test_rates_count_over_all_workers(limited):
    answers = [limited.ask("GET", "/rate?k=a") for _ in range(12)]
    assert [a.status for a in answers].count(200) == 5
    refused = [a for a in answers if a.status == 429]
    assert len(refused) == 7 and all(int(a.get("Retry-After")) > 0 for a in refused)
    assert limited.ask("GET", "/rate?k=b").status == 200            # another key
    assert all(limited.ask("GET", "/rate").status == 200 for _ in range(8))     # none


def test_delayed_requests_come_through(limited):
    with limited.connect() as connection:
        assert [connection.ask("GET", "/delay").status for _ in range(8)] == [200] * 8


def test_a_dry_run_only_tells(limited):
    assert [limited.ask("GET", "/dry").status for _ in range(4)] == [200] * 4
    limited.wait_log("limit: would refuse: requests beyond the rate")


def test_zones_are_shared(limited):
    assert [limited.ask("GET", f"/same{1 + i % 2}").status for i in range(4)] == [200, 200, 429, 429]


def test_what_a_killed_worker_held_is_given_back(limited):
    """Requests wait for a slow hash with their places taken; their workers are killed; the places are free again."""
    wrong = base64.b64encode(b"joe:wrong").decode()
    request = f"GET /conns HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {wrong}\r\n\r\n".encode()
    for _ in range(3):
        socks = [socket.create_connection(limited.address, timeout=patience(20)) for _ in range(6)]
        for sock in socks:
            sock.sendall(request)
        statuses = []
        socks[0].recv(1)
        for pid in limited.workers():
            os.kill(pid, signal.SIGKILL)
        for sock in socks:
            sock.close()
        limited.wait_workers(3)
    for _ in range(100):
        statuses = [limited.ask("GET", "/conns").status for _ in range(3)]
        if statuses == [401] * 3:
            break
        threading.Event().wait(0.1)
    assert statuses == [401] * 3
