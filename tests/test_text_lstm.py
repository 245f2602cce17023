"""The text-only LSTM: likelihood by steps and in one pass agree, captions before help, and it is trained once."""
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.folder.folder import Features
from data.words.tokens import find_rare_words
from evaluate.__main__ import main
from evaluate.baselines.text_lstm import (
    LSTMConfig,
    TextLSTM,
    choose_config,
    score_text_lstm,
    train_text_lstm,
    write_text_lstm,
)
from evaluate.split import EvaluatedSplit
from tests.tiny_runs import write_run
from train.writing.config import WritingConfig

CONFIG = LSTMConfig(embedding_dim=12, hidden_dim=16, dropout=0.0, lr=5e-2, batch_size=24, epochs=60, patience=60)


@pytest.fixture
def folder(make_features: Callable[..., Path], one_thread: None) -> Path:
    return make_features(stories={"train": 24, "val": 6, "test": 6})


def open_split(folder: Path, name: str) -> EvaluatedSplit:
    return EvaluatedSplit(Features.open(folder), "default", name)


def repeat_one_word(split: EvaluatedSplit) -> None:
    """Make every caption of a story the same single word: known from the first caption on."""
    split.token[:] = 0
    split.token[..., 0], split.token[..., 2] = 1, 2
    split.token[..., 1] = 4 + np.arange(len(split))[:, None] % 4


def test_likelihood_of_a_pass_is_that_of_single_steps(folder):
    split = open_split(folder, "test")
    split.token[0, 1, 2] = 3
    torch.manual_seed(0)
    model = TextLSTM(20, CONFIG).eval()
    found, known = score_text_lstm(model, split, batch_size=4)
    whole = score_text_lstm(model, split, batch_size=4, first=1)[0]
    np.testing.assert_array_equal(whole[:, 1:], found)
    alone = model(model.read(torch.from_numpy(split.token[2, 0].astype(np.int64))[None, :-1])).log_softmax(-1)[0]
    length = int((split.token[2, 0] != 0).sum())
    assert whole[2, 0] == pytest.approx(-sum(alone[place, int(split.token[2, 0, place + 1])].item()
                                             for place in range(length - 1)), rel=1e-5)
    for story, t in ((0, 1), (5, 4)):
        before = np.concatenate([row[row != 0] for row in split.token[story, :t]]).astype(np.int64)
        words = split.token[story, t][split.token[story, t] != 0].astype(np.int64)
        with torch.inference_mode():
            state = model.start(model.states_after(torch.from_numpy(before)[None], torch.tensor([len(before)])))
            total = total_known = 0.0
            for word, following in zip(words[:-1], words[1:]):
                logits, state = model.step(torch.tensor([word]), state)
                surprise = -logits.log_softmax(-1)[0, following].item()
                total, total_known = total + surprise, total_known + surprise * (following != 3)
        assert found[story, t - 1] == pytest.approx(total, rel=1e-5)
        assert known[story, t - 1] == pytest.approx(total_known, rel=1e-5)
    assert (known[0, 0] < found[0, 0]) and known[5, 3] == found[5, 3]


def test_it_learns_from_the_captions_before_and_writes_them(folder):
    train, test = open_split(folder, "train"), open_split(folder, "test")
    repeat_one_word(train)
    repeat_one_word(test)
    model = train_text_lstm(train, None, CONFIG)
    per_token = score_text_lstm(model, test)[0] / 2  # one word and <END>
    assert per_token.max() < 0.4 < np.log(4) / 2  # without reading: one of four words
    written = write_text_lstm(model, test, WritingConfig())
    vocabulary = test.words.vocabulary
    for t in (1, 4):
        assert written[t] == [[vocabulary[4 + story % 4]] for story in range(6)]


def test_without_context_no_caption_knows_of_those_before(folder):
    train, test = open_split(folder, "train"), open_split(folder, "test")
    repeat_one_word(train)
    repeat_one_word(test)
    model = train_text_lstm(train, None, replace(CONFIG, reads_on=False))
    found, known = score_text_lstm(model, test, batch_size=4)
    assert found.shape == (6, 4) and found == pytest.approx(np.log(4), abs=0.3)  # one of four words
    np.testing.assert_array_equal(found, known)
    before = test.token.copy()
    test.token[:, :3] = np.roll(before[:, :3], 1, axis=0)  # captions 1 to 3 of another story
    assert (score_text_lstm(model, test, batch_size=4)[0][:, 2:] == found[:, 2:]).all()
    whole = score_text_lstm(model, test, first=1)[0]
    with torch.inference_mode():
        ids = torch.from_numpy(test.token[5, 4, :3].astype(np.int64))[None]
        alone = torch.nn.functional.cross_entropy(model(model.read(ids[:, :-1]))[0], ids[0, 1:], reduction="sum")
    assert whole[5, 4] == pytest.approx(float(alone), rel=1e-5)


def test_training_is_seeded_keeps_the_best_epoch_and_leaves_the_global_generator(folder):
    train, val = open_split(folder, "train"), open_split(folder, "val")
    config = LSTMConfig(embedding_dim=12, hidden_dim=16, lr=3e-2, batch_size=8, epochs=6, patience=2)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (train_text_lstm(train, val, config) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one, other) for one, other in zip(first.state_dict().values(),
                                                             second.state_dict().values()))
    longer = train_text_lstm(train, val, LSTMConfig(**{**config.__dict__, "epochs": 30}))
    assert score_text_lstm(longer, val)[0].sum() <= score_text_lstm(first, val)[0].sum() + 1e-6


def test_kept_and_taken_up_scores_the_same(folder):
    split = open_split(folder, "test")
    model = TextLSTM(20, LSTMConfig(128, 256)).eval()
    again = TextLSTM.of_arrays(model.arrays(), 20, LSTMConfig(128, 256))
    np.testing.assert_array_equal(score_text_lstm(model, split), score_text_lstm(again, split))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_it_trains_tells_and_scores_on_a_gpu_as_on_a_processor(folder):
    train, val = open_split(folder, "train"), open_split(folder, "val")
    there, here = (train_text_lstm(train, val, CONFIG, device) for device in ("cuda", "cpu"))
    assert there.device.type == "cuda"
    found, expected = (score_text_lstm(model, val)[0].sum() for model in (there, here))
    assert found == pytest.approx(expected, rel=0.1)  # other random numbers for dropout
    copy = TextLSTM.of_arrays(there.arrays(), 20, CONFIG)
    np.testing.assert_allclose(score_text_lstm(copy, val), score_text_lstm(there, val), rtol=1e-3)
    assert write_text_lstm(copy, val, WritingConfig()).keys() == write_text_lstm(there, val, WritingConfig()).keys()


def test_words_that_train_knows_from_one_place_teach_it_to_expect_unknown_ones(folder):
    train = open_split(folder, "train")
    repeat_one_word(train)
    train.token[:, :, 1] = 19
    train.token[:12, 0, 1] = 4 + np.arange(12)  # once each
    assert find_rare_words(train.token, 20).nonzero()[0].tolist() == list(range(4, 16))
    unknown = open_split(folder, "train")
    unknown.token[:] = train.token
    unknown.token[:, 1:, 1] = 3
    after_one = unknown.token[:, :1].copy()
    chances = []
    for share in (0.5, 0.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("evaluate.baselines.text_lstm.RARE_SHARE", share)
            model = train_text_lstm(train, None, replace(CONFIG, epochs=20))
        with torch.inference_mode():
            logits = model(model.read(torch.from_numpy(after_one[:, 0, :1].astype(np.int64))))
        chances.append(logits.softmax(-1)[0, 0, 3].item())
    assert chances[0] == pytest.approx(0.25, abs=0.12) and chances[1] < 0.02  # a quarter: half of half of the stories


def test_it_is_trained_by_the_first_evaluation_and_kept(folder, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr("evaluate.baselines.fitted.choose_config", lambda *_: LSTMConfig(128, 256, epochs=1))
    run = write_run(tmp_path / "run", folder)
    arguments = ["--run", str(run), "--no-meteor", "--no-page"]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".local" not in path.parts}
    caplog.set_level("INFO")
    assert main(arguments) == 0 and "text-only LSTM, epoch 1" in caplog.text
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("text-only LSTM"))
    assert len(row.split()) >= 6  # captions and a perplexity
    assert before == {path: path.read_bytes() for path in folder.rglob("*")
                      if path.is_file() and ".local" not in path.parts}  # what is published stays as it was
    caplog.clear()
    assert main(arguments) == 0 and "epoch" not in caplog.text
    assert main(["baselines", "--features", str(folder)]) == 0 and "epoch" not in caplog.text


def test_the_length_of_training_follows_the_stories():
    few, some, many = (choose_config(stories, 6000) for stories in (140, 1500, 40_000))
    assert few.batch_size < some.batch_size < many.batch_size and few.dropout > some.dropout
    assert some.epochs == many.epochs == 3 and choose_config(1500, 300).epochs == 5


@pytest.mark.parametrize("task", ["next", "tell"])
def test_a_row_without_context_stands_in_the_table_where_it_is_asked_for(task, folder, tmp_path, capsys, caplog,
                                                                         monkeypatch):
    monkeypatch.setattr("evaluate.baselines.fitted.choose_config", lambda *_: LSTMConfig(8, 8, epochs=1))
    run = write_run(tmp_path / "run", folder, task=task)
    arguments = ["--run", str(run), "--no-meteor", "--no-page"]
    caplog.set_level("INFO")
    assert main(arguments) == 0 and "LSTM, no context" not in capsys.readouterr().out
    assert "one-sentence LSTM" not in caplog.text
    assert main([*arguments, "--plain-lstm"]) == 0 and "one-sentence LSTM, epoch 1" in caplog.text
    rows = json.loads((run / "eval-test.json").read_text())["rows"]
    assert all(rows["LSTM, no context"][metric]["value"] != rows["text-only LSTM"][metric]["value"]
               for metric in ("perplexity", "perplexity_known", "perplexity_word"))
    assert rows["LSTM, no context"].keys() == rows["unigram"].keys()
    caplog.clear()
    assert main([*arguments, "--plain-lstm"]) == 0 and "epoch" not in caplog.text
