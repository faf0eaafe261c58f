"""The access log as JSON, requests without a line, what apps print, and numbers for StatsD."""

import json
import os
import pty
import re
import signal
import termios

import pytest

from lib import procfs
from lib.fixtures import WORKERS
from lib.limits import until
from lib.receivers import Receiver
from lib.server import APPS

HERE = APPS / "process"


@pytest.mark.workers(WORKERS[0])
def test_json(monoceros, tmp_path):
    log = tmp_path / "access"
    site = monoceros(config=f"""
        access_log_format = json
        accesslog = "{log}"
        pool "web" {{ worker_class = {{worker}} }}
        server "main" {{ listen = "{{address}}"  route "all" {{ respond {{ body = "here" }} }} }}
    """)
    strange = b"GET /a?\xc3\xa9\xff\"\\ HTTP/1.1\r\nHost: x:1\r\nUser-Agent: \xe2\x82\xac \x80\"\\\r\n\r\n"
    with site.connect() as client:
        client.send(strange)
        strange_status = client.read().status
    assert site.ask("GET", "/two", headers=[("Referer", "http://r/"), ("Authorization", "Basic YQpiOmM=")]).status == 200
    until(lambda: log.read_text().count("\n") >= 2, "the lines")
    one, two = map(json.loads, log.read_text(encoding="ascii").splitlines())
    assert one["status"] == strange_status and one["http_user_agent"] == '€ \\x80"\\' and one["request_uri"] == '/a?é\\xff"\\'
    assert list(two) == ["time", "remote_addr", "remote_user", "request_method", "request_uri", "server_protocol", "scheme", "host", "status",
                         "body_bytes_sent", "request_time", "http_referer", "http_user_agent", "pid", "route", "ssl_protocol", "ssl_cipher",
                         "ssl_server_name", "ssl_client_s_dn", "upstream_addr", "upstream_status", "upstream_response_time"]
    assert two["remote_user"] == "a\nb" and two["http_referer"] == "http://r/" and two["http_user_agent"] is None and two["route"] == "all"
    assert two["body_bytes_sent"] == 4 and two["pid"] in site.workers() and isinstance(two["request_time"], float)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", two["time"])


@pytest.mark.workers(WORKERS[0])
def test_a_json_of_ones_own_and_places_without_lines(monoceros, tmp_path):
    log = tmp_path / "access"
    site = monoceros(config=f"""
        access_log_format = '{{"line": "%(m)s %(U)s", "status": %(s)s, "to": %({{upstream_addr}}x)s, "route": %({{route}}x)s}}'
        accesslog = "{log}"
        pool "web" {{ worker_class = {{worker}} }}
        server "main" {{ listen = "{{address}}"
            route "health" {{ match {{ exact = "/healthz" }}  access_log = off  respond {{ body = "ok" }} }}
            route "all" {{ respond {{ body = "here" }} }} }}
    """)
    for path in ("/healthz", "/a%22b", "/healthz", "/end"):
        assert site.ask("GET", path).status == 200
    until(lambda: "/end" in log.read_text(), "the last line")
    assert [json.loads(line) for line in log.read_text().splitlines()] == [
        {"line": 'GET /a"b', "status": 200, "to": None, "route": "all"}, {"line": "GET /end", "status": 200, "to": None, "route": "all"}]


@pytest.mark.python
@pytest.mark.workers(*[name for name in WORKERS if name in ("sync", "gthread")])
@pytest.mark.parametrize("text, why", [("%({no_such}x)s", "unknown variable 'no_such'"), ('{"a": "%(s)s}', "a string of this JSON has no end")])
def test_formats_that_are_none(monoceros, text, why):
    site = monoceros("--access-logfile", "-", "--access-logformat", text, "basic:app", ready=False)
    assert site.wait() == 1 and "access_log_format: " in site.log() and why in site.log()


@pytest.mark.python
@pytest.mark.workers(*[name for name in WORKERS if name in ("sync", "gthread")])
def test_what_an_app_prints_goes_to_the_error_log(monoceros, tmp_path):
    """From Python, from a thread, from C code and from a child process; and after the log was opened again."""
    error = tmp_path / "error.log"
    site = monoceros("talks:app", "--capture-output", "--error-logfile", error, "--chdir", HERE, python=True)
    words = ["to stdout", "to stderr", "from a thread", "from C", "from a child"]

    def told(name):
        text = (tmp_path / name).read_text()        # lines of several writers at a time may run together
        return all(text.count(word) == 1 for word in words)
    assert site.ask("GET", "/").status == 200
    until(lambda: told("error.log"), "what it says")
    error.rename(tmp_path / "error.1")
    site.signal(signal.SIGUSR1)
    until(lambda: error.exists() and all(str(error) == procfs.fds(pid).get(fd) for pid in site.workers() for fd in (1, 2)), "the new log")
    assert site.ask("GET", "/").status == 200
    until(lambda: told("error.log"), "what it says there")
    site.stop()
    assert site.log() == ""


@pytest.mark.python
@pytest.mark.workers(WORKERS[0])
def test_without_it_the_streams_are_the_servers(monoceros, tmp_path):
    site = monoceros("talks:app", "--error-logfile", tmp_path / "error.log", "--chdir", HERE, python=True)
    assert site.ask("GET", "/").status == 200
    site.wait_log("^to stdout\n|\nto stdout\n")
    assert "to stdout" not in (tmp_path / "error.log").read_text()


@pytest.mark.python
@pytest.mark.workers(WORKERS[0])
@pytest.mark.parametrize("keep", [False, True])
def test_streams_of_a_daemon(monoceros, tmp_path, keep):
    pidfile = tmp_path / "pid"
    site = monoceros("talks:app", "-D", "-p", pidfile, "--error-logfile", tmp_path / "error.log", "--chdir", HERE, *["-R"][:keep], python=True,
                     ready=False)
    assert site.wait() == 0
    pid = int(pidfile.read_text())
    try:
        assert site.ask("GET", "/").status == 200
        targets = [procfs.fds(pid)[fd] for fd in (0, 1, 2)]
        log = str(site.log_path)
        assert targets == (["/dev/null", log, log] if keep else ["/dev/null"] * 3)
        assert ("to stdout" in site.log()) == keep
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not procfs.alive(pid), "the daemon to end")


@pytest.mark.workers(WORKERS[0])
def test_a_terminal_that_was_stopped(monoceros):
    """Ctrl-S: the logs of a server at a terminal wait for nobody."""
    master, slave = pty.openpty()
    try:
        site = monoceros(config="""
            accesslog = "-"
            loglevel = debug
            pool "web" { worker_class = {worker} }
            server "main" { listen = "{address}"  route "all" { respond { body = "here" } } }
        """, prefix=["sh", "-c", f'exec "$@" >{os.ttyname(slave)} 2>&1', "sh"])
        termios.tcflow(slave, termios.TCOOFF)
        for _ in range(400):                            # more than fits
            assert site.ask("GET", "/" + "x" * 200).status == 200
        termios.tcflow(slave, termios.TCOON)
        os.set_blocking(master, False)
        seen = b""

        def told():
            nonlocal seen
            site.ask("GET", "/")
            try:
                seen += os.read(master, 1 << 16)
            except BlockingIOError:
                pass
            return b"lines were dropped, writing works again" in seen
        until(told, "the count of lines that are missing")
        site.stop()
    finally:
        os.close(master)
        os.close(slave)


# --- StatsD

def values(receiver, name):
    """Of a metric, from all datagrams so far."""
    found = []
    for line in "\n".join(receiver.texts()).split("\n"):
        key, _, rest = line.partition(":")
        if key == name:
            found.append(rest)
    return found


@pytest.mark.parametrize("kind", ["udp", "unix"])
def test_statsd(monoceros, tmp_path, kind):
    receiver = Receiver(str(tmp_path / "statsd")) if kind == "unix" else Receiver()
    host = f"unix://{tmp_path}/statsd" if kind == "unix" else f"localhost:{receiver.port}"
    site = monoceros(config=f"""
        statsd_host = "{host}"
        statsd_prefix = "shop.."
        dogstatsd_tags = "a:b,c"
        enable_backlog_metric = yes
        pool "web" {{ worker_class = {{worker}}  workers = 2 }}
        server "main" {{ listen = "{{address}}"  route "gone" {{ match {{ exact = "/gone" }}  respond {{ status = 410 }} }}
                         route "all" {{ respond {{ body = "here" }} }} }}
    """)
    for _ in range(30):
        assert site.ask("GET", "/").status == 200
    assert site.ask("GET", "/gone").status == 410

    def counted(name):
        counts = [re.fullmatch(r"(\d+)\|c\|#a:b,c", value) for value in values(receiver, "shop.gunicorn." + name)]
        return sum(int(found[1]) for found in counts)
    until(lambda: counted("requests") >= 31, "all requests")
    assert counted("requests") == 31 and counted("request.status.200") == 30 and counted("request.status.410") == 1
    times = values(receiver, "shop.gunicorn.request.duration")
    assert len(times) == 31 and all(re.fullmatch(r"\d+\.\d{3}\|ms\|#a:b,c", value) for value in times)
    until(lambda: "2|g|#a:b,c" in values(receiver, "shop.gunicorn.workers"), "the count of workers")
    assert all(re.fullmatch(r"\d+\|h\|#a:b,c", value) for value in values(receiver, "shop.gunicorn.backlog"))
    assert all(len(packet) <= 1432 for packet in receiver.packets)
    os.kill(site.workers()[0], signal.SIGKILL)
    until(lambda: counted("log.error") >= 1, "the error that tells of it")
    site.stop()
    receiver.stop()


@pytest.mark.workers(WORKERS[0])
def test_many_requests_are_few_datagrams(monoceros):
    receiver = Receiver()
    site = monoceros(config=f"""
        statsd_host = "127.0.0.1:{receiver.port}"
        keepalive = 10s
        pool "web" {{ worker_class = {{worker}} }}
        server "main" {{ listen = "{{address}}"  route "all" {{ respond {{ body = "here" }} }} }}
    """)
    with site.connect() as client:
        for _ in range(100):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 30)
            for _ in range(30):
                assert client.read().status == 200
    until(lambda: sum(int(value.split("|")[0]) for value in values(receiver, "gunicorn.requests")) == 3000, "all requests")
    sampled = values(receiver, "gunicorn.request.duration")
    assert len(sampled) < 3000 and len(receiver.packets) < 300
    weight = sum(1 / float(value.partition("@")[2] or 1) for value in sampled)
    assert 2990 < weight < 3010
    receiver.stop()
