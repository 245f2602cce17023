"""A blind sheet for human judges: two runs' continuations side by side, who wrote which only in a key kept apart."""
import hashlib
import json
import logging
import random
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import write_json, write_text
from data.folder.folder import Features
from evaluate.captions.detokenise import detokenise, read_caption
from evaluate.config import AbConfig
from evaluate.page.pictures import Pictures
from evaluate.page.report import ASSETS, content_policy, embed_json, environment
from evaluate.page.run_files import read_run_predictions
from evaluate.predictions import Prediction

log = logging.getLogger(__name__)

KEY_VERSION = 1
RUN_A, RUN_B = "a", "b"


def write_ab_sheet(run_a: Path, run_b: Path, features: Features, out: Path, config: AbConfig = AbConfig(),
                   dataset_root: Path | None = None) -> Path:
    """Write the sheet and, beside it, its key.

    Stories come from different albums as far as there are enough; those for which both runs wrote the same are left
    out and counted in the key. Each run stands on the left as often as on the right.

    Args:
        run_a, run_b: run folders (or predictions files) of one split.
        features: the folder both were evaluated on; photos and captions come from it.
        out: the sheet, an .html file. The key has the same name with `.key.json`: judges must not see it.
        dataset_root: where the photos lie, for a folder without thumbnails.

    Returns:
        The path of the sheet.

    Raises:
        UserError: if the runs have no story in common, or never differ.
    """
    said_a, said_b = (_by_story(run, config.split, config.t) for run in (run_a, run_b))
    shared = [story_id for story_id in said_a if story_id in said_b]
    differing = [story_id for story_id in shared if said_a[story_id].written != said_b[story_id].written]
    if not differing:
        raise UserError(f"expected stories for which {run_a} and {run_b} wrote different sentences at t = {config.t}, "
                        f"found none among {len(shared)} they share; compare runs of one split that differ")
    chance = random.Random(config.seed)
    chosen = _choose(differing, said_a, config.num_stories, chance)
    a_is_left = [index % 2 == 0 for index in range(len(chosen))]
    chance.shuffle(a_is_left)
    questions = [_question(said_a[story_id], said_b[story_id], is_left)
                 for story_id, is_left in zip(chosen, a_is_left)]
    sheet, text = _render(questions, features, config, dataset_root)
    key = {"version": KEY_VERSION, "sheet": sheet, "runs": {RUN_A: str(run_a), RUN_B: str(run_b)},
           "split": config.split, "t": config.t, "seed": config.seed, "stories_shared": len(shared),
           "stories_written_alike": len(shared) - len(differing),
           "questions": [{"story_id": story_id, "album_id": said_a[story_id].album_id,
                          "left": RUN_A if is_left else RUN_B, "right": RUN_B if is_left else RUN_A}
                         for story_id, is_left in zip(chosen, a_is_left)]}
    write_json(key_path_of(out), key)
    log.info("sheet with %d questions: %s; its key, not for judges: %s", len(chosen), out, key_path_of(out))
    return write_text(out, text)


def key_path_of(sheet: Path) -> Path:
    """Where a sheet's key lies."""
    return sheet.with_suffix(".key.json")


def _by_story(run: Path, split: str, t: int) -> dict[str, Prediction]:
    predictions = read_run_predictions(run, split)
    if any(prediction.is_story for prediction in predictions):
        raise UserError(f"expected single captions to judge, of the task 'next', found whole stories of {run}; compare "
                        f"those by their scores: make compare RUNS=\"{run} OTHER\"")
    return {prediction.story_id: prediction for prediction in predictions if prediction.t == t}


def _choose(story_ids: list[str], said: dict[str, Prediction], wanted: int, chance: random.Random) -> list[str]:
    """A seeded choice: first one story of every album, then second ones, until there are enough."""
    turn: dict[str, int] = {}
    turns: list[tuple[int, int, str]] = []
    for story_id in chance.sample(sorted(story_ids), len(story_ids)):
        album_id = said[story_id].album_id
        turn[album_id] = turn.get(album_id, 0) + 1
        turns.append((turn[album_id], len(turns), story_id))
    return [story_id for _, _, story_id in sorted(turns)[:wanted]]


def _question(said_a: Prediction, said_b: Prediction, a_is_left: bool) -> dict[str, Any]:
    left, right = (said_a, said_b) if a_is_left else (said_b, said_a)
    return {"story": said_a.story_id, "photos": said_a.photos,
            "left": detokenise((left.written or "").split()), "right": detokenise((right.written or "").split())}


def _render(questions: list[dict[str, Any]], features: Features, config: AbConfig,
            dataset_root: Path | None) -> tuple[str, str]:
    """The sheet's identity, a sha256 over the questions that the answers carry, and the page.

    A question carries photos by number and texts; nothing in it comes from a run but its sentences.
    """
    frames, pictures = features.words(config.words).split(config.split), Pictures(features, dataset_root)
    row_of = {story_id.decode(): row for row, story_id in enumerate(frames.story_id.all())}
    shown = []
    for question in questions:
        row = row_of.get(question["story"])
        if row is None:
            raise UserError(f"expected story {question['story']!r} in the split {config.split!r} of {features.root}, "
                            "found none; name the folder that the runs were evaluated on")
        numbers = [pictures.number(photo_id) for photo_id in question["photos"][:config.t]]
        shown.append({"photos": [pictures.encode(number) for number in numbers],
                      "captions": [read_caption(frames, row, order) for order in range(config.t)],
                      "left": question["left"], "right": question["right"]})
    sheet = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    style = "".join((ASSETS / name).read_text("utf-8") for name in ("base.css", "ab_sheet.css"))
    script = (ASSETS / "ab_sheet.js").read_text("utf-8")
    text = environment().get_template("ab_sheet.html").render(
        style=style, script=script, policy=content_policy(style, script), num_questions=len(shown), t=config.t,
        content=embed_json({"sheet": sheet, "questions": shown}))
    return sheet, text
