"""Whether anything changed since the last whole run: told by sizes and times, without torch or a photo."""
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.files import read_sealed_json, write_sealed_json
from data.folder.manifest import MANIFEST
from data.pictures.photos import FoundPhoto
from extract.config import ExtractConfig
from extract.folder.recipe import LOCAL, file_state, package_versions

VERSION = 1


def name_state(config: ExtractConfig) -> Path:
    """The note on a folder's word set: each may be of another dataset."""
    return config.out / LOCAL / ("state.json" if config.words == ExtractConfig.words else f"state-{config.words}.json")


def digest_photos(photos: dict[str, FoundPhoto]) -> str:
    """A sha256 over path, size and time of every photo."""
    digest = hashlib.sha256()
    for photo_id, photo in sorted(photos.items()):
        digest.update(f"{photo_id}\t{photo.path}\t{photo.size}\t{photo.mtime_ns}\n"
                      .encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def observe(config: ExtractConfig, photos: str, published: Iterable[str], files: list[str]) -> dict[str, Any]:
    """What decides a folder's content, as it looks now.

    Args:
        photos: their digest. published: files of the folder. files: weights, a plug-in's source.
    """
    annotations = sorted(path for folder in (config.dataset, config.dataset / "annotations")
                         for path in folder.glob("*.json"))
    others = [str(path) for path in (*annotations, config.tag_table, config.words_from and config.words_from / MANIFEST)
              if path]
    return {"version": VERSION, "settings": config.lasting(), "packages": package_versions(), "weights_files": files,
            "photos": photos, "inputs": {name: file_state(name) for name in (*others, *sorted(files))},
            "published": {name: file_state(config.out / name) or [] for name in sorted(published)}}


def remember_state(config: ExtractConfig, state: dict[str, Any], shares: tuple[float, float], summary: str) -> None:
    """Note that the folder is whole; the last thing a run writes."""
    write_sealed_json(name_state(config), {"state": state, "shares": list(shares), "summary": summary})


def recall_unchanged(config: ExtractConfig, photos: str) -> dict[str, Any] | None:
    """What `remember_state` noted, if everything still looks the same; else None."""
    noted = read_sealed_json(name_state(config))
    if noted is None:
        return None
    state = noted["state"]
    now = observe(config, photos, state["published"], state["weights_files"])
    return noted if json.loads(json.dumps(now)) == state else None
