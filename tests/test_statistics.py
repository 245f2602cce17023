"""Where the first fusion layer begins: on whitened principal directions of the train photos, the weak ones included."""
from pathlib import Path

import numpy as np
import torch

from data.folder import Features
from train.batches import StoryDataset
from train.config import make_config
from train.runs import build_model, measure_sizes
from train.statistics import begin_on_principal_directions, measure_features


def test_strong_and_weak_directions_are_read_alike(make_features):
    features = Features.open(Path(make_features(stories={"train": 60}, width=12)))
    config = make_config({"preset": "small"})
    dataset = StoryDataset(features, "train")
    rows = dataset.photo_rows()
    model = build_model(config, measure_sizes(config, features.width, dataset.words))
    model.set_statistics(*measure_features(features, rows, config.std_floor))
    before = model.fusion.first.weight.detach().clone()
    begin_on_principal_directions(model, features, rows, 0, seed=1)
    assert torch.equal(model.fusion.first.weight, before)
    begin_on_principal_directions(model, features, rows, 12, seed=1)
    once = model.fusion.first.weight.detach().clone()
    begin_on_principal_directions(model, features, rows, 12, seed=1)
    assert torch.equal(model.fusion.first.weight, once)
    assert torch.equal(once[:, 12:], before[:, 12:])                      # the captions' half is left alone
    photos = model.standardise(torch.from_numpy(features.feature.take(rows)))
    _, deviation, directions = np.linalg.svd((photos - photos.mean(dim=0)).numpy(), full_matrices=False)
    gain = np.linalg.norm(once[:, :12].numpy() @ directions.T, axis=0) * deviation
    assert gain.max() / gain.min() < 1.6                                   # equal but for the random mixture
