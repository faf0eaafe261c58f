"""Who the processes are and what they hold open. Privileges need root."""

import os
import pwd
import shutil
import signal
import tempfile

import pytest

from lib import procfs
from lib.limits import until
from lib.server import APPS, BINARY, has_epoll

HERE = APPS / "process"
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def ids(pid):
    """Real, effective, saved and file system ids of user and group, the extra groups, and whether privileges may come back."""
    status = {key: procfs.status(pid, key) for key in ("Uid", "Gid", "Groups", "NoNewPrivs", "CapEff", "CapPrm", "CapAmb")}
    return status


@pytest.fixture
def public(tmp_path):
    """A directory that another user can read: the apps may stand where only root looks."""
    directory = tempfile.mkdtemp(prefix="monoceros-test-")
    os.chmod(directory, 0o755)
    shutil.copy(HERE / "unruly.py", directory)
    yield directory
    shutil.rmtree(directory)


def public_path(path):
    """May everybody walk to it?"""
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


def nobody():
    return pwd.getpwnam("nobody")


def system_python():
    """An interpreter that every user may run."""
    for path in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if os.path.exists(path):
            return path
    pytest.skip("no system interpreter")


@root
@pytest.mark.parametrize("python", [False, True], ids=["native", "python"])
def test_only_the_arbiter_is_root(monoceros, public, python):
    user = nobody()
    if python:
        if not public_path(BINARY):
            pytest.skip("another user cannot reach the build directory")
        site = monoceros("unruly:app", "-w", "2", "-u", "nobody", "--python", system_python(), cwd=public)
        site.wait_workers(2)
        assert site.ask("GET", "/").status == 200
    else:
        site = monoceros(config='user = "nobody"\nworkers = 2\nserver "a" { listen = "{address}" route "all" { respond { body = "here" } } }')
        site.wait_workers(2)
        assert site.ask("GET", "/").text == "here"
    assert ids(site.pid)["Uid"] == ["0"] * 4
    kids = procfs.children(site.pid)
    assert len(kids) == 2 + python
    until(lambda: all(ids(pid)["Uid"][0] != "0" for pid in kids), "workers without privileges")     # one may just have been forked
    for pid in kids:
        found = ids(pid)
        assert found["Uid"] == [str(user.pw_uid)] * 4 and found["Gid"] == [str(user.pw_gid)] * 4, (procfs.title(pid), found)
        assert set(found["Groups"]) <= {str(user.pw_gid)} and found["NoNewPrivs"] == ["1"]
        assert all(int(found[key][0], 16) == 0 for key in ("CapEff", "CapPrm", "CapAmb")), found


@root
def test_group_alone(monoceros):
    site = monoceros(config='group = "nogroup"\nserver "a" { listen = "{address}" route "all" { respond { body = "here" } } }')
    site.wait_workers(1)
    found = ids(site.workers()[0])
    assert found["Uid"][0] == "0" and len(set(found["Gid"])) == 1 and found["Gid"][0] != "0" and found["Groups"] == [found["Gid"][0]]


@root
def test_a_unix_socket_belongs_to_the_user(monoceros, tmp_path):
    path = tmp_path / "site.sock"
    monoceros(config=f'user = "nobody"\numask = "007"\nserver "a" {{ listen = "unix:{path}" route "all" {{ respond {{ body = "here" }} }} }}',
              address=str(path))
    assert path.stat().st_uid == nobody().pw_uid and path.stat().st_mode & 0o777 == 0o770


def kinds(pid):
    """What the descriptors are: files by name, all else by kind."""
    return sorted(target.split(":")[0] if target.startswith(("socket:", "pipe:")) else target for target in procfs.fds(pid).values())


def loop():
    """Descriptors of a worker's loop: its wake-up, and epoll's own."""
    return ["anon_inode:[eventfd]"] + ["anon_inode:[eventpoll]"] * has_epoll()


def holds(pid, wanted):
    """Until these are its descriptors: a worker that has just been born still has a module open."""
    wanted = sorted(wanted)
    until(lambda: kinds(pid) == wanted, f"{pid} to hold only {wanted}, not {kinds(pid)}")


def test_a_native_worker_holds_only_what_it_needs(monoceros, worker_class):
    site = monoceros(config='workers = 3\naccesslog = "-"\nserver "a" { listen = "{address}" route "all" { respond { body = "here" } } }')
    site.wait_workers(3)
    log = str(site.log_path)
    bells = 2 if worker_class == "gthread" else 1       # threads have one more, to call back whoever has the loop
    for pid in site.workers():      # stdio, error log, access log, listener, channel, its loop and its signals
        holds(pid, ["/dev/null"] + [log] * 4 + ["socket"] * 2 + ["anon_inode:[eventfd]"] * (bells - 1) + loop())


def test_python_processes_hold_only_what_they_need(monoceros, worker_class):
    site = monoceros("unruly:app", "-w", "3", cwd=HERE)
    site.wait_workers(3)
    log = str(site.log_path)
    for pid in procfs.children(site.pid):
        bells = 2 if worker_class == "gthread" and pid in site.workers() else 1
        holds(pid, ["/dev/null"] + [log] * 3 + ["socket"] * 2 + ["anon_inode:[eventfd]"] * (bells - 1) + loop())


def test_a_subprocess_inherits_nothing(monoceros):
    site = monoceros("unruly:app", "--access-logfile", "-", cwd=HERE)
    lines = site.ask("GET", "/inherited").text.strip().split("\n")
    numbers = {line.split(" -> ")[0].split()[-1] for line in lines if " -> " in line}
    assert numbers == {"0", "1", "2", "3"}, lines       # 3: the directory that ls reads


def test_descriptors_of_the_caller_go_nowhere(monoceros, tmp_path):
    """What was left open when we were started is neither the workers' nor the apps'."""
    secret = tmp_path / "secret"
    secret.write_text("x", encoding="utf-8")
    fd = os.open(secret, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        site = monoceros("unruly:app", cwd=HERE, prefix=["sh", "-c", f'exec 9<"{secret}"; exec "$@"', "sh"])
        site.wait_workers(1)
        for pid in procfs.children(site.pid):
            assert str(secret) not in procfs.fds(pid).values()
    finally:
        os.close(fd)


def test_started_without_stdio(monoceros):
    """No socket may end up as somebody's stdout."""
    site = monoceros(config='server "a" { listen = "{address}" route "all" { respond { body = "here" } } }',
                     prefix=["sh", "-c", 'exec <&- >&- 2>&-; exec "$@"', "sh"])
    assert site.ask("GET", "/").text == "here"
    for pid in [site.pid, *procfs.children(site.pid)]:
        found = procfs.fds(pid)
        assert [found[fd] for fd in (0, 1, 2)] == ["/dev/null"] * 3


def test_nothing_grows(monoceros):
    """Births and deaths leave no descriptor and no zombie behind."""
    site = monoceros(config='workers = 2\nserver "a" { listen = "{address}" route "all" { respond { body = "here" } } }')
    site.wait_workers(2)
    before = len(procfs.fds(site.pid))
    for _ in range(10):
        victim = site.wait_workers(2)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in site.workers() and len(site.workers()) == 2, "the successor")
    until(lambda: len(procfs.fds(site.pid)) == before, f"{before} descriptors in the arbiter")
    assert not any(procfs.zombie(pid) for pid in procfs.of_session(site.pid))
