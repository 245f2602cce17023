"""Captions to words, words to token ids.

A caption that is a record's `text` is lower-cased and split on white space (VIST's is tokenised already, `[male]` is
one word); an `original_text` goes through spaCy's English tokenizer, which needs no model, and is lower-cased after.
"""
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from data.errors import UserError
from data.files import read_json

PAD, START, END, UNK = range(4)
RESERVED = ("<PAD>", "<START>", "<END>", "<UNK>")
CAPTION_LENGTH = 30
VOCABULARY_SIZE = 10_000
MAX_VOCABULARY_SIZE = 1 << 16  # ids are uint16
RARE_SHARE = 0.5  # how often a word that occurs once in train stands as <UNK> where nobody says otherwise
TOKENISATION = {"version": 1, "text": "lower, split", "original_text": "spacy.blank(en), lower"}


def split_words(caption: str, tokenised: bool) -> list[str]:
    """Split a raw caption into lower-case words.

    Args:
        caption: raw.
        tokenised: True for a record's `text`, False for its `original_text`.
    """
    if tokenised:
        return caption.lower().split()
    return [token.lower_ for token in _load_tokenizer()(caption) if not token.is_space]


def import_spacy() -> ModuleType:
    """Import spaCy, late: it takes a second. thinc below it would import torch, several seconds more, for models we
    do not use; where nobody has imported torch yet it is told that there is none.
    """
    hide_torch = "torch" not in sys.modules and "spacy" not in sys.modules
    if hide_torch:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import spacy
        import spacy.matcher
    finally:
        if hide_torch:
            del sys.modules["torch"]
    return spacy


@cache
def _load_tokenizer() -> Callable[[str], Any]:
    return import_spacy().blank("en").tokenizer


class Vocabulary:
    """The words that have an id of their own; V of them.

    Attributes:
        words: (V,) in id order, RESERVED first.
        index: word -> id. Reserved words are not in it: a caption that contains "<END>" must not end there.
    """

    def __init__(self, words: Sequence[str]) -> None:
        """Take words in id order.

        Raises:
            ValueError: if they do not begin with RESERVED, repeat, or are more than a uint16 can number.
        """
        if tuple(words[:len(RESERVED)]) != RESERVED:
            raise ValueError(f"expected the words to begin with {', '.join(RESERVED)}, found "
                             f"{', '.join(words[:len(RESERVED)]) or 'none'}")
        if len(words) > MAX_VOCABULARY_SIZE:
            raise ValueError(f"expected at most {MAX_VOCABULARY_SIZE} words, found {len(words)}")
        self.words = list(words)
        self.index = {word: index for index, word in enumerate(words) if index >= len(RESERVED)}
        if len(set(words)) != len(words):
            repeated = next(word for word, count in Counter(words).items() if count > 1)
            raise ValueError(f"expected every word once, found {repeated!r} again")

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def build(cls, captions: Iterable[Sequence[str]], size: int = VOCABULARY_SIZE) -> "Vocabulary":
        """Keep the most frequent words of captions; equal counts go in alphabetical order.

        Args:
            captions: the words of every train caption.
            size: V at most, the reserved words included.

        Raises:
            ValueError: if size leaves no room beside the reserved words, or is more than 65,536.
        """
        if not len(RESERVED) < size <= MAX_VOCABULARY_SIZE:
            raise ValueError(f"expected a vocabulary size from {len(RESERVED) + 1} to {MAX_VOCABULARY_SIZE}, "
                             f"found {size}")
        counts = Counter(chain.from_iterable(captions))
        for word in RESERVED:
            del counts[word]
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([*RESERVED, *(word for word, _ in ranked[:size - len(RESERVED)])])

    def encode(self, words: Sequence[str], length: int = CAPTION_LENGTH) -> tuple[np.ndarray, bool]:
        """Encode one caption; see `encode_many`.

        Returns:
            (length,) uint16, and whether words were cut off.
        """
        ids, cut = self.encode_many([words], length)
        return ids[0], bool(cut[0])

    def encode_many(self, captions: Sequence[Sequence[str]],
                    length: int = CAPTION_LENGTH) -> tuple[np.ndarray, np.ndarray]:
        """Encode captions as <START>, at most length - 2 words, <END>, padding.

        Returns:
            (N, length) uint16, and (N,) bool: True where words were cut off.

        Raises:
            ValueError: if length leaves no room for a word.
        """
        if length < 3:
            raise ValueError(f"expected rows of at least 3 ids (<START>, a word, <END>), found {length}")
        room = length - 2
        sizes = np.fromiter(map(len, captions), np.int64, len(captions))
        kept = np.minimum(sizes, room)
        lookup = self.index.get
        flat = np.fromiter((lookup(word, UNK) for words in captions for word in words[:room]), np.uint16,
                           int(kept.sum()))
        ids = np.full((len(captions), length), PAD, np.uint16)
        ids[:, 0] = START
        position = np.arange(length)[None]
        ids[(position >= 1) & (position <= kept[:, None])] = flat
        ids[np.arange(len(captions)), kept + 1] = END
        return ids, sizes > room

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of a row of ids up to <END>; <START> and padding are left out, <UNK> stays."""
        words = []
        for index in ids:
            if index == END:
                break
            if index not in (PAD, START):
                words.append(self.words[int(index)])
        return words

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read {"words": [...]} in id order: of a word set, or what a teammate sent.

        Raises:
            UserError: if it is no list of different words that begins with the reserved ones.
        """
        remedy = "get the file again or make the features folder anew"
        raw = read_json(path, "a vocabulary", remedy)
        words = raw.get("words") if isinstance(raw, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
            raise UserError(f'expected {{"words": [...]}} with non-empty strings in {path}, found something else; '
                            f"{remedy}")
        try:
            "".join(words).encode("utf-8")
            return cls(words)
        except UnicodeEncodeError:
            raise UserError(f"expected Unicode words in {path}, found half a character; {remedy}") from None
        except ValueError as error:
            raise UserError(f"{error} in {path}; {remedy}") from None


def find_rare_words(token_ids: np.ndarray, num_words: int) -> np.ndarray:
    """(V,) bool: words that occur once among captions, reserved ids never; token_ids (..., T), <PAD> behind."""
    is_rare = np.bincount(np.ravel(token_ids), minlength=num_words) == 1
    is_rare[:len(RESERVED)] = False
    return is_rare
