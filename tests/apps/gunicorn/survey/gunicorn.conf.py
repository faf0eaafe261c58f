"""As in services in containers: every value from the environment, names by the dozen, JSON logs by a dictionary, work after the fork."""

import json
import multiprocessing
import os

workers_per_core = float(os.getenv("WORKERS_PER_CORE", "1"))
max_workers_str = os.getenv("MAX_WORKERS")
use_max_workers = int(max_workers_str) if max_workers_str else None
web_concurrency_str = os.getenv("WEB_CONCURRENCY")
cores = multiprocessing.cpu_count()
web_concurrency = int(web_concurrency_str) if web_concurrency_str else max(int(workers_per_core * cores), 2)
if use_max_workers:
    web_concurrency = min(web_concurrency, use_max_workers)

host = os.getenv("HOST", "127.0.0.1")
port = os.getenv("SITE_PORT", "80")
bind_env = os.getenv("BIND", None)
use_bind = bind_env if bind_env else f"{host}:{port}"

# Gunicorn config variables
loglevel = os.getenv("LOG_LEVEL", "info")
workers = web_concurrency
bind = use_bind
errorlog = os.getenv("ERROR_LOG", "-") or None
accesslog = os.getenv("ACCESS_LOG", "-") or None
graceful_timeout = int(os.getenv("GRACEFUL_TIMEOUT", "120"))
timeout = int(os.getenv("TIMEOUT", "120"))
keepalive = int(os.getenv("KEEP_ALIVE", "5"))
wsgi_app = os.getenv("APP_MODULE", "survey:create_app()")

logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"format": '{"level": "%(levelname)s", "logger": "%(name)s", "message": "%(message)s"}'}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"},
    },
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False, "qualname": "gunicorn.error"},
        "gunicorn.access": {"level": "INFO", "handlers": ["console"], "propagate": False, "qualname": "gunicorn.access"},
    },
}


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
    worker.started = True


def post_worker_init(worker):
    worker.log.info("Worker %d has its app: %s", worker.age, worker.started)


# For debugging and testing
log_data = {"loglevel": loglevel, "workers": workers, "bind": bind, "workers_per_core": workers_per_core, "host": host, "port": port}
print(json.dumps(log_data))
