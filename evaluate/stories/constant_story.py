"""The constant baseline: one fixed story for every album, never chosen on the albums that it is scored on.

The albums are dealt into two halves; the story with the best corpus BLEU-4 over one half is what the other half is
scored with. Candidates are the half's reference stories and what the system itself wrote for it, because a system's
own most typical story is the strongest constant there is: it shows how much of a score needs no look at the photos.
"""
from collections.abc import Sequence

import numpy as np

from evaluate.captions.ngrams import MAX_ORDER, TextTable
from evaluate.captions.text_scores import corpus_bleu, count_most

SHORTLIST = 200  # of each kind, the most typical by n-gram cosine, are scored in full


def deal_halves(album_ids: Sequence[str], seed: int) -> np.ndarray:
    """0 or 1 for every unit, equal within an album; the order of the units is irrelevant."""
    names, album = np.unique(np.asarray(album_ids, dtype=str), return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % 2)[album]


def choose_constant(table: TextTable, candidates: Sequence[np.ndarray], references: np.ndarray,
                    reference_unit: np.ndarray) -> int:
    """The row of the table that scores best over units when it is written for each of them.

    Args:
        candidates: groups of rows; each group is cut to its SHORTLIST most typical texts.
        references: (R,) rows. reference_unit: (R,) int, ascending, every unit of the half from 0 on.
    """
    typical = measure_typicality(table, references)
    shortlist = [row for group in candidates
                 for row in group[np.argsort(-typical[group], kind="stable")][:SHORTLIST].tolist()]
    if not shortlist:
        raise ValueError("constant story: expected at least one candidate with words, found none")
    most = [counts.tocsc() for counts in count_most(table, references, reference_unit)]
    num_units = int(reference_unit[-1]) + 1
    counts = np.zeros((len(shortlist), 2 + 2 * MAX_ORDER))
    lengths = np.split(table.num_words[references], np.flatnonzero(np.diff(reference_unit)) + 1)
    closest: dict[int, int] = {}  # by a candidate's length: summed lengths of the references nearest to it
    for place, row in enumerate(shortlist):
        words = int(table.num_words[row])
        counts[place, 0] = words * num_units
        if words not in closest:
            closest[words] = sum(min((abs(length - words), length) for length in own.tolist())[1] for own in lengths)
        counts[place, 1] = closest[words]
        for order in range(MAX_ORDER):
            text = table.counts[order][[row]]
            counts[place, 2 + order] = max(0, words - order) * num_units
            counts[place, 2 + MAX_ORDER + order] = np.minimum(most[order][:, text.indices].toarray(), text.data).sum()
    return shortlist[int(np.argmax(corpus_bleu(counts)[:, MAX_ORDER - 1]))]


def measure_typicality(table: TextTable, references: np.ndarray) -> np.ndarray:
    """(N,) float64: the mean cosine of every text of the table to the references, summed over 1- to 4-grams."""
    total = np.zeros(len(table))
    for counts in table.counts:
        norm = np.sqrt((counts * counts).sum(axis=1))
        inverse = np.divide(1, norm, out=np.zeros(len(table)), where=norm > 0)
        chosen = counts[references]
        centre = chosen.T @ inverse[references]
        total += (counts @ centre) * inverse
    return total / max(1, len(references))
