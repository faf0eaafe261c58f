"""An app that starts processes: one it waits for, and one that it leaves to whoever reaps orphans."""

import os
import subprocess
import sys


def app(environ, start_response):
    if environ["PATH_INFO"] == "/run":
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        body = b"ran"
    else:
        pid = os.fork()
        if pid == 0:
            if os.fork() == 0:
                os.execv("/bin/sleep", ["sleep", "0.2"])
            os._exit(0)
        os.waitpid(pid, 0)
        body = b"left"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
