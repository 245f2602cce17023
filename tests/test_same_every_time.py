"""Gradients come out equal every time, with several threads too: sizes at which torch shares work among them."""
import pytest
import torch

from train.config import make_config
from train.criterion import StoryCriterion
from train.model.story_model import StoryModel

V, G, D = 400, 51, 256


def make_batch(size: int = 32) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    token_ids = torch.randint(4, V, (size, 5, 16), generator=draw)
    token_ids[torch.arange(16).expand(size, 5, 16) >= torch.randint(6, 17, (size, 5, 1), generator=draw)] = 0
    return {"image_features": torch.randn(size, 5, D, generator=draw).half(),
            "photo_mask": torch.ones(size, 5, dtype=torch.bool), "token_ids": token_ids,
            "tag_targets": (torch.rand(size, 5, G, generator=draw) < 0.1).float(),
            "tag_source": torch.ones(size, 5, dtype=torch.uint8), "content": torch.arange(size * 5).view(size, 5)}


@pytest.mark.parametrize("task", ["next", "tell"])
@pytest.mark.parametrize("preset", ["small", "paper"])
def test_gradients_are_equal_every_time(preset, task):
    """A sum whose order the threads decide differs in the last digit in most of so many tries."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        config = make_config({"preset": preset, "task": task, **({} if preset == "small" else {
            "fusion_dim": 256, "hidden_dim": 256, "decoder_dim": 256, "text_dim": 64, "image_decoder_dim": 256})})
        torch.manual_seed(0)
        model = StoryModel(config, D, V, G)
        criterion, batch, found = StoryCriterion(config, model), make_batch(), []
        for _ in range(6):
            torch.manual_seed(1)
            model.zero_grad()
            total = criterion.total({name: term.sum for name, term in criterion(model(batch, padded=False),
                                                                                batch).items()})
            total.backward()
            found.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))
