"""Which albums hang together, and how groups of them are dealt into folds."""
import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data.annotations.stories import SPLITS, Dataset
from data.errors import UserError
from data.pictures.photos import BadPhoto, FoundPhoto, read_photo

LEAST_WORDS = 6
VAL_LEAST, VAL_MOST = 0.125, 0.15  # of the stories that are not tested
RULE = (f"albums stay together that share a photo (by id, or by the sha256 of the file) or a caption, or a sentence in "
        f"one, of {LEAST_WORDS} words or more (lower case; punctuation counts as words, but is not compared)")

_WORD = re.compile(r"\w+")
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])\W*\s+")


@dataclass(frozen=True)
class Group:
    """Albums that hang together, in order, and how many stories they have."""

    albums: tuple[str, ...]
    stories: int


@dataclass(frozen=True)
class Deal:
    """Which part of which fold a group is in.

    Attributes:
        test: by group its fold, None for one that is larger than a fold. val: by fold the groups that validate.
    """

    test: list[int | None]
    val: list[list[int]]

    def part(self, group: int, fold: int) -> str:
        """The split that a group belongs to in a fold."""
        return "test" if self.test[group] == fold else "val" if group in self.val[fold] else "train"


def group_albums(dataset: Dataset, photos: dict[str, FoundPhoto]) -> list[Group]:
    """The groups of a dataset's albums, largest first, equal ones by their first album.

    Args:
        photos: as `scan_photos` finds them; those that are absent share nothing but their id.
    """
    from scipy.cluster.hierarchy import DisjointSet  # late: --help need not wait for it
    stories = [story for split in SPLITS for story in dataset.stories[split]]
    contents = _find_contents({photo_id for story in stories for photo_id in story.photo_ids}, photos)
    joined = DisjointSet(dict.fromkeys(story.album_id for story in stories))
    first: dict[tuple[str, str], str] = {}
    for story in stories:
        ties = [("story", story.story_id), *(("photo", photo_id) for photo_id in story.photo_ids),
                *(("content", contents[photo_id]) for photo_id in story.photo_ids if photo_id in contents),
                *(("sentence", sentence) for caption in story.captions for sentence in list_sentences(caption))]
        for tie in ties:
            joined.merge(story.album_id, first.setdefault(tie, story.album_id))
    # a story that several splits tell counts once, in the first one's album
    counts = Counter({story.story_id: story.album_id for story in reversed(stories)}.values())
    groups = [Group(tuple(sorted(albums)), sum(counts[album] for album in albums)) for albums in joined.subsets()]
    return sorted(groups, key=lambda group: (-group.stories, group.albums))


def list_sentences(caption: str) -> set[str]:
    """The caption and its sentences as lower-case words joined by blanks, as far as they have six words or more."""
    caption = caption.lower()
    return {" ".join(words) for text in (caption, *_END_OF_SENTENCE.split(caption))
            if (words := _WORD.findall(text)) and max(len(words), len(text.split())) >= LEAST_WORDS}


def deal_groups(sizes: Sequence[int], folds: int, seed: int) -> Deal:
    """Deal groups into folds of about equally many stories, and choose those that validate in each.

    Args:
        sizes: stories of each group, largest first.

    Raises:
        UserError: if a fold would lack groups to test, to validate or to train on.
    """
    dealt = [group for group, size in enumerate(sizes) if size * folds <= sum(sizes)]
    if len(dealt) < folds:
        raise _too_few(dealt, sizes, folds)
    rng = random.Random(seed)
    rng.shuffle(dealt)
    dealt.sort(key=lambda group: -sizes[group])  # stable: equal ones stay in drawn order
    test: list[int | None] = [None] * len(sizes)
    filled = [0] * folds
    for group in dealt:
        test[group] = filled.index(min(filled))
        filled[filled.index(min(filled))] += sizes[group]
    deal = Deal(test, [])
    for fold in range(folds):
        groups, rest = [group for group in dealt if test[group] != fold], sum(sizes) - filled[fold]
        random.Random(f"{seed}:{fold}").shuffle(groups)
        chosen, held = list[int](), 0
        for group in groups:
            if held < VAL_LEAST * rest and held + sizes[group] <= VAL_MOST * rest:
                chosen.append(group)
                held += sizes[group]
        deal.val.append(sorted(chosen) or [min(groups, key=lambda group: sizes[group])])
        if all(deal.part(group, fold) != "train" for group in range(len(sizes))):
            raise _too_few(dealt, sizes, folds)
    return deal


def _too_few(dealt: Sequence[int], sizes: Sequence[int], folds: int) -> UserError:
    return UserError(f"expected groups of albums to train on, to validate and to test in each of {folds} folds, found "
                     f"{len(dealt)} groups no larger than a fold among {len(sizes)}, the largest of {max(sizes)} of "
                     f"{sum(sizes)} stories (albums that share photos or sentences are one group); give more data, or "
                     "fewer --folds")


def _find_contents(photo_ids: Iterable[str], photos: dict[str, FoundPhoto]) -> dict[str, str]:
    """The sha256 of photos that have the size of another one; the others share their bytes with none."""
    of_size: dict[int, list[str]] = defaultdict(list)
    for photo_id in photo_ids:
        if photo_id in photos:
            of_size[photos[photo_id].size].append(photo_id)
    found = {}
    for same in of_size.values():
        for photo_id in same if len(same) > 1 else ():
            try:
                found[photo_id] = hashlib.sha256(read_photo(photos[photo_id].path)).hexdigest()
            except BadPhoto:
                continue  # nothing can be read off it: extraction will list it
    return found
