"""Caption scores: golden values, agreement with pycocoevalcap, units, resampling, variety, METEOR."""
import json
import shutil

import numpy as np
import pytest

from evaluate.captions.caption_scores import ORIGINAL_NAMES, score_as_original
from evaluate.captions.meteor import MeteorAligner, MeteorUnavailable, best_reference, clean_text, meteor_score
from evaluate.captions.ngrams import TextTable, measure_rows, vocabulary_share
from evaluate.captions.text_scores import score_units

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no java on the PATH: METEOR cannot run")


def draw_corpus(seed, num_units=12, max_references=4, max_hypotheses=3):
    random = np.random.default_rng(seed)
    lexicon = [f"w{index}" for index in range(12)]

    def text():
        return random.choice(lexicon, random.integers(1, 12), p=np.arange(12, 0, -1) / 78).tolist()
    references = [[text() for _ in range(random.integers(1, max_references + 1))] for _ in range(num_units)]
    units = np.repeat(np.arange(num_units), random.integers(1, max_hypotheses + 1, num_units))
    return [text() for _ in units], random.permutation(units), references


def coco_scores(hypotheses, references):
    """pycocoevalcap's corpus scores of one hypothesis per unit."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    truth = {unit: [" ".join(text) for text in texts] for unit, texts in enumerate(references)}
    written = {unit: [" ".join(text)] for unit, text in enumerate(hypotheses)}
    bleu = BleuScorer(n=4)
    for unit in truth:
        bleu += (written[unit][0], truth[unit])
    values = dict(zip(("bleu_1", "bleu_2", "bleu_3", "bleu_4"), bleu.compute_score(option="closest")[0]))
    return {**values, "rouge_l": Rouge().compute_score(truth, written)[0],
            "cider": Cider().compute_score(truth, written)[0]}


def read_golden(golden):
    sets = json.loads((golden / "text_scores.json").read_text())["sets"]
    assert len(sets) >= 3
    for name, content in sets.items():
        units = list(content["references"])
        yield (name, [content["candidates"][unit][0] for unit in units],
               [content["references"][unit] for unit in units], content, units)


def test_golden_scores(golden):
    for name, written, references, content, units in read_golden(golden):
        scored = score_units([text.split() for text in written], range(len(units)),
                             [[text.split() for text in texts] for texts in references])
        values, expected = scored.scores(), content["expected"]
        for order in range(4):
            assert values[f"bleu_{order + 1}"] == pytest.approx(expected[f"Bleu_{order + 1}"], abs=1e-6), name
            assert values[f"bleu_{order + 1}"] == pytest.approx(content["expected_pycocoevalcap_bleu"][order],
                                                                abs=1e-9), name
        assert values["rouge_l"] == pytest.approx(expected["ROUGE_L"], abs=1e-9), name
        assert values["cider"] == pytest.approx(expected["CIDEr"], abs=1e-9), name
        np.testing.assert_allclose(scored.rouge_l, [content["per_item"]["ROUGE_L"][unit] for unit in units], atol=1e-9)
        np.testing.assert_allclose(scored.cider, [content["per_item"]["CIDEr"][unit] for unit in units], atol=1e-9)


def test_values_worked_out_by_hand():
    # unit 0: 3 of 4 words and 2 of 3 bigrams match, the reference is as long; unit 1: nothing matches
    scored = score_units(["a b c x".split(), ["y", "y"]], [0, 1], [["a b c d".split()], [["e", "f"]]])
    values = scored.scores()
    assert values["bleu_1"] == pytest.approx(3 / 6, abs=1e-8)
    assert values["bleu_2"] == pytest.approx((3 / 6 * 2 / 4) ** .5, abs=1e-8)
    assert scored.rouge_l.tolist() == pytest.approx([.75, 0])
    # a repeated word counts as often as the reference has it; the shorter text pays exp(1 - 4 / 2)
    short = score_units([["a", "a"]], [0], [["a b c d".split()]]).scores()
    assert short["bleu_1"] == pytest.approx(.5 * np.exp(-1), abs=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_one_hypothesis_per_unit_scores_as_pycocoevalcap(seed):
    hypotheses, _, references = draw_corpus(seed, num_units=15, max_hypotheses=1)
    ours, theirs = score_units(hypotheses, range(15), references).scores(), coco_scores(hypotheses, references)
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert ours["cider"] > 0 and ours["bleu_4"] > 0


def test_hypotheses_of_a_unit_are_averaged_and_every_unit_weighs_the_same():
    hypotheses, units, references = draw_corpus(5)
    scored = score_units(hypotheses, units, references)
    first = {unit: row for row, unit in reversed(list(enumerate(units)))}
    singles = []
    for row, unit in enumerate(units):  # each hypothesis beside the first ones of the other units: same frequencies
        beside = [hypotheses[first[other]] for other in range(len(references))]
        beside[unit] = hypotheses[row]
        singles.append(score_units(beside, range(len(references)), references))
    for name in ("rouge_l", "cider", "bleu_counts"):
        by_hand = [np.mean([getattr(singles[row], name)[unit] for row in np.flatnonzero(units == unit)], axis=0)
                   for unit in range(len(references))]
        np.testing.assert_allclose(getattr(scored, name), by_hand, atol=1e-12)
    assert scored.scores()["cider"] == pytest.approx(scored.cider.mean(), abs=1e-12)


def test_order_of_stories_and_units_is_irrelevant():
    hypotheses, units, references = draw_corpus(6)
    random = np.random.default_rng(0)
    rows, places = random.permutation(len(hypotheses)), random.permutation(len(references))
    moved = score_units([hypotheses[row] for row in rows], np.argsort(places)[units[rows]],
                        [references[place][::-1] for place in places])
    assert moved.scores() == pytest.approx(score_units(hypotheses, units, references).scores(), abs=1e-12)


def test_resampled_units_score_as_if_they_were_repeated():
    hypotheses, _, references = draw_corpus(7, max_hypotheses=1)
    scored = score_units(hypotheses, range(12), references)
    drawn = np.array([0, 0, 3, 5, 5, 5, 11, 2, 1, 1, 7, 8])
    weights = np.bincount(drawn, minlength=12)
    values = scored.scores(np.stack([weights, np.ones(12)]))
    repeated = score_units([hypotheses[unit] for unit in drawn], range(12), [references[unit] for unit in drawn])
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"):
        assert values[name][0] == pytest.approx(repeated.scores()[name], abs=1e-12)
        assert values[name][1] == pytest.approx(scored.scores()[name], abs=1e-12)
    assert values["cider"][0] == pytest.approx(scored.cider[drawn].mean(), abs=1e-12)  # frequencies of the full set


def test_empty_texts_score_zero_and_stay_in_the_mean():
    values = score_units([[], "a b".split()], [0, 1], [["a b".split()], ["a b".split()]]).scores()
    assert values["rouge_l"] == pytest.approx(.5)
    assert values["bleu_1"] == pytest.approx(np.exp(1 - 4 / 2), abs=1e-8)
    nothing = score_units([[], []], [0, 1], [["a b".split()], ["c d".split()]]).scores()
    assert max(nothing.values()) == 0


@pytest.mark.parametrize("units, references, message", [
    ([0, 0], [[["a"]], [["b"]]], "at least one hypothesis"),
    ([0, 1], [[["a"]], []], "at least one reference"),
    ([0, 2], [[["a"]], [["b"]]], r"expected 0\.\.1"),
])
def test_units_that_cannot_be_scored_are_refused(units, references, message):
    with pytest.raises(ValueError, match=message):
        score_units([["a"], ["b"]], units, references)


def test_common_subsequence_agrees_with_the_textbook():
    random = np.random.default_rng(1)
    for _ in range(200):
        first, second = (random.integers(0, 5, random.integers(0, 20)).astype(str).tolist() for _ in range(2))
        table = np.zeros((len(first) + 1, len(second) + 1), int)
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
        texts = TextTable([first, second])
        assert texts.common_length(0, 1) == texts.common_length(1, 0) == table[-1, -1]


def test_ngrams_do_not_cross_texts():
    counts = TextTable([["a", "b"], [], ["b", "a", "b"]]).counts
    assert [count.sum() for count in counts] == [5, 3, 1, 0]
    assert sorted(counts[1].sum(axis=0).tolist()) == [1, 2]  # "b a" once, "a b" twice


def test_variety_by_hand():
    texts = ["a b c d a b c d".split(), "a b c d e".split(), ["f"]]
    table = TextTable(texts)
    values = measure_rows(table, np.arange(3)) | {
        "vocabulary_share": vocabulary_share(table.words, {"a", "f", "z", "y"})}
    assert values == pytest.approx({
        "distinct_1": 6 / 14, "distinct_2": 5 / 11,
        "repetition": 1 / 7,           # "a b c d" again in the first text; 5 + 2 four-grams in all
        "self_repetition": 3 / 7,      # "a b c d" twice in the first text, once in the second
        "length": 14 / 3, "vocabulary_share": 2 / 4})
    assert measure_rows(TextTable([["a"]]), np.arange(1))["repetition"] is None and vocabulary_share(["a"], ()) is None


def test_the_original_protocol_is_another_number():
    written, captions = ["the dogs ran .".split(), []], ["the dog ran .".split(), ["home", "."]]
    values = score_as_original(written, captions)
    assert tuple(values) == ORIGINAL_NAMES
    assert values["original_rouge_l"].tolist() == [1.0, 0.0]       # stemmed, punctuation stripped
    assert values["original_bleu_1"].tolist() == pytest.approx([.75, 0])
    assert values["original_bleu_2"][0] == pytest.approx((3 / 4 * 1 / 3) ** .5)
    assert 0 < values["original_bleu_4"][0] < 1                    # method 4 smooths the missing four-gram
    with pytest.raises(ValueError, match="expected one for each"):
        score_as_original(written, captions[:1])


AWKWARD = [("a dog ||| ran\nhome", "a dog ran home"), ("", "a dog"), ("a dog", ""), ("caf\u00e9 \udc80 x", "caf\u00e9")]


@needs_java
def test_meteor_agrees_with_the_golden_scores_and_survives_awkward_texts(golden):
    cases = list(read_golden(golden))
    pairs, owner = [], []
    for _, written, references, _, _ in cases:
        for text, texts in zip(written, references):
            pairs += [(text, reference) for reference in texts]
            owner += [1 + max(owner, default=-1)] * len(texts)
    aligned = MeteorAligner.find().align([*pairs, *AWKWARD])  # one start of the jar takes seconds
    statistics = best_reference(aligned[:len(pairs)], np.array(owner), owner[-1] + 1)
    start = 0
    for name, written, _, content, units in cases:
        own = statistics[start:start + len(written)]
        start += len(written)
        assert meteor_score(own.sum(axis=0)) == pytest.approx(content["expected"]["METEOR_vist_t_hter"], abs=1e-9), name
        expected = [content["per_item"]["METEOR_vist_t_hter"][unit] for unit in units]
        np.testing.assert_allclose(meteor_score(own), expected, atol=1e-9)
    awkward = aligned[len(pairs):]
    assert meteor_score(awkward)[:3].tolist() == pytest.approx([1, 0, 0])
    assert awkward[3, 21] == 1  # the accented word is found: the jar reads UTF-8


def test_meteor_without_java_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeteorUnavailable, match="no java on the PATH"):
        MeteorAligner.find()


def test_meteor_that_fails_says_how(tmp_path):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho '1 2 3'\necho 'Error: no heap' >&2\nexit 1\n")
    java.chmod(0o755)
    with pytest.raises(MeteorUnavailable, match="0 of 1 pairs and ended with code 1: Error: no heap"):
        MeteorAligner(str(java), tmp_path / "meteor.jar").align([("a", "b")])


def test_clean_text():
    assert clean_text("  a ||| b\u2028c\r\n d ") == "a b c d"
