"""The annotation reader: what is an error, what is skipped, what is warned about, what is kept."""
import gc
import hashlib
import json
from collections import Counter
from random import Random

import pytest

from data.errors import UserError
from data.stories import SPLITS, derive_split, read_dataset
from tests.annotation_files import (SENTENCES, make_record, make_story, write_descriptions, write_json_file,
                                    write_stories)


def read_error(root):
    with pytest.raises(UserError) as caught:
        read_dataset(root)
    return str(caught.value)


def read_skipped(root, records):
    """Read the records beside one good story and return the single row that was left out."""
    write_stories(root, "train", [*make_story("good", "other"), *records])
    write_stories(root, "val", make_story("v", "val-album"))
    dataset = read_dataset(root)
    assert [story.story_id for story in dataset.stories["train"]] == ["good"]
    [row] = [row for row in dataset.skipped if row.kind == "story"]
    assert row.split == "train"
    assert any(warning.startswith("train: 1 story left out of 2") for warning in dataset.warnings)
    return row


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


# errors

def test_no_folder_and_no_file_say_what_was_looked_for(tmp_path):
    assert read_error(tmp_path / "no") == (f"expected a data folder at {tmp_path / 'no'}, found nothing; name the "
                                           "folder that holds annotations/")
    names = "train.story-in-sequence.json, val.story-in-sequence.json, test.story-in-sequence.json"
    assert read_error(tmp_path) == (f"expected at least one of {names} in {tmp_path / 'annotations'} or {tmp_path}, "
                                    "found no .json file; put the files there or name another data folder")
    write_json_file(tmp_path / "train.json", {})
    assert "found train.json; put the files there" in read_error(tmp_path)
    assert "found a file; name the folder" in read_error(tmp_path / "train.json")


@pytest.mark.parametrize("content, found", [
    (b"", "JSONDecodeError"), (b'{"images": [', "JSONDecodeError"), (b"[" * 200_000, "RecursionError"),
    (b'{"images": [], "annotations": []} {}', "Extra data"), (b"\xff\xfe\x00", "UnicodeDecodeError"),
    (b'{"images": "\xe9"}', "UnicodeDecodeError"), (b'{"images": ' + b"9" * 5000 + b"}", "ValueError")])
def test_broken_json_is_an_error(tmp_path, content, found):
    path = tmp_path / "val.story-in-sequence.json"
    path.write_bytes(content)
    message = read_error(tmp_path)
    assert message.startswith(f"expected JSON in UTF-8 in {path}, found ") and found in message
    assert message.endswith("; get the file again or restore it")


def test_a_byte_order_mark_is_no_matter(tmp_path):
    path = write_stories(tmp_path, "test", make_story("s"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_dataset(tmp_path).num_stories == 1


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path):
    path = tmp_path / "annotations" / "train.story-in-sequence.json"
    path.mkdir(parents=True)
    assert f"expected JSON in UTF-8 in {path}, found IsADirectoryError" in read_error(tmp_path)


@pytest.mark.parametrize("key", ["images", "annotations"])
def test_a_missing_top_level_key_is_an_error(tmp_path, key):
    content = {"info": {}, "images": [], "annotations": [[make_record("s", 0)]]}
    del content[key]
    path = write_json_file(tmp_path / "train.story-in-sequence.json", content)
    assert read_error(tmp_path) == (f"expected the top-level key {key!r} in {path}, found the keys "
                                    f"{', '.join(sorted(content))}; get the file again or restore it")


@pytest.mark.parametrize("content, found", [
    ([], "found a list"), ("x", "found a string"), (None, "found null"),
    ({"images": {}, "annotations": []}, "expected 'images' to be a list"),
    ({"images": [], "annotations": "x"}, "expected 'annotations' to be a list"),
    ({"images": [], "annotations": []}, "found an empty list of annotations"),
    ({"images": [7], "annotations": [[make_record("s", 0)]]}, "in image 0 of"),
    ({"images": [{"id": "1"}], "annotations": [[make_record("s", 0)]]}, "found the keys id")])
def test_a_file_of_another_shape_is_an_error(tmp_path, content, found):
    path = write_json_file(tmp_path / "train.story-in-sequence.json", content)
    message = read_error(tmp_path)
    assert found in message and str(path) in message


@pytest.mark.parametrize("key", ["story_id", "album_id", "photo_flickr_id", "worker_arranged_photo_order"])
def test_a_missing_record_key_is_an_error_that_names_the_record(tmp_path, key):
    records = make_story("s")
    del records[3][key]
    path = write_stories(tmp_path, "train", records)
    message = read_error(tmp_path)
    story = "" if key == "story_id" else " (story s)"
    assert message.startswith(f"expected the key {key!r} in the record of annotation 3{story} of {path}, found the ")
    assert message.endswith("; get the file again or restore it")


def test_a_record_with_no_caption_key_at_all_is_an_error(tmp_path):
    records = make_story("s")
    del records[2]["text"], records[2]["original_text"]
    write_stories(tmp_path, "train", records)
    assert "expected the key 'text' in the record of annotation 2 (story s)" in read_error(tmp_path)


@pytest.mark.parametrize("annotation, found", [
    ([], "a list of 0"), ([{}, {}], "a list of 2"), (["x"], "a list of a string"), ({}, "an object"), (None, "null")])
def test_an_annotation_is_a_list_of_one_record(tmp_path, annotation, found):
    path = write_json_file(tmp_path / "train.story-in-sequence.json", {"images": [], "annotations": [annotation]})
    assert read_error(tmp_path) == (f"expected a list of one record in annotation 0 of {path}, found {found}; get the "
                                    "file again or restore it")


def test_no_well_formed_story_at_all_is_an_error(tmp_path):
    write_stories(tmp_path, "train", make_story("s")[:4])
    assert read_error(tmp_path) == (
        f"expected at least one well-formed story in {tmp_path}, found 1 that are not: story s of train is left out "
        "for 'not five frames' (expected 5 frames, found 4 (order 0, 1, 2, 3)); mend them")


# stories that are left out

@pytest.mark.parametrize("bad", ["", ".hidden", "../up", "a/b", "a b", "a\n", "\u00e9", "\u0663", "x" * 201, 45530,
                                 None, 1.5, True, ["a"], {"a": 1}])
@pytest.mark.parametrize("key", ["story_id", "album_id", "photo_flickr_id"])
def test_an_id_that_is_no_plain_name_leaves_the_story_out(tmp_path, key, bad):
    records = make_story("bad")
    for record in records:
        record[key] = bad
    row = read_skipped(tmp_path, records)
    assert row.cause == "id is no plain name"
    assert row.detail.startswith(f"expected {key} ")
    assert len(row.id) <= 2000 and row.id.isprintable()


@pytest.mark.parametrize("name", ["1", "72157607155047588", "50148267@N00", "a.b_c-d", "-", "x" * 200])
def test_plain_names_are_kept(tmp_path, name):
    write_stories(tmp_path, "test", make_story(name, name, photo_id=name))
    assert read_dataset(tmp_path).stories["test"][0].story_id == name


def test_one_bad_photo_id_leaves_out_its_story_only(tmp_path):
    records = make_story("bad")
    records[4]["photo_flickr_id"] = "no/name"
    row = read_skipped(tmp_path, records)
    assert row.id == "bad" and "found 'no/name'" in row.detail


def test_a_number_is_no_story_id_and_joins_no_string(tmp_path):
    write_stories(tmp_path, "test", make_story("7") + make_story(7))
    dataset = read_dataset(tmp_path)
    assert [story.story_id for story in dataset.stories["test"]] == ["7"]
    assert [row.detail for row in dataset.skipped] == ["expected story_id as a string, found 7 (a whole number)"]


@pytest.mark.parametrize("order", [5, -1, "0", 1.0, True, None, 10 ** 30, [0]])
def test_an_order_outside_0_to_4_leaves_the_story_out(tmp_path, order):
    records = make_story("bad")
    records[1]["worker_arranged_photo_order"] = order
    row = read_skipped(tmp_path, records)
    assert row.cause == "order outside 0..4"
    assert row.detail.startswith("expected worker_arranged_photo_order as a number from 0 to 4, found ")


def test_two_frames_in_one_place_leave_the_story_out(tmp_path):
    records = make_story("bad")
    records[3]["worker_arranged_photo_order"] = 2
    row = read_skipped(tmp_path, records)
    assert (row.cause, row.detail) == ("two frames in one place", "expected one frame of order 2, found photos album-2 "
                                                                  "and album-3")


def test_a_story_written_twice_is_left_out_not_merged(tmp_path):
    assert read_skipped(tmp_path, make_story("bad") * 2).cause == "two frames in one place"


@pytest.mark.parametrize("kept, orders", [(4, "0, 1, 2, 3"), (1, "0")])
def test_not_five_frames_leave_the_story_out(tmp_path, kept, orders):
    row = read_skipped(tmp_path, make_story("bad")[:kept])
    assert (row.cause, row.detail) == ("not five frames", f"expected 5 frames, found {kept} (order {orders})")


@pytest.mark.parametrize("text, original", [("", ""), ("  \n\t", " "), (None, None), ("\u3000", "")])
def test_an_empty_caption_leaves_the_story_out(tmp_path, text, original):
    records = make_story("bad")
    records[2].update(text=text, original_text=original)
    row = read_skipped(tmp_path, records)
    assert (row.cause, row.detail) == ("empty caption",
                                       "expected words in text or original_text, found none (order 2)")


@pytest.mark.parametrize("text", [7, ["a"], {}, True, "half a pair \ud83d"])
def test_a_caption_that_is_no_text_leaves_the_story_out(tmp_path, text):
    records = make_story("bad")
    records[0]["text"] = text
    assert read_skipped(tmp_path, records).cause == "caption is no text"


def test_frames_of_two_albums_leave_the_story_out(tmp_path):
    records = make_story("bad")
    records[4]["album_id"] = "other"
    row = read_skipped(tmp_path, records)
    assert (row.cause, row.detail) == ("frames of two albums", "expected one album, found album and other")


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


# anything at all

ODD_VALUES = [None, True, 0, -1, 7, 2.5, float("inf"), 10 ** 40, "", "x", " ", "\ud800", "a\x00b", "\u00e9", "../x", [],
              [1], {}, {"a": 1}, [[]], "x" * 500, "\u2028", "\r\n"]


def list_places(value, place=()):
    if place:
        yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from list_places(value[key], (*place, key))


def break_somewhere(content, random):
    *parents, key = random.choice(list(list_places(content)))
    for parent in parents:
        content = content[parent]
    if random.random() < 0.3:
        del content[key]
    else:
        content[key] = random.choice(ODD_VALUES)


def test_whatever_stands_in_the_files_ends_in_whole_stories_or_one_sentence(tmp_path):
    random = Random(0)
    paths = [write_stories(tmp_path, "train", make_story("a", "x") + make_story("b", "y")),
             write_descriptions(tmp_path, "train", [("x-0", "a dog ."), ("y-1", "a cat .")])]
    sound = [path.read_text() for path in paths]
    ends = Counter()
    for _ in range(400):
        for path, text in zip(paths, sound):
            content = json.loads(text)
            for _ in range(random.randrange(3)):
                break_somewhere(content, random)
            path.write_text(json.dumps(content))
        try:
            dataset = read_dataset(tmp_path)
        except UserError as error:
            ends["refused"] += 1
            assert "\n" not in str(error) and str(error).encode("utf-8")
            continue
        ends["read"] += 1
        for story in sum(dataset.stories.values(), []):
            assert len(story.photo_ids) == 5 and all(caption.strip() for caption in story.captions)
            "".join(story.captions).encode("utf-8")
        assert all(field.isascii() and field.isprintable() for row in dataset.skipped
                   for field in (row.kind, row.id, row.split, row.cause, row.detail))
    assert ends["read"] > 50 and ends["refused"] > 50


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
