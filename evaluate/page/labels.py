"""How metrics are called on the page: label, group, which direction is better, how many digits.

Metric names come from the evaluation; a prefix `t1.` .. `t3.` names the frames seen, plain names are t = 4. A name
that no rule below knows is shown as it is, in the group that its words point to.
"""
import re
from collections.abc import Iterable
from dataclasses import dataclass

HEADLINE_T = 4
GROUPS = ("Next photo", "Next caption", "Tags ahead", "Tags ahead, undescribed photos", "Tags seen",
          "Tags seen, undescribed photos", "Alignment", "Story sense", "Original's protocol", "Other")

# Shown as charts at the top, where they were measured.
HEADLINE = ("r1_album", "1_of_5", "mrr_all", "cider", "bleu_4", "perplexity", "tags_next.map", "tags_seen.map",
            "tags_next.micro_f1")
HEADLINE_OF_STORIES = ("cider", "bleu_4", "rouge_l", "meteor", "perplexity")

_POOLS = {"all": "split", "album": "album"}
_RANKS = {"mrr": "MRR", "median_rank": "Median rank"}
_LABELS = {
    "mse": "MSE (standardised)", "mse_raw": "MSE (raw)", "cosine": "Cosine (raw)",
    "cosine_centred": "Cosine (centred)", "cosine_standardised": "Cosine (standardised)", "1_of_5": "1 of 5",
    "1_of_100": "1 of 100", "caption_1_of_5": "Caption, 1 of 5", "cider": "CIDEr-D", "rouge_l": "ROUGE-L",
    "meteor": "METEOR", "ssim": "SSIM",
    "psnr": "PSNR", "lpips": "LPIPS", "map": "mAP", "hamming": "Hamming loss", "num_supported": "Tags with support",
    "perplexity": "Perplexity", "perplexity_word": "Perplexity per word", "unknown_share": "Share of <UNK>",
    "distinct_1": "Distinct-1", "distinct_2": "Distinct-2", "length": "Length in words",
    "rouge_l_raw": "ROUGE-L (blanks counted)", "vocabulary_share": "Vocabulary used"}
_RULES = ((r"r(\d+)_(all|album)", lambda found: f"R@{found[1]} ({_POOLS[found[2]]})"),
          (r"(median_rank|mrr)_(all|album)", lambda found: f"{_RANKS[found[1]]} ({_POOLS[found[2]]})"),
          (r"bleu_?(\d)", lambda found: f"BLEU-{found[1]}"),
          (r"(\w+)_(precision|recall|f1)", lambda found: f"{_plain(found[1]).capitalize()} {_plain(found[2])}"))

_ORDER = (r"r\d+_album", r"1_of", r"r\d+_all", r"mrr", r"median_rank", r"cosine", r"mse", r"ssim|psnr|lpips", r"cider",
          r"bleu", r"rouge", r"meteor", r"perplexity", r"distinct", r"repetition", r"self_rep", r"map", r"micro",
          r"macro")
_LOWER = re.compile(r"mse|perplex|median_rank|hamming|lpips|nll|loss|repetition")
_NEUTRAL = re.compile(r"length|_share$|support|count|threshold|chance")
_GROUP_WORDS = (("Story sense", r"^(cloze|ordering)\."), ("Original's protocol", r"original"),
                ("Alignment", r"align|agree|caption_1_of"),
                ("Tags seen, undescribed photos", r"seen\.undescribed"), ("Tags seen", r"seen"),
                ("Tags ahead, undescribed photos", r"next\.undescribed"), ("Tags ahead", r"tag"),
                ("Next caption", r"bleu|rouge|cider|meteor|distinct|repet|length|perplex|unk|nll|caption|vocab"),
                ("Next photo", r"mse|cosine|r\d+_|rank|mrr|ssim|psnr|lpips|photo|image|1_of"))
_TAG_PARTS = {"tags_next": "ahead", "tags_seen": "seen", "undescribed": "undescribed photos", "original": "original's"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as the page shows it; `better` is "higher", "lower" or "" where neither is.

    `label` stands alone; `short` stands under its group's name.
    """

    name: str
    label: str
    short: str
    group: str
    better: str

    @property
    def arrow(self) -> str:
        """↑ where higher is better, ↓ where lower is."""
        return {"higher": "↑", "lower": "↓", "": ""}[self.better]


def split_t(name: str) -> tuple[int, str]:
    """Take the frame off a metric's name: "t2.mrr_all" -> (2, "mrr_all"), "mrr_all" -> (4, "mrr_all")."""
    found = re.fullmatch(r"t(\d)\.(.+)", name)
    return (int(found[1]), found[2]) if found else (HEADLINE_T, name)


def describe(name: str) -> Metric:
    """Label a metric by its plain name (without the frame)."""
    low = name.lower()
    group = next((group for group, words in _GROUP_WORDS if re.search(words, low)), "Other")
    better = "" if _NEUTRAL.search(low) else "lower" if _LOWER.search(low) else "higher"
    if group == "Story sense":
        said = _plain(name.replace(".", ", "))
        return Metric(name, said.capitalize(), said.capitalize(), group, better)
    *places, last = name.removeprefix("original_").split(".")
    short = ", ".join([_name(last), *(_plain(_TAG_PARTS.get(place, place)) for place in places[1:])])
    where = [_TAG_PARTS.get(place, place) for place in places[:1]]
    label = f"{short}, tags {where[0]}" if where and group.startswith("Tags") else ", ".join([short, *where])
    label = re.sub(r"^([^,(]+), ([^,]+)$", r"\1 (\2)", label)
    return Metric(name, label, short, group, better)


def order_of(name: str) -> tuple[int, list[int | str]]:
    """A key that sorts metrics as a reader expects them: the most telling first, R@1 before R@10."""
    plain = split_t(name)[1]
    last = plain.rpartition(".")[2]
    place = next((place for place, pattern in enumerate(_ORDER) if re.match(pattern, last)), len(_ORDER))
    return place, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", plain)]


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


def choose_headline(names: Iterable[str], of_stories: bool = False) -> list[Metric]:
    """The metrics of the charts at the top, of those that were measured; the first few where none is known."""
    known = list(names)
    chosen = [name for name in (HEADLINE_OF_STORIES if of_stories else HEADLINE) if name in known]
    return [describe(name) for name in chosen or known[:6]]


def _name(name: str) -> str:
    if name in _LABELS:
        return _LABELS[name]
    for pattern, label in _RULES:
        found = re.fullmatch(pattern, name)
        if found:
            return str(label(found))
    plain = name.replace("_", " ")
    return plain[:1].upper() + plain[1:]


def _plain(word: str) -> str:
    return "F1" if word == "f1" else word.replace("_", " ")
