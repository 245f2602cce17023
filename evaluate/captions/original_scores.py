"""The text scores of the notebook that the method comes from, to compare with its figures and nothing else.

Each written caption against the one true caption of its own story, averaged over captions: sentence BLEU with
nltk's smoothing method 4, and rouge-score's stemmed ROUGE-L, which strips punctuation. Both are other numbers than
corpus BLEU and coco-caption's ROUGE-L.
"""
from collections.abc import Sequence

import numpy as np

ORIGINAL_NAMES = ("original_bleu_1", "original_bleu_2", "original_bleu_3", "original_bleu_4", "original_rouge_l")


def score_as_original(written: Sequence[Sequence[str]], captions: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Score captions by the original's protocol.

    Args:
        written: N captions, each a list of words.
        captions: the N true captions, each a list of words.

    Returns:
        By name in ORIGINAL_NAMES the (N,) float64 scores of the single captions in [0, 1]; the protocol's number is
        their mean. A caption without words scores 0.

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
