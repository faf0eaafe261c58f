"""A FastCGI responder under a script: requests as their variables and body, replies as records."""

import struct

BEGIN, END, PARAMS, STDIN, STDOUT, STDERR = 1, 3, 4, 5, 6, 7


def record(kind, data=b"", pad=0):
    return struct.pack(">BBHHBB", 1, kind, 1, len(data), pad, 0) + data + bytes(pad)


def end(protocol_status=0):
    return record(END, struct.pack(">IBxxx", 0, protocol_status))


def variables(data):
    found, i = {}, 0

    def length():
        nonlocal i
        if data[i] < 128:
            i += 1
            return data[i - 1]
        i += 4
        return struct.unpack(">I", data[i - 4:i])[0] & 0x7FFFFFFF

    while i < len(data):
        name, value = length(), length()
        key = data[i:i + name].decode()
        assert key not in found, key
        found[key] = data[i + name:i + name + value].decode("latin-1")
        i += name + value
    return found


class Request:
    def __init__(self, peer):
        """Reads one; Gone when the connection ends before."""
        streams = {PARAMS: b"", STDIN: b""}
        self.keep = None
        open_streams = {PARAMS, STDIN}
        while open_streams:
            version, kind, number, length, pad = struct.unpack(">BBHHBx", peer.exactly(8))
            assert (version, number) == (1, 1)
            data = peer.exactly(length + pad)[:length]
            if kind == BEGIN:
                role, flags = struct.unpack(">HB5x", data)
                assert role == 1 and self.keep is None
                self.keep = bool(flags & 1)
            elif data:
                assert kind in open_streams
                streams[kind] += data
            else:
                open_streams.remove(kind)
        self.vars = variables(streams[PARAMS])
        self.body = streams[STDIN]


def answering(answer, requests=None):
    """A script: answer(request) gives the bytes of STDOUT, or all records with a tuple (bytes,)."""

    def script(peer):
        keep = True
        while keep:
            request = Request(peer)
            keep = request.keep
            if requests is not None:
                requests.append(request)
            reply = answer(request)
            peer.send(reply[0] if isinstance(reply, tuple) else record(STDOUT, reply) + record(STDOUT) + end())

    return script
