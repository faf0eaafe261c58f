"""Python's h2 library as a client: requests of one connection beside each other, windows obeyed in both directions."""

import socket

import h2.connection
import h2.events

from lib.limits import patience


class H2Client:
    def __init__(self, address, context=None):
        self.sock = socket.create_connection(address, timeout=patience(60))
        if context:
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.scheme = "https" if context else "http"
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.bodies, self.sizes, self.heads, self.trailers, self.ended, self.reset = {}, {}, {}, {}, set(), {}
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def ask(self, path, method="GET", body=None, trailers=None):
        """The number of a stream. body: bytes, or a count of bytes to make up."""
        stream = self.h2.get_next_available_stream_id()
        self.sizes[stream] = 0
        self.bodies[stream] = b""
        self.h2.send_headers(stream, [(":method", method), (":authority", "localhost"), (":scheme", self.scheme), (":path", path)], end_stream=body is None)
        self.flush()
        if body is not None:
            self.upload(stream, body, trailers)
        return stream

    def upload(self, stream, body, trailers):
        left = body if isinstance(body, int) else len(body)
        while left > 0 and stream not in self.ended:
            n = min(left, self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if n > 0:
                self.h2.send_data(stream, bytes(n) if isinstance(body, int) else body[len(body) - left:len(body) - left + n])
                left -= n
                self.flush()
            else:
                self.step()
        if trailers:
            self.h2.send_headers(stream, trailers, end_stream=True)
        else:
            self.h2.end_stream(stream)
        self.flush()

    def cancel(self, stream):
        self.h2.reset_stream(stream, 8)
        self.flush()

    def step(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("the server has closed the connection")
        for event in self.h2.receive_data(data):
            self.note(event)
        self.flush()

    def note(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.heads[event.stream_id] = dict((n.decode(), v.decode()) for n, v in event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers[event.stream_id] = dict((n.decode(), v.decode()) for n, v in event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.sizes[event.stream_id] += len(event.data)
            if self.sizes[event.stream_id] < 1000:
                self.bodies[event.stream_id] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.reset[event.stream_id] = event.error_code
            self.ended.add(event.stream_id)

    def finish(self, *streams):
        while not set(streams) <= self.ended:
            self.step()
        lost = {s: self.reset[s] for s in streams if s in self.reset}
        assert not lost, lost
