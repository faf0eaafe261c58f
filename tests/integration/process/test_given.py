"""Sockets that somebody else has made: fd://N."""

import os
import signal
import socket

from lib import wire
from lib.limits import until


def test_a_given_socket_stays_with_its_owner(monoceros):
    """What comes during and after the stop waits for the owner's next server; no client is reset."""
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        given.listen(50)
        given.settimeout(10)
        fd = os.dup(given.fileno())
        os.set_inheritable(fd, True)
        address = given.getsockname()
        options = dict(address=address, pass_fds=[fd])
        config = f'server "a" {{ listen = "fd://{fd}" route "all" {{ respond {{ body = "here" }} }} }}'
        site = monoceros(config=config, **options)
        assert site.ask("GET", "/").text == "here"
        assert f"Listening at: http://127.0.0.1:{address[1]} " in site.log()
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        with wire.Connection(address) as client:
            client.send(wire.request("GET", "/"))
            again = monoceros(config=config, **options)
            assert client.read().text == "here"
        until(lambda: again.ask("GET", "/").text == "here", "the second server")
        os.close(fd)


def test_what_is_no_socket(monoceros):
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        site = monoceros(config=f'server "a" {{ listen = "fd://{reader}" route "all" {{ respond {{ body = "here" }} }} }}', ready=False,
                         address=("127.0.0.1", 1), pass_fds=[reader])
        assert site.wait() == 1 and f"fd://{reader}" in site.log()
    finally:
        os.close(reader)
        os.close(writer)
