"""Folds: what stays together, how groups are dealt, what is written and what is refused."""
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from data.__main__ import main
from data.annotations.stories import read_dataset
from data.errors import UserError
from data.folds.fold_groups import deal_groups, group_albums, list_sentences
from data.folds.folds import read_folds, write_folds
from data.pictures.photos import find_photos, scan_photos
from tests.annotation_files import make_record, make_story, write_descriptions, write_stories
from tests.books import edit_records, write_books

LONG = "they walked all the way home ."


def groups_of(root: Path) -> list[tuple[str, ...]]:
    return [group.albums for group in group_albums(read_dataset(root), scan_photos(root)[0])]


def parts_of(folder: Path) -> dict[str, set[str]]:
    return {split: {story.album_id for story in stories} for split, stories in read_dataset(folder).stories.items()}


def test_albums_that_share_a_photo_or_a_sentence_are_one_group(tmp_path):
    root = write_books(tmp_path / "books")
    assert groups_of(root) == sorted((f"a{number}",) for number in range(12))
    (root / "images/a1-3.jpg").write_bytes((root / "images/a2-0.jpg").read_bytes())     # equal bytes, other ids

    def share_photo(records):
        records[0]["photo_flickr_id"] = "a4-0"                                          # a0 shows a4's photo
    edit_records(root, "train", share_photo)

    def share_sentence(records):
        records[0]["text"] = f"then it rained . {LONG}"                                 # a2: a sentence of a caption
    edit_records(root, "test", share_sentence)

    def share_caption(records):
        records[-1]["text"] = "They walked, all the way home!"                          # a10: other signs and letters
    edit_records(root, "val", share_caption)
    assert groups_of(root)[:2] == [("a1", "a10", "a2"), ("a0", "a4")] and len(groups_of(root)) == 9


def test_sentences_by_hand():
    assert list_sentences("They went home. Then, all of them slept well; all night.") == {
        "they went home then all of them slept well all night", "then all of them slept well all night"}
    assert list_sentences("we all ran home .") == set() and list_sentences("it 's a dog .") == set()
    assert list_sentences("we all ran home now .") == {"we all ran home now"}            # six with the full stop


def test_a_placeholder_of_missing_photos_ties_nothing(tmp_path):
    root = write_books(tmp_path / "books")
    for name in ("a0-0", "a1-0", "a2-0"):
        (root / f"images/{name}.jpg").write_bytes(b"")  # nothing can be read of an empty file
    (root / "images/a3-0.jpg").unlink()
    assert len(groups_of(root)) == 12


def test_groups_are_dealt_evenly_and_a_large_one_stays_in_train():
    sizes = [40, *[4] * 5, *[2] * 10, *[1] * 20]  # 100 stories, a fold of 20
    deal = deal_groups(sizes, 5, 7)
    assert deal.test[0] is None and None not in deal.test[1:]
    tested = [sum(size for size, fold in zip(sizes, deal.test) if fold == number) for number in range(5)]
    assert tested == [12] * 5
    for fold in range(5):
        held = sum(sizes[group] for group in deal.val[fold])
        assert .125 * 88 <= held <= .15 * 88 and 0 not in deal.val[fold]
        assert all(deal.test[group] != fold for group in deal.val[fold])
    assert deal_groups(sizes, 5, 7) == deal != deal_groups(sizes, 5, 8)


@pytest.mark.parametrize("sizes, folds", [([50], 2), ([9, 1, 1], 3), ([1, 1], 2), ([5, 5, 5], 4)])
def test_too_few_groups_are_refused(sizes, folds):
    with pytest.raises(UserError, match="share photos or sentences are one group.*fewer --folds"):
        deal_groups(sizes, folds, 0)


def test_each_fold_is_a_data_folder_that_refers_to_the_photos(tmp_path, capsys):
    root = write_books(tmp_path / "books")
    write_descriptions(root, "train", [("a0-1", "a dog"), ("a1-1", "a cat"), ("nobody", "a bird")])
    out = tmp_path / "folds"
    assert main(["folds", str(root), "--out", str(out), "--folds", "3", "--seed", "5"]) == 0
    printed = capsys.readouterr().out
    assert "12 stories, 12 albums, 12 groups" in printed and "8 in 8" not in printed.splitlines()[0]
    tested: list[str] = []
    for fold in range(3):
        folder = out / f"fold-{fold}"
        parts = parts_of(folder)
        assert set.union(*parts.values()) == {f"a{number}" for number in range(12)}
        assert sum(map(len, parts.values())) == 12 and all(parts.values())
        tested += sorted(parts["test"])
        dataset = read_dataset(folder)
        assert set(dataset.descriptions) == {"a0-1", "a1-1"} and not dataset.skipped and not dataset.warnings
        assert len(find_photos(folder)) == 60
        assert not [path for path in folder.rglob("*.jpg") if (folder / "photos") not in path.parents]
    assert len(tested) == 12 == len(set(tested))
    manifest = read_folds(out)
    assert [len(group["albums"]) for group in manifest["groups"]] == [1] * 12 and manifest["seed"] == 5
    name = "test.story-in-sequence.json"
    digest = hashlib.sha256((out / "fold-1/annotations" / name).read_bytes()).hexdigest()
    assert manifest["parts"][1]["files"][name] == digest


def test_records_are_taken_as_they_are_and_each_story_once(tmp_path):
    root = write_books(tmp_path / "books")
    source = json.loads((root / "annotations/train.story-in-sequence.json").read_text())

    def tell_again(records):  # val tells a story of train in other words; one of its own has a frame too few
        records[0]["worker_arranged_photo_order"] = 9
        for order, record in enumerate(records[5:10]):
            record.update(make_record("s0", order, album_id="a0"))
    edit_records(root, "val", tell_again)
    manifest = write_folds(root, tmp_path / "folds", 3)
    assert manifest["left_out"] == {"malformed stories": 1, "stories told in a second split": 1}
    for fold in range(3):
        records = [annotation[0] for path in (tmp_path / f"folds/fold-{fold}/annotations").iterdir()
                   for annotation in json.loads(path.read_text())["annotations"]]
        assert len(records) == 50 and [annotation[0] for annotation in source["annotations"]
                                       if annotation[0] not in records] == []


def test_a_second_call_does_nothing_and_a_change_is_dealt_anew(tmp_path):
    root, out = write_books(tmp_path / "books"), tmp_path / "folds"

    def inodes():
        return {path: path.stat().st_ino for path in out.rglob("*.json")}
    first = write_folds(root, out, 3)
    before = inodes()
    assert write_folds(root, out, 3) == first and inodes() == before
    (out / "fold-1/annotations/val.story-in-sequence.json").write_text("{}")
    assert write_folds(root, out, 3) == first and len(parts_of(out / "fold-1")) == 3
    assert len(write_folds(root, out, 4)["parts"]) == 4 and (out / "fold-3").is_dir()
    (root / "images/a1-3.jpg").write_bytes((root / "images/a2-0.jpg").read_bytes())
    assert len(write_folds(root, out, 4)["groups"]) == 11
    assert sorted(path.name for path in tmp_path.iterdir()) == ["books", "folds"]  # nothing half-written is left


def test_what_is_no_folder_of_folds_is_left_alone(tmp_path, capsys):
    root, out = write_books(tmp_path / "books"), tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert main(["folds", str(root), "--out", str(out)]) == 2
    assert "folds.json" in capsys.readouterr().err and (out / "thesis.txt").read_text() == "mine"
    assert main(["folds", str(root), "--out", str(tmp_path / "new"), "--folds", "1"]) == 2
    assert "at least 2 folds" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_a_source_that_moved_is_told(tmp_path):
    root = write_books(tmp_path / "books")
    write_folds(root, tmp_path / "folds", 3)
    shutil.move(root, tmp_path / "elsewhere")
    with pytest.raises(UserError, match="photos leads, .*books, found nothing; put that folder back"):
        scan_photos(tmp_path / "folds/fold-0")
    write_folds(tmp_path / "elsewhere", tmp_path / "folds", 3)
    assert len(find_photos(tmp_path / "folds/fold-0")) == 60


def test_a_lone_train_file_is_dealt_whole(tmp_path):
    root = tmp_path / "books"
    records = [record for number in range(9) for record in make_story(
        f"s{number}", f"a{number}", [f"book {number} goes on and on at page {order}" for order in range(5)])]
    write_stories(root, "train", records)
    manifest = write_folds(root, tmp_path / "folds", 3)
    assert [part["sizes"]["test"]["stories"] for part in manifest["parts"]] == [3, 3, 3]
    assert sum(map(len, parts_of(tmp_path / "folds/fold-2").values())) == 9


@pytest.mark.parametrize("name", ["bookdash", "storybook"])
def test_real_books_share_nothing_across_sides(name, realdata, tmp_path):
    if not (realdata / name).is_dir():
        pytest.skip(f"no {name}")
    manifest = write_folds(realdata / name, tmp_path / "folds")
    tested = [part["sizes"]["test"]["stories"] for part in manifest["parts"]]
    assert max(tested) - min(tested) <= 3
    contents = {photo_id: hashlib.sha256(path.read_bytes()).digest()
                for photo_id, path in find_photos(realdata / name).items()}
    for fold in range(5):
        seen: dict[object, str] = {}
        for split, stories in read_dataset(tmp_path / f"folds/fold-{fold}").stories.items():
            assert stories
            for story in stories:
                sentences = [words for caption in story.captions if len(words := caption.lower().split()) > 5]
                bare = [words for caption in story.captions
                        if len(words := re.findall(r"[a-z0-9]+", caption.lower())) > 5]
                keys = [story.album_id, story.story_id, *story.photo_ids, *map(tuple, sentences), *map(tuple, bare),
                        *(contents[photo_id] for photo_id in story.photo_ids)]
                assert {seen.setdefault(key, split) for key in keys} == {split}
