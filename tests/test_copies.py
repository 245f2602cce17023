"""What runs beside a GPU, in the order it must: on a device that copies nothing until it is waited for."""
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from data.folder.folder import Features
from extract.backbones import mapper as mapping
from extract.backbones.backbone import build_backbone
from extract.backbones.folding import fold
from extract.backbones.mapper import CudaCopies, Mapper, cast_weights, fit_batch_size
from extract.command import main
from tests.extraction import one_matcher, snapshot  # noqa: F401
from tests.photo_dataset import write_dataset

TINY = "tests.tiny_backbone:factory"


class LazyEvent:
    """Does what was begun before it, when it is waited for."""

    def __init__(self, begun):
        self.begun = begun

    def synchronize(self):
        while self.begun:
            self.begun.pop(0)()


class LazyCopies:
    """A device that copies as late as it may: a buffer under way is read-only, what comes back is no number yet."""

    def __init__(self):
        self.begun, self.sent = [], 0

    def make_buffer(self, shape):
        return np.zeros(shape, np.uint8)

    def send(self, pictures):
        self.sent += 1
        pictures.flags.writeable = False
        self.begun.append(lambda: setattr(pictures.flags, "writeable", True))
        return torch.from_numpy(pictures)

    def bring(self, value):
        host = torch.full_like(value, torch.nan)
        self.begun.append(lambda: host.copy_(value))
        return host

    def mark(self):
        begun, self.begun = self.begun, []
        return LazyEvent(begun)


@pytest.mark.parametrize("flags", [[], ["--views", "2"], ["--tokens", "16"]])
def test_nothing_is_published_before_its_copy_and_no_buffer_is_refilled_under_one(tmp_path, monkeypatch, flags):
    dataset = write_dataset(tmp_path / "data", {"train": 3, "val": 1, "test": 1})
    backbone = "tests.tiny_backbone:with_map" if "--tokens" in flags else TINY

    def extract(name):
        main(["--data", str(dataset), "--out", str(tmp_path / name), "--backbone", backbone, "--weights", "random",
              "--batch-size", "4", "--shard-rows", "6", *flags])
        return snapshot(tmp_path / name)
    undisturbed, lazy = extract("f"), LazyCopies()
    monkeypatch.setattr(mapping, "make_copies", lambda device: lazy)
    assert extract("g") == undisturbed
    assert lazy.sent >= 6 and np.isfinite(Features.open(tmp_path / "g").feature.all()).all()


def test_events_and_memory_belong_to_the_processes_own_device(monkeypatch):
    said, own = [], torch.device("cuda", 3)

    class Event:
        def __init__(self, **settings):
            said.append(("event", settings))

        def record(self, stream):
            said.append(("record", stream))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: said.append(("device", device)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert isinstance(CudaCopies(own).mark(), Event)
    assert said == [("device", own), ("event", {"blocking": True}), ("record", "stream of cuda:3")]
    CudaCopies(torch.device("cuda"))  # the current device, whichever that is
    assert said[3:] == []


def test_the_device_is_chosen_before_anything_is_put_there(monkeypatch):
    said, backbone, real = [], build_backbone(TINY, "random"), torch.tensor

    def put(value, device=None, **settings):
        said.append(device)
        return real(value, **settings)
    monkeypatch.setattr(mapping, "make_copies", lambda device: said.append("chosen") or LazyCopies())
    monkeypatch.setattr(nn.Module, "to", lambda self, *arguments, **settings: said.extend(arguments) or self)
    monkeypatch.setattr(torch, "tensor", put)
    mapper = Mapper(backbone, torch.device("cuda", 1), "float16", 4)
    places = [place for place in said if place == "chosen" or isinstance(place, torch.device)]
    assert places == ["chosen", mapper.device, mapper.device] and str(mapper.device) == "cuda:1"
    assert mapper.threads == 1 and mapper.num_buffers == 3


def test_memory_is_given_back_when_nothing_holds_it_any_more(monkeypatch):
    held, freed, backbone, real = [], [], build_backbone(TINY, "random"), torch.tensor

    def fill(module, inputs):
        large = torch.zeros(8)
        held.append(weakref.ref(large))
        if len(inputs[0]) > 8:
            raise torch.OutOfMemoryError("no room")

    def empty_cache():
        freed.append([reference() is None for reference in held])
    backbone.folded.register_forward_pre_hook(fill)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    monkeypatch.setattr(mapping, "make_copies", lambda device: LazyCopies())
    monkeypatch.setattr(nn.Module, "to", lambda self, *arguments, **settings: self)
    monkeypatch.setattr(torch, "tensor", lambda value, device=None, **settings: real(value, **settings))
    assert fit_batch_size(backbone, torch.device("cuda", 0), "float32", 32, tokens=1) == 8
    assert len(freed) == 2 and all(all(gone) for gone in freed)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_cast_once_give_what_weights_cast_for_every_batch_give(dtype):
    backbone = build_backbone("tests.tiny_backbone:with_blocks", "random")
    folded = fold(backbone.module, backbone.spec.size)
    once = cast_weights(folded, dtype)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        assert torch.equal(once(images), folded(images))
    kinds = {part.weight.dtype for part in once.modules() if isinstance(part, (nn.Conv2d, nn.Linear))}
    assert kinds == {dtype} and all(weight.dtype == torch.float32 for weight in folded.parameters())
    assert cast_weights(folded, torch.float32) is folded and cast_weights(backbone.module, dtype) is backbone.module
