"""Starlette, FastAPI, Quart and Litestar as they come from PyPI, on asyncio's loop and on uvloop."""

import importlib.util
import json

import pytest

from lib.limits import until
from lib.server import APPS

pytestmark = [pytest.mark.python, pytest.mark.workers("epoll")]

HERE = APPS / "asgi"
FRAMEWORKS = ["starlette", "fastapi", "quart", "litestar"]
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(scope="module", params=[(name, loop) for name in FRAMEWORKS for loop in LOOPS], ids="-".join)
def site(shared_monoceros, request):
    name, loop = request.param
    for needed in (name, loop):
        if not importlib.util.find_spec(needed):
            pytest.skip(f"{needed} is not installed")
    site = shared_monoceros(f"frameworks:make_{name}()", "-k", "asgi", "--asgi-loop", loop, "--asgi-lifespan", "on", cwd=HERE, expect_errors=True)
    site.framework = name
    return site


def events(site):
    return json.loads(site.ask("GET", "/events").text)


def test_hello_and_work_behind_it(site):
    response = site.ask("GET", "/hello")
    assert (response.status, response.text) == (200, "hello")
    assert site.framework != "starlette" or response.get("x-stamp") == "yes"
    found = until(lambda: "background" in (all := events(site)) and all, "the work in the background")
    assert found[0] == "up"
    assert site.framework != "fastapi" or "given back" in found


@pytest.mark.parametrize("size", [10, 300_000])
def test_upload(site, size):
    if site.framework == "starlette" and importlib.util.find_spec("python_multipart"):
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + b"y" * size + b"\r\n--x--\r\n"
        response = site.ask("POST", "/upload", headers=[("Content-Type", "multipart/form-data; boundary=x")], body=body)
    elif site.framework == "starlette":
        pytest.skip("python-multipart is not installed")
    else:
        response = site.ask("POST", "/upload", headers=[("Content-Type", "application/octet-stream")], body=b"y" * size)
    assert json.loads(response.text) == {"name": "a.bin", "size": size}


def test_stream(site):
    response = site.ask("GET", "/stream")
    assert response.text == "0\n1\n2\n3\n4\n" and response.framing == "chunked"


def test_file(site):
    assert site.ask("GET", "/file").body == (HERE / "frameworks.py").read_bytes()
    assert site.ask("HEAD", "/file").status in (200, 405)


def test_errors(site):
    assert site.ask("GET", "/fail").status == 500
    assert site.ask("GET", "/no/such/path").status == 404
