"""Whose backbone looks at photos of one's own: what differs from the run's is said before anything is downloaded."""
from dataclasses import replace

import pytest

from data.errors import UserError
from data.folder.folder import Features
from data.folder.identity import identify
from evaluate.own_story.photos import open_backbone, settled_fields
from extract.backbones.backbone import build_backbone
from tests.tiny_runs import write_run
from train.run_folder.runs import load_run

NAME = "shufflenet_v2_x0_5"


@pytest.fixture
def open_for(make_features, tmp_path, monkeypatch):
    """A function that opens a backbone for a run on features of NAME with seeded weights, changed in some fields."""
    def find_imagenet(name, url):
        raise UserError("it would download")
    monkeypatch.setattr("extract.backbones.backbone.find_imagenet", find_imagenet)
    run = load_run(write_run(tmp_path / "run", make_features()))
    features = Features.open(tmp_path / "features")
    fields = settled_fields(build_backbone(NAME, "random"))

    def open_for(name, weights, changed):
        return open_backbone(replace(run, recipe=identify({**fields, **changed})), features, name, weights)
    return open_for


def test_the_runs_own_backbone_is_opened(open_for):
    assert open_for(None, "random", {}).name == NAME


@pytest.mark.parametrize("name, weights, changed, said", [
    (None, "imagenet", {}, r"weights: [0-9a-f]{64} there, imagenet"),
    ("mnasnet0_5", "imagenet", {}, rf"backbone: {NAME} there, mnasnet0_5 here"),
    (None, "imagenet", {"weights": "f" * 64, "size": 96}, r"found another \(\w+\) in the backbone of this command: "
                                                          r"size: 96 there, 224 here; name"),
    (None, "imagenet", {"weights": "f" * 64}, "it would download"),
    (None, "random", {"weights": "f" * 64}, r"weights: f{64} there"),
    (None, "random", {"version": 1}, r"version: 1 there"),
    (None, "random", {"arithmetic": "of another day"}, r"arithmetic: of another day there"),
    (None, None, {}, "expected --weights")])
def test_another_backbone_is_refused_with_what_differs(open_for, name, weights, changed, said):
    with pytest.raises(UserError, match=said):
        open_for(name, weights, changed)
