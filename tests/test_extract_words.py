"""Word sets of an extracted folder: what they point at, others beside the first, and words of another folder."""
import pytest

from data.errors import UserError
from tests.extraction import dataset, one_matcher, run, snapshot  # noqa: F401
from tests.photo_dataset import photo_id, write_dataset


def test_words_point_at_the_photos_they_were_told_of(dataset, tmp_path):
    features = run(dataset, tmp_path / "f")
    for split in ("train", "val", "test"):
        words = features.words().split(split)
        photos = words.photo.all()
        for row, story_id in enumerate(words.story_id.all()):
            album, story = story_id.decode().rsplit("-", 1)
            expected = [photo_id(split, int(album[-3:]), (int(story) + order) % 7) for order in range(5)]
            assert [features.photo_id.take(photos[row])[k].decode() for k in range(5)] == expected
    assert features.words().info == {split: {"made": split} for split in ("train", "val", "test")}
    assert "dog" in features.words().vocabulary and features.words().tag_names[:2] == ["<PAD>", "<UNK>"]


def test_new_words_open_no_photo(dataset, tmp_path, monkeypatch):
    run(dataset, tmp_path / "f")
    photos = {name: content for name, content in snapshot(tmp_path / "f").items() if name.startswith("photos")}
    from extract.backbones import backbone
    from extract.pipeline import reader
    monkeypatch.setattr(reader, "read_photo", None)
    monkeypatch.setattr(backbone, "build_backbone", None)
    features = run(dataset, tmp_path / "f", "--words", "short", "--caption-length", "6", "--vocabulary-size", "12")
    assert features.word_sets == ["default", "short"] and len(features.words("short").vocabulary) == 12
    assert features.words("short").split("train").token.row_shape == (5, 6)
    assert features.words().split("train").token.row_shape == (5, 30)
    assert {name: content for name, content in snapshot(tmp_path / "f").items() if name.startswith("photos")} == photos


def test_words_of_another_folder_keep_its_identity(dataset, tmp_path):
    first = run(dataset, tmp_path / "f", "--caption-length", "9")
    other = write_dataset(tmp_path / "other", {"test": 2}, seed=5)
    second = run(other, tmp_path / "g", "--words-from", str(tmp_path / "f"))
    assert second.words().identity == first.words().identity
    assert second.words().vocabulary == first.words().vocabulary
    assert second.words().split("test").token.row_shape == (5, 9)
    assert second.words().counts["annotations"].keys() == {"test.story-in-sequence.json"}


def test_the_seed_that_split_the_albums_is_part_of_the_words(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 8}, stories_per_album=1, photos_per_album=5)
    first = run(dataset, tmp_path / "f", "--seed", "1")
    assert first.words().identity["fields"]["split_seed"] == 1
    second = run(dataset, tmp_path / "f", "--seed", "2", "--words", "other").words("other")
    assert second.identity["fields"]["split_seed"] == 2
    with pytest.raises(UserError, match="split by seed 1 .*found --seed 2.*give --seed 1"):
        run(dataset, tmp_path / "g", "--seed", "2", "--words-from", str(tmp_path / "f"))
    assert not (tmp_path / "g/photos").exists()  # said before any photo was looked at
    run(dataset, tmp_path / "g", "--seed", "1", "--words-from", str(tmp_path / "f"))
