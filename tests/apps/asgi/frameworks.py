"""The same small site in several frameworks, each imported by whoever makes it."""

import asyncio
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


def make_socketio():
    import socketio
    server = socketio.AsyncServer(async_mode="asgi")

    @server.event
    async def connect(sid, environ, auth):
        await server.emit("hello", {"from": "the server"}, to=sid)

    @server.event
    async def echo(sid, data):
        return data

    @server.event
    async def tell(sid, data):
        await server.emit("told", data)
    return socketio.ASGIApp(server)


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
    from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
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

    @app.websocket("/ws")
    async def socket(websocket: WebSocket):
        await websocket.accept()
        async for message in websocket.iter_json():
            await websocket.send_json({"got": message})
    return app


def make_quart():
    from quart import Quart, jsonify, request, send_file, websocket

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

    @app.websocket("/ws")
    async def socket():
        while True:
            await websocket.send_json({"got": await websocket.receive_json()})
    return app


def make_litestar():
    from litestar import Litestar, Request, WebSocket, get, post, websocket
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

    @websocket("/ws")
    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        async for message in socket.iter_json():
            await socket.send_json({"got": message})
    return Litestar([hello, upload, stream, fail, file, all_events, socket], lifespan=[lifespan])


def make_blacksheep():
    from blacksheep import Application, Request, Response, StreamedContent, WebSocket, WebSocketDisconnectError, file as file_response, json, text

    app = Application()

    @app.on_start
    async def up(_):
        events.append("up")

    @app.on_stop
    async def down(_):
        print("lifespan down", flush=True)

    @app.router.get("/hello")
    async def hello():
        asyncio.get_running_loop().call_soon(events.append, "background")
        return text("hello")

    @app.router.post("/upload")
    async def upload(request: Request):
        size = 0
        async for piece in request.stream():
            size += len(piece)
        return json({"name": "a.bin", "size": size})

    async def lines():
        async for line in numbers():
            yield line.encode()

    @app.router.get("/stream")
    async def stream():
        return Response(200, content=StreamedContent(b"text/plain", lines))

    @app.router.get("/fail")
    async def fail():
        raise ValueError("on purpose")

    @app.router.get("/file")
    async def file():
        return file_response(__file__, "text/plain")

    @app.router.get("/events")
    async def all_events():
        return json(events)

    @app.router.ws("/ws")
    async def socket(websocket: WebSocket):
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnectError):
            while True:
                await websocket.send_json({"got": await websocket.receive_json()})
    return app


def make_sanic():
    from sanic import Sanic, response

    app = Sanic("site")

    @app.before_server_start
    async def up(_):
        events.append("up")

    @app.after_server_stop
    async def down(_):
        print("lifespan down", flush=True)

    async def background():
        events.append("background")

    @app.get("/hello")
    async def hello(request):
        request.app.add_task(background())
        return response.text("hello")

    @app.post("/upload", stream=True)
    async def upload(request):
        size = 0
        async for piece in request.stream:
            size += len(piece)
        return response.json({"name": "a.bin", "size": size})

    @app.get("/stream")
    async def stream(request):
        answer = await request.respond(content_type="text/plain")
        async for line in numbers():
            await answer.send(line)
        await answer.eof()

    @app.get("/fail")
    async def fail(request):
        raise ValueError("on purpose")

    @app.get("/file")
    async def file(request):
        return await response.file_stream(__file__)

    @app.get("/events")
    async def all_events(request):
        return response.json(events)

    @app.websocket("/ws")
    async def socket(request, ws):
        while (message := await ws.recv()) is not None:
            await ws.send('{"got":' + message + "}")
    return app


def make_channels():
    """Django's own ASGI application for HTTP, consumers of channels for WebSockets, which talk to each other by its layer."""
    import django
    from django.conf import settings

    settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, INSTALLED_APPS=["channels"],
                       CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})
    django.setup()
    from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.core.asgi import get_asgi_application
    from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    class Echo(AsyncJsonWebsocketConsumer):
        async def receive_json(self, content):
            await self.send_json({"got": content})

    class InThread(JsonWebsocketConsumer):
        def receive_json(self, content):
            self.send_json({"got": content})

    class Room(AsyncJsonWebsocketConsumer):
        async def connect(self):
            await self.channel_layer.group_add("room", self.channel_name)
            await self.accept()

        async def disconnect(self, code):
            events.append(f"left with {code}")
            await self.channel_layer.group_discard("room", self.channel_name)

        async def receive_json(self, content):
            await self.channel_layer.group_send("room", {"type": "said", "what": content})

        async def said(self, event):
            await self.send_json(event["what"])

    async def hello(request):
        asyncio.get_running_loop().call_soon(events.append, "background")
        return HttpResponse("hello", content_type="text/plain")

    @csrf_exempt
    def upload(request):                # in a thread
        size = 0
        while piece := request.read(65536):
            size += len(piece)
        return JsonResponse({"name": "a.bin", "size": size})

    async def stream(request):
        return StreamingHttpResponse(numbers(), content_type="text/plain")

    def fail(request):
        raise ValueError("on purpose")

    globals()["urlpatterns"] = [
        path("hello", hello), path("upload", upload), path("stream", stream), path("fail", fail),
        path("file", lambda request: FileResponse(open(__file__, "rb"))), path("events", lambda request: JsonResponse(events, safe=False))]
    return ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter(
        [path("ws", Echo.as_asgi()), path("thread", InThread.as_asgi()), path("room", Room.as_asgi())])})
