"""One story of your own: photos in; sentences, tags and matching photos out.

A run of task `next` goes on with the story: the sentence that follows, its tags, and photos like the next one. A run of
task `tell` writes a sentence for every photo. The photos go through the backbone of the run's features (`own_photos`).
"""
import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.files import read_json
from data.folder.folder import Features
from data.words.tokens import Vocabulary, split_words
from evaluate.captions.detokenise import detokenise
from evaluate.config import StoryConfig
from evaluate.evaluation.evaluation import choose_device
from evaluate.own_story.captions import OWN, open_own_encoder, read_captions
from evaluate.own_story.photos import look_at, open_backbone, read_contents
from evaluate.photos.retrieval import PhotoSpace, rank_candidates
from evaluate.stories.alignment import load_table
from evaluate.tags.tag_scores import FIRST_TAG
from train.model.text import Context
from train.run_folder.runs import VOCABULARY, LoadedRun, load_run, open_features, read_record, require_same_folder
from train.task import Task
from train.writing.captions import write_captions
from train.writing.stories import write_stories

SHOWN_TAGS = 5


def require_task(config: StoryConfig, task: Task) -> None:
    """Refuse more photos, or captions, than a run of this task reads."""
    most = task.most_given(NUM_FRAMES)
    if len(config.photos) > most:
        raise UserError(f"expected 1 to {most} photos for run {config.run} of task {task.name!r}, found "
                        f"{len(config.photos)}; leave out the last {len(config.photos) - most}")
    if config.captions and not task.reads_captions:
        raise UserError(f"expected no --caption for run {config.run}, which writes a sentence for every photo and "
                        f"reads none (task {task.name!r}), found {len(config.captions)}; leave --caption out, "
                        "or name a run of task 'next'")


@dataclass(frozen=True)
class ToldStory:
    """What a run says.

    Attributes:
        sentences: for people; one that follows the photos (next) or one for each of them (tell).
        tags_seen: (name, probability) of each photo. tags_next: of what follows; empty for tell.
        matching: ids of photos of the folder like the next one; empty for tell.
    """

    sentences: list[str]
    tags_seen: list[list[tuple[str, float]]]
    tags_next: list[tuple[str, float]]
    matching: list[str]


def tell_story(config: StoryConfig) -> ToldStory:
    """Look at photos and go on with their story, or tell it.

    Raises:
        UserError: if a photo cannot be read, or the backbone or the folder are not those of the run.
    """
    task = read_record(config.run).config.asked
    require_task(config, task)
    device = choose_device(config.device)
    contents = read_contents(config.photos)
    run = load_run(config.run, device)
    features = open_features(run, config.features)
    require_same_folder(run, config.run, features.recipe, features.words(run.config.words), features.root)
    backbone = open_backbone(run, features, config.backbone, config.weights)
    looked_at = look_at(config.photos, contents, backbone, run.recipe["fields"], device)
    names = read_json(config.run / VOCABULARY, "the run's words", f"train it again: make train RUN={config.run}")
    vocabulary, length = Vocabulary(names["words"]), int(run.words["fields"]["length"])
    batch = make_batch(looked_at, config.captions, vocabulary, names["tags"], length, task.looks_ahead)
    if run.config.reads_vectors:
        weights = config.weights if config.weights and config.text_encoder == config.backbone else OWN
        encoder = open_own_encoder(run, config.text_encoder, device, weights) if any(config.captions) else None
        batch["text_features"] = read_captions(run, config.captions, batch["token_ids"].shape[1], encoder)
    count = len(config.photos)
    writing = replace(config.writing, max_words=min(config.writing.max_words, length - 2))
    with torch.inference_mode():
        outputs = run.model.encode({name: tensor.to(device) for name, tensor in batch.items()})
        context, decoder = Context.of(outputs), run.model.text_decoder
        captions = (write_captions(decoder, context.select((0, [count - 1])), writing) if task.looks_ahead
                    else write_stories(decoder, context, writing, np.arange(count)[None])[0])
    seen, ahead = (outputs[name].sigmoid().cpu().numpy()[0] for name in ("seen_logits", "next_logits"))
    sentences = [detokenise(vocabulary.decode(caption.token_ids)) for caption in captions]
    tags_seen = [_likeliest(row, names["tags"]) for row in seen[:count]]
    if not task.looks_ahead:
        return ToldStory(sentences, tags_seen, [], [])
    predicted = outputs["predicted_features"][0, count - 1].cpu().numpy()
    return ToldStory(sentences, tags_seen, _likeliest(ahead[count - 1], names["tags"]),
                     _match(run, features, predicted, contents, config.top))


def format_story(config: StoryConfig, told: ToldStory) -> str:
    """The answer for people."""
    goes_on = bool(told.tags_next)
    said = [f'"{caption}"' for caption in config.captions] if goes_on else told.sentences
    lines = []
    for number, (path, tags) in enumerate(zip(config.photos, told.tags_seen), start=1):
        lines.append("  ".join([f"{number}  {path}", *said[number - 1:number]]) + f"\n   {_name_tags(tags)}")
    if goes_on:
        lines.append(f"{len(config.photos) + 1}  {told.sentences[0]}\n   {_name_tags(told.tags_next)}")
    return "\n".join([*lines, *([f"   like the photos {', '.join(told.matching)}"] if told.matching else [])])


def make_batch(looked_at: np.ndarray, captions: tuple[str, ...], vocabulary: Vocabulary, tag_names: list[str],
               length: int, has_next: bool) -> dict[str, torch.Tensor]:
    """A batch of one story of as many frames as photos, and one more without a photo where it has a next frame.

    Captions that were not given or are blank are withheld; `length` ids a caption, as in the words of the run. Their
    tags are those that the shipped table finds, none where the run's table is another.
    """
    count = len(looked_at)
    frames = count + has_next
    photos = np.zeros((1, frames, looked_at.shape[1]), np.float16)
    photos[0, :count] = looked_at
    token_ids, tags = np.zeros((1, frames, length), np.int64), np.zeros((1, frames, len(tag_names)), np.float32)
    table = load_table(tag_names)
    for place, caption in enumerate(captions):
        if caption.strip():
            words = split_words(caption, tokenised=False)
            token_ids[0, place] = vocabulary.encode(words, length)[0]
            if table is not None:
                tags[0, place] = table.tags_of_many([words])[0]
    return {"image_features": torch.from_numpy(photos), "photo_mask": torch.arange(frames)[None] < count,
            "token_ids": torch.from_numpy(token_ids), "tag_targets": torch.from_numpy(tags)}


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
