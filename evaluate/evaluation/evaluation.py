"""What an evaluation rests on: a run, its features folder, the stories of a split, and what is fitted on the others."""
import logging
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from data.errors import UserError
from data.folder.folder import Features
from data.folder.identity import differences
from evaluate.baselines.fitted import Baselines, cache_folder, open_train
from evaluate.config import EvalConfig
from evaluate.photos.retrieval import PhotoSpace
from evaluate.split import EvaluatedSplit
from train.prepare import pick_precision
from train.run_folder.runs import LoadedRun, load_run, open_features, require_same_folder
from train.writing.config import WritingConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """A run and the stories it is asked about, opened and checked; the rest is derived from these when it is asked for.

    Attributes:
        words: the word set's name. split: the stories that are evaluated. writing: as long as the folder's captions.
        source_note: that the photos are others than the run's, or empty.
    """

    config: EvalConfig
    device: str
    run: LoadedRun
    features: Features
    words: str
    split: EvaluatedSplit
    writing: WritingConfig
    source_note: str

    @classmethod
    def open(cls, config: EvalConfig) -> "Evaluation":
        """Open everything.

        Raises:
            UserError: if the run, the folder or the split is missing or they do not fit each other.
        """
        device = choose_device(config.device)
        run = load_run(config.run, device)
        features = open_features(run, config.features)
        name = config.words or run.config.words
        words = features.words(name)
        require_same_folder(run, config.run, features.recipe, words, features.root)
        note = check_source(run, features, config)
        split = EvaluatedSplit(features, name, config.split, config.missing, config.limit, config.resamples,
                               config.seed, run.config.reads_vectors)
        writing = replace(config.writing, max_words=min(config.writing.max_words, split.token.shape[-1] - 2))
        return cls(config, device, run, features, name, split, writing, note)

    @property
    def precision(self) -> str:
        """What the model is asked in: the precision it was trained in, where this device has it."""
        return self.run.precision if pick_precision(torch.device(self.device)) == self.run.precision else "float32"

    def in_precision(self) -> torch.autocast:
        """A context in which the model computes in `precision`."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bfloat16")

    @cached_property
    def val(self) -> EvaluatedSplit | None:
        """Where thresholds and penalties are chosen; None where the folder has none."""
        config = self.config
        return (EvaluatedSplit(self.features, self.words, "val", config.missing, config.limit, 0, config.seed,
                               self.run.config.reads_vectors)
                if "val" in self.features.words(self.words).splits else None)

    @cached_property
    def train(self) -> EvaluatedSplit | None:
        """What baselines are fitted on; None where they are switched off or the folder has no train stories."""
        words = self.features.words(self.words)
        wanted = self.config.baselines and "train" in words.splits and len(words.split("train"))
        return open_train(self.features, self.words, self.config.limit, self.config.seed) if wanted else None

    @cached_property
    def space(self) -> PhotoSpace:
        """Photos as the model sees them."""
        model = self.run.model
        return PhotoSpace(self.features, model.feature_mean.cpu().numpy(), model.feature_std.cpu().numpy())

    @cached_property
    def counted_tags(self) -> np.ndarray:
        """(G,) bool: without the tags that the run leaves out."""
        return self.run.model.counted_tags.bool().cpu().numpy()

    @cached_property
    def baselines(self) -> Baselines | None:
        """Baselines fitted on train; the constant is never chosen on the split that is evaluated."""
        if self.train is None:
            return None
        chosen_on = self.val if self.val is not None and self.config.split == "test" else self.train
        return Baselines.fit(self.train, self.val, chosen_on, self.space, self.config.seed,
                             cache_folder(self.features, self.config.run / "baselines"), self.device,
                             self.config.plain_lstm)


def check_source(run: LoadedRun, features: Features, config: EvalConfig) -> str:
    """Tell, or with --strict refuse, that the photos are others than those the run was trained on."""
    if not differences(run.source, features.source):
        return ""
    note = (f"the photos of {features.root} are not those that run {config.run} was trained on "
            f"({run.source['id'][:12]} there, {features.source['id'][:12]} here)")
    if config.strict:
        raise UserError(f"{note}; evaluate on its own folder ({run.features}) or leave out --strict")
    logger.warning("%s", note)
    return note


def choose_device(device: str) -> str:
    """Resolve "auto"."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
