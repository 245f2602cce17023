"""Every setting of a training run and its default; `--preset small` changes those listed in PRESETS.

No torch here: the flags of `python -m train --help` are made from these classes.
"""
from dataclasses import dataclass, fields
from typing import Any

from data.errors import UserError

TASKS = ("next", "tell")
MISSING = ("drop", "mask")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
READERS = ("auto", "mapped", "streamed")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Widths and switches of the model; the defaults are those of the preset `paper`."""

    task: str = "next"                # next: frame t+1 from frames 1..t; tell: every caption from all photos
    embedding_dim: int = 300          # word embeddings of text encoder and text decoder
    text_dim: int = 512               # text encoder, each direction
    text_layers: int = 2
    fusion_dim: int = 1024
    hidden_dim: int = 1024            # sequence LSTM and attention
    sequence_layers: int = 2
    attention_heads: int = 8
    tag_head_dim: int = 512
    tag_embedding_dim: int = 128
    image_decoder_dim: int = 2048
    decoder_dim: int = 1024           # text decoder
    decoder_layers: int = 2
    dropout: float = 0.3
    tag_dropout: float = 0.4          # inside the tag heads
    use_photos: bool = True           # off: the photos of the frames seen are withheld
    use_text: bool = True             # off: the captions of the frames seen are withheld
    use_attention: bool = True        # off: the decoders read the sequence LSTM
    use_tag_embedding: bool = True    # off: the decoders read zeros in its place
    word_attention: bool = False      # hierarchical attention: over a caption's words, then over frames
    leave_out_tags: str = ""          # a tag category that takes part in nothing (object, action, location)

    def __post_init__(self) -> None:
        _require(self.task in TASKS, "task", self.task, f"one of {', '.join(TASKS)}")
        for name in ("embedding_dim", "text_dim", "text_layers", "fusion_dim", "hidden_dim", "sequence_layers",
                     "attention_heads", "tag_head_dim", "tag_embedding_dim", "image_decoder_dim", "decoder_dim",
                     "decoder_layers"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("dropout", "tag_dropout"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "at least 0 and below 1")
        if self.use_attention and self.hidden_dim % self.attention_heads:
            raise UserError(f"expected hidden_dim to be a multiple of attention_heads, found {self.hidden_dim} and "
                            f"{self.attention_heads}; change one of them")
        if not self.use_photos and not self.use_text:
            raise UserError("expected photos or captions to learn from, found use_photos and use_text both off; leave "
                            "one of them on")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ModelConfig):
    """Everything that decides how a run comes out, beside the features folder."""

    preset: str = "paper"
    words: str = "default"            # word set of the features folder
    missing: str = "drop"             # train stories with an unusable photo: drop them, or mask the photo
    fraction: float = 1.0             # share of the train albums, seeded and nested
    limit: int = 0                    # at most so many stories of each split; 0: all
    seed: int = 42
    epochs: int = 10
    batch_size: int = 16              # stories, over all processes together
    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 1e-5
    clip: float = 1.0                 # largest gradient norm
    plateau_patience: int = 5
    plateau_factor: float = 0.5
    early_stopping: int = 10          # epochs without a better validation loss
    image_weight: float = 1.0
    text_weight: float = 1.0
    tag_weight: float = 0.3
    contrastive_weight: float = 0.0   # InfoNCE between predicted and true features, beside MSE
    contrastive_temperature: float = 0.1
    word_dropout: float = 0.0         # share of input words that become <UNK>
    synonym_swaps: float = 0.0        # share of tag words of the captions read that become another form of the tag
    scheduled_sampling: float = 0.0   # share of the decoder's input words that are its own, reached in the last epoch
    curriculum: float = 0.0           # share of the epochs over which longer stories come in, from the shortest on
    std_floor: float = 0.05           # least deviation of a feature, as a share of the mean deviation
    init: str = ""                    # run whose weights to start from
    precision: str = "auto"           # auto: bfloat16 where the hardware has it
    device: str = "auto"
    compile: bool = False             # torch.compile, on CUDA
    reader: str = "auto"              # streamed: block shuffle for folders larger than memory
    block: int = 512                  # stories of a block when streamed
    window: int = 16                  # blocks that are shuffled into one another when streamed
    keep_every: int = 0               # keep epoch-*.safetensors every so many epochs; 0: none
    save_every: int = 500             # steps between two last.pt within an epoch; 0: at its end only
    wandb: str = ""                   # project to mirror the numbers to

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("preset", tuple(PRESETS)), ("missing", MISSING), ("precision", PRECISIONS),
                              ("device", DEVICES), ("reader", READERS)):
            _require(getattr(self, name) in allowed, name, getattr(self, name), f"one of {', '.join(allowed)}")
        for name in ("epochs", "batch_size", "plateau_patience", "early_stopping", "block", "window"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("limit", "keep_every", "save_every", "weight_decay", "image_weight", "text_weight", "tag_weight",
                     "contrastive_weight"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("lr", "clip", "contrastive_temperature", "std_floor"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("word_dropout", "synonym_swaps", "scheduled_sampling", "curriculum"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a share from 0 to 1")
        for name in ("fraction", "plateau_factor"):
            _require(0 < getattr(self, name) <= 1, name, getattr(self, name), "a share above 0, up to 1")
        for name in ("beta1", "beta2"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "at least 0 and below 1")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        if not any((self.image_weight, self.text_weight, self.tag_weight, self.contrastive_weight)):
            raise UserError("expected a loss to learn from, found every loss weight at 0; raise one of them")
        if self.task == "tell" and not self.use_photos:
            raise UserError("expected photos for the task tell, found use_photos off; use the task next without them")


# What `--preset` changes; a flag or a config file wins over it.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "small": {"embedding_dim": 96, "text_dim": 96, "fusion_dim": 192, "hidden_dim": 256, "tag_head_dim": 128,
              "tag_embedding_dim": 64, "image_decoder_dim": 384, "decoder_dim": 256, "dropout": 0.1,
              "tag_dropout": 0.2, "lr": 1e-3, "batch_size": 32, "epochs": 15},
}

# Settings that change nothing about the weights a run ends with: an existing run goes on with others.
FREE_SETTINGS = ("device", "keep_every", "save_every", "wandb")


def make_config(settings: dict[str, Any]) -> TrainConfig:
    """Fill in what `settings` leaves open: first from the preset it names, then from the defaults.

    Args:
        settings: values by field name; unknown names are refused by `train.settings`.

    Raises:
        UserError: if a value is out of range or two contradict each other.
    """
    preset = settings.get("preset", TrainConfig.preset)
    _require(preset in PRESETS, "preset", preset, f"one of {', '.join(PRESETS)}")
    return TrainConfig(**{**PRESETS[preset], **settings})


def list_differences(expected: TrainConfig, found: TrainConfig) -> list[str]:
    """One line per setting that decides the result and differs: name, both values."""
    return [f"{field.name}: {getattr(expected, field.name)!r} there, {getattr(found, field.name)!r} here"
            for field in fields(TrainConfig) if field.name not in (*FREE_SETTINGS, "preset")
            and getattr(expected, field.name) != getattr(found, field.name)]


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise UserError(f"setting {name}: expected {expected}, found {found!r}; change --{name.replace('_', '-')}")
