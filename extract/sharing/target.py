"""Where a features folder is pushed to: what is there, and how a file comes there whole or not at all."""
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import replace_file
from data.folder.published import refuse_links
from extract.extras import require_extra
from extract.sharing.address import Address
from extract.sharing.transport import EXTRA, THREADS, open_store

COMMIT_FILES = 64  # that go to the hub at a time: it counts commits


def open_target(address: Address) -> "FolderTarget | StoreTarget":
    """The place to push to.

    Raises:
        UserError: if nothing can be written there, or the package that it takes is not installed.
    """
    if address.scheme.startswith("http") or address.is_tar:
        raise UserError(f"expected a folder, an s3:// or an hf:// address to push to, found {address.shown}; name one, "
                        "or write a tar with: make pack")
    if address.scheme == "file":
        return FolderTarget(Path(address.place))
    store = open_store(address)
    return HubTarget(address.place, store) if address.scheme == "hf" else StoreTarget(address.place, store)


class FolderTarget:
    """A folder of this machine or of what is mounted on it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def sizes(self) -> dict[str, int]:
        """The size of every file there by its name inside the folder."""
        return {path.relative_to(self._root).as_posix(): path.stat().st_size for path in self._root.rglob("*")
                if path.is_file() and not path.is_symlink()}

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        path = self._root / name
        return path.read_bytes() if path.is_file() else None

    def put(self, files: Iterable[tuple[str, Path | bytes]]) -> Iterator[str]:
        """Write files, each whole or not at all; gives the name of each when it is there."""
        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(lambda file: self._put(*file), files)

    def _put(self, name: str, content: Path | bytes) -> str:
        refuse_links(self._root, name)
        with replace_file(self._root / name) as partial:
            partial.write_bytes(content) if isinstance(content, bytes) else shutil.copyfile(content, partial)
        return name

    def remove(self, name: str) -> None:
        """Remove a file that is there."""
        (self._root / name).unlink()


class StoreTarget:
    """A place in S3: an object is there whole or not at all."""

    def __init__(self, place: str, store: Any) -> None:
        self._place, self._store = place.rstrip("/"), store

    def sizes(self) -> dict[str, int]:
        """The size of every file there by its name inside the folder."""
        try:
            found = self._store.find(self._place, detail=True)
        except FileNotFoundError:
            return {}
        return {name.lstrip("/")[len(self._place) + 1:]: int(entry["size"]) for name, entry in found.items()}

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        try:
            return bytes(self._store.cat_file(f"{self._place}/{name}"))
        except FileNotFoundError:
            return None

    def put(self, files: Iterable[tuple[str, Path | bytes]]) -> Iterator[str]:
        """Write files, each whole or not at all; gives the name of each when it is there."""
        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(lambda file: self._put(*file), files)

    def _put(self, name: str, content: Path | bytes) -> str:
        if isinstance(content, bytes):
            self._store.pipe_file(f"{self._place}/{name}", content)
        else:
            self._store.put_file(str(content), f"{self._place}/{name}")
        return name

    def remove(self, name: str) -> None:
        """Remove a file that is there."""
        self._store.rm_file(f"{self._place}/{name}")


class HubTarget(StoreTarget):
    """A repository of the Hugging Face hub: files go in commits, large ones are not sent twice."""

    def __init__(self, place: str, store: Any) -> None:
        super().__init__(place, store)
        self._hub = require_extra("huggingface_hub", EXTRA, place)
        self._api = self._hub.HfApi()
        self._repo = store.resolve_path(self._place)

    def put(self, files: Iterable[tuple[str, Path | bytes]]) -> Iterator[str]:
        """Write files, each whole or not at all; gives the name of each when it is there."""
        waiting: list[tuple[str, Path | bytes]] = []
        for file in files:
            waiting.append(file)
            if len(waiting) == COMMIT_FILES:
                yield from self._commit(waiting)
                waiting = []
        yield from self._commit(waiting)

    def _commit(self, files: list[tuple[str, Path | bytes]]) -> list[str]:
        added = [self._hub.CommitOperationAdd(f"{self._repo.path_in_repo}/{name}".lstrip("/"), content)
                 for name, content in files]
        if added:
            self._api.create_commit(self._repo.repo_id, added, repo_type=self._repo.repo_type,
                                    revision=self._repo.revision, commit_message=f"Add {len(added)} files")
        return [name for name, _ in files]
