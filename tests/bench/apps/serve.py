"""Servers that are started by a call: serve.py bjoern|fastpysgi MODULE:NAME PORT."""

import importlib
import signal
import sys

kind, (module, _, name), port = sys.argv[1], sys.argv[2].partition(":"), int(sys.argv[3])
app = getattr(importlib.import_module(module), name)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if kind == "bjoern":
    import bjoern
    bjoern.run(app, "127.0.0.1", port, listen_backlog=2048)
else:
    import fastpysgi
    fastpysgi.server.tcp_nodelay = 1
    fastpysgi.run(app, "127.0.0.1", port)
