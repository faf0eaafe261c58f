"""AddressSanitizer knows one stack a thread, and greenlets move pieces of it to and fro: what it has noted of the frames of one would be found at those of
another. After each switch it forgets all of it (and finds less on the stack; the heap is as ever)."""

import ctypes
import re

import greenlet

forget = ctypes.CDLL(None).__asan_unpoison_memory_region
forget.argtypes = ctypes.c_void_p, ctypes.c_size_t
forget.restype = None

with open("/proc/self/maps", encoding="ascii") as maps:
    top = int(re.search(r"^[0-9a-f]+-([0-9a-f]+) .*\[stack\]$", maps.read(), re.M)[1], 16)
SIZE = 1 << 20


def switched(event, greenlets):
    forget(top - SIZE, SIZE)


greenlet.settrace(switched)
