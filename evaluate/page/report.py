"""report.html: one file that shows a run's numbers, curves, tags and stories; no network, nothing to install."""
import base64
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import jinja2

from data.files import write_text
from data.folder.folder import Features
from data.folder.word_reader import WordSet
from evaluate.config import HEADLINE_T
from evaluate.metrics import GROUPS, TOLD, name_group, order_of, split_t
from evaluate.page import charts, verdict
from evaluate.page.commands import list_commands, settings_of
from evaluate.page.pictures import Pictures
from evaluate.page.run_files import EvaluatedRun, read_evaluated_run
from evaluate.page.stories import Browser, choose_stories, group_stories
from evaluate.rows import kind_of

log = logging.getLogger(__name__)

MAX_BYTES = 40_000_000
FRAME_BYTES = 1_500_000  # of MAX_BYTES, for everything that is no story
ASSETS = Path(__file__).parent


def write_report(run_path: Path, split: str, features: Features, dataset_root: Path | None = None,
                 words: str = "default", max_bytes: int = MAX_BYTES) -> Path:
    """Write RUN/report.html for one evaluated split.

    Args:
        run_path: a run folder with eval-<split>.json and predictions-<split>.jsonl.
        split: the evaluated split.
        features: the folder it was evaluated on; captions, tags and thumbnails come from it.
        dataset_root: where the photos lie, for a folder without thumbnails.
        words: the word set.
        max_bytes: the page's size at most; past it stories are left out, and the page says so.

    Returns:
        The path of the page.

    Raises:
        UserError: if the split was not evaluated or a file is damaged.
    """
    run = read_evaluated_run(run_path, split)
    word_set, pictures = features.words(words), Pictures(features, dataset_root)
    browser = choose_stories(group_stories(run.predictions), word_set, split, pictures,
                             max(0, max_bytes - FRAME_BYTES), int(settings_of(run.config).get("seed", 42)))
    style = "".join((ASSETS / name).read_text("utf-8") for name in ("base.css", "report.css"))
    script = "".join((ASSETS / name).read_text("utf-8") for name in ("page.js", "stories.js"))
    text = environment().get_template("report.html").render(
        run=run, style=style, script=script, policy=content_policy(style, script),
        **_show_numbers(run, word_set), curves=charts.draw_curves(run.epochs), best_epoch=charts.best_epoch(run.epochs),
        recipe=features.recipe, words=word_set.identity, settings=settings_of(run.config),
        protocol=_flatten(run.protocol), facts=_facts(run, browser), **verdict.list_cautions(run), browser=browser,
        commands=list_commands(run.config, run.protocol, run.path, features.root, run.split, dataset_root,
                               "storyworld" in json.dumps(word_set.info)),
        has_photos=any(pictures.encoded), photos="\n".join(encoded or "" for encoded in pictures.encoded),
        stories=embed_json({
            "split": run.split, "task": run.task, "tags": word_set.tag_names,
            "categories": [word_set.tag_categories.get(name, "") for name in word_set.tag_names],
            "photoIds": pictures.photo_ids, "notes": pictures.notes(), "stories": browser.records}))
    path = write_text(run_path / "report.html", text)
    log.info("page: %s, %.1f MB, %d of %d stories", path, len(text) / 1e6, len(browser.records), browser.total)
    return path


def _show_numbers(run: EvaluatedRun, words: WordSet) -> dict[str, Any]:
    """Headline, charts, statements, tables and tag bars."""
    names = list(dict.fromkeys(name for metrics in run.scores.values() for name in metrics))
    headline = verdict.choose_headline((name for name in names if split_t(name) == (HEADLINE_T, name)),
                                       run.task == "tell")
    drawn = [chart for metric in headline if (chart := charts.draw_dots(metric, {
        row: scores[metric.name] for row, scores in run.scores.items() if metric.name in scores}))]
    model, last_t = run.scores.get(verdict.find_model_row(run), {}), run.last_t
    tags = charts.draw_tags(model, words.tag_names, words.tag_categories)
    shown = {bar["name"] for bars in tags.values() for bar in bars}
    return {"headline": headline, "rows": charts.order_rows(run.scores), "charts": drawn,
            **verdict.state_findings(run, headline), "sense": verdict.list_sense(run),
            "has_intervals": any(dot["low"] is not None for chart in drawn for dot in chart["dots"]),
            "tables": _tables(run, names, words.tag_names), "tags": tags,
            "silent_tags": [name for name in words.tag_names[2:] if name not in shown],
            "num_tags": len(words.tag_names) - 2, "last_t": last_t}


def environment(folder: Path = ASSETS) -> jinja2.Environment:
    """Templates of a folder; every value is escaped, an unknown one is an error."""
    made = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters.update(json=lambda raw: json.dumps(raw, ensure_ascii=False), value=verdict.format_value,
                        spoken=charts.spoken, plain=lambda row: row.replace("_", " "), flat=_flatten,
                        brief=charts.brief_row)
    made.globals.update(kind_of=kind_of, is_comparable=charts.is_comparable)
    made.tests["comparable"] = charts.is_comparable
    return made


def content_policy(style: str, script: str, images: str = "data:") -> str:
    """A Content-Security-Policy that runs this style and this script and nothing else, shows images of these sources,
    and reaches no network."""
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    return (f"default-src 'none'; img-src {images}; style-src {source(style)}; script-src {source(script)}; "
            "base-uri 'none'; form-action 'none'")


def embed_json(value: Any) -> str:
    """JSON that can stand inside a script element: ASCII alone, and no character that HTML gives a meaning."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _flatten(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flatten(value, f"{prefix}{name}: ") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _facts(run: EvaluatedRun, browser: Browser) -> list[tuple[str, str]]:
    settings, best = settings_of(run.config), run.epoch or charts.best_epoch(run.epochs)
    photos = len({photo for prediction in run.predictions for photo in prediction.photos})
    facts = [("stories", f"{browser.total:,}"), ("albums", f"{run.num_albums:,}"),
             ("photos", f"{photos:,}")]
    facts += [(name, str(settings[name])) for name in ("task", "preset", "seed") if name in settings]
    return facts + ([("best epoch", f"{best:.0f} of {len(run.epochs)}")] if best is not None else [])


def _tables(run: EvaluatedRun, names: list[str], tag_names: list[str]) -> list[dict[str, Any]]:
    """The tables of all numbers, a group of metrics each, with one body for every t."""
    single = set(tag_names)
    groups: dict[str, dict[int, list[str]]] = {}
    for name in sorted(names, key=order_of):
        t, plain = split_t(name)
        is_known = any(name in scores and scores[name].value is not None for scores in run.scores.values())
        if is_known and plain.rpartition(".")[2] not in single:
            shown = name_group(verdict.describe(plain).group, run.task)
            groups.setdefault(shown, {}).setdefault(t, []).append(name)
    return [{"group": group, "by_t": [
        {"t": t, "metrics": [verdict.describe(split_t(name)[1]) for name in groups[group][t]],
         "rows": [{"row": row, "kind": kind_of(row), "cells": [run.scores[row].get(name) for name in groups[group][t]]}
                  for row in charts.order_rows(run.scores)
                  if any(score.value is not None for name, score in run.scores[row].items()
                         if name in groups[group][t])]}
        for t in sorted(groups[group], reverse=True)]}
        for group in (*TOLD.values(), *GROUPS) if group in groups]
