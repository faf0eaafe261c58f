"""Headless Chromium over its DevTools pipe (--remote-debugging-pipe: JSON messages that end with a NUL)."""

import fcntl
import json
import os
import shutil
import subprocess

from lib.limits import patience, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    def __init__(self, profile, *arguments):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # The browser reads at descriptor 3 and writes at 4: ours must not be these.
        theirs_in, theirs_out = (self.above(fd) for fd in (theirs_in, theirs_out))
        command = ["/bin/bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "sh", CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
                   "--remote-debugging-pipe", f"--user-data-dir={profile}", *arguments]
        self.process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(theirs_in)
        os.close(theirs_out)
        self.reader, self.writer = os.fdopen(ours_in, "rb", buffering=0), ours_out
        self.rest, self.number, self.session = b"", 0, None

    @staticmethod
    def above(fd):
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
        os.close(fd)
        return high

    def message(self):
        while b"\0" not in self.rest:
            piece = self.reader.read(65536)
            if not piece:
                raise ConnectionError("the browser ended")
            self.rest += piece
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self.number += 1
        text = {"id": self.number, "method": method, "params": params}
        if self.session:
            text["sessionId"] = self.session
        os.write(self.writer, json.dumps(text).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url):
        target = self.call("Target.createTarget", url=url)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression, what, seconds=30):
        """Until an expression of the page is true; its value."""
        return until(lambda: self.value(expression), what, seconds)

    def stop(self):
        os.close(self.writer)
        self.process.terminate()
        try:
            self.process.wait(patience(20))
        finally:
            self.process.kill()
            self.reader.close()
