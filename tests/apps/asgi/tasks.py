"""What a request's task is to asyncio in its first step, and garbage that talks to the loop while tasks are made."""

import asyncio
import gc
import json

counts = {"made": 0, "called": 0, "ran": 0}
names = set()
tasks = set()
collecting = False
usual = gc.get_threshold()


def count(word):
    counts[word] += 1


async def run():
    count("ran")


class Garbage:
    """Comes back whenever it is collected, and that is all the time."""

    def __init__(self):
        self.me = self

    def __del__(self):
        if not collecting:
            return
        if counts["made"] == counts["called"] == counts["ran"]:
            count("made")
            loop = asyncio.get_running_loop()
            loop.call_soon(count, "called")
            task = loop.create_task(run())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        Garbage()


def about_me():
    me = asyncio.current_task()
    known = [task for task in asyncio.all_tasks() if task.get_name().startswith("Request-")]
    names.add(me.get_name())
    return {"known": me in asyncio.all_tasks(), "requests": len(known), "names": len(names)}


async def app(scope, receive, send):
    global collecting
    if scope["type"] != "http":
        return
    if scope["path"] == "/litter":
        collecting = True
        Garbage()
    elif scope["path"] == "/tidy":
        collecting = False
        gc.set_threshold(*usual)
        gc.collect()
        await asyncio.sleep(0.01)
    elif scope["path"] == "/wait":
        await receive()
        await receive()
    if collecting:      # at another place of the next request
        gc.set_threshold(1 + counts["made"] % 16)
    body = json.dumps({**about_me(), **counts}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
