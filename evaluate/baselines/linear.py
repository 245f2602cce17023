"""Linear predictors in closed form, fitted on the train split in one pass over its photos.

- ridge regression from the last frame seen to the next photo, with and without the last caption's words;
- a linear probe from a photo to its tags;
- a map from a photo to its caption's words, which lets a predicted photo be compared with captions.

Each has one penalty, chosen on val. Photos are standardised as the run does; words are centred and scaled.
"""
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.kernel_ridge import KernelRidge

from data.words.tokens import RESERVED
from evaluate.photos.retrieval import PhotoSpace
from evaluate.split import EvaluatedSplit

VERSION = 2
MAX_WORDS = 1000  # the most frequent ones; vocabulary ids are in that order
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)  # times the number of examples
DEFAULT_PENALTY = 0.1  # where there is no val
BLOCK = 256  # stories
NUM_CHECKED = 256  # outputs that the penalty is chosen on


@dataclass(frozen=True)
class LinearMaps:
    """Fitted weights; D feature width, W words, G tags.

    Attributes:
        photo: (D, D) last photo -> next. photo_and_words: (D + W, D). tags: (D, G), to be added to tag_mean.
        words: (D, W). word_mean, word_scale: (W,). tag_mean: (G,). penalties: (4,), in the order above.
    """

    photo: np.ndarray
    photo_and_words: np.ndarray
    tags: np.ndarray
    words: np.ndarray
    word_mean: np.ndarray
    word_scale: np.ndarray
    tag_mean: np.ndarray
    penalties: np.ndarray

    def next_photo(self, photos: np.ndarray, token_ids: np.ndarray | None = None) -> np.ndarray:
        """(n, D) standardised photos, and (n, T) ids of their captions -> (n, D) predicted next photos."""
        if token_ids is None:
            return photos @ self.photo
        width = len(self.photo)
        return photos @ self.photo_and_words[:width] + self.bags(token_ids) @ self.photo_and_words[width:]

    def tag_scores(self, photos: np.ndarray) -> np.ndarray:
        """(n, D) standardised photos -> (n, G) scores, higher = surer."""
        return photos @ self.tags + self.tag_mean

    def bags(self, token_ids: np.ndarray) -> np.ndarray:
        """(n, T) ids -> (n, W) float32, which of the words occur, centred and scaled."""
        return (bag_of_words(token_ids, len(self.word_mean)) - self.word_mean) / self.word_scale


def bag_of_words(token_ids: np.ndarray, num_words: int) -> np.ndarray:
    """(n, T) ids -> (n, W) float32, 1 where a word occurs; reserved ids and rarer words are left out."""
    first = len(RESERVED)
    story, place = np.nonzero((token_ids >= first) & (token_ids < first + num_words))
    bags = np.zeros((len(token_ids), num_words), np.float32)
    bags[story, token_ids[story, place] - first] = 1
    return bags


def fit_linear(train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace) -> LinearMaps:
    """Fit every map.

    Args:
        train: stories with five usable photos. val: where penalties are chosen; None takes DEFAULT_PENALTY.
    """
    num_words = min(MAX_WORDS, max(1, len(train.words.vocabulary) - len(RESERVED)))
    tokens = train.token[:, :-1].reshape(-1, train.token.shape[-1])
    mean = sum(bag_of_words(block, num_words).sum(axis=0, dtype=float) for block in np.array_split(
        tokens, -(-len(tokens) // 4096))) / len(tokens)
    scale = np.sqrt(np.maximum(mean * (1 - mean), 1 / len(tokens)))
    tag_mean = train.tag.mean(axis=(0, 1))
    sums = _Sums(space.features.width, num_words, train.tag.shape[-1])
    for photos, bags, tags in _read(train, space, mean, scale, tag_mean):
        sums.add(photos, bags, tags)
    held_out = _hold_out(val, space, mean, scale, tag_mean) if val is not None else None
    n, width = len(train) * (train.token.shape[1] - 1), space.features.width
    with_words = np.block([[sums.photo, sums.photo_words], [sums.photo_words.T, sums.words]])
    solved = [
        solve_ridge(sums.photo, sums.next_photo[:width], n, held_out and (held_out[0][:, :width], held_out[1])),
        solve_ridge(with_words, sums.next_photo, n, held_out and held_out[:2]),
        solve_ridge(sums.all_photos, sums.tags, n, held_out and held_out[2:4]),
        solve_ridge(sums.photo, sums.photo_words, n, held_out and (held_out[0][:, :width], held_out[0][:, width:]))]
    (photo, photo_and_words, of_tags, of_words), penalties = zip(*solved)
    return LinearMaps(photo, photo_and_words, of_tags, of_words, mean.astype(np.float32), scale.astype(np.float32),
                      tag_mean.astype(np.float32), np.array(penalties))


class _Sums:
    """Products summed over the train split; float32 blocks into float32 sums, which ridge forgives."""

    def __init__(self, width: int, num_words: int, num_tags: int) -> None:
        self.photo = np.zeros((width, width), np.float32)
        self.all_photos = np.zeros((width, width), np.float32)
        self.photo_words = np.zeros((width, num_words), np.float32)
        self.words = np.zeros((num_words, num_words), np.float32)
        self.next_photo = np.zeros((width + num_words, width), np.float32)
        self.tags = np.zeros((width, num_tags), np.float32)

    def add(self, photos: np.ndarray, bags: np.ndarray, tags: np.ndarray) -> None:
        """photos (B, K, D), bags (B, K - 1, W) of the frames that have a next one, tags (B, K, G)."""
        before, after = (_flat(part) for part in (photos[:, :-1], photos[:, 1:]))
        words, last = _flat(bags), photos[:, -1]
        of_frames = before.T @ before
        self.photo += of_frames
        self.all_photos += of_frames + last.T @ last
        self.photo_words += before.T @ words
        self.words += words.T @ words
        self.next_photo += np.concatenate([before, words], axis=1).T @ after
        self.tags += _flat(photos).T @ _flat(tags)


def _read(split: EvaluatedSplit, space: PhotoSpace, mean: np.ndarray, scale: np.ndarray, tag_mean: np.ndarray
          ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of photos (B, K, D), scaled words (B, K - 1, W) and centred tags (B, K, G), all float32."""
    for start in range(0, len(split), BLOCK):
        here = slice(start, start + BLOCK)
        rows = split.units.photo[here]
        photos = space.read(rows.reshape(-1)).reshape(*rows.shape, -1)
        tokens = split.token[here, :-1]
        bags = bag_of_words(_flat(tokens), len(mean))
        bags = ((bags - mean) / scale).astype(np.float32).reshape(*tokens.shape[:2], -1)
        yield photos, bags, (split.tag[here] - tag_mean).astype(np.float32)


def _hold_out(val: EvaluatedSplit, space: PhotoSpace, mean: np.ndarray, scale: np.ndarray, tag_mean: np.ndarray
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (n, D + W) and targets (n, D), photos (m, D) and tags (m, G) of at most 2,000 val stories."""
    blocks = []
    for block in _read(val, space, mean, scale, tag_mean):
        blocks.append(block)
        if len(blocks) * BLOCK >= 2000:
            break
    photos, bags, tags = (np.concatenate(column) for column in zip(*blocks))
    inputs = np.concatenate([_flat(photos[:, :-1]), _flat(bags)], axis=1)
    return inputs, _flat(photos[:, 1:]), _flat(photos), _flat(tags)


def solve_ridge(gram: np.ndarray, product: np.ndarray, n: int, held_out: tuple[np.ndarray, np.ndarray] | None,
                penalties: Sequence[float] | None = None) -> tuple[np.ndarray, float]:
    """Ridge weights with the penalty that errs least on held-out pairs.

    Args:
        gram: (C, C) and product: (C, D), inner products of the inputs with each other and with what they tell, summed
            over n examples; or those of the examples with each other, (n, n), and what they tell: the dual weights.
        held_out: (m, C) and (m, D); None, or no pair, takes DEFAULT_PENALTY.
        penalties: those to choose from, times n; PENALTIES when left out.

    Returns:
        (C, D) float32, and the penalty.
    """
    def solve(penalty: float, outputs: slice) -> np.ndarray:
        with warnings.catch_warnings():  # of a penalty too small to solve well val tells
            warnings.filterwarnings("ignore", "An ill-conditioned matrix|Ill-conditioned matrix|Singular matrix")
            return KernelRidge(alpha=penalty * n, kernel="precomputed").fit(gram, product[:, outputs]).dual_coef_

    best = DEFAULT_PENALTY
    if held_out is not None and len(held_out[0]):
        (inputs, targets), penalties = held_out, penalties or PENALTIES
        checked = slice(None, None, max(1, product.shape[1] // NUM_CHECKED))
        errors = [np.square(inputs @ solve(penalty, checked) - targets[:, checked]).mean() for penalty in penalties]
        best = penalties[int(np.argmin(errors))]
    return solve(best, slice(None)).astype(np.float32), best


def _flat(frames: np.ndarray) -> np.ndarray:
    """(B, K, ...) -> (B * K, ...)."""
    return frames.reshape(-1, frames.shape[-1])
