"""inspect: what a folder holds in text and pictures, finished or not, whoever wrote it."""
import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data.errors import UserError, run_command
from data.files import sha256_file
from data.folder.folder import Features
from data.folder.manifest import Shard, load_manifest
from data.folder.mapped import MappedRows
from data.folder.shards import fixed_bytes, join_blobs, map_shard, write_shard
from extract.command import main
from extract.folder.cosine import centred_cosine, find_neighbours
from extract.inspection.inspection import draw_bars
from tests.photo_dataset import write_dataset

FLAGS = ["--backbone", "tests.tiny_backbone:factory", "--weights", "random", "--batch-size", "16", "--shard-rows", "8",
         "--thumbnails", "24"]


def inspect(folder, capsys, *flags):
    capsys.readouterr()
    main(["inspect", str(folder), *flags])
    return capsys.readouterr().out


def republish(folder, group, number, change):
    """Change arrays of a published shard, as a careless writer would."""
    manifest = load_manifest(folder)
    shard = manifest.shards[group][number]
    arrays = {name: array.copy() for name, array in map_shard(folder / shard.name, group).items()}
    change(arrays)
    path = write_shard(folder / shard.name, group, arrays)
    shards = list(manifest.shards[group])
    shards[number] = Shard(shard.name, shard.rows, shard.offset, path.stat().st_size, sha256_file(path))
    replace(manifest, shards={**manifest.shards, group: tuple(shards)}).save(folder)


def test_the_text_agrees_with_the_folder(make_features, capsys):
    folder = make_features(bad_photos=(2, 9))
    text = inspect(folder, capsys, "--no-pictures")
    features = Features.open(folder)
    part, vocabulary = features.words().split("train"), features.words().vocabulary
    assert "60 rows of width 16" in text and "58 ok, 2 missing, 0 unreadable, 0 too large" in text
    norms = np.linalg.norm(features.feature.all()[features.usable].astype(float), axis=1)
    assert f"median {np.median(norms):.4g}," in text
    words = Counter(word for story in range(len(part)) for order in range(5)
                    for word in part.caption(story, order).split())
    ranked = sorted(words.items(), key=lambda item: (-item[1], vocabulary.index(item[0])))
    listed = text.partition("frequent words (train)\n")[2].partition("\n\n")[0].replace("\n", " ").strip()
    assert listed.replace("  ", "") .replace(", ", ",").split(",") == [f"{word} {count}" for word, count in ranked]
    dogs = 100 * np.mean([part.tag.all()[..., features.words().tag_names.index("dog")]])
    assert f"dog {dogs:.2f}" in text
    assert f"train  12 stories of 6 albums, {sum(words.values()) / 60:.1f} words a caption, 0.00% <UNK>" in text
    assert not (folder.parent / "features-inspect").exists()


def test_equal_contents_and_placeholders_are_counted(make_features, capsys):
    folder = make_features()

    def repeat(arrays):
        arrays["content"][1:4] = arrays["content"][0]
    republish(folder, "photos", 0, repeat)
    manifest = load_manifest(folder)
    content = map_shard(folder / "photos/00000.h5", "photos")["content"][0].tobytes().hex()
    replace(manifest, placeholders=({"content": content, "photos": 4, "albums": 5},)).save(folder)
    text = inspect(folder, capsys, "--no-pictures")
    assert "3 photos repeat the content of another (57 distinct)" in text
    assert "4 photos are one of 1 pictures under many ids" in text
    with pytest.raises(UserError, match="train0001 is a placeholder"):
        main(["inspect", str(folder), "--photo", "train0001"])


def test_neighbours_are_those_of_standardised_features():
    random = np.random.default_rng(3)
    rows = (random.standard_normal((40, 6)) + 50).astype(np.float16)  # nearly parallel, as a random network's are
    rows[31] = rows[7] + np.float16(0.1)
    feature = MappedRows([rows[:13], rows[13:]])
    found = find_neighbours(feature, np.arange(40), 7, 5)
    whole = rows.astype(np.float64)
    standard = (whole - whole.mean(axis=0)) / whole.std(axis=0)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True)
    expected = np.argsort(-(standard @ standard[7]), kind="stable")
    assert [row for row, _ in found] == [row for row in expected if row != 7][:5] and found[0][0] == 31
    np.testing.assert_allclose([cosine for _, cosine in found], (standard @ standard[7])[[row for row, _ in found]],
                               atol=2e-3)
    assert (centred_cosine(rows, rows, rows.mean(axis=0), rows.std(axis=0)) > 0.999).all()


def test_neighbours_are_drawn_from_thumbnails_or_photos(tmp_path, capsys):
    dataset, folder = write_dataset(tmp_path / "data"), tmp_path / "f"
    shutil.copy(dataset / "images/tr0001.jpg", dataset / "images/tr0011.jpg")
    main(["--data", str(dataset), "--out", str(folder), *FLAGS])
    text = inspect(folder, capsys, "--photo", "tr0000", "--out", str(tmp_path / "out"))
    assert len(text.partition("nearest to photo tr0000")[2].strip().split("\n\n")[0].splitlines()) == 12
    with Image.open(tmp_path / "out/neighbours-tr0000.png") as sheet:
        small = np.asarray(sheet.convert("RGB"))
    assert small.shape[1] > 900 and (tmp_path / "out/overview.png").exists()
    inspect(folder, capsys, "--photo", "tr0000", "--out", str(tmp_path / "out2"), "--data", str(dataset))
    with Image.open(tmp_path / "out2/neighbours-tr0000.png") as sheet, Image.open(
            dataset / "images/tr0000.jpg") as photo:
        sharp, photo_pixels = np.asarray(sheet.convert("RGB"))[36:204, 8:232], photo.resize((224, 168))
    assert np.abs(sharp.astype(int) - np.asarray(photo_pixels)).mean() < 6
    assert "1 others have its content" in inspect(folder, capsys, "--photo", "tr0001", "--no-pictures")


def test_an_unfinished_folder_is_shown_by_its_ledger(tmp_path, capsys):
    dataset, folder = write_dataset(tmp_path / "data"), tmp_path / "f"
    main(["--data", str(dataset), "--out", str(folder), *FLAGS])
    (folder / "manifest.json").unlink()
    (folder / "photos/00001.h5").unlink()  # not published yet
    text = inspect(folder, capsys, "--photo", "tr0000", "--out", str(tmp_path / "out"))
    assert "state       not complete" in text and "28 rows of width 8 in 4 shards" in text
    assert "words are published when every photo is there" in text and "tests.tiny_backbone:factory" in text
    assert (tmp_path / "out/neighbours-tr0000.png").exists() and (tmp_path / "out/overview.png").exists()


def test_what_cannot_be_shown_is_said_in_one_sentence(make_features, tmp_path, capsys):
    folder = make_features(bad_photos=(3,))
    for flags, message in ((["--photo", "nobody"], "for example train0000"), (["--photo", "train0003"], "is missing"),
                           (["--photo", "\ud800\x1b[2J"], "expected the id")):
        assert run_command(lambda: main(["inspect", str(folder), *flags])) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and message in error and "\x1b" not in error
    with pytest.raises(UserError, match="found none"):
        main(["inspect", str(tmp_path)])
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="--no-pictures"):
        main(["inspect", str(folder), "--out", str(tmp_path / "file" / "out")])


def test_hostile_names_and_pictures_do_no_harm(make_features, tmp_path, capsys):
    folder = make_features()
    evil = "../../../evil"

    def rename(arrays):
        arrays["photo_id"] = fixed_bytes(["\x1b[2J\x07", evil, *(f"p{row}" for row in range(2, 8))])
    republish(folder, "photos", 0, rename)
    manifest = load_manifest(folder)
    thumbs = []
    for shard in manifest.shards["photos"]:
        name = shard.name.replace("photos", "thumbs")
        (folder / "thumbs").mkdir(exist_ok=True)
        blob, offset = join_blobs([b"\xff\xd8 no picture"] * shard.rows)
        path = write_shard(folder / name, "thumbs", {"blob": blob, "offset": offset})
        thumbs.append(replace(shard, name=name, bytes=path.stat().st_size, sha256=sha256_file(path)))
    vocabulary = folder / "words/default/vocabulary.json"
    vocabulary.write_text(json.dumps({"words": [
        word if word != "dog" else "\x1b]0;x\x07\u202edog" for word in json.loads(vocabulary.read_text())["words"]]}))
    words = manifest.words["default"]
    words = replace(words, files={**words.files, "vocabulary.json": sha256_file(vocabulary)})
    replace(manifest, shards={**manifest.shards, "thumbs": tuple(thumbs)}, words={"default": words}).save(folder)
    text = inspect(folder, capsys, "--photo", evil, "--out", str(tmp_path / "out/deep"))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\x1b]0;x\\x07" in text
    assert sorted(path.name for path in (tmp_path / "out/deep").iterdir()) == ["neighbours-row-1.png", "overview.png"]
    assert not list(tmp_path.glob("*evil*"))


def test_bars():
    assert list(draw_bars(["a", "bb"], [4, 1])) == [f"   a  {'#' * 40} 4", f"  bb  {'#' * 10}{' ' * 30} 1"]
