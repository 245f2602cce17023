"""Files of our own: JSON that people can read, notes that nothing changes unseen, what a manifest may say."""
import json
import os
import re
from collections import namedtuple

import pytest

from data.annotations.stories import read_dataset
from data.errors import UserError
from data.files import read_json, read_sealed_json, require_room, settle_text, sync, write_json, write_sealed_json
from data.folder.identity import MADE_BY, follows_from_fields, identify, require_same_recipe
from data.folder.manifest import MANIFEST, is_making, load_manifest

MADE = {"batch_shape": [8, 3, 224, 224], "compiled": False, "device": "cpu"}


def test_json_is_readable_and_equal_values_give_equal_bytes(tmp_path):
    first = write_json(tmp_path / "a.json", {"b": "Zoë", "a": 1}).read_bytes()
    assert first == write_json(tmp_path / "b.json", {"a": 1, "b": "Zoë"}).read_bytes()
    assert first.decode() == '{\n "a": 1,\n "b": "Zoë"\n}\n'


@pytest.mark.parametrize("content, found", [(b"{", "JSONDecodeError"), (b"\xff", "UnicodeDecodeError"),
                                            (b'{"a": 1, "a": 2}', "the key 'a' more than once"),
                                            (b"[" * 100_000, "RecursionError")])
def test_what_is_no_json_is_refused_in_a_sentence(tmp_path, content, found):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=f"expected a card as JSON in .*x.json, found .*{found}.*; mend it"):
        read_json(tmp_path / "x.json", "a card", "mend it")


@pytest.mark.parametrize("before", ["b", "a", "abcd"])
def test_a_text_is_settled_whether_what_stood_there_sorts_before_or_behind_it(tmp_path, before):
    (tmp_path / "x").write_text(before)
    assert settle_text(tmp_path / "x", "ab").read_text() == "ab"


@pytest.mark.parametrize("digit", ["0", "f"])
def test_a_sealed_note_with_another_seal_is_none(tmp_path, digit):
    path = write_sealed_json(tmp_path / "note.json", {"rows": 3})
    assert read_sealed_json(path) == {"rows": 3}
    path.write_text(re.sub(r'"sha256": "\w+"', f'"sha256": "{digit * 64}"', path.read_text()))
    assert read_sealed_json(path) is None


def test_a_disk_without_room_is_told_in_megabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: namedtuple("Usage", "free")(3 * 2**20))
    with pytest.raises(UserError, match=r"room for 7 MB or more in .* for a run, found 3 MB free"):
        require_room(tmp_path, "a run", 7 * 2**20)

    def full(path):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("data.files.sync", full)
    with pytest.raises(UserError, match=r"found: No space left on device \(3 MB free\)"):
        require_room(tmp_path, "a run")
    assert not list(tmp_path.iterdir())


def test_only_what_is_asked_to_be_forgotten_is(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: asked.append(arguments), raising=False)
    (tmp_path / "x").write_text("x")
    sync(tmp_path / "x")
    assert not asked
    sync(tmp_path / "x", forget=True)
    assert len(asked) == 1


def test_an_identity_with_a_number_that_is_none_is_not_whole():
    whole = identify({"version": 1, "size": 3})
    assert follows_from_fields(whole)
    assert not follows_from_fields({**whole, "fields": {"version": 1, "size": float("nan")}})


def test_another_precision_is_told_with_both_and_the_same_is_not():
    one, other = (identify({"version": 4, "precision": precision}) for precision in ("float32", "bfloat16"))
    assert require_same_recipe(one, one, "run r", "folder f", "mend") == ""
    assert "precision float32 as it was made with, found bfloat16" in require_same_recipe(one, other, "run r",
                                                                                         "folder f", "mend")


@pytest.mark.parametrize("change", [{"batch_shape": [8, 3, 224]}, {"batch_shape": [True, 3, 224, 224]},
                                    {"batch_shape": [0, 3, 224, 224]}, {"batch_shape": "8"}, {"compiled": 1},
                                    {"device": None}, {"more": 1}])
def test_what_made_a_folder_is_believed_only_whole(make_features, change):
    folder = make_features()
    path = folder / MANIFEST
    raw = json.loads(path.read_text())
    made = dict.fromkeys(MADE_BY) | MADE
    assert is_making(made) and not is_making(made | change)
    path.write_text(json.dumps({**raw, "made_by": [made]}))
    assert load_manifest(folder).made_by == (made,)
    path.write_text(json.dumps({**raw, "made_by": [made | change]}))
    with pytest.raises(UserError, match="does not say what made the features"):
        load_manifest(folder)


@pytest.mark.parametrize("value", [-1, True, 2**80, "3", 1.5])
def test_a_count_is_a_number_from_0_on(make_features, value):
    path = make_features() / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "width": value}))
    with pytest.raises(UserError, match=f"{value!r} is no count"):
        load_manifest(path.parent)


@pytest.mark.parametrize("raw, found", [([], "'list'"), ({"format": 99}, "99")])
def test_a_manifest_of_another_format_is_told_with_what_it_says(tmp_path, raw, found):
    (tmp_path / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(UserError, match=f"expected a manifest of format .*, found {found}"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("is_file, found", [(True, "a file"), (False, "nothing")])
def test_a_data_folder_that_is_none_is_told(tmp_path, is_file, found):
    if is_file:
        (tmp_path / "x").write_text("x")
    with pytest.raises(UserError, match=f"expected a data folder at .*, found {found}"):
        read_dataset(tmp_path / "x")


@pytest.mark.parametrize("count, more", [(5, False), (6, True)])
def test_json_files_of_other_names_are_listed_up_to_five(tmp_path, count, more):
    (tmp_path / "annotations").mkdir()
    for number in range(count):
        (tmp_path / ("annotations" if number % 2 else ".") / f"{number}.json").write_text("{}")
    with pytest.raises(UserError, match="0.json, 1.json, 2.json, 3.json, 4.json" + (" and more" if more else ";")):
        read_dataset(tmp_path)
