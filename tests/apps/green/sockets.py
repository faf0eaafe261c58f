"""WebSockets without ASGI: `monoceros.socket`, by hand and by the libraries that know Gunicorn's name of it."""

import base64
import hashlib
import socket
import threading
import time


def accept(environ):
    key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key).digest()).decode()


def shake_hands(environ):
    sock = environ["monoceros.socket"]
    sock.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept(environ)}\r\n\r\n".encode())
    return sock


def raw(environ, start_response):
    """Bytes as they come, from the handshake on."""
    sock = shake_hands(environ)
    while data := sock.recv(100_000):
        sock.sendall(data)
    print("the client has closed", flush=True)
    return []


def push(environ, start_response):
    """One greenlet reads, another one writes, until the client closes."""
    sock = shake_hands(environ)

    def write():
        try:
            while True:
                sock.sendall(b".")
                time.sleep(0.01)
        except OSError as error:
            print("writer ended by", type(error).__name__, flush=True)

    writer = threading.Thread(target=write)
    writer.start()
    buffer = bytearray(10)
    while n := sock.recv_into(buffer):
        sock.send(bytes(buffer[:n]).upper())
    sock.close()
    writer.join()
    return []


def flood(environ, start_response):
    """More than the client takes."""
    sock = shake_hands(environ)
    for _ in range(200):
        sock.sendall(b"f" * 65536)
    print("flooded", flush=True)
    return []


def patience(environ, start_response):
    """Timeouts, and what a socket tells of itself."""
    sock = shake_hands(environ)
    told = [str(sock.gettimeout())]
    sock.settimeout(0.05)
    try:
        sock.recv(1)
    except TimeoutError:
        told.append("late")
    sock.setblocking(False)
    try:
        sock.recv(1)
    except BlockingIOError:
        told.append("would block")
    sock.settimeout(None)
    host, port = sock.getpeername()[:2]
    told.append(str((host, str(port)) == (environ["REMOTE_ADDR"], environ["REMOTE_PORT"])))
    told.append(str(sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM))
    told.append(str(sock.fileno() >= 0))
    sock.sendall(",".join(told).encode())
    sock.shutdown(socket.SHUT_WR)
    print("rest:", sock.recv(10), sock.recv(10), flush=True)
    sock.close()
    try:
        sock.recv(1)
    except OSError as error:
        print("closed:", error.errno, flush=True)
    return []


def late(environ, start_response):
    """The socket when the response has begun."""
    start_response("200 OK", [])(b"begun")
    try:
        environ["monoceros.socket"].send(b"raw")
    except ConnectionError as error:
        return [b" ", str(error).encode()]


def fail(environ, start_response):
    shake_hands(environ)
    raise ValueError("failed after the handshake")


def stop(environ, start_response):
    """What extensions written for Gunicorn raise when they are done."""
    shake_hands(environ).sendall(b"done")
    raise StopIteration


def answers_twice(environ, start_response):
    """By its socket, and then as if nothing had been, as frameworks do around a library."""
    shake_hands(environ).close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    print("answered twice", flush=True)
    return [b"nobody sees this"]


def plain(environ, start_response):
    start_response("426 Upgrade Required", [("Content-Type", "text/plain")])
    return [b"refused, " + str("gunicorn.socket" in environ).encode()]


def simple(environ, start_response):
    import simple_websocket
    ws = simple_websocket.Server(environ, ping_interval=0.05)
    try:
        while True:
            data = ws.receive()
            ws.send(data)
            if data == "bye":
                ws.close(1000, "bye")
    except simple_websocket.ConnectionClosed as closed:
        print("closed with", closed.reason, flush=True)
    return []


def eventlets(environ, start_response):
    from eventlet.websocket import WebSocketWSGI

    def serve(ws):
        while (data := ws.wait()) is not None:
            ws.send(data)
    return WebSocketWSGI(serve)(environ, start_response)


def app(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)


def make_socketio():
    """Flask-SocketIO, as its users write it."""
    import os

    from flask import Flask
    from flask_socketio import SocketIO, emit
    flask = Flask(__name__)
    socketio = SocketIO(flask, async_mode=os.environ["HUB"])

    @socketio.on("connect")
    def connect():
        emit("hello", {"from": "the server"})

    @socketio.on("echo")
    def echo(data):
        return data

    @socketio.on("tell")
    def tell(data):
        socketio.emit("told", data)
    return flask


def make_flask():
    import flask
    import flask_sock
    site = flask.Flask("site")
    sock = flask_sock.Sock(site)

    @sock.route("/echo")
    def echo(ws):
        while True:
            ws.send(ws.receive())

    @site.route("/")
    def index():
        return "index"

    return site
