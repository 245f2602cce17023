"""The stories of a data folder: VIST and every dataset in its annotation format.

    DATA/annotations/{train,val,test}.story-in-sequence.json      any of the three may be absent
    DATA/annotations/{split}.description-in-isolation.json        optional
    DATA/**/<photo_flickr_id>.<jpg|jpeg|png|gif|webp>             see data/pictures/photos.py

The files may also lie directly in DATA. A frame's key is (split, story_id, order), never the photo: photos recur
across the stories of an album, and may recur within one story.
"""
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from data.annotations.annotation_file import (
    Caption,
    Skipped,
    Story,
    load_annotations,
    parse_descriptions,
    parse_images,
    parse_stories,
)
from data.errors import UserError

SPLITS = ("train", "val", "test")
DEFAULT_SEED = 42


@dataclass(frozen=True)
class Dataset:
    """Everything the annotation files say.

    Attributes:
        root: the data folder.
        stories: split -> its stories, sorted by (album_id, story_id); every split is a key.
        descriptions: photo id -> its captions in isolation, in file order.
        album_photos: split -> (album_id, photo_id) of the files' `images`, told of in a story or not.
        skipped: what was left out, with its cause.
        warnings: sentences a user should read.
        files: annotation file name -> sha256 of its bytes.
        info: split -> the file's `info` object.
        derived_splits: True where there was only a train file, whose albums were split 80/10/10.
    """

    root: Path
    stories: dict[str, list[Story]]
    descriptions: dict[str, tuple[Caption, ...]] = field(default_factory=dict)
    album_photos: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    info: dict[str, dict] = field(default_factory=dict)
    derived_splits: bool = False

    @property
    def num_stories(self) -> int:
        """The number of stories over all splits."""
        return sum(len(stories) for stories in self.stories.values())


def read_dataset(root: Path, seed: int = DEFAULT_SEED) -> Dataset:
    """Read every annotation file of a data folder.

    Args:
        root: the data folder, or its `annotations` folder.
        seed: decides which albums go to val and test where there is only a train file.

    Raises:
        UserError: if there is no annotation file, one of them is broken, or no well-formed story is left.
    """
    paths, warnings = find_files(root, "story-in-sequence")
    if not paths:
        near = sorted(path.name for folder in (root, root / "annotations") if folder.is_dir()
                      for path in folder.iterdir() if path.suffix == ".json")
        found = f"{', '.join(near[:5])}{' and more' if len(near) > 5 else ''}" if near else "no .json file"
        wanted = ", ".join(f"{split}.story-in-sequence.json" for split in SPLITS)
        raise UserError(f"expected at least one of {wanted} in {root / 'annotations'} or {root}, found {found}; put "
                        "the files there or name another data folder")
    description_paths, more_warnings = find_files(root, "description-in-isolation")
    dataset = Dataset(root, {split: [] for split in SPLITS}, warnings=warnings + more_warnings,
                      album_photos={split: () for split in SPLITS})
    for split, path in paths.items():
        _add_stories(dataset, split, path)
    for split, path in description_paths.items():
        raw, dataset.files[path.name] = load_annotations(path)
        descriptions, skipped = parse_descriptions(raw["annotations"], split, path)
        for photo_id, captions in descriptions.items():
            dataset.descriptions[photo_id] = (*dataset.descriptions.get(photo_id, ()), *captions)
        dataset.skipped.extend(skipped)
        if skipped:
            dataset.warnings.append(f"{split}: {_count(len(skipped), 'description')} left out "
                                    f"(first: {skipped[0].id}, {skipped[0].cause})")
    if not dataset.num_stories:
        first, *others = [row for row in dataset.skipped if row.kind == "story"]
        raise UserError(f"expected at least one well-formed story in {root}, found {1 + len(others)} that are not: "
                        f"story {first.id} of {first.split} is left out for {first.cause!r} ({first.detail}); mend "
                        "them")
    if set(paths) == {"train"}:
        dataset = _split_albums(dataset, seed)
    for stories in dataset.stories.values():
        stories.sort(key=lambda story: (story.album_id, story.story_id))
    dataset.warnings.extend(_find_recurrences(dataset))
    return dataset


def find_files(root: Path, tier: str) -> tuple[dict[str, Path], list[str]]:
    """The annotation files of a tier by split, and warnings where one lies in two places.

    Raises:
        UserError: if there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"expected a data folder at {root}, found {'a file' if root.exists() else 'nothing'}; "
                        "name the folder that holds annotations/")
    paths, warnings = {}, []
    for split in SPLITS:
        name = f"{split}.{tier}.json"
        found = [folder / name for folder in (root / "annotations", root) if (folder / name).exists()]
        if found:
            paths[split] = found[0]
        if len(found) > 1:
            warnings.append(f"{name} lies both in {found[0].parent} and in {root}: the one in annotations/ is read")
    return paths, warnings


def derive_split(album_id: str, seed: int) -> str:
    """Assign an album to train (80 %), val (10 %) or test (10 %) by the sha256 of "seed:album_id".

    The first 8 bytes of the digest are read as a fraction of 2**64, so that an album keeps its split whatever
    other albums there are.
    """
    digest = hashlib.sha256(f"{seed}:{album_id}".encode()).digest()
    tenth = int.from_bytes(digest[:8], "big") * 10 >> 64
    return "val" if tenth == 8 else "test" if tenth == 9 else "train"


def _add_stories(dataset: Dataset, split: str, path: Path) -> None:
    raw, dataset.files[path.name] = load_annotations(path)
    stories, skipped = parse_stories(raw["annotations"], split, path)
    pairs, skipped_images = parse_images(raw["images"], split, path)
    dataset.stories[split] = stories
    dataset.album_photos[split] = tuple(pairs)
    dataset.skipped.extend(skipped + skipped_images)
    dataset.info[split] = raw["info"] if isinstance(raw.get("info"), dict) else {}
    if skipped:
        dataset.warnings.append(f"{split}: {_count(len(skipped), 'story', 'stories')} left out of "
                                f"{len(skipped) + len(stories)} (first: {skipped[0].id}, {skipped[0].cause})")
    listed = {photo_id for _, photo_id in pairs}
    unlisted = {photo_id for story in stories for photo_id in story.photo_ids} - listed
    if unlisted:
        dataset.warnings.append(f"{split}: {_count(len(unlisted), 'photo')} of the stories not among the file's "
                                f"images (first: {min(unlisted)})")


def _split_albums(dataset: Dataset, seed: int) -> Dataset:
    stories: dict[str, list[Story]] = {split: [] for split in SPLITS}
    pairs: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for story in dataset.stories["train"]:
        split = derive_split(story.album_id, seed)
        stories[split].append(replace(story, split=split))
    for album_id, photo_id in dataset.album_photos["train"]:
        pairs[derive_split(album_id, seed)].append((album_id, photo_id))
    albums = {split: len({story.album_id for story in stories[split]}) for split in SPLITS}
    warning = (f"only a train file in {dataset.root}: its {sum(albums.values())} albums were split 80/10/10 by album "
               f"(seed {seed}) into "
               + ", ".join(f"{split} {albums[split]} albums with {len(stories[split])} stories" for split in SPLITS))
    return replace(dataset, stories=stories, album_photos={split: tuple(pairs[split]) for split in SPLITS},
                   warnings=[*dataset.warnings, warning], derived_splits=True,
                   info={split: dataset.info["train"] for split in SPLITS})


def _find_recurrences(dataset: Dataset) -> Iterator[str]:
    for place, (one, many) in enumerate((("story", "stories"), ("album", "albums"), ("photo", "photos"))):
        ids = {split: {name for story in dataset.stories[split]
                       for name in ((story.story_id,), (story.album_id,), story.photo_ids)[place]} for split in SPLITS}
        for left, right in itertools.combinations(SPLITS, 2):
            if shared := ids[left] & ids[right]:
                yield f"{_count(len(shared), one, many)} in both {left} and {right} (first: {min(shared)})"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
