"""Photos of one's own while their story is told: looked at once, kept in memory as a feature and a small picture."""
import base64
import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.files import replace_file
from data.folder.word_reader import SplitWords
from data.pictures.pictures import blame_photo, make_thumbnail, open_picture, resize_picture
from data.words.tokens import RESERVED, split_words
from evaluate.app.uploads import can_read_videos, require_small
from evaluate.captions.detokenise import read_caption
from evaluate.own_story.story import Storyteller
from evaluate.photos.retrieval import BLOCK
from extract.backbones.weights import RANDOM
from train.writing.config import WritingConfig

SIDE = 480              # pixels of the picture that is kept, at most
MAX_KEPT = 40           # photos; the one that was not asked for longest goes
MAX_SENTENCE = 400      # characters
NEAREST = 3
USUAL_PHOTOS, USUAL_SHARE = 100, 0.95
METHODS = ("greedy", "nucleus")


@dataclass(frozen=True)
class OwnPhoto:
    """What is kept of a photo: its feature (D,) float16, a small JPEG without metadata, the sha256 of its bytes."""

    feature: np.ndarray
    picture: bytes
    content: bytes


class Telling:
    """A run and the photos that stories are told of; one caller at a time.

    Args:
        keep: where the photos' own bytes go, `<id>.<ending>`; None: nowhere.
    """

    def __init__(self, teller: Storyteller, keep: Path | None = None) -> None:
        self.teller, self._keep, self._photos = teller, keep, OrderedDict[str, OwnPhoto]()
        words = teller.features.words(teller.run.config.words)
        self._train: SplitWords | None = words.split("train") if "train" in words.splits else None
        self._rows = self._usable(self._train)
        self._usual = self._measure_usual(self._usable(words.split("val") if "val" in words.splits else None))

    def facts(self) -> dict[str, Any]:
        """What the page says of the run before any photo is there."""
        run, train = self.teller.run, self._train
        samples = [] if train is None else [read_caption(train, int(row), order) for order, row in
                                            zip((0, 2, 4), np.linspace(0, len(train) - 1, 3))]
        return {"run": str(run.path), "looks_ahead": self.teller.task.looks_ahead, "frames": NUM_FRAMES,
                "stories": 0 if train is None else len(train), "photos": len(self._rows),
                "words": len(self.teller.vocabulary) - len(RESERVED),
                "backbone": str(run.recipe["fields"].get("backbone")),
                "is_random": self.teller.backbone.weights == RANDOM,
                "samples": samples, "reads_videos": can_read_videos(), "keep": self._keep and str(self._keep)}

    def add_photo(self, content: bytes) -> dict[str, Any]:
        """Look at a photo's bytes.

        Returns:
            "id", "picture" (base64 JPEG), "seen": tags with probabilities, "near": the nearest train photos, and
            "unlike": [its distance to the nearest, within which photos of the run's own world are] where it is farther.

        Raises:
            BadPhoto: if it is none, or too large.
        """
        require_small(content)
        teller, digest = self.teller, hashlib.sha256(content)
        with blame_photo(content):
            picture = open_picture(content, teller.resize)
            feature = teller.mapper.look_at(resize_picture(picture, teller.resize)[None])[0]
            photo = OwnPhoto(feature, make_thumbnail(picture, SIDE), digest.digest())
        photo_id = f"own-{digest.hexdigest()[:20]}"
        self._photos[photo_id] = photo
        self._photos.move_to_end(photo_id)
        while len(self._photos) > MAX_KEPT:
            self._photos.popitem(last=False)
        self._keep_original(photo_id, content)
        seen = teller.read(feature[None], ())["seen_logits"][0, 0]
        distances = self._measure(((feature.astype(np.float32) - teller.space.mean) / teller.space.std)[None])[0]
        near = np.argsort(distances, kind="stable")[:NEAREST]
        is_unlike = self._usual is not None and len(near) and distances[near[0]] > self._usual
        return {"id": photo_id, "picture": _encode(photo.picture), "seen": teller.likeliest(seen),
                "near": [self._show(row) for row in self._rows[near]],
                "unlike": [round(float(distances[near[0]]), 2), round(self._usual or 0, 2)] if is_unlike else None}

    def write(self, photo_ids: Sequence[str], sentences: Sequence[str], place: int, method: str, seed: int,
              off: Sequence[str]) -> dict[str, Any]:
        """Write the sentence of a place, counted from 0, from the sentences before it.

        A run that looks ahead has seen the photos before the place alone; the place behind the last photo is what
        comes next.

        Args:
            sentences: at least `place`; blank ones are withheld. off: names of tags that count for nothing.

        Returns:
            "sentence", "tags" that it was written from, "next": train photos like the one expected there (empty where
            the run predicts none), "unknown": of each sentence before the words that the run does not know.
        """
        photos, ahead = [self.take(photo_id) for photo_id in photo_ids], self.teller.task.looks_ahead
        first, last = (1, min(len(photos), NUM_FRAMES - 1)) if ahead else (0, len(photos) - 1)
        if len(photos) > NUM_FRAMES or not first <= place <= last or len(sentences) < place:
            raise UserError(f"expected at most {NUM_FRAMES} photos, a place from {first + 1} to {last + 1} and the "
                            f"sentences before it, found {len(photos)} photos, place {place + 1} and {len(sentences)} "
                            "sentences")
        if method not in METHODS:
            raise UserError(f"expected a way of writing of {', '.join(METHODS)}, found {method!r}")
        before = [sentence[:MAX_SENTENCE] for sentence in sentences[:place]]
        looked_at = np.stack([photo.feature for photo in (photos[:place] if ahead else photos)])
        config = WritingConfig() if method == "greedy" else WritingConfig(method="sample", top_p=0.9, seed=seed)
        with self._without(off):
            outputs = self.teller.read(looked_at, before if ahead else ())
            sentence = (self.teller.write(outputs, place, config) if ahead else
                        self.teller.write(outputs, place + 1, config, before))[0]
        step = place - 1 if ahead else place
        query = outputs["query_features"][0, step].cpu().numpy()
        matching = self.teller.match(query, self._rows, {photo.content for photo in photos},
                                     NEAREST) if ahead else self._rows[:0]
        known = self.teller.vocabulary.index
        unknown = [[word for word in dict.fromkeys(split_words(text, tokenised=False))
                    if word not in known and any(map(str.isalpha, word))] for text in before]
        return {"sentence": sentence, "tags": self.teller.likeliest(outputs["next_logits"][0, step]),
                "next": [self._show(row) for row in matching], "unknown": unknown}

    def take(self, photo_id: str) -> OwnPhoto:
        """A photo by id.

        Raises:
            UserError: if it is not there any more.
        """
        if photo_id not in self._photos:
            raise UserError("expected photos that were given here before, found one that is not kept any more; remove "
                            "it and give it again")
        self._photos.move_to_end(photo_id)
        return self._photos[photo_id]

    @contextmanager
    def _without(self, names: Sequence[str]) -> Iterator[None]:
        """Let tags count for nothing meanwhile."""
        counted = self.teller.run.model.counted_tags
        before = counted.clone()
        counted[[column for column, name in enumerate(self.teller.tag_names) if name in names]] = 0
        try:
            yield
        finally:
            counted.copy_(before)

    def _usable(self, words: SplitWords | None) -> np.ndarray:
        rows = np.unique(words.photo.all()) if words is not None else np.zeros(0, np.int64)
        return rows[self.teller.features.usable[rows]]

    def _measure_usual(self, rows: np.ndarray) -> float | None:
        """The distance to the nearest train photo within which USUAL_SHARE of photos are that belong to the run's own
        world and were not learned from. None where there are none.

        A distance and no cosine: of pictures from books a random ResNet-50's cosine finds 87 % to be strange to a drawn
        world, the distance all.
        """
        if not len(rows) or not len(self._rows):
            return None
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), USUAL_PHOTOS)).astype(int)]
        return float(np.quantile(self._measure(self.teller.space.read(rows)).min(axis=1), USUAL_SHARE))

    def _measure(self, queries: np.ndarray) -> np.ndarray:
        """Distances of standardised features (n, D) to all train photos: (n, N) float32, in deviations."""
        found = np.empty((len(queries), len(self._rows)), np.float32)
        for start in range(0, len(self._rows), BLOCK):
            photos = self.teller.space.read(self._rows[start:start + BLOCK])
            squared = (queries ** 2).sum(axis=1)[:, None] + (photos ** 2).sum(axis=1) - 2 * queries @ photos.T
            found[:, start:start + BLOCK] = np.sqrt(squared.clip(min=0) / queries.shape[1])
        return found

    def _show(self, row: int) -> dict[str, Any]:
        """A train photo: "id", "picture" (base64 JPEG, "" without thumbnails), and its "caption" in some story."""
        thumbnail = self.teller.features.thumbnail(int(row))
        assert self._train is not None
        story, order = np.argwhere(self._train.photo.all() == row)[0]
        return {"id": self.teller.features.photo_id.take(np.array([row]))[0].decode(),
                "picture": _encode(thumbnail or b""), "caption": read_caption(self._train, int(story), int(order))}

    def _keep_original(self, photo_id: str, content: bytes) -> None:
        if self._keep is not None:
            with Image.open(io.BytesIO(content)) as picture:
                ending = str(picture.format).lower().replace("mpo", "jpeg")
            with replace_file(self._keep / f"{photo_id}.{ending}") as partial:
                partial.write_bytes(content)


def _encode(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")
