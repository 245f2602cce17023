"""The backbone as it learns: opened as the folder was made, frozen where it must be, trained in parts.

This is the one file of training that knows extraction.
"""
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from data.errors import UserError
from data.files import replace_file
from data.folder.identity import Identity, identify, require_same
from data.folder.manifest import Manifest
from data.pictures.pictures import Resize
from extract.backbones.backbone import Backbone, build_backbone, spec_fields
from extract.backbones.weights import hash_weights

NORMS = (nn.modules.batchnorm._BatchNorm,)


def open_backbone(manifest: Manifest, features_path: Path, weights: str = "") -> tuple[Backbone, Resize]:
    """The backbone that a features folder was made with, and how it was shown photos.

    Args:
        manifest: the folder's. weights: "random", "imagenet" or a file; empty: what the manifest says.

    Raises:
        UserError: if those are not the weights, or it cannot be told which they were.
    """
    fields = manifest.recipe["fields"]
    made_with = str(manifest.versions.get("weights", ""))
    if not weights and made_with not in ("random", "imagenet", "own"):
        raise UserError(f"expected to find the weights that {features_path} was made with ({made_with or 'unnamed'}), "
                        "found no path to them; name the file with --weights")
    backbone = build_backbone(str(fields.get("backbone")), weights or made_with, fields.get("resize"))
    found = identify({**fields, **spec_fields(backbone.spec), "weights": backbone.weights_sha256})
    require_same("recipe", manifest.recipe, found, f"features folder {features_path}", "the backbone opened for it",
                 "name the weights it was made with: --weights random|imagenet|PATH")
    return backbone, backbone.spec.resize_for(fields.get("reduced_decoding") == "none")


class PhotoEncoder:
    """A backbone that learns from the gradients of the features it gave.

    Batch norm, and all else that behaves otherwise in training, stays as in evaluation; so a picture's feature does
    not depend on its neighbours, and a step's photos may be looked at in parts. Where they do not fit at once, they
    are looked at without gradients first; once the story model has given the gradient of every feature, each part is
    looked at again and takes its own (gradient caching, Gao et al. 2021): equal to one large step, whatever the loss.

    Args:
        backbone: changed in place. autocast: forward in bfloat16. photos_at_once: size of a part.
        checkpointing: keep what passes between blocks alone. trainable: "all", or "last" for the last stage.
    """

    def __init__(self, backbone: Backbone, device: torch.device, autocast: bool, photos_at_once: int,
                 checkpointing: bool = False, trainable: str = "all") -> None:
        self.spec, self.device, self.autocast, self.photos_at_once = backbone.spec, device, autocast, photos_at_once
        self.module = backbone.module.eval().to(device).to(memory_format=torch.channels_last)
        self.parameters = _thaw(self.module, trainable)
        for block in (list(_find_blocks(self.module)) or [self.module]) if checkpointing else ():
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        scale = torch.tensor([self.spec.mean, self.spec.std], dtype=torch.float32, device=device) * 255
        self._mean, self._std = (part.view(1, 3, 1, 1) for part in scale)
        self._waiting: tuple[tuple[Tensor, ...], Tensor, Tensor | None] | None = None

    def look(self, pictures: Tensor) -> Tensor:
        """Features of pictures; with gradients on, `backward` takes them up.

        Args:
            pictures: (n, S, S, 3) uint8.

        Returns:
            (n, D) float32.
        """
        parts = pictures.split(self.photos_at_once)
        if not len(pictures):
            return torch.zeros(0, self.spec.width, device=self.device)
        if not torch.is_grad_enabled():
            return torch.cat([self._encode(part) for part in parts])
        held = self._encode(parts[0]) if len(parts) == 1 else None
        with torch.no_grad():
            features = torch.cat([self._encode(part) for part in parts]) if held is None else held.detach()
        features.requires_grad_()
        self._waiting = parts, features, held
        return features

    def backward(self) -> None:
        """Hand the gradients of the last features on to the weights."""
        if self._waiting is None:
            return
        parts, features, held = self._waiting
        self._waiting = None
        if features.grad is None:
            return
        for part, gradient in zip(parts, features.grad.split(self.photos_at_once)):
            (self._encode(part) if held is None else held).backward(gradient)

    def save(self, path: Path) -> Path:
        """Write the weights as `extract` takes them; equal weights give equal bytes."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.module.state_dict().items()}
        with replace_file(path) as partial_path:
            # one entry: safetensors writes several in an order of its own, another one each time
            save_file(tensors, partial_path, metadata={"weights": hash_weights(self.module)})
            partial_path.chmod(0o644)  # safetensors writes for the owner alone
        return path

    def _encode(self, pictures: Tensor) -> Tensor:
        images = pictures.permute(0, 3, 1, 2).float().sub_(self._mean).div_(self._std)     # (n, 3, S, S)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            features = self.module(images)
        return features.float()


def extraction_flags(recipe: Identity) -> str:
    """The flags that repeat a recipe with other weights."""
    fields: dict[str, Any] = recipe["fields"]
    flags = [f"--backbone {fields['backbone']}", f"--precision {fields['precision']}", f"--resize {fields['resize']}"]
    return " ".join([*flags, *(["--exact"] if fields["reduced_decoding"] == "none" else [])])


def _thaw(module: nn.Module, trainable: str) -> list[nn.Parameter]:
    """Switch gradients on, but for batch norm; the parameters that learn, in their module's order."""
    frozen = {id(parameter) for part in module.modules() if isinstance(part, NORMS) for parameter in part.parameters()}
    stage = module
    while trainable == "last":
        filled = [child for child in stage.children() if any(id(one) not in frozen for one in child.parameters())]
        if not filled:
            break
        stage = filled[-1]
        if len(filled) > 1:
            break
    chosen = [parameter for parameter in stage.parameters() if id(parameter) not in frozen]
    for parameter in chosen:
        parameter.requires_grad_()
    return chosen


def _find_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The repeated parts: what stands in a sequence and has parts of its own, outermost first."""
    for child in module.children():
        is_sequence = isinstance(child, (nn.Sequential, nn.ModuleList))
        if isinstance(module, (nn.Sequential, nn.ModuleList)) and not is_sequence and any(child.children()):
            yield child
        else:
            yield from _find_blocks(child)
