"""Deal folds, look at every photo once, train and evaluate each fold, pool.

    OUT/folds/                 data folders, see data/folds/folds.py
    OUT/features/              one features folder with a word set for each fold, unless another one is named
    OUT/fold-0/, fold-0.log    runs, each with its eval-test.json; what training and evaluating said
    OUT/crossval.json, .md     see measuring.py

What is there already is not done again, so an interrupted cross-validation goes on.
"""
import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.folder.folder import Features
from data.folds.folds import MANIFEST, format_folds, read_folds, write_folds
from data.lock import hold
from evaluate.ablation.runner import is_done, require_same_run
from evaluate.config import CrossvalConfig, EvalConfig
from evaluate.crossval.measuring import measure_folds
from evaluate.processes import Processes, work_off
from train.config import TrainConfig
from train.settings import read_command

if TYPE_CHECKING:
    from extract.config import ExtractConfig

logger = logging.getLogger(__name__)

SPLIT = "test"


def run_crossval(config: CrossvalConfig) -> Path:
    """Do what is left of a cross-validation.

    Returns:
        The path of crossval.json.

    Raises:
        UserError: if data, settings or what lies in OUT do not allow it, or a fold fails.
    """
    trainings = [_read_training(config, fold) for fold in range(config.folds)]
    extractions = [_read_extraction(config, fold) for fold in range(config.folds)]
    with hold(config.out / ".lock", f"{config.out} (cross-validation)"):
        _refuse_other_folds(config)
        dealt = write_folds(config.dataset, config.out / "folds", config.folds, config.fold_seed)
        logger.info("%s", format_folds(dealt))
        _extract(extractions)
        features = Features.open(config.features_path)
        evaluations = [_evaluation(config, trainings[fold], fold) for fold in range(config.folds)]
        open_ones = [fold for fold in range(config.folds) if not is_done(evaluations[fold].run, SPLIT)]
        for fold, training in enumerate(trainings):
            require_same_run(evaluations[fold].run, training, features, fold in open_ones, f"fold {fold}",
                             "cross-validation")
        if open_ones:
            logger.info("%d of %d folds are there; %d to go into %s", config.folds - len(open_ones), config.folds,
                        len(open_ones), config.out)
            _train(config, evaluations, open_ones)
        return measure_folds(evaluations, dealt, config.out, config.resamples, config.meteor)


def _read_training(config: CrossvalConfig, fold: int) -> TrainConfig:
    return read_command(["--features", str(config.features_path), "--out", str(config.out / f"fold-{fold}"),
                         *config.training, "--words", config.words(fold)]).config


def _read_extraction(config: CrossvalConfig, fold: int) -> "ExtractConfig":
    """What a fold asks of the features folder; without flags, what the folder was made with."""
    from extract.command import build_parser, read_config
    from extract.folder.recipe import recall_recipe
    noted = recall_recipe(config.features_path)
    flags = config.extraction or (shlex.split(noted["made_with"]) if noted is not None else ())
    text = () if config.text_encoder is None else ("--text-encoder", config.text_encoder)
    return read_config(build_parser().parse_args([
        *flags, *text, "--data", str(config.out / "folds" / f"fold-{fold}"), "--out", str(config.features_path),
        "--words", config.words(fold)]))


def _evaluation(config: CrossvalConfig, training: TrainConfig, fold: int) -> EvalConfig:
    return EvalConfig(run=config.out / f"fold-{fold}", features=config.features_path, words=config.words(fold),
                      split=SPLIT, resamples=0, meteor=False, device=training.device)


def _refuse_other_folds(config: CrossvalConfig) -> None:
    folder = config.out / "folds"
    before: dict[str, Any] = read_folds(folder) if (folder / MANIFEST).exists() else {}
    for name, wanted in (("folds", config.folds), ("seed", config.fold_seed)):
        if before and before[name] != wanted:
            raise UserError(f"expected {config.out} to be of {wanted} {name} as asked for, found {before[name]}; name "
                            "another folder with --out (features can be shared with --features)")


def _extract(extractions: "list[ExtractConfig]") -> None:
    """The first fold's call looks at the photos, the others add words; they would only repeat what it said."""
    from extract.extraction import run_extraction
    run_extraction(extractions[0])
    loud = logging.getLogger("extract")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        for extraction in extractions[1:]:
            run_extraction(extraction)
    finally:
        loud.setLevel(level)
    logger.info("words of %d folds are in %s", len(extractions), extractions[0].out)


def _train(config: CrossvalConfig, evaluations: list[EvalConfig], folds: list[int]) -> None:
    def work(fold: int, processes: Processes) -> str:
        words = ["--words", config.words(fold)]
        processes.train_and_evaluate(
            evaluations[fold].run, config.features_path, [*config.training, *words],
            [*words, "--split", SPLIT, "--device", evaluations[fold].device], f"fold {fold}")
        return f"fold {fold} is trained and evaluated"
    work_off(folds, config.jobs, work)
