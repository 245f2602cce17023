"""Grouped folds of a data folder: albums that share a picture or a sentence never stand on two sides.

    DIR/folds.json                      how it was dealt: see `write_folds`
    DIR/fold-0/annotations/*.json       a data folder: test is this fold, val and train are groups of the rest
    DIR/fold-0/photos                   a link to the source's folder: photos are referred to, not copied

The albums of all splits are dealt anew. A group is what hangs together by photos of one id or of equal bytes, and by
captions, or sentences within them, of six words or more.
"""
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.annotations.annotation_file import load_annotations
from data.annotations.stories import DEFAULT_SEED, SPLITS, Dataset, find_files, read_dataset
from data.errors import UserError
from data.files import format_json, read_json, replace_folder, sha256_file, write_text
from data.folds.fold_groups import RULE, Deal, Group, deal_groups, group_albums
from data.pictures.photos import scan_photos

VERSION = 1
DEFAULT_FOLDS = 5
MANIFEST = "folds.json"
PHOTOS = "photos"
STORIES, DESCRIPTIONS = "story-in-sequence", "description-in-isolation"
Record = dict[str, Any]


def write_folds(root: Path, out: Path, folds: int = DEFAULT_FOLDS, seed: int = DEFAULT_SEED) -> dict[str, Any]:
    """Deal a data folder's albums into folds and write each as a data folder.

    Args:
        root: the data folder. out: the folder to make; older folds in it are replaced. seed: of the deal, and of the
            splits of a lone train file.

    Returns:
        What folds.json holds: {"version", "source", "annotations" (file -> sha256), "folds", "seed", "rule", "groups"
        ([{"albums", "stories", "fold": None where it stays in train}], largest first), "left_out", "parts" (by fold
        {"val": group numbers, "sizes": {split: {"stories", "albums"}}, "files": {name: sha256}})}.

    Raises:
        UserError: if the data cannot be read or are too few, or `out` holds anything but folds.
    """
    if folds < 2:
        raise UserError(f"expected at least 2 folds, found {folds}; change --folds")
    before = read_folds(out) if out.exists() and (not out.is_dir() or any(out.iterdir())) else None
    dataset = read_dataset(root, seed)
    photos, _ = scan_photos(root)
    groups = group_albums(dataset, photos)
    deal = deal_groups([group.stories for group in groups], folds, seed)
    manifest = _describe(dataset, groups, deal, folds, seed)
    if before is not None and _is_written(before, manifest, out):
        return before
    sources = {tier: {split: load_annotations(path)[0] for split, path in find_files(dataset.root, tier)[0].items()}
               for tier in (STORIES, DESCRIPTIONS)}
    with replace_folder(out) as folder:
        for fold in range(folds):
            part_of = {album: deal.part(index, fold) for index, group in enumerate(groups) for album in group.albums}
            path = folder / f"fold-{fold}"
            manifest["parts"][fold]["files"] = _write_fold(sources, dataset, part_of, path)
            (path / PHOTOS).symlink_to(root.resolve(), target_is_directory=True)
        write_text(folder / MANIFEST, format_json(manifest))
    return manifest


def read_folds(out: Path) -> dict[str, Any]:
    """What folds.json of a folder holds.

    Raises:
        UserError: if the folder is none of folds.
    """
    remedy = "choose another folder or delete this one"
    manifest = read_json(out / MANIFEST, f"folds in {out}", remedy)
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION or "parts" not in manifest:
        raise UserError(f"expected folds of version {VERSION} in {out}, found another {MANIFEST}; {remedy}")
    return manifest


def format_folds(manifest: dict[str, Any]) -> str:
    """A short table of the folds, what stays in train, and what was left out."""
    parts, groups = manifest["parts"], manifest["groups"]
    rows: list[tuple[str, ...]] = [("fold", *SPLITS)]
    for fold, part in enumerate(parts):
        sizes = [part["sizes"][split] for split in SPLITS]
        rows.append((str(fold), *(f"{size['stories']:,} in {size['albums']:,}" for size in sizes)))
    lines = ["".join(cell.ljust(16) for cell in row).rstrip() for row in rows]
    kept = [group for group in groups if group["fold"] is None]
    total = sum(group["stories"] for group in groups)
    lines.append(f"(stories in albums)\n{total:,} stories, {sum(len(group['albums']) for group in groups):,} albums, "
                 f"{len(groups):,} groups that share no photo and no sentence")
    lines += [f"larger than a fold, so in train in all of them: a group of {group['stories']:,} stories in "
              f"{len(group['albums']):,} albums" for group in kept]
    return "\n".join(lines + [f"left out: {count:,} {what}" for what, count in manifest["left_out"].items() if count])


def _describe(dataset: Dataset, groups: Sequence[Group], deal: Deal, folds: int, seed: int) -> dict[str, Any]:
    parts = []
    for fold in range(folds):
        sizes = {split: {"stories": 0, "albums": 0} for split in SPLITS}
        for index, group in enumerate(groups):
            sizes[deal.part(index, fold)]["stories"] += group.stories
            sizes[deal.part(index, fold)]["albums"] += len(group.albums)
        parts.append({"val": deal.val[fold], "sizes": sizes})
    told = sum(group.stories for group in groups)
    return {"version": VERSION, "source": str(dataset.root.resolve()), "annotations": dataset.files, "folds": folds,
            "seed": seed, "rule": RULE, "parts": parts,
            "groups": [{"albums": list(group.albums), "stories": group.stories, "fold": fold}
                       for group, fold in zip(groups, deal.test)],
            "left_out": {"malformed stories": sum(row.kind == "story" for row in dataset.skipped),
                         "stories told in a second split": dataset.num_stories - told}}


def _is_written(before: dict[str, Any], wanted: dict[str, Any], out: Path) -> bool:
    """Whether folds were dealt in this way, and their files and links are as they were written."""
    try:
        bare = [{name: value for name, value in part.items() if name != "files"} for part in before["parts"]]
        return {**before, "parts": bare} == wanted and all(
            (out / f"fold-{fold}" / PHOTOS).is_dir() and all(
                sha256_file(out / f"fold-{fold}" / "annotations" / name) == digest
                for name, digest in part["files"].items()) for fold, part in enumerate(before["parts"]))
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def _write_fold(sources: Mapping[str, Mapping[str, Record]], dataset: Dataset, part_of: Mapping[str, str], folder: Path
                ) -> dict[str, str]:
    """Write FOLDER/annotations/<split>.<tier>.json: records as they are, in other splits; each file's sha256 by name.

    Args:
        sources: the raw annotation files, tier -> split -> content. dataset: what is well-formed of them.
        part_of: album id -> split. An album that no story tells of is left out.
    """
    photo_part = {photo_id: part_of[story.album_id] for stories in dataset.stories.values() for story in stories
                  for photo_id in story.photo_ids}
    owner: dict[str, str] = {}  # the split whose file tells a story; malformed ones have none
    for split in SPLITS:
        for story in dataset.stories[split]:
            owner.setdefault(story.story_id, "train" if dataset.derived_splits else split)

    def place(tier: str, annotation: Any, source: str) -> str | None:
        """The split that a record goes to, None where it is left out."""
        if tier == DESCRIPTIONS:
            return photo_part.get(_name(annotation, "photo_flickr_id"))
        is_told = owner.get(_name(annotation, "story_id")) == source
        return part_of.get(_name(annotation, "album_id")) if is_told else None

    hashes = {}
    for tier, files in sources.items():
        parts: dict[str, Record] = {}
        for source, raw in files.items():
            for split in SPLITS:
                part = parts.setdefault(split, {**raw, "images": [], "annotations": [], "albums": []})
                part["images"] += [image for image in raw["images"] if part_of.get(_name(image, "album_id")) == split]
                part["albums"] += [album for album in raw.get("albums", ()) if part_of.get(_name(album, "id")) == split]
                part["annotations"] += [annotation for annotation in raw["annotations"]
                                        if place(tier, annotation, source) == split]
        for split, part in parts.items():
            path = write_text(folder / "annotations" / f"{split}.{tier}.json", json.dumps(part, ensure_ascii=False))
            hashes[path.name] = sha256_file(path)
    return hashes


def _name(value: Any, key: str) -> str:
    """A field of untrusted JSON, or of the record that stands alone in a list; empty where it is no string."""
    value = value[0] if isinstance(value, list) and value else value
    name = value.get(key) if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""
