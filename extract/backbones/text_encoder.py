"""Frozen text encoders: captions -> one vector each, as `--text-encoder` asks for them.

`module:factory` names a callable without arguments that returns (encode, spec): what turns a list of N captions into
(N, width) numbers, a tensor or an array, and a dict with `width` and optionally `licence`, `origin` (a dict of what
else decides the vectors: tag, pooling, normalisation) and `sha256`, of the weights: it must be there unless `encode` is
a torch module, a method of one, or a partial of these. `sentence-transformers:NAME` and `open_clip:NAME/TAG` give the
same pair.
"""
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import UserError
from data.folder.identity import Identity, identify
from data.progress import Progress
from extract.backbones.backbone import SEED, call_factory, find_source
from extract.backbones.mapper import count_own_cores
from extract.backbones.named import build_text_tower, describe_named
from extract.backbones.weights import OWN, RANDOM, hash_weights
from extract.extras import require_extra

SENTENCES, CLIP = "sentence-transformers:", "open_clip:"
VERSION = 1
BATCH = 64
FIELDS = ("width", "licence", "origin", "sha256")
Encode = Callable[[list[str]], Any]


@dataclass(frozen=True)
class TextEncoder:
    """What turns captions into vectors of `width` numbers, and its identity: how that is done.

    Attributes:
        files: whose change may change the vectors.
    """

    name: str
    encode: Encode
    width: int
    identity: Identity
    files: tuple[Path, ...] = ()


def open_text_encoder(name: str, device: torch.device, weights: str = OWN, download: bool = True) -> TextEncoder:
    """Build a text encoder.

    Args:
        name: `module:factory`, `sentence-transformers:NAME` (a folder, or a name on the Hugging Face hub) or
            `open_clip:NAME/TAG`. device: where a named one runs; a plug-in chooses itself.
        weights: of an open_clip, as `build_backbone` takes them. download: whether a named sentence encoder may be.

    Raises:
        UserError: if there is no such encoder, it breaks its promise, or a library or its weights are not here.
    """
    if name.startswith(SENTENCES):
        made, files = _open_sentences(name, device, download), _list_files(Path(name.removeprefix(SENTENCES)))
    elif name.startswith(CLIP):
        made, files = _open_clip(name, device, weights), [] if weights in (OWN, RANDOM) else [Path(weights)]
    elif ":" in name:
        source = find_source(name)
        made, files = call_factory(name, "--text-encoder"), [source] if source else []
    else:
        raise UserError(f"expected module:factory, {SENTENCES}NAME or {CLIP}NAME/TAG as --text-encoder, found {name!r}")
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0]) and isinstance(made[1], Mapping)):
        raise UserError(f"expected {name} to return (encode, spec), found {type(made).__name__}; return both")
    encode, spec = made
    called = getattr(encode, "func", encode)  # of a partial
    module = called if isinstance(called, nn.Module) else getattr(called, "__self__", None)
    if isinstance(module, nn.Module):
        module.eval().requires_grad_(False)
    folder = Path(name.removeprefix(SENTENCES)) if name.startswith(SENTENCES) else None
    known = SENTENCES + folder.resolve().name if folder is not None and folder.is_dir() else name  # no path
    return TextEncoder(known, encode, int(_check_spec(name, spec)["width"]), identify({
        "version": VERSION, "encoder": known, "weights": _hash(name, module, spec), "width": int(spec["width"]),
        "licence": str(spec.get("licence", "the plug-in's own")), "captions": "raw", "storage": "float16",
        "origin": {str(key): str(value) for key, value in dict(spec.get("origin", {})).items()}}), tuple(files))


def encode_captions(encoder: TextEncoder, captions: Iterable[str], quiet: bool = False) -> dict[str, np.ndarray]:
    """Encode captions, each once; batches are the same in whatever order they come.

    Returns:
        (E,) float16 by caption.

    Raises:
        UserError: if what comes back is not one vector of finite numbers that float16 holds for each caption.
    """
    ordered = sorted(set(captions), key=lambda caption: (len(caption), caption))
    progress, threads = Progress(len(ordered), "captions", quiet), torch.get_num_threads()
    found: dict[str, np.ndarray] = {}
    torch.set_num_threads(count_own_cores())  # whatever ran before: last digits come out by them
    try:
        for start in range(0, len(ordered), BATCH):
            batch = ordered[start:start + BATCH]
            found |= zip(batch, _encode(encoder, batch))
            progress.add(len(batch))
    finally:
        torch.set_num_threads(threads)
        progress.close()
    return found


def _encode(encoder: TextEncoder, captions: list[str]) -> np.ndarray:
    with torch.inference_mode():
        raw = encoder.encode(captions)
    try:
        vectors = np.asarray(raw.float().cpu() if isinstance(raw, Tensor) else raw, np.float32)
    except (TypeError, ValueError):
        vectors = np.zeros(0, np.float32)
    if vectors.shape != (len(captions), encoder.width) or not (np.abs(vectors) <= np.finfo(np.float16).max).all():
        raise UserError(f"expected ({len(captions)}, {encoder.width}) numbers that float16 holds from text encoder "
                        f"{encoder.name}, found {type(raw).__name__} of shape {vectors.shape}, largest "
                        f"{np.abs(vectors).max(initial=0)}; mend it, or name another with --text-encoder")
    return vectors.astype(np.float16)


def _check_spec(name: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    width, sha256 = spec.get("width"), spec.get("sha256")
    fits = (set(spec) <= set(FIELDS) and type(width) is int and 0 < width <= 1 << 16
            and isinstance(spec.get("origin", {}), Mapping)
            and (sha256 is None or re.fullmatch("[0-9a-f]{64}", str(sha256))))
    if not fits:
        raise UserError(f"expected the spec of {name} with width, and licence, origin (a dict) or sha256 (64 digits) "
                        f"where there are any, found {dict(spec)!r:.300}; mend the factory")
    return spec


def _hash(name: str, module: Any, spec: Mapping[str, Any]) -> str:
    if spec.get("sha256") is not None:
        return str(spec["sha256"])
    if not isinstance(module, nn.Module) or not module.state_dict():
        raise UserError(f"expected weights to tell {name} by, found neither a torch module (or a method of one) nor "
                        "sha256 in its spec; mend the factory")
    return hash_weights(module)


def _open_sentences(name: str, device: torch.device, download: bool) -> tuple[Encode, dict[str, Any]]:
    library = require_extra("sentence_transformers", "text", f"--text-encoder {name}")
    place = name.removeprefix(SENTENCES)
    try:
        model = library.SentenceTransformer(place, device=str(device), local_files_only=not download)
    except Exception as error:  # of the network, the hub's client or the disk, in as many kinds as there are layers
        raise UserError(f"expected a sentence encoder in a folder {place} or under that name on the Hugging Face hub, "
                        f"could not load it ({type(error).__name__}: {' '.join(str(error).split())[:160]}); put its "
                        "files (modules.json, config.json, model.safetensors, tokenizer.json and what they name) into "
                        f"a folder and give --text-encoder {SENTENCES}FOLDER") from None
    parts = ", ".join(" ".join([type(part).__name__, *filter(None, [str(getattr(part, "pooling_mode", ""))])])
                      for part in model)
    card = getattr(model, "model_card_data", None)
    return lambda captions: model.encode(captions, batch_size=len(captions), show_progress_bar=False), {
        "width": int(model.encode(["."], show_progress_bar=False).shape[1]), "sha256": hash_weights(model),
        "licence": str(getattr(card, "license", None) or "not told: see its model card"),
        "origin": {"modules": parts, "most_tokens": model.max_seq_length}}


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _open_clip(name: str, device: torch.device, weights: str) -> tuple[Encode, dict[str, Any]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        tower, tokenize = build_text_tower(name, weights)
    tower.to(device)
    origin = {**describe_named(name).origin, "pooling": "text projection, not normalised"}
    with torch.inference_mode():
        width = tower(tokenize(["."]).to(device)).shape[1]
    return lambda captions: tower(tokenize(captions).to(device)), {
        "width": width, "sha256": hash_weights(tower), "licence": origin.pop("licence"), "origin": origin}
