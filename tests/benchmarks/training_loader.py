"""Stories per second into the model: mapped, streamed, and two named peers reading the same fields in the same run.

    python -m tests.benchmarks.training_loader [--stories 20000] [--no-peers] [--large 8] [--epoch]

One core, batch 64, warm disk. `--large GIB` generates a folder of that many GiB of features, streams through it and
reports the anonymous memory that took. `--epoch` compares a training epoch of the preset small with one whose tensors
all lie in memory.
"""
import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from data.files import sha256_file, write_json
from data.folder import Features
from data.identity import identify
from data.manifest import Manifest, Shard, WordsEntry
from data.shards import fixed_bytes, join_blobs, write_shard
from train.batches import Batch, StoryDataset
from train.config import make_config
from train.distributed import World
from train.order import shuffle_stories, split_windows
from train.runs import build_model, measure_sizes
from train.trainer import Trainer

BATCH = 64
BLOCK, WINDOW = 512, 16
TARGETS = {"mapped": 150_000, "streamed": 60_000}
PEER_FACTOR = 5
NUM_WORDS = 10_000
PHOTOS_PER_STORY = 5  # VIST: 210,000 photos, 40,155 train stories


def write_large_folder(root: Path, num_stories: int, width: int = 2048, shard_rows: int = 512) -> Path:
    """A features folder whose words and features are noise; pairs of stories share their photos."""
    random = np.random.default_rng(0)
    num_photos = num_stories * PHOTOS_PER_STORY
    noise = random.standard_normal((shard_rows, width)).astype(np.float16)
    shards: dict[str, list[Shard]] = {"photos": [], "words/default/train": []}

    def publish(group: str, folder: str, name: str, kind: str, offset: int, arrays: dict[str, np.ndarray],
                rows: int) -> None:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shard(path, kind, arrays)
        shards[group].append(Shard(f"{folder}/{name}", rows, offset, path.stat().st_size, "0" * 64))

    for index, start in enumerate(range(0, num_photos, shard_rows)):
        rows = min(shard_rows, num_photos - start)
        publish("photos", "photos", f"{index:05d}.h5", "photos", start, {
            "feature": np.roll(noise, index, axis=0)[:rows], "status": np.zeros(rows, np.uint8),
            "photo_id": fixed_bytes([f"{row:09d}" for row in range(start, start + rows)]),
            "content": random.integers(0, 256, (rows, 32)).astype(np.uint8)}, rows)
    for index, start in enumerate(range(0, num_stories, shard_rows)):
        rows = min(shard_rows, num_stories - start)
        publish("words/default/train", "words/default", f"train-{index:05d}.h5", "words", start,
                _make_words(random, start, rows), rows)
    words = ["<PAD>", "<START>", "<END>", "<UNK>", *(f"w{index}" for index in range(NUM_WORDS - 4))]
    files = {"vocabulary.json": {"words": words},
             "tags.json": {"names": ["<PAD>", "<UNK>", *(f"t{index}" for index in range(49))], "categories": {}}}
    digests = {name: sha256_file(write_json(root / "words/default" / name, value)) for name, value in files.items()}
    same = identify({"version": 1})
    Manifest(recipe=same, source=same, width=width, shards={group: tuple(found) for group, found in shards.items()},
             words={"default": WordsEntry(same, digests)}).save(root)
    return root


def _make_words(random: np.random.Generator, start: int, rows: int) -> dict[str, np.ndarray]:
    lengths = np.clip(random.gamma(4.3, 11.3 / 4.3, (rows, 5, 1)).astype(int) + 2, 4, 30)
    place = np.arange(30)
    token = np.where(place < lengths, random.integers(4, NUM_WORDS, (rows, 5, 30)), 0)
    token = np.where(place == lengths - 1, 2, np.where(place == 0, 1, token)).astype(np.uint16)
    stories = np.arange(start, start + rows)
    album = stories // 2
    photo = album[:, None] * 2 * PHOTOS_PER_STORY + np.sort(random.random((rows, 2 * PHOTOS_PER_STORY)).argsort(
        axis=1)[:, :5], axis=1)
    last = (start + rows) * PHOTOS_PER_STORY - 1
    caption, offset = join_blobs([b"x"] * rows * 5)
    return {"token": token, "tag": (random.random((rows, 5, 51)) < 0.05).astype(np.uint8),
            "tag_source": np.ones((rows, 5), np.uint8), "photo": np.minimum(photo, last).astype(np.int32),
            "tokenised": np.ones((rows, 5), np.uint8), "story_id": fixed_bytes([f"s{story:09d}" for story in stories]),
            "album_id": fixed_bytes([f"a{found:09d}" for found in album]), "caption": caption, "offset": offset}


def read_epoch(dataset: StoryDataset, streamed: bool, epoch: int = 1) -> Iterator[Batch]:
    """One epoch as the training loop reads it."""
    block = BLOCK if streamed else 0
    order = shuffle_stories(len(dataset), 42, epoch, block, WINDOW)
    size = split_windows(len(order), block, WINDOW)
    for start in range(0, len(order), BATCH):
        if streamed and start % size < BATCH:
            dataset.prefetch(order[start + size:start + 2 * size])
        yield dataset.__getitems__(order[start:start + BATCH])


def read_webdataset(folder: Path, dataset: StoryDataset) -> Iterable[object]:
    """The same fields from tar shards."""
    import webdataset

    pattern = str(folder / "shard-%05d.tar")
    with webdataset.ShardWriter(pattern, maxcount=2048, verbose=0) as writer:
        for batch in read_epoch(dataset, streamed=True):
            for row in range(len(batch["story_index"])):
                writer.write({"__key__": str(int(batch["story_index"][row])),
                              **{f"{name}.npy": batch[name][row].numpy() for name in FIELDS}})
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    return (webdataset.WebDataset(urls, shardshuffle=len(urls), seed=42).shuffle(1000).decode()
            .to_tuple(*(f"{name}.npy" for name in FIELDS)).batched(BATCH, collation_fn=list))


def read_datasets(folder: Path, dataset: StoryDataset) -> Iterable[object]:
    """The same fields from Arrow files."""
    import datasets

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for batch in read_epoch(dataset, streamed=True):
            for row in range(len(batch["story_index"])):
                yield {name: batch[name][row].numpy().ravel() for name in FIELDS}

    first = next(rows())
    kinds = {"image_features": "float16", "token_ids": "uint16", "tag_targets": "uint8"}
    features = datasets.Features({name: datasets.Sequence(datasets.Value(kinds[name]),
                                                          -1 if name == "token_ids" else len(first[name]))
                                  for name in FIELDS})
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_generator(rows, features=features, cache_dir=str(folder))
    return made.with_format("numpy").shuffle(seed=42).iter(batch_size=BATCH)


FIELDS = ("image_features", "token_ids", "tag_targets")


def measure_rate(read: Callable[[], Iterable[object]], num_stories: int, seconds: float = 4.0) -> float:
    """Stories per second over whole passes that take at least `seconds` together, or over one pass cut there."""
    stories, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for _ in read():
            stories += BATCH
            if time.perf_counter() - began > 2 * seconds:
                break
    return stories / (time.perf_counter() - began)


class InMemory(StoryDataset):
    """Everything as ready tensors, the features among them."""

    def load(self) -> None:
        """Read all."""
        self.whole = super().__getitems__(np.arange(len(self)))

    def __getitems__(self, indices: np.ndarray) -> Batch:  # type: ignore[override]
        """Index every tensor."""
        chosen = torch.as_tensor(np.asarray(indices))
        batch = {name: tensor[chosen] for name, tensor in self.whole.items()}
        longest = int((batch["token_ids"] != 0).sum(dim=-1).max())
        return {**batch, "token_ids": batch["token_ids"][..., :longest]}


def measure_epochs(features: Features, num_stories: int, repeats: int = 5) -> tuple[float, float]:
    """Seconds of a training epoch of the preset small: through the loader, and from memory; medians, taken in turn."""
    config = make_config({"preset": "small", "device": "cpu"})
    mapped = StoryDataset(features, "train", limit=num_stories)
    memory = InMemory(features, "train", limit=num_stories)
    memory.load()
    torch.manual_seed(0)
    model = build_model(config, measure_sizes(config, features.width, mapped.words))
    trainer = Trainer(config, model, World(0, 1, torch.device("cpu")), "float32")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for repeat in range(repeats + 1):
        for is_memory, dataset in ((False, mapped), (True, memory)):
            order = shuffle_stories(num_stories, 1, repeat)
            began = time.perf_counter()
            for step, start in enumerate(range(0, num_stories, config.batch_size)):
                trainer.step(dataset, order[start:start + config.batch_size], 1, step)
            if repeat:
                seconds[is_memory].append(time.perf_counter() - began)
    return float(np.median(seconds[False])), float(np.median(seconds[True]))


def anonymous_bytes() -> int:
    """Memory of this process that is no file."""
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Anonymous:"))) * 1024


def measure_large(root: Path, gibibytes: float) -> tuple[float, float]:
    """Stream through a generated folder of that many GiB; stories per second, and anonymous MB it took at most."""
    before = anonymous_bytes()
    num_stories = int(gibibytes * 2 ** 30 / (PHOTOS_PER_STORY * 4096))
    dataset = StoryDataset(Features.open(write_large_folder(root, num_stories)), "train")
    most, began = 0, time.perf_counter()
    for step, _ in enumerate(read_epoch(dataset, streamed=True)):
        if step % 500 == 0:
            most = max(most, anonymous_bytes())
    return num_stories / (time.perf_counter() - began), (most - before) / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stories", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--large", type=float, default=0.0)
    parser.add_argument("--epoch", action="store_true")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder by default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        root = Path(name)
        dataset = StoryDataset(Features.open(write_large_folder(root / "features", arguments.stories)), "train")
        rates = {"mapped": measure_rate(lambda: read_epoch(dataset, False), len(dataset), arguments.seconds),
                 "streamed": measure_rate(lambda: read_epoch(dataset, True), len(dataset), arguments.seconds)}
        if arguments.peers:
            for peer, read in (("webdataset", read_webdataset), ("datasets", read_datasets)):
                (root / peer).mkdir()
                source = read(root / peer, dataset)
                rates[peer] = measure_rate(lambda: source, len(dataset), arguments.seconds)
        for label, rate in rates.items():
            target = (f"target {TARGETS[label]:,}" if label in TARGETS else
                      f"we: {rates['mapped'] / rate:.1f} x mapped, {rates['streamed'] / rate:.1f} x streamed "
                      f"(target {PEER_FACTOR} x)")
            print(f"{label:12s} {rate:10,.0f} stories/s   {target}")
        if arguments.epoch:
            torch.set_num_threads(2)
            loader, memory = measure_epochs(dataset.features, min(2000, arguments.stories))
            print(f"epoch        {loader:.2f} s through the loader, {memory:.2f} s from memory: {loader / memory:.3f} "
                  "(target 1.03)")
        if arguments.large:
            rate, most = measure_large(root / "large", arguments.large)
            print(f"large        {rate:10,.0f} stories/s through {arguments.large:g} GiB, "
                  f"{rate / rates['streamed']:.2f} of the small folder's (target 0.7); {most:.0f} MB anonymous "
                  "(target 500)")


if __name__ == "__main__":
    main()
