"""Before anything is learned: which stories take part, what `auto` comes to, what the run folder already holds."""
import json
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from data.errors import UserError
from data.files import TEMPORARY, require_room
from data.folder.folder import Features
from data.folder.identity import differences
from data.folder.manifest import MANIFEST
from data.lock import hold
from train.batches import StoryDataset
from train.config import TrainConfig, list_differences
from train.distributed import World
from train.order import share_of_curriculum
from train.run_folder.checkpoint import is_complete
from train.run_folder.runs import BEST, CONFIG, LAST, METRICS, VOCABULARY, RunRecord, build_model, read_record

logger = logging.getLogger(__name__)
FRESH, GO_ON, COMPLETE, REFUSED = "fresh", "go on", "complete", "refused"
BYTES_A_WEIGHT = 4 + 12  # in the best weights, and in last.pt with what Adam keeps
FEW_STORIES = 250  # so many or fewer make `few_dropout` the dropout
MEMORY_SHARE = 0.5  # features above this share of the memory are streamed


def open_splits(config: TrainConfig, features: Features, make: Callable[..., StoryDataset] = StoryDataset
                ) -> tuple[TrainConfig, StoryDataset, StoryDataset | None]:
    """Open the train stories, and the val stories where there are any (always with photos masked).

    Args:
        make: the kind of dataset.

    Returns:
        The settings, with `missing` at "mask" where train has no usable photo at all; train; val or None.

    Raises:
        UserError: if no train story is left.
    """
    make = partial(make, text=config.reads_vectors)
    train_set = make(features, "train", config.words, config.missing, config.limit, config.fraction, config.seed,
                     config.views)
    if not len(train_set):
        config = replace(config, missing="mask")
        masked = make(features, "train", config.words, "mask", config.limit, config.fraction, config.seed)
        if not len(masked) or masked.num_photos:
            raise UserError(f"expected train stories with all their photos in {features.root}, found none among "
                            f"{len(masked)}; use --missing mask, or get the photos and run make features again")
        train_set = masked
    if "val" not in train_set.words.splits:
        logger.warning("no val split in %s: no early stopping, the last epoch counts as the best", features.root)
        return config, train_set, None
    return config, train_set, make(features, "val", config.words, "mask", config.limit)


def resolve(config: TrainConfig, features: Features, num_stories: int, world: World) -> dict[str, Any]:
    """What `auto` and the length of training come to here; a run keeps what it began with."""
    return {"fitted": fit_to_stories(config, num_stories),
            "precision": pick_precision(world.device) if config.precision == "auto" else config.precision,
            "reader": _pick_reader(features) if config.reader == "auto" else config.reader,
            "device": world.device.type, "processes": world.size, "threads": torch.get_num_threads(),
            "torch": torch.__version__}


def fit_to_stories(config: TrainConfig, num_stories: int) -> dict[str, int | float]:
    """What depends on the number of train stories: of few there are more epochs and more of patience, and more is
    dropped.

    A curriculum's epochs are shorter, so there are more of them for the same number of steps.
    """
    few = min(1.0, FEW_STORIES / num_stories)
    dropouts = {name: found + few * max(0.0, config.few_dropout - found) for name, found in (
        ("dropout", config.dropout), ("context_dropout", config.context_dropout))}
    per_epoch = -(-num_stories // config.batch_size)
    epochs = max(config.epochs, -(-config.steps // per_epoch))
    patience = -(-config.patience_steps // per_epoch)
    steps, fitted = 0, 0
    while config.curriculum and config.steps and (fitted < epochs or steps < config.steps):
        fitted += 1
        part = share_of_curriculum(fitted, epochs, config.curriculum)
        steps += -(-max(1, round(part * num_stories)) // config.batch_size)
    return {**dropouts, "epochs": max(epochs, fitted), "early_stopping": max(config.early_stopping, patience),
            "plateau_patience": max(config.plateau_patience, patience // 3)}


def pick_precision(device: torch.device) -> str:
    """What `auto` comes to on a device: bfloat16 where the hardware has it."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    has_hardware = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if has_hardware else "float32"


def agree_on_plan(run_path: Path, record: RunRecord, force: bool, world: World,
                  stack: ExitStack) -> tuple[str, RunRecord]:
    """The writer takes the run folder and looks what it holds; all processes do the same then.

    Args:
        stack: keeps the folder held until it closes.

    Returns:
        FRESH, GO_ON or COMPLETE, and the record with what the run began with resolved.

    Raises:
        UserError: if somebody else is at work there, or it holds another run.
    """
    plan, refusal = None, None
    if world.is_writer:
        try:
            require_room(run_path, "a run folder", BYTES_A_WEIGHT * _count_weights(record))
            world.still_held = stack.enter_context(hold(run_path.with_name(f".{run_path.name}.lock"),
                                                        f"run {run_path} (training)"))
            plan = _prepare_folder(run_path, record, force)
        except UserError as error:
            plan, refusal = REFUSED, error
    plan = world.tell(plan)
    if refusal is not None or plan == REFUSED:
        raise refusal or UserError(f"run {run_path} was refused")
    assert plan is not None
    if plan == GO_ON:
        began = read_record(run_path).resolved
        changed = [f"{name} {began.get(name)!r} then, {record.resolved[name]!r} now"
                   for name in ("device", "processes", "threads", "torch") if began.get(name) != record.resolved[name]]
        if changed and world.is_writer:
            logger.warning("not bit for bit what it would have become there: %s", ", ".join(changed))
        record = replace(record, resolved={**record.resolved, **{name: began[name]
                                                                 for name in ("precision", "reader", "fitted")}})
    return plan, record


def _prepare_folder(run_path: Path, record: RunRecord, force: bool) -> str:
    if not run_path.exists() or not any(run_path.iterdir()):
        run_path.mkdir(parents=True, exist_ok=True)
        return FRESH
    if not _is_run(run_path):
        found = ", ".join(sorted(path.name for path in run_path.iterdir())[:3])
        raise UserError(f"expected {run_path} to be empty or a run, found other files in it ({found}); name another "
                        "with RUN= or --out")
    if force:
        _move_beside(run_path)
        return FRESH
    changed = _list_changes(read_record(run_path), record)
    if changed:
        raise UserError(f"run {run_path}: expected the settings it was begun with, found others: {'; '.join(changed)}; "
                        "use those, name another RUN=, or start anew beside it with --force")
    if not (run_path / LAST).exists():
        return FRESH
    return COMPLETE if is_complete(run_path / LAST) else GO_ON


def _is_run(folder: Path) -> bool:
    """Whether training wrote a folder, if only its first file, or if its record is damaged by now."""
    if (folder / MANIFEST).exists():  # features
        return False
    try:
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return {"settings", "recipe", "words"} <= raw.keys()
    except FileNotFoundError:
        return all(path.name == VOCABULARY or path.name.endswith(TEMPORARY) for path in folder.iterdir())
    except (OSError, ValueError, AttributeError):
        return any((folder / name).exists() for name in (METRICS, BEST, LAST))


def _count_weights(record: RunRecord) -> int:
    with torch.device("meta"):  # no memory, no random numbers
        return sum(weight.numel() for weight in build_model(record.config, record.sizes).parameters())


def _list_changes(began: RunRecord, now: RunRecord) -> list[str]:
    changed = list_differences(began.config, now.config)
    for kind in ("recipe", "words", "source", "text"):
        changed += [f"features folder's {kind}, {line}"
                    for line in differences(getattr(began, kind), getattr(now, kind))]
    for name in sorted(began.finetune.keys() | now.finetune.keys()):
        if began.finetune.get(name) != now.finetune.get(name):
            changed.append(f"finetune {name}: {began.finetune.get(name)!r} there, {now.finetune.get(name)!r} here")
    return changed


def _move_beside(run_path: Path) -> None:
    number = 1
    while (beside := run_path.with_name(f"{run_path.name}.{number}")).exists():
        number += 1
    run_path.rename(beside)
    run_path.mkdir()
    logger.info("the run that was there is now %s", beside)


def _pick_reader(features: Features) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return "streamed" if features.num_photos * features.width * 2 > MEMORY_SHARE * memory else "mapped"
