"""Counts the allocations of a running process, each with the calls that led to it: tests/costs/allocations.c, built here and preloaded."""

import collections
import contextlib
import mmap
import os
import shutil
import struct
import subprocess

from lib.server import BINARY, ROOT, SANITIZED, modules

DEPTH, STACKS = 12, 1021
HEAD, STACK = struct.Struct("QQ"), struct.Struct(f"{2 + DEPTH}Q")


class Unusable(Exception):
    """Nothing can be counted here."""


class Counter:
    """environment() is for the server; with counter.of(pid) as found: afterwards `found` counts by stack, which is a tuple of addresses."""

    def __init__(self, directory):
        cc = os.environ.get("CC", "cc").split()
        if SANITIZED or not shutil.which(cc[0]):
            raise Unusable("needs a C compiler, and a build without sanitizers")
        if "--with-debug" in modules():
            raise Unusable("in a build for debugging each piece of an arena is allocated by itself")
        self.lib, self.path = directory / "allocations.so", directory / "allocations"
        done = subprocess.run([*cc, "-O2", "-fPIC", "-shared", "-w", "-o", self.lib, ROOT / "tests/costs/allocations.c", "-pthread"],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unusable(f"cannot build allocations.so: {done.stderr[:200]}")
        with open(self.path, "wb") as file:
            file.truncate(HEAD.size + STACKS * STACK.size)
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 0)

    def environment(self):
        return {"LD_PRELOAD": str(self.lib), "ALLOCATIONS": str(self.path)}

    @contextlib.contextmanager
    def of(self, pid):
        found = collections.Counter()
        self.page[:] = bytes(len(self.page))
        self.page[:8] = pid.to_bytes(8, "little")
        yield found
        self.page[:8] = bytes(8)
        assert HEAD.unpack_from(self.page)[1] == 0, "more places that allocate than there is room for"
        for i in range(STACKS):
            count, _, *frames = STACK.unpack_from(self.page, HEAD.size + i * STACK.size)
            if count:
                found[tuple(frame for frame in frames if frame)] += count


class Maps:
    """Which file an address of a process belongs to, and how it is called there."""

    def __init__(self, pid):
        self.ranges = []
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            for line in file:
                words = line.split(None, 5)
                if len(words) == 6 and words[5].startswith("/"):
                    low, high = (int(word, 16) for word in words[0].split("-"))
                    self.ranges.append((low, high, int(words[2], 16), words[5].strip()))

    def file(self, address):
        return next((path for low, high, _, path in self.ranges if low <= address < high), "?")

    def whose(self, stack):
        """own: the engine, the extension or an app in C asked for it; library: one that was called by those; python: all else."""
        for depth, path in enumerate(map(self.file, stack)):
            if path == BINARY or "_monoceros" in path or "/tests/apps/" in path:
                return "library" if any("/libc." not in self.file(address) for address in stack[:depth]) else "own"
            if "python" in path:
                return "python"
        return "python"

    def name(self, address):
        for low, high, offset, path in self.ranges:
            if low <= address < high:
                # of the call, not of where it returns to
                done = subprocess.run(["addr2line", "-f", "-e", path, hex(address - low + offset - 1)], capture_output=True, text=True, check=False)
                word = done.stdout.split("\n")[0] if done.returncode == 0 else "??"
                return word if word != "??" else os.path.basename(path)
        return "?"

    def show(self, found, times):
        """The stacks of what was found, the most frequent first."""
        return "\n".join(f"{count / times:8.2f}  " + " < ".join(self.name(address) for address in stack[:8])
                         for stack, count in found.most_common(12))
