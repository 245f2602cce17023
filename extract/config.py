"""What an extraction is told: the one place for its defaults."""
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError

THIS_RUN_ONLY = ("retry", "rehash", "readers", "reader_kind", "mixed", "max_bad", "max_missing", "rank", "world",
                 "local_rank", "device")
PLAIN_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-")


@dataclass(frozen=True)
class ExtractConfig:
    """One extraction.

    Attributes:
        dataset: the data folder (DESIGN: DATA). out: the features folder.
        weights: "random", "imagenet" or a path. backbone: a torchvision classifier or `module:factory`.
        precision: "auto" is resolved by the first run and kept by every later one on the folder.
        resize: "squash" or "crop"; None is what the backbone wants. thumbnails: longer side in pixels, 0 for none.
        photos: "stories" takes the photos that stories name, "albums" every photo of the annotations' images.
        words: name of the word set. words_from: features folder whose vocabulary, tags and length are taken.
        tag_table: another tag table than the shipped one. seed: decides the splits of a lone train file.
        limit: at most so many stories of every split. retry: look at bad photos again. rehash: read every photo.
        exact: decode JPEGs in full. batch_size: None is 8 on a processor, 128 on CUDA, halved while it has no room.
        readers, reader_kind: how many decode, threads or processes; see `choose_readers`. mixed: append whatever batch
            shape, --compile or device made the folder. compiled: run through torch.compile.
        grid: store the 7 x 7 map beside the pooled feature. max_bad, max_missing: shares of photos.
        views: augmented views stored beside the clean feature of every photo, drawn per album and view. They are an
            addition: the recipe, and with it every run trained on clean features, stays as it is.
        rank, world: this process among all; local_rank: among those of this machine.
    """

    dataset: Path
    out: Path
    weights: str = "imagenet"
    backbone: str = "resnet50"
    precision: str = "auto"
    resize: str | None = None
    thumbnails: int = 0
    photos: str = "stories"
    words: str = "default"
    words_from: Path | None = None
    tag_table: Path | None = None
    vocabulary_size: int = 10_000
    caption_length: int = 30
    seed: int = 42
    limit: int | None = None
    retry: bool = False
    exact: bool = False
    rehash: bool = False
    shard_rows: int = 512
    batch_size: int | None = None
    device: str = "auto"
    readers: int | None = None
    reader_kind: str = "auto"
    mixed: bool = False
    compiled: bool = False
    grid: bool = False
    views: int = 0
    max_bad: float = 0.01
    max_missing: float = 1.0
    rank: int = 0
    world: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("thumbnails", 0, 1024), ("limit", 1, None), ("shard_rows", 1, 1 << 20),
                                ("batch_size", 1, 4096), ("readers", 1, 256), ("caption_length", 3, 1000),
                                ("vocabulary_size", 5, 1 << 16), ("max_bad", 0, 1), ("max_missing", 0, 1),
                                ("views", 0, 64), ("world", 1, 1 << 16)):
            value = getattr(self, name)
            if value is not None and (value < low or (high is not None and value > high)):
                raise UserError(f"expected --{name.replace('_', '-')} from {low} to {'any' if high is None else high}, "
                                f"found {value}; give one in that range")
        if not 0 <= self.rank < self.world:
            raise UserError(f"expected 0 <= --rank < --world, found rank {self.rank} of world {self.world}; "
                            "ranks count from 0")
        if not self.words or self.words.startswith(".") or set(self.words) - PLAIN_CHARACTERS:
            raise UserError(f"expected a plain name for --words (letters, digits, _ . @ -), found {self.words!r}; "
                            "choose another")

    def lasting(self) -> dict[str, Any]:
        """The settings that decide what the folder ends as, as plain JSON values."""
        return {name: str(value) if isinstance(value, Path) else value
                for name, value in asdict(self).items() if name not in THIS_RUN_ONLY}
