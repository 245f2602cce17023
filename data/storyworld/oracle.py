"""The best possible predictions on a storyworld, from its specification alone: nothing is drawn, nothing is learned.

The oracle knows the rules with all their probabilities. Of a story it has seen frames 1..t: everything visible in
these scenes (also where a photo is missing or unreadable) and their sentences, which give the story's voice away.

- Words and tags of frame t+1 are predicted from the story alone: exact sums over every scene that may come next, the
  voices, and all ways to write a sentence. Whether the photo has captions in isolation is not known beforehand.
- The next photo is predicted knowing, in addition, the album: what each of its photos shows and at which of the five
  stages of the day it was taken, hence also the frames of the album's other story up to t.

So a model, which has to make out scenes from pixels and to learn the rules from examples, may reach these numbers
and not pass them (but for luck on a small split). The written sentence is a good one, no optimum: see `write_best`.
"""
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log
from typing import Any

import numpy as np

from data.storyworld import world
from data.storyworld.albums import Album, Photo, WorldStory, build_world
from data.storyworld.config import WorldConfig
from data.storyworld.grammar import TAG_NAMES
from data.storyworld.sentences import (
    HAS_DESCRIPTIONS,
    NUM_DESCRIPTIONS,
    VOICES,
    description_grammar,
    outlook_grammar,
    sentence_grammar,
)
from data.storyworld.world import AIMS, KEEPS, NEXT_PLACE, NUM_STAGES, STARTS, WEATHERS, Outlook, Scene, draw

NUM_DRAFTS, NUM_LISTENERS = 12, 24


@dataclass(frozen=True)
class OraclePrediction:
    """What is best predicted for frame t+1 from frames 1..t.

    Attributes:
        photo_probs: probability that each of the album's photos, own inputs excluded, is the next one; sums to 1.
            Missing and unreadable photos are included: renormalise over the candidates that count.
        tag_probs: (49,) float64 in the order of TAG_NAMES (the folder's columns 2..50): the probability that frame t+1
            is labelled with each tag, from its sentence and its photo's captions in isolation.
        caption_logprob: natural logarithm of the probability of the true sentence's words, its end included.
        num_words: number of these words; with the end of the sentence one token more.
        written: a sentence for frame t+1, words parted by blanks.
    """

    photo_probs: dict[str, float]
    tag_probs: np.ndarray
    caption_logprob: float
    num_words: int
    written: str


def oracle_predictions(spec: Mapping[str, Any], split: str) -> dict[tuple[str, int], OraclePrediction]:
    """Predict every frame 2..5 of a split's stories.

    Args:
        spec: the `storyworld` object of an annotation file's `info`.
        split: "train", "val" or "test".

    Returns:
        {(story_id, t): prediction of frame t+1} for t = 1..4.

    Raises:
        UserError: if the spec is of another version.
    """
    config = WorldConfig.from_spec(dict(spec))
    return {(story.story_id, seen): _predict(config, album, story, seen)
            for album in build_world(config).splits[split] for story in album.stories for seen in range(1, NUM_STAGES)}


def _predict(config: WorldConfig, album: Album, story: WorldStory, seen: int) -> OraclePrediction:
    history, words = story.scenes[:seen], story.sentences[seen]
    voices = voice_chances(history, story.sentences)
    outlooks = next_outlooks(history)
    tag_probs, caption_prob = np.zeros(len(TAG_NAMES)), 0.0
    for outlook, chance in outlooks:
        for voice, voice_chance in voices.items():
            tag_probs += chance * voice_chance * label_chances(history, outlook, voice, config.tags)
            caption_prob += chance * voice_chance * outlook_grammar(history, outlook, voice).probability(words)
    rng = random.Random(f"oracle/{story.story_id}/{seen}")
    return OraclePrediction(next_photos(album, story.photos[:seen]), tag_probs, log(caption_prob), len(words),
                            " ".join(write_best(rng, history, outlooks, voices)))


def voice_chances(history: Sequence[Scene], sentences: Sequence[Sequence[str]]) -> dict[str, float]:
    """How likely each voice is after the sentences of the scenes in `history`."""
    chances = {}
    for voice, chance in VOICES:
        for stage in range(len(history)):
            chance *= sentence_grammar(history[:stage + 1], voice).probability(sentences[stage])
        chances[voice] = chance
    total = sum(chances.values())
    return {voice: chance / total for voice, chance in chances.items() if chance > 0}


def label_chances(history: Sequence[Scene], outlook: Outlook, voice: str, tags: str) -> np.ndarray:
    """(49,) float64: how likely a frame that turns out as `outlook` is labelled with each tag.

    Act and detail decide what both the sentence and the captions in isolation may say, so they are summed over here.
    """
    first, second = history[0], history[1] if len(history) > 1 else None
    return _label_chances(replace(outlook, hero=0, weather=WEATHERS[0][0], lights=((0, 1.0),)), voice, tags,
                          first.aim, first.place, second and second.aim)


@lru_cache(maxsize=50_000)
def _label_chances(outlook: Outlook, voice: str, tags: str, first_aim: int, first_place: str, second_aim: int | None
                   ) -> np.ndarray:
    """Cached where hero, weather and light are set to any value: no tag depends on them."""
    chances = np.zeros(len(TAG_NAMES))
    before = [Scene(0, 0, first_place, "", "", 0, "", first_aim), Scene(1, 0, "", "", "", 0, "", second_aim)]
    for scene, chance in outlook.scenes():
        missed = 1 - outlook_grammar(before, Outlook.of(scene), voice).tag_chances
        if tags == "informative":
            missed = missed * (1 - description_tags(scene))
        chances += chance * (1 - missed)
    return chances


def description_tags(scene: Scene) -> np.ndarray:
    """(49,) float64: how likely a photo's captions in isolation carry each tag, in an informative world."""
    misses = 1 - description_grammar(scene).tag_chances
    none_of_them = np.sum([weight * misses ** count for count, weight in NUM_DESCRIPTIONS], axis=0)
    return HAS_DESCRIPTIONS * (1 - none_of_them)


def next_photos(album: Album, inputs: Sequence[Photo]) -> dict[str, float]:
    """How likely each photo of the album is the next one of a story that began with `inputs`."""
    seen = len(inputs)
    shown = {photo.photo_id for photo in inputs}
    chances = {photo.photo_id: 0.0 for photo in album.photos if photo.photo_id not in shown}
    candidates = [photo for photo in album.photos if photo.scene.stage == seen]
    if len(candidates) == 1:
        chances[candidates[0].photo_id] = 1.0
        return chances
    told = []
    for photo in inputs:  # with the other photo of its stage, or itself where both stories share it
        same_stage = (other for other in album.photos if other.scene.stage == photo.scene.stage and other is not photo)
        told.append((photo.scene, next(same_stage, photo).scene))
    for photo, chance in zip(candidates, photo_chances(candidates[0].scene, candidates[1].scene, told)):
        chances[photo.photo_id] = chance
    return chances


def write_best(rng: random.Random, history: Sequence[Scene], outlooks: Sequence[tuple[Outlook, float]],
               voices: Mapping[str, float]) -> tuple[str, ...]:
    """Write what agrees best with what may come.

    Of some drafts for the most probable turn in the most probable voice, the one that shares most words and word
    pairs, on average, with sentences drawn from the full prediction: scores against references reward consensus.
    """
    outlook = max(outlooks, key=lambda pair: pair[1])[0]
    grammar = outlook_grammar(history, outlook, max(voices, key=lambda name: voices[name]))
    drafts = sorted({grammar.write(rng) for _ in range(NUM_DRAFTS)})
    listeners = [_parts(outlook_grammar(history, draw(rng, outlooks), draw(rng, tuple(voices.items()))).write(rng))
                 for _ in range(NUM_LISTENERS)]

    def agreement(draft: tuple[str, ...]) -> float:
        own = _parts(draft)
        return sum(2 * len(own & heard) / (len(own) + len(heard)) for heard in listeners)

    return max(drafts, key=agreement)


def _parts(words: Sequence[str]) -> frozenset[object]:
    return frozenset(words) | frozenset(zip(words, words[1:]))


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
    stage, keeps = first.stage, KEEPS[first.stage]
    ruled = tuple(_ruled(stage, pair) for pair in zip(*told))
    shown = [(scene.place, scene.mode, scene.aim, scene.aim)[stage - 1] for scene in (first, second)]
    # up to a factor that a swap leaves alone
    chances = [keeps * (found == ruled) + (1 - keeps) * (found == ruled[::-1])
               for found in (tuple(shown), tuple(shown[::-1]))]
    total = sum(chances)
    return chances[0] / total, chances[1] / total


def _ruled(stage: int, scenes: Sequence[Scene]) -> str | int | None:
    """What the rule of a stage asks for after these scenes of one story."""
    if stage == 1:
        return NEXT_PLACE[scenes[0].place]
    aim = scenes[0].aim if stage == 4 else scenes[1].aim
    assert aim is not None
    return AIMS[aim].mode if stage == 2 else aim
