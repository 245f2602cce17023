"""A features folder from a stranger who sealed it well: training and evaluation refuse it or work, nothing else."""
import copy
import json
import random
import sys

import pytest
import torch

from data.errors import UserError
from data.files import format_json
from data.files import seal as sha256_over
from data.folder.folder import Features
from data.folder.manifest import is_sealed
from evaluate.config import EvalConfig
from evaluate.evaluation.evaluation import Evaluation
from tests.tiny_runs import TINY, write_run
from train.config import make_config
from train.distributed import World
from train.prepare import open_splits, resolve

STRANGE = ("null", "[]", "{}", '"x"', '"../../outside.h5"', '"/etc/passwd"', "-1", "0", "7", "1e999", "NaN", "1" * 80,
           "true", "0.5", r'"\u0000"', '{"a": [1]}', '[{"content": "' + "0" * 64 + '", "photos": 5, "albums": 5}]')
ROUNDS = 8
opened: list[str] = []


def list_places(value, place=()):
    """Where every value of a JSON value is: keys from the top."""
    yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from list_places(inner, (*place, key))


def seal(folder, text):
    """Write a changed manifest with the sha256 that belongs to it, as its author would."""
    value = json.loads(text)
    if isinstance(value, dict):
        value.pop("sha256", None)
        text = format_json({**value, "sha256": sha256_over(value)})
    (folder / "manifest.json").write_text(text)


def spoil(whole, place, value):
    """The manifest's JSON with another value at a place."""
    manifest = copy.deepcopy(whole)
    holder = manifest
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = "here"
    return json.dumps(manifest).replace('"here"', value)


def open_for_training(folder):
    """Open a folder as far as the first batch of train and val."""
    features = Features.open(folder)
    config, train, val = open_splits(make_config(TINY), features)
    resolve(config, features, len(train), World(0, 1, torch.device("cpu")))
    return [part.__getitems__([0]) for part in (train, val) if part is not None and len(part)]


def watch(event, arguments):
    if event == "open" and ("outside" in str(arguments[0]) or "passwd" in str(arguments[0])):
        opened.append(str(arguments[0]))


def test_a_sealed_manifest_may_say_anything(make_features, tmp_path):
    folder = make_features(stories={"train": 4, "val": 2, "test": 2})
    run = write_run(tmp_path / "run", folder)
    (tmp_path / "outside.h5").write_bytes(b"not to be read")
    whole = json.loads((folder / "manifest.json").read_text())
    choose = random.Random(0)
    sys.addaudithook(watch)
    opened.clear()
    refused = 0
    for place in [place for place in list_places(whole) if place and place != ("sha256",)] * ROUNDS:
        value = choose.choice(STRANGE)
        seal(folder, spoil(whole, place, value))
        for reader in (open_for_training, lambda path: Evaluation.open(
                EvalConfig(run=run, features=path, device="cpu", baselines=False, meteor=False)).val):
            try:
                reader(folder)
            except UserError as error:
                refused += 1
                assert len(str(error)) < 2000, (place, value)
            except Exception as error:
                pytest.fail(f"{place} = {value}: {type(error).__name__}: {error}")
    assert refused > 50 and not opened
    seal(folder, json.dumps(whole))
    assert is_sealed(folder) and open_for_training(folder)
