"""`--init RUN`: begin with another run's weights, matched by name, words by word, tags by name."""
from pathlib import Path

import torch
from torch import Tensor

from data.files import read_json
from data.folder.identity import Identity
from data.folder.word_reader import WordSet
from train.model.story_model import StoryModel
from train.run_folder.runs import BEST, VOCABULARY, read_recipe, read_record, read_weights

# rows that stand for words or tags, by the end of the tensor's name
WORD_ROWS = ("embedding.weight", "vocabulary.weight", "vocabulary.bias")
TAG_ROWS = ("tag_embedding", "seen_head.3.weight", "seen_head.3.bias", "next_head.3.weight", "next_head.3.bias",
            "seen_probe.weight", "seen_probe.bias")
# come from this run's folder and settings
OWN = ("feature_mean", "feature_std", "counted_tags", "photo_carry.scale", "photo_carry.likeness_scale",
       "photo_carry.decoder_share", "photo_query.directions", "photo_query.kept", "photo_query.is_used",
       "text_decoder.ngram_share", "text_vectors.mean", "text_vectors.std")


def require_source(run_path: Path) -> None:
    """Refuse a run to begin from that cannot be read.

    Raises:
        UserError: if the folder is no run with weights.
    """
    read_record(run_path)
    read_weights(run_path / BEST)


def take_over(model: StoryModel, run_path: Path, words: WordSet, recipe: Identity, text: Identity) -> str:
    """Copy what fits from a run's best weights into a model.

    Args:
        model: changed in place. run_path: the run to start from.
        words: this run's words; rows of words and tags are matched by what they stand for.
        recipe: this run's photo recipe. text: the identity of its text features.

    Returns:
        What was and was not taken over, in one sentence.

    Raises:
        UserError: if the folder is no run with weights.
    """
    record = read_record(run_path)
    weights, _ = read_weights(run_path / BEST)
    known = read_json(run_path / VOCABULARY, "a run's vocabulary", "train that run again")
    word_rows = _match(known["words"], words.vocabulary)
    tag_rows = _match(known["tags"], words.tag_names)
    taken: list[str] = []
    left: list[str] = []
    with torch.no_grad():
        for name, own in model.state_dict().items():
            if name in OWN or name.startswith("text_decoder.ngrams."):
                continue
            rows = word_rows if name.endswith(WORD_ROWS) else tag_rows if name.endswith(TAG_ROWS) else None
            (taken if name in weights and _copy_rows(own, weights[name], rows) else left).append(name)
    report = (f"taken over from {run_path}: {len(taken)} of {len(taken) + len(left)} tensors, the rows of "
              f"{len(word_rows[0])} of {len(words.vocabulary)} words and {len(tag_rows[0])} of "
              f"{len(words.tag_names)} tags")
    if left:
        report += f"; not taken over (absent there or of another shape): {', '.join(left)}"
    if read_recipe(run_path, record)["id"] != recipe["id"]:
        report += "; its photos went through another recipe, so what reads and predicts features starts far off"
    if record.text["id"] != text["id"]:
        report += "; its captions had other text features or none, so what reads these starts far off"
    return report


def _match(there: list[str], here: list[str]) -> tuple[list[int], list[int]]:
    """Rows (there, here) of the names that both have."""
    index = {name: row for row, name in enumerate(there)}
    shared = [(index[name], row) for row, name in enumerate(here) if name in index]
    return [row for row, _ in shared], [row for _, row in shared]


def _copy_rows(own: Tensor, other: Tensor, rows: tuple[list[int], list[int]] | None) -> bool:
    if own.shape[1:] != other.shape[1:] or (rows is None and own.shape != other.shape):
        return False
    if rows is None:
        own.copy_(other)
    else:
        own[rows[1]] = other[rows[0]].to(own.device)
    return True
