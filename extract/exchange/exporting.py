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
    write = {"npy": _write_npy, "parquet": _write_table, "arrow": _write_table, "webdataset": _write_tars}[form]
    with replace_folder(out) as folder:
        write(folder, features, rows, form)
        write_json(folder / "recipe.json", {"recipe": features.recipe, "source": features.source,
                                            "versions": features.manifest.versions})
    return (f"{out}: {len(rows)} features of width {features.width} as {form}; {features.num_photos - len(rows)} "
            "photos without one are left out")


def _blocks(features: Features, rows: np.ndarray, size: int = BLOCK_ROWS) -> Iterator[tuple[list[str], np.ndarray]]:
    for start in range(0, len(rows), size):
        part = rows[start:start + size]
        yield [name.decode() for name in features.photo_id.take(part)], features.feature.take(part)


def _write_npy(folder: Path, features: Features, rows: np.ndarray, form: str) -> None:
    matrix = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, (len(rows), features.width))
    start = 0
    with open(folder / "photo_ids.txt", "w", encoding="ascii") as file:
        for names, block in _blocks(features, rows):
            matrix[start:start + len(names)] = block
            start += len(names)
            file.writelines(f"{name}\n" for name in names)
    matrix.flush()


def _write_table(folder: Path, features: Features, rows: np.ndarray, form: str) -> None:
    pyarrow, parquet, ipc = (require_extra(f"pyarrow{part}", "exchange", "export-features")
                             for part in ("", ".parquet", ".ipc"))
    schema = pyarrow.schema([("photo_id", pyarrow.string()),
                             ("feature", pyarrow.list_(pyarrow.float16(), features.width))])
    name = "data-00000-of-00001.arrow"
    with (parquet.ParquetWriter(folder / "features.parquet", schema) if form == "parquet"
          else ipc.new_stream(str(folder / name), schema)) as writer:
        for names, block in _blocks(features, rows):
            vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.ravel()), features.width)
            writer.write_batch(pyarrow.RecordBatch.from_arrays([pyarrow.array(names), vectors], schema.names))
    if form == "parquet":
        return
    write_json(folder / "dataset_info.json", {"features": {
        "photo_id": {"dtype": "string", "_type": "Value"},
        "feature": {"feature": {"dtype": "float16", "_type": "Value"}, "length": features.width, "_type": "List"}}})
    write_json(folder / "state.json", {
        "_data_files": [{"filename": name}], "_fingerprint": features.recipe["id"][:16], "_format_columns": None,
        "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False, "_split": None})


def _write_tars(folder: Path, features: Features, rows: np.ndarray, form: str) -> None:
    for number, (names, block) in enumerate(_blocks(features, rows, TAR_ROWS)):
        with tarfile.open(folder / f"features-{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for place, name in enumerate(names):
                key, file = f"{number * TAR_ROWS + place:08d}", io.BytesIO()
                np.save(file, block[place])
                for ending, content in (("json", json.dumps({"photo_id": name}).encode()), ("npy", file.getvalue())):
                    member = tarfile.TarInfo(f"{key}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
