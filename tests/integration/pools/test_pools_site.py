"""A site of several pools: the example file, workers of every type behind one server, and pools that are different users."""

import os
import pwd
import shutil
from pathlib import Path

import pytest

from lib import procfs
from lib import server as under_test
from lib.fixtures import WORKERS
from lib.limits import until
from lib.server import APPS, BINARY, ROOT, free_port

pytestmark = [pytest.mark.python, pytest.mark.workers(WORKERS[0])]
NATIVE = Path(os.environ.get("MONOCEROS_OBJS") or Path(BINARY).parent) / "tests/apps/native"


@pytest.mark.skipif(not {"epoll", "gthread", "sync"} <= set(WORKERS), reason="needs three worker types")
def test_the_example(monoceros):
    address = ("127.0.0.1", free_port())
    site = monoceros("-c", ROOT / "conf/examples/pools.conf", "--worker-class", "epoll", address=address, python=True, cwd=APPS / "pools",
                     env={"SHOP": "hop:app", "REPORTS": "hop:app", "LISTEN": f"127.0.0.1:{address[1]}"})
    site.wait_workers(5)
    assert site.ask("GET", "/health").text == "ok\n"
    shop, reports = site.ask("GET", "/").text, site.ask("GET", "/reports/x").text
    assert shop != reports and {int(shop), int(reports)} <= set(site.workers())
    with open(f"/proc/{reports}/environ", "rb") as file:
        ours = b"REPORTS=yes" in file.read()
    assert ours or b"REPORTS=hop:app" in Path(f"/proc/{shop}/environ").read_bytes()


@pytest.mark.skipif(not (NATIVE / "flow.so").exists(), reason="no native apps are built")
def test_one_server_with_every_type_behind_it(monoceros):
    takes = {"flow": ("epoll", "gthread", "sync", "greenlet"), "kit": ("greenlet", "gthread", "sync"), "hop": ("gthread", "sync")}
    text = f'pool "front" {{ worker_class = {WORKERS[0]}  workers = 2 }}\n'
    routes, expected = "", {}
    for app, types in takes.items():
        for kind in types:
            if kind not in WORKERS:
                continue
            name = f"{app}-{kind}"
            module = f'type = wsgi  module = "hop:app"  chdir = "{APPS / "pools"}"' if app == "hop" else f'type = native  module = "{NATIVE}/{app}.so"'
            text += f'pool "{name}" {{ worker_class = {kind}  workers = 1  threads = 2 }}\napp "{name}" {{ {module}  pool = "{name}" }}\n'
            routes += f'    route "{name}" {{ match {{ header = "X-To: ^{name}$" }}  app = "{name}" }}\n'
            expected[name] = {"flow": ("/later?5", "later"), "kit": ("/sleep?5", "rested"), "hop": ("/echo", "")}[app]
    site = monoceros(config=text + f'server "s" {{ listen = "{{address}}"  pool = front\n{routes}    route "rest" {{ respond {{ status = 404 }} }} }}', python=True)
    site.wait_workers(2 + len(expected))
    for _ in range(3):
        for name, (path, body) in expected.items():
            answer = site.ask("GET", path, headers=[("X-To", name)])
            assert answer.status == 200 and answer.text == body, name
    assert site.ask("GET", "/").status == 404


def may_reach(path):
    return all(os.stat(place).st_mode & 1 for place in [path, *Path(path).parents])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be others")
def test_pools_are_different_users(monoceros, tmp_path_factory):
    nobody, other = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
    python = "/usr/bin/python3"
    public = Path("/var/tmp") / f"monoceros-pools-{os.getpid()}"
    if not may_reach(BINARY) or not os.path.exists(python):
        pytest.skip("another user cannot reach the build directory, or has no interpreter")
    try:
        shutil.copytree(APPS / "pools", public)
        public.chmod(0o755)
        for file in public.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        made = monoceros(config=f"""
python = "{python}"
user = "{nobody.pw_name}"
pool "front" {{ worker_class = {WORKERS[0]}  workers = 1 }}
pool "apps" {{ worker_class = gthread  threads = 2  workers = 1  user = "{other.pw_name}"  env = {{"SECRET=hidden"}} }}
pool "kept" {{ worker_class = gthread  threads = 2  workers = 1 }}
app "a" {{ type = wsgi  module = "hop:app"  chdir = "{public}"  pool = apps }}
app "b" {{ type = wsgi  module = "hop:app"  chdir = "{public}"  pool = kept }}
server "s" {{ listen = "{{address}}"  pool = front  route "b" {{ match {{ prefix = "/b" }}  app = b }}  route "all" {{ app = a }} }}
""", python=True)
        made.wait_workers(3)
        apps, kept = int(made.ask("GET", "/").text), int(made.ask("GET", "/b").text)
        front = next(pid for pid in made.workers() if pid not in (apps, kept))
        until(lambda: procfs.status(front, "Uid") is not None, "the front")
        for pid, user in ((apps, other), (kept, nobody), (front, nobody)):
            assert procfs.status(pid, "Uid") == [str(user.pw_uid)] * 4
            assert procfs.status(pid, "Gid") == [str(user.pw_gid)] * 4
        for pid in (kept, front):
            assert b"SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert os.stat(f"/proc/{apps}").st_uid in (0, other.pw_uid)     # so nobody may not read what is below
    finally:
        shutil.rmtree(public, ignore_errors=True)


def test_printed_pools_are_read_again(tmp_path):
    path = tmp_path / "p.conf"
    path.write_text('pool "a" {}\npool "b" { queue = 7 queue_timeout = 1500ms user = root }\napp "x" { type = wsgi module = "hop:app" pool = b }\n'
                    'server "s" { listen = "127.0.0.1:1" route "r" { app = x } }\n')
    once = under_test.run("-c", path, "--print-config")
    assert once.returncode == 0 and "queue = 7" in once.stdout and "queue_timeout = 1500ms" in once.stdout and "pool:b" not in once.stdout, once.stderr
    path.write_text(once.stdout)
    again = under_test.run("-c", path, "--print-config")

    def settings(text):
        return [line.split(" #")[0].rstrip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert settings(again.stdout) == settings(once.stdout)
