"""Entries of the bench that are other servers, each with the settings that cost it least. One worker; access logs off, as ours is."""

import resource
import signal
from pathlib import Path

from entries import Entry, package, program, told

NGINX = """
worker_processes {workers}; daemon off; pid {dir}/{name}.pid; error_log {log}; {user}
events {{ worker_connections 12000; }}
http {{ access_log off; sendfile on; keepalive_timeout 300s; keepalive_requests 100000000; server_tokens off;
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 100000000; keepalive_timeout 300s; }}
  ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
  server {{ listen 127.0.0.1:{port} backlog=2048; listen 127.0.0.1:{tls} ssl http2 backlog=2048;
    location / {{ default_type "text/plain; charset=utf-8"; return 200 "Hello, world!"; }}
    location /files/ {{ root {dir}; }}
    location /small {{ {proxy} }}
    location /large {{ {proxy} }} }} }}
"""
PROXY = """proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; proxy_buffers 8 16k; proxy_buffer_size 16k;
  proxy_busy_buffers_size 32k;"""
HAPROXY = """
global
    nbthread 1
    maxconn {most}
    tune.ssl.cachesize 20000
    ssl-default-bind-options ssl-min-ver TLSv1.2
    stats socket {dir}/{name}.sock
defaults
    mode http
    maxconn {most}
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    option http-keep-alive
    http-reuse always
frontend all
    bind 127.0.0.1:{port} backlog 2048
    bind 127.0.0.1:{tls} backlog 2048 ssl crt {dir}/both.pem
    http-request return status 200 content-type "text/plain; charset=utf-8" string "Hello, world!" unless {{ path /small /large }}
    default_backend origin
backend origin
    option forwardfor
    server origin 127.0.0.1:{origin} pool-max-conn 64
"""
H2O = """
num-threads: 1
pid-file: {dir}/{name}.pid
error-log: {log}
{user}
http1-request-timeout: 300
http2-idle-timeout: 300
max-connections: 12000
hosts:
  "default":
    listen: {{ host: 127.0.0.1, port: {port} }}
    listen:
      host: 127.0.0.1
      port: {tls}
      ssl: {{ certificate-file: {dir}/cert.pem, key-file: {dir}/key.pem, ocsp-update-interval: 0 }}
    paths:
      "/files":
        file.dir: {dir}/files
      "/small":
        proxy.reverse.url: http://127.0.0.1:{origin}/small
        proxy.timeout.keepalive: 300000
      "/large":
        proxy.reverse.url: http://127.0.0.1:{origin}/large
        proxy.timeout.keepalive: 300000
      "/":
        file.dir: {dir}/hello
"""
LIGHTTPD = """
server.document-root = "{dir}"
server.port = {port}
server.bind = "127.0.0.1"
server.modules = ("mod_openssl", "mod_setenv")
server.errorlog = "{log}"
server.max-connections = 12000
server.max-fds = 24100
server.max-keep-alive-requests = 1000000000
server.max-keep-alive-idle = 300
server.listen-backlog = 2048
server.stat-cache-engine = "simple"
index-file.names = ("hello/index.html")
mimetype.assign = ("" => "text/plain; charset=utf-8")
$SERVER["socket"] == "127.0.0.1:{tls}" {{ ssl.engine = "enable" ssl.pemfile = "{dir}/cert.pem" ssl.privkey = "{dir}/key.pem" }}
"""


def configured(name, text, argv, **more):
    def command(context, server):
        user = context.user
        words = {key: value.format(user=user) if user else "" for key, value in more.items()}
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        words = {"user": "", "workers": 1, "most": min(12000, files // 2 - 50), **words}
        path = context.file(f"{server.entry.name}.conf", text.format(port=server.port, tls=server.tls, origin=context.origin, dir=context.directory,
                                                                     log=server.log, name=server.entry.name, proxy=PROXY, **words))
        return [program(name), *(path if word == "FILE" else word for word in argv)]
    return command


def debian(name, packages, argv=("-v",)):
    return {"version": lambda context: program(name) and told([program(name), *argv]), "why": f"not installed (Debian: {packages})"}


def edges():
    raw = {"version": lambda context: "tests/bench/raw.c", "why": ""}
    yield Entry("raw", lambda c, s: [c.directory / "raw", s.port, s.tls, c.directory],
                "a bare epoll loop with http-parser and OpenSSL, small files in memory: the practical limit", **raw)
    nginx = "open_file_cache, sendfile, keep-alive to the upstream, of several sizes of proxy buffers the best; access_log off"
    yield Entry("nginx", configured("nginx", NGINX, ["-c", "FILE"], user="user {user};"), nginx, **debian("nginx", "nginx-light"))
    yield Entry("nginx-2w", configured("nginx", NGINX.replace("{workers}", "2"), ["-c", "FILE"], user="user {user};"), "the same with 2 workers",
                **debian("nginx", "nginx-light"))
    yield Entry("haproxy", configured("haproxy", HAPROXY, ["-db", "-f", "FILE"]), "nbthread 1, http-reuse always", **debian("haproxy", "haproxy"))
    yield Entry("h2o", configured("h2o", H2O, ["-m", "worker", "-c", "FILE"], user="user: {user}"), "num-threads 1; hello is a file, which it has in memory",
                **debian("h2o", "h2o", ("--version",)))
    yield Entry("lighttpd", configured("lighttpd", LIGHTTPD, ["-D", "-f", "FILE"]), "hello is a file; stat cache", **debian("lighttpd", "lighttpd lighttpd-mod-openssl"))


# ---- Python


def site_packages(context):
    """Where the frameworks are, for a server with an interpreter of its own."""
    return next(iter(Path(context.python).parents[1].glob("lib/python3*/site-packages")), "")


def module(name, settings, argv, what, more_packages=(), **more):
    """An entry of a package: argv with {port}, run by the bench's interpreter."""
    def command(context, server):
        return [context.python, "-B", *(word.format(port=server.port, dir=context.directory) for word in argv)]

    def version(context):
        versions = [(one, package(context, one)) for one in (what, *more_packages)]
        if any(number is None for _, number in versions):
            return None
        return ", ".join(number if one == what else f"{one} {number}" for one, number in versions)
    return Entry(name, command, settings, version, f"its packages cannot be installed here ({what}, tests/bench/requirements.txt)", **more)


GUNICORN = ["-m", "gunicorn", "--no-control-socket", "-w", "1", "-b", "127.0.0.1:{port}", "--worker-connections", "12000", "--backlog", "2048", "--keep-alive", "300"]


def gunicorn(name, kind, app, *words, packages=()):
    return module(name, f"-k {kind} {' '.join(words)} --keep-alive 300", [*GUNICORN, "-k", kind, *words, app], "gunicorn", packages)


def wsgi():
    app = "wsgi:app"
    slow, fast = ("--http-parser", "python"), ("--http-parser", "fast")
    yield gunicorn("gunicorn-sync", "sync", app, *slow)
    yield gunicorn("gunicorn-gthread", "gthread", app, "--threads", "8", *slow)
    yield gunicorn("gunicorn-gthread-h1c", "gthread", app, "--threads", "8", *fast, packages=["gunicorn_h1c"])
    yield gunicorn("gunicorn-gthread-64", "gthread", app, "--threads", "64", *fast, packages=["gunicorn_h1c"])
    yield gunicorn("gunicorn-gevent", "gevent", app, *slow, packages=["gevent"])
    yield gunicorn("gunicorn-gevent-h1c", "gevent", app, *fast, packages=["gevent", "gunicorn_h1c"])
    yield gunicorn("gunicorn-hello-wsgi", "sync", "hello_wsgi:app", *slow)
    yield module("granian-wsgi", "--interface wsgi --workers 1 --backlog 2048, else as it comes",
                 ["-m", "granian", "--interface", "wsgi", "--workers", "1", "--host", "127.0.0.1", "--port", "{port}", "--backlog", "2048", "--no-access-log",
                  "--http", "1", "--no-ws", app], "granian")
    for kind in ("bjoern", "fastpysgi"):
        settings = "listen_backlog = 2048" if kind == "bjoern" else "tcp_nodelay = 1"
        yield module(kind, settings, ["serve.py", kind, app, "{port}"], kind)
    yield Entry("uwsgi", lambda c, s: [program("uwsgi"), "--plugin", "python3", "--http11-socket", f"127.0.0.1:{s.port}", "--master", "--workers", "1",
                                       "--disable-logging", "--need-app", "--die-on-term", "--listen", "1024",
                                       "--pythonpath", site_packages(c), "--module", app],
                "--http11-socket in the worker, --master, --workers 1, --disable-logging, Debian's interpreter",
                **debian("uwsgi", "uwsgi-core uwsgi-plugin-python3", ("--version",)))


def asgi():
    app = "asgi:app"
    yield module("uvicorn", "--loop uvloop --http httptools --no-access-log --log-level warning --timeout-keep-alive 300",
                 ["-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
                  "--timeout-keep-alive", "300", app], "uvicorn", ["uvloop", "httptools", "websockets"])
    yield module("granian-asgi", "--interface asgi --loop uvloop --workers 1 --backlog 2048, else as it comes",
                 ["-m", "granian", "--interface", "asgi", "--loop", "uvloop", "--workers", "1", "--host", "127.0.0.1", "--port", "{port}", "--backlog", "2048",
                  "--no-access-log", "--http", "1", app], "granian", ["uvloop"])
    yield gunicorn("gunicorn-asgi", "asgi", app, "--asgi-loop", "uvloop", "--http-parser", "python", packages=["uvloop"])
    yield gunicorn("gunicorn-asgi-h1c", "asgi", app, "--asgi-loop", "uvloop", "--http-parser", "fast", packages=["uvloop", "gunicorn_h1c"])
    yield module("hypercorn", "-k uvloop -w 1 --keep-alive 300",
                 ["-m", "hypercorn", "-k", "uvloop", "-w", "1", "--keep-alive", "300", "-b", "127.0.0.1:{port}", app],
                 "hypercorn", ["uvloop"])
    yield module("fastpysgi-asgi", "tcp_nodelay = 1", ["serve.py", "fastpysgi", app, "{port}"], "fastpysgi", stop_signal=signal.SIGKILL)
    yield module("uvicorn-hello-asgi", "as above, the smallest app",
                 ["-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
                  "--timeout-keep-alive", "300", "hello_asgi:app"], "uvicorn", ["uvloop", "httptools"])


def peers():
    yield from edges()
    yield from wsgi()
    yield from asgi()
