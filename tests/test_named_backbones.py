"""Backbones by name from timm and open_clip: the net, what it is shown, its weights, and what is refused."""
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from data.errors import UserError
from data.folder.folder import Features
from data.pictures.pictures import decode_photo
from extract.backbones.backbone import build_backbone
from extract.backbones.named import build_text_tower, describe_named
from extract.command import main
from tests.extraction import one_matcher  # noqa: F401
from tests.photo_dataset import draw_photo, write_dataset

timm = pytest.importorskip("timm")
open_clip = pytest.importorskip("open_clip")
hub_client = pytest.importorskip("huggingface_hub")

SMALL = "timm:test_resnet.r160_in1k"
TINY_CLIP = {"embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
             "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}}


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No network, and caches that hold nothing."""
    def refuse(*_, **__):
        raise OSError("no route")
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(hub_client, "hf_hub_download", refuse)
    monkeypatch.setattr(hub_client, "try_to_load_from_cache", lambda *_, **__: None)
    yield
    torch.hub.set_dir(before)


@pytest.fixture
def tiny_clip(tmp_path, monkeypatch):
    """A CLIP of two layers under two names, and a tag for each activation."""
    from open_clip import pretrained
    for name, more in (("tiny", {}), ("tiny-quickgelu", {"quick_gelu": True})):
        (tmp_path / f"{name}.json").write_text(json.dumps(TINY_CLIP | more))
        open_clip.add_model_config(tmp_path / f"{name}.json")
        tags = {"plain": pretrained._pcfg(hf_hub="us/tiny/"), "quick": pretrained._pcfg(url="x", quick_gelu=True),
                "squashed": pretrained._slpcfg(hf_hub="us/tiny/")}
        monkeypatch.setitem(pretrained._PRETRAINED, name, tags)


def put(name, state):
    """Put weights where a person without network would."""
    place = describe_named(name).place
    place.parent.mkdir(parents=True, exist_ok=True)
    from safetensors.torch import save_file
    save_file({key: value.contiguous() for key, value in state.items()}, place)
    return place


def images(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_resnet50_of_torchvision_is_the_same_under_its_tag(tmp_path):
    from torchvision.models import resnet50
    torch.manual_seed(5)
    theirs = resnet50()
    for part in theirs.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)
    path = tmp_path / "resnet50.pth"
    torch.save(theirs.state_dict(), path)
    backbone = build_backbone("timm:resnet50.tv_in1k", str(path))
    theirs.fc = torch.nn.Identity()
    theirs.eval()
    with torch.inference_mode():
        assert torch.equal(backbone.module(images(224)), theirs(images(224)))
    spec = backbone.spec
    assert (spec.width, spec.size, spec.resize, spec.short_side) == (2048, 224, "crop", 256)
    assert spec.interpolation == "bilinear"
    assert backbone.weights == "resnet50.pth" and "ask whoever made it" in spec.licence
    put("timm:resnet50.tv_in1k", torch.load(path, weights_only=True))
    own = build_backbone("timm:resnet50.tv_in1k", "imagenet")
    assert own.weights_sha256 == backbone.weights_sha256 and own.weights == "own"
    assert own.spec.origin == {"tag": "tv_in1k", "source": "timm/resnet50.tv_in1k", "revision": "main",
                               "licence": "bsd-3-clause"}
    assert own.spec.licence.startswith("bsd-3-clause, as named for the tag tv_in1k of timm/resnet50.tv_in1k, revision")


def test_torchvisions_own_file_in_its_cache_serves_too():
    state = timm.create_model("resnet50", num_classes=1000).state_dict()
    path = describe_named("timm:resnet50.tv_in1k").place.with_name("resnet50-0676ba61.pth")
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    assert describe_named("timm:resnet50.tv_in1k").find() == path


@pytest.mark.parametrize("name, said", [
    ("timm:resnet50", "whole tag, which says what a net was trained on and is shown, found timm:resnet50; choose one"),
    ("timm:resnet50.nonsense", "tv2_in1k"),
    ("timm:resnet5O.tv_in1k", "did you mean 'resnet50'?"),
    ("open_clip:ViT-B-32", "choose one of openai, "),
    ("open_clip:ViT-B-32/nonsense", "choose one of openai, "),
    ("open_clip:ViT-B32/openai", "did you mean 'ViT-B-32'?"),
    ("open_clip:ViT-B-32/openai", "name open_clip:ViT-B-32-quickgelu/openai"),
    ("open_clip:tiny/quick", "name open_clip:tiny-quickgelu/quick"),
    ("open_clip:tiny-quickgelu/plain", "name open_clip:tiny/plain"),
    ("timm:vit_base_patch32_clip_224.openai", "name timm:vit_base_patch32_clip_quickgelu_224.openai"),
])
def test_a_name_that_leaves_something_open_is_refused_before_anything_is_built(tiny_clip, name, said):
    with pytest.raises(UserError) as refused:
        build_backbone(name, "random")
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["timm:tf_efficientnetv2_b3.in21k_ft_in1k", "timm:vit_base_patch16_sapiens2.fb"])
def test_what_cannot_be_shown_as_the_net_wants_is_refused(name, monkeypatch):
    full = name.partition(":")[2]
    config = timm.get_pretrained_cfg(full)
    small = timm.create_model("test_resnet")
    small.pretrained_cfg = config.to_dict()
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: small)
    with pytest.raises(UserError, match="expected a square picture"):
        build_backbone(name, "random")


def photo(size=(150, 90)):
    file = io.BytesIO()
    draw_photo(np.random.default_rng(2), size).save(file, "PNG")
    return file.getvalue()


def shown(spec, content):
    """What the net is given, (3, S, S)."""
    pixels = torch.from_numpy(decode_photo(content, spec.resize_for(True)).copy()).permute(2, 0, 1) / 255
    return (pixels - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[:, None, None]


@pytest.mark.parametrize("name", [SMALL, "timm:test_vit.r160_in1k", "timm:test_efficientnet.r160_in1k"])
def test_a_photo_is_shown_as_timm_shows_it(name):
    backbone = build_backbone(name, "random")
    model = timm.create_model(name.partition(":")[2])
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    expected = transform(Image.open(io.BytesIO(photo())))
    assert (shown(backbone.spec, photo()) - expected).abs().max() < 0.05  # two levels of 255


@pytest.mark.parametrize("tag, rule", [("plain", "crop"), ("squashed", "squash")])
def test_a_photo_is_shown_as_open_clip_shows_it(tiny_clip, tag, rule):
    backbone = build_backbone(f"open_clip:tiny/{tag}", "random")
    config = open_clip.get_pretrained_cfg("tiny", tag)
    transform = open_clip.image_transform(32, is_train=False, mean=config["mean"], std=config["std"],
                                          interpolation=config["interpolation"], resize_mode=config["resize_mode"])
    expected = transform(Image.open(io.BytesIO(photo())))
    assert backbone.spec.resize == rule and (shown(backbone.spec, photo()) - expected).abs().max() < 0.05


def test_the_size_is_the_tags_own_and_the_width_what_comes_out():
    assert build_backbone("timm:resnet50.tv2_in1k", "random").spec.size == 176
    backbone = build_backbone("timm:mobilenetv4_conv_small_050.e3000_r224_in1k", "random")
    assert backbone.spec.width == backbone.module(images(224)).shape[1] != backbone.module.num_features


def test_clip_keeps_its_projection():
    name = "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"
    backbone = build_backbone(f"timm:{name}", "random")
    assert backbone.spec.width == 512 != backbone.module.num_features
    state = timm.create_model(name).state_dict()
    put(f"timm:{name}", state)
    own = build_backbone(f"timm:{name}", "imagenet")
    assert torch.equal(own.module.head.weight, state["head.weight"])


def test_both_halves_of_a_clip_share_a_space_and_a_file(tiny_clip):
    torch.manual_seed(9)
    whole = open_clip.create_model("tiny", pretrained_text=False).eval()
    put("open_clip:tiny/plain", whole.state_dict())
    backbone = build_backbone("open_clip:tiny/plain", "imagenet")
    tower, tokenise = build_text_tower("open_clip:tiny/plain", "imagenet")
    texts = tokenise(["a dog in the park", "a cat"])
    with torch.inference_mode():
        torch.testing.assert_close(backbone.module(images(32)), whole.encode_image(images(32)))
        torch.testing.assert_close(tower(texts), whole.encode_text(texts))
        assert tower(texts).shape[1] == backbone.spec.width == 24
    assert "visual" not in "".join(tower.state_dict())
    assert backbone.spec.licence.startswith("not told by open_clip: see us/tiny, as named for the tag plain")
    with pytest.raises(UserError, match="for a text tower"):
        build_text_tower(SMALL, "random")


def test_a_state_of_the_tower_alone_fits_as_fine_tuning_writes_it(tiny_clip, tmp_path):
    from safetensors.torch import save_file
    for name in ("open_clip:tiny/plain", SMALL):
        first = build_backbone(name, "random")
        state = {key: value + 1 for key, value in first.module.state_dict().items()}
        save_file(state, tmp_path / "backbone.safetensors")
        again = build_backbone(name, str(tmp_path / "backbone.safetensors"))
        assert again.weights_sha256 != first.weights_sha256
        assert all(torch.equal(value, state[key]) for key, value in again.module.state_dict().items())


def test_weights_that_do_not_fit_are_refused(tiny_clip, tmp_path):
    torch.save({"visual.nothing": torch.zeros(1), "layer9.weight": torch.zeros(1)}, tmp_path / "w.pth")
    for name in ("open_clip:tiny/plain", SMALL):
        with pytest.raises(UserError, match="expected weights that fit"):
            build_backbone(name, str(tmp_path / "w.pth"))


@pytest.mark.parametrize("name", [SMALL, "open_clip:ViT-B-32/laion2b_s34b_b79k", "timm:resnet50.tv_in1k"])
def test_without_network_the_error_says_which_file_to_put_where(name, monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("built before the weights were there"))
    pretrained = describe_named(name)
    with pytest.raises(UserError) as refused:
        build_backbone(name, "imagenet")
    for said in (str(pretrained.place), f"https://huggingface.co/{pretrained.repository}/resolve/main/", "no route",
                 "--weights random", "--weights PATH"):
        assert said in str(refused.value)


def test_the_hubs_cache_is_looked_into_and_its_commit_told(monkeypatch, tmp_path):
    from safetensors.torch import save_file
    path = tmp_path / "models--timm--x" / "snapshots" / "0123abc" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file(timm.create_model("test_resnet").state_dict(), path)
    monkeypatch.setattr(hub_client, "try_to_load_from_cache",
                        lambda repository, file, revision: str(path) if file == "model.safetensors" else None)
    assert build_backbone(SMALL, "imagenet").spec.licence.endswith("revision main, commit 0123abc")


def test_a_download_asks_for_the_next_name_where_the_first_is_none(monkeypatch, tmp_path):
    asked = []

    def download(repository, file, revision):
        asked.append((repository, file, revision))
        if file.endswith(".safetensors"):
            raise hub_client.errors.EntryNotFoundError("404")
        torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / file)
        return str(tmp_path / file)
    monkeypatch.setattr(hub_client, "hf_hub_download", download)
    assert build_backbone(SMALL, "imagenet").files[0] == tmp_path / "pytorch_model.bin"
    assert asked == [("timm/test_resnet.r160_in1k", file, "main") for file in describe_named(SMALL).files]


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch):
    asked = []

    def download(repository, file, revision):
        asked.append(file)
        raise hub_client.errors.LocalEntryNotFoundError("no connection")
    monkeypatch.setattr(hub_client, "hf_hub_download", download)
    with pytest.raises(UserError, match="no connection"):
        build_backbone(SMALL, "imagenet")
    assert asked == ["model.safetensors"]


def test_plan_works_before_the_weights_are_there_and_extraction_tells_of_them(tmp_path, capsys):
    dataset, folder = write_dataset(tmp_path / "data", {"train": 1, "val": 1, "test": 1}), tmp_path / "f"
    flags = ["--data", str(dataset), "--backbone", SMALL, "--batch-size", "4", "--precision", "float32"]
    main(["plan", str(folder), *flags])
    said = capsys.readouterr().out
    assert "not here yet: the extraction would download timm/test_resnet.r160_in1k" in said and "about" in said
    with pytest.raises(UserError, match="could not download"):
        main([*flags, "--out", str(folder)])
    put(SMALL, timm.create_model("test_resnet", num_classes=1000).state_dict())
    main([*flags, "--out", str(folder)])
    features = Features.open(folder)
    assert features.recipe["fields"]["origin"] == describe_named(SMALL).origin
    assert features.recipe["fields"]["resize"] == "crop"
    assert "weights `own`" in (card := (folder / "README.md").read_text())
    assert "as named for the tag r160_in1k of timm/test_resnet.r160_in1k, revision main" in card
    capsys.readouterr()
    main(["plan", str(folder), *flags])
    assert "not here yet" not in capsys.readouterr().out


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"expected the package timm for --backbone timm:x.y.*pip install .*backbones"):
        build_backbone("timm:x.y", "random")
