"""Other people's features, read block by block in whatever they come, trusting none of it: pickles are refused.

| found | layout |
|---|---|
| a folder of `<photo id>.npy` / `.npz` at any depth | a vector in each, as AREL, TAPM and others hand out |
| `features.npy` + `photo_ids.txt` | a matrix, and an id a line |
| `.h5`, `.hdf5` | a matrix and its ids, as two datasets |
| `img_emb/*.npy` + `metadata/*.parquet` | clip-retrieval's: matrices, and in row order what they are of |
| `.parquet`, `.arrow`, or a folder of them | a column of vectors and one of ids |
| LMDB | key: id; value: a .npy file's bytes, or bare numbers with --dtype |
| `.tar`, or a folder of them | WebDataset: `key.npy`, its id in `key.json` or the key itself |
"""
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data.errors import UserError
from data.pictures.photos import ENDINGS
from extract.extras import require_extra

BLOCK_ROWS = 1024
ID_NAMES = ("photo_id", "photo_ids", "id", "ids", "image_id", "image_ids", "image_path", "key", "keys")
NPY = b"\x93NUMPY"

Block = tuple[list[str], np.ndarray]  # ids, (n, D) floats


@dataclass(frozen=True)
class Source:
    """Where features lie.

    Attributes:
        ids, features: names of columns, datasets or arrays; None looks for them. dtype: of bare numbers in an LMDB.
    """

    path: Path
    ids: str | None = None
    features: str | None = None
    dtype: str | None = None

    def read(self) -> Iterator[Block]:
        """Every feature with its id.

        Raises:
            UserError: if there is nothing that is known, or something in it is no vector of floats.
        """
        if not self.path.exists():
            raise UserError(f"expected features at {self.path}, found nothing; name a file or a folder")
        for names, block in self._choose():
            if block.ndim != 2 or block.dtype.kind != "f" or len(block) != len(names) or not block.shape[1]:
                raise UserError(f"expected a vector of floats for each of {len(names)} ids in {self.path}, found "
                                f"{block.dtype} of shape {block.shape} (first id: {names[0] if names else 'none'}); "
                                "pool maps over their places first, or name other arrays with --features and --ids")
            yield [to_id(name) for name in names], block

    def _choose(self) -> Iterable[Block]:
        path = self.path
        tables = {".parquet": self._read_tables, ".arrow": self._read_tables, ".tar": _read_tars}
        if path.is_dir():
            if (path / "data.mdb").exists():
                return self._read_lmdb()
            if (path / "img_emb").is_dir() and (path / "metadata").is_dir():
                return self._read_clip_retrieval()
            if (path / "features.npy").exists() and (path / "photo_ids.txt").exists():
                names = (path / "photo_ids.txt").read_text(encoding="utf-8").splitlines()
                return _cut(names, _load_matrix(path / "features.npy"))
            for suffix, read in tables.items():
                if found := sorted(path.glob(f"*{suffix}")):
                    return read(found)
            paths = sorted(path for path in path.rglob("*.np[yz]") if path.is_file())
            if not paths:
                raise UserError(f"expected features below {path}, found no .npy, .npz, .parquet, .arrow, .tar or LMDB; "
                                "name another folder")
            return (([path.stem], self._one_vector(path.read_bytes(), path.name)) for path in paths)
        kind = path.suffix.lower()
        if kind in tables:
            return tables[kind]([path])
        if kind in (".h5", ".hdf5"):
            return self._read_hdf5()
        if kind in (".lmdb", ".mdb"):
            return self._read_lmdb()
        raise UserError(f"expected a folder, or .h5, .parquet, .arrow, .tar or LMDB, at {path}, found "
                        f"{kind or 'no ending'}; see README for the layouts that are known")

    def _one_vector(self, content: bytes, where: str) -> np.ndarray:
        """(1, D) from the bytes of a .npy or .npz file."""
        try:
            found = np.load(io.BytesIO(content), allow_pickle=False)
            if isinstance(found, np.lib.npyio.NpzFile):
                names = [self.features] if self.features else found.files
                if len(names) != 1 or names[0] not in found.files:
                    raise UserError(f"expected one array in {where}, found {', '.join(found.files) or 'none'}; name "
                                    "one with --features")
                found = found[names[0]]
        except UserError:
            raise
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise _no_array(where, error) from None
        return found.reshape(1, -1) if found.size == max(found.shape, default=0) else found[None]

    def _read_hdf5(self) -> Iterator[Block]:
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                own = {name: file[name] for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)}
                sets = {name: found for name, found in own.items() if isinstance(found, h5py.Dataset)
                        and not found.is_virtual and not found.external}
                features = self._pick(self.features, [name for name, found in sets.items() if found.ndim == 2
                                                      and found.dtype.kind == "f"], list(sets))
                ids = self._pick(self.ids, [name for name, found in sets.items() if found.ndim == 1
                                            and len(found) == len(sets[features])], list(sets))
                texts = sets[ids].asstr()[...] if sets[ids].dtype.kind in "SO" else sets[ids][...]
                yield from _cut([str(text) for text in texts], sets[features])
        except (OSError, TypeError) as error:
            raise UserError(f"expected an HDF5 file with a matrix and its ids at {self.path}, found "
                            f"{type(error).__name__}: {error}; get it again") from None

    def _read_tables(self, paths: list[Path]) -> Iterator[Block]:
        for path in paths:
            for batch in _read_batches(path):
                kinds = {name: str(batch.schema.field(name).type) for name in batch.schema.names}
                vectors = [name for name, kind in kinds.items() if re.search(r"list<.*(float|double)", kind)]
                features = self._pick(self.features, vectors, list(kinds))
                ids = self._pick(self.ids, [name for name in ID_NAMES if name in kinds], list(kinds))
                column = batch.column(features)
                if column.null_count or len(set(column.value_lengths().to_pylist())) != 1:
                    raise UserError(f"expected a vector of one length in every row of {path}, found others or none; "
                                    "leave them out")
                yield ([str(text) for text in batch.column(ids).to_pylist()],
                       column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1))

    def _read_clip_retrieval(self) -> Iterator[Block]:
        matrices, tables = ({re.sub(r"\D", "", path.stem): path for path in (self.path / folder).glob(pattern)}
                            for folder, pattern in (("img_emb", "*.npy"), ("metadata", "*.parquet")))
        if matrices.keys() != tables.keys() or not matrices:
            odd = sorted(path.name for number, path in (*matrices.items(), *tables.items())
                         if (number in matrices) != (number in tables))
            raise UserError(f"expected a table in metadata for every matrix in img_emb of {self.path}, found "
                            f"{', '.join(odd)[:120] or 'none at all'} alone; get it again")
        for number, matrix in sorted(matrices.items()):
            names: list[str] = []
            for batch in _read_batches(tables[number]):
                there = batch.schema.names
                ids = self._pick(self.ids, [name for name in ID_NAMES if name in there], there)
                names += [str(text) for text in batch.column(ids).to_pylist()]
            yield from _cut(names, _load_matrix(matrix))

    def _read_lmdb(self) -> Iterator[Block]:
        lmdb = require_extra("lmdb", "exchange", f"the LMDB {self.path}")
        try:
            with lmdb.open(str(self.path), readonly=True, lock=False, subdir=self.path.is_dir()) as store, \
                    store.begin() as reading:
                for key, value in reading.cursor():
                    if key.startswith(b"__"):  # what its writer noted of the whole
                        continue
                    name = key.decode("utf-8", "replace")
                    if value.startswith(NPY):
                        yield [name], self._one_vector(value, f"{self.path}, key {key!r:.60}")
                    elif self.dtype is None or len(value) % np.dtype(self.dtype).itemsize:
                        raise UserError(f"expected the bytes of a .npy file under {key!r:.60} in {self.path}, found "
                                        f"{len(value)} others; name what numbers they are with --dtype (pickles are "
                                        "refused)")
                    else:
                        yield [name], np.frombuffer(value, self.dtype)[None]
        except lmdb.Error as error:
            raise UserError(f"expected an LMDB at {self.path}, found {error}; get it again") from None

    def _pick(self, named: str | None, fitting: list[str], there: list[str]) -> str:
        if named is not None and named in there:
            return named
        if named is None and (len(fitting) == 1 or (fitting and fitting[0] in ID_NAMES)):
            return fitting[0]
        raise UserError(f"expected {named or 'one array of features and one of ids'} in {self.path}, found "
                        f"{', '.join(there)[:200] or 'nothing'}; name both with --features and --ids")


def to_id(name: str) -> str:
    """A photo's id from what names it: its path, with or without an ending."""
    base = name.strip().replace("\\", "/").rpartition("/")[2]
    stem, _, ending = base.rpartition(".")
    return stem if stem and ending.lower() in (*ENDINGS, "npy", "npz") else base


def _load_matrix(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _no_array(str(path), error) from None


def _no_array(where: str, error: Exception) -> UserError:
    return UserError(f"expected an array in {where}, found {type(error).__name__}: {str(error)[:120]} (pickles are "
                     "refused); save it with numpy.save")


def _cut(names: list[str], matrix: Any) -> Iterator[Block]:
    if len(names) != len(matrix):
        raise UserError(f"expected an id for each of {len(matrix)} rows, found {len(names)}; get both files again")
    for start in range(0, len(names), BLOCK_ROWS):
        yield names[start:start + BLOCK_ROWS], np.asarray(matrix[start:start + BLOCK_ROWS])


def _read_batches(path: Path) -> Iterator[Any]:
    pyarrow = require_extra("pyarrow", "exchange", f"the table {path}")
    try:
        if path.suffix == ".parquet":
            yield from require_extra("pyarrow.parquet", "exchange", f"the table {path}").ParquetFile(
                path).iter_batches(BLOCK_ROWS)
            return
        ipc = require_extra("pyarrow.ipc", "exchange", f"the table {path}")
        with pyarrow.memory_map(str(path)) as file:
            if file.read(6) == b"ARROW1":
                reader = ipc.open_file(file)
                yield from (reader.get_batch(place) for place in range(reader.num_record_batches))
            else:
                file.seek(0)
                yield from ipc.open_stream(file)
    except pyarrow.ArrowException as error:
        raise UserError(f"expected a table in {path}, found {str(error)[:200]}; get it again") from None


def _read_tars(paths: list[Path]) -> Iterator[Block]:
    for path in paths:
        names: dict[str, str] = {}
        try:
            with tarfile.open(path, "r|*") as tar:
                for member in tar:
                    key, _, ending = member.name.rpartition(".")
                    file = tar.extractfile(member) if ending in ("npy", "json") else None
                    if file is not None and ending == "json":
                        told = json.loads(file.read())
                        names[key] = str(told.get("photo_id", key)) if isinstance(told, dict) else key
                    elif file is not None:
                        yield [names.pop(key, key)], Source(path)._one_vector(file.read(), f"{path}, {member.name}")
        except UserError:
            raise
        except (tarfile.TarError, ValueError, RecursionError) as error:
            raise UserError(f"expected a WebDataset tar of .npy and .json at {path}, found {type(error).__name__}: "
                            f"{str(error)[:120]}; get it again") from None
