"""One attempt to fetch one photo: asked for, checked, written whole or not at all; what came of it is an Outcome."""
import asyncio
import hashlib
import io
import socket
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import httpx
from PIL import Image

from data.fetch.addresses import CheckedTransport, RefusedAddress
from data.fetch.config import FetchConfig
from data.fetch.journal import GONE, SAVED
from data.fetch.retry_after import read_retry_after
from data.files import replace_file
from data.pictures.photos import BadPhoto
from data.pictures.pictures import FORMATS, Resize, open_picture

MOVED, AGAIN = "moved", "again"  # beside what a journal knows
REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)  # another time there may be another answer
ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp"}
UNTOLD_TYPES = ("", "application/octet-stream", "binary/octet-stream")
LOOK = Resize("squash", 224, 224)  # a JPEG is read to its end at any size
HEADERS = {"User-Agent": "visual-storytelling/0.1 (python -m data fetch)", "Accept": "image/*",
           "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt.

    Attributes:
        kind: SAVED; MOVED to `url`; GONE for good; AGAIN later, after `wait` seconds where the host named them.
        unheard: the host gave no whole answer.
    """

    kind: str
    cause: str = ""
    url: str = ""
    wait: float | None = None
    unheard: bool = False
    path: Path | None = None
    sha256: str = ""
    size: int = 0


class Downloader:
    """Fetches photos into a folder as `<id>.<ending of what it is>`.

    Args:
        pool: decodes and writes, so that the network never waits for either.
    """

    def __init__(self, config: FetchConfig, folder: Path, pool: Executor) -> None:
        self.config, self.folder, self._pool = config, folder, pool
        self._client = httpx.AsyncClient(transport=CheckedTransport(config.allow_private, config.per_host),
                                         headers=HEADERS, timeout=config.silence, follow_redirects=False)

    async def attempt(self, photo_id: str, url: str) -> Outcome:
        """Ask for a photo once; what the web can do wrong is an Outcome, never an exception."""
        try:
            async with asyncio.timeout(self.config.patience):  # a byte now and then is no silence
                content = await self._ask(url)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(AGAIN, "time-out", unheard=True)
        except RefusedAddress as error:
            return Outcome(GONE, str(error))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            return Outcome(GONE, "no http(s) address")
        except socket.gaierror:
            return Outcome(AGAIN, "host not found", unheard=True)
        except (httpx.RequestError, OSError) as error:
            return Outcome(AGAIN, f"connection broken ({type(error).__name__})", unheard=True)
        if isinstance(content, Outcome):
            return content
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._keep, photo_id, content)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _ask(self, url: str) -> bytes | Outcome:
        async with self._client.stream("GET", url) as response:
            status, limit = response.status_code, self.config.max_megabytes << 20
            if status in REDIRECTS and "location" in response.headers:
                return Outcome(MOVED, url=str(response.url.join(response.headers["location"])))
            if status in PASSING:
                return Outcome(AGAIN, f"{status} {response.reason_phrase}".strip(),
                               wait=read_retry_after(response.headers.get("retry-after", "")))
            if status != 200:
                return Outcome(GONE, f"{status} {response.reason_phrase}".strip())
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if not kind.startswith("image/") and kind not in UNTOLD_TYPES:
                return Outcome(GONE, f"content type {kind:.40}")
            told = response.headers.get("content-length", "")
            if told.isdecimal() and int(told) > limit:
                return Outcome(GONE, f"larger than {self.config.max_megabytes} MB")
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > limit:
                    return Outcome(GONE, f"larger than {self.config.max_megabytes} MB")
            return bytes(content)

    def _keep(self, photo_id: str, content: bytes) -> Outcome:
        """Decode a photo to be sure of it, and write its bytes as they came."""
        try:
            if not content:
                return Outcome(AGAIN, "empty answer")
            open_picture(content, LOOK)
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                ending = ENDINGS[str(picture.format)]
        except BadPhoto as error:
            return Outcome(AGAIN if error.cause == "truncated" else GONE, error.cause)  # the end may have got lost
        path = self.folder / f"{photo_id}.{ending}"
        with replace_file(path) as partial:
            partial.write_bytes(content)
        return Outcome(SAVED, path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
