"""The fields that training reads as two other libraries read them: WebDataset and Hugging Face datasets.

Each is read shuffled, as its documentation shows: tar shards with npy members through a buffer; Arrow files at random
places, and streamed through a buffer.
"""
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

FIELDS = ("image_features", "token_ids", "tag_targets")
BUFFER = 1000  # stories that a stream is shuffled within
Read = Callable[[], Iterable[object]]
Story = dict[str, np.ndarray]  # the fields of one story


def write_webdataset(folder: Path, stories: Callable[[], Iterable[Story]], batch_size: int) -> dict[str, Read]:
    """Write tar shards; how they are read, by name."""
    import webdataset

    folder.mkdir(parents=True)
    with webdataset.ShardWriter(str(folder / "shard-%05d.tar"), maxcount=2048, verbose=0) as writer:
        for number, story in enumerate(stories()):
            writer.write({"__key__": f"{number:09d}", **{f"{name}.npy": story[name] for name in FIELDS}})
    urls = sorted(str(path) for path in folder.glob("*.tar"))

    def read() -> Iterable[object]:
        return (webdataset.WebDataset(urls, shardshuffle=len(urls), seed=42).shuffle(BUFFER).decode()
                .to_tuple(*(f"{name}.npy" for name in FIELDS)).batched(batch_size, collation_fn=list))
    return {"webdataset": read}


def write_datasets(folder: Path, stories: Callable[[], Iterable[Story]], batch_size: int) -> dict[str, Read]:
    """Write Arrow files; how they are read, by name.

    Flat columns of one length in NumPy's format: of the formats that give arrays the fastest, five times that of the
    array columns and three times that of the torch format.
    """
    import datasets

    kinds = {"image_features": "float16", "token_ids": "uint16", "tag_targets": "uint8"}
    first = next(iter(stories()))
    columns = datasets.Features({name: datasets.Sequence(datasets.Value(kind), first[name].size)
                                 for name, kind in kinds.items()})
    datasets.disable_progress_bars()

    def rows() -> Iterator[Story]:
        for story in stories():
            yield {name: story[name].ravel() for name in FIELDS}

    # named, or it would pickle all that `stories` refers to, for a name of its own
    written = datasets.Dataset.from_generator(rows, features=columns, cache_dir=str(folder), fingerprint="stories")
    made = written.with_format("numpy")
    placed = made.shuffle(seed=42)
    streamed = made.to_iterable_dataset(num_shards=16).shuffle(seed=42, buffer_size=BUFFER).with_format("numpy")
    return {"datasets": lambda: placed.iter(batch_size=batch_size),
            "datasets, streamed": lambda: streamed.iter(batch_size=batch_size)}
