"""The page's server: this machine alone, one job at a time, everything that comes is checked before it is read.

A request must name this server as its Host, and as its Origin where it has one: a page elsewhere, or a name that was
bent to this address, gets 403. What is asked (all by POST) must carry the token that stands in the printed address,
behind the #, which no browser sends along. GET gives the page, which tells of the run and of no photo.

    /photo  a photo's bytes        /write  a sentence      /page  the story as HTML
    /video  a video's bytes                                /vist  the story as VIST's JSON
"""
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import DISK_ERRORS, UserError
from data.files import require_room
from data.pictures.photos import BadPhoto
from evaluate.app.saving import HERE, write_page, write_vist
from evaluate.app.telling import MAX_SENTENCE, Telling
from evaluate.app.uploads import MAX_PHOTO_BYTES, MAX_VIDEO_BYTES, read_key_frames
from evaluate.config import AppConfig
from evaluate.own_story.story import Storyteller
from evaluate.page.report import ASSETS, content_policy, embed_json, environment

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
MAX_JSON_BYTES = 1 << 16
MAX_LISTED = 1000      # things in a list: a world has more tags than a story photos
MAX_CONNECTIONS = 32
MAX_WAITING = 6        # jobs, the one at work among them
IDLE_SECONDS = 15      # without a byte
BODY_SECONDS = 60      # for all of a body
LINGER_SECONDS = 2     # that a refused body is read and dropped, so that the refusal arrives
BLOCK = 1 << 16


class Refusal(Exception):
    """An HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class AppServer(ThreadingHTTPServer):
    """Serves a telling; `open_for` gives it one.

    Raises:
        UserError: if the port is taken.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            raise UserError(f"expected a free port {port}, found: {error.strerror}; end what has it, or name another "
                            "with --port (0: any)") from None
        self.token = secrets.token_urlsafe(18)
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}
        self.connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.waiting, self.turn = threading.BoundedSemaphore(MAX_WAITING), threading.Lock()
        self.telling: Telling
        self.page, self.policy = b"", ""

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{ADDRESS}:{self.server_port}/#{self.token}"

    def open_for(self, telling: Telling) -> None:
        """Take a telling, and make its page."""
        style = "".join(path.read_text("utf-8") for path in (ASSETS / "base.css", HERE / "app.css"))
        script = (HERE / "app.js").read_text("utf-8")
        limits = {"photoBytes": MAX_PHOTO_BYTES, "videoBytes": MAX_VIDEO_BYTES, "sentence": MAX_SENTENCE}
        facts = telling.facts()
        policy = content_policy(style, script, images="data: blob:")
        self.telling, self.policy = telling, f"{policy}; connect-src 'self'; frame-ancestors 'none'"
        self.page = environment(HERE).get_template("app.html").render(
            style=style, script=script, facts=facts, content=embed_json({**facts, **limits})).encode()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread a connection, and no more than there is room for."""
        if self.connections.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and give the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        log.debug("a connection ended early", exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """One request a connection (HTTP/1.0): what a refused one would still send is never taken for another."""

    server: AppServer
    timeout = IDLE_SECONDS
    server_version, sys_version = "story", ""

    def do_GET(self) -> None:
        """The page."""
        self._answer(self._give_page)

    def do_POST(self) -> None:
        """A job."""
        self._answer(self._do_job)

    def _give_page(self) -> tuple[str, bytes]:
        if self.path != "/":
            raise Refusal(404, f"expected the path /, found {self.path[:80]!r}")
        return "text/html; charset=utf-8", self.server.page

    def _do_job(self) -> tuple[str, bytes]:
        if not secrets.compare_digest(self.headers.get("X-Token", "").encode(), self.server.token.encode()):
            raise Refusal(403, "expected the token of this server; open the address that the command printed")
        if self.path not in JOBS:
            raise Refusal(404, f"expected one of {', '.join(JOBS)}, found {self.path[:80]!r}")
        most, job = JOBS[self.path]
        length = self._require_length(most)
        with ExitStack() as stack:
            if not self.server.waiting.acquire(blocking=False):
                raise Refusal(503, "others are waiting already; try again in a moment")
            stack.callback(self.server.waiting.release)
            body = self._read_body(length)
            with self.server.turn:
                found = job(self.server.telling, body)
        if isinstance(found, str):
            return "text/plain; charset=utf-8", found.encode()
        return "application/json", json.dumps(found).encode()

    def _answer(self, work: Callable[[], tuple[str, bytes]]) -> None:
        status = 200
        try:
            self._require_own()
            kind, body = work()
        except ConnectionError:
            raise  # whoever asked is gone
        except Exception as error:
            status = {Refusal: getattr(error, "status", 0), UserError: 400, BadPhoto: 400, TimeoutError: 408}.get(
                type(error), 507 if isinstance(error, OSError) and error.errno in DISK_ERRORS else 500)
            sentence = (f"this is no photo that can be used: {error}" if isinstance(error, BadPhoto) else
                        f"the photo cannot be kept: {error}" if status == 507 else str(error))
            if status == 500:
                log.error("a defect of this program", exc_info=error)
                sentence = "something went wrong that is a defect of this program; the terminal has the details"
            kind, body = "application/json", json.dumps({"error": sentence}).encode()
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"),
                            ("Content-Security-Policy", self.server.policy), ("X-Content-Type-Options", "nosniff"),
                            ("Referrer-Policy", "no-referrer"), ("Cross-Origin-Resource-Policy", "same-origin"),
                            *([("Retry-After", "1")] if status == 503 else [])):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if status != 200:
            self._drop_the_rest()

    def _require_own(self) -> None:
        """Refuse whoever does not mean this server, or comes from another page."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in self.server.hosts or origin not in (None, f"http://{host}"):
            raise Refusal(403, "expected a request of this server's own page; open the address that was printed")

    def _require_length(self, most: int) -> int:
        text = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (text.isascii() and text.isdigit()):
            raise Refusal(411, "expected a Content-Length")
        length = int(text.lstrip("0")[:20] or 0)  # cut: int refuses 4,300 digits
        if length > most:
            raise Refusal(413, f"expected at most {most / 1e6:.1f} MB, found {length / 1e6:.0f} MB; choose a smaller "
                               "file")
        return length

    def _read_body(self, length: int) -> bytes:
        end, parts = time.monotonic() + BODY_SECONDS, bytearray()
        while len(parts) < length:
            part = self.rfile.read1(min(BLOCK, length - len(parts)))
            if not part or time.monotonic() > end:
                raise Refusal(408, f"expected {length} bytes, found {len(parts)} when the time was over; send it again")
            parts += part
        return bytes(parts)

    def _drop_the_rest(self) -> None:
        """Read on for a moment: closed at once, the client would see a broken connection in place of the answer."""
        end = time.monotonic() + LINGER_SECONDS
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_SECONDS)
            while time.monotonic() < end and self.connection.recv(BLOCK):
                pass

    def log_message(self, format: str, *arguments: Any) -> None:
        """No line a request."""


def _look(telling: Telling, body: bytes) -> dict[str, Any]:
    return telling.add_photo(body)


def _look_at_video(telling: Telling, body: bytes) -> dict[str, Any]:
    return {"photos": [telling.add_photo(frame) for frame in read_key_frames(body, NUM_FRAMES)]}


def _write(telling: Telling, body: bytes) -> dict[str, Any]:
    asked = _parse(body, photos=[str], sentences=[str], place=int, method=str, seed=int, off=[str])
    return telling.write(asked["photos"], asked["sentences"], asked["place"], asked["method"],
                         abs(asked["seed"]) % 2 ** 63, asked["off"])


def _save_page(telling: Telling, body: bytes) -> str:
    asked = _parse(body, photos=[str], sentences=[str])
    return write_page([telling.take(photo_id) for photo_id in asked["photos"]], asked["sentences"],
                      str(telling.teller.run.path))


def _save_vist(telling: Telling, body: bytes) -> str:
    asked = _parse(body, photos=[str], sentences=[str])
    for photo_id in asked["photos"]:
        telling.take(photo_id)
    return write_vist(asked["photos"], asked["sentences"], telling.teller.run.path.name)


JOBS: dict[str, tuple[int, Callable[[Telling, bytes], Any]]] = {
    "/photo": (MAX_PHOTO_BYTES, _look), "/video": (MAX_VIDEO_BYTES, _look_at_video), "/write": (MAX_JSON_BYTES, _write),
    "/page": (MAX_JSON_BYTES, _save_page), "/vist": (MAX_JSON_BYTES, _save_vist)}


def _parse(body: bytes, **kinds: Any) -> dict[str, Any]:
    """A JSON object whose values are of these kinds; [kind] is a list of at most MAX_LISTED of them."""
    def is_of(value: Any, kind: Any) -> bool:
        if isinstance(kind, list):
            return isinstance(value, list) and len(value) <= MAX_LISTED and all(is_of(part, kind[0]) for part in value)
        return type(value) is kind and (kind is not str or value.isascii() or bool(value.encode("utf-8")))
    try:
        raw = json.loads(body)
        is_right = isinstance(raw, dict) and all(is_of(raw.get(name), kind) for name, kind in kinds.items())
    except (ValueError, RecursionError):  # no JSON, or half of a surrogate pair, which no file can keep
        is_right = False
    if not is_right:
        raise UserError(f"expected a JSON object with {', '.join(kinds)}, each of its kind, found something else")
    return {name: raw[name] for name in kinds}


def serve(config: AppConfig) -> None:
    """Open the page and serve it until Ctrl-C.

    Raises:
        UserError: if the port is taken, or the run, its folder or its backbone cannot be opened: before anything is
            served.
    """
    if config.keep is not None:
        require_room(config.keep, "the photos that are given")
    with AppServer(config.port) as server:
        teller = Storyteller.open(config.run, config.features, config.backbone, config.weights, config.device,
                                  config.text_encoder)
        server.open_for(Telling(teller, config.keep))
        kept = f"Photos are kept in {config.keep}." if config.keep else "No photo is kept when this ends."
        print(f"Open {server.url}\nOn this machine alone. {kept} Ctrl-C ends it.", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
        print("\nended")
        teller.mapper.close()
