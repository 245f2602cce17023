"""Score any system's stories by the published protocol; the core of `python -m evaluate score`."""
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import UserError
from data.files import write_json
from evaluate.captions.ngrams import VARIETY_NAMES
from evaluate.comparison.outside_scores import OUTSIDE, score_outside
from evaluate.comparison.story_files import Stories, choose_references, read_stories
from evaluate.comparison.story_lines import count_learned
from evaluate.config import ScoreConfig
from evaluate.metrics import find_metric
from evaluate.predictions import Prediction
from evaluate.statistics.bootstrap import MIN_ALBUMS, side_of_zero
from evaluate.stories import scorer
from evaluate.terminal import align, wrap

logger = logging.getLogger(__name__)

SCORES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "rouge_l_raw", "cider", "meteor")
BLANKS = ("blanks counted: pycocoevalcap splits on single blanks, so leading and double blanks count as words: "
          "published figures do this, ROUGE-L above does not")
BESIDE = (*scorer.REDUNDANCY, *(name + part for name in OUTSIDE for part in ("", "_distance")), "d_hm")
COMPARED = ("bleu_4", "cider", "meteor")
NUM_EXAMPLES = 3
LABEL_WIDTH = 30
PUBLISHED_REFERENCES = 5
REFERENCES = "22340e76352591d832688c68bb00c7a55c1e37cb30d8d89ae3e9e5a6a78cceed"  # of 1,010 albums
PUBLISHED = {  # AREL: its released stories under this protocol; the best: each score's own, whoever reached it
    "AREL": {"bleu_1": .638, "bleu_2": .389, "bleu_3": .229, "bleu_4": .138, "rouge_l_raw": .294, "cider": .095,
             "meteor": .349, "nr": .855},
    "best": {"bleu_4": .154, "rouge_l_raw": .331, "cider": .138, "meteor": .372},
    "TAPM": {"nr": .906}, "KAGS": {"nr": .864}, "XE-ss": {"nr": .844}}


@dataclass
class Matched:
    """Predictions laid beside references: the corpus, and what did not fit.

    Attributes:
        misfits: ids of albums by "missing" (a story), "extra" (without references), "empty", "several" (stories).
        notes: sentences a user should read.
    """

    corpus: scorer.Corpus
    misfits: dict[str, list[str]]
    notes: list[str]


def score_predictions(config: ScoreConfig) -> dict[str, Any]:
    """Read, score and, with `config.out`, write {"rows", "differences", "protocol", "published"}.

    Raises:
        UserError: if a file cannot be used, nothing fits, or albums are missing and that is to be refused.
    """
    if config.out and config.out.is_dir():
        raise UserError(f"expected a file to write to at {config.out}, found a folder; change --out")
    predictions = read_stories(config.predictions)
    matched = match_captions(predictions, config) if isinstance(predictions, list) else _match(*predictions, config)
    rows, scored, no_meteor = scorer.score_corpus(matched.corpus, config.meteor, config.resamples, config.seed,
                                                  redundant=not isinstance(predictions, list))
    outside, notes = score_outside({name: getattr(config, name) for name in OUTSIDE},
                                   rows[scorer.SYSTEM].get("nr_distance"))
    for row, found in outside.items():
        rows.setdefault(row, {}).update(found)
    matched.notes += [*scored.notes, *notes]
    pairs = ((scorer.CONSTANT, scorer.SYSTEM), (scorer.HUMAN, scorer.AS_HUMAN))
    differences = {other: {metric: (rows[own][metric] - rows[other][metric]).summary()  # paired: the system's less its
                           for metric in (*SCORES, "nr", "nr_distance") if metric in rows[own]}
                   for other, own in pairs if own in rows and other in rows}
    result = {"rows": {row: {metric: estimate.summary() for metric, estimate in found.items()}
                       for row, found in rows.items()},
              "differences": differences,
              "protocol": _describe_protocol(config, matched, scored, no_meteor, isinstance(predictions, list))}
    corpus = matched.corpus
    result["published"] = find_published(dict(zip(corpus.album_ids, corpus.references)))
    if result["published"] and (learned := count_learned(config.predictions.parent, corpus.album_ids)):
        result["published"] = {}
        result["protocol"]["notes"].append(f"the run learned from {learned} of these albums: this is no score of a "
                                           "test split, and no published figure stands beside it")
    if no_meteor:
        for found in result["rows"].values():
            found["meteor"] = {"value": None, "low": None, "high": None, "n": 0}
    if config.out:
        write_json(config.out, result)
    return result


def _match(stories: Stories, own: Stories | None, config: ScoreConfig) -> Matched:
    """Stories beside the references that are named, else beside those they bring along."""
    references, notes = choose_references(config.references, config.split, own, config.predictions)
    matched = match_stories(stories, references, config.missing)
    matched.notes += notes
    if config.references is None:
        matched.notes.append("references: the true stories in the predictions themselves, in the words of the "
                             "vocabulary; published figures have those of --references")
    return matched


def find_published(references: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """PUBLISHED where these are VIST's 5,050 reference stories, whatever their order, case and blanks; else nothing."""
    return PUBLISHED if digest_references(references) == REFERENCES else {}


def digest_references(references: Mapping[str, Sequence[str]]) -> str:
    """A sha256 over stories by album."""
    digest = hashlib.sha256()
    for album, stories in sorted(references.items()):
        digest.update("\n".join([album, *sorted(" ".join(story.lower().split()) for story in stories), ""]).encode())
    return digest.hexdigest()


def match_stories(predictions: Stories, references: Stories, missing: str) -> Matched:
    """Lay stories beside references, album by album.

    Args:
        missing: "empty" scores an album without a story as an empty one (0 in every score), "drop" leaves it out,
            "refuse" raises.

    Raises:
        UserError: if no album is in both, a reference is lacking, or `missing` says so.
    """
    bare = [album for album, texts in references.items() if not any(text.strip() for text in texts)]
    if bare:
        raise UserError(f"expected a reference story for every album, found none or empty ones for {_list(bare)}; "
                        "leave these albums out of the references")
    blank = sum(not text.strip() for texts in references.values() for text in texts)
    written = {album: texts for album, texts in predictions.items() if texts}
    absent = [album for album in references if album not in written]
    if len(absent) == len(references):
        raise UserError(f"expected stories for the references' albums (the first is {next(iter(references))}), found "
                        f"none of {len(references)} among the predictions' ({_list(list(predictions))}); check that "
                        "both are of one split")
    if absent and missing == "refuse":
        raise UserError(f"expected a story for each of {len(references)} albums, found none for {_list(absent)}; add "
                        "them, or score with --missing empty or drop")
    albums = [album for album in references if missing != "drop" or album in written]
    corpus = scorer.Corpus(albums, [written.get(album, [""]) for album in albums],
                           [[text for text in references[album] if text.strip()] for album in albums])
    fate = "left out: not comparable with published figures" if missing == "drop" else "scored as empty stories"
    misfits = {"missing": absent, "extra": [album for album in predictions if album not in references],
               "empty": [album for album in albums if album in written and not all(map(str.strip, written[album]))],
               "several": [album for album in albums if len(written.get(album, ())) > 1]}
    sentences = {"missing": f"albums without a story, {fate}", "extra": "albums without references, not scored",
                 "empty": "albums with an empty story, which scores 0",
                 "several": "albums with several stories, averaged within the album"}
    notes = [f"{sentences[kind]}: {_list(found)}" for kind, found in misfits.items() if found]
    counts = sorted({len(texts) for texts in corpus.references})
    if counts != [PUBLISHED_REFERENCES]:
        notes.append(f"references per album: {counts[0]}{f' to {counts[-1]}' if counts[1:] else ''}; published figures "
                     f"have {PUBLISHED_REFERENCES}, with fewer the scores are lower")
    if blank:
        notes.append(f"empty reference stories, left out: {blank}")
    return Matched(corpus, misfits, notes)


def match_captions(captions: Sequence[Prediction], config: ScoreConfig) -> Matched:
    """Units of our own predictions of task `next`: a distinct photo sequence, at one t; see DESIGN's units."""
    if config.references is not None:
        raise UserError(f"expected whole stories in {config.predictions} to score against {config.references}, found "
                        "single captions of task next, which bring their references along; leave out --references")
    units: dict[tuple[str, ...], list[Prediction]] = {}
    for line in captions:
        if line.t == config.t:
            units.setdefault(line.photos, []).append(line)
    if not units:
        raise UserError(f"expected captions with t = {config.t} in {config.predictions}, found t = "
                        f"{', '.join(map(str, sorted({line.t for line in captions})))}; change --t")
    corpus = scorer.Corpus([lines[0].album_id for lines in units.values()],
                           [[line.written or "" for line in lines] for lines in units.values()],
                           [[line.caption for line in lines] for lines in units.values()])
    empty = [album for album, texts in zip(corpus.album_ids, corpus.hypotheses) if not all(map(str.strip, texts))]
    notes = [f"albums with an empty caption, which scores 0: {_list(empty)}"] if empty else []
    return Matched(corpus, {"missing": [], "extra": [], "empty": empty, "several": []}, notes)


def format_result(result: dict[str, Any]) -> str:
    """The result as text: a table, a row per score and a column per system, then what a reader must know."""
    rows, protocol = result["rows"], result["protocol"]
    blocks = [wrap([f"{protocol['units']} units ({protocol['unit']}), {protocol['albums']} albums"])]
    for title, metrics in ("x 100", SCORES), ("variety", (*VARIETY_NAMES, "word_types")), ("stories, x 100", BESIDE):
        lines = [[find_metric(metric).label + ", %" * (title == "variety" and find_metric(metric).scale == 100),
                  *(_format(metric, rows[row].get(metric)) for row in rows)]
                 for metric in metrics if any(metric in rows[row] for row in rows)]
        if lines:
            blocks.append(align([[title, *rows], *lines], name_width=LABEL_WIDTH))
    if published := result["published"]:
        lines = [[find_metric(metric).label, *(f"{100 * row[metric]:.1f}" if metric in row else ""
                                               for row in published.values())]
                 for metric in (*SCORES, *BESIDE) if any(metric in row for row in published.values())]
        blocks.append(align([["published, x 100", *published], *lines], name_width=LABEL_WIDTH))
    sentences = [BLANKS, *(f"constant story: {story}" for story in protocol["constants"]), *_say_differences(result)]
    if protocol["meteor"]:
        sentences.append(f"METEOR is absent: {protocol['meteor']}")
    if not protocol["intervals"]["drawn"]:
        sentences.append(f"no intervals: {protocol['albums']} albums, and at least {MIN_ALBUMS} are needed"
                         if protocol["albums"] < MIN_ALBUMS else "no intervals were asked for")
    return "\n\n".join([*blocks, wrap([*sentences, *(f"note: {note}" for note in protocol["notes"])])])


def _format(metric: str, score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "-"
    scale = find_metric(metric).scale
    text = f"{scale * score['value']:.2f}"
    return text if score["low"] is None else f"{text} [{scale * score['low']:.2f}, {scale * score['high']:.2f}]"


def _say_differences(result: dict[str, Any]) -> list[str]:
    sentences = []
    for other, metrics in result["differences"].items():
        for metric in COMPARED:
            found = metrics.get(metric)
            if not found or found["low"] is None:
                continue
            low, high, value = (100 * found[key] for key in ("low", "high", "value"))
            verdict = {1: "above", -1: "below", 0: "not told apart from"}[side_of_zero(low, high)]
            same = " on the same references" * (other == scorer.HUMAN)
            sentences.append(f"{find_metric(metric).label}: the system is {verdict} the {other} row{same} "
                             f"({value:+.2f} [{low:+.2f}, {high:+.2f}])")
    return sentences


def _describe_protocol(config: ScoreConfig, matched: Matched, scored: scorer.PublishedScorer, no_meteor: str | None,
                       of_captions: bool) -> dict[str, Any]:
    return {
        "version": 1, "unit": f"photo sequence, t = {config.t}" if of_captions else "album",
        "units": len(scored.units), "albums": scored.resamples.num_albums,
        "predictions": str(config.predictions), "references": str(config.references) if config.references else None,
        "words": "between white space, punctuation and case kept", "meteor_variant": "1.5, -t hter",
        "cider": "document frequencies of these references, also in resamples", "meteor": no_meteor,
        "human": "one reference against the others, each of the first five held out once, averaged",
        "constants": scored.constants, "missing_policy": config.missing,
        **matched.misfits, "notes": matched.notes,
        "intervals": scored.resamples.describe(config.resamples, config.seed)}


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NUM_EXAMPLES])
    return f"{len(names)} ({shown}{', ...' if len(names) > NUM_EXAMPLES else ''})"
