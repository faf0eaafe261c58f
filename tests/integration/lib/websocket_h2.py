"""The client of lib/websocket.py on a stream of HTTP/2 (RFC 8441), by Python's h2."""

import socket

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes

from lib.limits import patience
from lib.websocket import WebSocket
from lib.wire import Closed, Response


class Carrier:
    """A connection for any number of WebSockets, and requests beside them."""

    def __init__(self, address, context=None):
        self.sock = socket.create_connection(address, timeout=patience(30))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.scheme = "https" if context else "http"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.streams = {}
        self.eof = self.ready = False
        self.h2.initiate_connection()
        self.flush()
        while not self.ready and self.pump():
            pass
        assert self.h2.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def pump(self):
        """What comes is for somebody; False at the end."""
        data = b"" if self.eof else self.sock.recv(65536)
        self.eof = not data
        for event in self.h2.receive_data(data) if data else ():
            self.ready |= isinstance(event, h2.events.RemoteSettingsChanged)
            stream = self.streams.get(getattr(event, "stream_id", None))
            if stream:
                stream.note(event)
        if data:
            self.flush()
        return not self.eof

    def open(self, owner, headers, end=False):
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = owner
        self.h2.send_headers(number, [(name.lower(), value) for name, value in headers], end_stream=end)
        self.flush()
        return number


class Stream(WebSocket):
    """Instead of WebSocket(address, …); carrier: an open one, else it has its own. refused=True: the answer may be any."""

    def __init__(self, address, path="/echo", headers=(), carrier=None, refused=False, protocol="websocket"):
        self.buffer, self.ended, self.reset, self.response = b"", False, None, None
        self.own = carrier is None
        self.carrier = carrier or Carrier(address)
        self.number = self.carrier.open(self, [(":method", "CONNECT"), (":protocol", protocol), (":scheme", self.carrier.scheme), (":path", path),
                                               (":authority", "localhost"), ("sec-websocket-version", "13"), *headers])
        while not self.response and not self.reset and self.carrier.pump():
            pass
        assert self.response and (refused or self.response.status == 200), (self.response, self.reset)
        self.agree()

    def note(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            fields = [(name, value) for name, value in event.headers if not name.startswith(":")]
            self.response = Response("HTTP/2", int(dict(event.headers)[":status"]), "", fields)
        elif isinstance(event, h2.events.DataReceived):
            self.buffer += event.data
            self.carrier.h2.acknowledge_received_data(event.flow_controlled_length, self.number)
        elif isinstance(event, h2.events.StreamReset):
            self.reset = event
        self.ended |= isinstance(event, h2.events.StreamEnded)

    def fill(self):
        before = len(self.buffer)
        while len(self.buffer) == before:
            if self.ended:
                return False
            if self.reset or not self.carrier.pump():
                raise Closed(self.buffer, reset=True)
        return True

    def send(self, data):
        codec = self.carrier.h2
        try:
            while data:
                room = min(codec.local_flow_control_window(self.number), codec.max_outbound_frame_size, len(data))
                if room:
                    codec.send_data(self.number, data[:room])
                    data = data[room:]
                    self.carrier.flush()
                elif not self.carrier.pump():
                    raise BrokenPipeError
        except h2.exceptions.ProtocolError as error:        # the stream is closed
            raise BrokenPipeError from error
        return self

    def half_close(self):
        self.carrier.h2.end_stream(self.number)
        self.carrier.flush()
        return self

    def close(self):
        """Without a word: the stream is reset, or its connection goes."""
        if self.own:
            self.carrier.close()
            return
        try:
            self.carrier.h2.reset_stream(self.number, 8)
            self.carrier.flush()
        except h2.exceptions.ProtocolError:
            pass        # it was over
