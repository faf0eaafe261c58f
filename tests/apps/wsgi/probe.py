"""Tells what a WSGI app was given: the environ as JSON, and what its objects answer."""

import json
from wsgiref.validate import validator


def describe(environ):
    odd = sorted(repr(key) for key in environ if type(key) is not str)
    return {
        "type": type(environ).__name__,
        "odd": odd,
        "environ": {key: value for key, value in environ.items() if type(value) in (str, bool, int)},
        "version": list(environ["wsgi.version"]),
        "body": environ["wsgi.input"].read(1 << 20).decode("latin-1"),
        "callable": [key for key in ("wsgi.file_wrapper", "wsgi.early_hints") if callable(environ.get(key))],
        "errors": [name for name in ("write", "writelines", "flush") if hasattr(environ["wsgi.errors"], name)],
    }


def app(environ, start_response):
    text = json.dumps(describe(environ)).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]


validated = validator(app)


# --- ways to name an app

class Site:
    def __init__(self, word="object"):
        self.word = word
        self.app = self.answer

    def __call__(self, environ, start_response):
        return self.answer(environ, start_response)

    def answer(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [self.word.encode()]


site = Site()


def make(*words, end="."):
    return Site(" ".join(map(str, words)) + end)


def make_nothing():
    return None


def make_trouble():
    return len(5)


number = 5
