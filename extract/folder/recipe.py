"""The recipe: how photos become features, as explicit fields; known without torch where nothing changed."""
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.files import write_json
from data.folder.identity import RECIPE_VERSION, Identity, differences, identify
from data.folder.manifest import Manifest, is_making, read_made_by
from extract.config import ExtractConfig

if TYPE_CHECKING:
    from extract.backbones.backbone import Backbone

ASKED = ("weights", "backbone", "precision", "resize", "exact")
LOCAL = ".local"
REMEMBERED = ("recipe", "made_by", "made_with", "width", "weights", "licence", "files", "key", "holder")


def describe_recipe(backbone: "Backbone", precision: str, config: ExtractConfig) -> Identity:
    """The recipe's identity.

    Args:
        precision: resolved.
    """
    from extract.backbones.backbone import spec_fields
    from extract.backbones.folding import describe_arithmetic
    spec = backbone.spec
    return identify({
        "version": RECIPE_VERSION, "backbone": backbone.name, "weights": backbone.weights_sha256, **spec_fields(spec),
        "decoder": "pillow", "decoder_major": int(version("pillow").split(".")[0]), "exif": "turned upright",
        "transparency": "over white", "storage": "float16", "precision": precision,
        "arithmetic": describe_arithmetic(backbone.folded),
        "reduced_decoding": "none" if config.exact else "JPEG at 1/2, 1/4 or 1/8, at least twice the target side",
        "grid": None})  # tokens were a part of it


def require_made_alike(folder: Path, precision: str, made_by: list[dict[str, Any]], here: dict[str, Any],
                       mixed: bool) -> list[dict[str, Any]]:
    """Refuse to append features whose last digits come out otherwise, by another batch shape too.

    On another device that cannot be helped: it is allowed in float32, whose last digits hardly matter. The number of
    processes changes nothing at all: batches have one shape and a photo's neighbours do not matter.

    Args:
        made_by: what made the folder so far. mixed: whether the user wants it anyway.

    Returns:
        What will have made the folder then.

    Raises:
        UserError: naming what differs and the remedies.
    """
    if here in made_by:
        return made_by
    is_elsewhere = here["device"] not in [made["device"] for made in made_by]
    if made_by and not mixed and not (is_elsewhere and precision == "float32"):
        lines = differences(*({"id": str(making), "fields": making} for making in (made_by[-1], here)))
        raise UserError(f"expected to append to features folder {folder} as it was made, found another way: "
                        f"{'; '.join(lines)}; repeat how it was made (--batch-size, --compile, --device), name another "
                        f"folder with --out, or add --mixed for rows that differ in the last digits of {precision}")
    return [*made_by, here]


def list_made_by(folder: Path, manifest: Manifest | None, is_bound: bool) -> list[dict[str, Any]]:
    """What made a folder so far.

    Args:
        is_bound: whether what was noted here counts: a shard was published, or who noted it lives.
    """
    noted = recall_recipe(folder) if is_bound else None
    made_by = list(manifest.made_by) if manifest is not None else []
    return made_by + [made for made in (noted["made_by"] if noted is not None else []) if made not in made_by]


def request_key(config: ExtractConfig, files: Iterable[str]) -> str:
    """A sha256 over all that decides the recipe and can be seen without torch.

    Args:
        files: the weights file and a plug-in's source, known from an earlier run.
    """
    asked = {name: getattr(config, name) for name in ASKED}
    seen = {path: file_state(path) for path in files}
    text = json.dumps([RECIPE_VERSION, asked, seen, package_versions()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_state(path: str | Path) -> list[int] | None:
    """Size and modification time in nanoseconds; None where there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def package_versions(names: Sequence[str] = ("torch", "torchvision", "pillow", "numpy", "h5py")) -> dict[str, str]:
    """Versions of packages, those that features come from unless others are named, read without importing them."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def remember_recipe(folder: Path, note: dict[str, Any]) -> None:
    """Note the resolved recipe before the first shard, for other processes and later runs on this machine.

    Args:
        note: REMEMBERED by name; "holder" is the token of the process that wrote it.
    """
    assert set(note) == set(REMEMBERED), "what is recalled must have been remembered"
    write_json(folder / LOCAL / "recipe.json", note)


def recall_recipe(folder: Path) -> dict[str, Any] | None:
    """What `remember_recipe` noted, or None where there is no whole note of a recipe that is what its id says."""
    try:
        note = json.loads((folder / LOCAL / "recipe.json").read_text(encoding="utf-8"))
        json.dumps(note, ensure_ascii=False).encode()  # half characters, which no path and no message can have
        if isinstance(note, dict) and "made_by" not in note:  # of an earlier version
            note["made_by"] = read_made_by(note["recipe"])
        return note if _is_note(note) else None
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None


def _is_note(note: Any) -> bool:
    """Whether parsed JSON has the fields of a note, each of its type.

    Raises:
        ValueError: if the recipe holds what no identity can be taken over.
    """
    if not isinstance(note, dict) or set(note) != set(REMEMBERED) or not isinstance(note["holder"], str | None):
        return False
    recipe, width, files = note["recipe"], note["width"], note["files"]
    return (isinstance(note["made_by"], list) and all(map(is_making, note["made_by"]))
            and all(isinstance(note[name], str) for name in ("made_with", "weights", "licence", "key"))
            and type(width) is int and width > 0
            and isinstance(files, list) and all(isinstance(path, str) and "\0" not in path for path in files)
            and isinstance(recipe, dict) and isinstance(recipe.get("fields"), dict) and "version" in recipe["fields"]
            and recipe == identify(recipe["fields"]))


def flags_of(config: ExtractConfig) -> str:
    """The flags that lead to a recipe, for messages."""
    parts = [f"--backbone {config.backbone}", f"--weights {config.weights}"]
    parts += [f"--{name.replace('_', '-')} {getattr(config, name)}" for name in ("precision", "resize", "batch_size")
              if getattr(config, name) not in (None, "auto")]
    return " ".join(parts + ["--exact"] * config.exact + ["--compile"] * config.compiled)
