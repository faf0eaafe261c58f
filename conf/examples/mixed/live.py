"""The WebSockets of mixed.conf, in plain ASGI: what one client says goes to all."""

import asyncio

room = set()


async def tell(send, text):
    try:
        async with asyncio.timeout(5):          # send() waits for a client that does not keep up
            await send({"type": "websocket.send", "text": text})
    except OSError:                             # it has left; TimeoutError is one, too
        room.discard(send)


async def app(scope, receive, send):
    if scope["type"] != "websocket":
        await send({"type": "http.response.start", "status": 426, "headers": [(b"upgrade", b"websocket")]})
        await send({"type": "http.response.body"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    room.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            text = f"{scope['client'][0]}: {event.get('text', '')}"
            await asyncio.gather(*(tell(each, text) for each in room))
    finally:
        room.discard(send)
