"""A folder's features for other tools: `python -m extract export-features FEATURES --out DIR --format NAME`.

Every photo that was read, with its id, to the bit. `recipe.json` beside them says what they are of.

npy         features.npy (N, D) float16, photo_ids.txt
parquet     features.parquet: photo_id, feature (lists of float16)
arrow       what `datasets.load_from_disk` opens
webdataset  features-00000.tar, ...: NNNNNNNN.json {"photo_id"}, NNNNNNNN.npy
"""
import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from data.files import replace_folder, require_room, write_json
from data.folder.folder import OK, Features
from extract.extras import require_extra

BLOCK_ROWS = 1024
TAR_ROWS = 8192


def run(arguments: argparse.Namespace) -> None:
    """Export and say so."""
    print(export_features(arguments.folder, arguments.out, arguments.format))


def export_features(root: Path, out: Path, form: str) -> str:
    """Write a folder's features in another form; what was not read is left out and counted.

    Args:
        out: must not be there yet. form: npy, parquet, arrow or webdataset.

    Raises:
        UserError: if there is something at `out`, no room, or a package is absent.
    """
    features = Features.open(root)
    rows = np.flatnonzero(features.status == OK)
    if out.exists():
        raise UserError(f"expected nothing at {out}, found a {'folder' if out.is_dir() else 'file'}; name another one")
    require_room(out, "exported features", len(rows) * features.width * 2)
    write = {"npy": _write_npy, "parquet": _write_parquet, "arrow": _write_arrow, "webdataset": _write_tars}[form]
    with replace_folder(out) as folder:
        write(folder, features, rows)
        write_json(folder / "recipe.json", {"recipe": features.recipe, "source": features.source,
                                            "versions": features.manifest.versions})
    return (f"{out}: {len(rows)} features of width {features.width} as {form}; {features.num_photos - len(rows)} "
            "photos without one are left out")


def _blocks(features: Features, rows: np.ndarray, size: int = BLOCK_ROWS) -> Iterator[tuple[list[str], np.ndarray]]:
    for start in range(0, len(rows), size):
        part = rows[start:start + size]
        yield [name.decode() for name in features.photo_id.take(part)], features.feature.take(part)


def _write_npy(folder: Path, features: Features, rows: np.ndarray) -> None:
    matrix = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, (len(rows), features.width))
    start = 0
    with open(folder / "photo_ids.txt", "w", encoding="ascii") as file:
        for names, block in _blocks(features, rows):
            matrix[start:start + len(names)] = block
            start += len(names)
            file.writelines(f"{name}\n" for name in names)
    matrix.flush()


def _batches(features: Features, rows: np.ndarray) -> Iterator[Any]:
    pyarrow = require_extra("pyarrow", "exchange", "export-features")
    for names, block in _blocks(features, rows):
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.ravel()), features.width)
        yield pyarrow.RecordBatch.from_arrays([pyarrow.array(names), vectors], ["photo_id", "feature"])


def _schema(features: Features) -> Any:
    pyarrow = require_extra("pyarrow", "exchange", "export-features")
    vector = pyarrow.list_(pyarrow.float16(), features.width)
    return pyarrow.schema([("photo_id", pyarrow.string()), ("feature", vector)])


def _write_parquet(folder: Path, features: Features, rows: np.ndarray) -> None:
    parquet = require_extra("pyarrow.parquet", "exchange", "export-features")
    with parquet.ParquetWriter(folder / "features.parquet", _schema(features)) as writer:
        for batch in _batches(features, rows):
            writer.write_batch(batch)


def _write_arrow(folder: Path, features: Features, rows: np.ndarray) -> None:
    ipc = require_extra("pyarrow.ipc", "exchange", "export-features")
    name = "data-00000-of-00001.arrow"
    with ipc.new_stream(str(folder / name), _schema(features)) as writer:
        for batch in _batches(features, rows):
            writer.write_batch(batch)
    write_json(folder / "dataset_info.json", {"features": {
        "photo_id": {"dtype": "string", "_type": "Value"},
        "feature": {"feature": {"dtype": "float16", "_type": "Value"}, "length": features.width, "_type": "List"}}})
    write_json(folder / "state.json", {
        "_data_files": [{"filename": name}], "_fingerprint": features.recipe["id"][:16], "_format_columns": None,
        "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False, "_split": None})


def _write_tars(folder: Path, features: Features, rows: np.ndarray) -> None:
    for number, (names, block) in enumerate(_blocks(features, rows, TAR_ROWS)):
        with tarfile.open(folder / f"features-{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for place, name in enumerate(names):
                key, file = f"{number * TAR_ROWS + place:08d}", io.BytesIO()
                np.save(file, block[place])
                for ending, content in (("json", json.dumps({"photo_id": name}).encode()), ("npy", file.getvalue())):
                    member = tarfile.TarInfo(f"{key}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
