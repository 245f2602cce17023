"""manifest.json: what a features folder was made from and which shards it consists of.

{"format": 1, "recipe": identity, "source": identity, "width": D, "dtype": "float16",
 "shards": {"photos": [shard, ...], "thumbs": [...], "words/default/train": [...], ...},
 "words": {"default": {"id", "fields", "files": {name: sha256}, "info": {split: {}}, "counts": {}, "text": identity}},
 "placeholders": [{"content": sha256, "photos": n, "albums": n}], "counts": {}, "versions": {},
 "canaries": {"photos": [photo id, ...]},
 "made_by": [{"batch_shape": [B, 3, S, S], "compiled", "device"}, ...],
 "files": {"README.md": sha256, "skipped.csv": sha256},
 "sha256": over this file's text without that line}

Shards of "words/default/text-train" and the identity "text" are there where captions have text features.
A shard is {"name": path inside the folder, "rows": n, "offset": first row, "bytes": n, "sha256": ...}.
Nothing in it depends on the clock or the machine's name, so equal work gives equal bytes.
"""
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import format_json, read_json, seal, settle_text
from data.folder.identity import MADE_BY, Identity

FORMAT = 1
MAX_BYTES = 1 << 28  # 400 photo shards of a VIST-size folder take 200 kB
MAX_COUNT = 1 << 56  # of rows and bytes: sums of them stay whole numbers everywhere
MAX_BATCH = 4096
MAX_DEPTH = 64  # of objects in objects
MANIFEST = "manifest.json"
_PLAIN = r"[A-Za-z0-9_@-][A-Za-z0-9_.@-]*"
TEXT = "text-"
TOKENS = (1, 16, 49)  # of a photo: its feature alone, or so many places of the map before pooling
_SHARD_NAME = re.compile(rf"(photos|thumbs|tokens|grid|views|canaries|words/{_PLAIN})/{_PLAIN}\.h5")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEDY = "get the folder again, or make it with: make features"


@dataclass(frozen=True, slots=True)
class Shard:
    """One published file: its path inside the folder, rows, first row over its kind, size and sha256."""

    name: str
    rows: int
    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class WordsEntry:
    """One word set: its identity, the sha256 of its JSON files, what the annotations said of themselves, counts; and
    the identity of its text features.
    """

    identity: Identity
    files: dict[str, str]
    info: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    text: Identity | None = None


@dataclass(frozen=True)
class Manifest:
    """The parsed manifest.json of a features folder."""

    recipe: Identity
    source: Identity
    width: int
    shards: dict[str, tuple[Shard, ...]]
    words: dict[str, WordsEntry]
    placeholders: tuple[dict[str, Any], ...] = ()
    counts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    canaries: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    made_by: tuple[dict[str, Any], ...] = ()

    @property
    def num_tokens(self) -> int:
        """P, the tokens of every photo; 1 where there is its feature alone."""
        return self.counts.get("tokens", 49 if self.shards.get("tokens") else 1)

    def save(self, folder: Path) -> Path:
        """Write manifest.json atomically into the folder and return its path."""
        words = {name: {**entry.identity, "files": entry.files, "info": entry.info, "counts": entry.counts,
                        **({"text": entry.text} if entry.text else {})}
                 for name, entry in self.words.items()}
        value = {
            "format": FORMAT, "recipe": self.recipe, "source": self.source, "width": self.width, "dtype": "float16",
            "shards": {group: [asdict(shard) for shard in shards] for group, shards in self.shards.items()},
            "words": words, "placeholders": list(self.placeholders), "counts": self.counts,
            "versions": self.versions, "canaries": self.canaries, "made_by": list(self.made_by),
            "files": self.files}
        return settle_text(folder / MANIFEST, format_json({**value, "sha256": seal(value)}))


def is_sealed(folder: Path) -> bool:
    """Whether manifest.json is, to the bit, what `Manifest.save` wrote: by the sha256 it carries over itself."""
    try:
        text = (folder / MANIFEST).read_bytes()
        value = json.loads(text)
        return value.pop("sha256", None) == seal(value) and format_json(
            {**value, "sha256": seal(value)}).encode() == text
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def text_group(group: str) -> str:
    """The group of text features beside a word set's split: "words/NAME/train" -> "words/NAME/text-train"."""
    folder, _, split = group.rpartition("/")
    return f"{folder}/{TEXT}{split}"


def is_text(name: str) -> bool:
    """Whether a group or a shard by this name holds text features; a word set may be called text-something."""
    return name.rpartition("/")[2].startswith(TEXT)


def load_manifest(folder: Path) -> Manifest:
    """Read and check a folder's manifest.json; it may come from anyone.

    Raises:
        UserError: if there is none, if it is of another format, or if it names a file outside the folder.
    """
    path = folder / MANIFEST
    raw = read_json(path, "a features folder's manifest", _REMEDY, MAX_BYTES)
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise UserError(f"expected a manifest of format {FORMAT} in {path}, found {found!r:.80}; {_REMEDY}")
    try:
        _check_values(raw)
        return Manifest(
            recipe=_identity(raw["recipe"]), source=_identity(raw["source"]), width=_count(raw["width"]),
            shards={{"grid": "tokens"}.get(group, group): _shards(group, shards)  # grid: of an earlier version
                    for group, shards in raw["shards"].items()},
            words={_plain(name): WordsEntry(
                _identity(entry), _files(entry["files"]), dict(entry["info"]), dict(entry["counts"]),
                _identity(entry["text"]) if "text" in entry else None) for name, entry in raw["words"].items()},
            placeholders=tuple({"content": _digest(found["content"]), "photos": _count(found["photos"]),
                                "albums": _count(found["albums"])} for found in raw["placeholders"]),
            counts=_counts(raw["counts"]), versions=dict(raw["versions"]), canaries=dict(raw["canaries"]),
            files=_files(raw.get("files", {})),
            made_by=tuple(map(_making, raw.get("made_by", read_made_by(raw["recipe"])))))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise UserError(f"expected a whole manifest in {path}, found {found}; {_REMEDY}") from None


def _check_values(raw: Any) -> None:
    """Refuse what JSON can say and others stumble over: endless nesting, half characters."""
    values = [raw]
    for _ in range(MAX_DEPTH):
        names = [name for value in values if isinstance(value, dict) for name in value]
        for text in (*names, *(value for value in values if isinstance(value, str))):
            text.encode("utf-8")  # UnicodeEncodeError is a ValueError
        values = [child for value in values if isinstance(value, (dict, list))
                  for child in (value.values() if isinstance(value, dict) else value)]
        if not values:
            return
    raise ValueError(f"values nested more than {MAX_DEPTH} deep")


def _shards(group: str, raw: list[Mapping[str, Any]]) -> tuple[Shard, ...]:
    shards, row = [], 0
    for entry in raw:
        shard = Shard(str(entry["name"]), _count(entry["rows"]), _count(entry["offset"]), _count(entry["bytes"]),
                      _digest(entry["sha256"]))
        folder = group.rpartition("/")[0] if group.startswith("words/") else group
        own = {folder, "grid"} if folder == "tokens" else {folder}
        if not _SHARD_NAME.fullmatch(shard.name) or shard.name.rpartition("/")[0] not in own:
            raise ValueError(f"{shard.name!r:.80} is no plain name of a {group} shard inside the folder")
        if shard.offset != row:
            raise ValueError(f"{shard.name} begins at row {shard.offset}, the shards before it end at {row}")
        row += shard.rows
        shards.append(shard)
    return tuple(shards)


def _identity(raw: Mapping[str, Any]) -> Identity:
    return {"id": _digest(raw["id"]), "fields": dict(raw["fields"])}


def read_made_by(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What made a folder whose recipe, of version 3, still says so; the device it does not say."""
    made = {name: recipe["fields"].get(name) for name in MADE_BY} | {"device": "unknown"}
    return [made] if is_making(made) else []


def is_making(raw: Any) -> bool:
    """Whether parsed JSON says what made some of the features; a later run goes by the batch's size."""
    if not isinstance(raw, dict) or set(raw) != {*MADE_BY, "device"}:
        return False
    shape = raw["batch_shape"]
    return isinstance(shape, list) and len(shape) == 4 and type(shape[0]) is int and 1 <= shape[0] <= MAX_BATCH \
        and isinstance(raw["compiled"], bool) and isinstance(raw["device"], str)


def _making(raw: Any) -> dict[str, Any]:
    if not is_making(raw):
        raise ValueError(f"{raw!r:.80} does not say what made the features")
    return dict(raw)


def _counts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Counts are for people, but for those that a later run on the folder goes by."""
    _count(raw.get("thumbnail_side", 0))
    if _count(raw.get("tokens", 1)) not in TOKENS:
        raise ValueError(f"{raw['tokens']!r:.80} is no number of tokens")
    _count(raw.get("views", {"number": 0})["number"])
    return dict(raw)


def _files(raw: Mapping[str, Any]) -> dict[str, str]:
    return {_plain(name): _digest(digest) for name, digest in raw.items()}


def _plain(name: str) -> str:
    if not re.fullmatch(_PLAIN, name):
        raise ValueError(f"{name!r:.80} is no plain name")
    return name


def _digest(raw: Any) -> str:
    if not isinstance(raw, str) or not _SHA256.fullmatch(raw):
        raise ValueError(f"{raw!r:.80} is no sha256")
    return raw


def _count(raw: Any) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw <= MAX_COUNT:
        raise ValueError(f"{raw!r:.80} is no count")
    return raw
