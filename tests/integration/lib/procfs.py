"""What /proc tells about processes. A process that is gone has no facts: None or an empty list."""

import os


def stat(pid):
    """Fields of /proc/PID/stat from the state on, or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def parent(pid):
    fields = stat(pid)
    return int(fields[1]) if fields else None


def session(pid):
    fields = stat(pid)
    return int(fields[3]) if fields else None


def alive(pid):
    """Runs: neither gone nor a zombie."""
    fields = stat(pid)
    return fields is not None and fields[0] not in (b"Z", b"X")


def zombie(pid):
    fields = stat(pid)
    return fields is not None and fields[0] == b"Z"


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid):
    return sorted(child for child in pids() if parent(child) == pid)


def of_session(leader):
    return sorted(pid for pid in pids() if session(pid) == leader)


def title(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def status(pid, key):
    """One line of /proc/PID/status, split into words."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if name == key:
                    return rest.split()
    except (FileNotFoundError, ProcessLookupError):
        pass
    return []


def fds(pid):
    """Targets of the open descriptors by number."""
    found = {}
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
            except FileNotFoundError:
                pass
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def cpu_seconds(pid):
    """User and system time of a process."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def rss(pid):
    """Resident bytes."""
    return int(status(pid, "VmRSS")[0]) * 1024
