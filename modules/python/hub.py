"""gevent and eventlet: what C needs of each. The build embeds this text (auto/embed); hub.c runs it once in each process of a pool with a hub."""

import os


class Gevent:
    def __init__(self):
        import gevent.monkey
        self.gevent = gevent

    def patch(self):
        self.gevent.monkey.patch_all()

    def forked(self):
        self.gevent.reinit()

    def hub(self):
        """The greenlet of the hub."""
        return self.gevent.get_hub()

    def watch(self, fd, turn):
        """From now on the hub calls turn() whenever fd can be read."""
        self.watcher = self.gevent.get_hub().loop.io(fd, 1)
        self.watcher.start(turn)

    def unwatch(self):
        self.watcher.stop()


class Eventlet:
    def __init__(self):
        import eventlet.hubs
        self.eventlet = eventlet

    def patch(self):
        self.eventlet.monkey_patch()

    def forked(self):
        self.eventlet.hubs.use_hub()

    def hub(self):
        hub = self.eventlet.hubs.get_hub()
        hub.ensure_greenlet()
        return hub.greenlet

    def watch(self, fd, turn):
        hub = self.eventlet.hubs.get_hub()
        self.listener = hub.add(hub.READ, fd, turn, turn, turn)
        os.register_at_fork(after_in_child=self.forked)     # or a child of the app would change what its parent waits for

    def unwatch(self):
        self.eventlet.hubs.get_hub().remove(self.listener)


def load(kind):
    try:
        return {"gevent": Gevent, "eventlet": Eventlet}[kind]()
    except ModuleNotFoundError as error:
        if error.name != kind:
            raise
        raise RuntimeError(f"worker_class {kind} needs the package {kind}") from None
