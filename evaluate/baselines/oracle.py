"""The oracle row: the best possible predictions, on a storyworld, from the rules that its annotations carry along."""
import logging
from typing import Any

import numpy as np

from data.errors import UserError
from evaluate.config import TS
from evaluate.rows import ORACLE, Row, TagGuess
from evaluate.split import EvaluatedSplit
from evaluate.tags.tag_scores import FIRST_TAG

logger = logging.getLogger(__name__)


def oracle_row(split: EvaluatedSplit) -> Row | None:
    """What an oracle predicts for every story; None where the stories are of no storyworld.

    Its photo predictions are probabilities of candidates, not features: ranks are all that can be scored of them.
    """
    spec = split.words.info.get(split.name, {}).get("storyworld")
    if not spec:
        return None
    from data.storyworld.oracle import TAG_NAMES, oracle_predictions
    try:
        predictions = oracle_predictions(spec, split.name)
        told = [[predictions[story_id, t] for t in TS] for story_id in split.units.story_ids]
    except (UserError, KeyError) as error:
        logger.warning("no oracle row: these stories are not those of the storyworld they name (%s)", error)
        return None
    row = Row(ORACLE)
    same_tags = tuple(split.words.tag_names[FIRST_TAG:]) == tuple(TAG_NAMES)
    tags = {}
    for place, t in enumerate(TS):
        of_stories = [predicted[place] for predicted in told]
        row.beliefs[t] = [believed_candidates(split, predicted.photo_probs) for predicted in of_stories]
        row.written[t] = [predicted.written.split() for predicted in of_stories]
        row.nll[t] = np.array([-predicted.caption_logprob for predicted in of_stories])
        row.nll_known[t] = np.where(split.num_unknown[:, t] > 0, np.nan, row.nll[t])  # it tells whole captions alone
        probs = np.stack([predicted.tag_probs for predicted in of_stories])
        tags[t] = TagGuess(np.pad(probs, ((0, 0), (FIRST_TAG, 0))))
    row.tags = {"next": tags} if same_tags else {}
    return row


def believed_candidates(split: EvaluatedSplit, photo_probs: dict[str, Any]) -> dict[int, float]:
    """Probabilities of photo ids -> of candidates; photos without a usable content are left out."""
    row_of, of_photo = split.features.row_of, split.candidates.of_photo
    believed: dict[int, float] = {}
    for photo_id, chance in photo_probs.items():
        candidate = int(of_photo[row_of[photo_id]]) if photo_id in row_of else -1
        if candidate >= 0:
            believed[candidate] = believed.get(candidate, 0.0) + float(chance)
    return believed
