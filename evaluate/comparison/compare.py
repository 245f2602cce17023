"""Compare systems on what all of them were asked: paired differences over albums, and what can be claimed.

Systems are runs (their predictions-<split>.jsonl), prediction files of task `next` in the same format by whatever
wrote them, or whole stories (the published protocol): runs of task `tell`, which bring their references along, or any
system's with --references. Only what every system has an answer to is compared, on the same resamples of the same
albums.
"""
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, count
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import write_json
from evaluate.comparison.lines import level_lines, lines_by_frame, measure_lines
from evaluate.comparison.story_files import Stories, choose_references, read_stories
from evaluate.comparison.story_lines import measure_told, read_story_lines
from evaluate.config import CompareConfig
from evaluate.metrics import find_metric, format_interval, list_metrics
from evaluate.predictions import find_predictions
from evaluate.statistics.bootstrap import MIN_ALBUMS, Estimate, correct, enough_resamples, judge
from evaluate.stories.scorer import SYSTEM, Corpus, PublishedScorer
from evaluate.terminal import align, wrap

LEVEL = 0.05
LABEL_WIDTH = 30
TESTED = tuple(metric.name for metric in list_metrics("tested"))  # Holm's family; what else was measured is not
# estimates of every system, by name, on their common ground; how many albums that is; what was left out
Measured = tuple[dict[str, dict[str, Estimate]], int, list[str]]


def compare_systems(config: CompareConfig) -> dict[str, Any]:
    """Compare every pair of systems.

    Returns:
        {"systems": {name: {metric: summary}}, "pairs": [{"first", "second", "metric", "value", "low", "high", "n",
        "p", "p_holm", "better"}], "albums", "notes", "claims"}; value is second - first, better names the better
        system or is None.

    Raises:
        UserError: if a file cannot be read or the systems have nothing in common.
    """
    names = _name_systems(config.systems)
    num_tests = len(names) * (len(names) - 1) // 2 * len(TESTED)
    config = replace(config, resamples=enough_resamples(config.resamples, num_tests))
    measured, num_albums, notes = _measure(config, names)
    pairs: list[dict[str, Any]] = []
    for first, second in combinations(names, 2):
        for metric in (name for name in TESTED if all(name in measured[row] for row in (first, second))):
            difference = measured[second][metric] - measured[first][metric]
            pairs.append({"first": first, "second": second, "metric": metric, **difference.summary(),
                          "p": difference.p_value()})
    correct(pairs)
    for pair in pairs:  # a system is better where the interval excludes zero and the corrected p value is small
        better = judge(pair, find_metric(pair["metric"]).direction)
        pair["better"] = None if better is None or pair["p_holm"] >= LEVEL else pair["second" if better else "first"]
    result = {"systems": {name: {metric: estimate.summary() for metric, estimate in metrics.items()}
                          for name, metrics in measured.items()},
              "pairs": pairs, "albums": num_albums, "notes": notes}
    result["claims"] = describe_claims(result)
    if config.out is not None:
        write_json(config.out, result)
    return result


def describe_claims(result: dict[str, Any]) -> list[str]:
    """What can be claimed, in sentences."""
    if result["albums"] < MIN_ALBUMS:
        return [f"Nothing can be claimed: {result['albums']} albums in common are too few for intervals (at least "
                f"{MIN_ALBUMS})."]
    claims = []
    for first, second in dict.fromkeys((pair["first"], pair["second"]) for pair in result["pairs"]):
        pairs = [pair for pair in result["pairs"] if (pair["first"], pair["second"]) == (first, second)]
        for name in (second, first):
            won = [find_metric(pair["metric"]).label for pair in pairs if pair["better"] == name]
            if won:
                claims.append(f"{name} is better than {first if name == second else second} at {', '.join(won)}.")
        open_ones = [find_metric(pair["metric"]).label for pair in pairs if pair["better"] is None]
        if open_ones:
            claims.append(f"{second} and {first} cannot be told apart at {', '.join(open_ones)}.")
    return claims


def format_comparison(result: dict[str, Any]) -> str:
    """Tables of the systems and of their differences, then the claims."""
    metrics = [metric for metric in TESTED if any(metric in row for row in result["systems"].values())]
    cells = [[find_metric(metric).label, *(format_interval(row.get(metric)) for row in result["systems"].values())]
             for metric in metrics]
    parts = [align([["", *result["systems"]], *cells], name_width=LABEL_WIDTH)]
    for first, second in dict.fromkeys((pair["first"], pair["second"]) for pair in result["pairs"]):
        lines = [[f"{second} - {first}", "difference", "p", "p (Holm)", "better"]]
        lines += [[find_metric(pair["metric"]).label, format_interval(pair),
                   *("" if pair.get(p) is None else f"{pair[p]:.4f}" for p in ("p", "p_holm")), pair["better"] or ""]
                  for pair in result["pairs"] if (pair["first"], pair["second"]) == (first, second)]
        parts.append(align(lines, name_width=LABEL_WIDTH))
    return "\n\n".join([*parts, wrap([*result["claims"], *(f"Note: {note}." for note in result["notes"])])])


def _measure(config: CompareConfig, names: Sequence[str]) -> Measured:
    paths = [find_predictions(path, config.split) for path in config.systems]
    first = None if config.references is not None else read_stories(paths[0])
    if not isinstance(first, list):
        return _measure_stories(config, names, paths, first[1] if first is not None else None)
    lines = [lines_by_frame(path) for path in paths]
    keys = sorted(key for key in set(lines[0]).intersection(*lines) if key[1] == config.t)
    if not keys:
        raise UserError(f"expected stories that all of {', '.join(names)} were asked with t = {config.t}, found none; "
                        "compare predictions of the same split")
    notes = [f"{name}: {left} of its captions at t = {config.t} have no counterpart and are left out"
             for name, own in zip(names, lines)
             if (left := sum(key[1] == config.t for key in own) - len(keys))]
    for name, own in zip(names[1:], lines[1:]):
        if others := sum(own[key].caption != lines[0][key].caption for key in keys):
            notes.append(f"{name}: {others} of {len(keys)} true captions differ from those of {names[0]}; each system "
                         "is scored against its own file's")
    estimates, num_albums = {}, 0
    for name, told in zip(names, level_lines(lines, keys)):
        estimates[name], num_albums = measure_lines(told, config.resamples, config.seed)
    return estimates, num_albums, notes


def _measure_stories(config: CompareConfig, names: Sequence[str], paths: Sequence[Path], own: Stories | None
                     ) -> Measured:
    """Whole stories by the published protocol, on the albums that all systems and the references have."""
    references, notes = choose_references(config.references, config.split, own, paths[0])
    systems = []
    for path in paths:
        stories = read_stories(path)
        if isinstance(stories, list):
            raise UserError(f"expected whole stories in {path} like the others, found captions of task next; compare "
                            "systems of one kind")
        systems.append(stories[0])
    common = sorted(set(references).intersection(*systems))
    if not common:
        raise UserError(f"expected albums that {config.references or names[0]} and all of {', '.join(names)} share, "
                        "found none; check that they are of the same split")
    notes += [f"{name}: {len(told) - len(common)} of its albums are not common to all and are left out"
              for name, told in zip(names, systems) if len(told) > len(common)]
    estimates, num_albums = {}, 0
    for name, path, told in zip(names, paths, systems):
        scorer = PublishedScorer(Corpus(common, [told[album] for album in common],
                                        [references[album] for album in common]), config.resamples, config.seed,
                                 redundant=False)
        lines = [line for line in read_story_lines(path) if line.album_id in common]
        estimates[name] = scorer.score()[SYSTEM] | measure_told(lines, config.resamples, config.seed)
        num_albums = scorer.resamples.num_albums
    return estimates, num_albums, notes


def _name_systems(paths: Sequence[Path]) -> list[str]:
    """Short names, all different: the last part of each path that tells them apart."""
    if len(set(paths)) < len(paths):
        raise UserError("expected different systems, found one twice; name each once")
    named = (["/".join(path.parts[-depth:]) for path in paths] for depth in count(1))
    return next(names for names in named if len(set(names)) == len(paths))
