"""A blind sheet for human judges: two runs' continuations side by side, who wrote which only in a key kept apart."""
import hashlib
import json
import logging
import random
from collections import Counter
from pathlib import Path

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
    said: list[dict[str, Prediction]] = []
    for run in (run_a, run_b):
        predictions = read_run_predictions(run, config.split)
        if any(prediction.is_story for prediction in predictions):
            raise UserError(f"expected single captions to judge, of the task 'next', found whole stories of {run}; "
                            f"compare those by their scores: make compare RUNS=\"{run} OTHER\"")
        said.append({line.story_id: line for line in predictions if line.t == config.t})
    said_a, said_b = said
    shared = [story_id for story_id in said_a if story_id in said_b]
    differing = [story_id for story_id in shared if said_a[story_id].written != said_b[story_id].written]
    if not differing:
        raise UserError(f"expected stories for which {run_a} and {run_b} wrote different sentences at t = {config.t}, "
                        f"found none among {len(shared)} they share; compare runs of one split that differ")
    chance = random.Random(config.seed)
    chosen = _choose(differing, said_a, config.num_stories, chance)
    a_is_left = [index % 2 == 0 for index in range(len(chosen))]
    chance.shuffle(a_is_left)
    pairs = [(said_a[story_id], said_b[story_id])[::1 if is_left else -1]
             for story_id, is_left in zip(chosen, a_is_left)]
    sheet, text = _render(pairs, features, config, dataset_root)
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


def _choose(story_ids: list[str], said: dict[str, Prediction], wanted: int, chance: random.Random) -> list[str]:
    """A seeded choice: first one story of every album, then second ones, until there are enough."""
    turns: list[tuple[int, str]] = []
    met: Counter[str] = Counter()
    for story_id in chance.sample(sorted(story_ids), len(story_ids)):
        met[said[story_id].album_id] += 1
        turns.append((met[said[story_id].album_id], story_id))
    return [story_id for _, story_id in sorted(turns, key=lambda turn: turn[0])[:wanted]]


def _render(pairs: list[tuple[Prediction, ...]], features: Features, config: AbConfig,
            dataset_root: Path | None) -> tuple[str, str]:
    """The sheet's identity, a sha256 over the questions that the answers carry, and the page; pairs stand left, right.

    A question carries photos by number and texts; nothing in it comes from a run but its sentences.
    """
    frames, pictures = features.words(config.words).split(config.split), Pictures(features, dataset_root)
    row_of = {story_id.decode(): row for row, story_id in enumerate(frames.story_id.all())}
    shown = []
    for left, right in pairs:
        row = row_of.get(left.story_id)
        if row is None:
            raise UserError(f"expected story {left.story_id!r} in the split {config.split!r} of {features.root}, found "
                            "none; name the folder that the runs were evaluated on")
        numbers = [pictures.number(photo_id) for photo_id in left.photos[:config.t]]
        shown.append({"photos": [pictures.encode(number) for number in numbers],
                      "captions": [read_caption(frames, row, order) for order in range(config.t)],
                      "left": detokenise((left.written or "").split()),
                      "right": detokenise((right.written or "").split())})
    sheet = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    style = "".join((ASSETS / name).read_text("utf-8") for name in ("base.css", "ab_sheet.css"))
    script = (ASSETS / "ab_sheet.js").read_text("utf-8")
    text = environment().get_template("ab_sheet.html").render(
        style=style, script=script, policy=content_policy(style, script), num_questions=len(shown), t=config.t,
        content=embed_json({"sheet": sheet, "questions": shown}))
    return sheet, text
