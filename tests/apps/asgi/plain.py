"""ASGI apps without a framework: each path shows one thing."""

import asyncio
import contextvars
import json
import sys

events = []         # of the lifespan
inside = most = 0   # requests that meet()
seen = []           # of requests: what the test asks for afterwards
variable = contextvars.ContextVar("variable", default="nothing")


def text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value


async def start(send, status=200, headers=(), **more):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *headers], **more})


async def whole(send, body, status=200, headers=()):
    await start(send, status, headers)
    await send({"type": "http.response.body", "body": body if isinstance(body, bytes) else body.encode()})


async def read(receive):
    pieces = []
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise ConnectionError(event["type"])
        pieces.append(event["body"])
        if not event["more_body"]:
            return pieces


async def hello(scope, receive, send):
    await whole(send, b"Hello, world\n")


async def show(scope, receive, send):
    """The scope as JSON."""
    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value if isinstance(value, (int, str, type(None))) and not isinstance(value, bool) else text(value)
    kinds = {key: type(value).__name__ for key, value in scope.items()}
    await whole(send, json.dumps({"scope": plain({**scope, "state": repr(scope["state"])}), "kinds": kinds}))


async def echo(scope, receive, send):
    await whole(send, b"".join(await read(receive)))


async def sizes(scope, receive, send):
    await whole(send, json.dumps([len(piece) for piece in await read(receive)]))


async def mirror(scope, receive, send):
    """Each piece goes back before the next is asked for."""
    await start(send)
    while True:
        event = await receive()
        await send({"type": "http.response.body", "body": event.get("body", b""), "more_body": event.get("more_body", False)})
        if not event.get("more_body"):
            return


async def sleep(scope, receive, send):
    await asyncio.sleep(float(scope["query_string"] or b"0.05"))
    await whole(send, b"slept\n")


async def meet(scope, receive, send):
    """Sleeps until QUERY requests are here at once."""
    global inside, most
    inside += 1
    most = max(most, inside)
    try:
        async with asyncio.timeout(60):
            while most < int(scope["query_string"]):
                await asyncio.sleep(0.2)
    finally:
        inside -= 1
    await whole(send, str(most))


async def stream(scope, receive, send):
    """QUERY pieces of 64 KiB; notes how many went out."""
    count = int(scope["query_string"])
    await start(send)
    for number in range(count):
        await send({"type": "http.response.body", "body": b"%08d" % number * 8192, "more_body": True})
        seen[:] = [number + 1]
    await send({"type": "http.response.body"})


async def drip(scope, receive, send):
    await start(send)
    for number in range(3):
        await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"end\n"})


async def disconnect(scope, receive, send):
    """Waits for the client's end, then for its cancellation."""
    seen[:] = ["begun"]
    await receive()
    try:
        seen.append((await receive())["type"])
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except OSError as error:
            seen.append(type(error).__name__)
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise


async def background(scope, receive, send):
    seen[:] = []
    await whole(send, b"answered\n")
    seen.append((await receive())["type"])
    seen.append((await receive())["type"])
    await asyncio.sleep(0.1)
    seen.append("done")


async def notes(scope, receive, send):
    await whole(send, json.dumps(seen))


async def lifespan_notes(scope, receive, send):
    await whole(send, json.dumps({"events": events, "state": dict(scope["state"]), "variable": variable.get()}))


async def change_state(scope, receive, send):
    scope["state"]["changed"] = True
    scope["state"]["shared"].append(1)
    await whole(send, b"changed\n")


async def task(scope, receive, send):
    """What frameworks expect of the task that they run in."""
    found = {"current": asyncio.current_task() is not None, "variable": variable.get()}
    variable.set("mine")
    try:
        async with asyncio.timeout(0.02):
            await asyncio.sleep(10)
    except TimeoutError:
        found["timeout"] = True
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(asyncio.sleep(0.01, number)) for number in range(2)]
    found["group"] = [each.result() for each in both]
    waiting = asyncio.create_task(receive())
    first = await waiting
    later = asyncio.create_task(receive())
    await asyncio.sleep(0)
    later.cancel()
    try:
        await later
    except asyncio.CancelledError:
        found["cancelled"] = True
    try:
        await asyncio.wait_for(receive(), 0.02)
    except TimeoutError:
        found["waited"] = True
    found["first"] = first["type"]
    found["loop"] = type(asyncio.get_running_loop()).__module__.split(".")[0]
    await whole(send, json.dumps(found))


async def thread(scope, receive, send):
    loop = asyncio.get_running_loop()
    value = await loop.run_in_executor(None, lambda: sum(range(1000)))
    await whole(send, str(value))


async def process(scope, receive, send):
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('from a child')", stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    await whole(send, out)


async def sockets(scope, receive, send):
    """A server and a client of asyncio's own, in this loop."""
    async def reply(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    line = await reader.readline()
    writer.close()
    server.close()
    await whole(send, line)


async def hints(scope, receive, send):
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
    await whole(send, b"hinted\n")


async def trail(scope, receive, send):
    await start(send, trailers=True)
    await send({"type": "http.response.body", "body": b"body\n"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"5")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-more", b"yes")]})


async def file(scope, receive, send):
    await start(send)
    await send({"type": "http.response.pathsend", "path": __file__})


async def pieces(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": b"<", "more_body": True})
    with open(__file__, "rb") as opened:
        await send({"type": "http.response.zerocopysend", "file": opened, "offset": 10, "count": 20, "more_body": True})
        opened.seek(5)
        await send({"type": "http.response.zerocopysend", "file": opened.fileno(), "more_body": True})
    await send({"type": "http.response.body", "body": memoryview(b">")})


async def missing(scope, receive, send):
    await start(send)
    try:
        await send({"type": "http.response.pathsend", "path": "/no/such/file"})
    except OSError as error:
        await send({"type": "http.response.body", "body": type(error).__name__.encode()})


async def refuse(scope, receive, send):
    await whole(send, b"no\n", 403)


async def read_on(scope, receive, send):
    seen[:] = []
    while True:
        event = await receive()
        seen.append(event["type"])
        if event["type"] == "http.disconnect":
            return


async def short(scope, receive, send):
    await start(send, headers=[(b"content-length", b"10")])
    await send({"type": "http.response.body", "body": b"four"})


async def lifespan(scope, receive, send):
    while True:
        event = await receive()
        events.append(event["type"])
        if event["type"] == "lifespan.startup":
            variable.set("set at startup")
            scope["state"].update(name="plain", shared=[])
            await asyncio.sleep(0.01)
            await send({"type": "lifespan.startup.complete"})
        else:
            print("shutdown of the lifespan", file=sys.stderr, flush=True)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    name = scope["path"].rsplit("/", 1)[-1] or "hello"
    await globals().get(name, hello)(scope, receive, send)
