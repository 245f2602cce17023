"""Every setting of free writing and its default. No torch here: flags of `--help` are made from this class."""
from dataclasses import dataclass

from data.errors import UserError
from data.settings import setting

METHODS = ("greedy", "beam", "sample")


@dataclass(frozen=True, kw_only=True)
class WritingConfig:
    """How captions are written.

    A model that learned from few stories goes round in circles: with no bigram twice and a penalty CIDEr-D on picture
    books rises from .10 and .14 to .12 and .21. 0 and 1 write as the model has it.

    `sample` with `top_k` is top-k sampling, with `top_p` below 1 nucleus sampling; the two and `temperature` combine.
    """

    method: str = setting("greedy", f"how captions are written: {', '.join(METHODS)}")
    beam_width: int = setting(5, "unfinished captions that a beam search follows")
    length_weight: float = setting(0.7, "beams are ranked by log-probability / tokens ** this; 0: not normalised")
    temperature: float = setting(1.0, "of sampling; below 1 sharper")
    top_k: int = setting(0, "sample among the k likeliest words; 0: all")
    top_p: float = setting(1.0, "sample among the fewest words that have this probability together")
    no_repeat_ngram: int = setting(2, "no n-gram of this size twice in a caption; 0: allowed")
    no_repeat_across: int = setting(4, "to tell: no n-gram of this size that an earlier sentence has; 0: allowed")
    repetition_penalty: float = setting(1.2, "positive logits of written words are divided by it, negative multiplied")
    min_words: int = 1
    max_words: int = 28              # a row of 30 ids less <START> and <END>; the caller takes it from the folder
    seed: int = setting(42, "of sampling")
    batch_size: int = 256            # captions written at once; no influence on what is written

    def __post_init__(self) -> None:
        for name, holds, expected in (
                ("method", self.method in METHODS, f"one of {', '.join(METHODS)}"),
                ("beam_width", self.beam_width >= 1, "at least 1"),
                ("length_weight", self.length_weight >= 0, "at least 0"),
                ("temperature", self.temperature > 0, "more than 0 (greedy is method='greedy')"),
                ("top_k", self.top_k >= 0, "at least 0"), ("top_p", 0 < self.top_p <= 1, "in (0, 1]"),
                ("no_repeat_ngram", self.no_repeat_ngram >= 0, "at least 0"),
                ("no_repeat_across", self.no_repeat_across >= 0, "at least 0"),
                ("repetition_penalty", self.repetition_penalty >= 1, "at least 1"),
                ("min_words", 0 <= self.min_words <= self.max_words, f"in 0..{self.max_words}"),
                ("max_words", self.max_words >= 1, "at least 1"),
                ("seed", 0 <= self.seed < 2 ** 64, "in 0..2**64 - 1"),
                ("batch_size", self.batch_size >= 1, "at least 1")):
            if not holds:
                raise UserError(f"writing, {name}: expected {expected}, found {getattr(self, name)!r}; change "
                                f"--{name.replace('_', '-')}")
        if self.method != "sample" and (self.temperature, self.top_k, self.top_p) != (1.0, 0, 1.0):
            raise UserError(f"writing: temperature, top_k and top_p belong to method 'sample', found {self.method!r}; "
                            "add --method sample")
