import os
import time


def note(text):
    with open(os.environ["NOTES"], "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {text}\n")


note("imported")


def app(environ, start_response):
    path = environ["PATH_INFO"]
    note(f"called {path}")
    if path == "/raise":
        raise ValueError("as asked")
    if path == "/hang":
        time.sleep(60)
    body = str(os.getpid()).encode()
    start_response("404 Not Found" if path == "/none" else "200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
