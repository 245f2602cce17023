"""Words as models write and corpora store them -> a line for people. Scores never see it."""
import re
from collections.abc import Sequence

_JOINED_LEFT = re.compile(r"[.,!?;:%)\]}\u2026\u201d]+|n[\u2019']t|[\u2019'](?:s|m|d|re|ve|ll|t)?", re.IGNORECASE)
_JOINED_RIGHT = set("([{$#\u201c")
_ENDS_SENTENCE = re.compile(r"[.!?]+|\u2026")
_SPLIT_WORDS = {("can", "not"): "cannot", ("gon", "na"): "gonna", ("wan", "na"): "wanna", ("got", "ta"): "gotta",
                ("gim", "me"): "gimme", ("lem", "me"): "lemme"}
_PRONOUN = re.compile(r"i(?=$|[\u2019'])")
_QUOTES = {"``": '"', "''": '"', '"': '"'}


def detokenise(words: Sequence[str]) -> str:
    """Join words into a sentence: capitals at the start, punctuation and contractions where they belong.

    Args:
        words: tokenised words; placeholders as `[male]` are kept as they are.

    Returns:
        "we did n't go . i stayed" as "We didn't go. I stayed". An empty string without words.
    """
    text = ""
    glue = True           # the next word joins without a blank
    starts = True         # the next word begins a sentence
    quote_open = False
    for word in _join_split_words([word for part in words for word in part.split()]):
        if word in _QUOTES:
            text += '"' if quote_open or glue else ' "'
            glue, quote_open = not quote_open, not quote_open
            continue
        joins_left = bool(_JOINED_LEFT.fullmatch(word)) and text != ""
        text += ("" if glue or joins_left else " ") + _capitalise(word, starts)
        glue = word in _JOINED_RIGHT
        starts = bool(_ENDS_SENTENCE.fullmatch(word)) or (starts and not any(map(str.isalnum, word)))
    return text


def _join_split_words(words: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for word in words:
        pair = _SPLIT_WORDS.get((joined[-1].lower(), word.lower())) if joined else None
        if pair:
            joined[-1] = pair
        else:
            joined.append(word)
    return joined


def _capitalise(word: str, starts: bool) -> str:
    if starts or _PRONOUN.match(word):
        return word[:1].upper() + word[1:]
    return word
