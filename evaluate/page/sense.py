"""Story sense as the page shows it: each task by both halves and by either alone, beside what guessing scores."""
from dataclasses import dataclass

from evaluate.page.run_files import EvaluatedRun, Score
from evaluate.page.verdict import find_model_row
from evaluate.statistics.bootstrap import side_of_zero

CHANCE = "chance"
TASKS = {"cloze.other_album.1_of_2": "Ending, 1 of 2, the other from another album",
         "cloze.other_album.1_of_4": "Ending, 1 of 4, the others from other albums",
         "cloze.same_album.1_of_2": "Ending, 1 of 2, the other from the same album",
         "cloze.same_album.1_of_4": "Ending, 1 of 4, the others from the same album",
         "ordering.pairwise": "Order, pairs of frames put right", "ordering.exact": "Order, all five put right",
         "ordering.spearman": "Order, Spearman's rank correlation"}


@dataclass(frozen=True, slots=True)
class SenseRow:
    """One task: its scores by photo and caption together, by the photo, by the caption, and by guessing."""

    label: str
    scores: tuple[Score, Score, Score]
    chance: Score
    verdict: str  # against guessing, both halves together; "" where nothing can be claimed


def list_sense(run: EvaluatedRun) -> list[SenseRow]:
    """The tasks that were measured; none where story sense was switched off."""
    model, chance = run.scores.get(find_model_row(run), {}), run.scores.get(CHANCE, {})
    absent = Score(None)
    return [SenseRow(label, (model[name], model.get(f"{name}.photo", absent), model.get(f"{name}.caption", absent)),
                     chance.get(name, absent), _judge(run.paired.get(CHANCE, {}).get(name, absent)))
            for name, label in TASKS.items() if name in model and model[name].value is not None]


def _judge(difference: Score) -> str:
    if difference.low is None or difference.high is None:
        return ""
    return {1: "above", -1: "below", 0: "not told apart"}[side_of_zero(difference.low, difference.high)]
