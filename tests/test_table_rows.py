"""Units, captions, tags, alignment and the oracle: what one row of the table is scored on."""
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from data.folder.folder import Features
from evaluate.baselines.oracle import believed_candidates
from evaluate.captions.caption_scores import CaptionScorer, score_surprise
from evaluate.evaluation.scoring import compare_rows
from evaluate.photos.photo_scores import PhotoScorer
from evaluate.photos.retrieval import PhotoSpace
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate
from evaluate.stories.alignment import score_agreement, score_caption_choice
from evaluate.table import SPREAD, describe_result, format_markdown, format_tables
from evaluate.tags.tag_scores import TagGuess, choose_thresholds, describe_left_out, score_tags

ALL_TAGS = np.ones(51, bool)


@pytest.fixture
def split(make_features: Callable[..., Path]) -> EvaluatedSplit:
    """Seven units of two stories each and one story alone."""
    return EvaluatedSplit(Features.open(make_features(stories={"train": 4, "test": 15})), "default", "test")


def test_units_are_photo_sequences_and_weigh_the_same(split):
    assert split.units.num_units == 8
    assert split.units.weight.tolist() == [0.5] * 14 + [1.0] and split.units.weight.sum() == 8
    assert [stories.tolist() for stories in split.units.stories_of()][:2] == [[0, 1], [2, 3]]


def test_caption_scores_are_those_of_pycocoevalcap(split):
    alone = EvaluatedSplit(split.features, "default", "test")
    alone.units.unit[:] = np.arange(15)  # one story a unit: then the reference code can be asked
    alone.units.weight[:] = 1.0
    random = np.random.default_rng(0)
    written = [list(random.choice(split.words.vocabulary[4:], 6)) for _ in range(15)]
    found = CaptionScorer(alone, 4, {"model": written}).score("model")
    references = {index: [" ".join(words[4])] for index, words in enumerate(alone.caption_words)}
    candidates = {index: [" ".join(words)] for index, words in enumerate(written)}
    assert found["cider"].draws[0] == pytest.approx(Cider().compute_score(references, candidates)[0])
    bleu = Bleu(4).compute_score(references, candidates, verbose=0)[0]
    assert [found[f"bleu_{order}"].draws[0] for order in (1, 2, 3, 4)] == pytest.approx(bleu)


def test_a_caption_is_scored_against_all_stories_of_its_unit(split):
    swapped = [split.caption_words[story ^ 1 if story < 14 else story][4] for story in range(15)]
    found = CaptionScorer(split, 4, {"model": swapped}).score("model")
    assert found["bleu_1"].draws[0] == pytest.approx(1.0) and found["bleu_1"].n == 8


def test_humans_are_scored_against_the_others_only(split):
    own = [captions[4] for captions in split.caption_words]
    scores = CaptionScorer(split, 4, {"model": own}).score_humans("model")
    assert scores["human"]["bleu_1"].draws[0] < 1 and scores["human"]["bleu_1"].n == 7  # the lone story has no others
    for metric, estimate in scores["human"].items():  # a model that writes what people wrote scores as they do
        np.testing.assert_allclose(estimate.draws, scores["model, scored as human"][metric].draws)
    lone = EvaluatedSplit(split.features, "default", "test", limit=1)
    assert not CaptionScorer(lone, 4, {"model": own[:1]}).score_humans("model")


def test_perplexity_counts_real_words_and_the_end_once(split):
    nll = np.linspace(5, 20, 15)
    tokens = (split.token[:, 4] != 0).sum(axis=1) - 1
    found = score_surprise(split, 4, nll)
    assert found["perplexity"].draws[0] == pytest.approx(np.exp(nll.sum() / tokens.sum()))
    assert found["perplexity_word"].draws[0] == pytest.approx(np.exp(nll.sum() / (tokens - 1).sum()))
    assert found["unknown_share"].draws[0] == 0 and "perplexity_known" not in found
    split.num_unknown[:, 4] = [2, 1] + [0] * 13
    known = nll - split.num_unknown[:, 4] * 2.5
    found = score_surprise(split, 4, nll, known)
    assert found["perplexity_known"].draws[0] == pytest.approx(np.exp(known.sum() / (tokens.sum() - 3)))
    known[:2] = np.nan
    told = score_surprise(split, 4, nll, known)["perplexity_known"]
    assert told.draws[0] == pytest.approx(np.exp(nll[2:].sum() / tokens[2:].sum())) and told.n == 13


def test_a_cut_caption_counts_the_words_it_kept(split):
    long = [list(captions) for captions in split.caption_words]
    long[0][4] = ["dog"] * 40
    split.__dict__["caption_words"] = long
    captions = list(split.units.captions)
    captions[0] = (*captions[0][:4], " ".join(["dog"] * 40))
    split.units.captions[:] = captions
    split.num_tokens[0, 4] = 29
    assert split.num_raw_words[0, 4] == 28


def test_undescribed_frames_stand_apart(split):
    tags = TagGuess(split.tag[:, 4].astype(float), split.tag[:, 4].astype(bool))
    assert not any("undescribed" in name for name in score_tags(split, "next", 4, tags, ALL_TAGS))
    split.tag_source[:6] = 3
    found = score_tags(split, "next", 4, tags, ALL_TAGS)
    assert found["tags_next.hamming"].n == 3 and found["tags_next.undescribed.hamming"].n == 5


def test_thresholds_come_from_all_t_together(split):
    guesses = {t: TagGuess(split.tag[:, t] * 0.2 + 0.1) for t in (1, 2, 3, 4)}
    thresholds = choose_thresholds(split, guesses, ALL_TAGS)
    occurring = split.tag[:, 1:].any(axis=(0, 1))
    occurring[:2] = False
    found = guesses[4].decide(thresholds).predicted[:, occurring]
    assert (found == split.tag[:, 4][:, occurring].astype(bool)).all()
    assert choose_thresholds(split, {1: TagGuess(None, guesses[1].probs > 0)}, ALL_TAGS) is None


def test_no_story_is_decided_by_thresholds_that_were_tuned_on_it(split):
    guesses = {t: TagGuess(np.random.default_rng(t).random(split.tag[:, t].shape)) for t in (1, 4)}
    before = choose_thresholds(split, guesses, ALL_TAGS, cross_fit=True)
    assert before.shape == (len(split), 51) and len(np.unique(before, axis=0)) == 2
    own = split.resamples.album == split.resamples.album[0]
    mine = (before == before[0]).all(axis=1)  # the half of the first story: albums stay together
    assert mine[own].all() and not mine.all()
    split.tag[mine] = 1 - split.tag[mine]     # other truths in this half
    after = choose_thresholds(split, guesses, ALL_TAGS, cross_fit=True)
    assert (after[mine] == before[mine]).all() and (after[~mine] != before[~mine]).any()


def test_a_tag_that_is_left_out_is_never_predicted(split):
    guesses = {4: TagGuess(np.ones(split.tag[:, 4].shape))}
    counted = np.arange(51) != 7
    found = guesses[4].decide(choose_thresholds(split, guesses, counted)).predicted
    assert not found[:, 7].any() and found[:, 8].all()
    assert describe_left_out(split, ALL_TAGS) == []
    assert split.words.tag_names[7] in describe_left_out(split, counted)[0]


def test_agreement_by_hand(split):
    split.tag[:] = np.arange(51) == 7  # what the split says of every photo
    predicted = np.zeros((15, 51), bool)
    predicted[:, [7, 9]] = True
    table = SimpleNamespace(tags_of_many=lambda written: np.eye(51)[[9] * len(written)])
    result = SimpleNamespace(retrieved=np.full((15, 5), split.units.photo[0, 0]))
    found = score_agreement(split, table, predicted, [["x"]] * 15, result)
    assert {name.partition(".")[2]: estimate.draws[0] for name, estimate in found.items()} == pytest.approx(
        {"predicted_written": 2 / 3, "predicted_retrieved": 2 / 3, "written_retrieved": 0})
    assert set(score_agreement(split, None, predicted, [["x"]] * 15, result)) == {"agreement.predicted_retrieved"}


def test_a_photo_that_says_its_caption_is_chosen(split):
    linear = SimpleNamespace(words=np.eye(20, dtype=np.float32), bags=lambda ids: np.eye(20)[ids[:, 0]])
    split.token[:, 4, 0] = np.arange(15)  # as if each caption had one word of its own
    right, wrong = np.eye(20, dtype=np.float32)[:15], np.eye(20, dtype=np.float32)[15 - np.arange(15)]
    assert score_caption_choice(split, linear, right, 4).draws[0] == 1.0
    assert score_caption_choice(split, linear, wrong, 4).draws[0] < 0.5


@pytest.fixture
def scorer(split):
    return PhotoScorer(split, PhotoSpace(split.features, np.full(16, 3.0), np.full(16, 2.0)))


def test_a_perfect_prediction_is_perfect(split, scorer):
    result = scorer.score(scorer.space.read(split.units.photo[:, 4]), 4)
    value = {name: estimate.draws[0] for name, estimate in result.estimates.items()}
    assert value["mse"] == value["mse_raw"] == 0 and value["cosine"] == pytest.approx(1)
    assert value["r1_all"] == value["1_of_5"] == value["mrr_all"] == value["median_rank_all"] == 1
    assert result.retrieved[:, 0].tolist() == split.units.photo[:, 4].tolist()
    assert "r1_album" in value and np.isnan(value["r1_album"])  # an album of five photos: only the target is left
    early = scorer.score(scorer.space.read(split.units.photo[:, 1]), 1)
    assert early.estimates["r1_album"].draws[0] == 1 and early.estimates["r1_album"].n == 8


def test_errors_in_both_spaces_by_hand(split, scorer):
    found = scorer.score(scorer.space.read(split.units.photo[:, 4]) + 0.5, 4).estimates
    assert found["mse"].draws[0] == pytest.approx(0.25) and found["mse_raw"].draws[0] == pytest.approx(0.25 * 4)
    true = split.features.feature.take(split.units.photo[:, 4]).astype(float)
    predicted = true + 1.0  # half a deviation of 2

    def cosine(first, second):
        return ((first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1))
    weight = split.units.weight / 8
    assert found["cosine"].draws[0] == pytest.approx(cosine(predicted, true) @ weight, abs=1e-5)
    assert found["cosine_centred"].draws[0] == pytest.approx(cosine(predicted - 3, true - 3) @ weight, abs=1e-5)


def test_chance_by_hand(split, scorer):
    chance = {name: estimate.draws[0] for name, estimate in scorer.chance(4).items()}
    assert chance["1_of_5"] == pytest.approx(0.2) and chance["r1_all"] == pytest.approx(1 / 36)
    assert chance["r10_all"] == pytest.approx(10 / 36) and chance["median_rank_all"] == 18.5  # 40 photos less 4 inputs
    assert chance["mrr_all"] == pytest.approx(sum(1 / rank for rank in range(1, 37)) / 36)
    assert scorer.chance(1)["r1_album"].draws[0] == pytest.approx(1 / 4)


def test_whoever_knows_nothing_scores_chance_in_every_metric(split, scorer):
    for t in (1, 2, 3, 4):
        chance = scorer.chance(t)
        for found in (scorer.score(np.zeros((15, 16), np.float32), t), scorer.score_beliefs([{}] * 15, t)):
            for metric, expected in chance.items():
                np.testing.assert_allclose(found.estimates[metric].draws, expected.draws, err_msg=metric)


@pytest.mark.parametrize("same_for_all", [True, False])
def test_predictions_that_say_nothing_of_the_story_score_chance_on_average(make_features, same_for_all):
    many = EvaluatedSplit(Features.open(make_features(stories={"test": 80}, stories_per_album=1)), "default", "test")
    scorer = PhotoScorer(many, PhotoSpace(many.features, np.full(16, 3.0), np.full(16, 2.0)))
    random = np.random.default_rng(0)
    metrics = ("r10_all", "mrr_all", "1_of_5", "1_of_100", "r5_all")
    draws = []
    for _ in range(30):
        predicted = random.standard_normal((1 if same_for_all else 80, 16)).astype(np.float32)
        estimates = scorer.score(np.broadcast_to(predicted, (80, 16)), 4).estimates
        draws.append([estimates[metric].draws[0] for metric in metrics])
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0) / 30 ** 0.5
    chance = np.array([scorer.chance(4)[metric].draws[0] for metric in metrics])
    assert (np.abs(mean - chance) < 4 * error + 1e-3).all(), dict(zip(metrics, zip(mean, chance)))


def test_words_that_say_nothing_choose_captions_by_chance(split):
    linear = SimpleNamespace(words=np.eye(20, dtype=np.float32), bags=lambda ids: np.eye(20)[ids[:, 0]])
    assert score_caption_choice(split, linear, np.zeros((15, 20), np.float32), 4).draws[0] == pytest.approx(0.2)


def test_a_constant_tag_guess_has_the_prevalence_as_its_precision(split):
    found = score_tags(split, "next", 4, TagGuess(np.full(split.tag[:, 4].shape, 0.3), split.tag[:, 4] > 0),
                       np.ones(split.tag.shape[-1], bool), per_tag=True)
    told = 2 + np.flatnonzero(split.tag[:, 4, 2:].any(axis=0))[:5]
    assert len(told) == 5
    for column in told:
        prevalence = (split.tag[:, 4, column] * split.units.weight).sum() / split.units.weight.sum()
        assert found[f"tags_next.ap.{split.words.tag_names[column]}"].draws[0] == pytest.approx(prevalence)


def test_beliefs_rank_as_the_oracle_means_them(split, scorer):
    target = split.candidate[:, 4]
    sure = [{int(wanted): 1.0} for wanted in target]
    assert scorer.score_beliefs(sure, 4).estimates["r1_all"].draws[0] == 1
    torn = [{int(wanted): 0.5, int(target[(story + 4) % 15]): 0.5} for story, wanted in enumerate(target)]
    assert scorer.score_beliefs(torn, 4).ranks["all"].mean.tolist() == [1.5] * 15
    ignorant = scorer.score_beliefs([{}] * 15, 4)
    assert ignorant.ranks["all"].mean.tolist() == [18.5] * 15 and set(ignorant.ranks["1_of_5"].mean) == {3.0}
    own = [{int(split.candidate[story, 0]): 0.9, int(wanted): 0.1} for story, wanted in enumerate(target)]
    assert scorer.score_beliefs(own, 4).ranks["all"].mean.tolist() == [1.0] * 15  # an own input takes no place


def test_believed_photos_become_candidates(split):
    photo_ids = [photo_id.decode() for photo_id in split.features.photo_id.all()]
    row = int(split.units.photo[0, 4])
    assert believed_candidates(split, {photo_ids[row]: 0.7, "unknown": 0.2, photo_ids[0]: 0.1}) == {
        int(split.candidates.of_photo[row]): 0.7}


def test_verdicts_know_which_way_is_better():
    def estimate(value, spread):
        return Estimate(np.concatenate([[value], value + spread]), 30)
    spread = np.linspace(-0.1, 0.1, 101)
    scores = {"model": {"mse": estimate(1.0, spread * 0), "cider": estimate(1.0, spread * 0),
                        "length": estimate(1, spread)},
              "other": {"mse": estimate(2.0, spread), "cider": estimate(2.0, spread), "length": estimate(2, spread)},
              "same": {"mse": estimate(1.05, spread)}}
    found = compare_rows(scores)
    assert found["other"]["mse"]["better"] is True and found["other"]["cider"]["better"] is False
    assert found["same"]["mse"]["better"] is None and "length" not in found["other"]
    assert found["other"]["mse"]["value"] == -1.0


def test_the_table_marks_what_is_beaten_and_says_it():
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 30}
    evaluation = {"rows": {"copy last frame": {"r1_album": score}, "model": {"r1_album": score},
                           "train mean": {"r1_album": score}},
                  "differences": {"copy last frame": {"r1_album": {**score, "better": True}},
                                  "train mean": {"r1_album": {**score, "better": None}}},
                  "protocol": {"albums": 30, "intervals": {"drawn": True}}}
    table = format_tables(evaluation, 100).splitlines()
    assert [line.split("  ")[0] for line in table[2:]] == ["model", SPREAD, "train mean", "copy last frame"]
    assert [line.split()[-1] for line in table[2:]] == ["0.500", "0.100", "0.500", "0.500+"]
    full = format_markdown({**evaluation, "protocol": {**evaluation["protocol"], "notes": ["a caution"]}})
    assert "| copy last frame | 0.500 [0.400, 0.600] + |" in full and "| train mean | 0.500 [0.400, 0.600] |" in full
    assert "Note: a caution." in full and "| R@1 album ↑ |" in full
    assert describe_result(evaluation) == [
        "No baseline is shown to beat the model at any of these.",
        "R@1 album: the model beats 1 of 2 baselines; not told apart from train mean."]


def test_where_a_baseline_wins_is_said_first():
    def score(value):
        return {"value": value, "low": value, "high": value, "n": 30}
    evaluation = {"rows": {"model": {"mrr_all": score(0.042), "mse": score(1.0)},
                           "mean of inputs": {"mrr_all": score(0.486), "mse": score(1.1)},
                           "chance": {"mrr_all": score(0.01)}},
                  "differences": {"mean of inputs": {"mrr_all": {"better": False}, "mse": {"better": True}},
                                  "chance": {"mrr_all": {"better": False}}},
                  "protocol": {"albums": 30, "intervals": {"drawn": True}}}
    assert describe_result(evaluation) == [
        "A baseline beats the model at MRR split (mean of inputs 0.486; model 0.042).",
        "MRR split: the model beats 0 of 1 baselines; worse than mean of inputs.",
        "MSE std.: the model beats the one baseline."]
    assert "chance" in format_tables(evaluation, 100) and "0.486-" in format_tables(evaluation, 100)
