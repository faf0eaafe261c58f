"""How long to wait: generous, and longer when a sanitizer or valgrind slows the server down. No test asserts on a time."""

import os
import time

SLOWER = 8 if os.environ.get("MONOCEROS_UNDER") else 4 if os.environ.get("MONOCEROS_SANITIZED") else 1


def patience(seconds):
    return seconds * SLOWER


class Late(AssertionError):
    pass


def until(condition, what="the condition", seconds=20, pause=0.02):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + patience(seconds)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Late(f"still waiting for {what} after {patience(seconds)} s (last: {value!r})")
        time.sleep(pause)
