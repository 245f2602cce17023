"""A backbone that is folded gives the features of the one that was written, and what cannot be is left."""
import operator

import pytest
import torch
from torch import nn

from extract.backbones import mapper as mapping
from extract.backbones.backbone import Backbone, Spec
from extract.backbones.folding import FOLDED, describe_arithmetic, fold, is_folded
from extract.backbones.mapper import Mapper, cast_weights

SIZE = 16


class Residual(nn.Module):
    """Convolutions with and without batch norm, padding, stride, groups, sums of both orders, several activations."""

    def __init__(self, plus=operator.add):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.left, self.left_norm = nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.BatchNorm2d(8)
        self.right = nn.Conv2d(8, 8, 1)
        self.six, self.relu, self.pool = nn.ReLU6(), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        self.plus = plus
        for norm in (self.stem_norm, self.left_norm):
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)

    def forward(self, images):
        images = self.six(self.stem_norm(self.stem(images)) * 1.0)
        images = self.relu(self.stem_norm(self.stem(images[:, :3])) + images[:, :, :4, :4])
        images = self.plus(images, self.left_norm(self.left(images)))
        images = torch.relu(self.plus(self.right(images), images))
        return torch.flatten(self.pool(images), 1)


class Straight(Residual):
    """The same parts in the order that folds and packs."""

    def forward(self, images):
        images = self.six(self.stem_norm(self.stem(images)))
        images = self.plus(images, self.left_norm(self.left(images)))
        images = torch.relu(self.plus(self.right(images), images))
        return torch.flatten(self.pool(images), 1)


class Keeping(nn.Module):
    """Keeps its features between layers by a hook, as many extractors do: tracing and threads would both go wrong."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.net[2].register_forward_hook(self.keep)
        self.kept = None

    def keep(self, module, inputs, output):
        self.kept = output

    def forward(self, images):
        self.net(images)
        return self.kept.mean((2, 3))


class Deciding(nn.Module):
    """Does another thing for bright pictures, which tracing cannot see."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        images = self.conv(images)
        return images.amax((2, 3)) if images.mean() > 0 else images.mean((2, 3))


def images(count=4, seed=1):
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def count_parts(module, kind):
    return sum(isinstance(part, kind) for part in module.modules())


@pytest.mark.parametrize("plus", [operator.add, operator.iadd, torch.add])
@pytest.mark.parametrize("kind, norms", [(Straight, 0), (Residual, 1)])  # a convolution used twice keeps its own
def test_folding_changes_no_feature(kind, norms, plus):
    module = kind(plus).eval().requires_grad_(False)
    folded = fold(module, SIZE)
    assert is_folded(folded) and count_parts(folded, nn.BatchNorm2d) == norms
    with torch.inference_mode():
        torch.testing.assert_close(folded(images()), module(images()), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(folded(images(2)), module(images(2)), rtol=1e-5, atol=1e-5)  # of another size


def test_bfloat16_drifts_no_further_than_autocast_does():
    module = Straight().eval()
    with torch.inference_mode():
        expected, folded = module(images(32)), cast_weights(fold(module, SIZE), torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            as_written, found = (net(images(32)).float() for net in (module, folded))
    assert 0 < (found - expected).norm() <= 1.1 * (as_written - expected).norm()


@pytest.mark.parametrize("module", [Keeping(), Deciding()])
def test_what_tracing_cannot_follow_stays_as_written(module):
    module.eval()
    assert fold(module, SIZE) is module
    assert describe_arithmetic(module) != FOLDED


def test_batch_norm_in_training_mode_is_not_folded():
    module = Straight().eval()
    module.left_norm.train()
    assert fold(module, SIZE) is module


def test_the_module_itself_is_not_changed():
    module = Straight().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert is_folded(fold(module, SIZE))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert count_parts(module, nn.BatchNorm2d) == 2


def make_backbone(module):
    spec = Spec(8, SIZE, "squash", SIZE, "bilinear", (0.5,) * 3, (0.25,) * 3)
    return Backbone("own", module.eval().requires_grad_(False), spec, "own", "0")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_do_not_depend_on_the_number_of_cores(monkeypatch, precision):
    found = {}
    for cores in (1, 3):
        monkeypatch.setattr(mapping, "count_own_cores", lambda cores=cores: cores)
        mapper = Mapper(make_backbone(Straight()), torch.device("cpu"), precision, 4)
        assert mapper.threads == cores and mapper.num_buffers > cores
        buffers = [mapper.make_buffer() for _ in range(12)]
        for seed, buffer in enumerate(buffers):
            buffer[:] = torch.randint(0, 256, buffer.shape, generator=torch.Generator().manual_seed(seed)).numpy()
        found[cores] = [pending.result().features.tobytes() for pending in [mapper.submit(part) for part in buffers]]
        mapper.close()
    assert found[1] == found[3] and len(set(found[1])) == 12


def test_a_module_that_may_keep_something_gets_one_batch_at_a_time(monkeypatch):
    monkeypatch.setattr(mapping, "count_own_cores", lambda: 4)
    backbone = make_backbone(Keeping())
    mapper = Mapper(Backbone(backbone.name, backbone.module, Spec(4, SIZE, "squash", SIZE, "bilinear", (0.5,) * 3,
                                                                  (0.25,) * 3), "own", "0"),
                    torch.device("cpu"), "float32", 4)
    assert mapper.threads == 1
    mapper.close()
