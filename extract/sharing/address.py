"""Where a features folder comes from or goes to: a path, or an http(s), s3 or hf address."""
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from data.errors import UserError

SCHEMES = ("file", "http", "https", "s3", "hf")
TAR = ".tar"


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
        return self.place.endswith(TAR) and not (self.scheme == "file" and Path(self.place).is_dir())

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
        parts = urlsplit(url)
        return Address(scheme, urlunsplit((scheme, parts.netloc, parts.path, "", "")), parts.query, _hide(url))
    return Address(scheme, rest, "", _hide(url))


def _hide(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".partition("?")[0] if scheme.startswith("http") else url
