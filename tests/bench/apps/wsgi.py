"""The WSGI app of the bench: a path for each workload, the same under every server. BENCH_FILE is the file of /file."""

import os
import time
import typing

import django
import flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

DATA = {"message": "Hello, world!", "numbers": list(range(10)), "nested": {"ok": True, "none": None}}
FILE = os.environ.get("BENCH_FILE", __file__)
TYPE = ("Content-Type", "text/plain; charset=utf-8")


def fixed(body):
    headers = [TYPE, ("Content-Length", str(len(body)))]
    body = [body]

    def answer(environ, start_response):
        start_response("200 OK", headers)
        return body
    return answer


hello = fixed(b"Hello, world!")


def echo(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]


def echo_stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0:
        piece = environ["wsgi.input"].read(min(left, 8192))
        if not piece:
            return
        left -= len(piece)
        yield piece


def stream(environ, start_response):
    start_response("200 OK", [TYPE])
    for _ in range(16):
        yield b"x" * 1024


def wait(environ, start_response):
    time.sleep(0.010)
    return hello(environ, start_response)


def file(environ, start_response):
    opened = open(FILE, "rb")   # noqa: SIM115: the server closes it
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(os.fstat(opened.fileno()).st_size))])
    wrapper = environ.get("wsgi.file_wrapper")
    if wrapper:
        return wrapper(opened, 65536)
    with opened:
        return [opened.read()]


flask_app = flask.Flask(__name__)


@flask_app.get("/flask")
def flask_json():
    return DATA


def django_json(request):
    return JsonResponse(DATA)


class Urls:
    urlpatterns: typing.ClassVar = [path("django", django_json)]


settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"], SECRET_KEY="bench", MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
django.setup()

ROUTES = {"/": hello, "/10k": fixed(b"x" * 10240), "/100k": fixed(b"x" * 102400), "/echo": echo, "/echo-stream": echo_stream, "/stream": stream,
          "/wait": wait, "/file": file, "/flask": flask_app.wsgi_app, "/django": get_wsgi_application()}


def app(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)
