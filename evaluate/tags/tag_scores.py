"""Tags of frame t + 1: seen (read off its photo) and next (said before it is seen)."""
import numpy as np

from data.folder.word_reader import DII
from evaluate.rows import Guesses, TagGuess
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate
from evaluate.tags.tag_metrics import FIRST_TAG, TagScores, tune_thresholds

KINDS = ("next", "seen")


def choose_thresholds(split: EvaluatedSplit, guesses: Guesses, counted: np.ndarray, cross_fit: bool = False
                      ) -> np.ndarray | None:
    """Thresholds with the best F1 over all t on `split`; None where a row has decided already.

    Args:
        counted: (G,) bool; a tag that does not count is never predicted.
        cross_fit: for the split that is scored itself: each half of the albums, drawn by the split's seed, takes the
            thresholds of the other half, so that no story is decided by what was tuned on it.

    Returns:
        (G,) float64, or (S, G) with `cross_fit`.
    """
    if not cross_fit:
        return _tune(split, guesses, counted, np.ones(len(split)))
    half = (np.random.default_rng(split.seed).permutation(split.resamples.num_albums) % 2)[split.resamples.album]
    first, second = (_tune(split, guesses, counted, (half != own).astype(float)) for own in (0, 1))
    return None if first is None or second is None else np.stack([first, second])[half]


def _tune(split: EvaluatedSplit, guesses: Guesses, counted: np.ndarray, taken: np.ndarray) -> np.ndarray | None:
    """Thresholds (G,) from the stories where `taken` (S,) is 1."""
    frames = sorted(guesses)
    probs = [guess.probs for guess in (guesses[t] for t in frames)
             if guess.probs is not None and guess.predicted is None]
    if len(probs) < len(frames):
        return None
    weight = np.concatenate([counted_frames(split, t)[0] * split.units.weight * taken for t in frames])
    columns = counted | (np.arange(len(counted)) < FIRST_TAG)
    thresholds = np.full(len(counted), np.inf)
    thresholds[columns] = tune_thresholds(np.concatenate(probs)[:, columns],
                                          np.concatenate([split.tag[:, t][:, columns] for t in frames]), weight)
    return thresholds


def counted_frames(split: EvaluatedSplit, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Which stories' frame (0-based) counts in the headline, and which is reported apart; (S,) bool each.

    A photo that nobody described (no DII) is no negative for what only a description could have said. Where a split
    has both kinds, described frames make the headline and the others stand apart; where it has one kind, that counts.
    """
    described = (split.tag_source[:, frame] & DII) > 0
    both = (split.tag_source & DII > 0).any() and (split.tag_source & DII == 0).any()
    return (described, ~described) if both else (np.ones(len(split), bool), np.zeros(len(split), bool))


def score_tags(split: EvaluatedSplit, kind: str, t: int, guess: TagGuess, counted: np.ndarray,
               per_tag: bool = False) -> dict[str, Estimate]:
    """Scores named `tags_<kind>.<metric>`, and `tags_<kind>.undescribed.<metric>` for the frames reported apart.

    Args:
        kind: "next" or "seen". For "seen" only frames with a usable photo count.
        guess: with decisions made. counted: (G,) bool, see TagScores.
    """
    assert guess.predicted is not None
    usable = split.usable[:, t] if kind == "seen" else np.ones(len(split), bool)
    scores: dict[str, Estimate] = {}
    for prefix, frames in zip((f"tags_{kind}.", f"tags_{kind}.undescribed."), counted_frames(split, t)):
        weight = np.where(frames & usable, split.units.weight, 0.0)
        if weight.any():
            found = TagScores(split.words.tag_names, split.words.tag_categories, split.tag[:, t], weight,
                              split.resamples, guess.probs, guess.predicted, counted)
            per_tag_here = per_tag and not prefix.endswith("undescribed.")
            scores |= {prefix + name: estimate for name, estimate in found.estimates(per_tag_here).items()}
    return scores


def describe_left_out(split: EvaluatedSplit, counted: np.ndarray) -> list[str]:
    """A note on the tags that the run was trained without, if there are any."""
    names = [name for name, counts in zip(split.words.tag_names[FIRST_TAG:], counted[FIRST_TAG:]) if not counts]
    return [f"{len(names)} tags take no part in training and are scored in no row: {', '.join(names)}"] if names else []
