"""An aiohttp application for the tests, with what its Tornado sister (tornado_app.py) answers, too."""

import asyncio
import json
import os
import time
import weakref

from aiohttp import WSCloseCode, WSMsgType, web

notes = []
sockets = weakref.WeakSet()


async def show(request):
    return web.json_response({"remote": request.remote, "scheme": request.scheme, "host": request.host, "method": request.method, "path": request.path,
                              "query": request.rel_url.raw_query_string, "headers": list(request.headers.items()), "pid": os.getpid(),
                              "raw": [[name.decode(), value.decode("latin-1")] for name, value in request.raw_headers],
                              "loop": [each.__module__.split(".")[0] for each in type(asyncio.get_running_loop()).__mro__]})


async def upload(request):
    body = await request.read()
    return web.json_response({"size": len(body), "sum": sum(body) % 65536})


async def streamed(request):
    size = pieces = 0
    async for piece in request.content.iter_any():
        size += len(piece)
        pieces += 1
    return web.json_response({"size": size, "pieces": pieces})


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(5):
        await response.write(f"{number}\n".encode())
        await asyncio.sleep(0.01)
    return response


async def slow(request):
    notes.append("begun")
    try:
        while True:
            await asyncio.sleep(min(0.05, float(request.query.get("s", "30"))))
            if "s" in request.query:
                return web.Response(text="slept")
            if request.transport is None:
                notes.append("left")
                return web.Response()
    except asyncio.CancelledError:
        notes.append("cancelled")
        raise


async def block(request):
    time.sleep(float(request.query["s"]))


async def fail(request):
    raise RuntimeError("as asked")


async def big(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(int(request.query["n"])):
        await response.write(b"x" * 65536)
        notes.append("big")
    return response


async def show_notes(request):
    return web.json_response(notes)


async def echo(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    if request.path == "/ws":
        sockets.add(ws)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    notes.append(f"closed {ws.close_code}")
    return ws


async def on_startup(app):
    notes.append("up")


async def on_shutdown(app):
    if "HANGS" in os.environ:
        await asyncio.sleep(600)
    await asyncio.gather(*(ws.close(code=WSCloseCode.GOING_AWAY, message=b"the app ends") for ws in set(sockets)))


async def on_cleanup(app):
    if "CLEANED" in os.environ:
        with open(os.environ["CLEANED"], "a") as file:
            file.write("cleaned\n")


def make():
    app = web.Application(client_max_size=8 << 20)
    app.add_routes([web.post("/upload", upload), web.post("/streamed", streamed), web.get("/stream", stream), web.get("/slow", slow), web.get("/block", block),
                    web.get("/fail", fail), web.get("/big", big), web.get("/notes", show_notes), web.get("/ws", echo), web.get("/forgotten", echo),
                    web.get("/{rest:.*}show", show), web.put("/{rest:.*}show", show)])
    app.on_startup.append(on_startup)
    app.on_shutdown.append(on_shutdown)
    app.on_cleanup.append(on_cleanup)
    return app


async def make_later():
    await asyncio.sleep(0)
    return make()


async def make_runner():
    return web.AppRunner(make(), access_log=None)


async def make_broken():
    raise RuntimeError("no database")


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return []


app = make()
