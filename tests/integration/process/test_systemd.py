"""What systemd gives a service and what it wants to hear: sockets (LISTEN_FDS), sd_notify, the units."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from lib import procfs, server as under_test, wire
from lib.limits import patience, until

NATIVE = """
pidfile = "{tmp}/pid"
pool "web" { worker_class = {worker}  workers = 2 }
server "main" { listen = "{address}"  route "all" { respond { body = "here" } } }
"""

# What systemd does between fork and exec: sockets from 3 on, and the pid in the environment. The numbers to take follow after "--".
LAUNCH = """
import fcntl, os, sys
at = sys.argv.index("--")
fds, command = [int(word) for word in sys.argv[1:at]], sys.argv[at + 1:]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200) for fd in fds]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(f"name{i}" for i in range(len(fds))))
os.execv(command[0], command)
"""


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)
        self.heard = []         # (sender, line)

    def listen(self):
        while True:
            try:
                data, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return self.heard
            pid = int.from_bytes(control[0][2][:4], sys.byteorder)
            self.heard += [(pid, line) for line in data.decode().split("\n")]

    def lines(self, pid=None):
        return [line for sender, line in self.listen() if pid in (None, sender)]

    def wait(self, pattern, pid=None, count=1):
        regex = re.compile(pattern)
        return until(lambda: len(found := [line for line in self.lines(pid) if regex.fullmatch(line)]) >= count and found,
                     f"{pattern!r} from {pid}; so far {self.heard[-8:]}")


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}"
    one = Manager(name)
    one.name = name
    yield one
    one.socket.close()


def listening(*addresses):
    made = []
    for address in addresses:
        one = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        one.bind(address)
        one.listen(50)
        one.set_inheritable(True)
        made.append(one)
    return made


def launcher(sockets):
    return [sys.executable, "-c", LAUNCH, *(str(one.fileno()) for one in sockets), "--"]


# --- sd_notify

def test_ready_after_the_first_worker_of_every_pool(monoceros, manager, tmp_path):
    """Not before: the second pool's app waits until it is let."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "late.py").write_text(f"open({str(gate)!r}).read()\nfrom basic import app\n", encoding="utf-8")
    config = f"""
        pool "one" {{ worker_class = {{worker}} }}
        pool "two" {{ worker_class = sync }}
        app "late" {{ type = wsgi  module = "late:app"  pool = two }}
        pythonpath = "{tmp_path},{under_test.APPS}"
        server "a" {{ listen = "{{address}}"  pool = one  route "all" {{ respond {{ body = "here" }} }} }}
        server "b" {{ listen = "unix:{tmp_path}/b.sock"  pool = two  route "all" {{ app = late }} }}
    """
    if "sync" not in under_test.modules():
        pytest.skip("built without sync")
    site = monoceros(config=config, env={"NOTIFY_SOCKET": manager.name})
    manager.wait("STATUS=1 of 2 workers ready", site.pid)
    assert "READY=1" not in manager.lines()
    with open(gate, "w", encoding="ascii"):
        pass
    manager.wait("READY=1", site.pid)
    manager.wait("STATUS=2 of 2 workers ready", site.pid)
    site.signal(signal.SIGTERM)
    manager.wait("STOPPING=1", site.pid)
    assert site.wait() == 0
    lines = manager.lines()
    assert lines.count("READY=1") == 1 and not [line for line in lines if line.startswith(("WATCHDOG", "MAINPID"))]
    assert "EXTEND_TIMEOUT_USEC=35000000" in lines
    assert {sender for sender, _ in manager.heard} == {site.pid}


def test_watchdog(monoceros, manager):
    site = monoceros(config=NATIVE, env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "400000"})
    manager.wait("WATCHDOG=1", site.pid, 4)
    site.signal(signal.SIGSTOP)
    before = len(manager.lines())
    site.signal(signal.SIGCONT)
    until(lambda: len(manager.lines()) > before, "signs of life again")


def test_apps_know_nothing_of_it(monoceros, manager, tmp_path):
    (tmp_path / "words.py").write_text("""
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(key for key in os.environ if key.startswith(("NOTIFY", "WATCHDOG", "LISTEN_"))).encode()]
""", encoding="utf-8")
    site = monoceros("words:app", "--pythonpath", tmp_path, env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "30000000"})
    assert site.ask("GET", "/").text == ""


@pytest.mark.parametrize("name", ["nonsense", "/", "{tmp}/nobody"])
def test_a_manager_that_does_not_listen(monoceros, tmp_path, name):
    site = monoceros(config=NATIVE, env={"NOTIFY_SOCKET": name.replace("{tmp}", str(tmp_path))})
    assert site.ask("GET", "/").text == "here"
    site.wait_log(r"\[WARNING\] .*NOTIFY_SOCKET")


@pytest.mark.skipif(bool(under_test.UNDER), reason="the program that is started anew is valgrind there")
def test_the_main_process_of_an_upgrade(monoceros, manager):
    """The old one names the new one before it leaves; until then the new one is silent, as its words would not be taken."""
    site = monoceros(config=NATIVE, env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": ""})
    manager.wait("READY=1", site.pid)
    site.signal(signal.SIGUSR2)
    new = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready")[0][1])
    assert not manager.lines(new)
    site.signal(signal.SIGTERM)
    manager.wait(f"MAINPID={new}", site.pid)
    manager.wait("READY=1", new)
    manager.wait("STATUS=2 of 2 workers ready", new)
    assert site.wait() == 0
    assert "STOPPING=1" not in manager.lines(site.pid)
    os.kill(new, signal.SIGTERM)
    manager.wait("STOPPING=1", new)
    until(lambda: not procfs.alive(new), "the new one to end")


# --- socket activation

def test_sockets_stand_in_for_bind(monoceros, tmp_path):
    """As users of Gunicorn know it; the socket stays, and what comes between two services waits for the second."""
    sockets = listening(("127.0.0.1", 0), str(tmp_path / "a.sock"))
    address = sockets[0].getsockname()
    options = dict(prefix=launcher(sockets), pass_fds=[one.fileno() for one in sockets], address=address)
    site = monoceros("basic:app", "-b", "127.0.0.1:1", **options)
    assert site.ask("GET", "/").status == 200 and wire.ask(str(tmp_path / "a.sock"), "GET", "/").status == 200
    site.wait_log(rf"Listening at: http://127\.0\.0\.1:{address[1]},unix:{tmp_path}/a\.sock ")
    site.stop()
    assert (tmp_path / "a.sock").exists()
    with wire.Connection(address) as early:
        early.send(wire.request("GET", "/"))
        monoceros("basic:app", **options)
        assert early.read().status == 200
    for one in sockets:
        one.close()


def test_sockets_match_the_servers_of_a_file(monoceros, tmp_path):
    """By address, whatever the order; the rest is bound, and what nobody wants is told."""
    path, own = str(tmp_path / "given.sock"), str(tmp_path / "own.sock")
    sockets = listening(("127.0.0.1", 0), path, ("127.0.0.1", 0))
    address = sockets[2].getsockname()
    config = f"""
        pool "web" {{ worker_class = {{worker}} }}
        server "a" {{ listen = {{"unix:{path}", "unix:{own}"}}  route "all" {{ respond {{ body = "files" }} }} }}
        server "b" {{ listen = "127.0.0.1:{address[1]}"  route "all" {{ respond {{ body = "port" }} }} }}
    """
    options = dict(config=config, prefix=launcher(sockets), pass_fds=[one.fileno() for one in sockets], address=address)
    for _ in range(2):
        site = monoceros(**options)
        assert wire.ask(path, "GET", "/").text == "files" and wire.ask(own, "GET", "/").text == "files"
        assert site.ask("GET", "/").text == "port"
        site.wait_log(rf"\[WARNING\] .*127\.0\.0\.1:{sockets[0].getsockname()[1]} .*no server listens there")
        site.stop()
        assert os.path.exists(path) and not os.path.exists(own)
    for one in sockets:
        one.close()


def test_any_address_of_systemd_covers_ipv4(monoceros):
    """ListenStream=8000 is [::]:8000, which takes IPv4, too."""
    with socket.socket(socket.AF_INET6) as given:
        given.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        given.bind(("::", 0))
        given.listen(50)
        given.set_inheritable(True)
        port = given.getsockname()[1]
        config = NATIVE.replace('"{address}"', f'"0.0.0.0:{port}"')
        site = monoceros(config=config, prefix=launcher([given]), pass_fds=[given.fileno()], address=("127.0.0.1", port))
        assert site.ask("GET", "/").text == "here"


@pytest.mark.skipif(bool(under_test.UNDER), reason="the program that is started anew is valgrind there")
@pytest.mark.parametrize("named", [False, True], ids=["plain", "file"])
def test_an_upgrade_has_them_too(monoceros, tmp_path, named):
    sockets = listening(("127.0.0.1", 0), str(tmp_path / "a.sock"))
    address = sockets[0].getsockname()
    options = dict(prefix=launcher(sockets), pass_fds=[one.fileno() for one in sockets], address=address)
    if named:
        site = monoceros(config=f"""
            pool "web" {{ worker_class = {{worker}} }}
            server "a" {{ listen = {{"unix:{tmp_path}/a.sock", "127.0.0.1:{address[1]}"}}  route "all" {{ respond {{ body = "here" }} }} }}
        """, **options)
    else:
        site = monoceros("basic:app", **options)
    site.wait_log("Booting worker")
    site.ask("GET", "/")
    site.signal(signal.SIGUSR2)
    new = int(site.wait_log(r"The new master \(pid:(\d+)\) is ready")[0][1])
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    for one in (address, str(tmp_path / "a.sock")):
        assert wire.ask(one, "GET", "/").status == 200
    os.kill(new, signal.SIGTERM)
    until(lambda: not procfs.alive(new), "the new one to end")
    assert (tmp_path / "a.sock").exists()
    for one in sockets:
        one.close()


def test_sockets_for_somebody_else(monoceros):
    """LISTEN_PID of a parent that forgot to remove it."""
    site = monoceros(config=NATIVE, env={"LISTEN_PID": "1", "LISTEN_FDS": "3"})
    assert site.ask("GET", "/").text == "here"


def test_what_is_no_socket(monoceros):
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    site = monoceros("basic:app", prefix=[sys.executable, "-c", LAUNCH, str(reader), "--"], pass_fds=[reader], ready=False)
    assert site.wait() == 1 and "descriptor 3, handed down as name0, is no listening socket" in site.log()
    os.close(reader)
    os.close(writer)


# --- the units

@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_the_units_are_sound_and_tight(tmp_path):
    for name in ("monoceros.service", "monoceros.socket"):
        text = (under_test.ROOT / "conf" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("@bindir@/monoceros", under_test.BINARY).replace("@sysconfdir@", "/etc"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(tmp_path / "monoceros.service")], text=True,
                          capture_output=True, timeout=patience(60), check=False)
    if "exposure level" not in done.stdout:
        pytest.skip(f"this systemd-analyze knows no --offline: {done.stderr[-200:]}")
    assert float(re.search(r"exposure level for monoceros\.service: ([\d.]+)", done.stdout)[1]) <= 2.0     # Debian's nginx.service: 9.6
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())], text=True, capture_output=True,
                          timeout=patience(60), check=False)
    assert not [line for line in done.stderr.splitlines() if "monoceros." in line], done.stderr
