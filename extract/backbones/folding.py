"""A backbone made ready to be looked through very often: batch norm folded away, pooled in float32."""
import copy
import logging

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

AS_WRITTEN, FOLDED = "as written", "batch norm folded, pooled in float32"
CHECKED_PICTURES = 2
TOLERANCE = 1e-3  # of the largest feature; folding moves float32 by about 1e-6

log = logging.getLogger(__name__)


def fold(module: nn.Module, size: int) -> nn.Module:
    """A copy with batch norm folded into convolutions and average pooling in float32, or the module itself.

    The copy is compared with the module on drawn pictures, because tracing cannot see what a forward pass decides
    while it runs; where it cannot be traced, is in training mode or comes out otherwise, the module stays as written.

    Args:
        module: from (B, 3, size, size) float32 to features; not changed.
    """
    if any(part.training for part in module.modules()):
        return module
    try:
        graph = fx.symbolic_trace(copy.deepcopy(module))
    except Exception as error:  # whatever a forward pass does with what is no tensor yet
        log.debug("the backbone cannot be traced: %s", error)
        return module
    _fold_batch_norm(graph)
    _pool_in_float32(graph)
    graph.graph.lint()
    graph.recompile()
    pictures = torch.randn(CHECKED_PICTURES, 3, size, size, generator=torch.Generator().manual_seed(0))
    device = next((value.device for value in module.state_dict().values()), torch.device("cpu"))
    with torch.inference_mode():
        expected = module(pictures.to(device))
        found = graph(pictures.to(device))
    if not isinstance(expected, Tensor) or expected.shape != found.shape \
            or not (expected - found).abs().max() <= TOLERANCE * expected.abs().max():
        log.warning("the backbone gives other features when batch norm is folded: it is left as written")
        return module
    return graph


def is_folded(module: nn.Module) -> bool:
    """Whether `fold` made this: a list of steps that keeps nothing between two calls."""
    return isinstance(module, fx.GraphModule)


def describe_arithmetic(module: nn.Module) -> str:
    """What `fold` made of a backbone, for the recipe."""
    return FOLDED if is_folded(module) else AS_WRITTEN


class _AveragePooling(nn.Module):
    """Pools in float32: of a random network's features it is the last digits that tell photos apart."""

    def __init__(self, pool: nn.AdaptiveAvgPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(images.float())


def _fold_batch_norm(graph: fx.GraphModule) -> None:
    modules = dict(graph.named_modules())
    uses = [str(node.target) for node in graph.graph.nodes if node.op == "call_module"]
    for node in list(graph.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        before = node.args[0] if isinstance(norm, nn.BatchNorm2d) and len(node.args) == 1 else None
        if norm is None or not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv = modules[str(before.target)]
        if type(conv) is nn.Conv2d and norm.track_running_stats \
                and uses.count(str(before.target)) == uses.count(str(node.target)) == 1:
            _replace(graph, modules, before, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()


def _pool_in_float32(graph: fx.GraphModule) -> None:
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        pool = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size in (1, (1, 1)):
            _replace(graph, modules, node, _AveragePooling(pool))


def _replace(graph: fx.GraphModule, modules: dict[str, nn.Module], node: fx.Node, module: nn.Module) -> None:
    parent, _, name = str(node.target).rpartition(".")
    setattr(graph.get_submodule(parent), name, module)
    modules[str(node.target)] = module
