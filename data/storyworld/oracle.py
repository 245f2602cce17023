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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log
from typing import Any

import numpy as np

from data.storyworld.albums import Album, Photo, WorldStory, build_world
from data.storyworld.config import WorldConfig
from data.storyworld.descriptions import HAS_DESCRIPTIONS, NUM_DESCRIPTIONS, description_grammar
from data.storyworld.future import next_outlooks, photo_chances
from data.storyworld.grammar import TAG_NAMES
from data.storyworld.sentences import VOICES, outlook_grammar, sentence_grammar
from data.storyworld.world import NUM_STAGES, WEATHERS, Outlook, Scene, draw

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
    others = [_other_photo(album, photo).scene for photo in inputs]
    told = list(zip((photo.scene for photo in inputs), others))
    for photo, chance in zip(candidates, photo_chances(candidates[0].scene, candidates[1].scene, told)):
        chances[photo.photo_id] = chance
    return chances


def _other_photo(album: Album, photo: Photo) -> Photo:
    """The other photo of the same stage, or the photo itself where both stories share it."""
    same_stage = [other for other in album.photos if other.scene.stage == photo.scene.stage]
    return next((other for other in same_stage if other is not photo), photo)


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
