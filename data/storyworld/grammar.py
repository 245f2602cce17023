"""Sentences from weighted templates whose probability can be computed exactly.

A grammar maps a slot's name to weighted templates: words parted by blanks, `{slot}` for another slot. It never
recurses. One sentence may come about in several ways; `probability` sums over all of them.
"""
import random
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data.storyworld.world import draw

Rules = tuple[tuple[str, float], ...]


def _freeze(value: Any) -> Any:
    """Tables stay tables, lists become tuples."""
    if isinstance(value, dict):
        return {name: _freeze(part) for name, part in value.items()}
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


WORDING = _freeze(tomllib.loads(Path(__file__).with_name("wording.toml").read_text("ascii")))
TAG_NAMES = tuple(WORDING["tags"])                     # in the order of the features folder's columns 2..50
TAG_OF = {form: tag for tag, forms in WORDING["tags"].items() for form in forms.split()}


@cache
def _parse(template: str) -> tuple[str, ...]:
    """Words and `{slot}`s; "living room" is parted late so that it counts as one form here."""
    return tuple(part for symbol in template.split()
                 for part in (symbol.split("_") if symbol == "living_room" else (symbol,)))


class Grammar:
    """The sentences for one situation; `start` names the slot that gives a whole sentence."""

    def __init__(self, slots: Mapping[str, Rules], start: str) -> None:
        self.start = "{" + start + "}"
        self._slots = {"{" + name + "}": tuple(rules) for name, rules in slots.items()}
        self._totals = {name: sum(weight for _, weight in rules) for name, rules in self._slots.items()}

    def write(self, rng: random.Random) -> tuple[str, ...]:
        """Draw a sentence: its words."""
        words: list[str] = []
        pending = [self.start]
        while pending:
            symbol = pending.pop()
            if symbol in self._slots:
                pending.extend(reversed(_parse(draw(rng, self._slots[symbol]))))
            else:
                words.append(symbol)
        return tuple(words)

    def probability(self, words: Sequence[str]) -> float:
        """The probability that `write` gives exactly these words, over all ways to come about."""
        ends = self._ends(self.start, 0, words, {})
        return ends.get(len(words), 0.0)

    def _ends(self, symbol: str, begin: int, words: Sequence[str],
              known: dict[tuple[str, int], dict[int, float]]) -> dict[int, float]:
        """Where `symbol` can end when it begins at word `begin`: {end: probability}."""
        if symbol not in self._slots:
            return {begin + 1: 1.0} if begin < len(words) and words[begin] == symbol else {}
        key = (symbol, begin)
        if key not in known:
            ends: dict[int, float] = {}
            known[key] = ends
            total = self._totals[symbol]
            for template, weight in self._slots[symbol]:
                reached = {begin: weight / total}
                for part in _parse(template):
                    further: dict[int, float] = {}
                    for middle, chance in reached.items():
                        for end, rest in self._ends(part, middle, words, known).items():
                            further[end] = further.get(end, 0.0) + chance * rest
                    reached = further
                    if not reached:
                        break
                for end, chance in reached.items():
                    ends[end] = ends.get(end, 0.0) + chance
        return known[key]

    @cached_property
    def tag_chances(self) -> np.ndarray:
        """(49,) float64, in the order of TAG_NAMES: the probability that the sentence carries each tag.

        Slots are drawn independently, so the chance to miss a tag multiplies over the parts of a template.
        """
        return 1 - self._misses(self.start, {})

    def _misses(self, symbol: str, known: dict[str, np.ndarray]) -> np.ndarray:
        if symbol not in known:
            rules = self._slots[symbol]
            if not any(part in self._slots for template, _ in rules for part in _parse(template)):
                return _plain_misses(rules)
            missed = np.zeros(len(TAG_NAMES))
            for template, weight in rules:
                chance = weight * _untouched(template)
                for part in _parse(template):
                    if part in self._slots:
                        chance = chance * self._misses(part, known)
                missed += chance
            known[symbol] = missed / self._totals[symbol]
        return known[symbol]


@cache
def _untouched(template: str) -> np.ndarray:
    """(49,) 0 where the template's own words carry the tag, else 1."""
    carried = {TAG_OF[word] for word in template.split() if word in TAG_OF}
    return np.array([0.0 if name in carried else 1.0 for name in TAG_NAMES])


@cache
def _plain_misses(rules: Rules) -> np.ndarray:
    """(49,) the chance to miss each tag, of templates without slots."""
    total = sum(weight for _, weight in rules)
    return np.sum([weight / total * _untouched(template) for template, weight in rules], axis=0)


def tags_of(words: Sequence[str]) -> set[str]:
    """The tags of a whole sentence of this world."""
    pairs = {f"{first}_{second}" for first, second in zip(words, words[1:])}
    return {TAG_OF[form] for form in pairs | set(words) if form in TAG_OF}
