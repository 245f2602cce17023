"""Every setting of a training run. The defaults are those of the preset `paper`; PRESETS lists what others change.

No torch here: the flags of `python -m train --help` are made from these classes.
"""
from dataclasses import dataclass, fields
from typing import Any

from data.errors import UserError
from data.settings import Checked, setting
from train.task import NEXT, TASKS, Task

MISSING = ("drop", "mask")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
READERS = ("auto", "mapped", "streamed")
PRESET_NAMES = ("base", "small", "paper")
OFF, BESIDE, INSTEAD = TEXT_FEATURES = ("off", "beside", "instead")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Checked):
    """Widths and switches of the model; the defaults are those of the preset `paper`."""

    task: str = setting("next", "next: frame t+1 from frames 1..t; tell: every caption from all photos",
                        choices=tuple(TASKS))
    embedding_dim: int = setting(300, "word embeddings of text encoder and text decoder", least=1)
    text_dim: int = setting(512, "text encoder, each direction", least=1)
    text_layers: int = setting(2, "layers of the text encoder", least=1)
    fusion_dim: int = setting(1024, "fused vector of a frame", least=1)
    hidden_dim: int = setting(1024, "sequence LSTM and attention", least=1)
    sequence_layers: int = setting(2, "layers of the sequence LSTM", least=1)
    attention_heads: int = setting(8, "heads of the attention over frames", least=1)
    tag_head_dim: int = setting(512, "inside the two tag heads", least=1)
    tag_embedding_dim: int = setting(128, "tag embedding that the decoders read", least=1)
    image_decoder_dim: int = setting(2048, "inside the image decoder", least=1)
    decoder_dim: int = setting(1024, "text decoder", least=1)
    decoder_layers: int = setting(2, "layers of the text decoder", least=1)
    dropout: float = setting(0.3, "everywhere but in the tag heads", least=0, below=1)
    tag_dropout: float = setting(0.4, "inside the tag heads", least=0, below=1)
    few_dropout: float = setting(0.0, "what both dropouts above and below rise to where train stories are few (250), "
                                      "falling back as there are more; 0: they stay", least=0, below=1)
    context_dropout: float = setting(0.0, "share of the captions that are learned without what they are about",
                                     least=0, below=1)
    use_photos: bool = setting(True, "off: the photos of the frames seen are withheld")
    use_text: bool = setting(True, "off: the captions of the frames seen are withheld")
    use_attention: bool = setting(True, "off: the decoders read the sequence LSTM")
    use_tag_embedding: bool = setting(True, "off: the decoders read zeros in its place")
    text_features: str = setting(OFF, "the folder's frozen vectors of captions: beside what the text encoder reads, or "
                                      "instead; what training does to words does not reach them",
                                 choices=TEXT_FEATURES)
    word_attention: bool = setting(False, "hierarchical attention: over a caption's words, then over frames")
    photo_carry: bool = setting(False, "the predicted photo begins as a blend of the photos seen")
    photo_query: bool = setting(False, "with photo_carry: the next photo is sought with less of what all photos vary "
                                       "in, where val gains by it")
    tag_carry: bool = setting(False, "tags begin as those of the frames before")
    tag_probe: bool = setting(False, "tags of a photo that is seen begin as what a linear probe of it says")
    reads_on: bool = setting(False, "the caption is written after reading those before it, as one text")
    word_copying: bool = setting(False, "the caption may copy words of the captions seen")
    ngram_blend: bool = setting(False, "words are blended with a trigram of train, as much as makes val's likeliest")
    leave_out_tags: str = setting("", "a tag category that takes part in nothing (object, action, location)")

    @property
    def reads_vectors(self) -> bool:
        """Whether the folder's text features are read."""
        return self.text_features != OFF

    @property
    def asked(self) -> Task:
        """What the run is asked."""
        return TASKS[self.task]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.use_attention and self.hidden_dim % self.attention_heads:
            raise UserError(f"expected hidden_dim to be a multiple of attention_heads, found {self.hidden_dim} and "
                            f"{self.attention_heads}; change one of them")
        if self.text_features == INSTEAD and self.word_attention:
            raise UserError("expected a text encoder whose words are attended to, found word_attention with "
                            "text_features instead; use text_features beside, or leave one of them out")
        if not self.use_photos and not self.use_text:
            raise UserError("expected photos or captions to learn from, found use_photos and use_text both off; leave "
                            "one of them on")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ModelConfig):
    """Everything that decides how a run comes out, beside the features folder."""

    preset: str = setting("paper", "base: what helps on real pictures; small: base made narrow; paper: the original's "
                                   "table, nothing added", choices=PRESET_NAMES)
    words: str = setting("default", "word set of the features folder")
    missing: str = setting("drop", "train stories with an unusable photo: drop them, or mask the photo",
                           choices=MISSING)
    views: bool = setting(False, "each epoch, see a story clean or as one of the augmented views that the folder has")
    fraction: float = setting(1.0, "share of the train albums, seeded and nested", above=0, most=1)
    limit: int = setting(0, "at most so many stories of each split; 0: all", least=0)
    seed: int = setting(42, "of initial weights, order, dropout and the share of albums", least=0)
    epochs: int = setting(10, "passes over the train stories", least=1)
    steps: int = setting(0, "optimiser steps at least: more passes over few stories; 0: by epochs alone", least=0)
    batch_size: int = setting(16, "stories, over all processes together", least=1)
    lr: float = setting(1e-4, "learning rate of Adam", above=0)
    beta1: float = setting(0.9, "of Adam", least=0, below=1)
    beta2: float = setting(0.999, "of Adam", least=0, below=1)
    weight_decay: float = setting(1e-5, "of Adam, as L2", least=0)
    clip: float = setting(1.0, "largest gradient norm", above=0)
    plateau_patience: int = setting(5, "epochs without a better validation loss before the learning rate falls",
                                    least=1)
    plateau_factor: float = setting(0.5, "what the learning rate is multiplied with then", above=0, most=1)
    early_stopping: int = setting(10, "epochs without a better validation loss", least=1)
    patience_steps: int = setting(0, "steps without a better validation loss at least, a third before the lr falls",
                                  least=0)
    image_weight: float = setting(1.0, "weight of the photo loss", least=0)
    text_weight: float = setting(1.0, "weight of the caption loss", least=0)
    tag_weight: float = setting(0.3, "weight of the tag loss, the mean of the two heads", least=0)
    contrastive_weight: float = setting(0.0, "InfoNCE between predicted and true features, beside MSE", least=0)
    contrastive_temperature: float = setting(0.1, "of InfoNCE", above=0)
    word_dropout: float = setting(0.0, "share of input words that become <UNK>", least=0, most=1)
    synonym_swaps: float = setting(0.0, "share of tag words of the captions read that become another form of the tag",
                                   least=0, most=1)
    scheduled_sampling: float = setting(0.0, "share of the decoder's input words that are its own, reached at the end",
                                        least=0, most=1)
    curriculum: float = setting(0.0, "share of the epochs over which longer stories come in, from the shortest on",
                                least=0, most=1)
    rare_as_unknown: float = setting(0.0, "share of the words that occur once in train that stand as <UNK>",
                                     least=0, most=1)
    undescribed_negatives: bool = setting(True, "a photo that nobody described lacks the tags its caption lacks; "
                                                "off: that is not known")
    tag_start: bool = setting(False, "tags begin as likely as they are in train")
    carry_lr: float = setting(1e-2, "learning rate of the few weights that carry photos and tags on", above=0)
    std_floor: float = setting(0.05, "least deviation of a feature, as a share of the mean deviation", above=0)
    init: str = setting("", "run whose weights to start from")
    precision: str = setting("auto", "auto: bfloat16 where the hardware has it", choices=PRECISIONS)
    device: str = setting("auto", "auto: CUDA where there is one", choices=DEVICES)
    reader: str = setting("auto", "streamed: block shuffle for folders larger than memory", choices=READERS)
    block: int = setting(512, "stories of a block when streamed", least=1)
    window: int = setting(16, "blocks that are shuffled into one another when streamed", least=1)
    keep_every: int = setting(0, "keep epoch-*.safetensors every so many epochs; 0: none", least=0)
    save_every: int = setting(500, "steps between two last.pt within an epoch; 0: at its end only", least=0)
    wandb: str = setting("", "project to mirror the numbers to")

    def __post_init__(self) -> None:
        super().__post_init__()
        image_weight = self.image_weight if self.asked.predicts_photo else 0
        if not any((image_weight, self.text_weight, self.tag_weight, self.contrastive_weight)):
            raise UserError("expected a loss to learn from, found every loss weight at 0; raise one of them")
        if not self.text_weight and (self.scheduled_sampling or self.word_dropout and not self.use_text):
            raise UserError("expected a caption loss for what is done to the words, found scheduled_sampling or "
                            "word_dropout with text_weight 0; raise text_weight or leave them out")
        self._check_task()

    def _check_task(self) -> None:
        if not self.asked.predicts_photo and not self.use_photos:
            raise UserError("expected photos for the task tell, found use_photos off; use the task next without them")
        if not self.asked.predicts_photo and self.contrastive_weight:
            raise UserError("expected no loss on photos for the task tell, which is given them, found "
                            f"contrastive_weight {self.contrastive_weight}; leave --contrastive-weight out")
        for name, is_on in (("word_attention", self.word_attention), ("synonym_swaps", self.synonym_swaps),
                            ("text_features", self.reads_vectors)):
            if is_on and not (self.asked.reads_captions and self.use_text):
                raise UserError(f"setting {name}: expected captions that are read, found task {self.task}, use_text "
                                f"{self.use_text}; leave --{name.replace('_', '-')} out")


# What helps on real pictures, cross-validated, and on drawn ones; README says what each brings.
_BASE: dict[str, Any] = {
    "photo_carry": True, "photo_query": True, "tag_carry": True, "tag_probe": True, "word_copying": True,
    "reads_on": True, "ngram_blend": True, "rare_as_unknown": 0.5, "tag_start": True, "undescribed_negatives": False,
    "dropout": 0.1, "few_dropout": 0.5, "contrastive_weight": 0.2,
    "text_layers": 1, "sequence_layers": 1, "decoder_layers": 1,
    "embedding_dim": 256, "text_dim": 192, "fusion_dim": 384, "hidden_dim": 384, "tag_head_dim": 192,
    "tag_embedding_dim": 64, "image_decoder_dim": 512, "decoder_dim": 384, "lr": 5e-4,
    "epochs": 8, "steps": 3000, "early_stopping": 3, "patience_steps": 100, "plateau_patience": 1}

# What `--preset` changes; a flag or a config file wins over it.
PRESETS: dict[str, dict[str, Any]] = {
    "base": _BASE,
    # narrow enough for a laptop; float32, because products this small gain nothing from bfloat16
    "small": {**_BASE, "embedding_dim": 96, "text_dim": 64, "fusion_dim": 192, "hidden_dim": 192, "tag_head_dim": 96,
              "tag_embedding_dim": 32, "image_decoder_dim": 256, "decoder_dim": 256, "lr": 1e-3,
              "precision": "float32"},
    "paper": {}}
DEFAULT_PRESET = "base"

# Settings that change nothing about the weights a run ends with: an existing run goes on with others.
FREE_SETTINGS = ("device", "keep_every", "save_every", "wandb")


def make_config(settings: dict[str, Any]) -> TrainConfig:
    """Fill in what `settings` leaves open: first from the preset it names, then from the defaults.

    Args:
        settings: values by field name; unknown names are refused by `train.settings`.

    Raises:
        UserError: if a value is out of range or two contradict each other.
    """
    preset = settings.get("preset", DEFAULT_PRESET)
    values = {**PRESETS.get(preset, {}), "preset": preset, **settings}
    if "contrastive_weight" not in settings and not TASKS.get(values.get("task", "next"), NEXT).predicts_photo:
        values.pop("contrastive_weight", None)
    return TrainConfig(**values)


def list_differences(expected: TrainConfig, found: TrainConfig) -> list[str]:
    """One line per setting that decides the result and differs: name, both values."""
    names = [known.name for known in fields(TrainConfig) if known.name not in (*FREE_SETTINGS, "preset")]
    return [f"{name}: {getattr(expected, name)!r} there, {getattr(found, name)!r} here"
            for name in names if getattr(expected, name) != getattr(found, name)]
