"""A whole word set in memory: token ids and tags of every story, ready to be written as shards.

S stories, K = 5 frames, T ids in a row, G tag columns.
"""
from dataclasses import dataclass

import numpy as np

from data.annotations.annotation_file import NUM_FRAMES, Story
from data.annotations.stories import SPLITS, Dataset
from data.folder.shards import fixed_bytes
from data.folder.word_reader import DII, SIS
from data.words.tags import UNK_TAG, TagTable
from data.words.tokens import CAPTION_LENGTH, VOCABULARY_SIZE, Vocabulary, split_words


@dataclass(frozen=True)
class EncodedSplit:
    """One split, its stories sorted by (album_id, story_id).

    Attributes:
        token: (S, K, T) uint16: <START>, words, <END>, padding.
        tag: (S, K, G) uint8, multi-hot; column <UNK> is set where no tag was found, <PAD> never.
        tag_source: (S, K) uint8: bit SIS always, bit DII where the photo has descriptions.
        tokenised: (S, K) uint8: 1 where the caption was split on white space.
        story_id, album_id: (S,) bytes. photo_id: (S, K) bytes.
        captions: S * K raw captions, stories first, then frames.
    """

    token: np.ndarray
    tag: np.ndarray
    tag_source: np.ndarray
    tokenised: np.ndarray
    story_id: np.ndarray
    album_id: np.ndarray
    photo_id: np.ndarray
    captions: list[str]


@dataclass(frozen=True)
class EncodedWords:
    """A word set: what it was made with, its splits, and what was counted on the way.

    Attributes:
        splits: only those with stories, in the order train, val, test.
        counts: split -> {stories, captions, words, unknown_words, cut, untagged, described}; a cut caption had more
            words than a row holds, an untagged one no tag, a described one descriptions of its photo.
        warnings: sentences a user should read.
    """

    vocabulary: Vocabulary
    table: TagTable
    splits: dict[str, EncodedSplit]
    counts: dict[str, dict[str, int]]
    warnings: list[str]


def encode_words(dataset: Dataset, vocabulary: Vocabulary | None = None, table: TagTable | None = None,
                      length: int = CAPTION_LENGTH, vocabulary_size: int = VOCABULARY_SIZE) -> EncodedWords:
    """Turn every caption of a dataset into token ids and tags.

    Args:
        dataset: as `data.annotations.stories.read_dataset` gives it.
        vocabulary: None counts one over all train captions (where there is no train split, over all captions there
            are, with a warning: such a word set fits no run trained elsewhere).
        table: None is the shipped tag table.
        length: T, ids in a row, <START> and <END> included.
        vocabulary_size: V at most, where the vocabulary is counted.
    """
    table = table or TagTable.load()
    words = {split: [split_words(caption, tokenised) for story in dataset.stories[split]
                     for caption, tokenised in zip(story.captions, story.tokenised)]
             for split in SPLITS if dataset.stories[split]}
    warnings = []
    if vocabulary is None:
        counted = ["train"] if "train" in words else list(words)
        if "train" not in words:
            warnings.append(f"no train captions in {dataset.root}: the vocabulary was counted over "
                            f"{' and '.join(words)}; to evaluate a run on them, take the words of its features folder "
                            "with --words-from")
        vocabulary = Vocabulary.build((caption for split in counted for caption in words[split]), vocabulary_size)
    described = _tag_descriptions(dataset, table)
    splits, counts = {}, {}
    for split, captions in words.items():
        splits[split], counts[split] = _encode_split(dataset.stories[split], captions, vocabulary, table, described,
                                                     length)
    return EncodedWords(vocabulary, table, splits, counts, warnings)


def _tag_descriptions(dataset: Dataset, table: TagTable) -> dict[str, np.ndarray]:
    """The tags of all descriptions of a photo, for the photos that stories name; each looked at once."""
    named = dict.fromkeys(photo_id for stories in dataset.stories.values() for story in stories
                          for photo_id in story.photo_ids if photo_id in dataset.descriptions)
    if not named:
        return {}
    captions = [caption for photo_id in named for caption in dataset.descriptions[photo_id]]
    tag = table.tags_of_many([split_words(caption.text, caption.tokenised) for caption in captions])
    first = np.cumsum([0] + [len(dataset.descriptions[photo_id]) for photo_id in named])[:-1]
    return dict(zip(named, np.maximum.reduceat(tag, first, axis=0)))


def _encode_split(stories: list[Story], captions: list[list[str]], vocabulary: Vocabulary, table: TagTable,
                  described: dict[str, np.ndarray], length: int) -> tuple[EncodedSplit, dict[str, int]]:
    token, cut = vocabulary.encode_many(captions, length)
    shape = (len(stories), NUM_FRAMES)
    tag, source = table.tags_of_many(captions), np.full(len(captions), SIS, np.uint8)
    photo_ids = [photo_id for story in stories for photo_id in story.photo_ids]
    rows = [row for row, photo_id in enumerate(photo_ids) if photo_id in described]
    if rows:  # a photo without descriptions is no negative for what only they could have said: bit DII is off
        tag[rows] |= np.stack([described[photo_ids[row]] for row in rows])
        source[rows] |= DII
    tag[~tag.any(axis=1), UNK_TAG] = 1
    arrays = EncodedSplit(
        token=token.reshape(*shape, length), tag=tag.reshape(*shape, len(table)), tag_source=source.reshape(shape),
        tokenised=np.array([story.tokenised for story in stories], np.uint8).reshape(shape),
        story_id=fixed_bytes([story.story_id for story in stories]),
        album_id=fixed_bytes([story.album_id for story in stories]),
        photo_id=fixed_bytes(photo_ids).reshape(shape),
        captions=[caption for story in stories for caption in story.captions])
    counts = {"stories": len(stories), "captions": len(captions), "words": sum(map(len, captions)),
              "unknown_words": sum(word not in vocabulary.index for words in captions for word in words),
              "cut": int(cut.sum()), "untagged": int(tag[..., UNK_TAG].sum()),
              "described": int((source & DII).astype(bool).sum())}
    return arrays, counts
