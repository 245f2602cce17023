"""The command line of extraction, and the disk it writes to."""
import errno
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from data.errors import UserError
from extract.command import main
from tests.extraction import BACKBONE, dataset, one_matcher, run, snapshot, snapshot_of_run  # noqa: F401


def test_help_is_quick_and_lists_every_flag_of_the_contract():
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "extract", "--help"], capture_output=True,
                          text=True, check=True)
    assert not re.search(r"\| +(torch|numpy|h5py|spacy|PIL)$", done.stderr, re.MULTILINE)
    for flag in ("weights", "backbone", "precision", "resize", "thumbnails", "photos", "words", "words-from", "limit",
                 "retry", "exact", "rehash", "shard-rows", "rank", "world"):
        assert f"--{flag} " in done.stdout or f"--{flag}\n" in done.stdout


def test_bad_input_is_one_sentence_and_exit_code_two(tmp_path):
    done = subprocess.run([sys.executable, "-m", "extract", "--data", str(tmp_path / "nowhere"), "--out",
                           str(tmp_path / "f"), "--weights", "random"], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "nowhere" in done.stderr
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("flags, message", [
    (["--world", "2", "--rank", "2"], "rank"), (["--words", "../x"], "plain name"),
    (["--thumbnails", "-1"], "thumbnails"),
    (["--max-bad", "2"], "max-bad"), (["--limit", "0"], "limit")])
def test_flags_out_of_range_are_refused(tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        main(["--data", str(tmp_path), "--out", str(tmp_path / "f"), *flags])


@pytest.mark.parametrize("world", [1, 2])
def test_a_mount_without_file_locks(dataset, tmp_path, monkeypatch, world):
    before = snapshot_of_run(dataset, tmp_path)

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr("fcntl.flock", refuse)
    for rank in range(world):
        main(["--data", str(dataset), "--out", str(tmp_path / "g"), "--backbone", BACKBONE, "--weights", "random",
              "--batch-size", "4", "--shard-rows", "8", "--world", str(world), "--rank", str(rank)])
    assert snapshot(tmp_path / "g") == before
    assert not [path for path in (tmp_path / "g/.local").iterdir() if "lock" in path.name or "finishing" in path.name]


def test_a_shard_is_read_back_from_the_disk(dataset, tmp_path, monkeypatch):
    from extract.folder import writer
    said = []

    def note(module, name, word):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *arguments: said.append(word) or real(*arguments))
    note(os, "fsync", "synced")
    note(os, "posix_fadvise", "forgotten")
    note(writer, "map_shard", "read back")
    note(os, "replace", "renamed")
    arrays = {"feature": np.zeros((2, 4), np.float16), "photo_id": np.array([b"a", b"b"]),
              "content": np.zeros((2, 32), np.uint8), "status": np.zeros(2, np.uint8)}
    writer.publish_shard(tmp_path, "photos/00000.h5", "photos", arrays, 2)
    assert said[:3] == ["synced", "forgotten", "read back"] and "renamed" in said[3:]


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "RANK", "LOCAL_RANK"])
def test_a_place_among_processes_that_is_no_number_is_said(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "two")
    with pytest.raises(UserError, match=f"expected a whole number in the environment's {variable}.*found 'two'; unset"):
        main(["--data", str(tmp_path), "--out", str(tmp_path / "f")])
