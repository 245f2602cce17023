"""What scores against references do not see: how varied, repetitive and long written texts are, and perplexity."""
import math
from collections.abc import Collection, Sequence

import numpy as np

from evaluate.captions.ngrams import TextTable

REPEATED_ORDER = 4  # repetition is measured on 4-grams: shorter ones repeat in good English too

VARIETY_NAMES = ("distinct_1", "distinct_2", "repetition", "self_repetition", "length", "vocabulary_share")


def measure_variety(texts: Sequence[Sequence[str]], reference_words: Collection[str] = ()) -> dict[str, float | None]:
    """Measures of a set of texts, each a list of words.

    Args:
        texts: N texts.
        reference_words: the words that `vocabulary_share` counts against.

    Returns:
        - `distinct_1`, `distinct_2`: distinct n-grams of the whole set / all its n-grams (Li et al. 2016). They fall
          as a set grows: compare sets of one size only.
        - `repetition`: share of 4-grams that stood earlier in the same text.
        - `self_repetition`: share of 4-grams that also stand in another text of the set (Salkar et al. 2022 count the
          same event per text).
        - `length`: mean words per text.
        - `vocabulary_share`: share of the reference words that are written at least once.

        None where there is nothing to divide by.
    """
    table = TextTable(texts)
    values = measure_rows(table, np.arange(len(table)))
    return {**values, "vocabulary_share": vocabulary_share(table.words, reference_words)}


def measure_rows(table: TextTable, rows: np.ndarray) -> dict[str, float | None]:
    """`measure_variety`, without the vocabulary, of some texts of a table."""
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


def perplexity(total_nll: float, num_tokens: int) -> float | None:
    """exp(summed negative log-likelihood in nats / number of tokens), never a mean over batches.

    Divide by the whitespace words of the same captions for perplexity per word: comparable between vocabularies,
    where the share of `<UNK>` stands beside it. None without tokens; infinity past the range of a float.
    """
    if num_tokens <= 0:
        return None
    mean = total_nll / num_tokens
    return math.exp(mean) if mean < 700 else math.inf


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
