"""What a data folder holds, told before anything expensive starts: `python -m data check DATA`."""
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.annotations.stories import DEFAULT_SEED, SPLITS, Dataset, Skipped, read_dataset
from data.errors import shell_word
from data.pictures.photos import FoundPhoto, scan_photos
from data.words.tags import UNK_TAG, TagTable
from data.words.tokens import RESERVED
from data.words.word_encoder import EncodedWords, encode_words

LISTED_CAUSES = 12
LINE_WIDTH = 118


def check_data(root: Path, seed: int = DEFAULT_SEED, tag_table: Path | None = None) -> str:
    """Read a data folder as extraction would, open no photo, and tell what was found.

    Args:
        root: the data folder.
        seed: decides the splits where there is only a train file.
        tag_table: None is the shipped one.

    Raises:
        UserError: if the folder cannot be used.
    """
    dataset = read_dataset(root, seed)
    words = encode_words(dataset, table=TagTable.load(tag_table))
    photos, photo_warnings = scan_photos(root)
    sections = [[f"{dataset.root}: {', '.join(sorted(dataset.files))}"],
                _describe_splits(dataset, words, photos), _describe_photos(dataset, photos),
                _describe_skipped(dataset.skipped),
                [f"vocabulary: {len(words.vocabulary):,} words with the {len(RESERVED)} reserved ones, counted over "
                 f"{'train' if 'train' in words.splits else ' and '.join(words.splits)}; most frequent: "
                 f"{', '.join(words.vocabulary.words[len(RESERVED):len(RESERVED) + 12])}"], _describe_tags(words)]
    warnings = [*dataset.warnings, *words.warnings, *photo_warnings]
    if warnings:
        sections.append(["warnings", *(f"  {warning}" for warning in warnings)])
    sections.append([f"next: make features DATA={shell_word(dataset.root)}"])
    return "\n\n".join("\n".join(section) for section in sections if section)


def _describe_splits(dataset: Dataset, words: EncodedWords, photos: dict[str, FoundPhoto]) -> list[str]:
    rows = [["", "stories", "albums", "photos", "missing", "captions", "words each", "cut", "unknown words", "no tag",
             "described"]]
    for split in SPLITS:
        stories = dataset.stories[split]
        if not stories:
            rows.append([split, "none"] + [""] * 9)
            continue
        count = words.counts[split]
        ids = {photo_id for story in stories for photo_id in story.photo_ids}
        rows.append([split, f"{len(stories):,}", f"{len({story.album_id for story in stories}):,}", f"{len(ids):,}",
                     f"{len(ids - photos.keys()):,}", f"{count['captions']:,}",
                     f"{count['words'] / count['captions']:.1f}", f"{count['cut']:,}",
                     _share(count["unknown_words"], count["words"]), _share(count["untagged"], count["captions"]),
                     _share(count["described"], count["captions"])])
    return _align(rows)


def _describe_photos(dataset: Dataset, photos: dict[str, FoundPhoto]) -> list[str]:
    named = Counter(photo_id for stories in dataset.stories.values() for story in stories
                    for photo_id in set(story.photo_ids))
    missing = sorted(named.keys() - photos.keys())
    shared = sum(count > 1 for count in named.values())
    lines = [f"photos: {len(named):,} named by stories, {len(named) - len(missing):,} found, "
             f"{len(photos.keys() - named.keys()):,} more in the folder that no story names"]
    if missing:
        lines.append(f"  missing: {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}")
    lines.append(f"  {shared:,} stand in more than one story ({_share(shared, len(named))}; up to "
                 f"{max(named.values())} stories)")
    in_files = {photo_id for pairs in dataset.album_photos.values() for _, photo_id in pairs}
    if in_files - named.keys():
        lines.append(f"  {len(in_files - named.keys()):,} more are listed in the albums (--photos albums)")
    return lines


def _describe_skipped(skipped: list[Skipped]) -> list[str]:
    if not skipped:
        return ["left out: nothing"]
    causes = Counter((row.kind, row.cause) for row in skipped)
    first = {(row.kind, row.cause): row for row in reversed(skipped)}
    rows = [[f"  {kind}", cause, f"{count:,}", f"first: {first[kind, cause].split} {first[kind, cause].id}: "
             f"{first[kind, cause].detail}"] for (kind, cause), count in causes.most_common(LISTED_CAUSES)]
    lines = [f"left out: {len(skipped):,}", *_align(rows, left=(0, 1, 3))]
    if len(causes) > LISTED_CAUSES:
        lines.append(f"  and {len(causes) - LISTED_CAUSES} causes more")
    return lines


def _describe_tags(words: EncodedWords) -> list[str]:
    num_frames = sum(count["captions"] for count in words.counts.values())
    frames = sum(arrays.tag.sum(axis=(0, 1), dtype=int) for arrays in words.splits.values())
    lines = [f"tags: share of {num_frames:,} frames, no tag {_share(frames[UNK_TAG], num_frames)}"]
    columns = {name: column for column, name in enumerate(words.table.names)}
    for category in dict.fromkeys(words.table.categories.values()):
        names = [name for name, its in words.table.categories.items() if its == category and frames[columns[name]]]
        names.sort(key=lambda name: (-frames[columns[name]], name))
        if names:
            lines += _wrap(f"  {category}", [f"{name} {_share(frames[columns[name]], num_frames)}" for name in names])
    absent = [name for name in words.table.categories if not frames[columns[name]]]
    if absent:
        lines += _wrap("  never", absent)
    return lines


def _share(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return "0 %" if not part else "under 0.1 %" if share < 0.1 else f"{share:.1f} %"


def _align(rows: Sequence[Sequence[str]], left: Iterable[int] = (0,)) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) if index in left else cell.rjust(width)
                      for index, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]


def _wrap(head: str, items: Iterable[str]) -> list[str]:
    lines = [head.ljust(12)]
    for item in items:
        if len(lines[-1]) + 2 + len(item) > LINE_WIDTH:
            lines.append(" " * 12)
        lines[-1] += f"  {item}"
    return lines
