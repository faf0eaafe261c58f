"""Servers that logs are sent to: datagrams by UDP or a unix socket, and a stream."""

import os
import socket
import threading


class Receiver:
    """Gathers what arrives: texts() so far. Ends with stop()."""

    def __init__(self, address=("127.0.0.1", 0), stream=False, family=None):
        family = family or (socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        if stream:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        self.path = address if isinstance(address, str) else None
        if self.path:
            os.chmod(address, 0o666)
        self.address = self.socket.getsockname()
        self.socket.settimeout(0.2)
        self.packets, self.bytes, self.stopped = [], {}, False
        if stream:
            self.socket.listen()
        self.threads = [threading.Thread(target=self.accept if stream else self.receive, daemon=True)]
        self.threads[0].start()

    @property
    def port(self):
        return self.address[1]

    def receive(self):
        while not self.stopped:
            try:
                self.packets.append(self.socket.recv(65536))
            except TimeoutError:
                continue
            except OSError:
                return

    def accept(self):
        while not self.stopped:
            try:
                client, _ = self.socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self.read, args=(client,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def read(self, client):
        with client:
            client.settimeout(0.2)
            while not self.stopped:
                try:
                    data = client.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                self.bytes[client.fileno()] = self.bytes.get(client.fileno(), b"") + data
                self.unframe()

    def unframe(self):
        """RFC 6587 octet counting; what is whole so far."""
        packets = []
        for data in list(self.bytes.values()):
            while b" " in data[:8]:
                length, _, rest = data.partition(b" ")
                if len(rest) < int(length):
                    break
                packets.append(rest[:int(length)])
                data = rest[int(length):]
        self.packets = packets

    def texts(self):
        return [packet.decode("utf-8", "replace") for packet in list(self.packets)]

    def stop(self):
        self.stopped = True
        self.socket.close()
        for thread in self.threads:
            thread.join(5)
        if self.path:
            os.unlink(self.path)
