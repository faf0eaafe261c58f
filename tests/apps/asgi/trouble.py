"""ASGI apps in trouble, one a path: what they live through is noted on stderr, which is the error log."""

import asyncio
import sys
import time

OK = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"fine\n"}


def note(*words):
    print("noted:", *words, file=sys.stderr, flush=True)


async def gives_up(scope, receive, send):
    """Waits for its body, and gives that up, in two ways by turns; nothing of the body may be lost by it."""
    pieces, more, given_up = [], True, 0
    while more:
        event = None
        if given_up % 2:
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()
            try:
                event = await waiting
            except asyncio.CancelledError:
                pass
        else:
            try:
                event = await asyncio.wait_for(receive(), 0.002)
            except TimeoutError:
                pass
        if event is None:
            given_up += 1
            if given_up == 20:
                note("given up")
            continue
        pieces.append(event["body"])
        more = event["more_body"]
    await send(OK)
    await send({**END, "body": b"".join(pieces)})


async def beside(scope, receive, send):
    """As Django does: somebody listens for the client's end while the answer is made, and is cancelled then."""
    await receive()
    listener = asyncio.create_task(receive())
    await asyncio.sleep(0.01)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    await send(OK)
    await send({**END, "body": b"cancelled" if listener.cancelled() else b"not cancelled"})


async def longer(scope, receive, send):
    await send({**OK, "headers": [(b"content-length", b"5")]})
    await send({**END, "body": b"fine\nand more"})


async def shorter(scope, receive, send):
    await send({**OK, "headers": [(b"content-length", b"10")]})
    await send(END)


async def deaf(scope, receive, send):
    """Never receives."""
    note("deaf", scope["method"])
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        note("deaf", scope["method"], "cancelled")
        raise


async def stubborn(scope, receive, send):
    """Takes no notice of its client's end, nor of being cancelled."""
    note("stubborn")
    for _ in range(2):
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            note("not impressed")
            break
    await asyncio.sleep(0.1)
    try:
        await send(OK)
    except OSError as error:
        note("stubborn", type(error).__name__)


async def streams(scope, receive, send):
    await send(OK)
    try:
        while True:
            await send({**END, "more_body": True})
            await asyncio.sleep(0.01)
    except BaseException as error:
        note("streams", type(error).__name__)
        raise


async def reads(scope, receive, send):
    while True:
        event = await receive()
        note("reads", event["type"])
        if event["type"] == "http.disconnect":
            return


async def held(scope, receive, send):
    note("held")
    await receive()
    note("held", (await receive())["type"])


async def queued(scope, receive, send):
    note("queued")
    await send(OK)
    await send(END)


async def blocks(scope, receive, send):
    note("blocks")
    time.sleep(float(scope["query_string"]))
    await send(OK)
    await send(END)


async def leaves_a_task(scope, receive, send):
    async def task():
        await asyncio.sleep(0.01)
        raise ValueError("raised by nobody's task")
    asyncio.create_task(task())
    await send(OK)
    await send(END)


async def leaves_a_callback(scope, receive, send):
    def callback():
        raise ValueError("raised by a callback")
    asyncio.get_running_loop().call_later(0.01, callback)
    await send(OK)
    await send(END)


async def stops_the_loop(scope, receive, send):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    await send(OK)
    await send(END)


# --- WebSockets

async def accepted(receive, send):
    await receive()
    await send({"type": "websocket.accept"})


async def ws_raises_before(receive, send):
    await receive()
    raise ValueError("raised before it accepted")


async def ws_raises_after(receive, send):
    await accepted(receive, send)
    await receive()
    raise ValueError("raised after it accepted")


async def ws_raises_behind(receive, send):
    await accepted(receive, send)
    await send({"type": "websocket.close", "code": 3000})
    raise ValueError("raised behind its close")


async def ws_returns_before(receive, send):
    await receive()


async def ws_returns_after(receive, send):
    await accepted(receive, send)


async def ws_exits(receive, send):
    await accepted(receive, send)
    sys.exit(7)


async def ws_exits_later(receive, send):
    await accepted(receive, send)
    await asyncio.sleep(0.01)
    sys.exit(7)


async def ws_closes_twice(receive, send):
    await accepted(receive, send)
    await send({"type": "websocket.close", "code": 3000})
    await send({"type": "websocket.close", "code": 3001})


async def ws_accepts_twice(receive, send):
    await accepted(receive, send)
    await send({"type": "websocket.accept"})


async def ws_sends_first(receive, send):
    await receive()
    await send({"type": "websocket.send", "text": "too early"})


async def ws_sends_nothing(receive, send):
    await accepted(receive, send)
    await send({"type": "websocket.send"})


async def ws_sends_http(receive, send):
    await accepted(receive, send)
    await send(OK)


async def ws_sends_unknown(receive, send):
    await accepted(receive, send)
    await send({"type": "websocket.wave"})


async def ws_wrong_code(receive, send):
    await accepted(receive, send)
    await send({"type": "websocket.close", "code": 1006})


async def ws_half_denied(receive, send):
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})


async def ws_deaf(receive, send):
    await accepted(receive, send)
    note("deaf socket")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        note("deaf socket cancelled")
        raise


async def ws_never_accepts(receive, send):
    note("hesitates")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        note("hesitates no more")
        raise


async def ws_sends_on(receive, send):
    await accepted(receive, send)
    note("sends on")
    try:
        while True:
            await send({"type": "websocket.send", "bytes": bytes(65536)})
            await asyncio.sleep(0)
    except BaseException as error:
        note("sends on", type(error).__name__)
        raise


async def ws_gives_up(receive, send):
    """Waits for messages and gives that up, again and again; each message is sent back."""
    await accepted(receive, send)
    while True:
        try:
            event = await asyncio.wait_for(receive(), 0.001)
        except TimeoutError:
            continue
        if event["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": event["text"]})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    name = scope["path"][1:]
    if scope["type"] == "websocket":
        await globals()["ws_" + name](receive, send)
    elif name in globals():
        await globals()[name](scope, receive, send)
    else:
        await send(OK)
        await send(END)
