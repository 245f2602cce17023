"""Sentences from weighted templates whose probability can be computed exactly.

A grammar maps a slot's name to weighted templates: words parted by blanks, `{slot}` for another slot. It never recurses.
One sentence may come about in several ways; `probability` sums over all of them.
"""
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from data.storyworld.world import draw

Rules = Sequence[tuple[str, float]]

# What the words of this world mean, as single words or pairs. A test holds it against the project's tag table.
TAG_OF = {form: tag for tag, forms in {
    "person": "[female] [male] girl woman lady boy man gentleman kid grandmother friend friends teacher nurse people",
    "dog": "dog puppy", "cat": "cat kitten", "car": "car", "table": "table tables", "chair": "chair",
    "cup": "cup mug", "bottle": "bottle", "tree": "tree trees", "building": "buildings skyscrapers",
    "phone": "phone cellphone", "laptop": "laptop", "book": "novel storybook book", "bed": "bed", "window": "window windows",
    "door": "door", "plant": "fern cactus plant", "bicycle": "bicycle bike", "motorcycle": "motorcycle motorbike",
    "walking": "walked walking strolled strolling stroll", "running": "ran running jogged sprinted jogging",
    "sitting": "sat sitting", "standing": "stood standing", "eating": "ate eating", "drinking": "drank drinking sipped",
    "reading": "read reading", "writing": "wrote writing", "talking": "talked talking chatted chatting spoke",
    "smiling": "smiled smiling grinned", "jumping": "jumped jumping leaped", "sleeping": "slept sleeping asleep nap",
    "cooking": "cooked cooking baked", "driving": "drove driving", "dancing": "danced dancing",
    "kitchen": "kitchen", "bedroom": "bedroom", "living_room": "living_room", "office": "office workplace",
    "street": "street road sidewalk", "park": "park playground", "restaurant": "restaurant cafe", "beach": "beach seaside",
    "forest": "forest woods", "city": "city downtown", "home": "house", "school": "school classroom",
    "hospital": "hospital clinic", "store": "store supermarket", "garden": "garden",
}.items() for form in forms.split()}


@lru_cache(maxsize=None)
def _parse(template: str) -> tuple[str, ...]:
    """Words and `{slot}`s; "living room" is parted late so that it counts as one form here."""
    return tuple(part for symbol in template.split()
                 for part in (symbol.split("_") if symbol == "living_room" else (symbol,)))


@lru_cache(maxsize=None)
def tags_of_template(template: str) -> frozenset[str]:
    """The tags that a template's own words carry."""
    return frozenset(TAG_OF[word] for word in template.split() if word in TAG_OF)


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
            known[key] = ends = {}
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

    def tag_chances(self, names: Iterable[str]) -> dict[str, float]:
        """For each tag, the probability that the sentence carries it.

        Slots are drawn independently, so the chance to miss a tag multiplies over the parts of a template.
        """
        return {name: 1 - self._misses(name, self.start, {}) for name in names}

    def _misses(self, tag: str, symbol: str, known: dict[str, float]) -> float:
        if symbol not in known:
            missed = 0.0
            for template, weight in self._slots[symbol]:
                if tag in tags_of_template(template):
                    continue
                for part in _parse(template):
                    if part in self._slots:
                        weight *= self._misses(tag, part, known)
                missed += weight
            known[symbol] = missed / self._totals[symbol]
        return known[symbol]


def tags_of(words: Sequence[str]) -> set[str]:
    """The tags of a whole sentence of this world."""
    pairs = {f"{first}_{second}" for first, second in zip(words, words[1:])}
    return {TAG_OF[form] for form in pairs | set(words) if form in TAG_OF}
