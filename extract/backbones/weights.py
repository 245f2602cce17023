"""Weights of a backbone: found, downloaded or read from a file, fitted to a module, and hashed."""
import hashlib
import logging
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import UserError
from data.lock import hold_when_free

RANDOM, IMAGENET, OWN = "random", "imagenet", "own"  # own: what a plug-in or a library's tag brings
PREFIXES = ("module.", "backbone.", "_orig_mod.")  # what data parallel, wrappers and torch.compile put before a name
CONTAINERS = ("state_dict", "model", "model_state_dict", "backbone")
DOWNLOAD_SECONDS = 30.0  # silence after which a download is given up

log = logging.getLogger(__name__)


def imagenet_path(url: str) -> Path:
    """Where torchvision keeps the file of a weights URL."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def find_imagenet(name: str, url: str) -> Path:
    """The file of torchvision's ImageNet weights, downloaded when it is not there yet.

    Args:
        name: the backbone, for the error. url: as torchvision names it.

    Raises:
        UserError: if it can be neither found nor downloaded: which file to put where, and the other choices.
    """
    path = imagenet_path(url)
    if path.exists():
        return path
    try:
        with hold_when_free(path.with_name(f".{path.name}.lock"), f"the download of {path}"):  # one for all processes
            if not path.exists():
                log.info("downloading the ImageNet weights of %s to %s", name, path)
                with _patience(DOWNLOAD_SECONDS):
                    torch.hub.download_url_to_file(url, str(path), hash_prefix=url.rsplit("-", 1)[1].split(".")[0],
                                                   progress=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"expected the ImageNet weights of {name} at {path}, found no such file and could not download {url} "
            f"({type(error).__name__}: {error}); put that file there, or choose --weights random (seeded, no download) "
            "or --weights PATH (a .pth or .safetensors file)") from None
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .pth file (tensors only, no pickled objects) or a .safetensors file.

    Raises:
        UserError: if there is no such file, or it is no state dict.
    """
    if not path.is_file():
        raise UserError(f"expected weights at {path}, found no such file; name a .pth or .safetensors file, or choose "
                        "--weights random or --weights imagenet")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise what their parsers meet
        raise UserError(f"expected a state dict of tensors in {path}, found {type(error).__name__}: "
                        f"{str(error).splitlines()[0][:200] if str(error) else 'nothing'}; save it with "
                        "torch.save(module.state_dict(), path) or as .safetensors") from None
    for name in CONTAINERS:
        if isinstance(raw, Mapping) and isinstance(raw.get(name), Mapping):
            raw = raw[name]
    if not isinstance(raw, Mapping) or not raw or not all(isinstance(value, Tensor) for value in raw.values()):
        raise UserError(f"expected a state dict of tensors in {path}, found {_describe(raw)}; save it with "
                        "torch.save(module.state_dict(), path)")
    return dict(raw)


def fit_weights(module: nn.Module, weights: Mapping[str, Tensor], head: str, where: Path) -> None:
    """Load weights into a module, understanding the prefixes that wrappers add.

    Args:
        module: with its head already taken off.
        head: the name of the head, whose weights are passed over; empty for none.

    Raises:
        UserError: naming missing, unexpected and misshapen keys.
    """
    expected = module.state_dict()
    stripped = _strip_prefixes(weights, expected)
    found = {name: value for name, value in stripped.items() if not (head and name.startswith(f"{head}."))}
    missing = sorted(name for name in expected if name not in found and not name.endswith("num_batches_tracked"))
    unexpected = sorted(found.keys() - expected.keys())
    misshapen = sorted(f"{name} {tuple(found[name].shape)} for {tuple(expected[name].shape)}"
                       for name in expected.keys() & found.keys() if found[name].shape != expected[name].shape)
    if missing or unexpected or misshapen:
        parts = [f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
                 for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
                 if names]
        raise UserError(f"expected weights that fit the backbone in {where}, found keys {'; '.join(parts)}; "
                        "name the backbone they belong to with --backbone")
    module.load_state_dict({name: found.get(name, value) for name, value in expected.items()})


def hash_weights(module: nn.Module) -> str:
    """The sha256 over a module's tensors: sorted names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}\t{value.dtype}\t{tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _strip_prefixes(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stripped = dict(weights)
    while True:
        if any(name in expected for name in stripped):
            return stripped
        prefix = next((prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in stripped)), None)
        if prefix is None:
            return stripped
        stripped = {name.removeprefix(prefix): value for name, value in stripped.items() if name.startswith(prefix)}


def _describe(raw: Any) -> str:
    if isinstance(raw, Mapping):
        odd = next((f"{name!r}: {type(value).__name__}" for name, value in raw.items()
                    if not isinstance(value, Tensor)), "nothing")
        return f"a dict with {odd}"
    return type(raw).__name__


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)
