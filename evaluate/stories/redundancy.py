"""RoViST's non-redundancy of a story, NR: how little its sentences, and the parts of one sentence, repeat each other.

Source: E. Wang, C. Han, J. Poon, RoViST: Learning Robust Metrics for Visual Storytelling, 2022; what was published is
met to the last digit. NR has no lower bound: one word said over and over counts by its square. Read the median too.
"""
import re
from collections import Counter
from functools import cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np

SLICE = 4                                       # words of a sentence that are held against the next so many
STANDING_MARK = re.compile(r"(?<=\s[.!?])\s+")  # tokenised text: "st. john" and "..." end no sentence
GLUED_MARK = re.compile(r"(?<=[.!?])\s+")       # text as people write it


def measure_non_redundancy(story: str) -> float:
    """1 - the mean of what sentences and what slices of a sentence share; NaN where there is no pair of either.

    Args:
        story: one string. Words are nltk's, the last of each sentence (its mark) left out.
    """
    ends = STANDING_MARK if re.search(r"\s[.!?](\s|$)", story) else GLUED_MARK
    sentences = [_tokenizer().tokenize(sentence)[:-1] for sentence in ends.split(story.strip()) if sentence]
    between = [_overlap(first, second) for first, second in combinations([Counter(words) for words in sentences], 2)]
    within = [_overlap(first, second) for words in sentences
              for first, second in pairwise(Counter(words[start:start + SLICE])
                                            for start in range(0, len(words), SLICE))]
    return 1 - float(np.mean(between) + np.mean(within)) / 2 if between and within else float("nan")


def _overlap(first: Counter[str], second: Counter[str]) -> float:
    """Pairs of equal words / distinct words of both; 0 where there is no word at all."""
    shared = first.keys() & second.keys()
    return sum(first[word] * second[word] for word in shared) / max(1, len(first) + len(second) - len(shared))


@cache
def _tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer  # late: slow to import
    return NLTKWordTokenizer()
