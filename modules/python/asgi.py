"""The event loop of ASGI apps and their lifespan. The build embeds this text (auto/embed); asgi_loop.c runs it once in each
worker that has such apps, before they are imported.

C gives: select(timeout) and watch(fd, events), through which asyncio's loop sleeps in the worker's own; turn(), with which uvloop turns that;
write(level, text) to the error log.
"""

import asyncio
import contextvars
import selectors
import traceback

INFO, WARNING, ERROR = 20, 30, 40

loop = None
lifespans = []
draining = set()
kinds = {}      # of apps, where hosts.py is there: how theirs is made


# ---- the loop

class Selector(selectors._BaseSelectorImpl):
    """What apps watch is watched by the worker's loop; select() turns that loop, and our clients are served in there."""

    select = select

    def register(self, fileobj, events, data=None):
        key = super().register(fileobj, events, data)
        try:
            watch(key.fd, events)
        except BaseException:
            super().unregister(fileobj)
            raise
        return key

    def unregister(self, fileobj):
        key = super().unregister(fileobj)
        watch(key.fd, 0)
        return key

    def modify(self, fileobj, events, data=None):
        key = self.get_key(fileobj)
        if events != key.events:
            watch(key.fd, events)
        key = self._fd_to_key[key.fd] = key._replace(events=events, data=data)
        return key


def import_uvloop(kind):
    """The module, or None; where it is asked for by name it must be there."""
    if kind == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if kind == "uvloop":
            raise
        return None
    return uvloop


def open_loop(kind, fd):
    """Makes the loop; fd is the worker's own, or -1. Returns it, what waits in it (None where that cannot be seen), the keys of its selector (None: it has
    one of its own)."""
    global loop
    uvloop = import_uvloop(kind) if fd >= 0 else None
    if uvloop is None:
        selector = Selector()
        loop = asyncio.SelectorEventLoop(selector)
        seen = loop._ready, selector._fd_to_key
    else:
        loop = uvloop.Loop()
        loop.add_reader(fd, turn)
        seen = None, None
    asyncio.set_event_loop(loop)
    return loop, *seen


# ---- lifespan

def describe(error):
    return "".join(traceback.format_exception(error)).rstrip()


class Lifespan:
    """Startup and shutdown of one app."""

    def __init__(self, app, mode, name):
        self.app, self.mode, self.name = app, mode, name
        self.state = {}
        self.up = False
        self.context = contextvars.copy_context()
        self.events = asyncio.Queue()
        self.phase = self.answer = self.task = None

    async def main(self):
        await self.app({"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}, self.events.get, self.send)

    async def send(self, message):
        kind = message["type"]
        if kind not in (f"lifespan.{self.phase}.complete", f"lifespan.{self.phase}.failed") or self.answer.done():
            raise RuntimeError(f"unexpected message {kind!r} during the {self.phase} of the lifespan")
        self.answer.set_result(str(message.get("message", "")) or "it did not say why" if kind.endswith("failed") else None)

    async def ask(self, phase, seconds=None):
        """Until the app has answered, has ended, or the time is over."""
        self.phase, self.answer = phase, loop.create_future()
        self.events.put_nowait({"type": "lifespan." + phase})
        await asyncio.wait({self.task, self.answer}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def failure(self):
        """The exception with which the app has ended, or None."""
        return self.task.exception() if self.task.done() and not self.task.cancelled() else None

    async def startup(self):
        """None, or why the app must not be served."""
        if self.mode == "off":
            return None
        self.task = loop.create_task(self.main(), context=self.context)
        await self.ask("startup")
        if self.answer.done():
            if (why := self.answer.result()) is None:
                self.up = True
                return None
            await end({self.task}, 1)
            return why
        error = self.failure()
        if self.mode == "on":
            return describe(error) if error else "it has ended before it said that its startup is complete"
        write(INFO, f"App \"{self.name}\" has no lifespan" + (f": {type(error).__name__}: {error}" if error else ""))
        return None

    async def shutdown(self, seconds):
        if not self.up:
            return
        if not self.task.done():
            await self.ask("shutdown", seconds)
            answered = self.answer.done()
            if answered and self.answer.result() is not None:
                write(ERROR, f"App \"{self.name}\": its shutdown failed: {self.answer.result()}")
            elif not answered and not self.task.done():
                write(WARNING, f"App \"{self.name}\": its shutdown is not complete in time")
        await end({self.task}, min(seconds, 0.5))
        if (error := self.failure()) is not None:
            write(ERROR, f"App \"{self.name}\": exception in its lifespan\n{describe(error)}")


def start(*apps):
    """Startup of the apps, one after the other, each (app, mode, name, kind). Why one must not be served, as a text, or each one's (state, context)."""
    async def all_of_them():
        for app, mode, name, kind in apps:
            lifespan = kinds[kind](app, name) if kind in kinds else Lifespan(app, mode, name)
            lifespans.append(lifespan)
            if (why := await lifespan.startup()) is not None:
                return f"App \"{lifespan.name}\": its startup failed: {why}"
        known = len(contextvars.copy_context())
        return [(lifespan.state, lifespan.context if lifespan.context and len(lifespan.context) > known else None) for lifespan in lifespans]
    asyncio.set_event_loop(loop)        # an app may have used asyncio.run() while it was imported, which takes it away
    return loop.run_until_complete(all_of_them())


# ---- the end

def drain():
    """No more clients come: apps with a server of their own may end what would last."""
    async def tell(host):
        try:
            await host.drain()
        except Exception as error:
            write(ERROR, f"App \"{host.name}\": exception at the end of its service\n{describe(error)}")
    for host in lifespans:
        if not isinstance(host, Lifespan):
            draining.add(task := loop.create_task(tell(host)))
            task.add_done_callback(draining.discard)


async def end(tasks, seconds):
    """Waits for these, and cancels those that are not done then."""
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    await cancel({task for task in tasks if not task.done()}, min(seconds, 0.5))


async def cancel(tasks, seconds):
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


def leave(tasks, seconds):
    """Requests that still run are cancelled, then the apps shut down, then goes what they have left; all of it in so many seconds."""
    async def all_of_it():
        until = loop.time() + seconds
        await cancel(tasks, seconds / 4)
        for lifespan in reversed(lifespans):
            await lifespan.shutdown(max(0, until - loop.time() - seconds / 4))
        await cancel(asyncio.all_tasks() - {asyncio.current_task()}, seconds / 8)
        await asyncio.wait_for(loop.shutdown_asyncgens(), seconds / 8)
    loop.run_until_complete(all_of_it())
