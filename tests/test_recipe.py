"""The noted recipe of a folder: taken only whole and true to its id, for everything else it is built anew."""
import json
import os

import pytest

from data.folder.identity import identify
from extract.config import ExtractConfig
from extract.folder.recipe import recall_recipe, remember_recipe, request_key
from extract.pipeline.backbone_setup import resolve_recipe

NOTE = {"recipe": identify({"version": 3, "precision": "float32", "batch_shape": [4, 3, 32, 32], "compiled": False}),
        "made_with": "",
        "made_by": [{"batch_shape": [4, 3, 32, 32], "compiled": False, "device": "cpu"}],
        "holder": None, "width": 8, "weights": "random", "licence": "none", "files": ["/w.pth"], "key": "0" * 64}


def test_a_whole_note_is_recalled(tmp_path):
    (tmp_path / ".local").mkdir()
    older = {name: value for name, value in NOTE.items() if name != "made_by"}
    (tmp_path / ".local/recipe.json").write_text(json.dumps(older))  # with a recipe that says what made it
    assert recall_recipe(tmp_path) == {**NOTE, "made_by": [{**NOTE["made_by"][0], "device": "unknown"}]}
    remember_recipe(tmp_path, NOTE)
    assert recall_recipe(tmp_path) == NOTE
    assert recall_recipe(tmp_path / "nowhere") is None


@pytest.mark.parametrize("change", [
    {"recipe": None}, {"recipe": "x"}, {"recipe": {}}, {"recipe": {"id": "0" * 64, "fields": []}},
    {"recipe": {"id": "0" * 64, "fields": {}}}, {"recipe": {**NOTE["recipe"], "id": "0" * 64}},
    {"recipe": {**NOTE["recipe"], "id": None}}, {"recipe": {**NOTE["recipe"], "more": 1}},
    {"recipe": {**NOTE["recipe"], "fields": {**NOTE["recipe"]["fields"], "precision": "float16"}}},
    {"recipe": {"id": "0" * 64, "fields": {"version": float("nan")}}},
    {"made_by": None}, {"made_by": [{}]}, {"made_by": [{**NOTE["made_by"][0], "batch_shape": [0, 3, 32, 32]}]},
    {"made_by": [{**NOTE["made_by"][0], "device": 0}]}, {"made_with": 1}, {"width": "8"},
    {"width": True}, {"width": 0}, {"width": -8}, {"width": 8.0}, {"weights": None},
    {"licence": []}, {"files": None}, {"files": "/w.pth"}, {"files": [1]}, {"files": [None]}, {"files": ["a\0b"]},
    {"key": 7}, {"more": 1}], ids=str)
def test_a_note_with_one_thing_wrong_is_passed_over(tmp_path, change):
    remember_recipe(tmp_path, NOTE)
    (tmp_path / ".local/recipe.json").write_text(json.dumps({**NOTE, **change}))
    assert recall_recipe(tmp_path) is None


@pytest.mark.parametrize("content", [
    b"", b"{", b"null", b"[]", b"7", b"{}", b"\xff\xfe\x00", b"[" * 100_000, b"1" * 10_000,
    json.dumps(NOTE).encode()[:-40], json.dumps({name: NOTE[name] for name in ("recipe", "key")}).encode(),
    json.dumps(NOTE).replace('"/w.pth"', r'"\ud800"').encode()], ids=lambda content: repr(content[:20]))
def test_a_note_that_is_none_is_passed_over(tmp_path, content):
    remember_recipe(tmp_path, NOTE)
    (tmp_path / ".local/recipe.json").write_bytes(content)
    assert recall_recipe(tmp_path) is None


def test_over_a_note_that_is_none_the_recipe_is_built_anew(tmp_path):
    config = ExtractConfig(dataset=tmp_path, out=tmp_path / "f", backbone="tests.tiny_backbone:factory",
                           weights="random", precision="float32", batch_size=4, device="cpu")
    built = resolve_recipe(config, None)
    note = recall_recipe(config.out)
    assert note is not None and resolve_recipe(config, None).backbone is None  # recalled
    assert note["key"] == request_key(config, note["files"])
    forged = {**note, "recipe": {**note["recipe"], "fields": {**note["recipe"]["fields"], "precision": "float16"}}}
    (config.out / ".local/recipe.json").write_text(json.dumps(forged))
    again = resolve_recipe(config, None)
    assert again.backbone is not None and again.recipe == built.recipe and recall_recipe(config.out) == note
    assert os.path.isabs(note["files"][0])
