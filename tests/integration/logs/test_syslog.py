"""Logs to a syslog server: what arrives there, and what happens when it is slow, gone or new."""

import re
import socket

import pytest

from lib import procfs
from lib.fixtures import WORKERS
from lib.limits import until
from lib.receivers import Receiver

RFC5424 = re.compile(r"<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S+) (\S+) (\d+) (error|access) - (.*)", re.S)
CONFIG = """
syslog = yes
{settings}
pool "web" { worker_class = {worker} }
server "main" { listen = "{address}"  route "quiet" { match { exact = "/quiet" } access_log = off  respond { body = "quiet" } }
                route "all" { respond { body = "here" } } }
"""


@pytest.fixture
def receivers():
    made = []

    def make(*args, **kwargs):
        made.append(Receiver(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        if not one.stopped:
            one.stop()


def start(monoceros, settings, **options):
    return monoceros(config=CONFIG.replace("{settings}", settings), **options)


def lines(receiver, log):
    return [found for found in map(RFC5424.fullmatch, receiver.texts()) if found and found[6] == log]


@pytest.mark.parametrize("kind", ["unix", "udp", "tcp"])
def test_both_logs_arrive(monoceros, receivers, tmp_path, kind):
    receiver = receivers(str(tmp_path / "log")) if kind == "unix" else receivers(stream=kind == "tcp")
    to = f"unix://{tmp_path}/log#dgram" if kind == "unix" else f"{kind}://localhost:{receiver.port}"
    site = start(monoceros, f'syslog_addr = "{to}"\nsyslog_prefix = "shop"\nsyslog_facility = local3')
    assert site.ask("GET", "/one?x=1").status == 200
    assert site.ask("GET", "/quiet").status == 200
    assert site.ask("GET", "/two").status == 200
    until(lambda: len(lines(receiver, "access")) >= 2, "two lines")
    one, two = sorted(found[7] for found in lines(receiver, "access"))
    assert '"GET /one?x=1 HTTP/1.1" 200 4' in one and '"GET /two HTTP/1.1"' in two
    access = lines(receiver, "access")[0]
    assert int(access[1]) == 19 * 8 + 6 and access[4] == "monoceros.shop.access" and access[3] == socket.gethostname()
    assert int(access[5]) in site.wait_workers(1)
    site.stop()
    until(lambda: any("Shutting down: Master" in found[7] for found in lines(receiver, "error")), "the last line")
    errors = lines(receiver, "error")
    assert {found[4] for found in errors} == {"monoceros.shop.error"}
    assert {int(found[5]) for found in errors} >= {site.pid, int(access[5])}
    assert all(found[1] == "158" for found in errors if "Listening at" in found[7])
    # every line of the error log, and they stand in both
    told = sorted(re.sub(r"^\[.*?\] \[\d+\] \[[A-Z]+\] ", "", line) for line in site.log().splitlines())
    until(lambda: sorted(found[7] for found in lines(receiver, "error")) == told, "all lines")


def test_the_access_log_may_stay_away(monoceros, receivers):
    receiver = receivers()
    site = start(monoceros, f'syslog_addr = "udp://127.0.0.1:{receiver.port}"\ndisable_redirect_access_to_syslog = yes')
    assert site.ask("GET", "/one").status == 200
    site.stop()
    until(lambda: any("Shutting down" in text for text in receiver.texts()), "the last line")
    assert not lines(receiver, "access") and lines(receiver, "error")


def test_the_older_form(monoceros, receivers, tmp_path):
    receiver = receivers(str(tmp_path / "log"))
    site = start(monoceros, f'syslog_addr = "unix://{tmp_path}/log"\nsyslog_format = rfc3164\nproc_name = "a:b c"')
    assert site.ask("GET", "/one").status == 200
    form = re.compile(r"<14>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d monoceros\.a\.b_c\.(error|access)\[\d+\]: .*", re.S)
    until(lambda: any("/one" in text for text in receiver.texts()), "the line")
    assert all(form.fullmatch(text) for text in receiver.texts())


@pytest.mark.workers(WORKERS[0])
def test_a_server_that_comes_late_and_goes(monoceros, receivers, tmp_path):
    """Requests are answered all the while; what is told later, and what is lost is counted, stands in the log."""
    to = str(tmp_path / "log")
    site = start(monoceros, f'syslog_addr = "unix://{to}"')
    for _ in range(50):
        assert site.ask("GET", "/early").status == 200
    receiver = receivers(to)
    until(lambda: sum("/early" in found[7] for found in lines(receiver, "access")) == 50, "the lines from before")
    until(lambda: any("Listening at" in found[7] for found in lines(receiver, "error")), "the first lines of the arbiter")
    receiver.stop()
    big = "/" + "x" * 3900
    for _ in range(100):                                # more than is kept
        assert site.ask("GET", big).status == 200
    site.wait_log(r"syslog at unix://.*log#dgram takes no messages \(.*\): they are dropped and counted")
    site.wait_log(r"access log \(syslog\): lines cannot be written and are dropped")
    receiver = receivers(to)
    lost = int(site.wait_log(r"syslog: (\d+) messages were dropped, sending works again")[0][1])

    def back():
        assert site.ask("GET", "/late").status == 200
        return re.search(r"access log \(syslog\): (\d+) lines were dropped, writing works again", site.log())
    dropped = int(until(back, "the count of access lines")[1])
    assert 10 < dropped < 100 and lost >= dropped
    until(lambda: sum("/xxx" in found[7] for found in lines(receiver, "access")) == 100 - dropped, "all others")
    until(lambda: any(f"{lost} messages were dropped" in found[7] for found in lines(receiver, "error")), "the report in syslog")


@pytest.mark.workers(WORKERS[0])
def test_a_server_that_does_not_read(monoceros, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "log"))
        site = start(monoceros, f'syslog_addr = "unix://{tmp_path}/log"')
        for _ in range(200):
            assert site.ask("GET", "/" + "x" * 3900).status == 200
        site.wait_log("syslog at .* takes no messages")
        assert site.ask("GET", "/").status == 200


@pytest.mark.workers(WORKERS[0])
@pytest.mark.parametrize("address, why", [
    ("udp://no.such.host.invalid", "syslog_addr: cannot resolve host 'no.such.host.invalid'"),
    ("syslog.example", None),
    ("http://x/", r"test.conf:\d+: syslog_addr: expected udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, not 'http://x/'"),
])
def test_wrong_addresses(monoceros, address, why):
    site = start(monoceros, f'syslog_addr = "{address}"', ready=False)
    assert site.wait() == 1
    assert re.search(why or "cannot resolve host", site.log())


@pytest.mark.workers(WORKERS[0])
@pytest.mark.python
def test_apps_and_their_tracebacks(monoceros, receivers):
    receiver = receivers()
    site = monoceros("basic:app", "--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{receiver.port}", expect_errors=True)
    assert site.ask("GET", "/fails").status == 500
    until(lambda: any("Traceback (most recent call last)" in found[7] for found in lines(receiver, "error")), "the traceback")
    tb = next(found for found in lines(receiver, "error") if "Traceback" in found[7])
    assert tb[1] == "11" and tb[4] == "monoceros.basic.app.error" and "\n" in tb[7]
    assert len([fd for fd in procfs.fds(site.wait_workers(1)[0]).values() if fd.startswith("socket:")]) == 3    # listener, channel, syslog
