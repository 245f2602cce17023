"""Caption scores over units: corpus BLEU-1..4, ROUGE-L and CIDEr-D as coco-caption defines them.

A unit is what has one set of references: an album, or a distinct photo sequence and a t. Several hypotheses of a unit
are averaged within it, so that every unit weighs the same; with one hypothesis per unit the numbers are those of
pycocoevalcap 1.2. CIDEr's document frequencies are counted over the units' references, each unit once; they are never
averaged over batches.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from evaluate.captions.ngrams import MAX_ORDER, TextTable

BLEU_NAMES = tuple(f"bleu_{order}" for order in range(1, MAX_ORDER + 1))

ROUGE_BETA = 1.2  # coco-caption's weight of recall
CIDER_SIGMA = 6.0  # width of CIDEr-D's length penalty, in words
TINY, SMALL = 1e-15, 1e-9  # coco-caption's guards against 0 / 0, kept so that scores agree to the last digit


@dataclass(frozen=True)
class UnitScores:
    """What the corpus scores are sums of, unit by unit, so that resampled units need no scoring.

    Attributes:
        bleu_counts: (U, 10) float64: words, closest reference's words, n-grams written (1..4), n-grams matched (1..4).
        rouge_l: (U,) float64 in [0, 1].
        cider: (U,) float64 in [0, 10].
    """

    bleu_counts: np.ndarray
    rouge_l: np.ndarray
    cider: np.ndarray

    def __len__(self) -> int:
        return len(self.rouge_l)

    def scores(self, weights: np.ndarray | None = None) -> dict[str, Any]:
        """Corpus scores, all units once or weighted.

        Args:
            weights: (..., U), how often each unit counts (a bootstrap's multiplicities); every row needs a positive
                sum. CIDEr's document frequencies stay those of the full set: resampling them as well would change
                the yardstick with every draw.

        Returns:
            `bleu_1` .. `bleu_4`, `rouge_l`, `cider`: a float each, or arrays of shape (...) where weights are given.
        """
        weight = np.ones(len(self)) if weights is None else np.asarray(weights, float)
        bleu = corpus_bleu(weight @ self.bleu_counts)
        values = {name: bleu[..., column] for column, name in enumerate(BLEU_NAMES)}
        values["rouge_l"] = weight @ self.rouge_l / weight.sum(-1)
        values["cider"] = weight @ self.cider / weight.sum(-1)
        return {name: float(value) if weights is None else value for name, value in values.items()}


def score_units(hypotheses: Sequence[Sequence[str]], unit_index: Sequence[int] | np.ndarray,
                references: Sequence[Sequence[Sequence[str]]]) -> UnitScores:
    """Score written texts against the references of their units.

    Args:
        hypotheses: H texts, each a list of words (`text.split()`; an empty list is an empty text and scores 0).
        unit_index: (H,) int, the unit of each hypothesis, in [0, U). Every unit needs one at least.
        references: U lists of reference texts, each a list of words; one at least per unit.

    Raises:
        ValueError: if a unit has no hypothesis or no reference, or an index is out of range.
    """
    reference_unit = np.repeat(np.arange(len(references)), [len(texts) for texts in references])
    table = TextTable([*hypotheses, *(text for texts in references for text in texts)])
    rows = np.arange(len(table))
    return score_rows(table, rows[:len(hypotheses)], np.asarray(unit_index, np.int64), rows[len(hypotheses):],
                      reference_unit, len(references))


def score_constants(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> np.ndarray:
    """CIDEr-D of texts that stand for every unit, (H,): the mean over units; nothing else is worked out.

    Args:
        candidates: H texts. references: U lists of reference texts, as in `score_units`.
    """
    num_references = [len(texts) for texts in references]
    table = TextTable([*candidates, *(text for texts in references for text in texts)])
    reference_unit = np.repeat(np.arange(len(references)), num_references)
    rows, H = len(candidates) + np.arange(len(reference_unit)), len(candidates)
    of_unit = np.split(rows, np.cumsum(num_references)[:-1])
    found = _cider(table, np.repeat(np.arange(H), len(references)), rows, reference_unit, of_unit * H, len(references))
    return found.reshape(H, -1).mean(axis=1)


def score_rows(table: TextTable, hypotheses: np.ndarray, hypothesis_unit: np.ndarray, references: np.ndarray,
               reference_unit: np.ndarray, num_units: int) -> UnitScores:
    """`score_units` for texts that are already counted: hypotheses (H,) and references (R,) are rows of the table."""
    order = np.argsort(reference_unit, kind="stable")
    references, reference_unit = references[order], reference_unit[order]
    own_references = group_references(hypothesis_unit, references, reference_unit, num_units)
    per_unit = average_over_units(hypothesis_unit, num_units)
    return UnitScores(per_unit @ _bleu_counts(table, hypotheses, hypothesis_unit, references, reference_unit,
                                              own_references),
                      per_unit @ rouge_l(table, hypotheses, own_references),
                      per_unit @ _cider(table, hypotheses, references, reference_unit, own_references, num_units))


def group_references(hypothesis_unit: np.ndarray, references: np.ndarray, reference_unit: np.ndarray,
                     num_units: int) -> list[np.ndarray]:
    """The rows of the references that each hypothesis is scored against, H arrays.

    Raises:
        ValueError: if a unit has no hypothesis or no reference, or an index is out of range.
    """
    for what, unit in ("hypothesis", hypothesis_unit), ("reference", reference_unit):
        if len(unit) and not 0 <= unit.min() <= unit.max() < num_units:
            raise ValueError(f"unit index of each {what}: expected 0..{num_units - 1}, found {unit.min()}.."
                             f"{unit.max()}")
        lacking = np.flatnonzero(np.bincount(unit, minlength=num_units) == 0)
        if len(lacking) or not num_units:
            raise ValueError(f"units: expected at least one {what} each, found none for {len(lacking)} of {num_units} "
                             f"units (the first is {lacking[:1]}); leave these units out or give them one")
    order = np.argsort(reference_unit, kind="stable")
    of_unit = np.split(references[order], np.cumsum(np.bincount(reference_unit, minlength=num_units))[:-1])
    return [of_unit[unit] for unit in hypothesis_unit.tolist()]


def average_over_units(unit_index: np.ndarray, num_units: int) -> csr_array:
    """(U, H) matrix that takes the mean over each unit's hypotheses."""
    weight = 1 / np.bincount(unit_index, minlength=num_units)[unit_index]
    return csr_array((weight, (unit_index, np.arange(len(unit_index)))), shape=(num_units, len(unit_index)))


def corpus_bleu(counts: np.ndarray) -> np.ndarray:
    """BLEU-1..4 (..., 4) of summed `bleu_counts` (..., 10), smoothed against 0 / 0 as coco-caption does."""
    written, matched = counts[..., 2:2 + MAX_ORDER], counts[..., 2 + MAX_ORDER:]
    product = np.cumprod((matched + TINY) / (written + SMALL), axis=-1)
    ratio = (counts[..., 0] + TINY) / (counts[..., 1] + SMALL)
    brevity = np.exp(np.minimum(0, 1 - 1 / ratio))
    return product ** (1 / np.arange(1, MAX_ORDER + 1)) * brevity[..., None]


def _bleu_counts(table: TextTable, hypotheses: np.ndarray, hypothesis_unit: np.ndarray, references: np.ndarray,
                 reference_unit: np.ndarray, own_references: list[np.ndarray]) -> np.ndarray:
    """(H, 10) float64, see `UnitScores.bleu_counts`."""
    words = table.num_words[hypotheses]
    closest = [min((abs(length - own), length) for length in table.num_words[rows].tolist())[1]
               for own, rows in zip(words.tolist(), own_references)]
    written = np.maximum(0, words[:, None] - np.arange(MAX_ORDER))
    matched = [counts[hypotheses].minimum(most[hypothesis_unit]).sum(axis=1)
               for counts, most in zip(table.counts, count_most(table, references, reference_unit))]
    return np.column_stack([words, closest, written, *matched]).astype(float)


def count_most(table: TextTable, references: np.ndarray, reference_unit: np.ndarray) -> list[csr_array]:
    """How often an n-gram stands in the reference of a unit that has it most: by order (U, n-grams).

    Args:
        references: (R,) rows of the table. reference_unit: (R,) int, ascending.
    """
    num_units = int(reference_unit[-1]) + 1
    rank = np.arange(len(references)) - np.searchsorted(reference_unit, reference_unit)  # 0 for a unit's first
    most = [csr_array((num_units, counts.shape[1])) for counts in table.counts]
    for place in range(rank.max() + 1):
        chosen = rank == place
        pick = csr_array((np.ones(chosen.sum()), (reference_unit[chosen], references[chosen])),
                         shape=(num_units, len(table)))
        most = [so_far.maximum(pick @ counts) for so_far, counts in zip(most, table.counts)]
    return most


def rouge_l(table: TextTable, hypotheses: np.ndarray, own_references: list[np.ndarray]) -> np.ndarray:
    """(H,) ROUGE-L: the best precision and the best recall over the references, which need not be the same one's."""
    scores = np.zeros(len(hypotheses))
    for place, (row, rows) in enumerate(zip(hypotheses.tolist(), own_references)):
        common = np.array([table.common_length(row, reference) for reference in rows.tolist()])
        if common.any():
            precision = common.max() / table.num_words[row]
            recall = (common / np.maximum(1, table.num_words[rows])).max()
            scores[place] = (1 + ROUGE_BETA ** 2) * precision * recall / (recall + ROUGE_BETA ** 2 * precision)
    return scores


def _cider(table: TextTable, hypotheses: np.ndarray, references: np.ndarray, reference_unit: np.ndarray,
           own_references: list[np.ndarray], num_units: int) -> np.ndarray:
    """(H,) CIDEr-D; a document of the document frequencies is a unit's set of references."""
    num_references = np.array([len(rows) for rows in own_references])
    pair_hypothesis = np.repeat(hypotheses, num_references)
    pair_reference = np.concatenate(own_references)
    delta = table.num_words[pair_hypothesis] - table.num_words[pair_reference]
    documents = csr_array((np.ones(len(references)), (reference_unit, references)), shape=(num_units, len(table)))
    similarity = np.zeros(len(pair_hypothesis))
    for counts in table.counts:
        frequency = np.bincount((documents @ counts).tocsr().indices, minlength=counts.shape[1])
        vectors = counts.copy()
        vectors.data *= (np.log(num_units) - np.log(np.maximum(1, frequency)))[vectors.indices]
        norm = np.sqrt((vectors * vectors).sum(axis=1))
        of_references = vectors[pair_reference]
        clipped = (vectors[pair_hypothesis].minimum(of_references) * of_references).sum(axis=1)
        scale = norm[pair_hypothesis] * norm[pair_reference]
        similarity += np.divide(clipped, scale, out=np.zeros(len(scale)), where=scale > 0)
    similarity *= np.exp(-delta ** 2 / (2 * CIDER_SIGMA ** 2))
    owner = np.repeat(np.arange(len(hypotheses)), num_references)
    total = np.bincount(owner, weights=similarity, minlength=len(hypotheses))
    return 10 * total / MAX_ORDER / num_references
