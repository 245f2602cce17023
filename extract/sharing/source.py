"""The files of a features folder somewhere else: a folder, or one tar of which single files are read."""
import io
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

from data.errors import UserError
from extract.sharing.address import Address
from extract.sharing.transport import Absent, Transport, make_transport

HEADER_BYTES = 1 << 14  # read at a time while a tar's headers are looked through
MAX_MEMBERS = 1 << 20


class Source:
    """Reads files by their names inside a folder; nothing that it holds is trusted to be a path.

    Attributes:
        members: where each plain file of a tar lies, (first byte, size) by name; None for a folder.
    """

    def __init__(self, address: Address) -> None:
        self.address, self.transport = address, make_transport(address)
        self.members: dict[str, tuple[int, int]] | None = None

    def stream(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of a file, of the tar itself for "", from `start` on; see `Transport.stream`."""
        if self.members is None or not name:
            return self.transport.stream(self.address.inside(name), start, stop)
        if name not in self.members:
            raise Absent(name)
        first, size = self.members[name]
        return self.transport.stream(self.address.inside(""), first + start, first + min(size, size if stop is None
                                                                                         else stop))

    def use_tar(self, address: Address, transport: Transport, read: Callable[[int, int], bytes]) -> None:
        """Read from a tar from now on.

        Args:
            read: its bytes from a first position up to another, fewer at its end.

        Raises:
            UserError: if it is no whole tar.
        """
        self.address, self.transport, self.members = address, transport, {}
        try:
            raw: Any = _Bytes(read)
            with tarfile.open(fileobj=io.BufferedReader(raw, HEADER_BYTES), mode="r:") as tar:
                for number, member in enumerate(tar):
                    if member.isreg() and not member.issparse():
                        self.members[member.name.removeprefix("./")] = (member.offset_data, member.size)
                    if number > MAX_MEMBERS:
                        raise tarfile.ReadError(f"more than {MAX_MEMBERS} members")
        except (tarfile.TarError, OverflowError) as error:
            raise UserError(f"expected an uncompressed tar at {address.shown}, found: {error}; get it again, or make "
                            "one with: make pack") from None


class _Bytes(io.RawIOBase):
    """A file of which only pieces are read."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read, self._place = read, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end is not known")
        self._place = offset + (self._place if whence == io.SEEK_CUR else 0)
        return self._place

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        piece = self._read(self._place, self._place + len(buffer))
        buffer[:len(piece)] = piece
        self._place += len(piece)
        return len(piece)
