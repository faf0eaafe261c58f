"""A Tornado application for the tests, with what its aiohttp sister (aiohttp_app.py) answers, too."""

import asyncio
import json
import os
import time

from tornado import ioloop, web, websocket

notes = []


class Show(web.RequestHandler):
    def get(self, *_):
        self.write({"remote": self.request.remote_ip, "scheme": self.request.protocol, "host": self.request.host, "method": self.request.method,
                    "path": self.request.path, "query": self.request.query, "headers": list(self.request.headers.get_all()), "pid": os.getpid(),
                    "loop": [each.__module__.split(".")[0] for each in type(ioloop.IOLoop.current().asyncio_loop).__mro__]})

    put = get


class Upload(web.RequestHandler):
    def post(self):
        self.write({"size": len(self.request.body), "sum": sum(self.request.body) % 65536})


@web.stream_request_body
class Streamed(web.RequestHandler):
    def initialize(self):
        self.size = self.pieces = 0

    async def data_received(self, chunk):
        self.size += len(chunk)
        self.pieces += 1

    def post(self):
        self.write({"size": self.size, "pieces": self.pieces})


class Stream(web.RequestHandler):
    async def get(self):
        for number in range(5):
            self.write(f"{number}\n")
            await self.flush()
            await asyncio.sleep(0.01)


class Slow(web.RequestHandler):
    async def get(self):
        notes.append("begun")
        await asyncio.sleep(float(self.get_argument("s", "30")))
        self.write("slept")

    def on_connection_close(self):
        notes.append("left")


class Block(web.RequestHandler):
    def get(self):
        time.sleep(float(self.get_argument("s")))


class Fail(web.RequestHandler):
    def get(self):
        raise RuntimeError("as asked")


class Big(web.RequestHandler):
    async def get(self):
        for _ in range(int(self.get_argument("n"))):
            self.write(b"x" * 65536)
            await self.flush()
            notes.append("big")


class Notes(web.RequestHandler):
    def get(self):
        self.write(json.dumps(notes))


class Echo(websocket.WebSocketHandler):
    def get_compression_options(self):
        return {}

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self):
        notes.append(f"closed {self.close_code}")


def make():
    return web.Application([
        (r"/upload", Upload), (r"/streamed", Streamed), (r"/stream", Stream), (r"/slow", Slow), (r"/block", Block), (r"/fail", Fail), (r"/big", Big),
        (r"/notes", Notes), (r"/ws", Echo), (r"/forgotten", Echo), (r"/(.*)show", Show),
    ])


async def make_later():
    await asyncio.sleep(0)
    return make()


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return []


app = make()
