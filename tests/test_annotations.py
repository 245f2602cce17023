"""One annotation file: what is an error, what leaves a story out, and that nothing else can happen."""
import json
from collections import Counter
from random import Random

import pytest

from data.annotations.stories import read_dataset
from data.errors import UserError
from tests.annotation_files import make_record, make_story, write_descriptions, write_json_file, write_stories


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


def test_a_key_that_stands_twice_is_said(tmp_path):
    path = write_stories(tmp_path, "train", make_story("s"))
    text = path.read_text()
    for key in ("annotations", "story_id"):
        path.write_text(text.replace(f'"{key}"', f'"{key}": "x", "{key}"', 1))
        assert f"in {path}, found ValueError: the key '{key}' more than once in one object (its keys: " in read_error(
            tmp_path)


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
