"""A local web server whose every path does as it is told, well or badly."""
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Answers a path by the function that stands for it, the default for others; counts who asks and how many at once.

    Attributes:
        routes: path -> function(handler). asked: every path asked for, in order. most: requests at a time, at most.
    """

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), Handler)
        self.routes: dict[str, Callable] = {}
        self.asked: list[str] = []
        self.active = self.most = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Who goes away in the middle is what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with self.server.lock:
            self.server.asked.append(self.path)
            self.server.active += 1
            self.server.most = max(self.server.most, self.server.active)
        try:
            self.server.routes[self.path](self)
        finally:
            with self.server.lock:
                self.server.active -= 1

    def log_message(self, *_):
        pass


def answer(body=b"", status=200, kind="image/jpeg", **headers):
    """A function that answers so; `Content_Length` may lie."""
    def send(handler):
        handler.send_response(status)
        told = {"Content_Type": kind, "Content_Length": len(body), **headers}
        for name, value in told.items():
            if value is not None:
                handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)
    return send


def in_turn(*functions):
    """The first time the first one, and so on; the last one for ever."""
    left = list(functions)
    lock = threading.Lock()

    def send(handler):
        with lock:
            function = left.pop(0) if len(left) > 1 else left[0]
        function(handler)
    return send


def hang_up(handler):
    """Close without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def drip(seconds, body=b"\xff" * 10_000):
    """A byte now and then: never silent for long, never done."""
    def send(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for byte in body:
            handler.wfile.write(bytes([byte]))
            time.sleep(seconds)
    return send


def drip_headers(handler):
    """A header now and then, and no end of them."""
    handler.send_response(200)
    for number in range(100):
        handler.send_header(f"X-{number}", "")
        handler.flush_headers()
        time.sleep(0.1)


def redirect(to, status=302):
    """Send them elsewhere."""
    return answer(status=status, kind=None, Location=to)
