"""The tag table: which surface forms mean which tag, kept as data so that a team can replace it.

    {"format": 1,
     "language": "en", "note": "free text",
     "names": ["<PAD>", "<UNK>", "dog", "park", ...],              the columns, in order
     "lists": {"determiner": ["a", "the"], ...},                   words that other places name as @determiner
     "guards": {"verb": [{"-1": ["to", "we"]},                     an occurrence that meets a rule does not count
                         {"-1": ["<START>"], "+1": ["@determiner"]}]},
     "tags": {"park": {"category": "location",
                       "forms": ["park", "parks"],                 what means the tag
                       "blockers": ["car park", "@name park"],     what contains a form and does not mean the tag
                       "guards": {"verb": ["park"]}},              forms that count only where their guard lets them
              ...}}

Forms and blockers are lower-case words as `split_words` gives them, one blank between. A place may have
alternatives, "cup|cups"; one that begins with "|" may stay empty, "had |a|some lunch"; "@name" stands for a list.
Phrases of two words also match hyphenated ("hot-dog", "hot - dog"); ' also matches ’; accents match in either
Unicode form.

Within a tag the longest phrase wins, and a blocker takes its words away from shorter forms; tags do not disturb each
other ("dirt bike" blocks bicycle and means motorcycle).

A rule is met when all its conditions are. A condition looks at a place relative to the form: "-1" is the word before
it, "+1" the word after, "-4..-1" any of the four words before; "not -1" is met when no such word is there. Past the
ends of a caption stand <START> and <END>.
"""
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data.errors import UserError
from data.files import read_json

FORMAT = 1
RESERVED_TAGS = ("<PAD>", "<UNK>")
BEFORE_FIRST, AFTER_LAST = "<START>", "<END>"
MAX_TAGS = 1024
MAX_PHRASES = 200_000  # after alternatives are written out
SHIPPED_PATH = Path(__file__).with_name("tag_table.json")

_NAME = re.compile(r"[^\s<>|@]+")
_PLACE = re.compile(r"(not )?([+-][1-9])(?:\.\.([+-][1-9]))?")
_TOP_KEYS = {"format", "language", "note", "names", "lists", "guards", "tags"}
_TAG_KEYS = {"category", "forms", "blockers", "guards"}


class Condition(NamedTuple):
    """Whether one of `words` stands at one of the places first..last, as `expected`."""

    first: int
    last: int
    words: frozenset[str]
    expected: bool

    def holds(self, words: Sequence[str], start: int, end: int) -> bool:
        """Look around the form words[start:end]."""
        for offset in range(self.first, self.last + 1):
            position = start + offset if offset < 0 else end - 1 + offset
            word = BEFORE_FIRST if position < 0 else AFTER_LAST if position >= len(words) else words[position]
            if word in self.words:
                return self.expected
        return not self.expected


Rule = tuple[Condition, ...]


@dataclass(frozen=True)
class TagEntry:
    """One tag: its phrases written out, and the rules under which a form does not count."""

    category: str
    forms: tuple[str, ...]
    blockers: tuple[str, ...]
    rules: dict[str, tuple[Rule, ...]]  # form -> rules


def load_entries(path: Path) -> tuple[dict[str, Any], dict[str, TagEntry]]:
    """Read and check a table.

    Returns:
        The raw JSON, and an entry per tag in column order (the two reserved columns have none).

    Raises:
        UserError: naming the place in the file and what was expected there.
    """
    raw = read_json(path, "a tag table", "see the format in data/words/tag_table.py")
    try:
        return raw, _parse_table(raw)
    except _TableError as error:
        raise UserError(f"{error} in the tag table {path}; mend that place (the format is described in "
                        "data/words/tag_table.py)") from None


def spell_variants(phrase: str) -> Iterator[str]:
    """The spellings a phrase matches besides its own: hyphens, typographic apostrophes, decomposed accents."""
    words = phrase.split(" ")
    spellings = [phrase]
    if len(words) == 2:
        spellings += [f"{words[0]}-{words[1]}", f"{words[0]} - {words[1]}"]
    spellings += [spelling.replace("'", "\u2019") for spelling in spellings if "'" in spelling]
    for spelling in spellings:
        yield spelling
        if not spelling.isascii():
            yield unicodedata.normalize("NFD", spelling)


class _TableError(Exception):
    pass


def _parse_table(raw: Any) -> dict[str, TagEntry]:
    _expect(isinstance(raw, dict), "an object", raw, "top level")
    _expect(raw.get("format") == FORMAT, f"format {FORMAT}", raw.get("format"), "'format'")
    _refuse_unknown(raw, _TOP_KEYS, "top level")
    names = _parse_names(raw.get("names"))
    lists = _parse_lists(raw.get("lists", {}))
    guards = _parse_guards(raw.get("guards", {}), lists)
    tags = raw.get("tags")
    _expect(isinstance(tags, dict), "an object", tags, "'tags'")
    missing, unknown = sorted(set(names) - set(tags)), sorted(set(tags) - set(names))
    if missing or unknown:
        what = f"{missing[0]!r} is a name without an entry" if missing else f"{unknown[0]!r} is no name"
        raise _TableError(f"expected an entry in 'tags' for every one of 'names', found that {what}")
    entries = {name: _parse_tag(tags[name], lists, guards, f"tag {name!r}") for name in names}
    if sum(len(entry.forms) + len(entry.blockers) for entry in entries.values()) > MAX_PHRASES:
        raise _TableError(f"expected at most {MAX_PHRASES} phrases, found more")
    return entries


def _parse_names(names: Any) -> list[str]:
    _expect_strings(names, "'names'")
    if tuple(names[:2]) != RESERVED_TAGS:
        raise _TableError(f"expected 'names' to begin with {', '.join(RESERVED_TAGS)}, found {names[:2]}")
    if not 2 < len(names) <= MAX_TAGS:
        raise _TableError(f"expected 1 to {MAX_TAGS - 2} tags in 'names', found {len(names) - 2}")
    seen: set[str] = set()
    for name in names[2:]:
        if not _NAME.fullmatch(name) or name in seen:
            raise _TableError(f"expected different names without white space or any of < > | @ in 'names', found "
                              f"{name!r}{' twice' if name in seen else ''}")
        seen.add(name)
    return list(names[2:])


def _parse_lists(raw: Any) -> dict[str, tuple[str, ...]]:
    _expect(isinstance(raw, dict), "an object", raw, "'lists'")
    for name, words in raw.items():
        _expect_strings(words, f"list {name!r}")
        for word in words:
            _check_word(word, f"list {name!r}", marks=True)
    return {name: tuple(words) for name, words in raw.items()}


def _parse_guards(raw: Any, lists: dict[str, tuple[str, ...]]) -> dict[str, tuple[Rule, ...]]:
    _expect(isinstance(raw, dict), "an object", raw, "'guards'")
    guards = {}
    for name, rules in raw.items():
        where = f"guard {name!r}"
        _expect(isinstance(rules, list) and rules, "a list of rules", rules, where)
        guards[name] = tuple(_parse_rule(rule, lists, where) for rule in rules)
    return guards


def _parse_rule(raw: Any, lists: dict[str, tuple[str, ...]], where: str) -> Rule:
    _expect(isinstance(raw, dict) and raw, "an object with a condition", raw, where)
    conditions = []
    for place, words in raw.items():
        match = _PLACE.fullmatch(place)
        _expect(match is not None, 'a place like "-1", "+1", "-4..-1" or "not -1"', place, where)
        assert match is not None
        first, last = int(match[2]), int(match[3] or match[2])
        _expect(first <= last and (first < 0) == (last < 0), "a range on one side of the form", place, where)
        _expect_strings(words, f"{where}, {place!r}")
        flat = itertools.chain.from_iterable(_resolve(word, lists, f"{where}, {place!r}") for word in words)
        spelled = frozenset(variant for word in flat for variant in spell_variants(word))
        conditions.append(Condition(first, last, spelled, expected=match[1] is None))
    return tuple(conditions)


def _parse_tag(raw: Any, lists: dict[str, tuple[str, ...]], guards: dict[str, tuple[Rule, ...]],
               where: str) -> TagEntry:
    _expect(isinstance(raw, dict), "an object", raw, where)
    _refuse_unknown(raw, _TAG_KEYS, where)
    category = raw.get("category")
    _expect(isinstance(category, str) and category, "a category", category, where)
    forms = _expand(raw.get("forms"), lists, f"the forms of {where}")
    blockers = _expand(raw.get("blockers", []), lists, f"the blockers of {where}")
    both = sorted(forms.keys() & blockers.keys())
    if both:
        raise _TableError(f"expected a phrase to be either a form or a blocker of {where}, found {both[0]!r} as both")
    guarded = raw.get("guards", {})
    _expect(isinstance(guarded, dict), "an object", guarded, f"the guards of {where}")
    rules: dict[str, tuple[Rule, ...]] = {}
    for name, phrases in guarded.items():
        if name not in guards:
            raise _TableError(f"expected the name of a guard in the guards of {where}, found {name!r}")
        for phrase in _expand(phrases, lists, f"the guards of {where}"):
            if phrase not in forms:
                raise _TableError(f"expected one of its forms in the guards of {where}, found {phrase!r}")
            rules[phrase] = rules.get(phrase, ()) + guards[name]
    _expect(bool(forms), "at least one form", raw.get("forms"), where)
    return TagEntry(str(category), tuple(forms), tuple(blockers), rules)


def _expand(phrases: Any, lists: dict[str, tuple[str, ...]], where: str) -> dict[str, None]:
    """Write alternatives out; a dict keeps the order and drops repetitions."""
    _expect_strings(phrases, where)
    written: dict[str, None] = {}
    for phrase in phrases:
        slots = []
        for slot in phrase.split(" "):
            options = [_resolve(word, lists, f"{where}, {phrase!r}") if word else ("",) for word in slot.split("|")]
            if slot == "" or "" in slot.split("|")[1:]:
                raise _TableError(f"expected single blanks between the words of {where}, found {phrase!r}")
            slots.append([word for option in options for word in option])
        for words in itertools.product(*slots):
            text = " ".join(word for word in words if word)
            if not text or len(written) > MAX_PHRASES:
                raise _TableError(f"expected words and at most {MAX_PHRASES} phrases in {where}, found {phrase!r}")
            written[text] = None
    return written


def _resolve(word: str, lists: dict[str, tuple[str, ...]], where: str) -> tuple[str, ...]:
    if word.startswith("@") and len(word) > 1:
        if word[1:] not in lists:
            raise _TableError(f"expected the name of a list after @ in {where}, found {word!r}")
        return lists[word[1:]]
    _check_word(word, where, marks=where.startswith("guard"))
    return (word,)


def _check_word(word: str, where: str, marks: bool) -> None:
    if marks and word in (BEFORE_FIRST, AFTER_LAST):
        return
    if not word or word != word.lower() or word.split() != [word] or "|" in word:
        raise _TableError(f"expected single lower-case words in {where}, found {word!r}")


def _expect(holds: Any, expected: str, found: Any, where: str) -> None:
    if not holds:
        raise _TableError(f"expected {expected} at {where}, found {str(found)[:60]!r}")


def _expect_strings(values: Any, where: str) -> None:
    _expect(isinstance(values, list) and all(isinstance(value, str) for value in values), "a list of strings",
            values, where)


def _refuse_unknown(raw: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(raw) - known)
    _expect(not unknown, f"only the keys {', '.join(sorted(known))}", ", ".join(unknown), where)
