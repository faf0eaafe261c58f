"""Apps that bring a server of their own: Tornado's and aiohttp's. Their server gets its connections from a unix socket that only this process may use: the
engine's, over which requests come as HTTP/1.1 (host.c). asgi_loop.c runs this text among the names of asgi.py, in workers that have such apps.

One field tells who the client is: "ADDRESS SCHEME"; ADDRESS is "-" where there is none. The engine takes it away from what clients send, and the app does
not see it.
"""

import inspect
import os
import socket
import struct
import weakref

FIELD = "Monoceros-Client"
RAW_FIELD = FIELD.encode()
HEAD_MAX = 1 << 20          # the engine has looked at the head already
LONG = 7 * 86400            # connections are the engine's: it closes them
RESTARTING = 1012


class Host:
    """What is the same for both: the private socket, and what start() and leave() ask for."""

    context = None

    def __init__(self, app, name):
        self.app, self.name, self.up = app, name, False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.setblocking(False)
        self.listener.bind("")          # the kernel finds an abstract name
        self.listener.listen(65535)     # as many as it allows
        self.state = self.listener.getsockname()

    async def startup(self):
        try:
            while inspect.isawaitable(self.app):
                self.app = await self.app
            why = await self.open()
        except Exception as error:
            return describe(error)
        if why is None:
            loop.add_reader(self.listener, self.accept)
            self.up = True
        return why

    def accept(self):
        try:
            sock, _ = self.listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:        # no descriptors are left: it would be ready all the time
            write(WARNING, f"App \"{self.name}\": cannot take a connection: {error}")
            loop.remove_reader(self.listener)
            loop.call_later(0.1, loop.add_reader, self.listener, self.accept)
            return
        if struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0] != os.getpid():
            write(WARNING, f"App \"{self.name}\": another process has connected to its private socket")
            sock.close()
            return
        sock.setblocking(False)
        self.take(sock)

    async def shutdown(self, seconds):
        if not self.up:
            return
        loop.remove_reader(self.listener)
        self.listener.close()
        try:
            await self.close(seconds)
        except TimeoutError:
            write(WARNING, f"App \"{self.name}\": its shutdown is not complete in time")
        except Exception as error:
            write(ERROR, f"App \"{self.name}\": its shutdown failed\n{describe(error)}")


def pick(value):
    """Address (None: it has none) and scheme of a client."""
    address, _, scheme = value.partition(" ")
    return None if address == "-" else address, scheme


# ---- Tornado

class Tornado(Host):
    async def open(self):
        from tornado import httpserver, httputil
        if not isinstance(self.app, httputil.HTTPServerConnectionDelegate):
            return f"{self.app!r} is not a tornado.web.Application"
        from tornado.websocket import WebSocketHandler
        self.sockets = sockets = weakref.WeakSet()

        class Named(httputil.HTTPMessageDelegate):
            """Takes our field away and tells the connection what it says, before the request is made."""

            def __init__(self, inner, connection):
                self.inner, self.connection = inner, connection

            def headers_received(self, start_line, headers):
                context = self.connection.context
                address, context.protocol = pick(headers.pop(FIELD))
                context.remote_ip = address or "0.0.0.0"       # Tornado's own for unix sockets
                return self.inner.headers_received(start_line, headers)

            def data_received(self, chunk):
                return self.inner.data_received(chunk)

            def finish(self):
                self.inner.finish()
                if isinstance(handler := handler_of(self.inner), WebSocketHandler):
                    sockets.add(handler)

            def on_connection_close(self):
                return self.inner.on_connection_close()

        class Server(httpserver.HTTPServer):
            def start_request(self, server_conn, request_conn):
                return Named(super().start_request(server_conn, request_conn), request_conn)

        self.server = Server(self.app, max_header_size=HEAD_MAX, idle_connection_timeout=LONG)
        return None

    def take(self, sock):
        from tornado.iostream import IOStream
        self.server.handle_stream(IOStream(sock, max_buffer_size=self.server.max_buffer_size, read_chunk_size=self.server.read_chunk_size), None)

    async def drain(self):
        """WebSockets are told to come back; else they would keep the worker until it is killed."""
        for handler in list(self.sockets):
            if handler.ws_connection:
                handler.close(RESTARTING, "the server restarts")

    async def close(self, seconds):
        await asyncio.wait_for(self.server.close_all_connections(), seconds)


def handler_of(delegate):
    """Who has got the request, behind the routers; None: nobody that can be seen."""
    while delegate is not None:
        if (handler := getattr(delegate, "handler", None)) is not None:
            return handler
        delegate = getattr(delegate, "delegate", None)
    return None


# ---- aiohttp

class Aiohttp(Host):
    async def open(self):
        import multidict
        from aiohttp import web
        if not isinstance(self.app, (web.Application, web.AppRunner)) and callable(self.app):
            self.app = self.app()
            if inspect.isawaitable(self.app):
                self.app = await self.app
        if not isinstance(self.app, (web.Application, web.AppRunner)):
            return f"{self.app!r} is not an aiohttp.web.Application"
        self.websocket = web.WebSocketResponse
        given = isinstance(self.app, web.AppRunner)
        self.runner = self.app if given else web.AppRunner(self.app, handle_signals=False, access_log=None, keepalive_timeout=LONG, max_line_size=HEAD_MAX,
                                                           max_field_size=HEAD_MAX)
        self.drained, self.plain, self.sockets = False, None, weakref.WeakSet()
        if not (signal := self.runner.app.on_response_prepare).frozen:     # its own main() may have set it up
            signal.append(self.note)
        await self.runner.setup()
        server = self.runner.server
        make, proxy = server.request_factory, multidict.CIMultiDictProxy

        def factory(message, *more):
            if FIELD not in message.headers:        # a request that its parser refuses
                return make(message, *more)
            headers = message.headers.copy()
            address, scheme = pick(headers.pop(FIELD))
            raw = tuple([pair for pair in message.raw_headers if pair[0] != RAW_FIELD])
            return self.tell(make(message._replace(headers=proxy(headers), raw_headers=raw), *more), scheme, address)

        server.request_factory = factory
        return None

    def take(self, sock):
        loop.create_task(loop.connect_accepted_socket(self.runner.server, sock))

    def tell(self, request, scheme, address):
        """Tells a request what clone() tells a copy, which would cost about as much as making it. Where it keeps this is aiohttp's own business: whether it is
        still there is seen at the first request."""
        words = {"scheme": scheme, "remote": address} if address else {"scheme": scheme}
        if self.plain:
            request._cache.update(words)
            return request
        clone = request.clone(**words)
        if self.plain is None:
            if isinstance(cache := getattr(request, "_cache", None), dict):
                cache.update(scheme="a", remote="b")
            self.plain = (request.scheme, request.remote) == ("a", "b")
        return clone

    async def note(self, request, response):
        if isinstance(response, self.websocket):
            self.sockets.add(response)

    async def drain(self):
        """on_shutdown, where apps close their WebSockets; those that are left then are told to come back."""
        self.drained = True
        try:
            await self.runner.shutdown()
        finally:
            await asyncio.gather(*(ws.close(code=RESTARTING, message=b"the server restarts") for ws in list(self.sockets) if ws.prepared))

    async def close(self, seconds):
        try:
            if not self.drained:
                await asyncio.wait_for(self.runner.shutdown(), seconds / 4)
            await self.runner.server.shutdown(seconds / 4)
        finally:
            await asyncio.wait_for(self.runner.app.cleanup(), seconds / 2)


kinds.update(tornado=Tornado, aiohttp=Aiohttp)
