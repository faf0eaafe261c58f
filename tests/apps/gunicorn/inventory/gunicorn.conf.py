"""As in the examples of many Django projects: plain values, two addresses, workers by the number of processors, logging from an ini file."""

import multiprocessing
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent

# Where the WSGI process listens.
bind = [f"127.0.0.1:{os.environ['SITE_PORT']}", f"unix:{os.environ['SITE_SOCKET']}"]

# Typically 2n + 1, where n is the number of cores.
workers = multiprocessing.cpu_count() * 2 + 1
worker_class = "gthread"
threads = 3

# Seconds that a request may take.
timeout = 120
keepalive = 5

# To keep memory leaks small.
max_requests = 5000
max_requests_jitter = 500

wsgi_app = "inventory:application"
chdir = str(BASE_DIR)
raw_env = ["INVENTORY_SETTINGS=production", "INVENTORY_SECRET=a=b"]
proc_name = "inventory"
worker_tmp_dir = "/dev/shm"
logconfig = str(BASE_DIR / "logging.ini")
accesslog = "-"
errorlog = "-"
access_log_format = '%({x-forwarded-for}i)s %(l)s "%(r)s" %(s)s %(b)s %(L)s'
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
