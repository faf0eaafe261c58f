"""ASGI apps that fail or break the specification, one a path."""

import asyncio
import sys

OK = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"fine\n"}
caught = []


async def raises(scope, receive, send):
    raise ValueError("raised at once")


async def raises_later(scope, receive, send):
    await asyncio.sleep(0.01)
    raise ValueError("raised later")


async def after_start(scope, receive, send):
    await send(OK)
    raise ValueError("raised after the start")


async def in_body(scope, receive, send):
    await send(OK)
    await send({**END, "more_body": True})
    await asyncio.sleep(0.01)
    raise ValueError("raised in the body")


async def behind(scope, receive, send):
    await send(OK)
    await send(END)
    await asyncio.sleep(0.01)
    raise ValueError("raised behind the response")


async def nothing(scope, receive, send):
    pass


async def only_start(scope, receive, send):
    await send(OK)


async def half(scope, receive, send):
    await send(OK)
    await send({**END, "more_body": True})


async def cancels_itself(scope, receive, send):
    asyncio.current_task().cancel()
    await asyncio.sleep(1)


async def bad(send, *messages):
    for message in messages:
        await send(message)


BAD = {
    "not_a_dict": ("message",),
    "no_type": ({"status": 200},),
    "unknown_type": ({"type": "http.response.push"},),
    "body_first": (END,),
    "start_twice": (OK, OK),
    "no_status": ({"type": "http.response.start"},),
    "text_status": ({**OK, "status": "200"},),
    "interim_status": ({**OK, "status": 101},),
    "huge_status": ({**OK, "status": 1000},),
    "str_header": ({**OK, "headers": [("a", "b")]},),
    "one_header": ({**OK, "headers": [(b"a",)]},),
    "number_headers": ({**OK, "headers": 5},),
    "crlf_value": ({**OK, "headers": [(b"a", b"b\r\nc: d")]},),
    "nul_value": ({**OK, "headers": [(b"a", b"b\0")]},),
    "crlf_name": ({**OK, "headers": [(b"a\r\n", b"b")]},),
    "empty_name": ({**OK, "headers": [(b"", b"b")]},),
    "two_lengths": ({**OK, "headers": [(b"content-length", b"1"), (b"content-length", b"2")]},),
    "bad_length": ({**OK, "headers": [(b"content-length", b"-1")]},),
    "text_body": (OK, {**END, "body": "text"}),
    "none_body": (OK, {**END, "body": None}),
    "trailers_unasked": (OK, {"type": "http.response.trailers", "headers": []}),
    "str_links": ({"type": "http.response.early_hint", "links": ["</a>"]},),
    "no_file": (OK, {"type": "http.response.pathsend", "path": "/no/such/file"}),
    "a_directory": (OK, {"type": "http.response.pathsend", "path": "/"}),
}


async def more(scope, receive, send):
    """Whatever comes behind the end is an error of the app's that no client sees."""
    await send(OK)
    await send(END)
    for message in (END, OK):
        try:
            await send(message)
        except RuntimeError as error:
            caught.append(str(error))


async def notes(scope, receive, send):
    await send(OK)
    await send({**END, "body": repr(caught).encode()})


async def exits(scope, receive, send):
    sys.exit(7)


async def hop_headers(scope, receive, send):
    await send({**OK, "headers": [(b"connection", b"x"), (b"transfer-encoding", b"chunked"), (b"kept", b"yes")]})
    await send(END)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError("no lifespan")
    name = scope["path"][1:]
    if name in BAD:
        await bad(send, *BAD[name])
    elif name in globals():
        await globals()[name](scope, receive, send)
    else:
        await send(OK)
        await send(END)
