"""One story of your own: photos in; sentences, tags and matching photos out.

A run of task `next` goes on with the story: the sentence that follows, its tags, and photos like the next one. A run of
task `tell` writes a sentence for every photo. The photos go through the backbone of the run's features (`own_photos`).
"""
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.files import read_json
from data.folder.folder import Features
from data.pictures.pictures import Resize
from data.words.tokens import END, PAD, START, Vocabulary, split_words
from evaluate.captions.detokenise import detokenise
from evaluate.config import StoryConfig
from evaluate.evaluation.evaluation import choose_device
from evaluate.own_story.captions import open_own_encoder, read_captions
from evaluate.own_story.photos import look_at, make_mapper, open_backbone, read_contents
from evaluate.photos.retrieval import PhotoSpace, normalise, rank_candidates
from evaluate.stories.alignment import load_table
from evaluate.tags.tag_scores import FIRST_TAG
from extract.backbones.backbone import Backbone
from extract.backbones.mapper import Mapper
from extract.backbones.text_encoder import OWN, TextEncoder
from train.model.text import Context
from train.run_folder.runs import VOCABULARY, LoadedRun, load_run, open_features, read_record, require_same_folder
from train.task import Task
from train.writing.captions import write_captions
from train.writing.config import WritingConfig
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


@dataclass(frozen=True)
class Storyteller:
    """A run with what it takes to look at photos of one's own and to write of them.

    Attributes:
        features: the folder whose photos are matched. mapper, resize: how a photo becomes a feature.
        length: ids of a caption.
    """

    run: LoadedRun
    features: Features
    backbone: Backbone
    mapper: Mapper
    resize: Resize
    vocabulary: Vocabulary
    tag_names: list[str]
    length: int
    task: Task
    device: str
    encoder: TextEncoder | None = None

    @classmethod
    def open(cls, run_path: Path, features_path: Path | None, backbone: str | None, weights: str | None,
             device: str, text_encoder: str | None = None, has_captions: bool = True) -> "Storyteller":
        """Open a run, its features folder (None: the one it was trained on) and its backbone, see `open_backbone`.

        Args:
            text_encoder: must be named where the run reads text features, see `open_own_encoder`.
            has_captions: whether any will be read.

        Raises:
            UserError: if one of them is absent, or the backbone or the folder are not those of the run.
        """
        task, device = read_record(run_path).config.asked, choose_device(device)
        run = load_run(run_path, device)
        features = open_features(run, features_path)
        require_same_folder(run, run_path, features.recipe, features.words(run.config.words), features.root)
        encoder = open_own_encoder(run, text_encoder, device, weights if weights and text_encoder == backbone else OWN
                                   ) if run.config.reads_vectors and has_captions else None
        opened, fields = open_backbone(run, features, backbone, weights), run.recipe["fields"]
        names = read_json(run_path / VOCABULARY, "the run's words", f"train it again: make train RUN={run_path}")
        return cls(run, features, opened, make_mapper(opened, fields, device),
                   opened.spec.resize_for(fields.get("reduced_decoding") == "none"), Vocabulary(names["words"]),
                   names["tags"], int(run.words["fields"]["length"]), task, device, encoder)

    @torch.inference_mode()
    def read(self, looked_at: np.ndarray, captions: Sequence[str]) -> dict[str, torch.Tensor]:
        """What the model makes of photos, (n, D) float16, and the captions of some of them; `StoryModel.encode`."""
        batch = make_batch(looked_at, captions, self.vocabulary, self.tag_names, self.length, self.task.looks_ahead)
        if self.run.config.reads_vectors:
            batch["text_features"] = read_captions(self.run, captions, batch["token_ids"].shape[1], self.encoder)
        return self.run.model.encode({name: tensor.to(self.device) for name, tensor in batch.items()})

    def write(self, outputs: dict[str, torch.Tensor], count: int, config: WritingConfig,
              begun: Sequence[str] = ()) -> list[str]:
        """Sentences for people: the one that follows `count` photos, or those of the photos from `begun` on.

        Args:
            begun: of a run that tells, the first sentences where they are given.
        """
        config = replace(config, max_words=min(config.max_words, self.length - 2))
        context, decoder = Context.of(outputs), self.run.model.text_decoder
        if self.task.looks_ahead:
            captions = write_captions(decoder, context.select((0, [count - 1])), config)
        else:
            given = [self.encode(sentence)[:config.max_words] for sentence in begun]
            captions = write_stories(decoder, context.select((slice(None), slice(count))), config,
                                     np.arange(count)[None], given)[0][len(given):]
        return [detokenise(self.vocabulary.decode(caption.token_ids)) for caption in captions]

    def encode(self, sentence: str) -> list[int]:
        """A sentence's word ids, as many as a caption may have."""
        ids = self.vocabulary.encode(split_words(sentence, tokenised=False), self.length)[0]
        return [int(word) for word in ids if word not in (PAD, START, END)]

    def likeliest(self, logits: torch.Tensor) -> list[tuple[str, float]]:
        """The names of the likeliest tags, best first, with their probabilities; logits (G,)."""
        probs = logits.sigmoid().cpu().numpy()
        best = FIRST_TAG + np.argsort(-probs[FIRST_TAG:], kind="stable")[:SHOWN_TAGS]
        return [(self.tag_names[column], float(probs[column])) for column in best]

    @cached_property
    def space(self) -> PhotoSpace:
        """The features of the folder as the model reads them."""
        model = self.run.model
        return PhotoSpace(self.features, model.feature_mean.cpu().numpy(), model.feature_std.cpu().numpy())

    def match(self, query: np.ndarray, rows: np.ndarray, shown: set[bytes], top: int) -> np.ndarray:
        """The photo rows, best first, that are nearest to a standardised feature.

        Args:
            query: (D,) float32. rows: (n,) those that compete. shown: sha256 of contents that do not.
        """
        rows = rows[[content.tobytes() not in shown for content in self.features.content.take(rows)]]
        ranking = rank_candidates(normalise(query[None].astype(np.float32)),
                                  lambda index: self.space.read_directions(rows[index]), len(rows),
                                  np.array([-1]), np.array([[-1]]), top=top)
        return rows[ranking.top[0][ranking.top[0] >= 0]]


def tell_story(config: StoryConfig) -> ToldStory:
    """Look at photos and go on with their story, or tell it.

    Raises:
        UserError: if a photo cannot be read, or the backbone or the folder are not those of the run.
    """
    require_task(config, read_record(config.run).config.asked)
    contents, count = read_contents(config.photos), len(config.photos)
    teller = Storyteller.open(config.run, config.features, config.backbone, config.weights, config.device,
                              config.text_encoder, any(config.captions))
    outputs = teller.read(look_at(config.photos, contents, teller.mapper, teller.resize), config.captions)
    sentences = teller.write(outputs, count, config.writing)
    tags_seen = [teller.likeliest(logits) for logits in outputs["seen_logits"][0, :count]]
    if not teller.task.looks_ahead:
        return ToldStory(sentences, tags_seen, [], [])
    matching = teller.match(outputs["query_features"][0, count - 1].cpu().numpy(),
                            np.flatnonzero(teller.features.usable),
                            {hashlib.sha256(content).digest() for content in contents}, config.top)
    return ToldStory(sentences, tags_seen, teller.likeliest(outputs["next_logits"][0, count - 1]),
                     [photo_id.decode() for photo_id in teller.features.photo_id.take(matching)])


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


def make_batch(looked_at: np.ndarray, captions: Sequence[str], vocabulary: Vocabulary, tag_names: list[str],
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


def _name_tags(tags: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {chance:.0%}" for name, chance in tags)
