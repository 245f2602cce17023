"""A training step never waits for its device: on `meta` nothing can be read back, so a step that tried would fail."""
import contextlib

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from train import trainer
from train.config import make_config
from train.distributed import World
from train.model.story_model import StoryModel

V, G, D = 50, 51, 32


class Stories:
    """A dataset of random stories with captions of different lengths."""

    def __getitems__(self, indices):
        n, draw = len(indices), torch.Generator().manual_seed(0)
        token_ids = torch.randint(4, V, (n, 5, 9), generator=draw)
        length = torch.randint(3, 10, (n, 5, 1), generator=draw)
        token_ids[torch.arange(9).expand(n, 5, 9) >= length] = 0
        return {"image_features": torch.randn(n, 5, D).half(), "photo_mask": torch.rand(n, 5) < 0.9,
                "token_ids": token_ids, "tag_targets": (torch.rand(n, 5, G) < 0.1).float(),
                "tag_source": torch.ones(n, 5, dtype=torch.uint8), "content": torch.arange(n * 5).view(n, 5),
                "story_index": torch.arange(n)}


class Copies(TorchDispatchMode):
    """Counts copies from the CPU to the device, and those of them that wait."""

    def __init__(self):
        super().__init__()
        self.count, self.waiting = 0, []

    def __torch_dispatch__(self, function, types, arguments=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.ops.aten._to_copy.default and str(kwargs.get("device")) == "meta":
            self.count += 1
            if not kwargs.get("non_blocking"):
                self.waiting.append(arguments[0].shape)
        return function(*arguments, **kwargs)


@pytest.fixture
def on_meta(monkeypatch):
    """What the device `meta` lacks: autocast, and a fused Adam."""
    adam = torch.optim.Adam
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **settings: contextlib.nullcontext())
    monkeypatch.setattr(torch.optim, "Adam", lambda *arguments, fused, **settings: adam(*arguments, **settings))


@pytest.mark.parametrize("settings", [
    dict(preset="base"), dict(preset="paper", word_dropout=0.1), dict(preset="base", word_attention=True),
    dict(preset="base", scheduled_sampling=0.5), dict(preset="base", task="tell")],
    ids=lambda settings: "-".join(map(str, settings.values())))
def test_steps_wait_for_nothing(on_meta, settings):
    config = make_config({**settings, "precision": "float32"})
    with torch.device("meta"):
        model = StoryModel(config, D, V, G)
    rare = torch.arange(V) % 7 == 6
    training = trainer.Trainer(config, model, World(0, 1, torch.device("meta")), "float32", rare=rare)
    with Copies() as copies:
        for step in (1, 2):
            training.step(Stories(), np.arange(6), 2, step)
    assert copies.count >= 2 and not copies.waiting


def test_a_look_at_the_losses_would_be_noticed(on_meta, monkeypatch):
    monkeypatch.setattr(trainer, "CHECK_EVERY", 5)
    config = make_config({"preset": "paper", "precision": "float32"})
    with torch.device("meta"):
        model = StoryModel(config, D, V, G)
    training = trainer.Trainer(config, model, World(0, 1, torch.device("meta")), "float32")
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        training.step(Stories(), np.arange(6), 2, 5)
