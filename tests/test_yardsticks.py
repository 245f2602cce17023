"""Nobody trains blind: what who learned nothing scores, how long training is, what begins where."""
import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss

from data.folder.folder import Features
from data.words.tokens import find_rare_words
from tests.tiny_training import SIZES
from train.augment import hide_rare_words
from train.batches import StoryDataset
from train.config import make_config
from train.criterion import StoryCriterion
from train.prepare import fit_to_stories
from train.run_folder.runs import build_model, measure_sizes
from train.start.beginnings import PENALTIES, SCALES, begin_on_probe, begin_on_tag_shares, measure_tag_shares
from train.start.statistics import measure_features
from train.yardsticks import count_words, list_unlearned, measure_yardsticks


@pytest.fixture
def opened(make_features):
    features = Features.open(make_features(bad_photos=(4,)))
    train, val = (StoryDataset(features, split, missing="mask") for split in ("train", "val"))
    config = make_config(SIZES)
    torch.manual_seed(0)
    model = build_model(config, measure_sizes(config, features.width, train.words)).eval()
    model.set_statistics(*measure_features(features, train.photo_rows(), config.std_floor))
    return model, config, train, val


def test_yardsticks_are_what_they_say(opened):
    model, config, train, val = opened
    found = measure_yardsticks(StoryCriterion(config, model), train, val)
    batch = val.__getitems__(range(len(val)))
    photos = model.standardise(batch["image_features"]) * batch["photo_mask"].unsqueeze(-1)
    asked = batch["photo_mask"][:, 1:]
    assert found["image"]["mean"] == pytest.approx(photos[:, 1:].square().mean(dim=-1)[asked].mean().item(), rel=1e-5)
    gap = (photos[:, :-1] - photos[:, 1:]).square().mean(dim=-1)
    assert found["image"]["copy"] == pytest.approx(gap[asked].mean().item(), rel=1e-5)
    counts = count_words(train.arrays.token.all(), len(train.words.vocabulary), config.rare_as_unknown)
    told = batch["token_ids"][:, 1:, 1:]
    log_shares = torch.from_numpy(np.log((counts + 0.5) / (counts + 0.5).sum()))
    assert found["text"]["unigram"] == pytest.approx(-log_shares[told[told != 0]].mean().item(), rel=1e-6)
    assert set(found) == {"image", "text", "tag_seen", "tag_next"} and found["tag_next"]["prior"] > 0


def test_tags_that_begin_on_their_shares_score_as_the_yardstick_before_the_first_step(opened):
    model, config, train, val = opened
    begin_on_tag_shares(model, train)
    for layer in (model.seen_head[-1], model.next_head[-1]):
        torch.nn.init.zeros_(layer.weight)
    criterion = StoryCriterion(config, model)
    batch = val.__getitems__(range(len(val)))
    with torch.no_grad():
        terms = criterion(model(batch, padded=False), batch)
    yardsticks = measure_yardsticks(criterion, train, val)
    for term, name in (("tag_seen", "prior"), ("tag_next", "prior")):
        assert (terms[term].sum / terms[term].count).item() == pytest.approx(yardsticks[term][name], rel=1e-3), term
    assert measure_tag_shares(train).isfinite().all()


@pytest.mark.parametrize("val_is", ["like train", "unlike train", "absent"])
def test_the_probe_begins_on_the_ridge_that_makes_val_likeliest(make_features, val_is):
    features = Features.open(make_features(bad_photos=(4,)))
    train, val = (StoryDataset(features, split, missing="mask") for split in ("train", "val"))
    held_out = {"like train": train, "unlike train": val, "absent": None}[val_is]
    config = make_config({**SIZES, "tag_probe": True})
    model = build_model(config, measure_sizes(config, features.width, train.words)).eval()
    model.set_statistics(*measure_features(features, train.photo_rows(), config.std_floor))
    begin = measure_tag_shares(train).numpy()
    share = 1 / (1 + np.exp(-begin))

    def read(dataset):
        batch = dataset.__getitems__(range(len(dataset)))
        is_there = batch["photo_mask"]
        return (model.standardise(batch["image_features"])[is_there].double().numpy(),
                batch["tag_targets"][is_there].double().numpy())
    photos, tags = read(train)
    found = [scale * Ridge(alpha=penalty * len(photos), fit_intercept=False).fit(photos, tags - share).coef_.T
             / (share * (1 - share)) for penalty in PENALTIES for scale in SCALES]
    found.append(0 * found[0])
    place = 0
    if held_out is not None:
        told, true = read(held_out)
        losses = [sum(log_loss(true[:, tag], expit(begin[tag] + told @ weight[:, tag]), labels=[0, 1])
                      for tag in np.flatnonzero(model.counted_tags)) for weight in found]
        place = int(np.argmin(losses))
    assert (place != 0) == (val_is != "absent"), "or else this test cannot tell"
    begin_on_probe(model, train, held_out)
    np.testing.assert_allclose(model.seen_probe.weight.detach().numpy().T, found[place],
                               rtol=1e-3, atol=1e-4)


def test_a_head_that_learned_nothing_is_told_in_a_sentence():
    yardsticks = {"image": {"mean": 1.0, "copy": 1.4}, "text": {"unigram": 6.0}, "tag_seen": {"prior": 0.2}}
    told = list_unlearned({"image": 0.996, "text": 4.0, "tag_seen": 0.21, "tag_next": None}, yardsticks)
    assert len(told) == 2 and "next photo: nothing learned" in told[0]
    assert "0.9960 against 1.0000 of the mean" in told[0]
    assert "tags seen" in told[1] and "prior" in told[1]


@pytest.mark.parametrize("settings, stories, expected", [
    (dict(preset="paper"), 100, (10, 10, 5)),
    (dict(epochs=8, steps=1000, early_stopping=3, patience_steps=100, plateau_patience=1), 160, (100, 10, 3)),
    (dict(epochs=8, steps=1000, early_stopping=3, patience_steps=100, plateau_patience=1), 40_000, (8, 3, 1)),
    (dict(epochs=6, steps=60, curriculum=0.5), 160, (8, 10, 5))])
def test_length_fits_the_number_of_stories(settings, stories, expected):
    config = make_config({"preset": "paper", **settings})
    length = fit_to_stories(config, stories)
    assert (length["epochs"], length["early_stopping"], length["plateau_patience"]) == expected


def test_words_that_occur_once_stand_as_unknown_now_and_then():
    token_ids = torch.tensor([[[1, 5, 6, 5, 2, 0], [1, 7, 2, 0, 0, 0]]])
    rare = find_rare_words(token_ids.numpy(), 9)
    assert np.flatnonzero(rare).tolist() == [6, 7]
    torch.manual_seed(0)
    drawn = torch.stack([hide_rare_words(token_ids, torch.from_numpy(rare), 0.5) for _ in range(400)])
    hidden = (drawn == 3).float().mean(dim=0)
    assert hidden[0, 0, 2].item() == pytest.approx(0.5, abs=0.1) == hidden[0, 1, 1].item()
    hidden[0, 0, 2] = hidden[0, 1, 1] = 0
    assert not hidden.any() and count_words(token_ids.numpy(), 9, 0.5).tolist() == [0, 0, 2, 1, 0, 2, 0.5, 0.5, 0]


@pytest.mark.parametrize("stories, dropout, context_dropout", [(100, 0.5, 0.5), (250, 0.5, 0.5), (500, 0.35, 0.25),
                                                               (25_000, 0.203, 0.005)])
def test_more_is_dropped_where_stories_are_few(stories, dropout, context_dropout):
    config = make_config({"preset": "paper", "dropout": 0.2, "few_dropout": 0.5})
    found = fit_to_stories(config, stories)
    assert (found["dropout"], found["context_dropout"]) == pytest.approx((dropout, context_dropout))
    assert fit_to_stories(make_config({"preset": "paper"}), stories)["dropout"] == 0.3
