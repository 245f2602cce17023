"""verify: what is wrong with a folder is seen, and said with what to do."""
import json
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError, run_command
from data.files import sha256_file, write_text
from data.folder.folder import Features
from data.folder.identity import identify
from data.folder.manifest import is_sealed, load_manifest
from data.folder.shards import fixed_bytes, map_shard, write_shard
from extract.command import main
from extract.verification.verify import verify_folder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(make_features):
    """A whole folder with a card, as somebody else would get it."""
    root = make_features(bad_photos=(2,))
    files = {name: sha256_file(write_text(root / name, f"{name}\n")) for name in ("README.md", "skipped.csv")}
    replace(load_manifest(root), files=files).save(root)
    return root


def found(root, full=False):
    """The damage, as one text."""
    return "\n".join(f"{finding.where}: {finding.found}" for finding in verify_folder(root, full).damaged)


def rewrite(root, group, change, number=0):
    """Change arrays of a shard and publish it as a careless writer would: with the right size and sha256."""
    manifest = load_manifest(root)
    shard = manifest.shards[group][number]
    kind = "words" if group.startswith("words/") else group
    arrays = {name: array.copy() for name, array in map_shard(root / shard.name, kind).items()}
    change(arrays)
    path = write_shard(root / shard.name, kind, arrays)
    shards = list(manifest.shards[group])
    shards[number] = replace(shard, bytes=path.stat().st_size, sha256=sha256_file(path))
    replace(manifest, shards={**manifest.shards, group: tuple(shards)}).save(root)


def flip(path, position=None, bit=0):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 1 << bit
    path.write_bytes(bytes(content))


def published(root):
    return sorted(path for path in root.rglob("*") if path.is_file() and ".local" not in path.parts)


def test_a_whole_folder_is_clean(folder, capsys):
    for full in (False, True):
        assert verify_folder(folder, full).findings == []
    main(["verify", str(folder), "--full"])
    assert verify_folder(folder).facts["photos"] == "60 rows in 8 shards; 1 missing, 0 unreadable, 0 too large"
    assert "photos         60 rows" in capsys.readouterr().out


def test_any_flipped_bit_is_seen(folder):
    choose = random.Random(0)
    for path in published(folder):
        whole = path.read_bytes()
        head = range(min(len(whole), 3000))  # where HDF5 keeps its headers
        positions = choose.sample(head, 3) + choose.sample(range(len(whole)), 2)
        for position in positions:
            flip(path, position, choose.randrange(8))
            assert found(folder, full=True), (path.name, position)
            path.write_bytes(whole)
    assert not found(folder, full=True)


def test_any_flipped_bit_of_the_manifest_breaks_its_seal(folder):
    path = folder / "manifest.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 31):
        flip(path, position, position % 8)
        assert not is_sealed(folder), position
        path.write_bytes(whole)
    assert is_sealed(folder)


def set_row(name, row, value):
    def change(arrays):
        arrays[name][row] = value
    return change


def rename_photo(name):
    def change(arrays):
        arrays["photo_id"] = fixed_bytes([name, *(other.decode() for other in arrays["photo_id"][1:])])
    return change


@pytest.mark.parametrize("group, change, message", [
    ("photos", set_row("feature", (1, 3), np.nan), "finite numbers, found otherwise in 1 of 8 rows, first in row 1"),
    ("photos", set_row("feature", (1, 3), -np.inf), "finite numbers"),
    ("photos", set_row("feature", 4, 0), "a feature where the status is ok"),
    ("photos", set_row("feature", 2, 1), "zeros where the status is not ok"),
    ("photos", set_row("status", 2, 9), "a status from 0 to 3"),
    ("photos", set_row("content", 5, 0), "the sha256 of the file"),
    ("photos", set_row("content", 5, 7), "the source identity"),
    ("photos", rename_photo("../../etc/passwd"), "plain photo ids"),
    ("photos", rename_photo("train0001"), "every photo id once"),
    ("words/default/train", set_row("token", (3, 2, 0), 5), "<START> first.*first in story 'train-3'"),
    ("words/default/train", set_row("token", (3, 2, 1), 20), "token ids below the vocabulary's 20"),
    ("words/default/train", set_row("token", (3, 2, 29), 7), "one <END> and padding after it alone"),
    ("words/default/train", set_row("token", (3, 2, 2), 1), "<START> nowhere but first"),
    ("words/default/train", set_row("tag", (0, 0, 0), 1), "column 0 unset"),
    ("words/default/train", set_row("tag", (0, 0), 0), "column 1 set where there is no other"),
    ("words/default/train", set_row("tag_source", (0, 0), 2), "labels from the caption"),
    ("words/default/train", set_row("photo", (0, 4), 60), "photo rows from 0 to 59"),
    ("words/default/train", set_row("photo", (0, 4), -1), "photo rows from 0 to 59"),
    ("words/default/train", set_row("story_id", 1, b"train-0"), "every story once"),
    ("words/default/train", set_row("album_id", 1, b"../up"), "plain names as album_id"),
    ("words/default/train", set_row("offset", 3, 1), "caption offsets that rise"),
    ("words/default/train", set_row("caption", 3, 0xFF), "UTF-8"),
])
def test_what_cannot_be_is_seen_without_hashing(folder, group, change, message):
    rewrite(folder, group, change)
    assert re.search(message, found(folder))


def test_a_swapped_a_truncated_and_a_missing_shard(folder):
    first, second, third = (folder / f"photos/0000{number}.h5" for number in (0, 1, 3))
    whole = first.read_bytes()
    shutil.move(first, folder / "x")
    shutil.move(second, first)
    shutil.move(folder / "x", second)
    assert "holds what belongs into photos/00001.h5" in found(folder, full=True)
    second.write_bytes(whole[:-5000])
    third.unlink()
    text = found(folder)
    assert "photos/00001.h5: expected" in text and "photos/00003.h5: expected" in text and "no such file" in text


def test_a_shard_of_another_folder_is_seen_by_its_photos(folder, make_features):
    other = make_features("other", seed=1, bad_photos=(2,))
    content = set_row("content", 0, 9)
    rewrite(other, "photos", content)
    shutil.copy(other / "photos/00000.h5", folder / "photos/00000.h5")
    assert "source identity" in found(folder)
    assert "photos/00000.h5: expected sha256" in found(folder, full=True)


@pytest.mark.parametrize("name, text, message", [
    ("vocabulary.json", '{"words": ["<PAD>", "<START>", "<END>", "<UNK>", "a", "a"]}', "sha256"),
    ("vocabulary.json", '{"words": 1}', "list of strings"),
    ("vocabulary.json", '{"words": ' + "[" * 100_000, "JSON"),
    ("vocabulary.json", '{"words": ' + "9" * 5000 + "}", "JSON"),
    ("tags.json", '{"names": [], "categories": {}}', "sha256"),
    ("tags.json", None, "no such file"),
])
def test_a_changed_vocabulary_or_tag_list_is_refused(folder, name, text, message):
    path = folder / "words/default" / name
    path.unlink() if text is None else path.write_text(text)
    assert f"words/default/{name}: " in found(folder) and message in found(folder)


def test_a_huge_file_is_refused_unread(folder):
    path = folder / "words/default/vocabulary.json"
    with open(path, "wb") as file:
        file.truncate(1 << 34)  # 16 GB of nothing, no block of it on the disk
    assert "expected at most" in found(folder, full=True)
    with pytest.raises(UserError, match="of at most 67108864 bytes"):
        Features.open(folder).words().vocabulary
    with open(folder / "manifest.json", "wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(UserError, match="of at most 268435456 bytes"):
        Features.open(folder)


def test_links_out_of_the_folder_are_refused(folder, tmp_path):
    shutil.move(folder / "words", tmp_path / "elsewhere")
    (folder / "words").symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in found(folder)
    with pytest.raises(UserError, match="symbolic link"):
        Features.open(folder).words().tag_names


def test_identities_are_recomputed_from_their_fields(folder):
    manifest = load_manifest(folder)
    forged = {"id": manifest.recipe["id"], "fields": {**manifest.recipe["fields"], "backbone": "other"}}
    replace(manifest, recipe=forged).save(folder)
    assert "recipe identity" in found(folder)
    mended = identify(forged["fields"])
    replace(manifest, recipe=mended).save(folder)
    assert not found(folder)


@pytest.mark.parametrize("fields", [{}, {"version": 1, "mean": float("nan")}, {"version": [1] * 3, "size": 10**40}])
def test_an_identity_of_strange_fields_is_damage_and_no_crash(folder, fields):
    manifest = load_manifest(folder)
    replace(manifest, recipe={**manifest.recipe, "fields": fields}).save(folder)
    assert "recipe identity" in found(folder)


@pytest.mark.parametrize("command", ["plan", "verify", "inspect", "gc"])
def test_help_of_each_command_imports_nothing_heavy(command):
    code = ("import sys\nfrom extract.command import main\ntry:\n    main([sys.argv[1], '--help'])\n"
            "except SystemExit as stop:\n    assert not stop.code\n"
            "assert not {'torch', 'numpy', 'h5py', 'PIL', 'matplotlib'} & set(sys.modules)")
    result = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0 and "FEATURES" in result.stdout, result.stderr


def test_foreign_and_unnamed_files_are_listed_as_warnings(folder):
    (folder / "notes.txt").write_text("x")
    (folder / "photos/.00009.h5.12-ab.part").write_text("x")
    shutil.copy(folder / "photos/00000.h5", folder / "photos/00000-1.h5")
    report = verify_folder(folder)
    assert not report.damaged
    assert {finding.where: finding.remedy.partition(":")[0] for finding in report.findings} == {
        "notes.txt": "move it away", "photos/.00009.h5.12-ab.part": "python -m extract gc",
        "photos/00000-1.h5": "if no extraction is to go on"}


def test_damage_ends_with_exit_code_two_and_one_sentence(folder, capsys):
    flip(folder / "photos/00001.h5")
    assert run_command(lambda: main(["verify", str(folder), "--full"])) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and "photos/00001.h5" in err
    assert "get the folder again" in out and (folder / "photos/00001.h5").exists()
    assert run_command(lambda: main(["verify", str(folder), "--full", "--json"])) == 2
    report = json.loads(capsys.readouterr().out)
    assert not report["clean"] and [finding["file"] for finding in report["findings"]] == ["photos/00001.h5"]
    assert run_command(lambda: main(["verify", str(folder / "nowhere")])) == 2


def test_what_a_stranger_wrote_reaches_the_terminal_as_text(folder, capsys):
    manifest = load_manifest(folder)
    evil = "\x1b]0;owned\x07\x1b[2J\u202egpj\ud800\r\n"
    rewrite(folder, "photos", set_row("photo_id", 0, b"\x1b[2Jevil"))
    (folder / "\x1b[31mred").write_text("x")
    replace(load_manifest(folder), recipe=manifest.recipe | {"fields": {"version": 1, "backbone": evil[:-3]}}
            ).save(folder)
    assert run_command(lambda: main(["verify", str(folder)])) == 2
    text = "".join(capsys.readouterr())
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\x1b[31mred" in text and "\\x1b]0;owned" in text
    assert run_command(lambda: (_ for _ in ()).throw(UserError(evil))) == 2
    assert capsys.readouterr().err == "error: \\x1b]0;owned\\x07\\x1b[2J\\u202egpj\\ud800\n"
