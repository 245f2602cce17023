"""Files that a manifest names: within the folder, of the size it says, mapped into memory."""
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.folder.manifest import Shard
from data.folder.shards import SCHEMA, map_shard

ID_FIELDS = frozenset(("photo_id", "story_id", "album_id"))


def refuse_links(root: Path, name: str) -> None:
    """Refuse a file of the folder that is a symbolic link, lies behind one, or is no regular file.

    Args:
        name: path inside the folder.

    Raises:
        UserError: if anything between the folder and the file is a link, or what is there is a pipe or a device.
    """
    path = root / name
    if any(part.is_symlink() for part in (path, *path.parents[:name.count("/")])):
        raise UserError(f"expected {path} to lie in the folder, found a symbolic link; links are refused: copy the "
                        "file itself")
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise UserError(f"expected {path} as a file, found something else; get the folder again")


def map_published(root: Path, shard: Shard, kind: str) -> dict[str, np.ndarray]:
    """Map a shard that a manifest names; see `data.folder.shards.map_shard`.

    Raises:
        UserError: if it is absent, behind a link, of another size or number of rows, or no such shard.
    """
    path = root / shard.name
    refuse_links(root, shard.name)
    size = path.stat().st_size if path.exists() else -1
    if size != shard.bytes:
        raise UserError(f"expected {shard.bytes} bytes in {path}, found {size if size >= 0 else 'no such file'}; "
                        "run verify, then make features to rebuild it")
    arrays = map_shard(path, kind)
    rows = len(arrays["offset"]) - 1 if kind == "thumbs" else len(arrays[next(iter(SCHEMA[kind]))])
    if rows != shard.rows:
        raise UserError(f"expected {shard.rows} rows in {path}, found {rows}; run verify")
    for name in ID_FIELDS & arrays.keys():
        if (np.ascontiguousarray(arrays[name]).view(np.uint8) > 127).any():
            raise UserError(f"expected ASCII ids in {name!r} of {path}, found other bytes; run verify")
    return arrays
