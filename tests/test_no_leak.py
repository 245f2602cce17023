"""What is predicted for frame t+1 never depends on frame t+1: the folder is overwritten there and nothing moves."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.files import sha256_file
from data.folder.folder import Features
from data.folder.shards import map_shard, write_shard
from data.words.tokens import END, PAD, START
from tests.tiny_text_encoder import add_text_features
from tests.tiny_training import SIZES
from train.batches import StoryDataset
from train.config import make_config
from train.model.text import Context
from train.run_folder.runs import build_model, measure_sizes
from train.start.beginnings import begin_on_ngrams
from train.start.statistics import measure_covariance, measure_features
from train.writing.captions import write_captions
from train.writing.config import WritingConfig


def rewrite(folder: Path, name: str, kind: str, change) -> None:
    """Replace a shard by a changed one and say so in the manifest."""
    arrays = {field: np.array(array) for field, array in map_shard(folder / name, kind).items()}
    change(arrays)
    (folder / name).unlink()
    write_shard(folder / name, kind, arrays)
    manifest = json.loads((folder / "manifest.json").read_text())
    for shards in manifest["shards"].values():
        for shard in shards:
            if shard["name"] == name:
                shard |= {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def overwrite_frame(folder: Path, frame: int, same_length: bool, photos: bool = True) -> None:
    """Other words and tags in one frame of every test story, and other features."""
    random = np.random.default_rng(9)

    def change_words(arrays):
        token, tag = arrays["token"][:, frame], arrays["tag"][:, frame]
        for row in token:
            length = int((row != PAD).sum())
            if not same_length:
                length = int(random.choice([size for size in range(3, 24) if size != length]))
            row[:] = PAD
            row[:length] = [START, *random.integers(4, 20, length - 2), END]
        tag[:] = random.integers(0, 2, tag.shape)

    def change_photos(arrays):
        chosen = np.char.endswith(arrays["photo_id"], str(frame).encode())
        arrays["feature"][chosen] = random.standard_normal((int(chosen.sum()), arrays["feature"].shape[1])) * 9

    def change_text(arrays):
        arrays["feature"][:, frame] = random.standard_normal(arrays["feature"][:, frame].shape) * 9

    rewrite(folder, "words/default/test-00000.h5", "words", change_words)
    if (folder / "words/default/text-test-00000.h5").exists():
        rewrite(folder, "words/default/text-test-00000.h5", "text", change_text)
    for path in sorted((folder / "photos").glob("*.h5")) * photos:
        rewrite(folder, f"photos/{path.name}", "photos", change_photos)


@torch.inference_mode()
def predict(model, folder: Path) -> dict[str, torch.Tensor | list]:
    text = model.text_vectors is not None
    batch = StoryDataset(Features.open(folder), "test", missing="mask", text=text).__getitems__(range(6))
    outputs = model(batch)
    written = write_captions(model.text_decoder, Context.of(outputs).flatten(), WritingConfig(max_words=12))
    words = torch.tensor([(list(row.token_ids) + [PAD] * 12)[:12] for row in written])
    return {"predicted feature": outputs["predicted_features"], "query": outputs["query_features"],
            "next-tag logits": outputs["next_logits"], "first-word logits": outputs["caption_logits"][:, :, 0],
            "written": words.unflatten(0, (6, -1)), "seen-tag logits": outputs["seen_logits"]}


def make_model(folder: Path, **settings):
    """A model whose every part tells something."""
    features, config = Features.open(folder), make_config({**settings, **SIZES})
    dataset = StoryDataset(features, "train")
    torch.manual_seed(0)
    model = build_model(config, measure_sizes(config, features.width, dataset.words)).eval()
    model.set_statistics(*measure_features(features, dataset.photo_rows(), config.std_floor))
    carried = model.photo_carry.buffers() if model.photo_carry else []
    for value in [*model.parameters(), *carried]:  # what begins at zero must be able to tell
        if not value.any():
            torch.nn.init.normal_(value, std=0.3)
    begin_on_ngrams(model, dataset, dataset)
    if model.photo_query is not None:
        model.photo_query.fit(measure_covariance(model, features, dataset.photo_rows()))
        model.photo_query.is_used.fill_(1)
    if model.text_decoder.ngrams is not None:
        model.text_decoder.ngram_share.fill_(0.4)
    return model


@pytest.mark.parametrize("settings", [{"preset": "paper"}, {"preset": "base"},
                                      {"preset": "paper", "text_features": "instead"},
                                      {"preset": "base", "text_features": "beside"}])
@pytest.mark.parametrize("same_length", [True, False])
@pytest.mark.parametrize("frame", [1, 2, 3, 4])
def test_a_frame_overwritten_in_the_folder_leaves_its_prediction_alone(make_features, frame, same_length, settings):
    folder = add_text_features(make_features())
    model = make_model(folder, **settings)
    before = predict(model, folder)
    overwrite_frame(folder, frame, same_length)
    after = predict(model, folder)
    del before["seen-tag logits"]  # of the frame itself: they read its photo
    for name, value in before.items():
        if same_length or name == "written":
            assert torch.equal(value[:, :frame], after[name][:, :frame]), name
        else:
            torch.testing.assert_close(value[:, :frame], after[name][:, :frame], atol=1e-5, rtol=0)
        if frame < 4 and name != "written":
            assert not torch.equal(value[:, frame:], after[name][:, frame:]), f"{name}: the overwriting did nothing"


@pytest.mark.parametrize("preset", ["paper", "base"])
@pytest.mark.parametrize("same_length", [True, False])
@pytest.mark.parametrize("frame", [0, 2, 4])
def test_a_sentence_overwritten_in_the_folder_leaves_what_is_told_of_its_photo_alone(make_features, frame, same_length,
                                                                                     preset):
    """Its tags too are overwritten, and move nothing at all; the sentences after it may read it."""
    folder = make_features()
    model = make_model(folder, preset=preset, task="tell")
    before = predict(model, folder)
    overwrite_frame(folder, frame, same_length, photos=False)
    after = predict(model, folder)
    for name, value in before.items():
        told = slice(None) if "tag" in name else slice(frame + 1)
        torch.testing.assert_close(value[:, told], after[name][:, told], rtol=0, atol=0 if same_length else 1e-5)
    if preset == "base" and frame < 4:
        assert not torch.equal(before["first-word logits"][:, frame + 1:], after["first-word logits"][:, frame + 1:])
