"""The Makefile: what it hands on, with a python that says what it was given."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HANDED_ON = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "VENV")  # by a make test VENV=... around this
SAYS = '#!/bin/bash\nprintf "<%s>" "$(basename "$0")" "$@"; echo\n'

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def make(tmp_path):
    for name in ("Makefile", "setup.cfg", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("python", "pip", "torchrun"):
        path = tmp_path / ".venv/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SAYS)
        path.chmod(0o755)

    def call(*words: str) -> list[str]:
        own = {name: value for name, value in os.environ.items() if name not in HANDED_ON}
        done = subprocess.run(["make", *words], cwd=tmp_path, capture_output=True, text=True, env=own)
        return [str(done.returncode), done.stderr, *(line for line in done.stdout.splitlines() if line[:1] == "<"
                                                     and "<-m>" in line)]
    return call


@pytest.mark.parametrize("words, message", [
    (["train", "FEATUERS=f"], "there is no variable FEATUERS: did you mean FEATURES?"),
    (["eval", "Run=r"], "there is no variable Run: did you mean RUN?"),
    (["features", "DTAA=d"], "there is no variable DTAA: did you mean DATA?"),
    (["demo", "ZZZ="], "there is no variable ZZZ"),
    (["train", "NPROC=0"], "expected NPROC as a number of processes from 1 on, found 0"),
    (["features", "NPROC=abc"], "expected NPROC as a number of processes from 1 on, found abc"),
    (["fetch"], "make fetch needs DATA="),
    (["features", "NPROC=2 3"], "expected NPROC as a number of processes from 1 on, found 2 3"),
])
def test_a_misspelt_variable_or_number_ends_in_one_sentence(make, words, message):
    code, said, *ran = make(*words)
    assert code == "2" and message in said and said.count("\n") == 1 and not ran


def test_paths_with_blanks_and_quotes_are_one_word(make):
    *_, ran = make("features", "DATA=/my photos/o'brien/", "WEIGHTS=w 1.pth", "ARGS=--exact --views 2")
    assert ran == ("<python><-m><extract><--data></my photos/o'brien/><--out><artifacts/o'brien/features>"
                   "<--weights><w 1.pth><--exact><--views><2>")
    *_, ran = make("fetch", "DATA=/my photos/o'brien", "ARGS=--per-host 2")
    assert ran == "<python><-m><data><fetch></my photos/o'brien><--per-host><2>"
    *_, ran = make("train", "FEATURES=/my disk/a b/features", "TASK=tell", "NPROC=2")
    assert ran == ("<torchrun><--standalone><--nproc-per-node><2><-m><train><--features></my disk/a b/features><--out>"
                   "</my disk/a b/run><--preset><base><--task><tell>")
    *_, ran = make("eval", "FEATURES=/my disk/a b", "DATA=/my photos")
    assert ran == ("<python><-m><evaluate><--run><artifacts/a b/run><--features></my disk/a b><--split><test><--data>"
                   "</my photos>")
    *_, ran = make("app", "FEATURES=/my disk/a b", "ARGS=--port 0")
    assert ran == "<python><-m><evaluate><app><--run><artifacts/a b/run><--features></my disk/a b><--port><0>"


def test_what_was_made_last_is_what_is_trained_and_evaluated(make):
    *_, ran = make("train")
    assert "<--features><artifacts/storyworld/features><--out><artifacts/storyworld/run><--preset><small>" in ran
    make("features", "DATA=/photos/x y", "FEATURES=/disk/y z/features")
    for words in (["train"], ["train", "DATA=/photos/x y"]):
        *_, ran = make(*words)
        assert "<--features></disk/y z/features><--out></disk/y z/run><--preset><base>" in ran
    *_, ran = make("eval")
    assert "<--run></disk/y z/run><--features></disk/y z/features>" in ran
    *_, ran = make("train", "DATA=/photos/other")
    assert "<--features><artifacts/other/features><--out><artifacts/other/run>" in ran
    *_, ran = make("features", "DATA=/photos/x y")
    assert "<--out><artifacts/x y/features>" in ran
    *_, ran = make("train")
    assert "<--features><artifacts/x y/features>" in ran
    *_, ran = make("features")
    assert "<--data><artifacts/storyworld/data><--out><artifacts/storyworld/features>" in ran


def test_what_was_pulled_is_what_is_trained_on(make):
    *_, ran = make("pull", "URL=https://host/my set/features/?key=x", "SPLITS=train val", "ARGS=--leave-out thumbs")
    assert ran == ("<python><-m><extract><pull><https://host/my set/features/?key=x><artifacts/my set/features>"
                   "<--splits><train><val><--leave-out><thumbs>")
    *_, ran = make("train")
    assert "<--features><artifacts/my set/features><--out><artifacts/my set/run><--preset><base>" in ran
    *_, ran = make("pack", "SPLITS=val")
    assert ran == "<python><-m><extract><pack><artifacts/my set/features><--splits><val>"
    *_, ran = make("push", "URL=s3://bucket/f")
    assert ran == "<python><-m><extract><push><artifacts/my set/features><s3://bucket/f>"
    *_, ran = make("pull", "URL=other/books.tar")
    assert ran == "<python><-m><extract><pull><other/books.tar><artifacts/books/features>"


def test_every_target_has_a_rule(make):
    """A phony target without one does nothing and exits 0, as if all were well."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    phony = re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE)[0].split()
    assert "test-gpu" in phony
    assert not set(phony) - set(re.findall(r"^([\w-]+):", text, re.MULTILINE))
    assert make("test-gpu")[-1] == "<python><-m><pytest><-q><-m><gpu><-rs><--timeout><600>"


def test_the_demo_calls_itself(make):
    code, said, *ran = make("demo")
    assert code == "0" and [line.split("><")[2] for line in ran] == ["data", "extract", "train", "evaluate"], said
