"""20,000 kept connections in one worker: what each costs, and that the worker has an answer for a newcomer."""

import time

import pytest

from lib import idle

COUNT = idle.allowed(20000)


@pytest.mark.workers("epoll", "gthread")
def test_memory_of_idle_connections(monoceros, worker_class):
    site = monoceros(config=idle.SITE.replace("CONNECTIONS", str(COUNT + 1000)))
    connections = []
    try:
        each = idle.bytes_each(site, site.wait_workers(1)[0], COUNT, connections)
        start = time.monotonic()
        assert site.ask("GET", "/").text == "here"
        print(f"\n{worker_class}: {COUNT} idle connections, {each:.0f} bytes each; a newcomer's answer in {(time.monotonic() - start) * 1000:.2f} ms")
        assert each <= 1024
        for sock in connections[::100]:         # they are alive
            sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        for sock in connections:
            sock.close()
