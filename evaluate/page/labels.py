"""How metrics and rows are called on the page: label, group, which direction is better, how many digits.

Metric names come from the evaluation; a prefix `t1.` .. `t3.` names the frame, plain names are t = 4. A name that
is not in the table below is shown as it is, in the group its words point to.
"""
import re
from collections.abc import Iterable
from dataclasses import dataclass

HEADLINE_T = 4
GROUPS = ("Next photo", "Next caption", "Tags ahead", "Tags seen", "Alignment", "Original's protocol", "Other")

_LOWER = re.compile(r"mse|ppl|perplex|median_?rank|mean_?rank|hamming|lpips|nll|loss|repet|unk")
_NEUTRAL = re.compile(r"length|chance|support|count|threshold|share")
_GROUP_WORDS = (("Original's protocol", r"original"), ("Alignment", r"align|agree|feature_to_caption|caption_retrieval"),
                ("Tags seen", r"seen"), ("Tags ahead", r"next_tag|tags?_next|tag"),
                ("Next caption", r"bleu|rouge|cider|meteor|distinct|repet|length|perplex|ppl|unk|nll|caption|word"),
                ("Next photo", r"mse|cos|r@|recall_at|r\d+_|rank|mrr|ssim|psnr|lpips|photo|image|of_\d"))
_WORDS = {"bleu": "BLEU", "rouge": "ROUGE", "rougel": "ROUGE-L", "rouge_l": "ROUGE-L", "cider": "CIDEr-D", "ciderd": "CIDEr-D",
          "meteor": "METEOR", "mse": "MSE", "mrr": "MRR", "map": "mAP", "ssim": "SSIM", "psnr": "PSNR",
          "lpips": "LPIPS", "f1": "F1", "ppl": "perplexity", "unk": "<UNK>"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as the page shows it; `better` is "higher", "lower" or "" where neither is."""

    name: str
    label: str
    group: str
    better: str

    @property
    def arrow(self) -> str:
        """↑ where higher is better, ↓ where lower is."""
        return {"higher": "↑", "lower": "↓", "": ""}[self.better]


def split_t(name: str) -> tuple[int, str]:
    """Take the frame off a metric's name: "t2.mrr" -> (2, "mrr"), "mrr" -> (4, "mrr")."""
    found = re.fullmatch(r"t(\d)\.(.+)", name)
    return (int(found[1]), found[2]) if found else (HEADLINE_T, name)


def describe(name: str) -> Metric:
    """Label a metric by its plain name (without the frame)."""
    low = name.lower()
    group = next((group for group, words in _GROUP_WORDS if re.search(words, low)), "Other")
    better = "" if _NEUTRAL.search(low) else "lower" if _LOWER.search(low) else "higher"
    return Metric(name, _label(name), group, better)


def is_better(metric: Metric, value: float, than: float) -> bool:
    """True where `value` is better than `than`."""
    return value > than if metric.better == "higher" else metric.better == "lower" and value < than


def format_value(value: float | None) -> str:
    """Three significant digits or so, with a true minus sign; a dash where there is no value."""
    if value is None:
        return "–"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:,.{digits}f}".replace("-", "−")


def choose_headline(names: Iterable[str]) -> list[Metric]:
    """The metrics of the charts at the top: the first name of each kind that was measured."""
    known = list(names)
    chosen: list[str] = []
    for pattern in _HEADLINE:
        found = next((name for name in known if re.fullmatch(pattern, name.lower()) and name not in chosen), None)
        if found is not None:
            chosen.append(found)
    return [describe(name) for name in chosen]


_HEADLINE: tuple[str, ...] = (
    r".*(r@1|recall_?(at_)?1|r1)[._]?.*album.*|.*album.*(r@1|recall_?(at_)?1|r1)", r".*1_?of_?5.*", r".*1_?of_?100.*|mrr",
    r".*cider.*", r"(?!.*original).*bleu.?4", r"(?!.*word).*(perplexity|ppl).*", r".*next.*map.*|.*map.*next.*",
    r".*seen.*map.*|.*map.*seen.*", r".*next.*micro.*f1|.*cosine.*")


def _label(name: str) -> str:
    words = [_WORDS.get(word, word) for word in re.split(r"[._]", name) if word]
    label = " ".join(words)
    label = re.sub(r"^(bleu|BLEU) ?-?(\d)$", r"BLEU-\2", label)
    return label[:1].upper() + label[1:] if label and label[0].islower() and not label.startswith("mAP") else label
