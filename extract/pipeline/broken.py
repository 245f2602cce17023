"""Features that are no numbers: of one photo its own misfortune, of every photo broken weights."""
import numpy as np

from data.errors import UserError
from data.pictures.photos import UNREADABLE
from extract.backbones.mapper import Mapped
from extract.pipeline.assembly import Assembly

CAUSE = "feature not finite"
ENOUGH = 32  # pictures without one good feature: then it is not the photos


class FiniteCheck:
    """Tells the photos that a backbone makes no numbers of from a backbone that makes no numbers at all.

    Until one feature was finite nothing can be told, and nothing of what was looked at should be published.

    Args:
        is_proven: whether the backbone made finite features in an earlier run. precision: for messages.
    """

    def __init__(self, is_proven: bool, precision: str) -> None:
        self._is_proven, self._precision, self._num_broken = is_proven, precision, 0

    @property
    def is_open(self) -> bool:
        """Whether there were broken features and no good one yet."""
        return self._num_broken > 0 and not self._is_proven

    def look(self, mapped: Mapped, count: int) -> np.ndarray:
        """(count,) bool: which of a batch's first pictures have finite features and tokens.

        Raises:
            UserError: if ENOUGH pictures were looked at and none of them has.
        """
        is_finite = np.isfinite(mapped.features[:count]).all(axis=1)
        if mapped.tokens is not None:
            is_finite &= np.isfinite(mapped.tokens[:count]).all(axis=(1, 2))
        self._is_proven |= bool(is_finite.any())
        self._num_broken += int((~is_finite).sum())
        if self._num_broken >= ENOUGH:
            self.require_proof()
        return is_finite

    def require_proof(self) -> None:
        """Refuse to go on when not one feature was finite.

        Raises:
            UserError: if so.
        """
        if self.is_open:
            raise UserError("expected finite features that float16 holds (below 65,504), found none for any of the "
                            f"first {self._num_broken} pictures with precision {self._precision}; choose --precision "
                            "float32 or other weights")

    def mark(self, assembly: Assembly, row: int) -> None:
        """Make a row one of zeros that says why."""
        assembly.set_bad(row, UNREADABLE, CAUSE, f"not all of it is a number below 65,504 in {self._precision}")
