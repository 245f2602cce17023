"""What an extraction is told: the one place for its defaults, ranges and the words that `--help` prints."""
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from data.errors import UserError

THIS_RUN = "this run"
PLAIN_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-")


def _setting(group: str, default: Any, meaning: str, shown: str | tuple[str, ...] | None = None,
             low: float | None = None, high: float | None = None) -> Any:
    """A field of the flags' group: its default, its words, what stands for its value or its choices, and its range."""
    return field(default=default, metadata={"group": group, "help": meaning, "shown": shown, "range": (low, high)})


look = partial(_setting, "what looks at the photos (fixed for a folder)")
content = partial(_setting, "what goes into the folder")
run = partial(_setting, THIS_RUN)


@dataclass(frozen=True)
class ExtractConfig:
    """One extraction from the data folder `dataset` into the features folder `out`; local_rank: among the processes of
    this machine. Views are an addition: the recipe, and with it every run trained on clean features, stays as it is.
    """

    dataset: Path
    out: Path
    weights: str = look("imagenet", "seeded, torchvision's IMAGENET1K_V1, or a .pth or .safetensors file",
                        "random|imagenet|PATH")
    backbone: str = look("resnet50", "a torchvision classifier, a library's pretrained net, or a factory that returns "
                                     "(module, spec)", "NAME|timm:NAME.TAG|open_clip:NAME/TAG|module:factory")
    precision: str = look("auto", "auto: float16 on CUDA, bfloat16 where the processor has it, else float32; then kept",
                          ("auto", "float32", "bfloat16", "float16"))
    resize: str | None = look(None, "both sides to the target, or the shorter side and the centre cut out (as the "
                                    "backbone wants)", ("squash", "crop"))
    exact: bool = look(False, "decode JPEGs in full, not at reduced size")
    batch_size: int | None = look(None, "photos the backbone sees at a time (8, on CUDA 128 or what it has room for)",
                                  "B", 1, 4096)
    compiled: bool = look(False, "run through torch.compile")
    grid: bool = look(False, "store the 7 x 7 map before pooling too")
    thumbnails: int = content(0, "keep small JPEGs, their longer side in pixels (none)", "SIDE", 0, 1024)
    views: int = content(0, "look at so many augmented views of every photo too, an album's alike (none)", "W", 0, 64)
    photos: str = content("stories", "those that stories name, or all of the annotations' images",
                          ("stories", "albums"))
    words: str = content("default", "name of the word set", "NAME")
    words_from: Path | None = content(None, "take vocabulary, tags and length from this folder, to evaluate its runs "
                                            "on other stories", "FEATURES")
    tag_table: Path | None = content(None, "a tag table of your own", "JSON")
    vocabulary_size: int = content(10_000, "words with an id of their own, the reserved ones included", "V", 5, 1 << 16)
    caption_length: int = content(30, "ids in a row, start and end included", "T", 3, 1000)
    seed: int = content(42, "splits a lone train file")
    limit: int | None = content(None, "at most so many stories of every split", "STORIES", 1)
    shard_rows: int = content(512, "photos in a new shard", "N", 1, 1 << 20)
    retry: bool = run(False, "look at the bad photos again")
    rehash: bool = run(False, "read every photo, whatever its time and size say")
    max_bad: float = run(0.01, "end with exit code 3 above this share of present photos that are of no use", "SHARE",
                         0, 1)
    max_missing: float = run(1.0, "the same for missing photos", "SHARE", 0, 1)
    device: str = run("auto", "a GPU where there is one", ("auto", "cpu", "cuda"))
    readers: int | None = run(None, "threads or processes that read and decode (by cores, photos and device)", "N",
                              1, 256)
    reader_kind: str = run("auto", "processes where a GPU looks faster than threads read",
                           ("auto", "threads", "processes"))
    mixed: bool = run(False, "append though another device, batch or --compile made the folder: last digits differ")
    rank: int = run(0, "this process among --world, from 0; torchrun sets both", "R")
    world: int = run(1, "processes that share the work, on any machines", "W", 1, 1 << 16)
    local_rank: int = field(default=0, metadata={"group": THIS_RUN})

    def __post_init__(self) -> None:
        for known in fields(self):
            value, (low, high) = getattr(self, known.name), known.metadata.get("range", (None, None))
            if value is not None and low is not None and (value < low or (high is not None and value > high)):
                raise UserError(f"expected --{known.name.replace('_', '-')} from {low} to "
                                f"{'any' if high is None else high}, found {value}; give one in that range")
        if not 0 <= self.rank < self.world:
            raise UserError(f"expected 0 <= --rank < --world, found rank {self.rank} of world {self.world}; "
                            "ranks count from 0")
        if not self.words or self.words.startswith(".") or set(self.words) - PLAIN_CHARACTERS:
            raise UserError(f"expected a plain name for --words (letters, digits, _ . @ -), found {self.words!r}; "
                            "choose another")

    def lasting(self) -> dict[str, Any]:
        """The settings that decide what the folder ends as, as plain JSON values."""
        return {known.name: str(value) if isinstance(value := getattr(self, known.name), Path) else value
                for known in fields(self) if known.metadata.get("group") != THIS_RUN}
