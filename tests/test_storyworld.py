"""The storyworld as files: same bytes for a seed, VIST's layout, bad photos, refusals."""
import hashlib
import io
import json
import logging
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from data.annotations.stories import read_dataset
from data.errors import UserError
from data.storyworld.albums import PHOTO_KINDS, build_world
from data.storyworld.config import WorldConfig
from data.storyworld.generate import draw_photos, photo_bytes, write_annotations, write_world
from data.storyworld.picture import draw_picture
from data.storyworld.world import Scene

TINY = WorldConfig(albums=24, seed=3, workers=1)
FROZEN = {"informative": "df981d0aa867d831fff070b556aca9a300f05507df180c75bf5e2f076a706cb5",
          "redundant": "669b59e3006321907a9db71d9ed9a2b2d6d89820eff1624c6dc0e02bbcb0fb66"}
VERBATIM = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "vist" / "verbatim_records.json"


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(TINY, tmp_path_factory.mktemp("storyworld") / "tiny")


def _photos(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in (folder / "images").iterdir()}


def _kinds() -> dict[str, str]:
    return {photo.photo_id: photo.kind for albums in build_world(TINY).splits.values() for album in albums
            for photo in album.photos}


def test_equal_seeds_give_equal_bytes_in_other_processes(world_folder: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.storyworld.generate.FEWEST_FOR_WORKERS", 1)
    monkeypatch.setenv("PYTHONHASHSEED", "123")
    again = write_world(WorldConfig(albums=24, seed=3, workers=2), tmp_path / "again")
    for path in sorted(world_folder.rglob("*.*")):
        assert (again / path.relative_to(world_folder)).read_bytes() == path.read_bytes(), path
    assert len(list(again.rglob("*"))) == len(list(world_folder.rglob("*")))


def test_another_seed_is_another_world() -> None:
    first, second = (build_world(WorldConfig(albums=24, seed=seed)) for seed in (3, 4))
    assert first.splits["train"][0].stories[0].sentences != second.splits["train"][0].stories[0].sentences


@pytest.mark.parametrize("tags", sorted(FROZEN))
def test_a_version_never_changes(tags: str, tmp_path: Path) -> None:
    world = build_world(WorldConfig(albums=12, seed=3, tags=tags))
    digest = hashlib.sha256()
    write_annotations(world, tmp_path)
    for path in sorted(tmp_path.iterdir()):
        digest.update(path.read_bytes())
    assert digest.hexdigest() == FROZEN[tags], "a printed world is frozen: give changed rules a new WORLD_VERSION"


def test_the_reader_finds_every_story(world_folder: Path) -> None:
    dataset = read_dataset(world_folder)
    assert {split: len(stories) for split, stories in dataset.stories.items()} == {"train": 90, "val": 10, "test": 20}
    assert not dataset.skipped and not dataset.warnings
    assert all(all(story.tokenised) for story in dataset.stories["train"])
    assert dataset.info["test"]["storyworld"] == TINY.spec()


def test_records_have_the_keys_of_the_official_files(world_folder: Path) -> None:
    if not VERBATIM.exists():
        pytest.skip(f"{VERBATIM} is not here")
    official = json.loads(VERBATIM.read_text())
    stories, descriptions = (json.loads((world_folder / "annotations" / f"test.{name}.json").read_text())
                             for name in ("story-in-sequence", "description-in-isolation"))
    assert set(stories["annotations"][0][0]) == set(official["sis['annotations'][0][0]"])
    assert set(stories["images"][0]) == set(official["sis['images'][0]"])
    assert set(stories["albums"][0]) == set(official["sis['albums'][0]"])
    assert set(descriptions["annotations"][0][0]) == set(official["dii['annotations'][14]"][0])
    assert descriptions["annotations"][0][0]["tier"] == official["dii['annotations'][14]"][0]["tier"]


def test_albums_share_photos_between_stories_and_never_between_splits(world_folder: Path) -> None:
    dataset = read_dataset(world_folder)
    for stories in dataset.stories.values():
        sequences: dict[str, set[tuple[str, ...]]] = {}
        for story in stories:
            sequences.setdefault(story.album_id, set()).add(story.photo_ids)
        assert all(len(told) == 2 for told in sequences.values())
    albums = [{story.album_id for story in stories} for stories in dataset.stories.values()]
    assert sum(len(ids) for ids in albums) == len(set.union(*albums)) == 24
    sizes = Counter(len({photo for story in dataset.stories["train"] if story.album_id == album
                         for photo in story.photo_ids}) for album in albums[0])
    assert set(sizes) == {9, 10}


def test_each_kind_of_bad_photo_is_what_it_says(world_folder: Path) -> None:
    paths, kinds = _photos(world_folder), _kinds()
    counts = Counter(kinds.values())
    assert set(counts) == {"ok", *PHOTO_KINDS}
    contents: Counter[bytes] = Counter()
    for photo_id, kind in kinds.items():
        assert (photo_id in paths) == (kind != "missing")
        if kind == "truncated":
            with pytest.raises(OSError):
                Image.open(paths[photo_id]).load()
        elif kind != "missing":
            contents[paths[photo_id].read_bytes()] += kind == "unavailable"
            image = Image.open(paths[photo_id])
            assert ImageOps.exif_transpose(image).size == (360, 270)
            assert (image.size == (270, 360)) == (kind == "rotated")
            assert (image.mode == "L") == (kind == "grey")
            assert (image.format == "PNG" and image.mode == "RGBA") == (kind == "alpha")
    assert max(contents.values()) == counts["unavailable"] >= 5
    albums = {photo_id[:-1] for photo_id, kind in kinds.items() if kind == "unavailable"}
    assert len(albums) >= 5


def test_bad_photos_are_rare_in_the_default_world() -> None:
    kinds = Counter(photo.kind for albums in build_world(WorldConfig()).splits.values() for album in albums
                    for photo in album.photos)
    total = kinds.total()
    assert 0.006 < (kinds["missing"] + kinds["truncated"] + kinds["unavailable"]) / total < 0.01
    assert kinds["truncated"] / total < 0.01 and (total - kinds["ok"]) / total < 0.015


def test_the_default_world_has_albums_enough_to_test_on() -> None:
    splits = build_world(WorldConfig()).splits
    assert {split: len(albums) for split, albums in splits.items()} == {"train": 251, "val": 31, "test": 58}


def test_a_rotated_photo_comes_out_upright() -> None:
    picture = draw_picture(Scene(4, 0, "beach", "jumping", "waves", 1, "sunny", 2), "any")
    stored = photo_bytes(picture, "rotated")
    assert stored is not None
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(stored[1])))
    difference = np.abs(np.asarray(upright, float) - np.asarray(picture, float))
    assert difference.mean() < 4


def test_a_second_call_does_nothing(world_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {path: path.stat().st_mtime_ns for path in world_folder.rglob("*")}
    with caplog.at_level(logging.INFO):
        assert write_world(TINY, world_folder) == world_folder
    assert "nothing to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in world_folder.rglob("*")} == before


def test_other_content_is_left_alone(world_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'seed': 3.*choose another folder or delete"):
        write_world(WorldConfig(albums=24, seed=5, workers=1), world_folder)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="other content"):
        write_world(TINY, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.storyworld.generate.draw_photos", lambda *task: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_world(TINY, tmp_path / "world")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"albums": 2}, {"seed": -1}, {"tags": "some"}, {"workers": -1}])
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        WorldConfig(**wrong)


def test_drawing_is_fast(tmp_path: Path) -> None:
    """At least 60 photos a second of one core's time; three tries, as other programs may disturb."""
    photos = [photo for album in build_world(TINY).splits["train"] for photo in album.photos][:60]
    rates = []
    for _ in range(3):
        started = time.process_time()
        draw_photos(photos, 3, tmp_path)
        rates.append(len(photos) / (time.process_time() - started))
    assert max(rates) >= 60


def test_pictures_differ_by_place_hero_thing_and_act() -> None:
    base = Scene(0, 0, "kitchen", "cooking", "cup", 1, "sunny", 0)
    others = [replace(base, place="bedroom", detail="bed"), replace(base, hero=1), replace(base, aim=4),
              replace(base, act="eating")]
    reference = np.asarray(draw_picture(base, "seed"), float)
    for other in others:
        changed = np.abs(np.asarray(draw_picture(other, "seed"), float) - reference).max(axis=2) > 40
        assert changed.mean() > 0.01, other
