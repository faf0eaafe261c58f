"""A name server under a script: answers by (name, type) from a table, or raw bytes; counts what it is asked.

    with Names() as names:
        names.table["api.test"] = {"A": ["127.0.0.1"], "TTL": 1}
        names.text                  # "127.0.0.1:5353": for resolver = {...}

A value in the table may also be a function of (query bytes, type) that gives the whole answer, or None for silence.
"""

import ipaddress
import socket
import struct
import threading

TYPES = {"A": 1, "AAAA": 28, "SRV": 33}


def encode(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def decode(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels).lower(), at + 1


def rdata(kind, value):
    if kind == "SRV":
        priority, weight, port, target = value
        return struct.pack(">HHH", priority, weight, port) + encode(target)
    return ipaddress.ip_address(value).packed


class Names:
    def __init__(self):
        self.table = {}
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.text = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.stopping = False
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()

    def count(self, name):
        return sum(1 for asked, _ in self.asked if asked == name)

    def serve(self):
        while not self.stopping:
            query, peer = self.socket.recvfrom(4096)
            if len(query) < 17:
                continue
            name, at = decode(query, 12)
            number = struct.unpack(">H", query[at:at + 2])[0]
            kind = next((key for key, value in TYPES.items() if value == number), "?")
            self.asked.append((name, kind))
            entry = self.table.get(name)
            answer = entry(query, kind) if callable(entry) else self.answer(query, at + 4, entry, kind)
            for packet in answer if isinstance(answer, list) else [answer]:
                if packet is not None:
                    self.socket.sendto(packet, peer)

    def answer(self, query, end, entry, kind):
        """A proper one: NXDOMAIN for what is not in the table."""
        values = (entry or {}).get(kind, [])
        head = query[:2] + struct.pack(">HHHHH", 0x8180 if entry is not None else 0x8183, 1, len(values), 0, 0)
        records = b""
        for value in values:
            data = rdata(kind, value)
            records += b"\xc0\x0c" + struct.pack(">HHIH", TYPES[kind], 1, entry.get("TTL", 1), len(data)) + data
        return head + query[12:end] + records
