"""Tags of a caption: a spaCy PhraseMatcher over the surface forms of a tag table. No model, no download."""
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, groupby, repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data.words.tag_table import RESERVED_TAGS, SHIPPED_PATH, Rule, load_entries, spell_variants
from data.words.tokens import import_spacy

if TYPE_CHECKING:
    from spacy.matcher import PhraseMatcher

PAD_TAG, UNK_TAG = 0, 1
MATCHER_VERSION = 1  # part of the identity: changes when equal tables would give other tags
SEPARATOR = "\n"  # no word contains white space, so no phrase reaches over it
BATCH_CAPTIONS = 1024


class Meaning(NamedTuple):
    """What a phrase says about one tag column: a form with its rules, or a blocker."""

    column: int
    is_form: bool
    rules: tuple[Rule, ...]


class TagTable:
    """Surface forms -> tags; G columns of which the first two are <PAD> and <UNK>.

    Attributes:
        names: (G,) in column order.
        categories: tag name -> category; the two reserved columns have none.
        forms: tag name -> the surface forms that mean it, written out.
        sha256: identity of the table's content and of how it is matched.
    """

    def __init__(self, path: Path) -> None:
        raw, entries = load_entries(path)
        self.path = path
        self.names: list[str] = [*RESERVED_TAGS, *entries]
        self.categories = {name: entry.category for name, entry in entries.items()}
        self.forms = {name: entry.forms for name, entry in entries.items()}
        self._entries = entries
        canonical = json.dumps({"matcher": MATCHER_VERSION, "table": raw}, sort_keys=True, separators=(",", ":"))
        self.sha256 = hashlib.sha256(canonical.encode("ascii")).hexdigest()

    @classmethod
    def load(cls, path: Path | None = None) -> "TagTable":
        """Read a table; None is the shipped one.

        Raises:
            UserError: naming the place in the file and what was expected there.
        """
        return cls(path or SHIPPED_PATH)

    def __len__(self) -> int:
        return len(self.names)

    def tags_of(self, words: Sequence[str]) -> set[int]:
        """The columns of the tags in one caption, from its lower-case words; empty where there is none."""
        return set(np.flatnonzero(self.tags_of_many([words])[0]).tolist())

    def tags_of_many(self, captions: Sequence[Sequence[str]]) -> np.ndarray:
        """Find the tags of many captions.

        Args:
            captions: the lower-case words of N captions, as `data.words.tokens.split_words` gives them.

        Returns:
            (N, G) uint8, multi-hot; columns <PAD> and <UNK> are never set here.
        """
        tags = np.zeros((len(captions), len(self.names)), np.uint8)
        for first in range(0, len(captions), BATCH_CAPTIONS):
            self._tag_batch(captions[first:first + BATCH_CAPTIONS], tags[first:first + BATCH_CAPTIONS])
        return tags

    def _tag_batch(self, captions: Sequence[Sequence[str]], tags: np.ndarray) -> None:
        """Match a batch as one document: making a document costs more than the matching does."""
        matcher, meanings = self._matcher
        starts = [0, *accumulate(len(words) + 1 for words in captions)]
        joined: list[str] = []
        for words in captions:
            joined.extend(words)
            joined.append(SEPARATOR)
        document = import_spacy().tokens.Doc(matcher.vocab, words=joined)
        matches = [(start, end, key) for key, start, end in matcher(document)]
        matches.sort()
        rows = np.searchsorted(starts, [start for start, _, _ in matches], side="right") - 1
        for row, group in groupby(zip(rows.tolist(), matches), key=lambda pair: pair[0]):
            found = [(start - starts[row], end - starts[row], meanings[key]) for _, (start, end, key) in group]
            tags[row, list(_resolve(captions[row], found))] = 1

    @cached_property
    def _matcher(self) -> tuple["PhraseMatcher", dict[int, list[Meaning]]]:
        spacy = import_spacy()  # late: names and forms need none
        matcher = spacy.matcher.PhraseMatcher(spacy.vocab.Vocab(), attr="ORTH")
        meanings: dict[str, list[Meaning]] = {}
        for column, (_name, entry) in enumerate(self._entries.items(), start=len(RESERVED_TAGS)):
            claimed: set[str] = set()  # a variant never overrides what the table spells out
            spelled = {*entry.forms, *entry.blockers}
            for phrase, is_form in [*zip(entry.forms, repeat(True)), *zip(entry.blockers, repeat(False))]:
                meaning = Meaning(column, is_form, entry.rules.get(phrase, ()))
                for variant in spell_variants(phrase):
                    if variant not in claimed and (variant == phrase or variant not in spelled):
                        claimed.add(variant)
                        meanings.setdefault(variant, []).append(meaning)
        for phrase in meanings:
            matcher.add(phrase, [spacy.tokens.Doc(matcher.vocab, words=phrase.split(" "))])
        return matcher, {matcher.vocab.strings[phrase]: found for phrase, found in meanings.items()}


def _resolve(words: Sequence[str], found: list[tuple[int, int, list[Meaning]]]) -> set[int]:
    """Let the longest phrase win within every tag, and drop what a guard's rule meets."""
    found.sort(key=lambda match: match[0] - match[1])  # longest first; of equals the leftmost stays first
    claimed: dict[int, int] = {}  # column -> bits of the words that a longer form has used up
    blocked: dict[int, int] = {}  # column -> bits of the words that longer blockers have taken away
    columns = set()
    for start, end, meanings in found:
        bits = (1 << end) - (1 << start)
        for column, is_form, rules in meanings:
            if claimed.get(column, 0) & bits:
                continue
            if not is_form:
                blocked[column] = blocked.get(column, 0) | bits
            elif not blocked.get(column, 0) & bits:
                claimed[column] = claimed.get(column, 0) | bits
                if not any(all(condition.holds(words, start, end) for condition in rule) for rule in rules):
                    columns.add(column)
    return columns
