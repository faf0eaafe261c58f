"""Gunicorn's hooks: the objects that they are given, and how each is called. The build embeds this text (auto/embed); hooks.c runs it once in
each zygote, and workers inherit it. Server hooks run in the zygote, worker hooks in the worker; none of them ever runs in the arbiter.

C gives: write(level, text) to the error log, requests() of this worker, log_fd(), fatal(): die of SIGABRT with nothing in between.
"""

import faulthandler
import logging
import logging.config
import os
import signal
import time

LIMIT = 5  # seconds that a hook in the zygote may take

hooks = {}
server = worker = None


# ---- logs: what apps and hooks log to Gunicorn's loggers comes to our error log

class Handler(logging.Handler):
    """The error log of the server, which adds time, process and level."""

    def emit(self, record):
        try:
            write(record.levelno, self.format(record))
        except Exception:
            self.handleError(record)


class Log:
    """What Gunicorn's logger is to hooks: a logging.Logger, and its two loggers by name."""

    def __init__(self):
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")

    def __getattr__(self, name):
        return getattr(self.error_log, name)

    def reopen_files(self):
        """The server does that itself."""


def log_defaults():
    """What a logging configuration may leave out, as Gunicorn has it."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "root": {"level": "INFO", "handlers": ["console"]},
        "loggers": {
            "gunicorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": True, "qualname": "gunicorn.error"},
            "gunicorn.access": {"level": "INFO", "handlers": ["console"], "propagate": True, "qualname": "gunicorn.access"},
        },
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
            "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
        },
        "formatters": {
            "generic": {
                "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
                "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
                "class": "logging.Formatter",
            },
        },
    }


def open_logs(settings, names):
    level = getattr(logging, settings["loglevel"].upper(), logging.INFO)
    for name in ("gunicorn.error", "gunicorn.access"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.setLevel(level if name == "gunicorn.error" else logging.INFO)
        logger.handlers = [Handler()]
    wanted, text, path = names.get("logconfig_dict"), settings.get("logconfig_dict"), settings.get("logconfig_json")
    if not wanted and (text or path):
        import json
        if not text:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        wanted = json.loads(text)
    if wanted:
        logging.config.dictConfig({**log_defaults(), **wanted})
    elif settings.get("logconfig"):
        path = os.path.abspath(settings["logconfig"])
        if not os.path.exists(path):
            raise RuntimeError("logconfig: there is no file %s" % path)
        defaults = {key: value for key, value in log_defaults().items() if isinstance(value, (str, int))}
        logging.config.fileConfig(path, defaults={**defaults, "__file__": path, "here": os.path.dirname(path)}, disable_existing_loggers=False)


# ---- the objects

class Setting:
    def __init__(self, name, value):
        self.name, self.value = name, value

    def get(self):
        return self.value


class Config:
    """The settings as attributes: those of the server as it has understood them, then what the file says."""

    def __init__(self, values):
        self.settings = {name: Setting(name, value) for name, value in values.items()}

    def __getattr__(self, name):
        try:
            return self.__dict__["settings"][name].value
        except KeyError:
            raise AttributeError("No configuration setting for: %s" % name) from None

    @property
    def address(self):
        return [address(text) for text in self.bind]

    @property
    def env(self):
        return dict(pair.split("=", 1) for pair in self.raw_env)

    @property
    def is_ssl(self):
        return bool(self.certfile or self.keyfile)

    @property
    def worker_class_str(self):
        return self.worker_class

    uid = property(lambda self: os.geteuid())
    gid = property(lambda self: os.getegid())


def address(text):
    text = text.split()[0]
    if text.startswith(("unix:", "fd://")):
        return text.partition(":")[2] if text.startswith("unix:") else int(text[5:])
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port))


class Beat:
    """worker.tmp: the heartbeat is in shared memory, and the server's own affair."""

    def notify(self):
        pass

    def last_update(self):
        return time.monotonic()

    def close(self):
        pass


class Worker:
    alive = booted = True
    aborted = False
    reloader = wsgi = None
    begun = 0  # requests that hooks have seen

    def __init__(self, age, pid="[booting]"):
        self.age, self.pid, self.ppid = age, pid, server.pid
        self.cfg, self.log, self.timeout = server.cfg, server.log, server.timeout / 2
        self.max_requests, self.sockets, self.tmp, self.app = server.cfg.max_requests or float("inf"), [], Beat(), None

    def __str__(self):
        return "<Worker %s>" % self.pid

    @property
    def nr(self):
        return max(self.begun, requests())

    def notify(self):
        pass


class Server:
    master_name = "Master"
    worker_age = 0

    def __init__(self, pid, cfg):
        self.pid, self.cfg, self.log = pid, cfg, Log()
        self.num_workers, self.WORKERS, self.LISTENERS, self.app = cfg.workers, {}, [], None
        self.address, self.timeout, self.proc_name = cfg.address, cfg.timeout, cfg.proc_name
        self.newborn = {}  # by age: those whose pid is not known yet


class Request:
    body = unreader = fragment = None
    must_close = False

    def __init__(self, method, uri, path, query, minor, headers, peer, scheme):
        self.method, self.uri, self.path, self.query, self.version = method, uri, path, query, (1, minor)
        self.headers, self.peer_addr, self.remote_addr, self.scheme, self.trailers = headers, peer, peer, scheme, []


class Response:
    upgrade = False

    def __init__(self, req, status, headers, sent, headers_sent):
        self.req, self.status, self.headers, self.sent, self.headers_sent = req, status, headers, sent, headers_sent
        self.status_code = int(status.split()[0])
        self.version = "%d.%d" % req.version
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        self.response_length = int(lengths[0]) if lengths else None


# ---- calls

class HookTimeout(BaseException):
    """A hook of the server took too long. Not an Exception, so that no hook takes it for one of its own."""


def on_alarm(number, frame):
    raise HookTimeout("not done within %d s" % LIMIT)


def call(name, *words):
    """Worker hooks. What they raise is logged; whether they ask to end the process."""
    function = hooks.get(name)
    if function:
        try:
            function(*words)
        except SystemExit:
            server.log.exception("%s asks to exit", name)
            return True
        except BaseException:
            server.log.exception("Exception in hook %s", name)
    return False


def call_limited(name, *words):
    """Server hooks: the same within LIMIT. In C code that does not come back the traceback is written all the same, and the arbiter helps."""
    if name not in hooks:
        return False
    before = signal.signal(signal.SIGALRM, on_alarm)
    faulthandler.dump_traceback_later(LIMIT + 0.5, file=log_fd())
    signal.setitimer(signal.ITIMER_REAL, LIMIT, 1)
    try:
        try:
            return call(name, *words)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except HookTimeout:  # just after the hook had returned
        return False
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def setup(reader, settings, location, pid):
    """In the zygote, before the app. reader: the names of gunicorn.py."""
    global server
    names = reader["read"](location) if location else {}
    open_logs(settings, names)
    hooks.update(reader["hooks"](names))
    known = {*reader["PLAIN"], *reader["LISTS"], *reader["CLASSES"], "secure_scheme_headers", "logconfig_dict"}
    said = {name: value for name, value in names.items() if name in known}
    values = {**dict.fromkeys(known), **said, **settings, **hooks}
    values["secure_scheme_headers"] = dict(pair.split(": ", 1) for pair in settings["secure_scheme_headers"])
    server = Server(pid, Config(values))


def tell(name, value, text):
    """The arbiter's news. True: on_starting wants no start."""
    if name == "born":
        server.WORKERS[value] = server.newborn.pop(int(text), None) or Worker(int(text))
        server.WORKERS[value].pid = value
    elif name == "gone":
        server.WORKERS.pop(value, None)
    elif name == "child_exit":
        gone = server.WORKERS.pop(value, None) or Worker(int(text), value)
        gone.alive = False
        call_limited(name, server, gone)
    elif name == "nworkers_changed":
        server.num_workers = value
        call_limited(name, server, value, int(text) if text else None)
    else:
        return call_limited(name, server) and name == "on_starting"
    return False


def before_fork(age):
    """The worker that is forked next: what a hook writes on it, the worker has as well, and child_exit finds it again."""
    global worker
    server.worker_age = age
    for old in [old for old in server.newborn if old < age - 100]:
        del server.newborn[old]  # was never born
    worker = server.newborn[age] = Worker(age)
    worker.booted = False
    call_limited("pre_fork", server, worker)


def on_abort(number, frame):
    """The arbiter's question to a worker that is silent. faulthandler has told where it is."""
    worker.alive = False
    call("worker_abort", worker)
    leaving()
    fatal()


def born():
    worker.pid = os.getpid()
    return call("post_fork", server, worker)


def watch_abort():
    """After the crash handler, before faulthandler's: both write first."""
    if "worker_abort" in hooks:
        signal.signal(signal.SIGABRT, on_abort)


def loaded(app):
    worker.wsgi = app
    leave = call("post_worker_init", worker)
    worker.booted = True
    return leave


def interrupted():
    worker.alive = False
    call("worker_int", worker)


def leaving():
    if worker:
        worker.alive = False
        call("worker_exit", server, worker)


def before_request(*words):
    req = Request(*words)
    if "pre_request" in hooks:
        hooks["pre_request"](worker, req)
    worker.begun += 1
    return req


def after_request(req, environ, *facts):
    call("post_request", worker, req, environ, Response(req, *facts))
