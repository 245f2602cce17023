"""What can be measured from lines of whole stories alone: each carries its truth."""
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.folder.folder import Features
from evaluate.comparison.story_files import A_LINE
from evaluate.predictions import KINDS, Prediction, read_predictions, read_text
from evaluate.statistics.bootstrap import Estimate, Resamples
from evaluate.stories.scorer import SYSTEM, Corpus, PublishedScorer
from train.run_folder.runs import CONFIG, read_record


def read_story_lines(path: Path) -> list[Prediction]:
    """The lines of a file of whole stories; none where it is {album_id: [story]}, or of captions.

    Raises:
        UserError: if it cannot be read, or a line is no prediction.
    """
    content = read_text(path, "predictions")
    lines = read_predictions(path, content) if A_LINE.match(content) else []
    return lines if all(line.is_story for line in lines) else []


def count_learned(run_path: Path, album_ids: Sequence[str]) -> int:
    """How many of these albums the run in a folder was trained on, or the run it began with; 0 where that is no run,
    or its features folder is gone."""
    learned: set[str] = set()
    seen: set[Path] = set()
    while (run_path / CONFIG).is_file() and run_path.resolve() not in seen:  # runs trained again may begin in a ring
        seen.add(run_path.resolve())
        record = read_record(run_path)
        if Path(record.features).is_dir():
            words = Features.open(Path(record.features)).words(record.config.words)
            learned |= {album.decode() for album in words.split("train").album_id.all()}
        if not record.config.init:
            break
        run_path = Path(record.config.init)
    return len(learned.intersection(album_ids))


def measure_stories(lines: Sequence[Prediction], num_resamples: int, seed: int, left_out: frozenset[str] = frozenset()
                    ) -> tuple[dict[str, Estimate], int]:
    """Everything that lines of stories allow: the published scores and `measure_told`; and the number of albums."""
    albums = sorted({line.album_id for line in lines})
    written, true = ([[getattr(line, part) or "" for line in lines if line.album_id == album] for album in albums]
                     for part in ("written", "reference"))
    scorer = PublishedScorer(Corpus(albums, written, true), num_resamples, seed, redundant=False)
    return {**scorer.score()[SYSTEM], **measure_told(lines, num_resamples, seed, left_out)}, len(albums)


def measure_told(lines: Sequence[Prediction], num_resamples: int, seed: int, left_out: frozenset[str] = frozenset()
                 ) -> dict[str, Estimate]:
    """How likely the true stories are, and F1 of tags but those `left_out`, as far as every line says; on the same
    resamples of albums as `PublishedScorer`."""
    if not lines:  # of a system whose stories alone were given
        return {}
    resamples, estimates = Resamples([line.album_id for line in lines], num_resamples, seed), {}
    for known in ("", "_known"):
        nll, tokens = ([getattr(line, name + known) for line in lines] for name in ("nll", "tokens"))
        if None not in nll and any(tokens):
            estimates[f"perplexity{known}"] = resamples.ratio(np.array(nll), np.array(tokens), len(lines), np.exp)
    for kind in KINDS:
        if all({"tags", f"tags_{kind}"} <= line.tags_told.keys() for line in lines):
            tellings = Counter(line.photos for line in lines)
            both, total = np.array([np.array(_count_tags(line, kind, left_out)) / tellings[line.photos]
                                    for line in lines]).T
            estimates[f"tags_{kind}.micro_f1"] = resamples.ratio(both, total, len(lines))
    return estimates


def _count_tags(line: Prediction, kind: str, left_out: frozenset[str]) -> tuple[int, int]:
    """Twice the tags that are true and said, and those that are either, of the photos that something was said of."""
    pairs = [(set(true) - left_out, set(said) - left_out) for true, said in zip(
        line.tags_told["tags"], line.tags_told[f"tags_{kind}"]) if true is not None and said is not None]
    return (2 * sum(len(true & said) for true, said in pairs), sum(len(true) + len(said) for true, said in pairs))
