"""Bytes from a path or an http(s), s3 or hf address, from any position on: one kind of reader for each.

A reader tries once; who asks again, and when, is decided in `extract.sharing.download`.
"""
import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from data.errors import UserError
from data.fetch.retry_after import read_retry_after
from extract.extras import require_extra

SCHEMES = ("file", "http", "https", "s3", "hf")
CHUNK_BYTES = 1 << 20
RANGE_BYTES = 1 << 23  # asked of an object store at a time
CONNECT_SECONDS, SILENCE_SECONDS = 30.0, 60.0
NOT_ALLOWED = (401, 402, 403, 407, 451)
EXTRA = "share"
THREADS = 4  # that read, hash, send or fetch files side by side


class Failed(Exception):
    """It may come out well another time; not before `wait` seconds where the other side named a time."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Absent(Exception):
    """There is no such file."""


class IgnoresRanges(Exception):
    """The server sends files from their beginning only."""


@dataclass(frozen=True)
class Address:
    """A place that was named.

    Attributes:
        scheme: one of SCHEMES. place: a local path, an address, or what follows hf:// or s3://. query: what follows
        its "?" (a signature, a token). shown: for messages and logs, without user, password and query.
    """

    scheme: str
    place: str
    query: str
    shown: str

    @property
    def is_tar(self) -> bool:
        """Whether a tar is meant, not a folder."""
        return self.place.endswith(".tar") and not (self.scheme == "file" and Path(self.place).is_dir())

    def inside(self, name: str) -> str:
        """The place of a file in this folder; of a tar ("" as name) itself."""
        place = f"{self.place.rstrip('/')}/{name}" if name else self.place
        return f"{place}?{self.query}" if self.query else place


def parse_address(url: str) -> Address:
    """Read a path or an address.

    Raises:
        UserError: if it is of no known kind.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Address("file", url, "", url)
    if scheme not in SCHEMES or "::" in url or not rest.strip("/"):
        known = " or ".join(f"{name}://" for name in SCHEMES)
        raise UserError(f"expected a path, or an address that begins with {known}, found {_hide(url)!r:.200}; name one "
                        "of those")
    if scheme in ("http", "https"):
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise UserError(f"expected an address, found {_hide(url)!r:.200}: {error}; mend it") from None
        return Address(scheme, urlunsplit((scheme, parts.netloc, parts.path, "", "")), parts.query, _hide(url))
    return Address(scheme, rest, "", _hide(url))


def _hide(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".partition("?")[0] if scheme.startswith("http") else url


def make_transport(address: Address) -> "Transport":
    """The reader for an address.

    Raises:
        UserError: if the package that it takes is not installed.
    """
    if address.scheme == "file":
        return Files()
    return Web(address) if address.scheme.startswith("http") else Store(open_store(address))


def open_store(address: Address) -> Any:
    """The fsspec file system of an S3 or hub address; keys and the end point come from the environment.

    Raises:
        UserError: if the package that it takes is not installed.
    """
    if address.scheme == "hf":
        hub = require_extra("huggingface_hub", EXTRA, address.shown)
        return hub.HfFileSystem(skip_instance_cache=True, use_listings_cache=False)
    make = require_extra("obstore.fsspec", EXTRA, address.shown).FsspecStore
    return make("s3", client_options={"allow_http": True}, skip_instance_cache=True,
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)})


class Files:
    """Files of this machine and what is mounted on it."""

    def stream(self, place: str, start: int, stop: int | None) -> Iterator[bytes]:
        """The bytes of a file from `start` up to `stop`, or to its end, in pieces; see `Transport`."""
        try:
            with open(place, "rb", buffering=0) as file:
                file.seek(start)
                left = os.fstat(file.fileno()).st_size - start if stop is None else stop - start
                while left > 0 and (piece := file.read(min(CHUNK_BYTES, left))):
                    left -= len(piece)
                    yield piece
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise Absent(place) from None


class Web:
    """A web server, through fsspec's aiohttp session; one that ignores ranges is found out."""

    def __init__(self, address: Address) -> None:
        aiohttp = require_extra("aiohttp", EXTRA, address.shown)
        make = require_extra("fsspec.implementations.http", EXTRA, address.shown).HTTPFileSystem
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        self._files = make(skip_instance_cache=True, use_listings_cache=False, client_kwargs={
            "timeout": timeout, "trust_env": True})
        self._errors = (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError)

    def stream(self, place: str, start: int, stop: int | None) -> Iterator[bytes]:
        """The bytes of a file from `start` up to `stop`, or to its end, in pieces; see `Transport`."""
        headers = {"Accept-Encoding": "identity"}  # a range of packed bytes would be no range of the file
        if start:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        try:
            with self._files.open(place, block_size=0, size=1, headers=headers) as file:
                if start and file.r.status != 206:
                    raise IgnoresRanges(place)
                if start and not file.r.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                    raise Failed(f"another range: {file.r.headers.get('Content-Range', 'none')!r:.80}")
                while piece := file.read(CHUNK_BYTES):
                    yield piece
        except FileNotFoundError:
            raise Absent(place) from None
        except self._errors as error:
            status = getattr(error, "status", None)
            if status in NOT_ALLOWED:
                raise UserError(f"expected to be allowed to read, found the answer {status}; ask for access, or for "
                                "another address") from None
            if status == 416:
                raise IgnoresRanges from None
            wait = read_retry_after((getattr(error, "headers", None) or {}).get("Retry-After", ""))
            what = f"the answer {status}" if status else f"{type(error).__name__}: {error!s:.200}"
            raise Failed(what, wait) from None


class Store:
    """S3 and the hub, through fsspec; a range at a time."""

    def __init__(self, files: Any) -> None:
        self.files = files
        self._sizes: dict[str, int] = {}

    def stream(self, place: str, start: int, stop: int | None) -> Iterator[bytes]:
        """The bytes of a file from `start` up to `stop`, or to its end, in pieces; see `Transport`."""
        try:
            if place not in self._sizes:
                self._sizes[place] = int(self.files.info(place)["size"])
            stop = self._sizes[place] if stop is None else min(stop, self._sizes[place])
            while start < stop:
                piece = self.files.cat_file(place, start=start, end=min(start + RANGE_BYTES, stop))
                if not piece:
                    return
                start += len(piece)
                yield piece
        except FileNotFoundError:
            raise Absent(place) from None
        except PermissionError as error:
            raise UserError(f"expected to be allowed to read {place}, found: {error!s:.300}; give keys in the "
                            "environment (AWS_ACCESS_KEY_ID and so on, AWS_SKIP_SIGNATURE=true for a public bucket, "
                            "HF_TOKEN), or ask for access") from None
        except Exception as error:  # each library has its own kinds, without a common root
            raise Failed(first_line(error)) from None


def first_line(error: Exception) -> str:
    """What went wrong, without what a library adds for its authors."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.300}"


Transport: TypeAlias = Files | Web | Store  # `stream` raises Absent, Failed, IgnoresRanges, or UserError
