"""python -m data: what it prints, and how it ends on bad input."""
import subprocess
import sys
from pathlib import Path

import pytest

from data.__main__ import main
from data.check import check_data
from tests.annotation_files import make_story, write_descriptions, write_stories

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path):
    write_stories(tmp_path, "train", make_story("a", "x") + make_story("b", "x") + make_story("bad", "x")[:3]
                  + make_story("worse", "x/y"))
    write_stories(tmp_path, "test", make_story("c", "y"))
    write_descriptions(tmp_path, "train", [("x-0", "a cat .")])
    for name in ("x-0.jpg", "deep/x-1.PNG", "stranger.gif", "notes.txt"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"any bytes: no photo is opened")
    return tmp_path


def cells(text, head):
    [line] = [line for line in text.splitlines() if line.startswith(head)]
    return line.split()


def test_splits_photos_causes_words_and_tags_are_told(folder):
    text = check_data(folder)
    assert cells(text, "train ") == "train 2 1 5 3 10 4.6 0 0 % 40.0 % 20.0 %".split()
    assert cells(text, "val ") == ["val", "none"]
    assert cells(text, "test ") == "test 1 1 5 5 5 4.6 0 0 % 40.0 % 0 %".split()
    assert "photos: 10 named by stories, 2 found, 1 more in the folder that no story names" in text
    assert "missing: x-2, x-3, x-4, y-0, y-1 ..." in text
    assert "5 stand in more than one story (50.0 %; up to 2 stories)" in text
    assert cells(text, "  photo  id is no plain name")[:7] == "photo id is no plain name 5".split()
    assert cells(text, "  story  id is no plain name")[:7] == "story id is no plain name 1".split()
    assert "not five frames" in text and "first: train bad: expected 5 frames, found 3 (order 0, 1, 2)" in text
    assert "vocabulary: 22 words with the 4 reserved ones, counted over train; most frequent: ., " in text
    assert "dog 20.0 %" in text and "cat 13.3 %" in text
    assert cells(text, "  never ")[:3] == ["never", "person", "car"]
    assert "  train: 2 stories left out of 4 (first: bad, not five frames)" in text
    assert text.endswith(f"next: make features DATA={folder}")


def test_the_command_prints_it_and_ends_well(folder, capsys):
    assert main(["check", str(folder)]) == 0
    assert "left out: 7" in capsys.readouterr().out


def test_a_table_of_ones_own_can_be_tried_on_the_captions(folder, tmp_path, capsys):
    table = tmp_path / "table.json"
    table.write_text('{"format": 1, "names": ["<PAD>", "<UNK>", "fun"], '
                     '"tags": {"fun": {"category": "mood", "forms": ["fun"]}}}')
    assert main(["check", str(folder), "--tag-table", str(table)]) == 0
    assert cells(capsys.readouterr().out, "  mood") == ["mood", "fun", "20.0", "%"]


@pytest.mark.parametrize("argv, said", [
    (["check", "nowhere"], "expected a data folder at nowhere, found nothing"),
    (["check"], "the following arguments are required: DATA; see: python -m data check --help"),
    (["chekc"], "invalid choice: 'chekc'"), ([], "arguments are required: COMMAND"),
    (["storyworld"], "arguments are required: --out"),
    (["storyworld", "--out", "x", "--tags", "none"], "invalid choice: 'none'"),
    (["storyworld", "--out", "x", "--albums", "0"], "albums: expected 3 to 99999, found 0"),
    (["storyworld", "--out", "x", "--albums", "many"], "invalid int value: 'many'")])
def test_bad_input_ends_with_2_and_one_sentence(argv, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and said in err
    assert list(tmp_path.iterdir()) == []


def test_as_a_process(folder, tmp_path):
    result = subprocess.run([sys.executable, "-m", "data", "check", str(tmp_path / "none")], cwd=ROOT,
                            capture_output=True, text=True)
    assert result.returncode == 2 and "Traceback" not in result.stderr and result.stderr.count("\n") == 1


def test_looking_at_a_folder_needs_no_torch(folder):
    """spaCy's own base would import it, for seconds; it must stay importable afterwards."""
    code = ("import sys, importlib.util\nfrom data.__main__ import main\n"
            f"assert main(['check', {str(folder)!r}]) == 0\n"
            "assert 'spacy' in sys.modules and 'torch' not in sys.modules\n"
            "assert importlib.util.find_spec('torch')")
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_storyworld_draws_what_check_reads(tmp_path, capsys):
    out = tmp_path / "world"
    assert main(["storyworld", "--out", str(out), "--albums", "3", "--seed", "5", "--workers", "1"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert main(["check", str(out)]) == 0
    text = capsys.readouterr().out
    assert cells(text, "train ")[1:3] == ["5", "1"] and cells(text, "test ")[1:3] == ["5", "1"]
    assert "left out: nothing" in text
