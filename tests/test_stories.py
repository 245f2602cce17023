"""A data folder: which files are read, what is kept of them, splits, descriptions, warnings."""
import gc
import hashlib
import json
from collections import Counter

import pytest

from data.annotations.stories import SPLITS, derive_split, read_dataset
from data.errors import UserError
from tests.annotation_files import SENTENCES, make_story, write_descriptions, write_json_file, write_stories


def read_error(root):
    with pytest.raises(UserError) as caught:
        read_dataset(root)
    return str(caught.value)


def test_a_story_is_five_frames_in_their_order_not_the_files(tmp_path):
    write_stories(tmp_path, "train", list(reversed(make_story("s1", captions=SENTENCES))))
    write_stories(tmp_path, "val", make_story("s2", "b"))
    [story] = read_dataset(tmp_path).stories["train"]
    assert (story.story_id, story.album_id, story.split) == ("s1", "album", "train")
    assert story.photo_ids == ("album-0", "album-1", "album-2", "album-3", "album-4")
    assert story.captions == SENTENCES
    assert story.tokenised == (True,) * 5


@pytest.mark.parametrize("text, original, expected, tokenised", [
    ("A b .", "A b.", "A b .", True), (None, "A b.", "A b.", False), ("  ", "A b.", "A b.", False),
    ("caf\u00e9 \ud83d\ude00 .", "", "caf\u00e9 \ud83d\ude00 .", True), (" a  b ", None, " a  b ", True)])
def test_captions_are_kept_raw_and_text_goes_before_original_text(tmp_path, text, original, expected, tokenised):
    expected = expected.encode("utf-16", "surrogatepass").decode("utf-16")
    write_stories(tmp_path, "train", make_story("s", captions=(text,) * 5, original_text=original))
    [story] = sum(read_dataset(tmp_path).stories.values(), [])
    assert story.captions == (expected,) * 5
    assert story.tokenised == (tokenised,) * 5


def test_original_text_alone_is_enough_and_so_is_text(tmp_path):
    records = make_story("a", "x") + make_story("b", "y")
    for record in records[:5]:
        del record["text"]
    for record in records[5:]:
        del record["original_text"]
    write_stories(tmp_path, "test", records)
    first, second = read_dataset(tmp_path).stories["test"]
    assert first.captions[0] == "Original 0." and not any(first.tokenised)
    assert second.captions == SENTENCES and all(second.tokenised)


def test_stories_are_sorted_by_album_then_story_and_photos_may_recur(tmp_path):
    stories = make_story("9", "a") + make_story("1", "b") + make_story("10", "a")
    twice = make_story("11", "a", photo_id="same")
    write_stories(tmp_path, "test", stories + twice)
    dataset = read_dataset(tmp_path)
    assert [(story.album_id, story.story_id) for story in dataset.stories["test"]] == [
        ("a", "10"), ("a", "11"), ("a", "9"), ("b", "1")]
    assert dataset.stories["test"][1].photo_ids == ("same",) * 5
    assert dataset.skipped == []


@pytest.mark.parametrize("folder", ["annotations", "."])
def test_files_may_lie_in_annotations_or_directly_in_the_folder(tmp_path, folder):
    write_stories(tmp_path, "test", make_story("s"), folder=folder)
    dataset = read_dataset(tmp_path)
    assert {split: len(stories) for split, stories in dataset.stories.items()} == {"train": 0, "val": 0, "test": 1}
    assert list(dataset.files) == ["test.story-in-sequence.json"]
    assert not dataset.derived_splits and dataset.warnings == []


def test_a_file_in_both_places_is_read_from_annotations_and_said(tmp_path):
    write_stories(tmp_path, "test", make_story("inner"))
    write_stories(tmp_path, "test", make_story("outer"), folder=".")
    dataset = read_dataset(tmp_path)
    assert [story.story_id for story in dataset.stories["test"]] == ["inner"]
    assert dataset.warnings == [f"test.story-in-sequence.json lies both in {tmp_path / 'annotations'} and in "
                                f"{tmp_path}: the one in annotations/ is read"]


def test_albums_info_and_file_hashes_travel(tmp_path):
    path = write_stories(tmp_path, "val", make_story("s"), info={"storyworld": {"seed": 7}},
                         images=[{"id": "p1", "album_id": "a"}, {"id": "p1", "album_id": "a"},
                                 {"id": "p/2", "album_id": "a"}])
    dataset = read_dataset(tmp_path)
    assert dataset.files == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert dataset.info == {"val": {"storyworld": {"seed": 7}}}
    assert dataset.album_photos["val"] == (("a", "p1"),)
    assert [(row.kind, row.id, row.cause) for row in dataset.skipped] == [("photo", "p/2", "id is no plain name")]
    assert dataset.warnings == ["val: 5 photos of the stories not among the file's images (first: album-0)"]


# warnings

def test_recurrence_across_splits_is_warned_about_with_counts_and_both_are_kept(tmp_path):
    write_stories(tmp_path, "train", make_story("s1", "a") + make_story("s2", "b"))
    write_stories(tmp_path, "val", make_story("s1", "c", photo_id="a-0"))
    write_stories(tmp_path, "test", make_story("s9", "d", photo_id="a-0"))
    dataset = read_dataset(tmp_path)
    assert dataset.warnings == ["1 story in both train and val (first: s1)",
                                "1 photo in both train and val (first: a-0)",
                                "1 photo in both train and test (first: a-0)",
                                "1 photo in both val and test (first: a-0)"]
    assert [len(dataset.stories[split]) for split in SPLITS] == [2, 1, 1]


# a lone train file

def test_a_lone_train_file_is_split_by_album_and_said(tmp_path):
    albums = [f"album{number}" for number in range(2000)]
    write_stories(tmp_path, "train", [record for album in albums for story in "ab"
                                      for record in make_story(f"{album}{story}", album)], info={"from": "here"})
    dataset = read_dataset(tmp_path, seed=3)
    found = {split: {story.album_id for story in dataset.stories[split]} for split in SPLITS}
    assert dataset.derived_splits
    assert set.union(*found.values()) == set(albums) and sum(map(len, found.values())) == 2000
    assert all(len(dataset.stories[split]) == 2 * len(found[split]) for split in SPLITS)
    assert all(story.split == split for split in SPLITS for story in dataset.stories[split])
    assert all({album for album, _ in dataset.album_photos[split]} == found[split] for split in SPLITS)
    assert dataset.info == {split: {"from": "here"} for split in SPLITS}
    sizes = [len(found[split]) for split in SPLITS]
    assert 1550 < sizes[0] < 1650 and 160 < sizes[1] < 240 and 160 < sizes[2] < 240
    [warning] = dataset.warnings
    assert warning == (f"only a train file in {tmp_path}: its 2000 albums were split 80/10/10 by album (seed 3) into "
                       + ", ".join(f"{split} {size} albums with {2 * size} stories"
                                   for split, size in zip(SPLITS, sizes)))


def test_an_albums_split_is_the_sha256_of_seed_and_id():
    """By hand: the first 8 bytes of sha256("42:44277") and of sha256("42:album7") as fractions of 2**64."""
    for album in ("44277", "album7", "72157607155047588", *map(str, range(200))):
        fraction = int(hashlib.sha256(f"42:{album}".encode()).hexdigest()[:16], 16) / 2 ** 64
        assert derive_split(album, 42) == ("train" if fraction < 0.8 else "val" if fraction < 0.9 else "test")


def test_another_seed_gives_another_split_and_other_files_none(tmp_path):
    assert {derive_split(str(album), 1) for album in range(50)} == set(SPLITS)
    assert [derive_split(str(album), 1) for album in range(50)] != [derive_split(str(album), 2) for album in range(50)]
    write_stories(tmp_path, "train", make_story("a", "x") + make_story("b", "y"))
    write_stories(tmp_path, "test", make_story("c", "z"))
    dataset = read_dataset(tmp_path)
    assert not dataset.derived_splits and len(dataset.stories["train"]) == 2 and dataset.stories["val"] == []


# descriptions

def test_descriptions_are_gathered_by_photo_over_splits(tmp_path):
    write_stories(tmp_path, "test", make_story("s"))
    write_descriptions(tmp_path, "train", [("album-0", "a dog ."), ("p2", "a cat .")])
    write_descriptions(tmp_path, "test", [("album-0", "a big dog .")])
    dataset = read_dataset(tmp_path)
    assert dataset.descriptions == {"album-0": (("a dog .", True), ("a big dog .", True)), "p2": (("a cat .", True),)}
    assert sorted(dataset.files) == ["test.description-in-isolation.json", "test.story-in-sequence.json",
                                     "train.description-in-isolation.json"]


def test_a_malformed_description_is_left_out_listed_and_counted(tmp_path):
    write_stories(tmp_path, "test", make_story("s"))
    path = write_descriptions(tmp_path, "test", [("album-0", "a dog ."), ("a/b", "x"), ("album-1", " ")])
    content = json.loads(path.read_text())
    content["annotations"] += [[], "x", [{"text": "no photo"}], [{"photo_flickr_id": "album-2", "text": 5}],
                               [{"photo_flickr_id": "album-2", "original_text": "A tree."}]]
    write_json_file(path, content)
    dataset = read_dataset(tmp_path)
    assert dataset.descriptions == {"album-0": (("a dog .", True),), "album-2": (("A tree.", False),)}
    assert [(row.kind, row.id, row.split, row.cause) for row in dataset.skipped] == [
        ("description", "a/b", "test", "id is no plain name"), ("description", "album-1", "test", "empty caption"),
        ("description", "annotations[3]", "test", "malformed record"),
        ("description", "annotations[4]", "test", "malformed record"),
        ("description", "annotations[5]", "test", "malformed record"),
        ("description", "album-2", "test", "caption is no text")]
    assert dataset.warnings == ["test: 6 descriptions left out (first: a/b, id is no plain name)"]


def test_a_broken_description_file_is_an_error(tmp_path):
    write_stories(tmp_path, "test", make_story("s"))
    write_json_file(tmp_path / "annotations" / "test.description-in-isolation.json", {"images": []})
    assert "expected the top-level key 'annotations'" in read_error(tmp_path)


def test_the_collector_runs_again_after_reading(tmp_path):
    write_stories(tmp_path, "test", make_story("s"))
    read_dataset(tmp_path)
    assert gc.isenabled()
    (tmp_path / "annotations" / "test.story-in-sequence.json").write_text("{")
    read_error(tmp_path)
    assert gc.isenabled()


# real data

def test_the_real_records_word_for_word(tmp_path, realdata):
    verbatim = json.loads((realdata / "vist" / "verbatim_records.json").read_text())
    [real] = verbatim["sis['annotations'][0]"]
    records = [{**real, "worker_arranged_photo_order": order} for order in range(5)]
    write_stories(tmp_path, "test", records, images=[verbatim["sis['images'][0]"]],
                  albums=[verbatim["sis['albums'][0]"]])
    write_json_file(tmp_path / "annotations" / "test.description-in-isolation.json",
                    {"images": [], "annotations": [verbatim["dii['annotations'][14]"]]})
    dataset = read_dataset(tmp_path)
    [story] = dataset.stories["test"]
    assert (story.story_id, story.album_id, story.photo_ids[0]) == ("45530", "44277", "1741642")
    assert story.captions[0] == "the local parish holds a craft show each year ."
    assert dataset.descriptions == {"1741587": (("a man wearing a top hat kneeling on the floor .", True),)}
    assert dataset.skipped == [] and dataset.warnings == []


def test_nothing_of_the_real_test_split_is_lost(tmp_path, realdata):
    source = realdata / "vist" / "test.subset.story-in-sequence.json"
    (tmp_path / "test.story-in-sequence.json").symlink_to(source)
    dataset = read_dataset(tmp_path)
    stories = dataset.stories["test"]
    assert len(stories) == 2010 and dataset.skipped == [] and dataset.warnings == []
    read = Counter((story.story_id, order, story.album_id, photo_id, caption) for story in stories
                   for order, (photo_id, caption) in enumerate(zip(story.photo_ids, story.captions)))
    raw = [annotation[0] for annotation in json.loads(source.read_text())["annotations"]]
    assert read == Counter((record["story_id"], record["worker_arranged_photo_order"], record["album_id"],
                            record["photo_flickr_id"], record["text"]) for record in raw)
    assert sum(read.values()) == 10_050


def test_the_real_books(realdata):
    dataset = read_dataset(realdata / "bookdash")
    assert {split: len(stories) for split, stories in dataset.stories.items()} == {"train": 91, "val": 10, "test": 12}
    assert dataset.skipped == [] and dataset.warnings == []
