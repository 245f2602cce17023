"""The fast step computes what the plain one does."""
import pytest
import torch

from tests.benchmarks.training_step import make_batches, make_fast_step, make_plain_step, measure
from train.config import make_config
from train.model.story_model import StoryModel

WIDTHS = dict(embedding_dim=12, text_dim=10, fusion_dim=16, hidden_dim=16, attention_heads=2, tag_head_dim=8,
              tag_embedding_dim=5, image_decoder_dim=16, decoder_dim=16, dropout=0.0, tag_dropout=0.0, lr=1e-2)


@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_five_steps_of_both_lose_the_same(precision, tolerance):
    config, batches = make_config({"preset": "paper", **WIDTHS}), make_batches(1, 3, 24, 40) * 5

    def losses(make_step, *arguments):
        torch.manual_seed(0)
        step = make_step(StoryModel(config, 24, 40, 51), config, *arguments)
        return [step(batch) for batch in batches]

    plain, fast = losses(make_plain_step), losses(make_fast_step, precision)
    assert plain == pytest.approx(fast, rel=tolerance) and plain[-1] < plain[0]


def test_the_benchmark_runs():
    assert set(measure("small", 2, 1, feature_dim=16, vocabulary_size=30)) == {
        "plain float32", "fast float32", "fast bfloat16"}
