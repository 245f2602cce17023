"""Every metric once: what it is called, in which table it stands, which way is better, and where it is spoken of.

Names come from the scorers. A prefix `t1.` .. `t3.` says how many frames were seen; plain names are the headline t. A
new metric needs one line here; a name that is not here is shown as it is and is neither good nor bad.
"""
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from evaluate.config import HEADLINE_T
from train.task import NEXT, TASKS

PHOTO, PIXELS, CAPTION = "Next photo", "Pixels of the photo found", "Next caption"
TAGS = {"tags_next.": "Next tags", "tags_next.undescribed.": "Next tags, undescribed photos",
        "tags_seen.": "Seen tags", "tags_seen.undescribed.": "Seen tags, undescribed photos"}  # by prefix
AGREEMENT, SENSE, ORIGINAL, TRAINING, OTHER = ("Agreement", "Story sense", "Original's protocol", "Training", "Other")
GROUPS = (PHOTO, PIXELS, CAPTION, *TAGS.values(), AGREEMENT, SENSE, ORIGINAL, TRAINING, OTHER)
STORY = "Story"
TOLD = {CAPTION: STORY, **{TAGS[prefix]: TAGS[prefix].replace("Next tags", "Tags, all photos seen")
                           for prefix in ("tags_next.", "tags_next.undescribed.")}}  # where whole stories are told
LOSS = "val loss"  # image + text, what training selects by


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the evaluation.

    Attributes:
        name: without the frame. label: stands alone. short: stands under its group's name. group: one of GROUPS.
        direction: 1 where more is better, -1 where less is, 0 where neither: a length, a share that people have too.
        uses: where it is spoken of. "printed": in the tables on the terminal; "headline": in the sentences on top, and
            charted on the page; "story": the same for whole stories; "tested": in comparisons and ablations, with
            Holm's correction over all of these; "ablated": in ablations beside these; "listed": in the list of runs.
        scale: what the published protocol's tables print it times: shares are percent there.
    """

    name: str
    label: str
    short: str
    group: str
    direction: int
    uses: tuple[str, ...] = ()
    scale: int = 100

    @property
    def better(self) -> str:
        """"higher", "lower", or "" where neither is better."""
        return {1: "higher", -1: "lower", 0: ""}[self.direction]

    @property
    def arrow(self) -> str:
        """↑ where higher is better, ↓ where lower is."""
        return {1: "↑", -1: "↓", 0: ""}[self.direction]


# name, "label" or "label|short", direction, uses
_ROWS: dict[str, tuple[tuple[str, str, int, str], ...]] = {
    PHOTO: (("r1_album", "R@1 album", 1, "printed headline tested listed"),
            ("r5_album", "R@5 album", 1, ""),
            ("r10_album", "R@10 album", 1, ""),
            ("1_of_5", "1 of 5", 1, "printed headline tested listed"),
            ("1_of_100", "1 of 100", 1, "printed tested"),
            ("mrr_all", "MRR split", 1, "printed headline tested listed"),
            ("mrr_album", "MRR album", 1, ""),
            ("r1_all", "R@1 split", 1, ""),
            ("r5_all", "R@5 split", 1, ""),
            ("r10_all", "R@10 split", 1, "printed headline tested"),
            ("median_rank_all", "median rank split", -1, "printed"),
            ("median_rank_album", "median rank album", -1, ""),
            ("mse", "MSE std.", -1, "printed headline"),
            ("mse_raw", "MSE raw", -1, ""),
            ("cosine_centred", "centred cosine", 1, "printed"),
            ("cosine_standardised", "cosine std.", 1, ""),
            ("cosine", "cosine raw", 1, "")),
    PIXELS: (("ssim", "SSIM", 1, "printed"),
             ("psnr", "PSNR", 1, "printed"),
             ("lpips", "LPIPS", -1, "printed")),
    CAPTION: (("cider", "CIDEr-D", 1, "printed headline story tested listed"),
              ("bleu_1", "BLEU-1", 1, "printed"),
              ("bleu_2", "BLEU-2", 1, ""),
              ("bleu_3", "BLEU-3", 1, ""),
              ("bleu_4", "BLEU-4", 1, "printed story tested"),
              ("rouge_l", "ROUGE-L", 1, "printed story tested"),
              ("rouge_l_raw", "ROUGE-L, blanks counted", 1, ""),
              ("meteor", "METEOR", 1, "printed story"),
              ("perplexity", "perplexity|perpl.", -1, "printed headline story tested listed"),
              ("perplexity_known", "perplexity, known words|perpl., known words", -1, "printed headline tested"),
              ("perplexity_word", "perplexity per word", -1, ""),
              ("unknown_share", "share of <UNK>", 0, ""),
              # people have their own share of these, and words at random the best: read them beside the oracle
              ("distinct_1", "distinct-1", 0, ""),
              ("distinct_2", "distinct-2|distinct 2", 0, "printed ablated"),
              ("repetition", "4-grams said before", 0, "ablated"),
              ("self_repetition", "4-grams of other texts", 0, "printed ablated"),
              ("vocabulary_share", "vocabulary used", 0, ""),
              ("word_types", "word types", 0, ""),
              ("nr", "non-redundancy|NR", 0, "printed"),
              ("nr_median", "non-redundancy, median", 0, ""),
              ("nr_distance", "non-redundancy, distance to people|dR", -1, "printed"),
              ("coherence", "coherence (RoViST-C)|coherence", 0, ""),
              ("coherence_distance", "coherence, distance to people|dC", -1, ""),
              ("grounding", "grounding (tanh GROOViST)|grounding", 0, ""),
              ("grounding_distance", "grounding, distance to people|dG", -1, ""),
              ("d_hm", "distance to people (d_HM)|d_HM", -1, ""),
              ("length", "length in words", 0, "")),
    AGREEMENT: (("caption_1_of_5", "caption 1 of 5", 1, ""),
                ("agreement.predicted_written", "next tags, written", 0, ""),  # the truth does not enter
                ("agreement.predicted_retrieved", "next tags, photo found", 0, ""),
                ("agreement.written_retrieved", "written, photo found", 0, "")),
    SENSE: (("cloze.other_album.1_of_2", "ending 1 of 2", 1, "printed"),
            ("cloze.other_album.1_of_4", "ending 1 of 4", 1, "printed"),
            ("cloze.same_album.1_of_2", "ending 1 of 2, same album", 1, "printed"),
            ("cloze.same_album.1_of_4", "ending 1 of 4, same album", 1, "printed"),
            ("ordering.spearman", "order, Spearman", 1, "printed"),
            ("ordering.pairwise", "order, pairs", 1, "printed"),
            ("ordering.exact", "order, exact", 1, "printed")),
    ORIGINAL: (("original_bleu_1", "BLEU-1, original's protocol|BLEU-1", 1, "printed"),
               ("original_bleu_2", "BLEU-2, original's protocol|BLEU-2", 1, ""),
               ("original_bleu_3", "BLEU-3, original's protocol|BLEU-3", 1, ""),
               ("original_bleu_4", "BLEU-4, original's protocol|BLEU-4", 1, "printed"),
               ("original_rouge_l", "ROUGE-L, original's protocol|ROUGE-L", 1, "printed")),
    TRAINING: ((LOSS, LOSS, -1, ""),)}
_TAG_ROWS = (("map", "mAP", 1), ("micro_f1", "micro F1", 1), ("micro_precision", "micro precision", 1),
             ("micro_recall", "micro recall", 1), ("macro_f1", "macro F1", 1),
             ("macro_precision", "macro precision", 1), ("macro_recall", "macro recall", 1),
             ("hamming", "Hamming loss", -1), ("num_supported", "tags with support", 0))
_TAG_USES = {"tags_next.map": "printed headline story listed", "tags_seen.map": "printed headline story",
             "tags_next.micro_f1": "printed tested", "tags_seen.micro_f1": "printed tested",
             "tags_next.hamming": "printed", "tags_next.undescribed.micro_f1": "tested",
             "tags_seen.undescribed.micro_f1": "tested"}


def find_metric(name: str) -> Metric:
    """The metric of a name, with or without a frame's prefix; a name nobody knows is its own label."""
    return _find(split_t(name)[1])


def name_group(group: str, task: str) -> str:
    """A group's name as a title, for a run of some task."""
    return group if TASKS.get(task, NEXT).looks_ahead else TOLD.get(group, group)


def list_metrics(use: str) -> tuple[Metric, ...]:
    """The metrics that stand in some place, see Metric.uses, in the table's order."""
    return tuple(metric for metric in METRICS.values() if use in metric.uses)


def split_t(name: str) -> tuple[int, str]:
    """Take the frame off a metric's name: "t2.mrr_all" -> (2, "mrr_all"), "mrr_all" -> (4, "mrr_all")."""
    found = re.fullmatch(r"t(\d)\.(.+)", name)
    return (int(found[1]), found[2]) if found else (HEADLINE_T, name)


def order_of(name: str) -> tuple[int, list[int | str]]:
    """A key that sorts metrics as this table does, unknown ones behind, 2 before 10."""
    plain = split_t(name)[1]
    place = list(METRICS).index(plain) if plain in METRICS else len(METRICS)
    return place, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", plain)]


def format_value(value: float | None) -> str:
    """Four figures that matter, at most three places; a dash where there is no value."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f}"


def format_interval(score: Mapping[str, Any] | None) -> str:
    """A summary's value and its interval, as far as there are any."""
    if score is None or score["value"] is None:
        return ""
    interval = "" if score["low"] is None else f" [{format_value(score['low'])}, {format_value(score['high'])}]"
    return format_value(score["value"]) + interval


def _list_all() -> dict[str, Metric]:
    found = [Metric(name, label.split("|")[0], label.split("|")[-1], group, sign, tuple(uses.split()),
                    1 if name in ("length", "word_types") else 100)
             for group, rows in _ROWS.items() for name, label, sign, uses in rows]
    tags = [_of_tags(prefix, rest, label, sign) for prefix in TAGS for rest, label, sign in _TAG_ROWS]
    return {metric.name: metric for metric in sorted([*found, *tags], key=lambda metric: GROUPS.index(metric.group))}


def _of_tags(prefix: str, rest: str, short: str, sign: int) -> Metric:
    kind, *undescribed = prefix.removeprefix("tags_").rstrip(".").split(".")
    label = f"{short} of {kind} tags{', undescribed photos' * bool(undescribed)}"
    return Metric(prefix + rest, label, short, TAGS[prefix], sign, tuple(_TAG_USES.get(prefix + rest, "").split()))


@cache
def _find(name: str) -> Metric:
    """Look a name up, or make out what it must be: a tag's or a category's score, one half of story sense."""
    if name in METRICS:
        return METRICS[name]
    for prefix in sorted(TAGS, key=len, reverse=True):
        if name.startswith(prefix):
            return _of_tags(prefix, name.removeprefix(prefix), *_describe_tag_score(name.removeprefix(prefix)))
    whole, _, half = name.rpartition(".")
    if whole in METRICS and METRICS[whole].group == SENSE:
        label = f"{METRICS[whole].label}, {half} alone"
        return Metric(name, label, label, SENSE, 1)
    return Metric(name, name, name, OTHER, 0)


def _describe_tag_score(name: str) -> tuple[str, int]:
    """Label and direction of `<category>_f1`, `f1.<tag>`, `ap.<tag>` and the like."""
    kinds = {"precision": "precision", "recall": "recall", "f1": "F1", "ap": "AP"}
    kind, _, tag = name.partition(".")
    if tag and kind in kinds:
        return f"{kinds[kind]}, {tag}", 1
    category, _, kind = name.rpartition("_")
    return (f"{category} {kinds[kind]}", 1) if kind in kinds else (name, 0)


METRICS = _list_all()
