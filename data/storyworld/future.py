"""How likely each next scene is, for a reader who knows the rules and has seen the scenes so far.

Two readers: `next_outlooks` has seen nothing but the story; `photo_chances` also knows the album it was picked from.
"""
from collections.abc import Iterator, Sequence

from data.storyworld import world
from data.storyworld.world import AIMS, KEEPS, NEXT_PLACE, STARTS, Outlook, Scene


def own_mode_chance() -> float:
    """How often the way follows the story's own second aim and not the other story's.

    A shared middle follows either story with equal chance, one of its own follows the rule.
    """
    return world.SHARED_MIDDLE * 0.5 + (1 - world.SHARED_MIDDLE) * KEEPS[2]


def _other_second(history: Sequence[Scene]) -> dict[int, float]:
    """The album's other second aim, given the story's scenes 0..2 or more."""
    first, second, mode = history[0].aim, history[1].aim, history[2].mode
    assert second is not None
    own = own_mode_chance()
    weights = {aim: own * (AIMS[second].mode == mode) + (1 - own) * (AIMS[aim].mode == mode)
               for aim in range(len(AIMS)) if aim not in (first, second)}
    betrayed = history[3].aim if len(history) > 3 else second
    if betrayed is not None and betrayed != second:
        return {betrayed: 1.0}
    total = sum(weights.values())
    return {aim: weight / total for aim, weight in weights.items() if weight > 0}


def next_aims(history: Sequence[Scene]) -> dict[int, float]:
    """The aim of the next scene (stages 1, 3, 4), given all scenes so far."""
    stage, first = len(history), history[0].aim
    assert first is not None
    if stage == 1:
        return {aim: 1 / (len(AIMS) - 1) for aim in range(len(AIMS)) if aim != first}
    second = history[1].aim
    assert second is not None
    others = _other_second(history)
    if stage == 3:
        return {second: KEEPS[3], **{aim: (1 - KEEPS[3]) * chance for aim, chance in others.items()}}
    aims = {first: KEEPS[4]}
    for other, chance in others.items():
        left = [aim for aim in range(len(AIMS)) if aim not in (first, second, other)]
        for aim in left:
            aims[aim] = aims.get(aim, 0.0) + (1 - KEEPS[4]) * chance / len(left)
    return aims


def next_modes(history: Sequence[Scene]) -> dict[str, float]:
    """How the hero travels at stage 2, given scenes 0 and 1."""
    first, second = history[0].aim, history[1].aim
    assert second is not None
    own = own_mode_chance()
    modes = {AIMS[second].mode: own}
    others = [aim for aim in range(len(AIMS)) if aim not in (first, second)]
    for aim in others:
        modes[AIMS[aim].mode] = modes.get(AIMS[aim].mode, 0.0) + (1 - own) / len(others)
    return modes


def _next_settings(history: Sequence[Scene]) -> Iterator[tuple[str, int | None, str | None, float]]:
    """(place, aim, mode, probability) of the next scene."""
    stage = len(history)
    if stage == 2:
        for mode, chance in next_modes(history).items():
            yield world.MODE_PLACE[mode], None, mode, chance
        return
    for aim, chance in next_aims(history).items():
        if stage > 2:
            yield AIMS[aim].place, aim, None, chance
            continue
        for start in STARTS:
            keeps = KEEPS[1] if start == history[0].place else (1 - KEEPS[1]) / (len(STARTS) - 1)
            yield NEXT_PLACE[start], aim, None, chance * keeps


def next_outlooks(history: Sequence[Scene]) -> list[tuple[Outlook, float]]:
    """Everything that can come next, with its probability, given the story's 1 to 4 scenes so far."""
    last = history[-1]
    return [(Outlook(len(history), last.hero, place, last.weather, world.MODE_ACTS[mode] if mode else world.ACTS[place],
                     world.DETAILS[place], world.light_after(last.light), aim, mode), chance)
            for place, aim, mode, chance in _next_settings(history) if chance > 0]


def photo_chances(first: Scene, second: Scene, told: Sequence[tuple[Scene, Scene]]) -> tuple[float, float]:
    """How likely each of an album's two photos of the next stage is the story's next one.

    Args:
        first, second: the two candidates, in any order.
        told: the (story's, other story's) scenes of all stages before.

    Returns:
        The probabilities of `first` and of `second`; they sum to 1.
    """
    chances = [_stage_likelihood(mine, theirs, told) for mine, theirs in ((first, second), (second, first))]
    total = sum(chances)
    return chances[0] / total, chances[1] / total


def _stage_likelihood(mine: Scene, theirs: Scene, told: Sequence[tuple[Scene, Scene]]) -> float:
    """How likely the next stage falls out as (mine, theirs), up to a factor that a swap leaves alone."""
    keeps = KEEPS[mine.stage]
    ruled = tuple(_ruled(mine.stage, pair) for pair in zip(*told))
    found = (_setting(mine), _setting(theirs))
    return keeps * (found == ruled) + (1 - keeps) * (found == ruled[::-1])


def _ruled(stage: int, scenes: Sequence[Scene]) -> str | int | None:
    """What the rule of a stage asks for after these scenes of one story."""
    if stage == 1:
        return NEXT_PLACE[scenes[0].place]
    aim = scenes[0].aim if stage == 4 else scenes[1].aim
    assert aim is not None
    return AIMS[aim].mode if stage == 2 else aim


def _setting(scene: Scene) -> str | int | None:
    return (scene.place, scene.mode, scene.aim, scene.aim)[scene.stage - 1]
