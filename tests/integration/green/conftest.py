"""Servers whose stacks move, under AddressSanitizer: see tests/apps/green/sanitized/sitecustomize.py."""

import pytest

from lib import server


@pytest.fixture(scope="module", autouse=True)
def moving_stacks():
    with pytest.MonkeyPatch.context() as patch:
        if "address" in server.SANITIZED:
            patch.setenv("PYTHONPATH", str(server.APPS / "green" / "sanitized"))
            patch.setenv("MONOCEROS_ASAN_OPTIONS", ":replace_intrin=0:verify_asan_link_order=0")    # copies of stacks are none of its business
            patch.setenv("LD_PRELOAD", "libstdc++.so.6")    # greenlet throws C++ exceptions, which ASan only bears if it saw their library first
        yield
