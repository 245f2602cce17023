"""Settings by flag and file: what wins, what is refused, and with which words."""
import re
from dataclasses import fields

import pytest

from data.__main__ import main as data
from data.errors import UserError, run_command
from evaluate.__main__ import main as evaluate
from extract.command import main as extract_main
from train.config import PRESETS, TrainConfig, list_differences, make_config
from train.settings import make_parser, read_command, read_settings


def extract(argv):
    return run_command(lambda: extract_main(argv))


PLACES = ["--features", "f", "--out", "r"]


def test_flags_win_over_the_file_the_file_over_the_preset_and_the_preset_over_the_defaults(tmp_path):
    path = tmp_path / "wide.toml"
    path.write_text('preset = "small"\nlr = 5e-4\nhidden_dim = 320\nuse_text = false\nclip = 2\n')
    config = read_command([*PLACES, "--config", str(path), "--lr", "0.01", "--no-use-attention"]).config
    assert (config.lr, config.hidden_dim, config.use_text, config.use_attention) == (0.01, 320, False, False)
    assert config.decoder_dim == PRESETS["small"]["decoder_dim"] != TrainConfig.decoder_dim
    assert config.clip == 2.0 and config.weight_decay == TrainConfig.weight_decay


def test_the_defaults_are_the_documented_ones():
    config = make_config({"preset": "paper"})
    assert (config.lr, config.beta1, config.beta2, config.weight_decay) == (1e-4, 0.9, 0.999, 1e-5)
    assert (config.batch_size, config.epochs, config.plateau_patience, config.plateau_factor) == (16, 10, 5, 0.5)
    assert (config.clip, config.early_stopping, config.seed, config.missing) == (1.0, 10, 42, "drop")
    assert (config.image_weight, config.text_weight, config.tag_weight) == (1.0, 1.0, 0.3)


def test_paper_adds_nothing_to_the_original():
    """Of all switches it has on what the original has; every share and every further weight is 0."""
    config = make_config({"preset": "paper"})
    on = {setting.name for setting in fields(config) if getattr(config, setting.name) is True}
    assert on == {"use_photos", "use_text", "use_attention", "use_tag_embedding", "undescribed_negatives"}
    for name in ("few_dropout", "context_dropout", "contrastive_weight", "word_dropout", "synonym_swaps",
                 "scheduled_sampling", "curriculum", "rare_as_unknown", "steps", "patience_steps"):
        assert getattr(config, name) == 0, name


def test_every_setting_has_a_flag_with_its_meaning():
    text = make_parser().format_help()
    for name in TrainConfig.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text


@pytest.mark.parametrize("command, flags, message", [
    (extract, ["verfy", "f"], "unknown command 'verfy': did you mean 'verify'?; see: python -m extract --help"),
    (extract, ["--dta", "d", "--out", "f"], "unknown argument '--dta': did you mean '--data'?"),
    (extract, ["--data", "d", "--ot", "f"], "unknown argument '--ot': did you mean '--out'?"),
    (extract, ["--data", "d", "--out", "f", "--thumbnials=3"], "'--thumbnials=3': did you mean '--thumbnails'?"),
    (extract, ["verify", "f", "--ful"], None), (extract, ["verify", "f", "--fulll"], "did you mean '--full'?; see: "
                                                "python -m extract verify --help"),
    (extract, ["--data", "d", "--out", "f", "--device", "cud"], "invalid choice: 'cud'.*did you mean 'cuda'?"),
    (extract, ["--out", "f"], "the following arguments are required: --data"),
    (data, ["chekc"], "invalid choice: 'chekc'.*did you mean 'check'?"),
    (data, ["check", "d", "--sede", "1"], "'--sede': did you mean '--seed'?; see: python -m data check --help"),
    (data, ["storyworld", "--otu", "d"], "'--otu': did you mean '--out'?; see: python -m data storyworld --help"),
    (evaluate, ["compre", "a", "b"], "unknown command 'compre': did you mean 'compare'?"),
    (evaluate, ["--run", "r", "--splt", "val"], "'--splt': did you mean '--split'?"),
    (evaluate, ["--rn", "r"], "'--rn': did you mean '--run'?"),
])
def test_every_command_names_the_nearest_flag_and_command(command, flags, message, capsys):
    assert command(flags) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search((message or "found none").replace("?", r"\?"), said), said


@pytest.mark.parametrize("flags, message", [
    (["--learning-rate", "1"], r"'--learning-rate': did you mean '--lr'"),
    (["--no-text"], r"did you mean '--no-use-text'"),
    (["--zzz", "red"], r"unknown argument '--zzz'; see"),
    (["--batchsize", "4"], r"did you mean '--batch-size'"),
    (["--lr", "fast"], r"--lr: invalid float value: 'fast'"),
    (["--lr", "0"], r"lr: expected more than 0, found 0.0"),
    (["--lr", "nan"], r"lr: expected more than 0, found nan"),
    (["--dropout", "1"], r"dropout: expected at least 0 and below 1"),
    (["--preset", "huge"], r"--preset: invalid choice: 'huge'"),
    (["--hidden-dim", "100", "--attention-heads", "8"], r"multiple of attention_heads, found 100 and 8"),
    (["--no-use-text", "--no-use-photos"], r"use_photos and use_text both off"),
    (["--task", "tell", "--no-use-photos"], r"task tell"),
    (["--preset=paper", "--image-weight", "0", "--text-weight", "0", "--tag-weight", "0"], r"every loss weight at 0"),
    (["--scheduled-sampling", "0.2", "--text-weight", "0"], r"scheduled_sampling.*text_weight"),
    (["--task", "tell", "--contrastive-weight", "0.5"], r"task tell.*leave --contrastive-weight out"),
    (["--task", "tell", "--text-weight", "0", "--tag-weight", "0"], r"every loss weight at 0"),
    (["--task", "tell", "--word-attention"], r"word_attention: expected captions that are read, found task tell"),
    (["--no-use-text", "--synonym-swaps", "0.1"], r"synonym_swaps: expected captions.*use_text False"),
    (["--word-dropout", "1.5"], r"word_dropout: expected at least 0 and at most 1"),
])
def test_what_is_wrong_is_said_in_one_sentence(flags, message):
    with pytest.raises(UserError, match=message):
        read_command([*PLACES, *flags])


def test_a_place_that_is_not_named_is_asked_for():
    with pytest.raises(UserError, match="--features"):
        read_command(["--out", "r"])
    with pytest.raises(UserError, match="--out"):
        read_command(["--features", "f"])


@pytest.mark.parametrize("text, message", [
    ("hiden_dim = 3", "'hiden_dim'.*did you mean 'hidden_dim'"), ("lr = 'x'", "lr.*expected float, found 'x'"),
    ("seed = true", "seed.*expected int, found True"), ("lr = ", "TOMLDecodeError"), ("[model]\nlr = 1", "'model'")])
def test_a_file_of_settings_is_not_trusted(tmp_path, text, message):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_settings(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="none.toml, found no such file"):
        read_settings(tmp_path / "none.toml")


def test_settings_that_change_no_weight_are_no_difference():
    assert list_differences(make_config({}), make_config({"wandb": "x", "keep_every": 3, "device": "cpu"})) == []
    assert list_differences(make_config({"lr": 0.1}), make_config({"lr": 0.5})) == ["lr: 0.1 there, 0.5 here"]
