"""Augmentation: drawn by a key alone, and what is drawn is what happens to a picture."""
from dataclasses import replace

import numpy as np
import pytest

from data.pictures.augmentation import Augmentation, augment_picture, draw_augmentation

NOTHING = Augmentation(False, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_equal_keys_draw_equally_and_others_otherwise():
    assert draw_augmentation("story", 42, 1, "a") == draw_augmentation("story", 42, 1, "a")
    draws = {draw_augmentation("story", seed, epoch, name) for seed in (1, 2) for epoch in (1, 2) for name in "ab"}
    assert len(draws) == 8 and {drawn.is_flipped for drawn in draws} == {True, False}


def test_a_draw_of_nothing_changes_nothing_and_a_flip_only_flips(picture):
    np.testing.assert_array_equal(augment_picture(picture, NOTHING), picture)
    flipped = augment_picture(picture, replace(NOTHING, is_flipped=True))
    np.testing.assert_array_equal(flipped, picture[:, ::-1])


def test_a_crop_shows_the_part_that_was_drawn(picture):
    corner = augment_picture(picture, replace(NOTHING, crop=0.5, right=1.0, down=-1.0))
    shown = corner.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    others = [picture[:16, :16], picture[16:, :16], picture[16:, 16:]]
    assert all(np.abs(shown - picture[:16, 16:]).mean() < 0.5 * np.abs(shown - other).mean() for other in others)


def test_a_turn_is_anticlockwise():
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[:, None] * 4, 64, axis=1)
    turned = augment_picture(np.stack([ramp] * 3, axis=2), replace(NOTHING, degrees=5.0))[..., 0].astype(int)
    from PIL import Image
    by_pillow = np.asarray(Image.fromarray(ramp).rotate(5, Image.Resampling.BILINEAR)).astype(int)
    assert np.sign(turned[32, 60] - turned[32, 4]) == np.sign(by_pillow[32, 56] - by_pillow[32, 8])


@pytest.mark.parametrize("degrees", [-5.0, 5.0])
@pytest.mark.parametrize("place", [(-1.0, -1.0), (1.0, 1.0), (1.0, -1.0)])
def test_nothing_from_outside_the_picture_is_seen(degrees, place):
    grey = np.full((40, 40, 3), 200, np.uint8)
    drawn = replace(NOTHING, degrees=degrees, right=place[0], down=place[1])
    assert (augment_picture(grey, drawn) == 200).all()


def test_colours_change_by_their_factors():
    grey = np.full((8, 8, 3), 100, np.uint8)
    assert (augment_picture(grey, replace(NOTHING, brightness=1.2)) == 120).all()
    red = np.full((8, 8, 3), (200, 50, 50), np.uint8)
    paler = augment_picture(red, replace(NOTHING, saturation=0.8)).astype(int)[0, 0]
    assert paler[0] < 200 and paler[1] > 50
