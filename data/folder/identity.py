"""The three identities of a features folder: sha256 over explicit, versioned JSON.

`recipe` says how photos became features, `words` how captions became token ids and tags, `source` which photos
there are. A run remembers recipe and words; another recipe or words is refused, naming what differs.
"""
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.pictures.photos import OK, STATUS

if TYPE_CHECKING:
    import numpy as np

RECIPE_VERSION = 4  # 2: arithmetic; 3: pictures scaled by torch; 4: MADE_BY is no part of it any more
MADE_BY = ("batch_shape", "compiled")  # in recipes of version 3

Identity = dict[str, Any]  # {"id": 64 hexadecimal digits, "fields": {name: plain JSON value}}


def identify(fields: Mapping[str, Any]) -> Identity:
    """Hash explicit fields.

    Args:
        fields: plain JSON values by name, with a "version" that changes when their meaning does.

    Returns:
        {"id": sha256 of the canonical JSON (sorted keys, no blanks, ASCII), "fields": the fields}.
    """
    assert "version" in fields, "an identity without a version cannot be told from its successor"
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return {"id": hashlib.sha256(canonical.encode("ascii")).hexdigest(), "fields": json.loads(canonical)}


def follows_from_fields(identity: Identity) -> bool:
    """Whether an identity is the sha256 of its own fields."""
    try:
        return "version" in identity["fields"] and identify(identity["fields"])["id"] == identity["id"]
    except ValueError:  # a number that is none
        return False


def require_whole(kind: str, identity: Identity, where: str) -> None:
    """Refuse an identity whose fields were changed: they would be compared and recorded as what they are not.

    Args:
        kind: "recipe", "source" or "words". where: it was found ("features folder artifacts/features").

    Raises:
        UserError: if its id is not the sha256 of its fields.
    """
    if not follows_from_fields(identity):
        raise UserError(f"expected the {kind} of {where} to be what its id {identity['id'][:12]} is the sha256 of, "
                        "found other fields: they were changed; get the folder again, or bring it up to date with: "
                        "make features")


def source_digest(photo_id: "np.ndarray", content: "np.ndarray", status: "np.ndarray") -> str:
    """The sha256 over sorted photo ids with the sha256 of the file, or the name of the status, of each.

    Args:
        photo_id: (N,) bytes in any order. content: (N, 32) uint8. status: (N,) uint8, an index into STATUS.
    """
    digest = hashlib.sha256()
    for row in photo_id.argsort():
        found = content[row].tobytes().hex() if status[row] == OK else STATUS[min(status[row], len(STATUS) - 1)]
        digest.update(f"{photo_id[row].decode('ascii', 'replace')}\t{found}\n".encode())
    return digest.hexdigest()


def differences(expected: Identity, found: Identity) -> list[str]:
    """One line per field that differs: name, both values."""
    if expected["id"] == found["id"]:
        return []
    wanted, had = _flatten(expected["fields"]), _flatten(found["fields"])
    return [f"{name}: {wanted.get(name, 'absent')!s:.80} there, {had.get(name, 'absent')!s:.80} here"
            for name in sorted(wanted.keys() | had.keys()) if wanted.get(name, _ABSENT) != had.get(name, _ABSENT)]


def require_same(kind: str, expected: Identity, found: Identity, whose: str, where: str, remedy: str) -> None:
    """Refuse another identity than the expected one.

    Args:
        kind: "recipe" or "words".
        expected: what the run (or the folder) was made with.
        found: what is there now.
        whose: who expects, for the message ("run artifacts/run").
        where: what was found to differ ("features folder artifacts/features").
        remedy: the mending command.

    Raises:
        UserError: naming each field that differs, both values and the remedy.
    """
    lines = differences(expected, found)
    if lines:
        raise UserError(f"{whose}: expected the {kind} it was made with ({expected['id'][:12]}), found "
                        f"{'another' if found['id'] else 'none'} ({found['id'][:12] or 'absent'}) in {where}: "
                        f"{'; '.join(lines)}; {remedy}")


def modern_recipe(recipe: Identity) -> Identity:
    """A recipe as it would be written today: without what only made it (version 3) and the map kept beside (grid)."""
    fields = dict(recipe["fields"])
    if fields.get("version") == 3:
        fields = {name: value for name, value in fields.items() if name not in MADE_BY} | {"version": RECIPE_VERSION}
    if fields.get("grid"):
        fields["grid"] = None
    return recipe if fields == recipe["fields"] else identify(fields)


def require_same_recipe(expected: Identity, found: Identity, whose: str, where: str, remedy: str) -> str:
    """Refuse another recipe than the expected one, for reading: another precision is told, not refused.

    Returns:
        A warning that names both precisions, or nothing.

    Raises:
        UserError: see `require_same`.
    """
    expected, found = modern_recipe(expected), modern_recipe(found)
    precisions = [identity["fields"].get("precision") for identity in (expected, found)]
    alike = identify({**found["fields"], "precision": precisions[0]}) if None not in precisions else found
    require_same("recipe", expected, alike, whose, where, remedy)
    return "" if precisions[0] == precisions[1] else (
        f"{whose}: expected features of precision {precisions[0]} as it was made with, found {precisions[1]} in "
        f"{where}: they are a little off")


_ABSENT = object()


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
