"""The same small site in several frameworks; what is not installed is None."""

import contextlib

events = []


async def numbers():
    for number in range(5):
        yield f"{number}\n"


@contextlib.asynccontextmanager
async def lifespan(app):
    events.append("up")
    yield
    print("lifespan down", flush=True)


def make_starlette():
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocketDisconnect

    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-stamp"] = "yes"
            return response

    async def hello(request):
        return PlainTextResponse("hello", background=BackgroundTask(events.append, "background"))

    async def upload(request):
        async with request.form() as form:
            return JSONResponse({"name": form["file"].filename, "size": len(await form["file"].read())})

    async def stream(request):
        return StreamingResponse(numbers(), media_type="text/plain")

    async def fail(request):
        raise ValueError("on purpose")

    async def socket(websocket):
        await websocket.accept()
        try:
            while True:
                await websocket.send_json({"got": await websocket.receive_json()})
        except WebSocketDisconnect:
            pass
    routes = [WebSocketRoute("/ws", socket), Route("/hello", hello), Route("/upload", upload, methods=["POST"]), Route("/stream", stream), Route("/fail", fail),
              Route("/file", lambda request: FileResponse(__file__)), Route("/events", lambda request: JSONResponse(events))]
    return Starlette(routes=routes, middleware=[Middleware(Stamp)], lifespan=lifespan)


def make_fastapi():
    from fastapi import BackgroundTasks, Depends, FastAPI, Request
    from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse

    app = FastAPI(lifespan=lifespan)

    async def resource():
        events.append("taken")
        yield 1
        events.append("given back")

    @app.get("/hello", response_class=PlainTextResponse)
    async def hello(tasks: BackgroundTasks, one: int = Depends(resource)):
        tasks.add_task(events.append, "background")
        return "hello"

    @app.post("/upload")
    async def upload(request: Request):
        size = 0
        async for piece in request.stream():
            size += len(piece)
        return {"name": "a.bin", "size": size}

    @app.get("/stream")
    def stream():                       # in a thread
        return StreamingResponse(numbers(), media_type="text/plain")

    @app.get("/fail")
    async def fail():
        raise ValueError("on purpose")

    @app.get("/file")
    def file():
        return FileResponse(__file__)

    @app.get("/events")
    def all_events():
        return events
    return app


def make_quart():
    from quart import Quart, jsonify, request, send_file

    app = Quart(__name__)

    @app.before_serving
    async def up():
        events.append("up")

    @app.after_serving
    async def down():
        print("lifespan down", flush=True)

    @app.get("/hello")
    async def hello():
        app.add_background_task(background)
        return "hello"

    async def background():
        events.append("background")

    @app.post("/upload")
    async def upload():
        size = 0
        async for piece in request.body:
            size += len(piece)
        return {"name": "a.bin", "size": size}

    @app.get("/stream")
    async def stream():
        return numbers(), {"content-type": "text/plain"}

    @app.get("/fail")
    async def fail():
        raise ValueError("on purpose")

    @app.get("/file")
    async def file():
        return await send_file(__file__)

    @app.get("/events")
    async def all_events():
        return jsonify(events)
    return app


def make_litestar():
    from litestar import Litestar, Request, get, post
    from litestar.background_tasks import BackgroundTask
    from litestar.response import File, Response, Stream

    async def background():
        events.append("background")

    @get("/hello", media_type="text/plain")
    async def hello() -> Response[str]:
        return Response("hello", background=BackgroundTask(background))

    @post("/upload", status_code=200)
    async def upload(request: Request) -> dict:
        size = 0
        async for piece in request.stream():
            size += len(piece)
        return {"name": "a.bin", "size": size}

    @get("/stream", media_type="text/plain")
    async def stream() -> Stream:
        return Stream(numbers())

    @get("/fail")
    async def fail() -> None:
        raise ValueError("on purpose")

    @get("/file")
    async def file() -> File:
        return File(path=__file__, filename="frameworks.py")

    @get("/events")
    async def all_events() -> list:
        return events
    return Litestar([hello, upload, stream, fail, file, all_events], lifespan=[lifespan])
