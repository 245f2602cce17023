"""The commands that make a run again, from the settings it was trained with."""
from dataclasses import fields
from pathlib import Path
from typing import Any

from data.errors import shell_word
from evaluate.config import EvalConfig
from train.config import PRESETS, TrainConfig
from train.writing.config import WritingConfig

_VARIABLES = ("preset", "task")  # have a make variable of their own


def settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """The training settings inside config.json, by field name."""
    settings = config.get("settings", {})
    names = [field.name for field in fields(TrainConfig)]
    return {name: settings[name] for name in names if name in settings} if isinstance(settings, dict) else {}


def list_commands(config: dict[str, Any], protocol: dict[str, Any], run_path: Path, features_path: Path, split: str,
                  dataset_root: Path | None, is_storyworld: bool) -> list[tuple[str, str]]:
    """(what it does, the line to type) for features, train and eval.

    Args:
        config: the run's config.json. protocol: the evaluation's.
        dataset_root: where the photos lie, if that is known. is_storyworld: they are drawn, so no DATA is needed.
    """
    settings = settings_of(config)
    photos = f" DATA={shell_word(dataset_root)}" if dataset_root is not None else ""
    source = "" if is_storyworld else photos or " DATA=path/to/the/dataset"
    folder, run = f" FEATURES={shell_word(features_path)}", f" RUN={shell_word(run_path)}"
    variables = "".join(f" {name.upper()}={shell_word(settings[name])}" for name in _VARIABLES if name in settings)
    return [("look at the photos, once", f"make features{source}{folder}"),
            ("train", f"make train{folder}{run}{variables}{_arguments(_flags(settings))}"),
            ("evaluate, and write this page",
             f"make eval{run}{folder}{photos} SPLIT={shell_word(split)}{_arguments(_eval_flags(protocol))}")]


def _flags(settings: dict[str, Any]) -> list[str]:
    """A flag for every setting that is neither the preset's nor the default."""
    preset = PRESETS.get(str(settings.get("preset", TrainConfig.preset)), {})
    expected = {field.name: preset.get(field.name, field.default) for field in fields(TrainConfig)}
    found = []
    for name, value in settings.items():
        flag = f"--{name.replace('_', '-')}"
        if name in _VARIABLES or value == expected[name] or isinstance(value, (dict, list)):
            continue
        if isinstance(value, bool):
            found.append(flag if value else f"--no-{name.replace('_', '-')}")
        else:
            found.append(f"{flag} {shell_word(value)}")
    return found


def _eval_flags(protocol: dict[str, Any]) -> list[str]:
    """A flag for everything the protocol tells of an evaluation that is not the default."""
    captions, intervals, sense = (protocol.get(part) for part in ("captions", "intervals", "story_sense"))
    found = {name: protocol.get(name) for name in ("missing", "limit")}
    found |= {name: intervals.get(name) for name in ("resamples", "seed")} if isinstance(intervals, dict) else {}
    found |= {"sense": sense.get("ordered")} if isinstance(sense, dict) else {}
    found |= {field.name: captions[field.name] for field in fields(WritingConfig)
              if field.name in captions} if isinstance(captions, dict) else {}
    expected = {field.name: field.default for config in (EvalConfig, WritingConfig) for field in fields(config)}
    return [f"--{name.replace('_', '-')} {shell_word(value)}" for name, value in found.items()
            if value not in (None, expected[name])]


def _arguments(flags: list[str]) -> str:
    return f" ARGS={shell_word(' '.join(flags))}" if flags else ""
