"""The app of edge.conf: a page that uses all that the edge serves, and an upload. Plain PEP 3333."""

import hashlib
from html import escape
from pathlib import Path
from string import Template

PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))


def digest(stream):
    total, size = hashlib.sha256(), 0
    while piece := stream.read(65536):
        total.update(piece)
        size += len(piece)
    return size, total.hexdigest()


def app(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/upload" and method == "POST":
        size, sha256 = digest(environ["wsgi.input"])
        body = f'{{"bytes": {size}, "sha256": "{sha256}"}}\n'.encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    if path != "/":
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"There is no such page.\n"]
    facts = {"scheme": environ["wsgi.url_scheme"], "client": environ["REMOTE_ADDR"], "host": environ.get("HTTP_HOST", "")}
    body = PAGE.substitute({name: escape(value) for name, value in facts.items()}).encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
