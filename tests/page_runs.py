"""Evaluated runs made up for the page's tests: the files that training and evaluation leave, with known content."""
import io
import json
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data.files import sha256_file, write_json
from data.folder.folder import Features
from data.folder.manifest import Shard, load_manifest
from data.folder.shards import join_blobs, map_shard, write_shard
from train.config import make_config

ROWS = {"model": 1.0, "train_mean": 0.35, "copy_last_frame": 0.62, "ridge_last_frame": 0.78, "constant_caption": 0.4,
        "model, inputs permuted": 0.9, "human": 1.2, "oracle": 1.35}
METRICS = {"r1_album": 0.46, "r5_album": 0.7, "1_of_5": 0.61, "1_of_100": 0.3, "mrr_all": 0.31, "median_rank_all": 41.0,
           "cider": 0.82, "bleu_4": 0.121, "rouge_l": 0.31, "perplexity": 28.0, "distinct_1": 0.2, "length": 9.8,
           "tags_next.map": 0.41, "tags_seen.map": 0.66, "tags_next.hamming": 0.05}
LOWER = {"median_rank_all", "perplexity", "tags_next.hamming"}


def add_thumbnails(folder: Path, side: int = 160) -> Path:
    """Give every photo of a features folder a drawn thumbnail of its own."""
    manifest, features = load_manifest(folder), Features.open(folder)
    blobs = [draw_photo(row, side) if features.status[row] == 0 else b"" for row in range(features.num_photos)]
    blob, offset = join_blobs(blobs)
    path = folder / "thumbs/00000.h5"
    path.parent.mkdir(exist_ok=True)
    write_shard(path, "thumbs", {"blob": blob, "offset": offset})
    shard = Shard("thumbs/00000.h5", len(blobs), 0, path.stat().st_size, sha256_file(path))
    replace(manifest, shards={**manifest.shards, "thumbs": (shard,)}).save(folder)
    return folder


def set_captions(folder: Path, split: str, captions: list[str]) -> Path:
    """Replace the captions of a split's one shard, stories first, then frames."""
    manifest = load_manifest(folder)
    group = f"words/default/{split}"
    path = folder / manifest.shards[group][0].name
    caption, offset = join_blobs([text.encode() for text in captions])
    write_shard(path, "words", {**{name: array.copy() for name, array in map_shard(path, "words").items()},
                                "caption": caption, "offset": offset})
    shard = replace(manifest.shards[group][0], bytes=path.stat().st_size, sha256=sha256_file(path))
    replace(manifest, shards={**manifest.shards, group: (shard,)}).save(folder)
    return folder


@cache
def draw_photo(seed: int, side: int) -> bytes:
    """A JPEG landscape: sky, ground, a sun or a house, grain as a camera has it."""
    chance = random.Random(seed)
    width = side * chance.choice((4, 4, 4, 3)) // 3
    photo = Image.new("RGB", (width, side), f"hsl({chance.randint(180, 260)}, 45%, {chance.randint(55, 80)}%)")
    draw = ImageDraw.Draw(photo)
    horizon = chance.randint(side // 2, side * 3 // 4)
    draw.rectangle((0, horizon, width, side), f"hsl({chance.randint(25, 140)}, 35%, {chance.randint(30, 60)}%)")
    x, y = chance.randint(20, width - 40), chance.randint(15, horizon)
    draw.ellipse((x, y - 14, x + 28, y + 14), f"hsl({chance.randint(0, 60)}, 80%, 60%)")
    x = chance.randint(0, width - 50)
    draw.rectangle((x, horizon - 30, x + 44, horizon + 12), f"hsl({chance.randint(0, 360)}, 30%, 40%)")
    draw.text((6, side - 16), f"photo {seed}", "white")
    grain = np.random.default_rng(seed).normal(0, 5, (side, width, 1))
    photo = Image.fromarray(np.clip(np.asarray(photo) + grain, 0, 255).astype(np.uint8))
    encoded = io.BytesIO()
    photo.save(encoded, "JPEG", quality=80)
    return encoded.getvalue()


def write_evaluated_run(run_path: Path, folder: Path, split: str = "test", intervals: bool = True,
                        seed: int = 7) -> Path:
    """Write config.json, metrics.jsonl, eval-<split>.json and predictions-<split>.jsonl for a folder's split."""
    run_path.mkdir(parents=True, exist_ok=True)
    features, chance = Features.open(folder), random.Random(seed)
    write_json(run_path / "config.json", {"settings": vars(make_config({"preset": "small", "seed": 11, "epochs": 9})),
                                          "features": str(folder)})
    write_json(run_path / f"eval-{split}.json", make_evaluation(features, intervals, chance))
    with open(run_path / "metrics.jsonl", "w") as file:
        for epoch in range(1, 10):
            fall, rise = 0.8 ** epoch, 0.03 * max(0, epoch - 6)
            train = {name: 0.3 + size * fall for name, size in TERMS.items()}
            val = {name: 0.42 + size * fall + rise for name, size in TERMS.items()}
            file.write(json.dumps({"epoch": epoch, "train": train, "val": val, "lr": 1e-3, "seconds": 4.0}) + "\n")
    with open(run_path / f"predictions-{split}.jsonl", "w", encoding="utf-8") as file:
        for line in make_predictions(features, split, chance):
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return run_path


def write_told_run(run_path: Path, folder: Path, split: str = "test", seed: int = 7) -> Path:
    """Write what an evaluated run of task `tell` leaves: whole stories, and their scores beside a story and people."""
    run_path = write_evaluated_run(run_path, folder, split, seed=seed)
    features, chance = Features.open(folder), random.Random(seed)
    evaluation = make_evaluation(features, True, chance)
    names = {"model": "model", "constant_caption": "constant story", "human": "human"}
    kept = ("cider", "bleu_4", "rouge_l", "length")
    rows = {name: {metric: evaluation["rows"][row][metric] for metric in kept if metric in evaluation["rows"][row]}
            for row, name in names.items()}
    rows["model, scored as human"] = {metric: {**score, "value": 0.9 * score["value"]}
                                      for metric, score in rows["model"].items()}
    rows["model"] |= {"perplexity": evaluation["rows"]["model"]["perplexity"],
                      "meteor": {"value": None, "low": None, "high": None, "n": 0, "reason": "no Java here"}}
    differences = {names[row]: {metric: score for metric, score in found.items() if metric in kept}
                   for row, found in evaluation["differences"].items() if row in names}
    write_json(run_path / f"eval-{split}.json", {
        **evaluation, "rows": rows, "differences": differences, "protocol": {**evaluation["protocol"], "task": "tell"}})
    stories: dict[str, list[dict]] = {}
    for line in make_predictions(features, split, chance):
        stories.setdefault(line["story_id"], []).append(line)
    with open(run_path / f"predictions-{split}.jsonl", "w", encoding="utf-8") as file:
        for story_id, lines in stories.items():
            sentences = ["once we came here .", *(line["written"] for line in lines)]
            file.write(json.dumps({
                "story_id": story_id, "album_id": lines[0]["album_id"], "photos": lines[0]["photos"],
                "story": " ".join(sentences), "sentences": sentences,
                **{name: [lines[0][name], *(line[name] for line in lines)] for name in (
                    "tags", "tags_seen", "tags_next")}, "nll": lines[0]["nll"] * 5, "tokens": 55}) + "\n")
    return run_path


TERMS = {"image": 1.1, "text": 4.2, "tag_seen": 0.3, "tag_next": 0.35, "total": 5.6}


def make_evaluation(features: Features, intervals: bool, chance: random.Random) -> dict:
    """The content of eval-<split>.json; LPIPS is null with its reason."""
    rows: dict[str, dict] = {}
    for row, share in ROWS.items():
        rows[row] = {}
        for name, size in METRICS.items():
            if row == "constant_caption" and name not in ("cider", "bleu_4", "rouge_l", "perplexity"):
                continue
            for prefix, worse in (("", 1.0), ("t3.", 0.97), ("t2.", 0.9), ("t1.", 0.85)):
                value = size / (share * worse) if name in LOWER else size * share * worse
                spread = 0.06 * value * chance.uniform(0.6, 1.2)
                rows[row][prefix + name] = {"value": value, "low": value - spread if intervals else None,
                                            "high": value + spread if intervals else None, "n": 1004}
        rows[row]["lpips"] = {"value": None, "low": None, "high": None, "n": 0,
                              "reason": "the trunk's weights are not at hand"}
    return {"rows": rows, "differences": make_differences(rows) if intervals else {},
            "protocol": {"version": 1, "missing": "mask", "intervals": {"resamples": 1000}, "notes": []},
            "recipe": features.recipe, "words": features.words().identity, "run": {"epoch": 8}}


def make_differences(rows: dict[str, dict]) -> dict[str, dict]:
    """Paired differences model - row; the last frame's copy is not told apart on BLEU-4."""
    differences: dict[str, dict] = {}
    for row, metrics in rows.items():
        for name, score in metrics.items():
            if row != "model" and score["value"] is not None:
                gap = rows["model"][name]["value"] - score["value"]
                spread = abs(gap) * (1.5 if (row, name) == ("copy_last_frame", "mrr_all") else 0.3)
                better = None if spread > abs(gap) else (gap > 0) != (name in LOWER)
                differences.setdefault(row, {})[name] = {"value": gap, "low": gap - spread, "high": gap + spread,
                                                         "n": score["n"], "better": better}
    return differences


def make_predictions(features: Features, split: str, chance: random.Random) -> list[dict]:
    """A line per (story, t), right about half of the time."""
    words = features.words()
    frames, names = words.split(split), words.tag_names
    photo_ids = [photo_id.decode() for photo_id in features.photo_id.all()]
    photos, tags = frames.photo.all(), frames.tag.all()
    lines = []
    for story in range(len(frames)):
        for t in range(1, 5):
            true_tags = [names[column] for column in np.flatnonzero(tags[story, t]) if column > 1]
            target = photo_ids[photos[story, t]]
            retrieved = [photo_ids[photos[chance.randrange(len(frames)), 4]] for _ in range(4)]
            retrieved.insert(chance.randint(0, 4), target if chance.random() < 0.5 else photo_ids[0])
            lines.append({
                "story_id": frames.story_id.all()[story].decode(), "album_id": frames.album_id.all()[story].decode(),
                "t": t, "photos": [photo_ids[row] for row in photos[story]], "caption": frames.caption(story, t),
                "written": change_words(frames.caption(story, t), chance), "tags": true_tags,
                "tags_seen": true_tags, "tags_next": true_tags[:1] + chance.sample(names[2:], 1),
                "retrieved": retrieved, "rank_album": float(chance.randint(1, 6)),
                "rank_all": None if chance.random() < 0.05 else float(chance.randint(1, 900)),
                "nll": chance.uniform(15, 60), "tokens": 11})
    return lines


def change_words(caption: str, chance: random.Random) -> str:
    """A caption that shares most of its words with another."""
    words = [word for word in caption.split() if chance.random() > 0.2]
    return " ".join(chance.choice(["we", "happy", "then", word]) if chance.random() < 0.2 else word for word in words)
