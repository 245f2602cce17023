"""Each loss against a value worked out apart, and what padding and missing photos must not change."""
import pytest
import torch
from torch.nn import functional as F

from train.config import TrainConfig
from train.criterion import StoryCriterion
from train.model.story_model import StoryModel

WIDTHS = dict(embedding_dim=6, text_dim=5, fusion_dim=8, hidden_dim=8, attention_heads=2, tag_head_dim=7,
              tag_embedding_dim=3, image_decoder_dim=9, decoder_dim=8)
D, V, G = 11, 13, 9


@pytest.fixture
def model() -> StoryModel:
    torch.manual_seed(0)
    model = StoryModel(TrainConfig(**WIDTHS), D, V, G, left_out_tags=(4,)).eval()
    model.set_statistics(torch.full((D,), 3.0), torch.linspace(0.5, 2, D))
    return model


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    token_ids = torch.tensor([[[1, 5, 6, 2], [1, 7, 2, 0], [1, 8, 9, 2], [1, 4, 2, 0], [1, 12, 2, 0]]] * 2)
    return {"image_features": torch.randn(2, 5, D, generator=generator).half(),
            "photo_mask": torch.tensor([[True] * 5, [True, False, True, True, False]]), "token_ids": token_ids,
            "content": torch.arange(10).view(2, 5),
            "tag_source": torch.tensor([[3] * 5, [1, 3, 1, 1, 3]], dtype=torch.uint8),
            "tag_targets": torch.randint(0, 2, (2, 5, G), generator=generator).float()}


def mean(term) -> torch.Tensor:
    return term.sum / term.count


def test_the_image_loss_is_a_mean_over_frames_that_have_a_photo(model, batch):
    outputs = model(batch, padded=False)
    terms = StoryCriterion(TrainConfig(**WIDTHS), model)
    target = (batch["image_features"][:, 1:].float() - 3) / torch.linspace(0.5, 2, D)
    valid = batch["photo_mask"][:, 1:]
    expected = F.mse_loss(outputs["predicted_features"][valid], target[valid])
    torch.testing.assert_close(mean(terms.image_loss(outputs, batch)), expected)
    raw = F.mse_loss(model.unstandardise(outputs["predicted_features"])[valid],
                     batch["image_features"][:, 1:][valid].float())
    torch.testing.assert_close(mean(terms.raw_image_error(outputs, batch)), raw)
    assert int(terms.image_loss(outputs, batch).count) == 6


def test_the_text_loss_is_a_mean_over_real_words_and_the_end(model, batch):
    outputs = model(batch)
    targets = batch["token_ids"][:, 1:, 1:]
    expected = F.cross_entropy(outputs["caption_logits"].flatten(0, 2), targets.flatten(), ignore_index=0)
    term = StoryCriterion(TrainConfig(**WIDTHS), model).text_loss(model(batch, padded=False))
    torch.testing.assert_close(mean(term), expected)
    assert int(term.count) == 2 * (2 + 3 + 2 + 2)


def test_padding_does_not_change_a_loss(model, batch):
    terms = StoryCriterion(TrainConfig(**WIDTHS, contrastive_weight=1.0), model)
    longer = {**batch, "token_ids": F.pad(batch["token_ids"], (0, 5))}
    for name, term in terms(model(batch, padded=False), batch).items():
        assert torch.equal(term.sum, terms(model(longer, padded=False), longer)[name].sum), name


def test_tag_losses_leave_out_what_does_not_count(model, batch):
    outputs = model(batch, padded=False)
    terms = StoryCriterion(TrainConfig(**WIDTHS), model)(outputs, batch)
    counted = [column for column in range(2, G) if column != 4]
    ahead = F.binary_cross_entropy_with_logits(outputs["next_logits"][..., counted],
                                               batch["tag_targets"][:, 1:][..., counted])
    torch.testing.assert_close(mean(terms["tag_next"]), ahead)
    seen = batch["photo_mask"]
    shown = F.binary_cross_entropy_with_logits(outputs["seen_logits"][seen][:, counted],
                                               batch["tag_targets"][seen][:, counted])
    torch.testing.assert_close(mean(terms["tag_seen"]), shown)


def test_the_total_weighs_the_terms_and_halves_the_tag_weight(model):
    terms = StoryCriterion(TrainConfig(**WIDTHS, image_weight=2, text_weight=3, tag_weight=0.5), model)
    assert terms.total({"image": 1.0, "text": 1.0, "tag_seen": 1.0, "tag_next": 3.0}) == pytest.approx(2 + 3 + 1)


def test_no_photo_at_all_turns_the_photo_loss_off(model, batch):
    batch["photo_mask"][:] = False
    terms = StoryCriterion(TrainConfig(**WIDTHS), model)(model(batch, padded=False), batch)
    assert int(terms["image"].count) == 0 and float(terms["image"].sum.detach()) == 0
    assert int(terms["text"].count) > 0


def test_the_contrastive_loss_is_least_for_the_true_photo_and_ignores_its_copies(model, batch):
    model.set_statistics(torch.zeros(D), torch.ones(D))
    terms = StoryCriterion(TrainConfig(**WIDTHS, contrastive_weight=1.0, contrastive_temperature=0.02), model)
    true = model.standardise(batch["image_features"][:, 1:])
    right = terms.contrastive_loss({"predicted_features": true}, batch)
    wrong = terms.contrastive_loss({"predicted_features": true.flip(1)}, batch)
    assert float(right.sum) < 0.1 < float(wrong.sum) and int(right.count) == 6
    same = {**batch, "image_features": batch["image_features"][:, :1].expand(2, 5, D).clone()}
    same["image_features"][1] = same["image_features"][0]
    same["content"] = torch.zeros(2, 5, dtype=torch.int64)
    copies = terms.contrastive_loss({"predicted_features": true}, same)
    assert float(copies.sum) == 0, "every other photo is the same one: nothing is left to tell apart"


def test_a_photo_that_nobody_described_teaches_no_absence(model, batch):
    """Frame 1 of the second story has no description (no DII): of its tags the true ones alone count."""
    logits = torch.randn(2, 5, G, generator=torch.Generator().manual_seed(3))
    apart = StoryCriterion(TrainConfig(**WIDTHS), model, described_apart=True)
    found = apart.seen_tag_loss({"seen_logits": logits}, batch)
    counted = model.counted_tags.bool()
    expected = 0.0
    for story, frame in batch["photo_mask"].nonzero().tolist():
        target, described = batch["tag_targets"][story, frame], bool(batch["tag_source"][story, frame] & 2)
        chosen = counted & (torch.tensor(described) | (target > 0))
        expected += F.binary_cross_entropy_with_logits(logits[story, frame][chosen], target[chosen]).item()
    assert found.sum.item() == pytest.approx(expected, rel=1e-5)
    absent = {**batch, "tag_source": torch.full_like(batch["tag_source"], 3)}
    assert apart.seen_tag_loss({"seen_logits": logits}, absent).sum.item() != pytest.approx(expected)
