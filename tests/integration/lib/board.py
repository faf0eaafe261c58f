"""Reads the scoreboard of a running server: core/process/scoreboard.c (head) and core/server/slot.h (slots)."""

import struct
from collections import namedtuple

from lib import procfs

HEAD = struct.Struct("=2I32s6I")
MAGIC = 0x4D434244
VERSION = 2
SLOT = struct.Struct("=2Ii3I6Q6Q2Q16Q256s3Q7I4x3Q")
STATES = ("empty", "starting", "idle", "busy", "draining")
Slot = namedtuple("Slot", "index pid generation pool state started beat busy_since accepted requests connections status busy running")


def slots(arbiter):
    """Slots of living workers. The file is found among the arbiter's descriptors; pread() through /proc needs no mapping."""
    for number, target in procfs.fds(arbiter).items():
        if "monoceros-board" in target:
            break
    else:
        raise AssertionError("the arbiter has no scoreboard open")
    with open(f"/proc/{arbiter}/fd/{number}", "rb") as file:
        data = file.read()
    magic, version, _, _, _, _, size, count, at = HEAD.unpack_from(data)
    assert magic == MAGIC and version == VERSION and size >= SLOT.size, (hex(magic), version, size)
    found = []
    for index in range(count):
        words = SLOT.unpack_from(data, at + index * size)
        if words[2] > 0 and words[5]:
            found.append(Slot(words[1], words[2], words[3], words[4], STATES[words[5]], *words[6:12], words[12:18],
                              words[36].split(b"\0")[0].decode("latin-1"), words[42]))
    return found
