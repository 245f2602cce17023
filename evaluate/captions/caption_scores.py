"""Written captions against the true ones of their unit, and how surprising the true ones were.

A unit's references are the captions at t + 1 of all its stories, in the vocabulary's words (see `data.words.tokens`);
document frequencies come from these references, each t apart.
"""
from collections.abc import Mapping, Sequence

import numpy as np

from evaluate.captions.meteor import MeteorAligner, best_reference, meteor_score
from evaluate.captions.ngrams import TextTable, measure_rows, vocabulary_share
from evaluate.captions.text_scores import BLEU_NAMES, UnitScores, corpus_bleu, score_rows
from evaluate.rows import AS_HUMAN, HUMAN, Captions
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate, Resamples

ORIGINAL_NAMES = ("original_bleu_1", "original_bleu_2", "original_bleu_3", "original_bleu_4", "original_rouge_l")


class CaptionScorer:
    """Scores captions written for frame t + 1 of one split.

    Args:
        split: the stories. t: frames seen before.
        written: by row of the table, a caption for every story. Counted together, once.
    """

    def __init__(self, split: EvaluatedSplit, t: int, written: Mapping[str, Captions]) -> None:
        self.split, self.t, self.written = split, t, dict(written)
        self.true = [captions[t] for captions in split.caption_words]
        self.table = TextTable([*self.true, *(caption for captions in self.written.values() for caption in captions)])
        self._first = {name: len(split) * (place + 1) for place, name in enumerate(self.written)}

    def score(self, name: str) -> dict[str, Estimate]:
        """BLEU-1..4, ROUGE-L, CIDEr-D and measures of variety of one row."""
        split, stories = self.split, np.arange(len(self.split))
        rows = self._first[name] + stories
        scores = score_rows(self.table, rows, split.units.unit, stories, split.units.unit, split.units.num_units)
        estimates = estimate_units(split.resamples, scores, np.unique(split.units.unit, return_index=True)[1])
        variety = measure_rows(self.table, rows)
        variety["vocabulary_share"] = vocabulary_share({word for caption in self.written[name] for word in caption},
                                                       {word for caption in self.true for word in caption})
        return estimates | estimate_whole(variety, len(split))

    def score_humans(self, model: str) -> dict[str, dict[str, Estimate]]:
        """One true caption against the others of its unit, and the model's against those same others.

        Only units with several stories count; empty where there are none. Document frequencies are those of this
        smaller set, so these two rows compare with each other and not with the rest of the table.
        """
        split = self.split
        shared = [stories for stories in split.units.stories_of() if len(stories) > 1]
        if not shared:
            return {}
        own = np.concatenate(shared)
        others = [(story, other) for stories in shared for story in stories for other in stories if other != story]
        place_of = {story: place for place, story in enumerate(own)}
        unit = np.array([place_of[story] for story, _ in others])
        references = np.array([other for _, other in others])
        scores = {row: score_rows(self.table, first + own, np.arange(len(own)), references, unit, len(own))
                  for row, first in ((HUMAN, 0), (AS_HUMAN, self._first[model]))}
        return {row: estimate_units(split.resamples, found, own, split.units.weight[own])
                for row, found in scores.items()}

    def score_original(self, name: str) -> dict[str, Estimate]:
        """The original's protocol: sentence BLEU and stemmed ROUGE-L against the story's own caption."""
        values = score_as_original(self.written[name], self.true)
        return {measure: self.split.resamples.mean(found, np.ones(len(found))) for measure, found in values.items()}


def score_as_original(written: Sequence[Sequence[str]], captions: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Score captions as the notebook that the method comes from did, to compare with its figures and nothing else.

    Each against the one true caption of its own story, averaged over captions: sentence BLEU with nltk's smoothing
    method 4, and rouge-score's stemmed ROUGE-L, which strips punctuation. Both are other numbers than corpus BLEU and
    coco-caption's ROUGE-L.

    Args:
        written: N captions, each a list of words.
        captions: the N true ones.

    Returns:
        By name in ORIGINAL_NAMES (N,) float64 in [0, 1]. A caption without words scores 0.

    Raises:
        ValueError: if the two differ in length.
    """
    if len(written) != len(captions):
        raise ValueError(f"captions: expected one for each written one, found {len(captions)} for {len(written)}")
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu  # late: slow to import, rarely needed
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    smooth = SmoothingFunction().method4
    weights = [(1 / order,) * order for order in range(1, 5)]
    rouge = RougeScorer(["rougeL"], tokenizer=DefaultTokenizer(use_stemmer=True))
    rows = []
    for text, caption in zip(written, captions):
        bleu = sentence_bleu([list(caption)], list(text), weights, smooth) if text and caption else [0.0] * 4
        rows.append([*bleu, rouge.score(" ".join(caption), " ".join(text))["rougeL"].fmeasure])
    values = np.array(rows, float).reshape(-1, len(ORIGINAL_NAMES))
    return {name: values[:, column] for column, name in enumerate(ORIGINAL_NAMES)}


def score_meteor(split: EvaluatedSplit, t: int, written: Mapping[str, Captions], aligner: MeteorAligner
                 ) -> dict[str, Estimate]:
    """METEOR of several rows, in one call of the jar.

    Raises:
        MeteorUnavailable: if the jar does not run.
    """
    stories_of, true = split.units.stories_of(), [" ".join(captions[t]) for captions in split.caption_words]
    pairs, owner = [], []
    for place, captions in enumerate(written.values()):
        for story, unit in enumerate(split.units.unit):
            pairs += [(" ".join(captions[story]), true[reference]) for reference in stories_of[unit]]
            owner += [place * len(split) + story] * len(stories_of[unit])
    place_of = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}  # a constant repeats its pairs
    statistics = aligner.align(list(place_of))[[place_of[pair] for pair in pairs]]
    best = best_reference(statistics, np.array(owner), len(written) * len(split))
    best = best.reshape(len(written), len(split), -1) * split.units.weight[:, None]
    return {name: Estimate(meteor_score(split.resamples.sums(rows)), split.units.num_units)
            for name, rows in zip(written, best)}


def score_surprise(split: EvaluatedSplit, t: int | Sequence[int], nll: np.ndarray, nll_known: np.ndarray | None = None
                   ) -> dict[str, Estimate]:
    """Perplexity of the true captions at t + 1, or at several together; every caption counts once.

    Args:
        nll: (S,) float64, summed negative log-likelihood of a caption's real words and <END>, in nats.
        nll_known: (S,) the same without what is <UNK>; captions where it is NaN do not count.

    Returns:
        `perplexity` per token, `perplexity_known` over those that are not <UNK>; `perplexity_word` per white-space word
        of the raw caption, comparable between vocabularies beside `unknown_share`, the share of words that the
        vocabulary lacks.
    """
    tokens, words, unknown, without_end = (counts[:, np.atleast_1d(t)].sum(axis=1).astype(float) for counts in (
        split.num_tokens, split.num_raw_words, split.num_unknown, np.maximum(split.num_tokens - 1, 0)))
    known = unknown, without_end
    ratio = split.resamples.ratio
    estimates = {"perplexity": ratio(nll, tokens, len(split), _exp),
                 "perplexity_word": ratio(nll, words, len(split), _exp), "unknown_share": ratio(*known, len(split))}
    if nll_known is not None:
        told = ~np.isnan(nll_known)
        estimates["perplexity_known"] = ratio(np.where(told, nll_known, 0.0), (tokens - known[0]) * told,
                                              int(told.sum()), _exp)
    return estimates


def _exp(mean_nll: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.exp(mean_nll)


def estimate_units(resamples: Resamples, scores: UnitScores, stories: np.ndarray, weight: np.ndarray | float = 1.0
                   ) -> dict[str, Estimate]:
    """BLEU-1..4, ROUGE-L and CIDEr-D over the albums of what was scored.

    Args:
        scores: of U units. stories: (U,) the story that each stands at. weight: (U,) of each.
    """
    columns = np.column_stack([scores.bleu_counts, scores.rouge_l, scores.cider, np.ones(len(scores))])
    spread = np.zeros((len(resamples.album), columns.shape[1]))
    spread[stories] = columns * np.reshape(weight, (-1, 1))
    n = round(float(spread[:, -1].sum()))
    sums = resamples.sums(spread)
    bleu = corpus_bleu(sums[:, :-3])
    with np.errstate(invalid="ignore"):
        means = sums[:, -3:-1] / sums[:, -1:]
    return {**{name: Estimate(bleu[:, column], n) for column, name in enumerate(BLEU_NAMES)},
            "rouge_l": Estimate(means[:, 0], n), "cider": Estimate(means[:, 1], n)}


def estimate_whole(values: Mapping[str, float | None], n: int) -> dict[str, Estimate]:
    """Properties of a whole set: they have no interval."""
    return {name: Estimate(np.array([np.nan if value is None else value]), n) for name, value in values.items()}
