"""Words as models write and corpora store them -> a line for people. Scores never see it."""
import re
from collections.abc import Sequence
from itertools import cycle

from nltk.tokenize.treebank import TreebankWordDetokenizer

from data.folder.word_reader import SplitWords

_APART = re.compile(r" ([.,!?;:%\u2026\u201d)\]}]+)(?= |$)")  # nltk joins the last full stop alone
_CAPITAL = re.compile(r"(?:^|(?<=[.!?\u2026] ))[^\w\[]*[^\W\d_]|(?<![\w-])i(?=$|[\u2019' .,!?])")


def detokenise(words: Sequence[str]) -> str:
    """Join words into a sentence: capitals at the start, punctuation and contractions where they belong.

    Args:
        words: tokenised words; placeholders as `[male]` are kept as they are.

    Returns:
        "we did n't go . i stayed" as "We didn't go. I stayed". An empty string without words.
    """
    quotes = cycle(("``", "''"))
    parts = [next(quotes) if word in ('"', "``", "''") else word for part in words for word in part.split()]
    text = _APART.sub(r"\1", TreebankWordDetokenizer().detokenize(parts))
    return _CAPITAL.sub(lambda found: found[0].upper(), text)


def read_caption(frames: SplitWords, row: int, order: int) -> str:
    """A frame's caption for people: raw, or joined where the corpus has it as words."""
    caption = frames.caption(row, order)
    return detokenise(caption.split()) if frames.tokenised.slice(row, row + 1)[0, order] else caption
