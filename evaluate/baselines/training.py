"""Train every baseline of a features folder ahead of any run."""
from pathlib import Path

from data.errors import UserError
from data.folder.folder import Features
from evaluate.baselines.cache import cache_folder
from evaluate.baselines.fitted import fit_kept, open_train
from evaluate.photos.space import PhotoSpace
from evaluate.split import EvaluatedSplit
from train.config import TrainConfig
from train.statistics import measure_features


def train_baselines(features_path: Path, words: str = "default") -> Path:
    """Fit the ridges, the probe and the text-only LSTM where they are not kept yet.

    The linear ones are those of runs that train on all stories with the default floor under the deviation; a run with
    other statistics fits its own at its first evaluation.

    Returns:
        The folder they lie in.

    Raises:
        UserError: if there are no train stories, or the folder cannot be written to.
    """
    features = Features.open(features_path)
    cache = cache_folder(features)
    if cache is None:
        raise UserError(f"expected a features folder one may write to, found {features_path} read-only; evaluations "
                        "keep baselines in their runs")
    train = open_train(features, words)
    val = EvaluatedSplit(features, words, "val", num_resamples=0) if "val" in features.words(words).splits else None
    mean, std = measure_features(features, train.dataset.photo_rows(), TrainConfig.std_floor)
    fit_kept(train, val, PhotoSpace(features, mean.numpy(), std.numpy()), cache)
    return cache
