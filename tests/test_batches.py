"""Stories as batches: what is gathered, what is left out, what is refused."""
import numpy as np
import pytest
import torch

from data.errors import UserError
from data.folder.folder import Features
from train.batches import StoryDataset, iterate_batches


def test_a_batch_holds_what_the_folder_holds(make_features):
    features = Features.open(make_features(shard_rows=4))
    dataset = StoryDataset(features, "train")
    batch = dataset.__getitems__([5, 0, 7])
    arrays = features.words().split("train")
    photo = arrays.photo.take(np.array([5, 0, 7]))
    assert batch["image_features"].dtype == torch.float16
    assert np.array_equal(batch["image_features"], features.feature.all()[photo])
    longest = batch["token_ids"].shape[-1]
    tokens = arrays.token.take(np.array([5, 0, 7]))
    assert np.array_equal(batch["token_ids"], tokens[..., :longest]) and not tokens[..., longest:].any()
    assert tokens[..., longest - 1].any()
    assert batch["token_ids"].dtype == torch.int64
    assert np.array_equal(batch["tag_targets"], arrays.tag.take(np.array([5, 0, 7])).astype(np.float32))
    assert batch["tag_source"].dtype == torch.uint8 and batch["story_index"].tolist() == [5, 0, 7]
    assert batch["photo_mask"].all()


@pytest.mark.parametrize("bad", [(0,), (7, 29)])
def test_missing_photos_drop_their_stories_or_are_masked(make_features, bad):
    features = Features.open(make_features(bad_photos=bad))
    dropped, masked = StoryDataset(features, "train"), StoryDataset(features, "train", missing="mask")
    albums = {row // 5 for row in bad}
    assert len(masked) == 12 and len(dropped) == 12 - 2 * len(albums)
    assert dropped.num_dropped == 2 * len(albums)
    batch = masked.__getitems__(range(12))
    assert int((~batch["photo_mask"]).sum()) == 2 * len(bad)
    assert not batch["image_features"][~batch["photo_mask"]].any()
    assert not set(bad) & set(masked.photo_rows())


def test_photos_of_one_content_have_one_number(make_features):
    """Two unreadable photos stand for any two of equal bytes: their content is the same."""
    masked = StoryDataset(Features.open(make_features(bad_photos=(7, 29))), "train", missing="mask")
    content, rows = masked.__getitems__(range(12))["content"], np.asarray(masked.arrays.photo.all())
    numbers = {int(row): int(number) for row, number in zip(rows.ravel(), content.ravel())}
    assert numbers[7] == numbers[29] and len(set(numbers.values())) == len(numbers) - 1


def test_a_share_of_the_albums_is_seeded_and_part_of_a_larger_share(make_features):
    features = Features.open(make_features(stories={"train": 40, "val": 2, "test": 2}))

    def drawn(fraction, seed=42):
        return set(StoryDataset(features, "train", fraction=fraction, seed=seed).story_rows.tolist())

    assert drawn(0.25) < drawn(0.5) < drawn(1.0) and len(drawn(0.5)) == 20
    assert drawn(0.5) == drawn(0.5) and drawn(0.5) != drawn(0.5, seed=1)
    albums = {row // 2 for row in drawn(0.5)}
    assert drawn(0.5) == {row for album in albums for row in (2 * album, 2 * album + 1)}
    assert len(StoryDataset(features, "train", limit=7)) == 7


def test_batches_cover_every_story_once(make_features):
    dataset = StoryDataset(Features.open(make_features()), "train")
    seen = torch.cat([batch["story_index"] for batch in iterate_batches(dataset, 5)])
    assert seen.tolist() == list(range(12))


def test_a_split_that_is_not_there_is_named(make_features):
    features = Features.open(make_features(stories={"train": 4, "val": 2}))
    with pytest.raises(UserError, match="'test'.*train, val"):
        StoryDataset(features, "test")
