"""Configurations in the shape of public projects, served as they are; and the same converted."""

import http.client
import multiprocessing
import shutil
import signal
import socket

import pytest
from lib.fixtures import WORKERS, factory
from lib.server import APPS, free_port, run, without_origins

pytestmark = [pytest.mark.python, pytest.mark.skipif(not {"sync", "gthread"} <= set(WORKERS), reason="the files name sync and gthread")]
PROJECTS = APPS / "gunicorn"


@pytest.fixture
def project(monoceros, tmp_path):
    """project(name): a server in a copy of the project, and its directory."""
    def start(name, *arguments, env=None, convert=False):
        place = tmp_path / name
        if not place.exists():
            shutil.copytree(PROJECTS / name, place)
        port = free_port()
        env = {"SITE_PORT": str(port), "SITE_SOCKET": str(tmp_path / "site.sock"), **(env or {})}
        if convert:
            done = run("--convert", "gunicorn.conf.py", cwd=place, env=env)
            assert done.returncode == 0, done.stderr
            (place / "monoceros.conf").write_text(done.stdout, encoding="utf-8")
            done = run("--check-config", *arguments, cwd=place, env=env)
            assert done.returncode == 0, done.stderr
        site = monoceros(*arguments, bind=None, address=("127.0.0.1", port), cwd=place, env=env, python=True)
        return site, place
    return start


@pytest.fixture
def monoceros(tmp_path, request):
    """The class of the workers is the files' own affair."""
    request.node.servers = []
    yield from factory(None, tmp_path, request.node.servers)


@pytest.mark.parametrize("convert", [False, True])
def test_inventory(project, tmp_path, convert):
    site, place = project("inventory", convert=convert)
    answer = site.ask("GET", "/x", headers=[("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")])
    assert answer.text == "production a=b https"
    site.wait_workers(multiprocessing.cpu_count() * 2 + 1)
    client = http.client.HTTPConnection("localhost")
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(str(tmp_path / "site.sock"))
    client.request("GET", "/unix")
    assert client.getresponse().status == 200
    client.close()
    site.wait_log(r"INI \[DEBUG\] inventory asked for /unix\n")
    site.wait_log(r'192\.0\.2\.7 - "GET /x HTTP/1\.1" 200 20 0\.\d+')
    assert "Using worker: gthread" in site.log()


@pytest.mark.parametrize("convert", [False, True])
def test_documents(project, convert):
    site, place = project("documents", "project.wsgi", env={"DOCUMENTS_WEBSERVER_WORKERS": "1"}, convert=convert)
    assert site.ask("GET", "/").text == "something eggs"
    pid = site.wait_workers(1)[0]
    assert f"[INFO] Worker spawned (pid: {pid})" in site.log() and "[INFO] Server is ready. Spawning workers" in site.log()
    assert ("gunicorn.conf.py:92: ssl_context does not exist here" in site.log()) == (not convert)
    site.signal(signal.SIGINT)
    assert site.wait() == 0
    assert "[INFO] worker received INT or QUIT signal" in site.log()


@pytest.mark.parametrize("convert", [False, True])
def test_survey(project, convert):
    site, place = project("survey", env={"MAX_WORKERS": "2"}, convert=convert)
    assert site.ask("GET", "/").text == "42"
    site.wait_workers(2)
    site.wait_log(r'\{"level": "INFO", "logger": "survey", "message": "a survey"\}\n')
    site.wait_log(r'\{"level": "INFO", "logger": "gunicorn.error", "message": "Worker 2 has its app: True"\}\n')


@pytest.mark.parametrize("name", ["inventory", "documents", "survey"])
def test_a_converted_file_is_the_same(tmp_path, name):
    place = tmp_path / name
    shutil.copytree(PROJECTS / name, place)
    env = {"SITE_PORT": str(free_port()), "SITE_SOCKET": str(tmp_path / "site.sock")}
    app = ["project.wsgi"] if name == "documents" else []
    before = run("--print-config", *app, cwd=place, env=env)
    done = run("--convert", "gunicorn.conf.py", cwd=place, env=env)
    assert before.returncode == done.returncode == 0, before.stderr + done.stderr
    (place / "monoceros.conf").write_text(done.stdout, encoding="utf-8")
    after = run("--print-config", *app, cwd=place, env=env)
    assert after.returncode == 0, after.stderr
    assert without_origins(after.stdout) == without_origins(before.stdout)
