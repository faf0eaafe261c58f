"""Fixtures of the integration and soak tests. See lib/server.py for the server under test.

MONOCEROS          the program (default: objs/monoceros of the source tree)
MONOCEROS_PYTHON   interpreter of the apps (default: the one that runs the tests)
MONOCEROS_WORKERS  worker types of this build, by comma; tests that use `monoceros` run on each
"""

import os

import pytest

from lib import server as under_test
from lib.load import Load

NATIVE = ("epoll", "greenlet")      # worker types that take no Python
WORKERS = [name for name in os.environ.get("MONOCEROS_WORKERS", "sync").split(",") if name]


def pytest_configure(config):
    config.addinivalue_line("markers", "python: needs the python module of the build")
    config.addinivalue_line("markers", "workers(*names): only for these worker types")


def pytest_generate_tests(metafunc):
    if "worker_class" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("workers")
        names = [name for name in WORKERS if not marker or name in marker.args]
        metafunc.parametrize("worker_class", names, scope="session")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("python") and not under_test.has_python():
            item.add_marker(pytest.mark.skip(reason="built without the python module"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    for server in [*getattr(item, "servers", []), *getattr(item.parent, "servers", [])]:
        if report.failed:
            report.sections.append((f"log of {' '.join(server.command)}", server.log()[-8000:]))
    return report


def factory(worker_class, directory, servers):
    """The generator behind the fixtures: yields a function that starts servers, then stops and checks those that still run."""

    def start(*arguments, config=None, python=None, **options):
        if python is None:
            python = bool(arguments) and not str(arguments[0]).startswith("-") or "type = wsgi" in (config or "")
        if python and not under_test.has_python():
            pytest.skip("built without the python module")
        named = {"-k", "--worker-class"} & set(arguments) or "worker_class" in (config or "").replace("worker_class = {worker}", "")
        if python and worker_class in NATIVE and not named:
            pytest.skip(f"worker type {worker_class} takes no Python")
        place = directory / f"server{len(servers)}"
        place.mkdir()
        if config is not None:
            port = under_test.free_port()
            path = place / "test.conf"
            values = {"address": f"127.0.0.1:{port}", "port": port, "tmp": place, "worker": worker_class}
            for name, value in values.items():
                config = config.replace("{" + name + "}", str(value))
            path.write_text(config, encoding="utf-8")
            arguments = ("-c", path, *arguments)
            if "worker_class" not in config:
                arguments = ("-k", worker_class, *arguments)
            options.setdefault("address", ("127.0.0.1", port))
        server = under_test.Monoceros(*arguments, directory=place, python=python, worker_class=worker_class, **options)
        servers.append(server)
        return server

    yield start
    problems = []
    for server in servers:
        try:
            server.stop()
        except BaseException as error:      # every server is stopped before the first problem is told
            problems.append(error)
    if problems:
        raise problems[0]


@pytest.fixture
def monoceros(worker_class, tmp_path, request):
    """Factory: monoceros("app:app", "-w", "2", ...) starts a server; what the test leaves running is stopped and checked.

    See lib.server.Monoceros for the keywords. config="text" writes a config file and passes it with -c; the text may name
    {address}, {port}, {worker} and {tmp}, and the server then listens on that address. An app makes the test need Python.
    """
    request.node.servers = []
    yield from factory(worker_class, tmp_path, request.node.servers)


@pytest.fixture(scope="module")
def shared_monoceros(worker_class, tmp_path_factory, request):
    """The same for servers that all tests of a file use."""
    request.node.servers = []
    yield from factory(worker_class, tmp_path_factory.mktemp("shared"), request.node.servers)


@pytest.fixture
def load():
    """Factory: load(address, clients=..., keep=...) makes a running closed-loop client, stopped at the end of the test."""
    loads = []

    def start(*args, **kwargs):
        loads.append(Load(*args, **kwargs).start())
        return loads[-1]

    yield start
    for one in loads:
        one.stop()
