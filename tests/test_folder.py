"""The features folder as a reader sees it: round trip, and nothing in it is trusted."""
import json
import os
import random
import subprocess
import sys
from collections import Counter

import h5py
import numpy as np
import pytest

from data.errors import UserError
from data.folder.folder import Features
from data.folder.identity import differences, identify, require_same
from data.folder.mapped import MappedRows
from data.folder.shards import fixed_bytes, join_blobs, map_shard, write_shard


def photo_arrays(rows=6, width=4):
    draw = np.random.default_rng(1)
    return {"feature": draw.standard_normal((rows, width)).astype(np.float16),
            "photo_id": fixed_bytes([f"p{row}" for row in range(rows)]),
            "content": draw.integers(0, 256, (rows, 32), dtype=np.uint8), "status": np.zeros(rows, np.uint8)}


def test_a_folder_reads_back_what_was_written(make_features):
    features = Features.open(make_features(stories={"train": 12, "val": 3}, width=16, bad_photos=(2,)))
    words = features.words().split("train")
    assert (len(words), features.num_photos, features.width) == (12, 40, 16)
    assert features.words().splits == ["train", "val"]
    assert features.status.tolist() == [1 if row == 2 else 0 for row in range(40)]
    first = words.token.take(np.array([0]))[0, 3]
    written = [features.words().vocabulary[index] for index in first if index > 2]
    assert words.caption(0, 3).split() == written
    assert features.row_of["train0004"] == 4


def test_rows_over_shards_equal_rows_of_one_array():
    whole = np.arange(60).reshape(20, 3)
    rows = MappedRows([whole[:7], whole[7:7], whole[7:12], whole[12:]])
    picked = np.array([19, 0, 7, 7, 11, 12, 6])
    assert (rows.take(picked) == whole[picked]).all()
    assert (rows.slice(5, 14) == whole[5:14]).all() and (rows.all() == whole).all()
    with pytest.raises(IndexError):
        rows.take(np.array([20]))


def test_equal_arrays_give_equal_bytes_and_arrays_start_on_a_page(tmp_path):
    first = write_shard(tmp_path / "a.h5", "photos", photo_arrays()).read_bytes()
    assert first == write_shard(tmp_path / "b.h5", "photos", photo_arrays()).read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert all(file[name].id.get_offset() % 4096 == 0 for name in file)


def test_an_identical_picture_under_many_ids_is_not_usable(make_features):
    folder = make_features()
    features = Features.open(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    content = features.content.take(np.array([3]))[0].tobytes().hex()
    manifest["placeholders"] = [{"content": content, "photos": 5, "albums": 5}]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    usable = Features.open(folder).usable
    assert not usable[3] and usable.sum() == features.num_photos - 1


def test_chunked_shards_are_read_too(tmp_path):
    arrays = photo_arrays()
    with h5py.File(tmp_path / "c.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=True, compression="gzip")
    assert (map_shard(tmp_path / "c.h5", "photos")["feature"] == arrays["feature"]).all()


def link_elsewhere(file, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["feature"] = file["feature"][...]
    del file["feature"]
    file["feature"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/feature")


def virtual(file, tmp_path):
    layout = h5py.VirtualLayout((6, 4), "f2")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "feature", (6, 4))
    del file["feature"]
    file.create_virtual_dataset("feature", layout)


def external_storage(file, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(48))
    del file["feature"]
    file.create_dataset("feature", (6, 4), "f2", external=[(str(tmp_path / "raw"), 0, 48)])


def pickled(file, tmp_path):
    del file["status"]
    file.create_dataset("status", (6,), h5py.string_dtype())


def foreign(file, tmp_path):
    file["payload"] = np.zeros(3)


def boastful(file, tmp_path):
    del file["feature"]
    file.create_dataset("feature", (6, 10**12), "f2", chunks=(1, 1024))


def never_written(file, tmp_path):
    del file["feature"]
    file.create_dataset("feature", (6, 10**5), "f2", chunks=(1, 1024))


@pytest.mark.parametrize("spoil, message", [
    (link_elsewhere, "link"), (virtual, "virtual"), (external_storage, "external"), (pickled, "objects"),
    (foreign, "expected the fields"), (boastful, "promises"), (never_written, "0 bytes can be")])
def test_an_untrusted_shard_is_refused(tmp_path, spoil, message):
    path = write_shard(tmp_path / "a.h5", "photos", photo_arrays())
    with h5py.File(path, "r+") as file:
        spoil(file, tmp_path)
    with pytest.raises(UserError, match=message):
        map_shard(path, "photos")


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="expected a photos shard"):
        map_shard(tmp_path / "a.h5", "photos")


@pytest.mark.parametrize("name", ["../photos/00000.h5", "/etc/passwd", "photos/../../x.h5", "photos/.hidden.h5",
                                  "thumbs/00000.h5", "photos/a/b.h5"])
def test_a_manifest_that_names_files_elsewhere_is_refused(make_features, name):
    folder = make_features()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"]["photos"][0]["name"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="no plain name"):
        Features.open(folder)


def list_places(value, place=()):
    """Where every value of a JSON value is: keys from the top."""
    yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from list_places(inner, (*place, key))


def test_any_value_of_the_manifest_may_be_anything(make_features):
    folder = make_features(stories={"train": 4})
    whole = (folder / "manifest.json").read_text()
    places = list(list_places(json.loads(whole)))[1:]
    nested = "[" * 500 + "]" * 500
    strange = ["null", "[]", "{}", '"x"', "-1", "1e999", "NaN", "1" * 80, "true", r'"\ud800"', nested, '{"a": [1]}']
    choose, fates = random.Random(0), Counter()
    for place, value in [(place, choose.choice(strange)) for place in places for _ in range(2)]:
        manifest = json.loads(whole)
        holder = manifest
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = "here"
        (folder / "manifest.json").write_text(json.dumps(manifest).replace('"here"', value))
        try:
            features = Features.open(folder)
            assert features.usable.all() and features.words().split("train").caption(0, 0)
            fates["opened"] += 1
        except UserError as error:
            assert len(str(error)) < 1000, (place, value)
            fates["refused"] += 1
    assert fates["refused"] > fates["opened"] > 0


def test_a_shard_of_another_size_or_behind_a_link_is_refused(make_features):
    folder = make_features()
    shard = folder / "photos/00001.h5"
    content = shard.read_bytes()
    shard.write_bytes(content + b"x")
    with pytest.raises(UserError, match="bytes in .*00001.h5"):
        Features.open(folder)
    shard.unlink()
    (folder / "elsewhere.h5").write_bytes(content)
    shard.symlink_to(folder / "elsewhere.h5")
    with pytest.raises(UserError, match="symbolic link"):
        Features.open(folder)


@pytest.mark.parametrize("name", ["manifest.json", "photos/00001.h5", "words/default/tags.json"])
def test_a_pipe_is_refused_not_waited_for(make_features, name):
    folder = make_features()
    manifest = json.loads((folder / "manifest.json").read_text())
    if name.endswith(".h5"):
        manifest["shards"]["photos"][1]["bytes"] = 0  # as large as a pipe
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match="as a file.*found something else"):
        assert Features.open(folder).words().tag_names


@pytest.mark.parametrize("field, value, message", [
    ("token", 20, "token ids from 0 to 19 .* found 0 to 20"), ("photo", 60, "photo rows from 0 to 59"),
    ("photo", -1, "found -1 to"), ("story_id", "é".encode(), "ASCII ids in 'story_id'")])
def test_stories_of_what_is_not_there_are_refused(make_features, field, value, message):
    folder = make_features()
    path = folder / "words/default/train-00000.h5"
    size = path.stat().st_size
    with h5py.File(path, "r+") as file:
        file[field][0] = value
    assert path.stat().st_size == size
    with pytest.raises(UserError, match=message):
        Features.open(folder).words().split("train")


def test_words_that_do_not_fit_the_manifest_are_refused(make_features):
    folder = make_features()
    path = folder / "words/default/vocabulary.json"
    path.write_text(path.read_text().replace('"dog"', '"cat"'))  # as when new words were being written at a kill
    with pytest.raises(UserError, match="sha256 .* as the manifest says.*make features"):
        Features.open(folder).words().split("train")


def test_more_shards_than_a_process_may_have_files_open(make_features):
    folder = make_features(stories={"train": 40}, shard_rows=1)
    code = ("import resource, sys\nresource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[3])))\n"
            "from pathlib import Path\nfrom data.folder.folder import Features\n"
            "print(len(Features.open(Path(sys.argv[1])).status))")

    def opened(soft, hard):
        return subprocess.run([sys.executable, "-c", code, str(folder), str(soft), str(hard)], capture_output=True,
                              text=True)
    assert opened(40, 400).stdout == "100\n"
    assert "no more files open; raise the limit (ulimit -n)" in opened(40, 40).stderr


def test_missing_folder_word_set_and_split_say_what_to_do(make_features, tmp_path):
    with pytest.raises(UserError, match="make features"):
        Features.open(tmp_path / "nowhere")
    features = Features.open(make_features(stories={"train": 4}))
    with pytest.raises(UserError, match="word set 'dii'.*found default"):
        features.words("dii")
    with pytest.raises(UserError, match="split 'test'.*found train"):
        features.words().split("test")


@pytest.mark.parametrize("kind", ["recipe", "source", "words"])
def test_fields_edited_by_hand_are_refused_on_opening(make_features, kind):
    root = make_features()
    raw = json.loads((root / "manifest.json").read_text())
    identity = raw["words"]["default"] if kind == "words" else raw[kind]
    identity["fields"]["precision"] = "float16"
    (root / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match=rf"expected the {kind}.* of features folder .*{root}.*changed.*make features"):
        Features.open(root).words()


def test_identities_name_each_field_that_differs():
    here = identify({"version": 1, "backbone": "resnet50", "resize": {"rule": "squash", "size": 224}})
    there = identify({"version": 1, "backbone": "resnet50", "resize": {"rule": "crop", "size": 224}})
    reordered = identify({"resize": {"size": 224, "rule": "squash"}, "backbone": "resnet50", "version": 1})
    assert reordered["id"] == here["id"]
    assert differences(here, here) == []
    assert differences(here, there) == ["resize.rule: squash there, crop here"]
    with pytest.raises(UserError, match=r"resize.rule: squash there, crop here; make features"):
        require_same("recipe", here, there, "run r", "folder f", "make features")


def test_blobs_join_and_split():
    blob, offset = join_blobs([b"one", b"", "drei ä".encode()])
    assert [blob[offset[i]:offset[i + 1]].tobytes() for i in range(3)] == [b"one", b"", "drei ä".encode()]
