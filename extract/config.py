"""What an extraction is told: the one place for its defaults, ranges and the words that `--help` prints."""
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.folder.manifest import TOKENS
from data.settings import Checked, setting

THIS_RUN = "this run"
PLAIN_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-")
look = partial(setting, group="what looks at the photos (fixed for a folder)")
content = partial(setting, group="what goes into the folder")
run = partial(setting, group=THIS_RUN)


@dataclass(frozen=True)
class ExtractConfig(Checked):
    """One extraction from the data folder `dataset` into the features folder `out`; local_rank: among the processes of
    this machine. Tokens and views are additions: the recipe, and with it every run trained on features, stays as it is.
    """

    dataset: Path
    out: Path
    weights: str = look("imagenet", "seeded, torchvision's IMAGENET1K_V1, or a .pth or .safetensors file",
                        metavar="random|imagenet|PATH")
    backbone: str = look("resnet50", "a torchvision classifier, a library's pretrained net, or a factory that returns "
                                     "(module, spec)", metavar="NAME|timm:NAME.TAG|open_clip:NAME/TAG|module:factory")
    precision: str = look("auto", "auto: float16 on CUDA, bfloat16 where the processor has it, else float32; then kept",
                          choices=("auto", "float32", "bfloat16", "float16"))
    resize: str | None = look(None, "both sides to the target, or the shorter side and the centre cut out (as the "
                                    "backbone wants)", choices=("squash", "crop"))
    exact: bool = look(False, "decode JPEGs in full, not at reduced size")
    batch_size: int | None = look(None, "photos the backbone sees at a time (8, on CUDA 128 or what it has room for)",
                                  metavar="B", least=1, most=4096)
    compiled: bool = look(False, "run through torch.compile", flag="compile")
    thumbnails: int = content(0, "keep small JPEGs, their longer side in pixels; 0: none", metavar="SIDE",
                              least=0, most=1024)
    views: int = content(0, "look at so many augmented views of every photo too, an album's alike; 0: none",
                         metavar="W", least=0, most=64)
    tokens: int = content(1, "keep the 7 x 7 map before pooling too, as 49 tokens or pooled to 16; 1: the feature "
                             "alone, or what the folder has", choices=TOKENS)
    photos: str = content("stories", "those that stories name, or all of the annotations' images",
                          choices=("stories", "albums"))
    words: str = content("default", "name of the word set", metavar="NAME")
    words_from: Path | None = content(None, "take vocabulary, tags and length from this folder, to evaluate its runs "
                                            "on other stories", metavar="FEATURES")
    tag_table: Path | None = content(None, "a tag table of your own", metavar="JSON")
    text_encoder: str | None = content(None, "keep a frozen vector of every caption too; none: leave out those that "
                                             "are there (default: keep them)",
                                       metavar="module:factory|sentence-transformers:NAME|open_clip:NAME/TAG")
    vocabulary_size: int = content(10_000, "words with an id of their own, the reserved ones included", metavar="V",
                                   least=5, most=1 << 16)
    caption_length: int = content(30, "ids in a row, start and end included", metavar="T", least=3, most=1000)
    seed: int = content(42, "splits a lone train file")
    limit: int | None = content(None, "at most so many stories of every split", metavar="STORIES", least=1)
    shard_rows: int = content(512, "photos in a new shard", metavar="N", least=1, most=1 << 20)
    retry: bool = run(False, "look at the bad photos again")
    rehash: bool = run(False, "read every photo, whatever its time and size say")
    max_bad: float = run(0.01, "end with exit code 3 above this share of present photos that are of no use",
                         metavar="SHARE", least=0, most=1)
    max_missing: float = run(1.0, "the same for missing photos", metavar="SHARE", least=0, most=1)
    device: str = run("auto", "a GPU where there is one", choices=("auto", "cpu", "cuda"))
    readers: int | None = run(None, "threads or processes that read and decode (by cores, photos and device)",
                              metavar="N", least=1, most=256)
    reader_kind: str = run("auto", "processes where a GPU looks faster than threads read",
                           choices=("auto", "threads", "processes"))
    mixed: bool = run(False, "append though another device, batch or --compile made the folder: last digits differ")
    rank: int = run(0, "this process among --world, from 0; torchrun sets both", metavar="R")
    world: int = run(1, "processes that share the work, on any machines", metavar="W", least=1, most=1 << 16)
    local_rank: int = run(0)

    def __post_init__(self) -> None:
        super().__post_init__()
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
