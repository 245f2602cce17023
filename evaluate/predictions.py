"""predictions-<split>.jsonl, what a run said; this file alone knows the format, and other systems may write it too.

Task `next`, a line per (story, t): story_id, album_id; t = 1..4, the frames seen; photos: the story's five ids;
caption: the true one of frame t + 1, raw; reference: its words as they are scored, and written: words, both joined by
blanks; tags: true names of frame t + 1; described: whether its photo has descriptions, which then made its tags
together with the caption; tags_seen: names read off its photo, null without a usable one; tags_next: names predicted
ahead; retrieved: up to five photo ids of the split, best first; rank_all, rank_album, rank_1_of_5, rank_1_of_100: of
the true photo, 1 = best, the mean where it ties, null where it is missing, an input, or the pool too small; tied_all,
...: how many others it ties with (none, where a file does not say); nll: of the caption's words and <END>, in nats, and
tokens, how many these are; nll_known and tokens_known: both without <UNK>.

Task `tell`, a line per story: album_id, story_id; story: what was written; sentences: its five; reference: the true
story's words as they are scored; photos: five ids; tags, tags_seen, tags_next: for each photo as above, next: said of
it after a look at all five; nll: nats of the true story's words and <END>s, and tokens; nll_known and tokens_known.
"""
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.files import replace_file, take_each_key_once

POOLS = ("all", "album", "1_of_5", "1_of_100")  # in which the true photo has a rank
KINDS = ("seen", "next")
TAG_KEYS = ("tags", *(f"tags_{kind}" for kind in KINDS))
STORY_KEYS, CAPTION_KEYS = ("album_id", "story"), ("album_id", "photos", "t", "story_id", "caption")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One line; what a file lacks is None. Of a whole story t is 5, `written` all of it, and `sentences` its parts."""

    story_id: str
    album_id: str
    t: int
    photos: tuple[str, ...]
    caption: str = ""
    reference: str | None = None
    written: str | None = None
    tags: tuple[str, ...] | None = None
    described: bool | None = None
    guessed: dict[str, tuple[str, ...]] = field(default_factory=dict)   # by KINDS, those that were told
    retrieved: tuple[str, ...] = ()
    ranks: dict[str, float | None] = field(default_factory=dict)        # by POOLS
    tied: dict[str, int] = field(default_factory=dict)
    nll: float | None = None
    tokens: int = 0
    nll_known: float | None = None
    tokens_known: int = 0
    sentences: tuple[str, ...] = ()
    tags_told: dict[str, tuple[tuple[str, ...] | None, ...]] = field(default_factory=dict)  # by TAG_KEYS: of each photo
    is_story: bool = False

    @property
    def rank(self) -> float | None:
        """The rank of the true photo over the whole split, else over its album; 1 is best."""
        rank = self.ranks.get("all")
        return self.ranks.get("album") if rank is None else rank

    @property
    def surprise(self) -> float | None:
        """Negative log likelihood of the true caption per token, in nats."""
        return self.nll / self.tokens if self.nll is not None and self.tokens > 0 else None

    def as_line(self) -> dict[str, Any]:
        """The keys and values of its line, in order."""
        if self.is_story:
            return {"album_id": self.album_id, "story_id": self.story_id, "story": self.written,
                    "sentences": self.sentences, "reference": self.reference, "photos": self.photos, **self.tags_told,
                    "nll": self.nll, "tokens": self.tokens, "nll_known": self.nll_known,
                    "tokens_known": self.tokens_known}
        return {"story_id": self.story_id, "album_id": self.album_id, "t": self.t, "photos": self.photos,
                "caption": self.caption, "reference": self.reference, "written": self.written, "tags": self.tags,
                "described": self.described, **{f"tags_{kind}": self.guessed.get(kind) for kind in KINDS},
                "retrieved": self.retrieved, **{f"rank_{pool}": self.ranks[pool] for pool in POOLS},
                **{f"tied_{pool}": self.tied[pool] for pool in POOLS}, "nll": self.nll, "tokens": self.tokens,
                "nll_known": self.nll_known, "tokens_known": self.tokens_known}


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> Path:
    """Write a line for each."""
    with replace_file(path) as partial, open(partial, "w", encoding="utf-8") as file:
        for prediction in predictions:
            file.write(json.dumps(prediction.as_line(), ensure_ascii=False) + "\n")
    return path


def find_predictions(run_path: Path, split: str) -> Path:
    """A run's predictions of a split; `run_path` may be a file of predictions itself.

    Raises:
        UserError: if the run has none.
    """
    path = run_path / f"predictions-{split}.jsonl" if run_path.is_dir() else run_path
    if not path.is_file():
        raise UserError(f"expected a run folder or a predictions file with split {split!r} at {path}, found no such "
                        f"file; evaluate the run first: make eval RUN={run_path} SPLIT={split}")
    return path


def read_predictions(path: Path, text: str | None = None) -> list[Prediction]:
    """Read a file of either kind of lines, whoever wrote it.

    Args:
        text: its content, where that is read already.

    Raises:
        UserError: naming the line that is no prediction, or tells again what another one told.
    """
    predictions: list[Prediction] = []
    seen: set[tuple[str, str, int]] = set()
    for number, line in enumerate((read_text(path, "predictions") if text is None else text).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"line {number} of {path}"
        prediction = _parse(parse_json(line, place), place)
        key = prediction.story_id, prediction.album_id if prediction.is_story else "", prediction.t
        if prediction.story_id and key in seen:
            of_frame = "" if prediction.is_story else f" with t = {prediction.t}"
            raise UserError(f"{place}: expected story {prediction.story_id} of album {prediction.album_id}{of_frame} "
                            "once, found it again; keep one of the two")
        seen.add(key)
        predictions.append(prediction)
    if not predictions:
        raise UserError(f"expected predictions in {path}, found an empty file; write it again")
    return predictions


def read_text(path: Path, what: str) -> str:
    """A file's text; `what` names its role, and the flag that names it.

    Raises:
        UserError: if it is absent or no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"expected {what} at {path}, found no such file; check --{what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"expected {what} as UTF-8 text in {path}, found {type(error).__name__}: {error}; check "
                        f"--{what}") from None


def parse_json(text: str, place: str) -> Any:
    """JSON with each key once; `place` is named in the error.

    Raises:
        UserError: if it is something else, or nested beyond reason.
    """
    try:
        return json.loads(text, object_pairs_hook=take_each_key_once)
    except RecursionError:
        raise UserError(f"{place}: expected JSON, found it nested beyond reason; write it again") from None
    except ValueError as error:
        raise UserError(f"{place}: expected JSON, found {type(error).__name__}: {error}; mend it") from None


def describe_json(value: Any) -> str:
    """What a value is and how it begins, for errors."""
    text = json.dumps(value, ensure_ascii=False)
    kind = {dict: "an object", list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number or flag")
    return f"{kind}, {text[:60]}{'...' if len(text) > 60 else ''}"


def plain_number(value: Any) -> float | None:
    """A finite number of a file; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def _parse(raw: Any, place: str) -> Prediction:
    if not isinstance(raw, dict):
        raise UserError(f"{place}: expected a prediction as an object, found {describe_json(raw)}; mend the line")
    if "story" in raw or "t" not in raw:
        _require(raw, STORY_KEYS, (str, str), place)
        return Prediction(
            story_id=str(raw.get("story_id", "")), album_id=raw["album_id"], t=NUM_FRAMES,
            photos=_names(raw, "photos") or (), written=raw["story"], reference=raw.get("reference"),
            sentences=_names(raw, "sentences") or (), nll=plain_number(raw.get("nll")), tokens=_count(raw, "tokens"),
            nll_known=plain_number(raw.get("nll_known")), tokens_known=_count(raw, "tokens_known"),
            tags_told={key: tuple(_names({key: tags}, key) for tags in raw[key]) for key in TAG_KEYS
                       if isinstance(raw.get(key), list) and len(raw[key]) == NUM_FRAMES},
            is_story=True)
    _require(raw, CAPTION_KEYS, (str, list, int, str, str), place)
    described = raw.get("described")
    return Prediction(
        story_id=raw["story_id"], album_id=raw["album_id"], t=raw["t"], photos=_names(raw, "photos") or (),
        caption=raw["caption"], reference=str(raw.get("reference", raw["caption"].lower())),
        written=None if raw.get("written") is None else str(raw["written"]), tags=_names(raw, "tags"),
        described=None if described is None else bool(described),
        guessed={kind: told for kind in KINDS if (told := _names(raw, f"tags_{kind}")) is not None},
        retrieved=_names(raw, "retrieved") or (), ranks={pool: plain_number(raw.get(f"rank_{pool}")) for pool in POOLS},
        tied={pool: _count(raw, f"tied_{pool}") for pool in POOLS}, nll=plain_number(raw.get("nll")),
        tokens=_count(raw, "tokens"), nll_known=plain_number(raw.get("nll_known")),
        tokens_known=_count(raw, "tokens_known"))


def _require(raw: dict[str, Any], keys: Sequence[str], kinds: Sequence[type], place: str) -> None:
    for key, kind in zip(keys, kinds):
        if key not in raw:
            raise UserError(f"{place}: expected the keys {', '.join(keys)}, found "
                            f"{', '.join(map(repr, sorted(raw)))}; add {key!r}")
        if type(raw[key]) is not kind:
            raise UserError(f"{place}: expected {key!r} as {kind.__name__}, found {describe_json(raw[key])}; mend the "
                            "line")


def _names(raw: dict[str, Any], key: str) -> tuple[str, ...] | None:
    return tuple(map(str, raw[key])) if isinstance(raw.get(key), list) else None


def _count(raw: dict[str, Any], key: str) -> int:
    return int(plain_number(raw.get(key)) or 0)
