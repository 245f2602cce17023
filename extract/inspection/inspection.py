"""Show what a features folder holds, also while it is being made: only published shards are read."""
import argparse
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import printable
from data.folder.manifest import Manifest, load_manifest
from data.folder.part import describe_lacks, read_lacks
from data.folder.word_reader import DII, SplitWords, WordSet
from data.pictures.photos import OK, STATUS
from data.words.tokens import RESERVED, UNK
from extract.folder.ledger import read_ledger
from extract.folder.recipe import recall_recipe
from extract.inspection.inspection_rows import PhotoRows, find_row, measure_lengths, measure_norms, open_rows
from extract.verification.findings import format_facts

BARS, BAR_WIDTH = 12, 40
FREQUENT_WORDS = 30
LINE = 118


def run(arguments: argparse.Namespace) -> None:
    """Print what the folder holds and draw it."""
    folder: Path = arguments.folder
    manifest, rows = open_rows(folder)
    out = arguments.out or folder.with_name(f"{folder.absolute().name}-inspect")
    norms = measure_norms(rows)
    query = None if arguments.photo is None else find_row(rows, arguments.photo)
    print("\n".join(describe_folder(folder, manifest, rows, norms)), flush=True)
    if arguments.pictures:
        from extract.inspection.inspection_pictures import draw_overview
        print(f"\ndrawn: {printable(draw_overview(out, folder, manifest, norms))}")
    if query is not None:
        from extract.inspection.inspection_pictures import show_neighbours
        print("\n".join(show_neighbours(out, folder, rows, query, arguments.dataset, arguments.pictures)))


def describe_folder(folder: Path, manifest: Manifest | None, rows: PhotoRows, norms: np.ndarray) -> Iterator[str]:
    """Everything as lines that a terminal may be given."""
    yield f"features folder {printable(folder)}"
    yield from format_facts(_describe_recipe(folder, manifest) | _describe_photos(folder, manifest, rows))
    if len(norms):
        low, median, high = np.quantile(norms, (0.01, 0.5, 0.99))
        yield from ("", f"norm of a feature: 1 % below {low:.4g}, median {median:.4g}, 99 % below {high:.4g}")
        counts, edges = np.histogram(norms.astype(np.float64), BARS)
        yield from draw_bars([f"{low:.4g} .. {high:.4g}" for low, high in zip(edges, edges[1:])], counts.tolist())
    if manifest is None:
        yield from ("", "words are published when every photo is there")
        return
    for name in sorted(manifest.words):
        yield from describe_words(WordSet(folder, name, manifest))


def describe_words(words: WordSet) -> Iterator[str]:
    """A word set: its splits, lengths, frequent words and tags, the last three over train where there is one."""
    vocabulary, names = words.vocabulary, words.tag_names
    yield from ("", f"words {printable(words.name)}: {len(vocabulary)} words, {len(names) - 2} tags")
    splits = {split: words.split(split) for split in words.splits}
    counted = _as_mapping(words.counts.get("splits"))
    yield from format_facts({split: _describe_split(part, _as_mapping(counted.get(split)))
                             for split, part in splits.items()})
    if not splits:
        return
    split, part = next(iter(splits.items()))
    lengths = measure_lengths(part)
    yield from ("", f"words in a caption ({split}): median {np.median(lengths):.0f}, longest {lengths.max()}")
    ends = np.unique(np.linspace(lengths.min(), lengths.max() + 1, BARS + 1).astype(int))
    counts, edges = np.histogram(lengths, ends)
    labels = [f"{low} .. {high - 1}" if high > low + 1 else f"{low}" for low, high in zip(edges, edges[1:])]
    yield from draw_bars(labels, counts.tolist())
    frequency = np.bincount(part.token.all().ravel(), minlength=len(vocabulary))[:len(vocabulary)]
    frequency[:len(RESERVED)] = 0
    top = np.argsort(-frequency, kind="stable")[:FREQUENT_WORDS]
    yield from ("", f"frequent words ({split})")
    yield from _wrap(f"{vocabulary[index]} {frequency[index]}" for index in top if frequency[index])
    prevalence = part.tag.all().reshape(-1, len(names)).mean(axis=0) * 100
    yield from ("", f"tags in 100 frames ({split}); {prevalence[1]:.1f} have none")
    for category in dict.fromkeys(words.tag_categories[name] for name in names if name in words.tag_categories):
        yield f"  {printable(category)}"
        members = [index for index, name in enumerate(names) if words.tag_categories.get(name) == category]
        yield from _wrap((f"{names[index]} {prevalence[index]:.2f}" for index in
                          sorted(members, key=lambda index: -prevalence[index])), "    ")


def draw_bars(labels: Sequence[str], counts: Sequence[int]) -> Iterator[str]:
    """A histogram as lines of text."""
    width, most = max(map(len, labels), default=0), max([1, *counts])
    for label, count in zip(labels, counts):
        yield f"  {label:>{width}}  {'#' * round(BAR_WIDTH * count / most):<{BAR_WIDTH}} {count}"


def _describe_recipe(folder: Path, manifest: Manifest | None) -> dict[str, str]:
    if manifest is not None:
        fields, weights = manifest.recipe["fields"], manifest.versions.get("weights", "unknown")
        made_by = manifest.made_by
        lacks = read_lacks(folder)
        facts = {"state": f"a part: it lacks {describe_lacks(load_manifest(folder), lacks)}" if lacks else "complete"}
    else:
        noted = recall_recipe(folder) or {}
        fields, weights = _as_mapping(_as_mapping(noted.get("recipe")).get("fields")), noted.get("weights", "unknown")
        made_by = noted.get("made_by", ())
        facts = {"state": "not complete: an extraction is going on or was interrupted"}
    if fields:
        facts["backbone"] = f"{fields.get('backbone')}, weights {weights} ({fields.get('weights')!s:.12}...)"
        facts["shown"] = (f"{fields.get('size')} x {fields.get('size')} pixels by {fields.get('resize')}, "
                          f"{fields.get('interpolation')}; reduced decoding: {fields.get('reduced_decoding')}")
        facts["arithmetic"] = "; ".join([str(fields.get("precision")), *(
            f"{made['device']}, batches {made['batch_shape']}" for made in made_by)])
    return facts


def _describe_photos(folder: Path, manifest: Manifest | None, rows: PhotoRows) -> dict[str, str]:
    counts = np.bincount(rows.status, minlength=len(STATUS))
    facts = {"photos": f"{len(rows)} rows of width {rows.feature.row_shape[0]} in {len(rows.shards)} shards",
             "status": ", ".join(f"{count} {name}" for count, name in zip(counts, STATUS))}
    content = np.ascontiguousarray(rows.content[rows.status == OK]).view("V32").ravel()
    _, repeats = np.unique(content, return_counts=True)
    facts["duplicates"] = f"{int((repeats - 1).sum())} photos repeat the content of another ({len(repeats)} distinct)"
    if manifest is not None:
        photos = sum(placeholder["photos"] for placeholder in manifest.placeholders)
        facts["placeholders"] = f"{photos} photos are one of {len(manifest.placeholders)} pictures under many ids"
        beside = [kind for kind in ("thumbs", "tokens", "views", "canaries") if manifest.shards.get(kind)]
        facts["beside"] = ", ".join(beside) or "nothing"
        named = {shard.name for shard in rows.shards}
        later = sum(name not in named for name in read_ledger(folder))
        if later:
            facts["ledger"] = f"{later} more shards: replaced, or published since by a run that has not ended"
    return facts


def _describe_split(part: SplitWords, counted: Mapping[str, Any]) -> str:
    token = part.token.all()
    num_words = int(measure_lengths(part).sum())
    described = float((part.tag_source.all() & DII).astype(bool).mean())
    return (f"{len(part)} stories of {len(np.unique(part.album_id.all()))} albums, "
            f"{num_words / max(1, 5 * len(part)):.1f} words a caption, {(token == UNK).sum() / max(1, num_words):.2%} "
            f"<UNK>, {counted.get('cut', 'unknown')!s:.12} captions cut, {described:.0%} of frames described")


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _wrap(parts: Iterator[str], indent: str = "  ") -> list[str]:
    held = ", ".join(printable(part).replace(" ", "\u00a0") for part in parts)  # a word stays with its number
    lines = textwrap.wrap(held, LINE, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
    return [line.replace("\u00a0", " ") for line in lines]
