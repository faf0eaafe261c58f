"""Both libraries, and servers whose stacks move under AddressSanitizer: see tests/apps/green/sanitized/sitecustomize.py."""

import importlib.util

import pytest

from lib import server


@pytest.fixture(scope="module", params=["gevent", "eventlet"])
def kind(request):
    if not importlib.util.find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    return request.param


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name != "green":
            continue
        if "thread" in server.SANITIZED:
            item.add_marker(pytest.mark.skip(reason="ThreadSanitizer follows no stacks that move, and there is one thread"))
        elif server.SANITIZED and "eventlet" in item.name:
            item.add_marker(pytest.mark.skip(reason="the same code in C as under gevent"))


@pytest.fixture(scope="module", autouse=True)
def moving_stacks():
    with pytest.MonkeyPatch.context() as patch:
        if "address" in server.SANITIZED:
            patch.setenv("PYTHONPATH", str(server.APPS / "green" / "sanitized"))
            patch.setenv("MONOCEROS_ASAN_OPTIONS", ":replace_intrin=0:verify_asan_link_order=0")    # copies of stacks are none of its business
            patch.setenv("LD_PRELOAD", "libstdc++.so.6")    # greenlet throws C++ exceptions, which ASan only bears if it saw their library first
        yield
