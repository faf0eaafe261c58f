"""Disks that are full or not there: of bodies, responses and logs."""

import os
import shutil
import signal
import subprocess

import pytest

from lib import wire
from lib.limits import until

pytestmark = pytest.mark.python


@pytest.fixture
def tiny(tmp_path):
    """A file system with room for half a megabyte, and a config file that names it."""
    place = tmp_path / "tiny"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("needs to mount a tmpfs")
    config = tmp_path / "tiny.conf"
    config.write_text(f'tmp_upload_dir = "{place}"\nresponse_buffer = 64k\n', encoding="utf-8")
    yield config, lambda: os.statvfs(place).f_bavail == os.statvfs(place).f_blocks
    subprocess.run(["umount", "-l", place], check=True)


def test_no_room_for_a_body(monoceros, tiny):
    config, empty = tiny
    site = monoceros("-c", config, "basic:app")
    body = b"x" * (2 << 20)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for request in (wire.request("POST", "/digest", body=body),
                    wire.request("POST", "/digest", headers=[("Transfer-Encoding", "chunked")]) + chunked):
        with site.connect() as client:
            try:
                client.send(request)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert client.read().status == 500
        assert site.ask("GET", "/").status == 200
        until(empty, "the room to be given back")
    site.wait_log("cannot keep a request body in .*: No space left on device")


def test_no_room_for_a_response(monoceros, tiny):
    """The app waits for its client then; what the client gets is whole."""
    config, empty = tiny
    site = monoceros("-c", config, "basic:app")
    with site.connect(rcvbuf=4096) as client:
        client.send(wire.request("GET", "/stream?count=96&size=65536", close=True))
        site.wait_log("cannot keep a response in .*: No space left on device")
        assert len(client.read().body) == 96 * 65536
    assert site.ask("GET", "/").status == 200
    until(empty, "the room to be given back")


def test_a_place_for_bodies_that_is_not_there(monoceros, tmp_path):
    config = tmp_path / "no.conf"
    config.write_text('tmp_upload_dir = "/nonexistent"\n', encoding="utf-8")
    site = monoceros("-c", config, "basic:app", ready=False)
    assert site.wait() == 1
    assert "no.conf:1: tmp_upload_dir: there is no directory /nonexistent" in site.stop()


def test_logs_on_a_full_disk(monoceros):
    site = monoceros("basic:app", "--access-logfile", "/dev/full", "--error-logfile", "/dev/full")
    for number in (0, signal.SIGUSR1):
        if number:
            site.signal(number)
        for _ in range(20):
            assert site.ask("GET", "/").status == 200


def test_a_log_directory_that_is_gone_and_comes_back(monoceros, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    site = monoceros("basic:app", "--access-logfile", logs / "access", "--error-logfile", logs / "error")
    shutil.rmtree(logs)
    assert site.ask("GET", "/").status == 200
    site.signal(signal.SIGUSR1)                         # cannot be opened: the old ones stay
    assert site.ask("GET", "/").status == 200
    logs.mkdir()
    site.signal(signal.SIGUSR1)
    until(lambda: (logs / "access").exists(), "the new logs")
    until(lambda: site.ask("GET", "/?new").status == 200 and "/?new" in (logs / "access").read_text(), "a line in the new log")


def test_nobody_reads_the_log(monoceros, tmp_path):
    """A pipe that is full: lines are dropped and counted, nobody waits."""
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    site = monoceros("basic:app", "--access-logfile", "-", "--log-level", "debug", prefix=["sh", "-c", f'exec "$@" >{fifo} 2>&1', "sh"])
    for _ in range(1500):                               # more than the access log gathers
        assert site.ask("GET", "/").status == 200
    seen = b""

    def told():
        nonlocal seen
        site.ask("GET", "/")
        try:
            seen += os.read(reader, 1 << 20)
        except BlockingIOError:
            pass
        return b"lines of this log could not be written" in seen and b"lines were dropped, writing works again" in seen
    until(told, "the reports of what is missing")
    site.stop()
    os.close(reader)

