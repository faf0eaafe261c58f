"""An app that is linked into the server, and what a developer of apps finds installed. One build of the whole tree, in a folder of its own."""
import os
import shutil
import socket
import subprocess
import time

import pytest

TOP = os.environ.get("MONOCEROS_SRCDIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = 'app "x" { type = answer }\nserver "main" { listen = "unix:%s/sock"  route "all" { app = x } }\n'


def run(*command, cwd, ok=True, **env):
    foreign = ("CFLAGS", "LDFLAGS", "CPPFLAGS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    keep = {key: value for key, value in os.environ.items() if key not in foreign}
    done = subprocess.run(command, cwd=cwd, env={**keep, **env}, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    place = tmp_path_factory.mktemp("native")
    run(f"{TOP}/configure", "--prefix=/usr", "--without-python", f"--add-module={TOP}/tests/apps/native/static", "CFLAGS=-O0", cwd=place)
    run("make", "-s", cwd=place)
    return place


def ask(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.timeout(900)
def test_an_app_that_is_part_of_the_program(build, tmp_path):
    (tmp_path / "c.conf").write_text(CONFIG % tmp_path)
    assert "configuration is ok" in run(build / "objs/monoceros", "-c", tmp_path / "c.conf", "--check-config", cwd=tmp_path)
    server = subprocess.Popen([build / "objs/monoceros", "-c", tmp_path / "c.conf"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "sock").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ask(str(tmp_path / "sock")).endswith(b"\r\n\r\n42")
    finally:
        server.terminate()
        assert server.wait(30) == 0
    (tmp_path / "c.conf").write_text((CONFIG % tmp_path).replace("answer", 'answer  module = "x"'))
    assert "has no module or symbol" in run(build / "objs/monoceros", "-c", tmp_path / "c.conf", "--check-config", cwd=tmp_path, ok=False)


@pytest.mark.timeout(900)
def test_apps_are_built_from_what_is_installed(build, tmp_path):
    root = tmp_path / "root"
    run("make", "-s", "install", f"DESTDIR={root}", cwd=build)
    assert (root / "usr/include/monoceros/app.h").exists()
    if not shutil.which("pkg-config"):
        pytest.skip("no pkg-config")
    flags = run("pkg-config", "--cflags", "monoceros", cwd=tmp_path, PKG_CONFIG_PATH=f"{root}/usr/lib/pkgconfig", PKG_CONFIG_SYSROOT_DIR=str(root),
                PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1").split()
    run("cc", "-shared", "-fPIC", *flags, "-o", tmp_path / "hello.so", f"{TOP}/conf/examples/native/hello.c", cwd=tmp_path)
    assert "configuration is ok" in run(build / "objs/monoceros", "./hello.so", "--check-config", cwd=tmp_path)
    run("make", "-s", "uninstall", f"DESTDIR={root}", cwd=build)
    assert not [name for _, _, names in os.walk(root) for name in names]
