"""A grid file: rows of settings, seeds, and the row that the others are held against."""
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import write_json
from train.config import TrainConfig, make_config
from train.settings import read_settings

DEFAULT_GRID = Path(__file__).with_name("default_grid.toml")
KEYS = ("reference", "seeds", "base", "rows")


@dataclass(frozen=True)
class Training:
    """One training of a grid."""

    row: str
    seed: int
    config: TrainConfig
    run_path: Path
    settings_path: Path


@dataclass(frozen=True)
class Grid:
    """Rows in the file's order; every row is trained with every seed. `name`: of the tables."""

    path: Path
    reference: str
    seeds: tuple[int, ...]
    rows: dict[str, dict[str, Any]]
    name: str = "ablation"


def read_grid(path: Path) -> Grid:
    """Read a grid.

    Raises:
        UserError: if the file is absent or broken, or names no rows, no seeds or an unknown reference.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"expected a grid as TOML at {path}, found {type(error).__name__}: {error}; see "
                        f"{DEFAULT_GRID.name} for one") from None
    if unknown := sorted(set(raw) - set(KEYS)):
        raise UserError(f"expected {', '.join(KEYS)} in {path}, found {unknown[0]!r}; settings belong below [base] or "
                        "a row")
    rows, seeds, base = raw.get("rows"), raw.get("seeds", [1, 2, 3]), raw.get("base", {})
    if not isinstance(rows, dict) or not rows or not all(isinstance(row, dict) for row in [*rows.values(), base]):
        raise UserError(f"expected [rows] in {path}, each a table of settings, found {rows!r:.80}; see "
                        f"{DEFAULT_GRID.name}")
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds) \
            or len(set(seeds)) < len(seeds):
        raise UserError(f"expected seeds as a list of different whole numbers in {path}, found {seeds!r:.80}; for "
                        "example seeds = [1, 2, 3]")
    reference = raw.get("reference", next(iter(rows)))
    if reference not in rows:
        raise UserError(f"expected the reference to be a row of {path}, found {reference!r}; name one of "
                        f"{', '.join(map(repr, rows))}")
    return Grid(path, reference, tuple(seeds), {name: {**base, **row} for name, row in rows.items()})


def spread_fractions(grid: Grid, fractions: Sequence[float]) -> Grid:
    """A learning curve: the reference row alone, on shares of the train albums, held against the largest.

    Runs of the whole grid and of its curve share a folder, so the row of all albums is trained once.
    """
    settings, rows = grid.rows[grid.reference], {}
    for share in sorted(set(fractions)):
        whole = share == settings.get("fraction", TrainConfig.fraction)
        rows[grid.reference if whole else f"{grid.reference}, {100 * share:g} % of the albums"] = {
            **settings, "fraction": share}
    return Grid(grid.path, list(rows)[-1], grid.seeds, rows, "learning-curve")


def plan_trainings(grid: Grid, out: Path) -> list[Training]:
    """Every training of a grid, its settings checked and written beside where its run will lie.

    Raises:
        UserError: naming the row, if a setting is unknown, of the wrong kind or out of range.
    """
    names = {row: _plain_name(row) for row in grid.rows}
    if len(set(names.values())) < len(names):
        raise UserError(f"expected row names that differ in more than punctuation in {grid.path}, found "
                        f"{', '.join(map(repr, names))}; rename one")
    planned = []
    for seed in grid.seeds:  # seed by seed: an interrupted grid has something of every row
        for row, settings in grid.rows.items():
            path = write_json(out / names[row] / f"seed-{seed}.json", {**settings, "seed": seed})
            try:
                config = make_config(read_settings(path)[0])
            except UserError as error:
                raise UserError(f"row {row!r} of {grid.path}: {error}") from None
            planned.append(Training(row, seed, config, out / names[row] / f"seed-{seed}", path))
    if len({replace(training.config, seed=0) for training in planned}) < len(grid.rows):
        raise UserError(f"expected rows of different settings in {grid.path}, found two that are the same; remove one")
    return planned


def _plain_name(row: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", row.lower()).strip("-.") or "row"
