import time


def post_fork(server, worker):
    print("post_fork", time.sleep.__module__, flush=True)


def post_worker_init(worker):
    time.sleep(0.01)
    print("post_worker_init", flush=True)


def pre_request(worker, req):
    time.sleep(0.001)


def post_request(worker, req, environ, resp):
    time.sleep(0.001)
    print("post_request", req.path, resp.status, flush=True)


def worker_int(worker):
    time.sleep(0.01)
    print("worker_int", flush=True)


def worker_exit(server, worker):
    time.sleep(0.01)
    print("worker_exit", flush=True)
