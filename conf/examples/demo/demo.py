"""The WSGI demo of `make run`: one page that shows who served it, with a form, an upload and a stream to try.

Plain PEP 3333 and the standard library only, so it also shows what an app looks like to the server:

    monoceros --chdir conf/examples/demo demo:app
"""

import hashlib
import json
import os
import platform
import sys
import time
from email.parser import BytesParser
from email.policy import HTTP
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import parse_qsl

HERE = Path(__file__).resolve().parent
README = HERE.parents[2] / "README.md"
PAGE = Template((HERE / "page.html").read_text(encoding="utf-8"))
STARTED = time.time()
requests = 0    # answered by this worker


def plural(number, word):
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def resident():
    """Memory of this process in MB, or None where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def headers(environ):
    """The request's header fields, named as on the wire."""
    fields = {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")}
    fields |= {key: environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)}
    return {key.replace("_", "-").title(): str(value) for key, value in sorted(fields.items())}


def facts(environ):
    """What the page and /json tell, by section."""
    memory = resident()
    return {
        "Worker": {
            "pid": os.getpid(),
            "type": environ.get("monoceros.worker_class", "unknown"),
            "arbiter pid": os.getppid(),
            "requests": requests,
            "up for": plural(int(time.time() - STARTED), "second"),
            "memory": f"{memory:.1f} MB" if memory else "unknown",
        },
        "Python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "environment": sys.prefix if sys.prefix != sys.base_prefix else "none (system)",
            "compiler": platform.python_compiler(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "Server": {
            "software": environ.get("SERVER_SOFTWARE", "unknown"),
            "address": f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}",
            "scheme": environ["wsgi.url_scheme"],
            "threads": "yes" if environ["wsgi.multithread"] else "no",
            "WSGI": ".".join(map(str, environ["wsgi.version"])),
            "processes": "many" if environ["wsgi.multiprocess"] else "one",
        },
        "Request": {
            "method": environ["REQUEST_METHOD"],
            "path": environ.get("PATH_INFO", ""),
            "query": environ.get("QUERY_STRING", "") or "none",
            "protocol": environ["SERVER_PROTOCOL"],
            "client": environ.get("REMOTE_ADDR") or "unix socket",
            "host": environ.get("HTTP_HOST", "none"),
        },
    }


def rows(table):
    return "".join(f"<tr><th scope=row>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>" for key, value in table.items())


def page(environ, note=""):
    told = facts(environ)
    cards = "".join(f"<section class=card><h2>{name}</h2><table>{rows(table)}</table></section>" for name, table in told.items())
    plain = {key: repr(value) for key, value in sorted(environ.items()) if not key.startswith("HTTP_")}
    html = PAGE.substitute(
        pid=os.getpid(), type=escape(told["Worker"]["type"]), python=platform.python_version(),
        software=escape(told["Server"]["software"]), count=plural(requests, "request"), cards=cards, headers=rows(headers(environ)),
        environ=rows(plain), variables=len(plain), note=f'<p class=note role=status>{note}</p>' if note else "")
    return "200 OK", "text/html; charset=utf-8", [html.encode()]


def as_json(environ):
    told = facts(environ) | {"Headers": headers(environ)}
    return "200 OK", "application/json", [json.dumps(told, indent=2, ensure_ascii=False).encode() + b"\n"]


def read_form(environ):
    """Fields and files ({name: (filename, bytes)}) of a posted form of either kind."""
    body = environ["wsgi.input"].read()
    kind = environ.get("CONTENT_TYPE", "")
    if not kind.lower().startswith("multipart/form-data"):
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)), {}
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    fields, files = {}, {}
    for part in message.iter_parts():
        name = part.get_param("name", "", header="content-disposition")
        data = part.get_payload(decode=True) or b""
        if part.get_filename() is None:
            fields[name] = data.decode("utf-8", "replace")
        else:
            files[name] = (part.get_filename(), data)
    return fields, files


def form(environ):
    fields, _ = read_form(environ)
    name = fields.get("name", "").strip() or "stranger"
    return page(environ, f"Hello, <b>{escape(name)}</b>! Worker {os.getpid()} read your form.")


def upload(environ):
    _, files = read_form(environ)
    name, data = files.get("file", ("", b""))
    if not name:
        return page(environ, "No file was chosen.")
    digest = hashlib.sha256(data).hexdigest()
    return page(environ, f"Got <b>{escape(name)}</b>: {plural(len(data), 'byte')}, SHA-256 <code>{digest}</code>")


def stream(environ):
    """Ten lines, a quarter of a second apart: each is sent before the next is made."""
    def lines():
        for number in range(1, 11):
            yield f"{number:2} of 10 from worker {os.getpid()} at {time.strftime('%H:%M:%S')}\n".encode()
            time.sleep(0.25)
    return "200 OK", "text/plain; charset=utf-8", lines()


def readme(environ):
    try:
        return "200 OK", "text/plain; charset=utf-8", [README.read_bytes()]
    except OSError:
        return "404 Not Found", "text/plain; charset=utf-8", [b"README.md is not beside this copy of the demo.\n"]


PAGES = {("GET", "/"): page, ("GET", "/json"): as_json, ("GET", "/stream"): stream, ("GET", "/readme"): readme,
         ("POST", "/form"): form, ("POST", "/upload"): upload}


def app(environ, start_response):
    global requests
    requests += 1
    path = environ.get("PATH_INFO") or "/"
    method = "GET" if environ["REQUEST_METHOD"] == "HEAD" else environ["REQUEST_METHOD"]
    handler = PAGES.get((method, path))
    extra = []
    if handler:
        status, kind, body = handler(environ)
    elif allowed := sorted(known for known, where in PAGES if where == path):
        extra = [("Allow", ", ".join(allowed))]
        status, kind, body = "405 Method Not Allowed", "text/plain", [b"This page takes another method.\n"]
    else:
        status, kind, body = "404 Not Found", "text/plain", [b"There is no such page. The demo begins at /.\n"]
    if isinstance(body, list):
        extra.append(("Content-Length", str(sum(map(len, body)))))
    start_response(status, [("Content-Type", kind), ("Cache-Control", "no-store"), *extra])
    return body
