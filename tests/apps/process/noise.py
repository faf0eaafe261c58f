"""An app whose process writes noise over its own slot of the scoreboard (/noise?N does so for N rounds and answers with its pid), or over all zones
(/zones?N)."""

import ctypes
import os
import struct


def mapped(name):
    """Where shared memory of that name is in this process: begin and end."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        for line in maps:
            if name in line:
                return [int(word, 16) for word in line.split()[0].split("-")]
    raise RuntimeError(f"no {name}")


def own_slot():
    """Address and size of the slot that has our pid in it."""
    begin, end = mapped("monoceros-board")
    slot_size, count, at = struct.unpack_from("=3I", ctypes.string_at(begin + 52, 12))
    for index in range(count):
        address = begin + at + index * slot_size
        assert address + slot_size <= end
        if struct.unpack_from("=i", ctypes.string_at(address + 8, 4))[0] == os.getpid():
            return address, slot_size
    raise RuntimeError("no slot of ours")


def app(environ, start):
    if environ["PATH_INFO"] == "/noise":
        address, size = own_slot()
        for _ in range(int(environ["QUERY_STRING"])):
            ctypes.memmove(address, os.urandom(size), size)
        ctypes.memset(address, 0xFF, size)
    elif environ["PATH_INFO"] == "/zones":
        begin, end = mapped("monoceros-zones")
        for _ in range(int(environ["QUERY_STRING"])):
            ctypes.memmove(begin, os.urandom(end - begin), end - begin)
    start("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
