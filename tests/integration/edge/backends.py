"""What stands behind conf/examples/edge.conf: two API peers, a WebSocket echo, php-fpm, and certificates."""

import base64
import hashlib
import shutil
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lib.server import free_port

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FPM = shutil.which("php-fpm") or next((str(path) for path in sorted(Path("/usr/sbin").glob("php-fpm*"))), None)


class Peer:
    """An API peer that says its name, and counts."""

    def __init__(self, name):
        peer = self
        self.name, self.asked, self.checked = name, 0, 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path == "/healthz":
                    peer.checked += 1
                else:
                    peer.asked += 1
                body = f"{peer.name} {self.path} for {self.headers.get('X-Forwarded-For')} by {self.headers.get('X-Forwarded-Proto')}\n".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError("cut off")
        data += piece
    return data


class Echo:
    """A WebSocket server (RFC 6455) for short text messages."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock:
            try:
                self.talk(sock)
            except OSError:
                pass

    @staticmethod
    def talk(sock):
        head = b""
        while b"\r\n\r\n" not in head:
            head += exactly(sock, 1)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        key = next(value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while True:
            first, length = exactly(sock, 2)
            length &= 0x7F
            mask = exactly(sock, 4)
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(exactly(sock, length)))
            sock.sendall(bytes([first, length]) + payload)
            if first & 0x0F == 8:
                return

    def stop(self):
        self.listener.close()


class Php:
    """php-fpm in the foreground on a unix socket of its own."""

    def __init__(self, directory):
        self.socket = directory / "php.sock"
        config = directory / "fpm.conf"
        config.write_text(f"[global]\nerror_log = {directory}/fpm.log\ndaemonize = no\n[www]\nlisten = {self.socket}\n"
                          "pm = static\npm.max_children = 1\nclear_env = yes\n", encoding="utf-8")
        self.process = subprocess.Popen([FPM, "-n", "-R", "-y", config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def listens(self):
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.socket)) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def certificates(directory):
    """An authority, and for shop and www each an ECDSA and an RSA certificate; the authority's file."""
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=Test CA", "-days", "2",
            "-keyout", ca_key, "-out", ca)
    for site, names in (("shop", "DNS:shop.example.org,DNS:*.shop.example.org"), ("www", "DNS:www.example.org")):
        for kind, key in (("ecdsa", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("rsa", ["rsa:2048"])):
            base = directory / f"{site}.{kind}"
            openssl("req", "-new", "-newkey", *key, "-nodes", "-subj", f"/CN={site}.example.org", "-keyout", f"{base}.key", "-out", f"{base}.csr")
            extensions = directory / "extensions"
            extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n", encoding="ascii")
            openssl("x509", "-req", "-in", f"{base}.csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-extfile", extensions,
                    "-out", f"{base}.pem")
            Path(f"{base}.key").chmod(0o600)
    return ca


def settings(directory, http, https, api, echo, php):
    """The environment that conf/examples/edge.conf takes its places from."""
    example = Path(__file__).resolve().parents[3] / "conf" / "examples"
    return {
        "EDGE_DIR": str(example / "edge"), "EDGE_TLS": str(directory), "EDGE_PIDFILE": str(directory / "pid"),
        "EDGE_HTTP": f"127.0.0.1:{http}", "EDGE_HTTPS": f"127.0.0.1:{https}", "EDGE_HTTPS_PORT": f":{https}",
        "EDGE_API_1": api[0].address, "EDGE_API_2": api[1].address, "EDGE_WS": echo.address, "EDGE_PHP": f"unix:{php.socket}" if php else "unix:/nowhere",
    }


def ports():
    http = free_port()
    https = free_port()
    return http, https
