"""Pictures of a features folder: histograms, and a photo's nearest neighbours."""
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageOps

from data.annotations.annotation_file import is_plain_name
from data.errors import UserError, printable
from data.files import replace_file
from data.folder.manifest import Manifest
from data.folder.published import map_published
from data.folder.word_reader import WordSet
from data.pictures.photos import BadPhoto, find_photos, read_photo
from data.pictures.pictures import Resize, open_picture
from extract.folder.cosine import find_neighbours
from extract.inspection.inspection_rows import PhotoRows, measure_lengths

matplotlib.use("Agg")  # no display is asked for

NEIGHBOURS = 11
COLUMNS, TILE, CAPTION_HEIGHT, GAP = 4, 224, 32, 8
PAPER, INK, EMPTY = (255, 255, 255), (40, 40, 40), (225, 225, 225)


def draw_overview(out: Path, folder: Path, manifest: Manifest | None, norms: np.ndarray) -> Path:
    """Draw norms and, where words are published, caption lengths and tags; returns the PNG's path."""
    from matplotlib import pyplot
    names = sorted(manifest.words) if manifest is not None else []
    words = WordSet(folder, names[0], manifest) if manifest is not None and names else None
    split = words.splits[0] if words is not None and words.splits else None
    figure, axes = pyplot.subplots(1, 3 if split else 1, figsize=(16 if split else 6, 5), squeeze=False)
    axes[0, 0].hist(norms, bins=60, color="0.4")
    axes[0, 0].set(title=f"norm of a feature ({len(norms)} photos)", ylabel="photos")
    if words is not None and split:
        part, tag_names = words.split(split), [printable(name) for name in words.tag_names]
        lengths = measure_lengths(part)
        axes[0, 1].hist(lengths, bins=np.arange(lengths.max() + 2) - 0.5, color="0.4")
        axes[0, 1].set(title=f"words in a caption ({split})", ylabel="captions")
        prevalence = part.tag.all().reshape(-1, len(tag_names)).mean(axis=0)[2:] * 100
        order = np.argsort(prevalence)
        axes[0, 2].barh([tag_names[2 + index].replace("$", r"\$") for index in order], prevalence[order], color="0.4")
        axes[0, 2].tick_params(axis="y", labelsize=5)
        axes[0, 2].set(title=f"tags in 100 frames ({split})", xscale="symlog", xlim=(0, 100))
    figure.tight_layout()
    with _write(out / "overview.png") as partial:
        figure.savefig(partial, format="png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return out / "overview.png"


def show_neighbours(out: Path, folder: Path, rows: PhotoRows, query: int, dataset: Path | None,
                    pictures: bool) -> Iterator[str]:
    """List the photos nearest to one by centred cosine, and draw them; byte-equal photos count as one."""
    usable = np.flatnonzero(rows.usable)
    first = usable[np.unique(np.ascontiguousarray(rows.content[usable]).view("V32").ravel(), return_index=True)[1]]
    is_equal = (rows.content == rows.content[query]).all(axis=1)
    candidates = np.sort(np.append(first[~is_equal[first]], query))
    found = find_neighbours(rows.feature, candidates, query, NEIGHBOURS)
    name = _name(rows, query)
    equal = int(is_equal.sum()) - 1
    yield ""
    yield f"nearest to photo {printable(name)} by centred cosine" + (f" ({equal} others have its content)" if equal else
                                                                     "")
    for row, cosine in found:
        yield f"  {cosine:7.4f}  {printable(_name(rows, row))}"
    if pictures:
        photos = find_photos(dataset) if dataset is not None else {}
        tiles = [(_load(folder, rows, row, photos), f"{printable(_name(rows, row))}\n{label}") for row, label in
                 [(query, "the photo"), *((row, f"{cosine:.4f}") for row, cosine in found)]]
        path = out / f"neighbours-{name if is_plain_name(name) else f'row-{query}'}.png"
        with _write(path) as partial:
            lay_out(tiles).save(partial, format="PNG")
        yield f"\ndrawn: {printable(path)}"


def lay_out(tiles: list[tuple[Image.Image | None, str]]) -> Image.Image:
    """Pictures with a caption below each, row by row; None is an empty tile."""
    lines = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, lines * (TILE + CAPTION_HEIGHT + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, caption) in enumerate(tiles):
        left = GAP + index % COLUMNS * (TILE + GAP)
        top = GAP + index // COLUMNS * (TILE + CAPTION_HEIGHT + GAP)
        if picture is None:
            draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=EMPTY)
            draw.text((left + 8, top + 8), "no picture here:\n--data DIR takes the photos", fill=INK)
        else:
            small = ImageOps.contain(picture, (TILE, TILE))
            sheet.paste(small, (left + (TILE - small.width) // 2, top + (TILE - small.height) // 2))
        draw.text((left, top + TILE + 2), caption, fill=INK)
    return sheet


def _load(folder: Path, rows: PhotoRows, row: int, photos: dict[str, Path]) -> Image.Image | None:
    """A picture of a row from the photos or the folder's thumbnails; None where neither has a good one."""
    try:
        path = photos.get(_name(rows, row))
        raw = read_photo(path) if path is not None else _read_thumbnail(folder, rows, row)
        return open_picture(raw, Resize("squash", TILE, TILE)) if raw else None
    except BadPhoto:
        return None


def _read_thumbnail(folder: Path, rows: PhotoRows, row: int) -> bytes:
    first = 0
    for photos, thumbs in zip(rows.shards, rows.thumbs):
        if row < first + photos.rows:
            arrays = map_published(folder, thumbs, "thumbs")
            start, stop = arrays["offset"][row - first:row - first + 2].tolist()
            return arrays["blob"][max(0, start):max(0, stop)].tobytes()
        first += photos.rows
    return b""


def _name(rows: PhotoRows, row: int) -> str:
    return rows.photo_id[row].decode("ascii", "replace")


def _write(path: Path) -> AbstractContextManager[Path]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return replace_file(path)
    except OSError as error:
        raise UserError(f"expected to write pictures into {path.parent}, found: {error.strerror}; name another folder "
                        "with --out, or add --no-pictures") from None
