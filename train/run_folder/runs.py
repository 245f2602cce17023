"""A run folder: what lies in it, what it was made from, and how to open it.

config.json          {"version", "settings", "sizes", "recipe", "words", "source", "features", "stories", "resolved"}:
                     replays the run; "text" where text features are read, "finetune" where it is one
vocabulary.json      {"words": [...], "tags": [...]}, what its ids mean: for `--init` on another folder
metrics.jsonl        one line per epoch
best.safetensors     weights of the best epoch, feature statistics among them
last.pt              everything needed to go on, `weights_only=True` loads it
epoch-0001.safetensors, events.out.tfevents.*, curves.png
backbone.safetensors what photos must go through before a fine-tuned model reads them; see train.finetune
backbone-0001.safetensors  the same of an epoch that is kept
"""
import json
import logging
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from data.errors import UserError, shell_word
from data.files import read_json, replace_file, write_json
from data.folder.folder import Features
from data.folder.identity import Identity, identify, require_same, require_same_recipe
from data.folder.word_reader import WordSet
from train.config import TrainConfig
from train.model.story_model import StoryModel

logger = logging.getLogger(__name__)

VERSION = 1
CONFIG, METRICS, BEST, LAST, CURVES = "config.json", "metrics.jsonl", "best.safetensors", "last.pt", "curves.png"
VOCABULARY = "vocabulary.json"
BACKBONE = "backbone.safetensors"
NOTHING: Identity = {"id": "", "fields": {}}  # of text features that are not read


@dataclass(frozen=True)
class RunRecord:
    """What config.json holds.

    Attributes:
        config: the settings. sizes: feature_dim, vocabulary_size, num_tags, left_out_tags of the model.
        recipe, words, source: identities of the features folder. features: where it lay.
        stories: counts of train and val stories, those dropped, and photos.
        resolved: what `auto` came to on the machine that began the run.
        text: identity of the text features that are read, NOTHING where none are.
        finetune: settings and beginning of a fine-tuning; empty for plain training.
    """

    config: TrainConfig
    sizes: dict[str, Any]
    recipe: Identity
    words: Identity
    source: Identity
    features: str
    stories: dict[str, int]
    resolved: dict[str, Any]
    finetune: dict[str, Any] = field(default_factory=dict)
    text: Identity = field(default_factory=lambda: NOTHING)

    @property
    def fitted(self) -> TrainConfig:
        """The settings with what depends on the number of stories."""
        return replace(self.config, **self.resolved.get("fitted", {}))


@dataclass(frozen=True)
class LoadedRun:
    """A trained model with what it was trained from; `epoch` is the best one, from 1, `precision` that of its forward
    pass."""

    path: Path
    config: TrainConfig
    model: StoryModel
    recipe: Identity
    words: Identity
    source: Identity
    epoch: int
    features: str
    precision: str
    text: Identity = field(default_factory=lambda: NOTHING)


def write_record(run_path: Path, record: RunRecord) -> Path:
    """Write config.json."""
    return write_json(run_path / CONFIG, {
        "version": VERSION, "settings": asdict(record.config), "sizes": record.sizes, "recipe": record.recipe,
        "words": record.words, "source": record.source, "features": record.features, "stories": record.stories,
        "resolved": record.resolved, **({"finetune": record.finetune} if record.finetune else {}),
        **({"text": record.text} if record.text["id"] else {})})


def read_record(run_path: Path) -> RunRecord:
    """Read config.json.

    Raises:
        UserError: if there is none, or it is of another version or damaged.
    """
    path = run_path / CONFIG
    remedy = f"train it with: make train RUN={shell_word(run_path)}"
    raw = read_json(path, "a run's config.json", remedy)
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        found = raw.get("version") if isinstance(raw, dict) else type(raw).__name__
        raise UserError(f"expected version {VERSION} in {path}, found {found!r}; {remedy}")
    try:
        known = {setting.name for setting in fields(TrainConfig)}
        settings = {name: value for name, value in raw["settings"].items() if name in known}
        return RunRecord(TrainConfig(**settings), dict(raw["sizes"]), _identity(raw["recipe"]),
                         _identity(raw["words"]), _identity(raw["source"]), str(raw["features"]),
                         dict(raw["stories"]), dict(raw["resolved"]), dict(raw.get("finetune", {})),
                         _identity(raw.get("text", NOTHING)))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"expected a whole config.json in {path}, found {type(error).__name__}: {error}; "
                        f"{remedy}") from None


def load_run(run_path: Path, device: str | torch.device = "cpu") -> LoadedRun:
    """Open a run's best model in evaluation mode.

    Raises:
        UserError: if the folder is no run, has no weights yet, or the two do not fit each other.
    """
    record = read_record(run_path)
    model = build_model(record.config, record.sizes)
    tensors, metadata = read_weights(run_path / BEST)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"expected the weights of {run_path / CONFIG} in {run_path / BEST}, found others: "
                        f"{error}; train the run again with --force") from None
    return LoadedRun(run_path, record.config, model.to(device).eval(), read_recipe(run_path, record), record.words,
                     record.source, int(metadata.get("epoch", 0)), record.features,
                     record.resolved.get("precision", "float32"), record.text)


def open_features(run: LoadedRun, given: Path | None) -> Features:
    """Open the features folder that is given, else the one that a run was trained on.

    Raises:
        UserError: if it is not there any more, or is no whole features folder.
    """
    if given is None and not Path(run.features).is_dir():
        raise UserError(f"expected the features folder that run {run.path} was trained on at {run.features}, found "
                        "none there: it was moved or removed; say where it lies now with --features FOLDER")
    return Features.open(given or Path(run.features))


def read_recipe(run_path: Path, record: RunRecord) -> Identity:
    """The recipe of the features that a run's model reads: its folder's, through its own backbone if fine-tuned.

    Raises:
        UserError: if the backbone of a fine-tuned run is absent or damaged.
    """
    if not record.finetune:
        return record.recipe
    _, metadata = read_weights(run_path / BACKBONE)
    return identify({**record.recipe["fields"], "weights": metadata.get("weights", "unknown")})


def build_model(config: TrainConfig, sizes: dict[str, Any]) -> StoryModel:
    """A freshly initialised model of a run's sizes; the weights come from torch's global generator."""
    return StoryModel(config, sizes["feature_dim"], sizes["vocabulary_size"], sizes["num_tags"],
                      tuple(sizes["left_out_tags"]), sizes.get("text_feature_dim", 0))


def measure_sizes(config: TrainConfig, feature_dim: int, words: WordSet) -> dict[str, Any]:
    """The model's sizes for a features folder.

    Raises:
        UserError: if `leave_out_tags` names no category of the word set.
    """
    categories = words.tag_categories
    left_out = [column for column, name in enumerate(words.tag_names)
                if config.leave_out_tags and categories.get(name) == config.leave_out_tags]
    if config.leave_out_tags and not left_out:
        raise UserError(f"setting leave_out_tags: expected a tag category of {words.path}, found "
                        f"{config.leave_out_tags!r}; name one of {', '.join(sorted(set(categories.values())))}")
    text = read_text(config, words)["fields"]
    return {"feature_dim": feature_dim, "vocabulary_size": len(words.vocabulary), "num_tags": len(words.tag_names),
            "left_out_tags": left_out, **({"text_feature_dim": text["width"]} if text else {})}


def read_text(config: TrainConfig, words: WordSet) -> Identity:
    """The identity of the text features that a run reads of a word set; NOTHING where it reads none, or there are none.
    """
    return words.text or NOTHING if config.reads_vectors else NOTHING


def require_same_folder(run: LoadedRun | RunRecord, run_path: Path, recipe: Identity, words: WordSet,
                        features_path: Path) -> None:
    """Refuse a features folder of another recipe, other words or other text features than the run was trained with.

    Raises:
        UserError: naming each field that differs, both values, and the mending command.
    """
    whose, where = f"run {run_path}", f"features folder {features_path}"
    own = (f"make the folder it reads with: make features WEIGHTS={shell_word(run_path / BACKBONE)} FEATURES=ANOTHER"
           if (run_path / BACKBONE).exists() else f"give the run's own folder: FEATURES={shell_word(run.features)}")
    train = f"train on this one with: make train FEATURES={shell_word(features_path)} RUN=ANOTHER"
    if told := require_same_recipe(run.recipe, recipe, whose, where, f"{own}, or {train}"):
        logger.warning("%s", told)
    require_same("words", run.words, words.identity, whose, where,
                 f"make the folder's words with --words-from {shell_word(run.features)}, or {train}")
    require_same("text features", run.text, read_text(run.config, words), whose, where,
                 f"make them with: {words.describe_remedy(str(run.text['fields'].get('encoder')))}, or {train}")


def write_weights(path: Path, model: StoryModel, epoch: int) -> Path:
    """Write the model's tensors, buffers included; equal weights give equal bytes."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    with replace_file(path) as partial:
        save_file(tensors, partial, metadata={"epoch": str(epoch)})
        partial.chmod(0o644)  # safetensors writes for the owner alone
    return path


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file.

    Raises:
        UserError: if it is absent or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except FileNotFoundError:
        raise UserError(f"expected trained weights at {path}, found no such file; train the run with: make train "
                        f"RUN={shell_word(path.parent)}") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"expected trained weights in {path}, found {type(error).__name__}: {error}; train the run "
                        "again with --force") from None


def read_metrics(run_path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, in order; empty where no epoch has ended yet. A torn last line is left out."""
    path = run_path / METRICS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return parsed


def _identity(raw: Any) -> Identity:
    return {"id": str(raw["id"]), "fields": dict(raw["fields"])}
