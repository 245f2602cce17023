"""The recipe: how photos become features, as explicit fields; known without torch where nothing changed."""
import hashlib
import json
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files import write_json
from data.folder.identity import Identity, identify, require_same
from extract.config import ExtractConfig

if TYPE_CHECKING:
    from extract.backbones.backbone import Backbone

VERSION = 3  # 2: arithmetic; 3: pictures scaled by torch, one pixel in a thousand differs by one level
ASKED = ("weights", "backbone", "precision", "resize", "exact", "batch_size", "compiled", "grid")
LOCAL = ".local"
REMEMBERED = ("recipe", "made_with", "width", "weights", "licence", "files", "key", "holder")


def describe_recipe(backbone: "Backbone", precision: str, batch_size: int, config: ExtractConfig) -> Identity:
    """The recipe's identity.

    Args:
        precision, batch_size: resolved.
    """
    from extract.backbones.backbone import spec_fields
    from extract.backbones.folding import describe_arithmetic
    spec = backbone.spec
    return identify({
        "version": VERSION, "backbone": backbone.name, "weights": backbone.weights_sha256, **spec_fields(spec),
        "decoder": "pillow", "decoder_major": int(version("pillow").split(".")[0]), "exif": "turned upright",
        "transparency": "over white", "storage": "float16", "precision": precision,
        "arithmetic": describe_arithmetic(backbone.folded),
        "reduced_decoding": "none" if config.exact else "JPEG at 1/2, 1/4 or 1/8, at least twice the target side",
        "batch_shape": [batch_size, 3, spec.size, spec.size], "compiled": config.compiled,
        "grid": [7, 7] if config.grid else None})


def require_recipe(folder: Path, expected: Identity, found: Identity, made_with: str) -> None:
    """Refuse to add to a folder of another recipe, naming what differs.

    Args:
        made_with: the flags the folder was made with, for the remedy; may be empty.
    """
    flags = f" ({made_with})" if made_with else ""
    require_same("recipe", expected, found, f"features folder {folder}", "this command's flags and weights",
                 f"repeat the flags it was made with{flags}, or name another folder with --out")


def request_key(config: ExtractConfig, files: Iterable[str]) -> str:
    """A sha256 over all that decides the recipe and can be seen without torch.

    Args:
        files: the weights file and a plug-in's source, known from an earlier run.
    """
    asked = {name: getattr(config, name) for name in ASKED}
    seen = {path: file_state(path) for path in files}
    text = json.dumps([VERSION, asked, seen, package_versions()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_state(path: str | Path) -> list[int] | None:
    """Size and modification time in nanoseconds; None where there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def package_versions() -> dict[str, str]:
    """Versions of the packages that features come from, read without importing them."""
    found = {}
    for name in ("torch", "torchvision", "pillow", "numpy", "h5py"):
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
        return note if _is_note(note) else None
    except (OSError, ValueError, RecursionError):
        return None


def _is_note(note: Any) -> bool:
    """Whether parsed JSON has the fields of a note, each of its type.

    Raises:
        ValueError: if the recipe holds what no identity can be taken over.
    """
    if not isinstance(note, dict) or set(note) != set(REMEMBERED) or not isinstance(note["holder"], str | None):
        return False
    recipe, width, files = note["recipe"], note["width"], note["files"]
    return (all(isinstance(note[name], str) for name in ("made_with", "weights", "licence", "key"))
            and type(width) is int and width > 0
            and isinstance(files, list) and all(isinstance(path, str) and "\0" not in path for path in files)
            and isinstance(recipe, dict) and isinstance(recipe.get("fields"), dict) and "version" in recipe["fields"]
            and recipe == identify(recipe["fields"]))


def flags_of(config: ExtractConfig) -> str:
    """The flags that lead to a recipe, for messages."""
    parts = [f"--backbone {config.backbone}", f"--weights {config.weights}"]
    parts += [f"--{name.replace('_', '-')} {getattr(config, name)}" for name in ("precision", "resize", "batch_size")
              if getattr(config, name) not in (None, "auto")]
    parts += [f"--{name}" for name in ("exact", "grid") if getattr(config, name)]
    return " ".join(parts + (["--compile"] if config.compiled else []))
