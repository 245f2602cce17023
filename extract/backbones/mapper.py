"""The mapper: batches of uint8 pictures in, float16 features out, on whatever device there is."""
import copy
import gc
import logging
import math
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from data.cores import count_cores
from data.errors import UserError
from extract.backbones.backbone import Backbone
from extract.backbones.folding import is_folded

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAP_SIDE = 7
TIMED_SECONDS = 0.25

log = logging.getLogger(__name__)


def choose_device(name: str, local_rank: int) -> torch.device:
    """The device of a process: "auto" takes a GPU where there is one, by the process's place on its machine."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise UserError("expected a CUDA device for --device cuda, found none; choose --device cpu")
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """What "auto" means here: float16 on CUDA, bfloat16 on a processor that has it in hardware, else float32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if has_bfloat16() else "float32"


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware, by the flags Linux lists."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = {flag for line in text.splitlines() if line.startswith(("flags", "Features"))
             for flag in line.partition(":")[2].split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


class NoRoom(UserError):
    """The device cannot hold a batch."""


@dataclass(frozen=True)
class Mapped:
    """What a batch became: features (B, D) float16 and, where asked for, tokens (B, P, D) float16."""

    features: np.ndarray
    tokens: np.ndarray | None


class CudaCopies:
    """What runs beside a GPU's arithmetic: page-locked memory, copies there and back, and what says that they are done.

    Everything belongs to the process's own device, by name: an event that is recorded while another device is the
    current one would wait for that one's stream, and say that results are there before they are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.index is not None:  # else the current one is meant
            torch.cuda.set_device(device)

    def make_buffer(self, shape: tuple[int, ...]) -> np.ndarray:
        """Page-locked zeros, uint8."""
        return torch.zeros(shape, dtype=torch.uint8, pin_memory=True).numpy()

    def send(self, pictures: np.ndarray) -> Tensor:
        """Begin to copy a buffer of ours to the device; it is read until the next mark was waited for."""
        return torch.from_numpy(pictures).to(self.device, non_blocking=True)

    def bring(self, value: Tensor) -> Tensor:
        """Begin to copy from the device; nothing is there before the next mark was waited for."""
        host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        return host.copy_(value, non_blocking=True)

    def mark(self) -> torch.cuda.Event:
        """An event behind all that was begun so far; who waits for it sleeps, the readers need the core."""
        event = torch.cuda.Event(blocking=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


def make_copies(device: torch.device) -> CudaCopies | None:
    """The copies of a device whose memory is not ours; None on a processor."""
    return CudaCopies(device) if device.type == "cuda" else None


class Mapper:
    """A backbone on a device that looks at batches of one fixed shape, several at a time.

    One shape because results may differ in the last bit between shapes: short batches are padded with black. On a
    processor every core looks at batches of its own with one thread, so that results do not depend on the number of
    cores and no thread waits for another at the end of every layer; a module that could not be folded may keep
    something between its layers, and gets all cores for one batch at a time.

    Args:
        precision: a key of PRECISIONS; float32 switches TF32 off, the others run under autocast.
        batch_size: B of every batch. compiled: run through torch.compile. tokens: P of every photo, places of the map
            before pooling (49, or 16 pooled from them) from its top left, row by row; 1: none beside the feature.
    """

    def __init__(self, backbone: Backbone, device: torch.device, precision: str, batch_size: int,
                 compiled: bool = False, tokens: int = 1) -> None:
        self.spec, self.device, self.precision, self.batch_size = backbone.spec, device, precision, batch_size
        self.shape = (batch_size, self.spec.size, self.spec.size, 3)
        _fix_arithmetic(device)
        self._copies = make_copies(device)
        self.module: nn.Module = cast_weights(backbone.folded, PRECISIONS[precision])
        self.module = self.module.to(device).to(memory_format=torch.channels_last)
        self._maps = local()
        self._hook = _watch_map(self.module, self._maps, backbone) if tokens > 1 else None
        self._token_side = math.isqrt(tokens)
        self.threads = count_own_cores() if self._copies is None and is_folded(backbone.folded) else 1
        self._pool = ThreadPoolExecutor(self.threads, "model", torch.set_num_threads,
                                        (count_own_cores() // self.threads,)) if self._copies is None else None
        scale = torch.tensor([self.spec.mean, self.spec.std], dtype=torch.float32, device=device) * 255
        self._mean, self._std = (part.view(1, 3, 1, 1) for part in scale)
        if compiled:
            self.module = torch.compile(  # type: ignore[assignment]
                self.module, options={"freezing": True} if device.type == "cpu" else None)
            if self._pool is not None:
                self.submit(self.make_buffer()).result()  # one alone: compiling is done for all

    @property
    def num_buffers(self) -> int:
        """How many batches are under way or being filled when nothing waits: on a GPU one is copied meanwhile."""
        return self.threads + (1 if self._pool is not None else 2)

    def make_buffer(self) -> np.ndarray:
        """An (B, size, size, 3) uint8 array of zeros for `submit`, page-locked where copies then run beside."""
        return self._copies.make_buffer(self.shape) if self._copies is not None else \
            torch.zeros(self.shape, dtype=torch.uint8).numpy()

    def submit(self, pictures: np.ndarray) -> "PendingBatch":
        """Start looking at a batch.

        Args:
            pictures: (B, size, size, 3) uint8 from `make_buffer`; it may be refilled once the result was taken.

        Raises:
            NoRoom: if the device cannot hold the batch; on a processor only its result says so.
        """
        assert pictures.shape == self.shape, (pictures.shape, self.shape)
        if self._pool is not None:
            return PendingBatch(self._pool.submit(self._look, pictures))
        assert self._copies is not None, "only a device with memory of its own has no threads"
        features, tokens = self._look(pictures)
        done: Future[tuple[Tensor, Tensor | None]] = Future()
        done.set_result((self._copies.bring(features), None if tokens is None else self._copies.bring(tokens)))
        return PendingBatch(done, self._copies.mark())

    def look_at(self, pictures: np.ndarray) -> np.ndarray:
        """The features, (n, D) float16, of any number of pictures, (n, size, size, 3) uint8."""
        features = []
        for start in range(0, len(pictures), self.batch_size):
            buffer, part = self.make_buffer(), pictures[start:start + self.batch_size]
            buffer[:len(part)] = part
            features.append(self.submit(buffer).result().features[:len(part)].copy())
        return np.concatenate(features)

    def close(self) -> None:
        """Let go of the backbone, which others may use, and of the threads."""
        if self._pool is not None:
            self._pool.shutdown()
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _look(self, pictures: np.ndarray) -> tuple[Tensor, Tensor | None]:
        try:
            with torch.inference_mode():
                return self._compute(self._copies.send(pictures) if self._copies is not None else
                                     torch.from_numpy(pictures))
        except torch.OutOfMemoryError:
            raise no_room(self.device, self.batch_size) from None

    def _compute(self, shown: Tensor) -> tuple[Tensor, Tensor | None]:
        images = shown.permute(0, 3, 1, 2).float().sub_(self._mean).div_(self._std)  # (B, 3, H, W), channels last
        with torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=self.precision != "float32"):
            features = self.module(images)
        if not isinstance(features, Tensor) or features.shape != (len(shown), self.spec.width):
            found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise UserError(f"expected features of shape ({len(shown)}, {self.spec.width}) from the backbone, found "
                            f"{found}; mend the width of its spec")
        return features.to(torch.float16), self._cut_tokens(self._maps.last) if self._hook else None

    def _cut_tokens(self, maps: Tensor) -> Tensor:
        if self._token_side < MAP_SIDE:
            maps = nn.functional.adaptive_avg_pool2d(maps.float(), self._token_side)
        return maps.to(torch.float16).flatten(2).transpose(1, 2).contiguous()                   # (B, P, D)


def count_own_cores() -> int:
    """Cores of this process: its share of the machine's where torchrun started several."""
    return max(1, count_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def time_model(mapper: Mapper, rounds: int = 2) -> float:
    """Photos a second of the model alone, with as many batches side by side as an extraction has.

    Args:
        rounds: at least; as many more as it takes for TIMED_SECONDS, which on a fast device is many.
    """
    buffer = mapper.make_buffer()
    mapper.submit(buffer).result()
    while True:
        started = time.perf_counter()
        for pending in [mapper.submit(buffer) for _ in range(rounds * mapper.threads)]:
            pending.result()
        elapsed = time.perf_counter() - started
        if elapsed >= TIMED_SECONDS:
            return rounds * mapper.threads * mapper.batch_size / elapsed
        rounds *= 4


class PendingBatch:
    """A batch on its way: on a GPU the copy back runs while the next batch is filled."""

    def __init__(self, looked_at: "Future[tuple[Tensor, Tensor | None]]", done: torch.cuda.Event | None = None) -> None:
        self._looked_at, self._done = looked_at, done

    def result(self) -> Mapped:
        """Wait for the batch and give it as arrays.

        Raises:
            NoRoom: if the device could not hold it. UserError: if the backbone breaks its promise.
        """
        features, tokens = self._looked_at.result()
        if self._done is not None:
            self._done.synchronize()
        return Mapped(features.numpy(), None if tokens is None else tokens.numpy())


def no_room(device: torch.device, batch_size: int) -> NoRoom:
    """What to say where a device cannot hold a batch."""
    return NoRoom(f"expected room on {device} for a batch of {batch_size}, as the folder is made, found none; what was "
                  "published is kept: free the device and give the same command again, or go on with a smaller "
                  "--batch-size and --mixed")


def cast_weights(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy with the weights of products in another precision, as autocast would cast them anew for every batch."""
    if dtype == torch.float32 or not is_folded(module):
        return module
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.to(dtype)
    return module


def _fix_arithmetic(device: torch.device) -> None:
    """Equal input, equal bits: no algorithm chosen by a stopwatch, no float32 that is secretly TF32."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def _watch_map(module: nn.Module, maps: local, backbone: Backbone) -> RemovableHandle:
    """Catch what enters the last pooling layer, (B, D, 7, 7), as `maps.last` of the thread that looks."""
    pools = [part for part in module.modules() if isinstance(part, nn.AdaptiveAvgPool2d)]
    if not pools:
        raise UserError(f"expected a backbone that ends in average pooling for --tokens, found none in "
                        f"{backbone.name}; leave --tokens away or choose resnet50")

    def catch(pool: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[1:] != (backbone.spec.width, MAP_SIDE, MAP_SIDE):
            raise UserError(f"expected a map of {backbone.spec.width} x {MAP_SIDE} x {MAP_SIDE} before pooling, "
                            f"found {tuple(inputs[0].shape[1:])} in {backbone.name}; leave --tokens away or choose "
                            "resnet50")
        maps.last = inputs[0]

    return pools[-1].register_forward_pre_hook(catch)


def fit_batch_size(backbone: Backbone, device: torch.device, precision: str, batch_size: int, tokens: int) -> int:
    """Halve the batch until the device holds it; only ever asked before the first shard, then it is kept.

    Raises:
        NoRoom: if it cannot hold a single photo.
    """
    while not _has_room(backbone, device, precision, batch_size, tokens):
        if device.type == "cuda":
            gc.collect()  # a graph and its modules hold each other
            torch.cuda.empty_cache()  # here, where neither error nor mapper holds a tensor any more
        if batch_size == 1:
            raise no_room(device, 1)
        batch_size //= 2
        log.warning("%s has no room for a batch: halved to %d", device, batch_size)
    return batch_size


def _has_room(backbone: Backbone, device: torch.device, precision: str, batch_size: int, tokens: int) -> bool:
    try:
        mapper = Mapper(backbone, device, precision, batch_size, tokens=tokens)
        try:
            mapper.submit(mapper.make_buffer()).result()
        finally:
            mapper.close()
        return True
    except NoRoom:
        return False
