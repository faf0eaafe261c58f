"""Counts the system calls of a running process and all its threads, by ptrace: unprivileged, as the tests are an ancestor of their servers."""

import collections
import contextlib
import ctypes
import errno
import os
import queue
import shlex
import signal
import subprocess
import threading
import time

SEIZE, INTERRUPT, SYSCALL, DETACH, SYSCALL_INFO = 0x4206, 0x4207, 24, 17, 0x420E
SYSGOOD, CLONE = 0x1, 0x8           # options
EVENT_STOP = 128
WALL, NOTHREAD = 0x40000000, 0x20000000
ENTRY, EXIT = 1, 2


MEMORY = ("brk", "mmap", "munmap", "mprotect", "madvise")
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6")


class Refused(Exception):
    """Nothing can be counted here."""


class Info(ctypes.Structure):
    """struct ptrace_syscall_info: the same on every architecture, since Linux 5.3."""
    _fields_ = [("op", ctypes.c_uint8), ("arch", ctypes.c_uint32), ("ip", ctypes.c_uint64), ("sp", ctypes.c_uint64),
                ("first", ctypes.c_int64), ("args", ctypes.c_uint64 * 6), ("more", ctypes.c_uint64 * 2)]


def table():
    """Names of the system calls by number, from the C library's header."""
    done = subprocess.run([*shlex.split(os.environ.get("CC", "cc")), "-dM", "-E", "-"], input="#include <sys/syscall.h>\n", text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise Refused("the names of system calls need a C compiler")
    words = (line.split() for line in done.stdout.splitlines())
    return {int(word[2]): word[1][5:] for word in words if len(word) == 3 and word[1].startswith("__NR_") and word[2].isdigit()}


class Calls:
    """Whom to trace, and what was counted. The thread of work() is the tracer: only it may say a word to the traced."""

    def __init__(self, pid):
        self.pid = pid
        self.names = table()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long
        self.count = collections.Counter()
        self.late = set()                       # threads whose last call was ended by the clock
        self.inside = {}                        # the call in which a thread is
        self.stopped = {}                       # threads that wait to be resumed, and with which signal
        self.held = False
        self.end = False
        self.seized = queue.Queue()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def ptrace(self, what, tid, address=0, data=0):
        if self.libc.ptrace(what, tid, address, data) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace: {os.strerror(ctypes.get_errno())}")

    def work(self):
        try:
            for tid in map(int, os.listdir(f"/proc/{self.pid}/task")):
                self.ptrace(SEIZE, tid, 0, SYSGOOD | CLONE)
                self.inside[tid] = None
                self.ptrace(INTERRUPT, tid)
        except OSError as error:
            self.seized.put(error)
            return
        self.seized.put(None)
        while not self.end:
            if not self.turn():
                time.sleep(0.0002)
        for tid in self.inside:
            with contextlib.suppress(OSError):      # it is stopped already, or gone
                self.ptrace(INTERRUPT, tid)
        while self.inside:
            self.stop()
            for tid, number in self.stopped.items():
                with contextlib.suppress(OSError):
                    self.ptrace(DETACH, tid, 0, number)
                self.inside.pop(tid, None)
            self.stopped.clear()

    def turn(self):
        """Looks after one stop. False: there was none."""
        some = self.stop()
        if not self.held:
            for tid, number in self.stopped.items():
                with contextlib.suppress(ProcessLookupError):
                    self.ptrace(SYSCALL, tid, 0, number)
            self.stopped.clear()
        return some

    def stop(self):
        try:
            tid, status = os.waitpid(-1, WALL | NOTHREAD | os.WNOHANG)
        except ChildProcessError:
            self.inside.clear()
            return False
        if tid == 0:
            return False
        if not os.WIFSTOPPED(status):
            self.inside.pop(tid, None)
            return True
        self.inside.setdefault(tid, None)
        number = os.WSTOPSIG(status)
        if number == signal.SIGTRAP | 0x80:
            self.note(tid)
            number = 0
        elif status >> 16:
            number = 0
        self.stopped[tid] = number
        return True

    def note(self, tid):
        info = Info()
        self.ptrace(SYSCALL_INFO, tid, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op == ENTRY:
            name = self.inside[tid] = self.names.get(info.first, str(info.first))
            if name != "futex" or tid not in self.late:     # the lock of a condition whose wait was over
                self.count[name] += 1
            self.late.discard(tid)
        elif info.op == EXIT and self.inside[tid]:
            name, self.inside[tid] = self.inside[tid], None
            if info.first == -errno.ETIMEDOUT or (info.first == 0 and name in WAITS):
                self.count[name] -= 1
                self.late.add(tid)

    def forget(self):
        """What was counted so far. The process is held meanwhile, so no call is counted by half."""
        self.count = collections.Counter()

    def shown(self):
        return +self.count

    @contextlib.contextmanager
    def hold(self):
        """Whatever the process does next waits until the end of this: what comes meanwhile comes at once."""
        self.held = True
        try:
            yield
        finally:
            self.held = False


@contextlib.contextmanager
def counted(pid):
    """The calls of a process while this lasts. Refused where the kernel lets nobody trace."""
    calls = Calls(pid)
    calls.thread.start()
    error = calls.seized.get()
    if error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EACCES):
            raise Refused(f"no process may be traced here: {error}")
        raise error
    try:
        yield calls
    finally:
        calls.end = True
        calls.thread.join()
