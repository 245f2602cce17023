"""What tests of extraction share: a data folder, a run, what the model was shown, the bytes of a folder."""
import contextlib
import functools

import numpy as np
import pytest

from data.folder.folder import Features
from data.pictures.pictures import Resize, decode_photo
from data.words.tags import TagTable
from extract.command import main
from tests.photo_dataset import write_dataset

BACKBONE = "tests.tiny_backbone:factory"


@pytest.fixture(scope="module", autouse=True)
def one_matcher():
    """Build the shipped tag table's matcher once, not in every run: it is half of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TagTable, "load", functools.cache(TagTable.load))
        yield


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data")


def run(dataset, folder, *flags, backbone=BACKBONE):
    main(["--data", str(dataset), "--out", str(folder), "--backbone", backbone, "--weights", "random", "--batch-size",
          "4", "--shard-rows", "8", "--readers", "2", *flags])
    return Features.open(folder)


def snapshot(folder):
    """Bytes of every published file."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and ".local" not in path.relative_to(folder).parts}


def snapshot_of_run(dataset, tmp_path, *flags):
    run(dataset, tmp_path / "f", *flags)
    return snapshot(tmp_path / "f")


@contextlib.contextmanager
def interrupted_after(shards):
    """The extraction within is interrupted as soon as so many shards are written."""
    from extract.pipeline import pipeline
    append, left = pipeline.append_entry, [shards]

    def die(*arguments):
        append(*arguments)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline, "append_entry", die)
        yield


def shard_names(features, kind="photos"):
    return [shard.name for shard in features.manifest.shards[kind]]


def count_looks(monkeypatch, dataset):
    """The ids of the photos that the model is shown from now on, told by their pixels; padding is black."""
    from extract.backbones.mapper import Mapper
    seen, known, submit = [], {}, Mapper.submit

    def name(picture):
        if picture.tobytes() not in known:
            for path in (dataset / "images").iterdir():
                try:
                    known.setdefault(decode_photo(path.read_bytes(), Resize("squash", 32, 32)).tobytes(), path.stem)
                except Exception:  # a photo spoiled on purpose is not shown
                    continue
        return known[picture.tobytes()]

    def counting(self, pictures):
        seen.extend(name(picture) for picture in np.array(pictures) if picture.any())
        return submit(self, pictures)
    monkeypatch.setattr(Mapper, "submit", counting)
    return seen
