"""Applications that use the event loop while they are imported: a call for each kind. Where there is a file named `broken` the import fails behind that."""

import asyncio
import json
import os

loop = asyncio.get_event_loop()
ticks, calls = [], []
waited = loop.run_until_complete(asyncio.sleep(0.01, "waited"))


def tick():
    ticks.append(1)
    loop.call_later(0.01, tick)


tick()
loop.call_soon_threadsafe(calls.append, 1)
if os.path.exists("broken"):
    raise RuntimeError("broken as asked")


def take_away():
    """The current loop, as a side effect."""
    if "EARLY_KEEPS" not in os.environ:
        asyncio.run(asyncio.sleep(0))


def told():
    return json.dumps({"same": loop is asyncio.get_running_loop(), "waited": waited, "ticks": len(ticks), "calls": len(calls), "pid": os.getpid()})


def tornado():
    from tornado import ioloop, web
    periodic = []
    ioloop.PeriodicCallback(lambda: periodic.append(1), 10).start()
    take_away()

    class Show(web.RequestHandler):
        def get(self):
            self.write({**json.loads(told()), "periodic": len(periodic)})

    return web.Application([("/", Show)])


def aiohttp():
    from aiohttp import web

    async def show(request):
        return web.Response(text=told())

    take_away()
    app = web.Application()
    app.add_routes([web.get("/", show)])
    return app


def asgi():
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": told().encode()})

    take_away()
    return app
