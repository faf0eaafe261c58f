"""Builds the native apps of tests/apps/greenlet."""

import os
import shlex
import subprocess

import pytest

from lib.server import APPS, ROOT

CC = shlex.split(os.environ.get("CC", "cc"))


def flags(package):
    """What the compiler needs for a library of the system; None: it is not here."""
    done = subprocess.run(["pkg-config", "--cflags", "--libs", package], capture_output=True, text=True, check=False)
    return shlex.split(done.stdout) if done.returncode == 0 else None


def build(directory, name, **libraries):
    """The shared library of tests/apps/greenlet/NAME.c, with WITH_X defined for each X="package"; skips when one is not here."""
    more = []
    for define, package in libraries.items():
        found = flags(package)
        if found is None:
            pytest.skip(f"{package} is not installed")
        more += [f"-DWITH_{define}", *found]
    target = directory / f"{name}.so"
    command = [*CC, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-shared", "-fPIC", "-pthread", f"-I{ROOT}",
               "-o", str(target), str(APPS / "greenlet" / f"{name}.c"), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target
