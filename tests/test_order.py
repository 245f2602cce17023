"""The order of stories: complete, seeded, split without overlap, and near on disk where it has to be."""
import numpy as np
import pytest

from train.order import draw_curriculum, share_batch, shuffle_stories


@pytest.mark.parametrize("count, block, window", [(1, 0, 1), (100, 0, 1), (1003, 16, 4), (64, 16, 4), (65, 16, 4)])
def test_an_epoch_holds_every_story_once_and_another_epoch_another_order(count, block, window):
    order = shuffle_stories(count, 42, 1, block, window)
    assert sorted(order) == list(range(count))
    assert np.array_equal(order, shuffle_stories(count, 42, 1, block, window))
    if count > 1:
        assert not np.array_equal(order, shuffle_stories(count, 42, 2, block, window))
        assert not np.array_equal(order, shuffle_stories(count, 43, 1, block, window))


def test_a_window_of_the_block_shuffle_lies_in_few_places_and_is_well_mixed():
    order = shuffle_stories(10_000, 42, 1, block=100, window=5)
    places = {int(story) // 100 for story in order[:490]}
    assert len(places) <= 10, "five blocks, each over at most two hundreds"
    assert np.abs(np.diff(order[:490])).mean() > 500
    assert len({int(story) // 100 for story in order[:64]}) > 3, "one batch draws from all blocks of its window"


def test_neighbours_at_the_edge_of_a_block_do_not_stay_apart():
    together = 0
    for epoch in range(20):
        place = np.argsort(shuffle_stories(1000, 42, epoch, block=10, window=2))
        together += abs(int(place[9]) - int(place[10])) < 25
    assert together > 10


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_a_batch_without_overlap_or_loss(world):
    batch = np.arange(16)
    shares = [share_batch(batch, rank, world) for rank in range(world)]
    assert sorted(np.concatenate(shares)) == list(range(16))


def test_the_curriculum_begins_with_the_shortest_and_ends_with_all():
    lengths = np.random.default_rng(0).permutation(100)
    sizes = [len(draw_curriculum(lengths, epoch, 10, 0.5)) for epoch in range(1, 11)]
    assert sizes == sorted(sizes) and sizes[0] == 30 and sizes[5:] == [100] * 5
    assert lengths[draw_curriculum(lengths, 1, 10, 0.5)].max() == 29
    assert len(draw_curriculum(lengths, 1, 10, 0.0)) == 100
