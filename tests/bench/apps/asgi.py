"""The ASGI app of the bench: a path for each workload, the same under every server. BENCH_FILE is the file of /file."""

import asyncio
import os

import fastapi
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

DATA = {"message": "Hello, world!", "numbers": list(range(10)), "nested": {"ok": True, "none": None}}
FILE = os.environ.get("BENCH_FILE", __file__)
TYPE = (b"content-type", b"text/plain; charset=utf-8")


def start(*headers):
    return {"type": "http.response.start", "status": 200, "headers": [TYPE, *headers]}


def fixed(body):
    head = start((b"content-length", str(len(body)).encode()))
    whole = {"type": "http.response.body", "body": body}

    async def answer(scope, receive, send):
        await send(head)
        await send(whole)
    return answer


hello = fixed(b"Hello, world!")


async def echo(scope, receive, send):
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    await send(start((b"content-length", str(len(body)).encode())))
    await send({"type": "http.response.body", "body": body})


async def echo_stream(scope, receive, send):
    await send(start())
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


async def stream(scope, receive, send):
    await send(start())
    for _ in range(16):
        await send({"type": "http.response.body", "body": b"x" * 1024, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def wait(scope, receive, send):
    await asyncio.sleep(0.010)
    await hello(scope, receive, send)


async def file(scope, receive, send):
    """By the server where it can; else in the way that costs least."""
    await send(start((b"content-length", str(os.stat(FILE).st_size).encode())))
    if "http.response.pathsend" in scope.get("extensions", ()):
        await send({"type": "http.response.pathsend", "path": FILE})
        return
    with open(FILE, "rb") as opened:
        await send({"type": "http.response.body", "body": opened.read()})


async def ws_echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


MEMBERS = {}


async def ws_broadcast(scope, receive, send):
    """What one says, all get, who said it too."""
    await receive()
    MEMBERS[send] = None
    try:
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            event = {"type": "websocket.send", "text": message["text"]}
            for member in list(MEMBERS):
                try:
                    await member(event)
                except Exception:       # has left; every server has a word of its own for it
                    MEMBERS.pop(member, None)
    finally:
        MEMBERS.pop(send, None)


async def starlette_json(request):
    return JSONResponse(DATA)


fastapi_app = fastapi.FastAPI(openapi_url=None)


@fastapi_app.get("/fastapi")
async def fastapi_json():
    return DATA


ROUTES = {"/": hello, "/10k": fixed(b"x" * 10240), "/100k": fixed(b"x" * 102400), "/echo": echo, "/echo-stream": echo_stream, "/stream": stream,
          "/wait": wait, "/file": file, "/starlette": Starlette(routes=[Route("/starlette", starlette_json)]), "/fastapi": fastapi_app,
          "/ws-echo": ws_echo, "/ws-broadcast": ws_broadcast}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await ROUTES[scope["path"]](scope, receive, send)
