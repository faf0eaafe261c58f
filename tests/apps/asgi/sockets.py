"""WebSocket apps, one a path."""

import asyncio
import json

seen = []
room = set()


async def events(receive):
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            seen.append([event["code"], event["reason"]])
            return
        yield event


async def echo(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    async for event in events(receive):
        await send({"type": "websocket.send", **{key: event[key] for key in ("text", "bytes") if key in event}})


async def show(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[-1], "headers": [(b"x-one", b"1"), (b"connection", b"x")]})
    await send({"type": "websocket.send", "text": json.dumps({key: str(scope.get(key)) for key in ("type", "scheme", "path", "query_string", "method",
                                                                                                  "http_version", "subprotocols", "extensions")})})
    await send({"type": "websocket.close", "code": 3001, "reason": "shown é"})
    seen.append((await receive())["type"])


async def refuse(scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})


async def deny(scope, receive, send):
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"password")]})
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"are you?"})


async def raises_before(scope, receive, send):
    raise ValueError("before")


async def raises(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    raise ValueError("after")


async def returns(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})


async def wrong(scope, receive, send):
    """Messages that are refused, each by an exception that it sends back."""
    await receive()
    found = []
    for message in ({"type": "websocket.send", "text": "too early"}, {"type": "http.response.start", "status": 200},
                    {"type": "websocket.accept", "subprotocol": "a b"}, {"type": "websocket.accept", "headers": [(b"a", b"b\r\nc: d")]}):
        try:
            await send(message)
        except Exception as error:
            found.append(type(error).__name__)
    await send({"type": "websocket.accept"})
    for message in ({"type": "websocket.accept"}, {"type": "websocket.send"}, {"type": "websocket.send", "text": "a", "bytes": b"b"},
                    {"type": "websocket.send", "text": b"bytes"}, {"type": "websocket.send", "bytes": "text"}, {"type": "websocket.send", "text": "\ud800"},
                    {"type": "websocket.close", "code": 1005}, {"type": "websocket.close", "code": 99999}, {"type": "websocket.close", "reason": "x" * 124}):
        try:
            await send(message)
        except Exception as error:
            found.append(type(error).__name__)
    await send({"type": "websocket.send", "text": json.dumps(found)})
    await send({"type": "websocket.close"})
    try:
        await send({"type": "websocket.send", "text": "too late"})
    except Exception as error:
        seen.append(type(error).__name__)


async def chat(scope, receive, send):
    """What one says goes to all."""
    await receive()
    await send({"type": "websocket.accept"})
    room.add(send)
    async for event in events(receive):
        await asyncio.gather(*(each({"type": "websocket.send", "text": event["text"]}) for each in list(room)), return_exceptions=True)
    room.discard(send)


async def hall(scope, receive, send):
    """As a room, where each is told in turn."""
    await receive()
    await send({"type": "websocket.accept"})
    room.add(send)
    try:
        async for event in events(receive):
            message = {"type": "websocket.send", "text": event["text"]}
            for each in list(room):
                await each(message)
    finally:
        room.discard(send)


async def flood(scope, receive, send):
    """QUERY messages of 64 KiB; notes how many went out."""
    await receive()
    await send({"type": "websocket.accept"})
    for number in range(int(scope["query_string"])):
        await send({"type": "websocket.send", "bytes": bytes(65536)})
        seen[:] = [number + 1]
    await send({"type": "websocket.close"})


async def deaf(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    try:
        await asyncio.sleep(600)
    finally:
        seen.append("cancelled")


async def http(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = json.dumps(seen).encode()
    if scope["path"] == "/forget":
        seen.clear()
    await send({"type": "http.response.body", "body": body})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "http":
        return await http(scope, receive, send)
    await globals()[scope["path"][1:] or "echo"](scope, receive, send)
