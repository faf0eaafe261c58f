"""Every hook of Gunicorn's writes a line: who it is, its name, and what the objects say. For a run of Gunicorn and one of ours beside it."""

import os

wsgi_app = "noted:app"
workers = 1
timeout = 20
graceful_timeout = 10


def note(*words):
    with open(os.environ["NOTES"], "a", encoding="utf-8") as file:
        file.write(" ".join(map(str, (os.getpid(), *words))) + "\n")


note("evaluated")


def on_starting(server):
    note("on_starting", server.num_workers, len(server.WORKERS), server.address == server.cfg.address)


def on_reload(server):
    note("on_reload", server.num_workers)


def when_ready(server):
    cfg = server.cfg
    note("when_ready", server.num_workers, cfg.workers, cfg.timeout, cfg.worker_class_str, cfg.settings["timeout"].get(), cfg.uid == os.geteuid())
    server.log.warning("when_ready writes, too")


def pre_fork(server, worker):
    worker.mark = f"mark{worker.age}"
    note("pre_fork", worker.age, worker.pid)


def post_fork(server, worker):
    note("post_fork", worker.age, worker.mark, worker.pid == os.getpid(), worker.ppid == server.pid, worker.nr, worker.booted)
    server.log.info("post_fork writes %s", "a line")


def post_worker_init(worker):
    note("post_worker_init", worker.age, worker.alive, callable(worker.wsgi), worker.booted, worker.aborted, worker.timeout, worker.cfg.graceful_timeout)
    worker.tmp.notify()
    worker.log.info("%s writes, too", str(worker).replace(str(worker.pid), "PID"))


def worker_int(worker):
    note("worker_int", worker.age)


def worker_abort(worker):
    note("worker_abort", worker.age)


def pre_exec(server):
    note("pre_exec")


def pre_request(worker, req):
    names = sorted(name for name, value in req.headers)
    note("pre_request", worker.nr, req.method, req.uri, req.path, req.query, req.version, names, req.scheme, req.remote_addr[0])


def post_request(worker, req, environ, resp):
    answer = (resp.status, resp.status_code, resp.headers, resp.sent, resp.response_length) if resp.headers_sent else "nothing"
    note("post_request", worker.nr, req.path, environ["PATH_INFO"], answer)


def child_exit(server, worker):
    alive = True
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        alive = False
    note("child_exit", worker.age, worker.mark, alive, len(server.WORKERS))


def worker_exit(server, worker):
    note("worker_exit", worker.age, worker.alive)


def nworkers_changed(server, new_value, old_value):
    note("nworkers_changed", new_value, old_value)


def on_exit(server):
    note("on_exit", len(server.WORKERS))
