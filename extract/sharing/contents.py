"""What of a features folder is handed on: some splits and word sets, with the photo rows that their stories name.

Beside it lies croissant.json: its files as data catalogues read them (MLCommons Croissant 1.0, JSON-LD).
"""
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.annotations.stories import SPLITS
from data.errors import UserError
from data.files import format_json, sha256_file
from data.folder.manifest import MANIFEST, Manifest, Shard, is_text, load_manifest, text_group
from data.folder.part import PART, format_part, read_lacks
from data.folder.published import map_published, refuse_links
from data.folder.shards import BESIDE
from extract.sharing.transport import THREADS
from extract.verification.check_files import OWN_FILES

SUMS, CROISSANT = "SHA256SUMS", "croissant.json"
TYPES = {".h5": "application/x-hdf5", ".json": "application/json", ".csv": "text/csv", ".md": "text/markdown"}


@dataclass(frozen=True)
class File:
    """A file that a manifest names; `bytes` is None for a text, whose size it does not tell."""

    name: str
    sha256: str
    bytes: int | None = None

    @classmethod
    def of(cls, shard: Shard) -> "File":
        """A shard as a file."""
        return cls(shard.name, shard.sha256, shard.bytes)


@dataclass(frozen=True)
class Choice:
    """Which splits and word sets; empty for all there are. `leave_out`: names of BESIDE, and "text"."""

    splits: Sequence[str] = ()
    words: Sequence[str] = ()
    leave_out: Sequence[str] = ()


@dataclass
class Parcel:
    """What is handed on of a folder.

    Attributes:
        files: sorted by name; each is in the folder and what the manifest says.
        notes: text by name of what is written for the way: the manifest, what lacks, Croissant, SHA256SUMS.
    """

    root: Path
    files: list[File]
    sizes: dict[str, int] = field(default_factory=dict)
    notes: dict[str, bytes] = field(default_factory=dict)


def list_files(manifest: Manifest) -> dict[str, File]:
    """Every file that a whole folder has beside its manifest, by its path inside; nothing else is ever handed on."""
    files = [File.of(shard) for shards in manifest.shards.values() for shard in shards]
    files += [File(f"words/{name}/{text}", sha256) for name, entry in manifest.words.items()
              for text, sha256 in entry.files.items() if text.endswith(".json")]
    files += [File(name, manifest.files[name]) for name in OWN_FILES if name in manifest.files]
    return {file.name: file for file in files}


def read_offer(manifest: bytes, part: bytes | None, shown: str) -> tuple[Manifest, frozenset[str]]:
    """Read what a place says that it has: its manifest, and which files lack there.

    Raises:
        UserError: if that is no manifest, or no list.
    """
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / MANIFEST).write_bytes(manifest)
        if part is not None:
            (Path(place) / PART).write_bytes(part)
        try:
            return load_manifest(Path(place)), read_lacks(Path(place))
        except UserError as error:
            raise UserError(str(error).replace(place, shown)) from None


def choose_stories(manifest: Manifest, choice: Choice, where: str) -> list[Shard]:
    """The story shards of a choice, and the text features beside them.

    Args:
        manifest: less what lacks (see `data.folder.part.without`).

    Raises:
        UserError: if there is no such split or word set.
    """
    splits = [split for split in SPLITS if any(group.endswith(f"/{split}") for group in manifest.shards)]
    for what, asked, there in (("split", choice.splits, splits),
                               ("word set", choice.words, sorted(manifest.words))):
        if unknown := [name for name in asked if name not in there]:
            raise UserError(f"expected a {what} {unknown[0]!r:.80} in {where}, found {', '.join(there) or 'none'}; "
                            "name one of those")
    groups = [f"words/{name}/{split}" for name in choice.words or sorted(manifest.words)
              for split in choice.splits or splits]
    return [shard for group in groups for known_by in (group, text_group(group))
            if known_by == group or "text" not in choice.leave_out for shard in manifest.shards.get(known_by, ())]


def choose_texts(manifest: Manifest, choice: Choice) -> list[File]:
    """The card, the list of what was skipped, and the JSON files of the chosen word sets."""
    left = tuple(f"words/{name}/" for name in manifest.words if choice.words and name not in choice.words)
    return [file for file in list_files(manifest).values() if file.bytes is None and not file.name.startswith(left)]


def choose_rows(root: Path, manifest: Manifest, stories: Sequence[Shard], choice: Choice) -> list[Shard]:
    """The shards with the photo rows that stories name, and what lies beside them.

    Args:
        root: a folder that has the stories' shards already.
    """
    photos = manifest.shards.get("photos", ())
    is_asked = np.ones(len(photos), bool)
    if choice.splits or choice.words:
        rows = [map_published(root, shard, "words")["photo"].ravel() for shard in stories
                if not is_text(shard.name)]
        ends = np.cumsum([shard.rows for shard in photos])
        asked = np.unique(np.searchsorted(ends, np.unique(np.concatenate([np.zeros(0, np.int32), *rows])), "right"))
        is_asked = np.isin(np.arange(len(photos)), asked)
    chosen = [shard for shard, asked in zip(photos, is_asked) if asked]
    starts = {shard.offset for shard in chosen}
    for kind in BESIDE:
        if kind not in choice.leave_out:
            chosen += [shard for shard in manifest.shards.get(kind, ()) if shard.offset in starts]
    return chosen + list(manifest.shards.get("canaries", ()))


def gather(root: Path, manifest: Manifest, lacks: frozenset[str], choice: Choice) -> Parcel:
    """Read what is to be handed on of a folder, whole or itself a part; every file is hashed.

    Args:
        manifest: less what lacks. lacks: files that the folder has not.

    Raises:
        UserError: if the choice is none, or a file is not what the manifest says.
    """
    stories = choose_stories(manifest, choice, str(root))
    shards = [shard for shard in [*stories, *choose_rows(root, manifest, stories, choice)] if shard.name not in lacks]
    parcel = Parcel(root, sorted([*map(File.of, shards), *choose_texts(manifest, choice)], key=lambda file: file.name))
    for file in parcel.files:
        refuse_links(root, file.name)
        size = (root / file.name).stat().st_size if (root / file.name).is_file() else -1
        if size < 0 or file.bytes not in (None, size):
            raise UserError(f"expected {file.bytes or 'a number of'} bytes in {root / file.name}, found "
                            f"{size if size >= 0 else 'no such file'}; run verify")
        parcel.sizes[file.name] = size
    return parcel


def check_contents(parcel: Parcel) -> Iterator[File]:
    """Hash a parcel's files in the background; gives each in order when it is known to be what the manifest says.

    Raises:
        UserError: at the first that is not.
    """
    with ThreadPoolExecutor(THREADS) as pool:  # hashing lets go of the interpreter
        for file, found in zip(parcel.files, pool.map(lambda file: sha256_file(parcel.root / file.name), parcel.files)):
            if found != file.sha256:
                pool.shutdown(wait=False, cancel_futures=True)
                raise UserError(f"expected sha256 {file.sha256:.12} of {parcel.root / file.name} as the manifest says, "
                                f"found {found:.12}; run verify")
            yield file


def write_notes(parcel: Parcel, whole: Manifest, lacks: Iterable[str]) -> None:
    """Write what goes with the files; `lacks` is what the receiver will not have."""
    parcel.notes = {MANIFEST: (parcel.root / MANIFEST).read_bytes()}
    if names := sorted(lacks):
        parcel.notes[PART] = format_part(names).encode()
    parcel.notes[CROISSANT] = format_json(_describe_dataset(whole, parcel)).encode()
    sums = {file.name: file.sha256 for file in parcel.files}
    sums |= {name: hashlib.sha256(text).hexdigest() for name, text in parcel.notes.items()}
    parcel.notes[SUMS] = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()


def _describe_dataset(manifest: Manifest, parcel: Parcel) -> dict[str, Any]:
    """What croissant.json says: nothing that the clock, the machine or the place decides."""
    fields = manifest.recipe["fields"]
    return {
        **json.loads(Path(__file__).with_name(CROISSANT).read_text("ascii")),
        "name": f"visual-storytelling-features-{manifest.source['id']:.12}",
        "description": f"Features of {sum(shard.rows for shard in manifest.shards['photos'])} photos by "
                       f"{fields.get('backbone')} ({manifest.width} numbers each, recipe {manifest.recipe['id']:.12}), "
                       f"captions as token ids and tags (word sets {', '.join(sorted(manifest.words))}). The terms of "
                       "the photos and captions that they were made from hold for them too.",
        "license": str(manifest.versions.get("licence", "unknown")),
        "distribution": [{
            "@type": "cr:FileObject", "@id": file.name, "name": file.name, "contentUrl": file.name,
            "contentSize": f"{parcel.sizes[file.name]} B", "sha256": file.sha256,
            "encodingFormat": TYPES.get(Path(file.name).suffix, "application/octet-stream")} for file in parcel.files]}
