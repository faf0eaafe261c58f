"""The bytes-on-the-wire table against a running server: whole, byte by byte, and bodies through an app."""

import pytest

import wire_drive
import wire_table

CONFIG = """
pool "web" { worker_class = {worker}  keepalive = 20s }
server "main" {
    listen = "{address}"
    route "all" { respond { body = "Hello, world!" } }
}
"""
BYTEWISE = 1500     # longer rows say nothing new byte by byte


def check_all(address, rows, step=1 << 20):
    failures = []
    for row in rows:
        statuses, problems = wire_drive.run(address, row, step)
        if problems:
            failures.append(f"{row.name} (step {step}): {statuses} {'; '.join(problems)}")
    assert not failures, "\n".join(failures)
    assert rows


def refused(row):
    return any(status >= 400 for allowed in row.answers for status in allowed)


def test_the_table_is_large():
    assert len([row for row in wire_table.ROWS if refused(row)]) >= 200
    assert len({row.name for row in wire_table.ROWS}) == len(wire_table.ROWS)
    for row in wire_table.ROWS:     # no row takes both for right
        assert all(max(allowed) < 400 or min(allowed) >= 400 for allowed in row.answers), row.name


def test_whole(monoceros):
    check_all(monoceros(config=CONFIG).address, [row for row in wire_table.ROWS if not row.echo])


def test_byte_by_byte(monoceros):
    rows = [row for row in wire_table.ROWS if not row.echo and sum(map(len, [row.data] if isinstance(row.data, bytes) else row.data)) < BYTEWISE]
    check_all(monoceros(config=CONFIG).address, rows, 1)


@pytest.mark.parametrize("step", [1 << 20, 1000])
@pytest.mark.python
def test_bodies_through_an_app(monoceros, step):
    """The bodies, and refusals beside them: an app sees no byte of what was refused."""
    site = monoceros("basic:app", "--keep-alive", "20")
    rows = [row for row in wire_table.ROWS if row.echo or row.name.startswith(("chunk", "body", "Content-Length", "Transfer-Encoding", "both"))]
    check_all(site.address, rows, step)
