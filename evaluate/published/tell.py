"""Evaluate a run of task `tell`: whole stories from all five photos, by the published album-level protocol.

predictions-<split>.jsonl  a line per story: album_id, story_id; story: what was written, as `python -m evaluate score`
                           reads it; sentences: its five; reference: the true story's words as they are scored;
                           photos: five ids; nll: nats of the true story's words and <END>s, and tokens, how many
eval-<split>.json          as for task `next`; rows are the model, one constant story, and the human writers
"""
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data.files import replace_file, write_json
from data.folder.folder import Features
from evaluate.captions.writing import write_captions
from evaluate.captions.writing_config import WritingConfig
from evaluate.config import EvalConfig
from evaluate.predicting import caption_nll
from evaluate.protocol import describe_writing, list_cautions
from evaluate.published.scorer import AS_HUMAN, CONSTANT, HUMAN, SYSTEM, Corpus, score_corpus
from evaluate.rows import MODEL
from evaluate.scoring import Scores, compare_rows, summarise
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import LEVEL, MIN_ALBUMS, Estimate
from train.model import StoryModel
from train.runs import LoadedRun
from train.text import Context

logger = logging.getLogger(__name__)

ROW_NAMES = {SYSTEM: MODEL, CONSTANT: "constant story", HUMAN: "human", AS_HUMAN: "model, scored as human"}


def evaluate_stories(config: EvalConfig, run: LoadedRun, features: Features, words: str, device: str,
                     source_note: str) -> Path:
    """Write and score a story for every story of the split; several of an album are averaged within it.

    Args:
        run: of task `tell`, its recipe and words checked against the folder.
        source_note: that the photos are others than the run's, or empty.

    Returns:
        The path of eval-<split>.json.
    """
    split = EvaluatedSplit(features, words, config.split, config.missing, config.limit, config.resamples, config.seed)
    writing = replace(config.writing, max_words=min(config.writing.max_words, split.token.shape[-1] - 2))
    sentences, (nll, known) = tell_split(run.model, split, config.batch_size, device, writing)
    _write_stories(config.run / f"predictions-{config.split}.jsonl", split, sentences, nll)
    corpus = gather_albums(split, sentences)
    rows, scorer, no_meteor = score_corpus(corpus, config.meteor, config.resamples, config.seed)
    scores: Scores = {ROW_NAMES[row]: metrics for row, metrics in rows.items()}
    scores[MODEL] |= _score_surprise(split, nll, known)
    notes = [*scorer.notes, *list_cautions(config, split), *([source_note] if source_note else [])]
    return write_json(config.run / f"eval-{config.split}.json", {
        "rows": summarise(scores, {"meteor": no_meteor} if no_meteor else {}),
        "differences": compare_rows(scores),
        "protocol": _describe(config, split, notes), "recipe": features.recipe, "words": split.words.identity,
        "run": {"path": str(config.run), "epoch": run.epoch, "features": str(features.root)}})


@torch.inference_mode()
def tell_split(model: StoryModel, split: EvaluatedSplit, batch_size: int, device: str, writing: WritingConfig
               ) -> tuple[list[list[str]], np.ndarray]:
    """Five sentences for every story of a split; and (2, S, K) float64 nats of the true captions, see
    `caption_nll`."""
    stories: list[list[str]] = []
    nll: list[np.ndarray] = []
    frames = split.token.shape[1]
    for start in range(0, len(split), batch_size):
        places = np.arange(start, min(start + batch_size, len(split)))
        batch = {name: tensor.to(device) for name, tensor in split.dataset.__getitems__(places).items()}
        outputs = model(batch)
        nll.append(caption_nll(outputs["caption_logits"], batch["token_ids"]).cpu().numpy())
        keys = (batch["story_index"].cpu().numpy()[:, None] * frames + np.arange(frames)).ravel()
        captions = write_captions(model.text_decoder, Context.of(outputs).flatten(), writing, keys)
        texts = [" ".join(split.words.vocabulary[index] for index in caption.token_ids) for caption in captions]
        stories += [texts[first:first + frames] for first in range(0, len(texts), frames)]
    return stories, np.concatenate(nll, axis=1)


def gather_albums(split: EvaluatedSplit, stories: list[list[str]]) -> Corpus:
    """Written and true stories by album, in the words of the vocabulary."""
    album_ids = sorted(set(split.units.album_ids))
    written: dict[str, list[str]] = {album_id: [] for album_id in album_ids}
    true: dict[str, list[str]] = {album_id: [] for album_id in album_ids}
    for place, (album_id, sentences) in enumerate(zip(split.units.album_ids, stories)):
        written[album_id].append(" ".join(sentences))
        true[album_id].append(_join_true(split, place))
    return Corpus(album_ids, list(written.values()), list(true.values()))


def _score_surprise(split: EvaluatedSplit, nll: np.ndarray, known: np.ndarray) -> dict[str, Estimate]:
    tokens, unknown = (counts.sum(axis=1).astype(float) for counts in (split.num_tokens, split.num_unknown))
    ratio = split.resamples.ratio
    return {"perplexity": ratio(nll.sum(axis=1), tokens, len(split), np.exp),
            "perplexity_known": ratio(known.sum(axis=1), tokens - unknown, len(split), np.exp)}


def _join_true(split: EvaluatedSplit, place: int) -> str:
    return " ".join(word for words in split.caption_words[place] for word in words)


def _write_stories(path: Path, split: EvaluatedSplit, stories: list[list[str]], nll: np.ndarray) -> Path:
    units = split.units
    names = [name.decode() for name in split.features.photo_id.take(units.photo.ravel())]
    with replace_file(path) as partial, open(partial, "w", encoding="utf-8") as file:
        for place, sentences in enumerate(stories):
            line = {"album_id": units.album_ids[place], "story_id": units.story_ids[place],
                    "story": " ".join(sentences), "sentences": sentences, "reference": _join_true(split, place),
                    "photos": names[place * len(sentences):][:len(sentences)], "nll": float(nll[place].sum()),
                    "tokens": int(split.num_tokens[place].sum())}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def _describe(config: EvalConfig, split: EvaluatedSplit, notes: list[str]) -> dict:
    return {"version": 1, "task": "tell", "split": split.name, "stories": len(split),
            "albums": split.resamples.num_albums, "unit": "an album: one string a story, all its stories as references",
            "missing": config.missing, "limit": config.limit,
            "captions": {"method": config.writing.method, **describe_writing(config)},
            "intervals": {"level": LEVEL, "over": "albums", "resamples": config.resamples, "seed": config.seed,
                          "least_albums": MIN_ALBUMS, "drawn": bool(split.resamples.enough and config.resamples)},
            "notes": notes}
