"""Backbones and their weights: found, fitted, hashed, refused; batches of one shape."""
import os
import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from data.errors import UserError
from extract.backbones.backbone import build_backbone
from extract.backbones.mapper import Mapper, NoRoom, fit_batch_size, has_bfloat16, resolve_precision
from extract.backbones.weights import find_imagenet, hash_weights, imagenet_path
from extract.config import ExtractConfig
from tests import tiny_backbone

TINY = "tests.tiny_backbone:factory"
CPU = torch.device("cpu")


@pytest.fixture
def hub(tmp_path):
    """An empty folder where torchvision looks for weights."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    yield tmp_path / "hub"
    torch.hub.set_dir(before)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise URLError("no route")
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


def pictures(count, seed=0, size=32):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def look(backbone, shown, batch_size, precision="float32"):
    mapper = Mapper(backbone, CPU, precision, batch_size)
    buffer = mapper.make_buffer()
    found = []
    for start in range(0, len(shown), batch_size):
        part = shown[start:start + batch_size]
        buffer[:len(part)], buffer[len(part):] = part, 0
        found.append(mapper.submit(buffer).result().features[:len(part)].copy())
    return np.concatenate(found)


def test_a_classifier_gives_the_input_of_its_last_linear():
    from torchvision.models import resnet50
    backbone = build_backbone("resnet50", "random")
    assert (backbone.spec.width, backbone.spec.size, backbone.spec.resize) == (2048, 224, "squash")
    whole = resnet50()
    whole.load_state_dict({**whole.state_dict(), **backbone.module.state_dict()})
    whole.eval()
    caught = []
    whole.fc.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    shown = pictures(2, size=224)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        whole((torch.from_numpy(shown).permute(0, 3, 1, 2) / 255 - mean) / std)
    np.testing.assert_allclose(look(backbone, shown, 2), caught[0].numpy(), rtol=2e-3, atol=1e-3)


def test_random_weights_are_equal_every_time_and_leave_the_generator_alone():
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = build_backbone(TINY, "random"), build_backbone(TINY, "random")
    assert torch.equal(torch.get_rng_state(), state)
    assert first.weights_sha256 == second.weights_sha256 and not first.module.training
    with torch.no_grad():
        second.module.net[0].weight[0, 0, 0, 0] += 1e-6
    assert hash_weights(second.module) != first.weights_sha256


def test_imagenet_weights_are_found_where_torchvision_looks(hub, no_network):
    from torchvision import models
    url = models.ResNet18_Weights.IMAGENET1K_V1.url
    with pytest.raises(UserError) as refused:
        build_backbone("resnet18", "imagenet")
    for said in (str(hub / "checkpoints" / "resnet18-f37072fd.pth"), url, "--weights random", "--weights PATH"):
        assert said in str(refused.value)
    path = imagenet_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    net = models.resnet18()
    torch.save(net.state_dict(), path)
    backbone = build_backbone("resnet18", "imagenet")
    assert torch.equal(backbone.module.conv1.weight, net.conv1.weight) and backbone.weights == "imagenet"
    assert backbone.files == (path,) and "ImageNet" in backbone.spec.licence


@pytest.mark.parametrize("name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.slow)])
def test_a_net_that_scales_its_input_anew_is_shown_what_it_was_trained_on(hub, name):
    from torchvision import models
    torch.manual_seed(3)
    shown_by = models.get_model_weights(name).IMAGENET1K_V1
    whole = models.get_model(name, weights=None, transform_input=True, init_weights=False).eval()
    path = imagenet_path(shown_by.url)
    path.parent.mkdir(parents=True)
    torch.save(whole.state_dict(), path)
    caught = []
    whole.fc.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    shown = torch.from_numpy(pictures(2, size=96)).permute(0, 3, 1, 2) / 255
    backbone, transforms = build_backbone(name, "imagenet"), shown_by.transforms()
    mean, std, own_mean, own_std = (torch.tensor(value).view(1, 3, 1, 1) for value in (
        transforms.mean, transforms.std, backbone.spec.mean, backbone.spec.std))
    with torch.inference_mode():
        whole((shown - mean) / std)
        found = backbone.module((shown - own_mean) / own_std)
    torch.testing.assert_close(found, caught[0], rtol=1e-4, atol=1e-5)
    assert (own_mean != mean).all()


def test_weights_are_downloaded_by_one_process_for_all(hub, monkeypatch):
    from torchvision import models
    url, calls = models.ResNet18_Weights.IMAGENET1K_V1.url, []

    def download(url, path, **settings):
        calls.append(path)
        time.sleep(0.3)
        Path(path).write_bytes(b"weights")
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: find_imagenet("resnet18", url), range(4)))
    assert found == [imagenet_path(url)] * 4 and calls == [str(found[0])]
    assert os.listdir(found[0].parent) == [found[0].name]


@pytest.mark.parametrize("wrap", [
    lambda state: state, lambda state: {"state_dict": state}, lambda state: {"model": state, "epoch": 3},
    lambda state: {f"module.{name}": value for name, value in state.items()},
    lambda state: {**{f"module.backbone.{name}": value for name, value in state.items()},
                   "module.head.weight": torch.zeros(3)}])
def test_weights_are_read_however_they_were_wrapped(tmp_path, wrap):
    torch.manual_seed(5)
    state = tiny_backbone.Tiny().state_dict()
    torch.save(wrap(dict(state)), tmp_path / "w.pth")
    backbone = build_backbone(TINY, str(tmp_path / "w.pth"))
    assert torch.equal(backbone.module.net[0].weight, state["net.0.weight"]) and backbone.weights == "w.pth"


def test_safetensors_are_read(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(5)
    state = tiny_backbone.Tiny().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    first = build_backbone(TINY, str(tmp_path / "w.safetensors"))
    torch.save(state, tmp_path / "w.pth")
    assert first.weights_sha256 == build_backbone(TINY, str(tmp_path / "w.pth")).weights_sha256


def test_weights_that_do_not_fit_are_refused_with_their_keys(tmp_path):
    state = dict(tiny_backbone.Tiny().state_dict())
    del state["net.0.bias"]
    state["net.9.weight"] = torch.zeros(1)
    state["net.3.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"1 missing \(net.0.bias\); 1 unexpected \(net.9.weight\); 1 of another shape "
                                        r"\(net.3.bias \(3,\) for \(8,\)\)"):
        build_backbone(TINY, str(tmp_path / "w.pth"))


class Payload:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("content", [pickle.dumps(Payload()), b"<html>", pickle.dumps({"net": 3})])
def test_pickles_and_other_files_are_refused_and_not_run(tmp_path, content, capsys):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match="expected a state dict of tensors in .*w.pth"):
        build_backbone(TINY, str(tmp_path / "w.pth"))
    assert capsys.readouterr().out == ""


def test_absent_weights_name_the_choices(tmp_path):
    with pytest.raises(UserError, match="found no such file.*--weights random or --weights imagenet"):
        build_backbone(TINY, str(tmp_path / "w.pth"))


@pytest.mark.parametrize("name, message", [
    ("resnet51", "torchvision classifier"), ("squeezenet1_0", "ends in a Linear"),
    ("nowhere.at_all:factory", "no module"),
    ("tests.tiny_backbone:absent", "callable 'absent'"), ("tests.tiny_backbone:Tiny", "return .torch module, spec"),
    ("broken_plugin:no_width", "no width"), ("broken_plugin:odd_resize", "resize squash or crop"),
    ("broken_plugin:extra", "unknown colour")])
def test_a_backbone_that_breaks_its_promise_is_refused(tmp_path, monkeypatch, name, message):
    (tmp_path / "broken_plugin.py").write_text(
        "from tests.tiny_backbone import SPEC, Tiny\n"
        "def no_width(): return Tiny(), {name: value for name, value in SPEC.items() if name != 'width'}\n"
        "def odd_resize(): return Tiny(), {**SPEC, 'resize': 'stretch'}\n"
        "def extra(): return Tiny(), {**SPEC, 'colour': 1}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message):
        build_backbone(name, "random")
    sys.modules.pop("broken_plugin", None)


def test_a_backbone_of_another_width_than_it_says_is_refused(monkeypatch):
    monkeypatch.setitem(tiny_backbone.SPEC, "width", 9)
    backbone = build_backbone(TINY, "random")
    with pytest.raises(UserError, match=r"shape \(4, 9\) from the backbone, found \(4, 8\)"):
        look(backbone, pictures(4), 4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_neither_neighbours_nor_padding_change_a_feature(precision):
    backbone = build_backbone(TINY, "random")
    shown = pictures(10)
    together = look(backbone, shown, 4, precision)
    order = np.random.default_rng(3).permutation(10)
    assert np.array_equal(look(backbone, shown[order], 4, precision), together[order])
    alone = [look(backbone, shown[row:row + 1], 4, precision) for row in range(10)]
    assert np.array_equal(np.concatenate(alone), together)


def test_precision_is_resolved_by_the_device():
    assert resolve_precision("auto", torch.device("cuda")) == "float16"
    assert resolve_precision("auto", CPU) == ("bfloat16" if has_bfloat16() else "float32")
    assert resolve_precision("float32", torch.device("cuda")) == "float32"


def test_a_batch_the_device_has_no_room_for_is_halved_before_the_first_shard():
    backbone = build_backbone(TINY, "random")

    def refuse(module, inputs):
        if len(inputs[0]) > 5:
            raise torch.OutOfMemoryError("full")
    backbone.folded.register_forward_pre_hook(refuse)
    assert fit_batch_size(backbone, CPU, "float32", 32, tokens=1) == 4
    with pytest.raises(NoRoom, match="as the folder is made.*smaller --batch-size and --mixed"):
        look(backbone, pictures(8), 8)


def test_tokens_are_places_of_the_map_before_pooling_row_by_row():
    backbone, shown = build_backbone("tests.tiny_backbone:with_map", "random"), pictures(2)
    found = Mapper(backbone, CPU, "float32", 2, tokens=49).submit(shown).result()
    with torch.no_grad():
        maps = backbone.module[:4]((torch.from_numpy(shown).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25).numpy()
    assert found.tokens.shape == (2, 49, 8)
    np.testing.assert_allclose(found.tokens, maps.reshape(2, 8, 49).swapaxes(1, 2), atol=2e-3)
    np.testing.assert_allclose(found.tokens.astype(np.float32).mean(axis=1), found.features, atol=2e-3)
    pooled = Mapper(backbone, CPU, "float32", 2, tokens=16).submit(shown).result().tokens
    edges = ((0, 2), (1, 4), (3, 6), (5, 7))  # floor(7 i / 4) to ceil(7 (i + 1) / 4)
    expected = np.stack([maps[:, :, top:bottom, left:right].mean(axis=(2, 3))
                         for top, bottom in edges for left, right in edges], axis=1)
    np.testing.assert_allclose(pooled, expected, atol=2e-3)
    with pytest.raises(UserError, match="average pooling for --tokens"):
        Mapper(build_backbone(TINY, "random"), CPU, "float32", 2, tokens=16)


def test_eval_mode_reaches_every_part():
    backbone = build_backbone(TINY, "random")
    assert not any(part.training for part in backbone.module.modules())
    assert not any(value.requires_grad for value in backbone.module.parameters())
    assert isinstance(backbone.module.net[1], nn.BatchNorm2d)


@pytest.mark.parametrize("precision", ["int4", None, ["float32"]])
def test_a_recipe_that_says_nothing_usable_is_refused_in_a_sentence(tmp_path, precision):
    from extract.pipeline.backbone_setup import settle_recipe
    config = ExtractConfig(tmp_path, tmp_path / "features", "random", TINY)
    with pytest.raises(UserError, match="get the folder again"):
        settle_recipe(config, build_backbone(TINY, "random"), CPU, {"fields": {"precision": precision}})
