"""Texts as n-gram counts: what BLEU and CIDEr-D are computed from, counted once per text; and how varied texts are.

Scoring the same references again (other hypotheses, one reference held out) then costs sparse matrix arithmetic
instead of counting words in Python: a whole run of the published protocol takes a tenth of a second.
"""
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from rapidfuzz.distance import LCSseq
from scipy.sparse import csr_array

MAX_ORDER = 4
REPEATED_ORDER = 4  # repetition is measured on 4-grams: shorter ones repeat in good English too
VARIETY_NAMES = ("distinct_1", "distinct_2", "repetition", "self_repetition", "length", "vocabulary_share")


class TextTable:
    """A list of texts (each a list of words) as word ids and as counts of their 1- to 4-grams.

    Attributes:
        word_ids: one int64 array per text.
        words: the distinct words, in id order (order of first appearance).
        num_words: (N,) int64, words per text.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        index: dict[str, int] = {}
        self.word_ids = [np.array([index.setdefault(word, len(index)) for word in text], np.int64) for text in texts]
        self.words = list(index)
        self.num_words = np.array([len(ids) for ids in self.word_ids], np.int64)
        self._common: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.word_ids)

    @cached_property
    def counts(self) -> list[csr_array]:
        """Counts by order: counts[n - 1] is (N, distinct n-grams) float64, n = 1..4."""
        text_index = np.repeat(np.arange(len(self)), self.num_words)
        word_ids = np.concatenate(self.word_ids) if len(self) else np.zeros(0, np.int64)
        gram = word_ids
        counts = []
        for order in range(1, MAX_ORDER + 1):
            if order > 1:  # the n-gram at i is the (n-1)-gram at i and the word n-1 further on, in the same text
                whole = text_index[order - 1:] == text_index[:len(text_index) - order + 1]
                last_word = word_ids[order - 1:]
                gram = np.where(whole, gram[:len(last_word)] * max(1, len(self.words)) + last_word, -1)
            distinct, gram = np.unique(gram, return_inverse=True)
            first = int(len(distinct) > 0 and distinct[0] == -1)  # windows that cross two texts are no n-grams
            valid = gram >= first
            counts.append(csr_array((np.ones(valid.sum()), (text_index[:len(gram)][valid], gram[valid] - first)),
                                    shape=(len(self), max(1, len(distinct) - first))))
            counts[-1].sum_duplicates()
        return counts

    def common_length(self, first: int, second: int) -> int:
        """Length of the longest common subsequence of two texts, in words; remembered."""
        key = (min(first, second), max(first, second))
        if key not in self._common:
            self._common[key] = LCSseq.similarity(self.word_ids[first].tolist(), self.word_ids[second].tolist())
        return self._common[key]


def measure_rows(table: TextTable, rows: np.ndarray) -> dict[str, float | None]:
    """How varied some texts of a table are; None where there is nothing to divide by.

        - `distinct_1`, `distinct_2`: distinct n-grams of the whole set / all its n-grams (Li et al. 2016). They fall
          as a set grows: compare sets of one size only.
        - `repetition`: share of 4-grams that stood earlier in the same text.
        - `self_repetition`: share of 4-grams that also stand in another text of the set (Salkar et al. 2022 count the
          same event per text).
        - `length`: mean words per text.
    """
    values: dict[str, float | None] = {}
    for order in 1, 2:
        per_gram = table.counts[order - 1][rows].sum(axis=0)
        values[f"distinct_{order}"] = _share((per_gram > 0).sum(), per_gram.sum())
    counts = table.counts[REPEATED_ORDER - 1][rows]
    total = counts.sum()
    in_texts = np.bincount(counts.indices, minlength=counts.shape[1])
    values["repetition"] = _share(total - counts.nnz, total)
    values["self_repetition"] = _share(counts.data[in_texts[counts.indices] > 1].sum(), total)
    values["length"] = _share(table.num_words[rows].sum(), len(rows))
    return values


def vocabulary_share(written: Collection[str], reference_words: Collection[str]) -> float | None:
    """Share of the reference words that were written at least once; None without reference words."""
    wanted = set(reference_words)
    return _share(len(wanted.intersection(written)), len(wanted))


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
