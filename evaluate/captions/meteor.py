"""METEOR 1.5, English, `-t hter`: the published protocol's variant, by the jar that pycocoevalcap brings.

The class in pycocoevalcap runs `-l en -norm`, which gives .144 where the published number is .349. Here the jar only
aligns: each hypothesis with each reference once, in one process that ends by itself. The score, also of resampled or
averaged units, is computed from those statistics and equals the jar's own to the last digit.
"""
import importlib.util
import logging
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

NUM_STATISTICS = 23
# -t hter's parameters and the weights of its matchers: exact, stem, synonym, paraphrase
ALPHA, BETA, GAMMA, DELTA = 0.40, 1.50, 0.35, 0.55
MATCHER_WEIGHTS = np.array([1.0, 0.2, 0.6, 0.8])
PAIRS_PER_SECOND, START_SECONDS = 500, 10  # measured on stories of 50 words, one core


class MeteorUnavailable(Exception):
    """METEOR cannot be computed here; the message says why."""


@dataclass(frozen=True)
class MeteorAligner:
    """Runs the jar. `timeout` bounds a call: seconds on top of ten times the time that its pairs usually take."""

    java: str
    jar: Path
    timeout: float = 120.0

    @classmethod
    def find(cls) -> "MeteorAligner":
        """Locate Java and the jar.

        Raises:
            MeteorUnavailable: if one of them is absent.
        """
        java = shutil.which("java")
        if java is None:
            raise MeteorUnavailable("no java on the PATH: METEOR is left out (any Java runtime from 8 on will do)")
        package = importlib.util.find_spec("pycocoevalcap")
        folders = (package.submodule_search_locations or []) if package else []
        for folder in folders:
            jar = Path(folder) / "meteor" / "meteor-1.5.jar"
            if jar.is_file():
                return cls(java, jar)
        raise MeteorUnavailable("no meteor-1.5.jar: METEOR is left out (the package pycocoevalcap brings it)")

    def align(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Statistics of (hypothesis, reference) pairs.

        Args:
            pairs: P pairs of texts. Line breaks and the jar's own separator `|||` are cleaned away.

        Returns:
            (P, 23) float64: words and function words of both, matches by matcher, chunks, matched words.

        Raises:
            MeteorUnavailable: if the jar fails, takes too long or answers something else.
        """
        lines = "".join(f"SCORE ||| {clean_text(reference)} ||| {clean_text(hypothesis)}\n"
                        for hypothesis, reference in pairs)
        command = [self.java, "-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", str(self.jar), "-", "-", "-stdio", "-t",
                   "hter"]
        limit = self.timeout + 10 * (START_SECONDS + len(pairs) / PAIRS_PER_SECOND)
        try:  # run() kills the process when it is interrupted; when we are killed, its input ends and so does it
            answer = subprocess.run(command, input=lines.encode("utf-8", "replace"), capture_output=True, timeout=limit)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MeteorUnavailable(f"METEOR's jar did not run ({type(error).__name__}: {error})") from None
        rows = answer.stdout.decode("utf-8", "replace").splitlines()
        try:
            statistics = np.array([row.split() for row in rows], float).reshape(-1, NUM_STATISTICS)
        except ValueError:
            statistics = np.zeros((0, NUM_STATISTICS))
        if answer.returncode or len(statistics) != len(pairs):
            cause = (answer.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[0]
            raise MeteorUnavailable(f"METEOR's jar answered {len(statistics)} of {len(pairs)} pairs and ended with "
                                    f"code {answer.returncode}: {cause}")
        words, reference_words, chunks, matched, reference_matched = statistics[:, [0, 1, 20, 21, 22]].T
        whole = (matched == words) & (reference_matched == reference_words) & (chunks == 1)
        statistics[whole, 20] = 0  # one unbroken match is not fragmented, and the jar's sums count it as such
        return statistics


def clean_text(text: str) -> str:
    """One line without the jar's separator, single blanks."""
    return " ".join(text.replace("|||", " ").split())


def meteor_score(statistics: np.ndarray) -> np.ndarray:
    """METEOR (...) of statistics (..., 23), of one pair or summed over a corpus (Denkowski and Lavie 2014)."""
    words, reference_words, function, reference_function = np.moveaxis(statistics[..., :4], -1, 0)
    matches = statistics[..., 4:20].reshape(*statistics.shape[:-1], 4, 4)  # matcher x (content, its reference's,
    chunks, matched, reference_matched = np.moveaxis(statistics[..., 20:], -1, 0)      # function, its reference's)
    weighted = np.tensordot(MATCHER_WEIGHTS, np.moveaxis(matches, -2, 0), 1)
    precision = _ratio(DELTA * weighted[..., 0] + (1 - DELTA) * weighted[..., 2],
                       DELTA * (words - function) + (1 - DELTA) * function)
    recall = _ratio(DELTA * weighted[..., 1] + (1 - DELTA) * weighted[..., 3],
                    DELTA * (reference_words - reference_function) + (1 - DELTA) * reference_function)
    mean = _ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    fragmentation = _ratio(chunks, (matched + reference_matched) / 2)
    return mean * (1 - GAMMA * fragmentation ** BETA)


def best_reference(statistics: np.ndarray, owner: np.ndarray, num_hypotheses: int) -> np.ndarray:
    """Of each hypothesis' pairs the one that scores best, as the jar chooses among several references.

    Args:
        statistics: (P, 23), the pairs. owner: (P,) int, the hypothesis of each pair, ascending.

    Returns:
        (H, 23) float64. Every hypothesis needs a pair.
    """
    order = np.lexsort((np.arange(len(owner)), -meteor_score(statistics), owner))
    first = np.searchsorted(owner[order], np.arange(num_hypotheses))
    return statistics[order[first]]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)
