"""Lifespans: LIFESPAN says what happens; LIFESPAN_FILE gets a line for each event."""

import asyncio
import os
import sys

what = os.environ.get("LIFESPAN", "")
pieces = what.split()


def note(line):
    with open(os.environ["LIFESPAN_FILE"], "a") as file:
        file.write(line + "\n")


async def lifespan(scope, receive, send):
    if "unknown" in pieces:
        raise KeyError("http")
    if "returns" in pieces:
        return
    event = await receive()
    note(f"{os.getpid()} {event['type']}")
    if "hangs" in pieces:
        await asyncio.sleep(600)
    if "fails" in pieces:
        await send({"type": "lifespan.startup.failed", "message": "no database\nat db:5432"})
        raise RuntimeError("after it failed")
    if "exits" in pieces:
        sys.exit(1)
    if "wrong" in pieces:
        await send({"type": "lifespan.shutdown.complete"})
    await send({"type": "lifespan.startup.complete"})
    event = await receive()
    note(f"{os.getpid()} {event['type']}")
    if "stays" in pieces:
        await asyncio.sleep(600)
    if "breaks" in pieces:
        raise ValueError("broken shutdown")
    if "regrets" in pieces:
        await send({"type": "lifespan.shutdown.failed", "message": "could not save"})
        return
    await asyncio.sleep(0.05)
    note(f"{os.getpid()} done")
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    if scope["path"] == "/endless":
        await asyncio.sleep(600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"alive\n"})
    if scope["path"] == "/behind":
        await asyncio.sleep(1)
        note(f"{os.getpid()} behind")
    if scope["path"] == "/behind-endless":
        try:
            await asyncio.sleep(600)
        finally:
            note(f"{os.getpid()} cancelled")


class Double:
    """ASGI 2."""

    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        await app(self.scope, receive, send)


class Single:
    async def __call__(self, scope, receive, send):
        await app(scope, receive, send)


instance = Single()


def factory():
    return lambda scope, receive, send: app(scope, receive, send)
