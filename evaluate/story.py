"""One story of your own: photos in, the next sentence, tags and matching photos out.

The photos go through the very backbone that the run's features came from: another one is refused with what differs.
"""
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.errors import UserError
from data.files import read_json
from data.folder import Features
from data.identity import identify, require_same
from data.photos import BadPhoto, read_photo
from data.pictures import decode_photo
from data.words import Vocabulary, split_words
from evaluate.captions.detokenise import detokenise
from evaluate.captions.writing import write_captions
from evaluate.captions.writing_config import WritingConfig
from evaluate.config import TS
from evaluate.evaluation import choose_device
from evaluate.photos.retrieval import rank_candidates
from evaluate.photos.space import PhotoSpace
from evaluate.tags.tag_metrics import FIRST_TAG
from extract.backbone import Backbone, build_backbone, spec_fields
from extract.mapper import Mapper
from extract.recipe import package_versions, recall_recipe
from train.runs import VOCABULARY, LoadedRun, load_run, require_same_folder

SHOWN_TAGS = 5
CAPTION_LENGTH = 30


@dataclass(frozen=True, kw_only=True)
class StoryConfig:
    """What is shown to which run, and how it answers."""

    photos: tuple[Path, ...]              # 1..4, in order
    run: Path
    captions: tuple[str, ...] = ()        # one a photo, or none at all
    features: Path | None = None          # whose photos are matched; None: the run's folder
    weights: str | None = None            # of the backbone; None: as this machine made the folder
    backbone: str | None = None           # must be named where it is a plug-in: a folder does not choose what runs
    top: int = 5                          # matching photos
    device: str = "auto"
    writing: WritingConfig = field(default_factory=WritingConfig)

    def __post_init__(self) -> None:
        if not 1 <= len(self.photos) <= max(TS):
            raise UserError(f"expected 1 to {max(TS)} photos, found {len(self.photos)}; name the beginning of a story")
        if self.captions and len(self.captions) != len(self.photos):
            raise UserError(f"expected a --caption for each of the {len(self.photos)} photos or none, found "
                            f"{len(self.captions)}; give one a photo, in their order")


@dataclass(frozen=True)
class ToldStory:
    """What the run says: the next sentence, tags (name, probability) of each photo and of the next, photo ids."""

    written: str
    tags_seen: list[list[tuple[str, float]]]
    tags_next: list[tuple[str, float]]
    matching: list[str]


def tell_story(config: StoryConfig) -> ToldStory:
    """Look at photos and go on with their story.

    Raises:
        UserError: if a photo cannot be read, or the backbone or the folder are not those of the run.
    """
    device = choose_device(config.device)
    run = load_run(config.run, device)
    if run.config.task != "next":
        raise UserError(f"run {config.run}: expected the task 'next', found {run.config.task!r}; choose another run")
    features = Features.open(config.features or Path(run.features))
    require_same_folder(run, config.run, features.recipe, features.words(run.config.words).identity, features.root)
    contents = [_read(path) for path in config.photos]
    looked_at = _look(config, run, features, contents, device)
    names = read_json(config.run / VOCABULARY, "the run's words", f"train it again: make train RUN={config.run}")
    vocabulary = Vocabulary(names["words"])
    batch = _make_batch(looked_at, config.captions, vocabulary)
    place, count = len(config.photos) - 1, len(config.photos)
    with torch.inference_mode():
        outputs = run.model.encode({name: tensor.to(device) for name, tensor in batch.items()})
        state = outputs["hidden"][:, place], outputs["tag_embedding"][:, place]
        caption = write_captions(run.model.text_decoder, *state, config.writing)[0]
    seen, ahead = (outputs[name].sigmoid().cpu().numpy()[0] for name in ("seen_logits", "next_logits"))
    return ToldStory(
        detokenise(vocabulary.decode(caption.token_ids)), [_likeliest(row, names["tags"]) for row in seen[:count]],
        _likeliest(ahead[place], names["tags"]),
        _match(run, features, outputs["predicted_features"][0, place].cpu().numpy(), contents, config.top))


def format_story(config: StoryConfig, told: ToldStory) -> str:
    """The answer for people."""
    lines = []
    for number, (path, tags) in enumerate(zip(config.photos, told.tags_seen), start=1):
        said = f'  "{config.captions[number - 1]}"' if config.captions else ""
        lines.append(f"{number}  {path}{said}\n   {_name_tags(tags)}")
    lines.append(f"{len(config.photos) + 1}  {told.written}\n   {_name_tags(told.tags_next)}")
    return "\n".join([*lines, f"   like the photos {', '.join(told.matching)}" if told.matching else ""])


def _read(path: Path) -> bytes:
    try:
        return read_photo(path)
    except BadPhoto as error:
        raise UserError(f"expected a photo at {path}, found: {error.cause}; name another file") from None


def _look(config: StoryConfig, run: LoadedRun, features: Features, contents: list[bytes], device: str) -> np.ndarray:
    """(n, D) float16 features of photos, by the run's backbone."""
    fields = run.recipe["fields"]
    backbone = _open_backbone(config, features, fields)
    found = identify({**fields, "backbone": backbone.name, "weights": backbone.weights_sha256,
                      **spec_fields(backbone.spec), "decoder_major": int(package_versions()["pillow"].split(".")[0])})
    require_same("recipe", run.recipe, found, f"run {config.run}", "the backbone of this command",
                 "name the weights that the run's features came from with --weights")
    resize = backbone.spec.resize_for(fields.get("reduced_decoding") == "none")
    precision = fields.get("precision", "float32")
    if precision == "float16" and device == "cpu":
        precision = "float32"  # drifts less than half precision does
    mapper = Mapper(backbone, torch.device(device), precision, max(TS))
    buffer = mapper.make_buffer()
    for place, (path, content) in enumerate(zip(config.photos, contents)):
        try:
            buffer[place] = decode_photo(content, resize)
        except BadPhoto as error:
            raise UserError(f"expected a photo in {path}, found: {error.cause}; name another file") from None
    return mapper.submit(buffer).result().features[:len(contents)]


def _open_backbone(config: StoryConfig, features: Features, fields: dict[str, Any]) -> Backbone:
    name = str(fields.get("backbone"))
    if ":" in name and config.backbone is None:
        raise UserError(f"expected --backbone for features of the plug-in {name!r}, found none; a folder does not "
                        f"choose what runs here: look at that module, then add --backbone {name}")
    weights = config.weights
    if weights is None:
        remembered = recall_recipe(features.root)
        weights = str(remembered["weights"]) if remembered is not None else None
    if weights is None or (config.weights is None and weights not in ("random", "imagenet", "own")):
        raise UserError(f"expected --weights for the backbone of {features.root}, found none; name random, imagenet or "
                        "the file its features were made with")
    return build_backbone(config.backbone or name, "random" if weights == "own" else weights, fields.get("resize"))


def _make_batch(looked_at: np.ndarray, captions: tuple[str, ...], vocabulary: Vocabulary) -> dict[str, torch.Tensor]:
    """A batch of one story; frames without a photo and captions that were not given are withheld."""
    count, frames = len(looked_at), max(TS) + 1
    photos = np.zeros((1, frames, looked_at.shape[1]), np.float16)
    photos[0, :count] = looked_at
    token_ids = np.zeros((1, frames, CAPTION_LENGTH), np.int64)
    for place, caption in enumerate(captions):
        token_ids[0, place] = vocabulary.encode(split_words(caption, tokenised=False), CAPTION_LENGTH)[0]
    return {"image_features": torch.from_numpy(photos), "photo_mask": torch.arange(frames)[None] < count,
            "token_ids": torch.from_numpy(token_ids)}


def _match(run: LoadedRun, features: Features, predicted: np.ndarray, contents: list[bytes], top: int) -> list[str]:
    """Ids of the photos of the folder that are nearest to the predicted one; the photos shown do not count."""
    space = PhotoSpace(features, run.model.feature_mean.cpu().numpy(), run.model.feature_std.cpu().numpy())
    rows = np.flatnonzero(features.usable)
    shown = {hashlib.sha256(content).digest() for content in contents}
    rows = rows[[row.tobytes() not in shown for row in features.content.take(rows)]]
    query = predicted[None] / max(float(np.linalg.norm(predicted)), 1e-12)
    ranking = rank_candidates(query.astype(np.float32), lambda index: space.read_directions(rows[index]), len(rows),
                              np.array([-1]), np.array([[-1]]), top=top)
    return [photo_id.decode() for photo_id in features.photo_id.take(rows[ranking.top[0][ranking.top[0] >= 0]])]


def _likeliest(probs: np.ndarray, names: list[str]) -> list[tuple[str, float]]:
    best = FIRST_TAG + np.argsort(-probs[FIRST_TAG:], kind="stable")[:SHOWN_TAGS]
    return [(names[column], float(probs[column])) for column in best]


def _name_tags(tags: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {chance:.0%}" for name, chance in tags)
