"""Servers whose calls fail: tests/faults/fail.c, built here and preloaded."""

import os
import shutil
import subprocess

import pytest

from lib.server import ROOT, SANITIZED


def build(directory):
    """Path of the library; skips where it cannot be used."""
    cc = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if SANITIZED or not cc:
        pytest.skip("needs a C compiler, and a build without sanitizers")
    library = directory / "fail.so"
    if not library.exists():
        done = subprocess.run([cc, "-O1", "-fPIC", "-shared", "-w", "-o", library, ROOT / "tests" / "faults" / "fail.c", "-ldl"],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot build fail.so: {done.stderr[:200]}")
    return library


def environment(directory, call, error, **how):
    """For env= of a server: environment(tmp_path, "malloc", errno.ENOMEM, nth=7) or each=2, gate=path, or every call."""
    values = {"LD_PRELOAD": str(build(directory)), "FAIL": call, "FAIL_ERRNO": str(error)}
    names = {"nth": "FAIL_NTH", "each": "FAIL_EACH", "gate": "FAIL_WHILE"}
    return values | {names[key]: str(value) for key, value in how.items()}


def clock(directory, gate):
    """The system's clock, shifted by as many seconds as the gate says while it exists."""
    return environment(directory, "clock", 0, gate=gate)
