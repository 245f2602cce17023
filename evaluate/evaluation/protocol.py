"""What was counted how: the part of eval-<split>.json that lets another person reproduce or doubt the numbers."""
from dataclasses import asdict
from typing import Any

import numpy as np

from data.folder.word_reader import DII
from evaluate.config import HEADLINE_T, TS, EvalConfig
from evaluate.photos.pools import MIN_ALBUM_POOL
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import MIN_ALBUMS
from train.writing.config import WritingConfig

NO_TRAIN = "the folder has no train stories: no baselines that learn"
SIMILARITY = "cosine of features standardised by the run's train statistics"


def describe_protocol(config: EvalConfig, split: EvaluatedSplit, val: EvaluatedSplit | None, absent: list[str]
                      ) -> dict[str, Any]:
    """Units, pools, intervals, thresholds and cautions of an evaluation; `absent`: baselines it lacks, and why."""
    inputs, target = split.candidate[:, :HEADLINE_T], split.candidate[:, HEADLINE_T]
    return {
        **(common := describe_common(config, split)), "task": "next", "t": list(TS), "headline_t": HEADLINE_T,
        "units": split.units.num_units, "stories_left_out": split.dataset.num_dropped,
        "unit": "a distinct sequence of five photos; stories that share it are averaged, their captions are each "
                "other's references",
        **_describe_frames(split),
        "retrieval": {"similarity": SIMILARITY, "candidates": len(split.candidates),
                      "equal_contents": "count once", "own_inputs": "no candidates",
                      "ties": "in random order: every score is its expectation",
                      "smallest_album_pool": MIN_ALBUM_POOL,
                      "target_missing": int((target < 0).sum()),
                      "target_is_an_input": int(((inputs == target[:, None]).any(axis=1) & (target >= 0)).sum())},
        "captions": {**common["captions"],
                     "words": "as the vocabulary's (lower case; text split on blanks, original_text tokenised)",
                     "document_frequencies": "this split's references, each t apart",
                     "perplexity": "exp(sum of nats / number of real words and <END>), every caption once; known: both "
                                   "without <UNK>"},
        "pixels": "of the true photo and the one retrieved first; copy last frame: the last photo seen; chance: any "
                  "candidate, seeded",
        "story_sense": {"ordered": config.sense, "by": "the model's own unweighted loss"},
        "thresholds": _thresholds(split, val),
        "notes": list_cautions(config, split) + absent + _list_next_cautions(split)}


def describe_stories(config: EvalConfig, split: EvaluatedSplit, val: EvaluatedSplit | None, absent: list[str]
                     ) -> dict[str, Any]:
    """The same of whole stories."""
    frames = _describe_frames(split)
    return {**(common := describe_common(config, split)), "task": "tell", "stories_left_out": split.dataset.num_dropped,
            "unit": "an album: one string a story, all its stories as references", **frames,
            "tags": f"of all photos together; next: said of a photo after a look at all of them; {frames['tags']}",
            "captions": {**common["captions"], "document_frequencies": "this split's references",
                         "perplexity": "exp(sum of nats / number of real words and <END>) of the true stories, each "
                                       "sentence after the true ones before it; known: both without <UNK>"},
            "thresholds": _thresholds(split, val),
            "notes": list_cautions(config, split) + absent + _list_undescribed(split)}


def _describe_frames(split: EvaluatedSplit) -> dict[str, Any]:
    return {"frames_without_photo": int((~split.usable).sum()),
            "described_frames": int((split.tag_source & DII > 0).sum()),
            "tags": "labels from the story's caption and the photo's descriptions; where only some photos are "
                    "described, those count and the others stand under 'undescribed'"}


def describe_common(config: EvalConfig, split: EvaluatedSplit) -> dict[str, Any]:
    """What is told of either task. Of free writing: what is not as plain as can be, so that it can be done again (the
    seed is the intervals')."""
    plain = WritingConfig(no_repeat_ngram=0, repetition_penalty=1.0)
    writing = {name: value for name, value in asdict(config.writing).items()
               if name not in ("method", "seed", "max_words", "batch_size") and value != getattr(plain, name)}
    return {"version": 1, "split": split.name, "stories": len(split), "albums": split.resamples.num_albums,
            "missing": config.missing, "limit": config.limit,
            "captions": {"method": config.writing.method, **writing},
            "intervals": split.resamples.describe(config.resamples, config.seed)}


def _thresholds(split: EvaluatedSplit, val: EvaluatedSplit | None) -> str:
    if val is None:
        return "0.5: the folder has no val split to tune them on"
    return "best F1 of each tag on val" + (", for each half of its albums from the other half"
                                           if split.name == "val" else "")


def list_cautions(config: EvalConfig, split: EvaluatedSplit) -> list[str]:
    """What a reader of any evaluation's numbers must know of the stories they come from."""
    notes = []
    albums = split.resamples.num_albums
    if not split.resamples.enough:
        notes.append(f"{albums} albums are too few for intervals (at least {MIN_ALBUMS}): nothing is proven by these "
                     "numbers")
    if config.limit:
        notes.append(f"--limit {config.limit}: these are not the numbers of the whole split")
    files = split.words.identity["fields"].get("annotations", {})
    if files and not any(name.startswith(f"{split.name}.") for name in files):
        notes.append(f"the {split.name} split was dealt by album from {', '.join(files)}: not the dataset's own")
    if split.name == "train":
        notes.append("the train split: these numbers say how much was learnt by heart")
    return notes


def _list_undescribed(split: EvaluatedSplit) -> list[str]:
    return [] if (split.tag_source & DII).any() else [
        "no photo descriptions: tags come from the stories' sentences alone, a missing tag may still be in the photo"]


def _list_next_cautions(split: EvaluatedSplit) -> list[str]:
    notes = _list_undescribed(split)
    if np.any(~split.usable):
        notes.append(f"{int((~split.usable).sum())} frames have no usable photo; they are masked as inputs and have no "
                     "photo scores as targets")
    return notes
