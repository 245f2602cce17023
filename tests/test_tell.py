"""Whole stories: written for every story, scored by album, readable by the scorer of published files."""
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from data.folder.folder import Features
from data.folder.identity import identify
from evaluate.__main__ import main
from evaluate.baselines.text_lstm import LSTMConfig, TextLSTM, write_story
from evaluate.baselines.whole_stories import StoryBaselines, find_nearest, join_true
from evaluate.comparison.story_lines import count_learned
from evaluate.evaluation.stories import join_sentences
from evaluate.photos.retrieval import PhotoSpace
from evaluate.split import EvaluatedSplit
from tests.conftest import TAG_NAMES
from tests.tiny_runs import write_run
from train.model.ngrams import NgramModel
from train.writing.config import WritingConfig

TAG_ROWS = ("tag prior", "linear probe", "no tags")
BASELINES = ("nearest train story", "trigram", "text-only LSTM", "unigram")


def open_splits(folder, *names):
    return [EvaluatedSplit(Features.open(folder), "default", name, num_resamples=0) for name in names]


@pytest.fixture
def run(make_features, tmp_path, monkeypatch, one_thread):
    monkeypatch.setattr("evaluate.baselines.fitted.choose_config", lambda *_: LSTMConfig(8, 8, epochs=1))
    return write_run(tmp_path / "run", make_features(stories={"train": 4, "val": 4, "test": 44}), task="tell")


def test_stories_are_written_and_scored_by_album(run, capsys):
    assert main(["--run", str(run), "--no-meteor", "--resamples", "50"]) == 0
    printed = capsys.readouterr().out
    evaluation = json.loads((run / "eval-test.json").read_text())
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    assert len(lines) == 44 and all(len(line["sentences"]) == len(line["photos"]) == 5 for line in lines)
    assert lines[3]["story"] == " ".join(lines[3]["sentences"]) and lines[3]["nll"] > 0
    assert {"model", "constant story", "human", "model, scored as human", *BASELINES, *TAG_ROWS} == set(
        evaluation["rows"])
    assert all(name in printed for name in ("constant story", "human", "perpl.", "Story   "))
    model = evaluation["rows"]["model"]
    assert model["cider"]["n"] == 22 and model["bleu_1"]["low"] is not None
    assert 1 < model["perplexity_known"]["value"] < np.inf
    assert evaluation["protocol"]["task"] == "tell" and (run / "report.html").exists()
    people = evaluation["differences"]["human"]["bleu_1"]["value"]
    rows = evaluation["rows"]
    assert people == pytest.approx(rows["model, scored as human"]["bleu_1"]["value"] - rows["human"]["bleu_1"]["value"])
    assert "model, scored as human" not in evaluation["differences"]
    assert all(metric in rows[row] for row in (*BASELINES[:3], "human")
               for metric in ("cider", "nr_distance", "length"))
    for row in ("unigram", "trigram", "text-only LSTM"):
        difference = evaluation["differences"][row]["perplexity_known"]
        assert difference["low"] is not None and difference["value"] == pytest.approx(
            model["perplexity_known"]["value"] - rows[row]["perplexity_known"]["value"])
    assert rows["trigram"]["perplexity"]["value"] < model["perplexity"]["value"]  # this model was never trained
    assert all(row in printed for row in BASELINES) and "dR" in printed


def test_tags_of_all_photos_are_scored_together(run, capsys):
    """By scikit-learn from what the predictions say; who says the same of every photo ranks none above another."""
    assert main(["--run", str(run), "--no-meteor", "--resamples", "50"]) == 0
    rows = json.loads((run / "eval-test.json").read_text())["rows"]
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    true, *said = (MultiLabelBinarizer(classes=TAG_NAMES[2:]).fit_transform(
        [tags for line in lines for tags in line[key]]) for key in ("tags", "tags_seen", "tags_next"))
    assert len(true) == 220 and not np.array_equal(*said)
    for kind, flags in zip(("seen", "next"), said):
        assert rows["model"][f"tags_{kind}.micro_f1"]["value"] == pytest.approx(f1_score(true, flags, average="micro"))
        found = rows["model"][f"tags_{kind}.map"]
        assert found["low"] < found["value"] < found["high"] and found["n"] == 110  # two tellings of every photo
        assert f"tags_{kind}.f1.dog" in rows["model"] and f"tags_{kind}.f1.dog" not in rows["no tags"]
    words = Features.open(run.parent / "features").words().split("test")
    np.testing.assert_array_equal(true, words.tag.all().reshape(220, -1)[:, 2:])
    printed = capsys.readouterr().out
    assert "Tags, all photos seen" in printed and "Seen tags" in printed and "Next tags" not in printed
    page = (run / "report.html").read_text()
    assert "Tags of all photos" in page and "Tags of frame" not in page


def test_no_photo_no_tags_seen_in_it(run, make_features):
    other = make_features("other", stories={"train": 4, "val": 4, "test": 44}, bad_photos=(22,))
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0", "--features", str(other)]) == 0
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    assert [tags is None for tags in lines[0]["tags_seen"]] == [False, False, True, False, False]
    assert all(None not in line["tags_next"] for line in lines) and None not in lines[2]["tags_seen"]


def test_a_split_that_was_dealt_from_train_is_no_test_split_of_its_dataset(run, make_features):
    arguments = ["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0"]
    said = []
    for files in ({"train.story-in-sequence.json": "x"}, {"test.story-in-sequence.json": "x"}):
        path = run.parent / "features/manifest.json"
        manifest = json.loads(path.read_text())
        identity = identify({"version": 1, "length": 30, "annotations": files})
        manifest["words"]["default"] |= identity
        path.write_text(json.dumps(manifest))
        record = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps({**record, "words": identity}))
        assert main(arguments) == 0
        said.append(str(json.loads((run / "eval-test.json").read_text())["protocol"]["notes"]))
    assert "dealt by album from train.story-in-sequence.json: not the dataset's own" in said[0]
    assert "dealt by album" not in said[1]


def test_runs_that_begin_with_one_another_are_followed_once(make_features, tmp_path):
    first = write_run(tmp_path / "a", make_features(), init=str(tmp_path / "b"))
    write_run(tmp_path / "b", tmp_path / "features", init=str(first))
    assert count_learned(first, ["train-album-0", "nowhere"]) == 1


def test_no_published_figures_beside_a_run_that_learned_from_the_references(run, tmp_path, monkeypatch, capsys):
    def score():
        assert main(["score", "--predictions", str(run / "predictions-test.jsonl"), "--no-meteor", "--resamples", "0",
                     "--out", str(tmp_path / "score.json")]) == 0
        return json.loads((tmp_path / "score.json").read_text())["published"], capsys.readouterr().out
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0", "--split", "test"]) == 0
    monkeypatch.setattr("evaluate.comparison.score.find_published", lambda references: {"AREL": {"bleu_1": 0.6}})
    published, said = score()
    assert published and "learned from" not in said
    later = write_run(tmp_path / "later", run.parent / "features", task="tell", init=str(run))
    assert count_learned(later, ["train-album-0", "train-album-1", "test-album-0"]) == 2
    lines = (run / "predictions-test.jsonl").read_text()
    (run / "predictions-test.jsonl").write_text(lines.replace("test-album-0", "train-album-1"))
    published, said = score()
    assert published == {} and "the run learned from 1 of these albums" in " ".join(said.split())


def test_cautions_are_told_beside_the_numbers(run, make_features, capsys):
    other = make_features("other", stories={"train": 4, "val": 4, "test": 44}, bad_photos=(50,))
    arguments = ["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0"]
    assert main([*arguments, "--features", str(other), "--limit", "9"]) == 0
    notes = " | ".join(json.loads((run / "eval-test.json").read_text())["protocol"]["notes"])
    assert "not those that run" in notes and "--limit 9" in notes and "too few for intervals" in notes


def test_the_scorer_gives_the_same_numbers(run, tmp_path):
    assert main(["--run", str(run), "--no-meteor", "--resamples", "0"]) == 0
    words = Features.open(run.parent / "features").words().split("test")
    references: dict[str, list[str]] = {}
    for place, album_id in enumerate(words.album_id.all()):
        references.setdefault(album_id.decode(), []).append(" ".join(words.caption(place, k) for k in range(5)))
    (tmp_path / "references.json").write_text(json.dumps(references))
    assert main(["score", "--predictions", str(run / "predictions-test.jsonl"), "--references",
                 str(tmp_path / "references.json"), "--no-meteor", "--out", str(tmp_path / "score.json")]) == 0
    scored = json.loads((tmp_path / "score.json").read_text())["rows"]["system"]
    evaluated = json.loads((run / "eval-test.json").read_text())["rows"]["model"]
    for metric in ("bleu_1", "bleu_4", "rouge_l", "cider"):
        assert evaluated[metric]["value"] == pytest.approx(scored[metric]["value"]), metric
    assert np.isfinite(evaluated["perplexity"]["value"])


def test_baselines_of_whole_stories_by_hand(run, monkeypatch):
    train, val, test = open_splits(run.parent / "features", "train", "val", "test")
    space = PhotoSpace(test.features, np.full(16, 3.0), np.full(16, 2.0))
    baselines = StoryBaselines(train, val, space, None)
    rows = {row.name: row for row in baselines.rows(test)}
    stories = {name: join_sentences(row) for name, row in rows.items() if row.written}
    assert tuple(rows) == ("nearest train story", "unigram", "trigram", "text-only LSTM", "tag prior", "linear probe",
                           "no tags")
    mean = [(test.features.feature.take(part.units.photo.ravel()).astype(float).reshape(len(part), 5, 16) / 2 - 1.5
             ).mean(axis=1) for part in (test, train)]
    own, theirs = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in mean)
    expected = (own @ theirs.T).argmax(axis=1)
    assert len(set(expected.tolist())) > 1
    assert stories["nearest train story"] == [join_true(train, place) for place in expected]
    trigram = NgramModel.fit(train.token.reshape(-1, 30), val.token.reshape(-1, 30), 3, len(test.words.vocabulary))
    np.testing.assert_allclose(rows["trigram"].nll[0], trigram.nll(test.token[:, 0]))
    assert "unigram" not in stories and len(set(stories["text-only LSTM"])) == len(set(stories["trigram"])) == 1
    assert all(list(row.nll) == list(row.nll_known) == list(range(5)) for row in rows.values() if row.nll)
    for kind in ("seen", "next"):  # the tags of photo t, 0..4
        for t in (0, 4):
            said = {name: row.tags[kind][t] for name, row in rows.items() if row.tags}
            np.testing.assert_allclose(said["tag prior"].probs, np.tile(train.tag[:, t].mean(axis=0), (44, 1)))
            np.testing.assert_array_equal(said["nearest train story"].predicted, train.tag[expected, t] > 0)
            photos = space.read(test.units.photo[:, t])
            np.testing.assert_allclose(said["linear probe"].probs, baselines.linear.tag_scores(photos))
            assert not said["no tags"].predicted.any()


def test_an_unusable_photo_does_not_move_an_albums_mean(make_features, run):
    other = make_features("other", stories={"train": 4, "val": 4, "test": 44}, bad_photos=(20, 21, 22, 23))
    whole, torn = (open_splits(folder, "train", "test") for folder in (run.parent / "features", other))
    found = [find_nearest(test, train, PhotoSpace(test.features, np.full(16, 3.0), np.full(16, 2.0)))
             for train, test in (whole, torn)]
    np.testing.assert_array_equal(found[0][2:], found[1][2:])
    (train, test), space = torn, PhotoSpace(torn[1].features, np.full(16, 3.0), np.full(16, 2.0))
    assert test.usable[0].tolist() == [False] * 4 + [True]
    last = space.read(test.units.photo[:1, 4])[0]
    theirs = sum(space.read(train.units.photo[:, frame]) for frame in range(5))
    assert found[1][0] == (theirs @ last / np.linalg.norm(theirs, axis=1)).argmax()


def test_a_story_of_the_text_lstm_reads_its_own_sentences():
    torch.manual_seed(3)
    model = TextLSTM(20, LSTMConfig(8, 16)).eval()
    torch.nn.init.normal_(model.vocabulary.weight)
    sentences = write_story(model, 5, WritingConfig(max_words=6, no_repeat_ngram=0, no_repeat_across=0,
                                                    repetition_penalty=1.0))
    assert len(sentences) == 5 and len(set(map(tuple, sentences))) > 1
    read: list[int] = []
    with torch.inference_mode():
        for sentence in sentences:
            read.append(1)
            for word in [*sentence, *([2] if len(sentence) < 6 else [])]:
                logits = model(model.read(torch.tensor([read])))[0, -1]
                logits[[0, 1, 3]] = -torch.inf
                assert int(logits.argmax()) == word
                read.append(word)
            read += [2] * (read[-1] != 2)
    controlled = write_story(model, 5, WritingConfig(max_words=6))
    grams = [tuple(words[place:place + 4]) for words in controlled for place in range(len(words) - 3)]
    assert grams and len(set(grams)) == len(grams)


def test_baselines_can_be_left_out_and_a_folder_without_train_says_so(run, make_features):
    arguments = ["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0"]
    assert main([*arguments, "--no-baselines"]) == 0
    evaluation = json.loads((run / "eval-test.json").read_text())
    assert not set(BASELINES) & set(evaluation["rows"]) and "no train stories" not in str(evaluation["protocol"])
    other = make_features("alone", stories={"test": 44})
    assert main([*arguments, "--features", str(other)]) == 0
    assert "no train stories" in str(json.loads((run / "eval-test.json").read_text())["protocol"]["notes"])


def test_without_photos_there_is_no_nearest_album_and_that_is_told(run, make_features):
    blind = make_features("blind", stories={"train": 4, "val": 4, "test": 44}, bad_photos=tuple(range(130)))
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0", "--features", str(blind)]) == 0
    evaluation = json.loads((run / "eval-test.json").read_text())
    assert set(BASELINES) - set(evaluation["rows"]) == {"nearest train story"}
    assert any("no nearest train story" in note for note in evaluation["protocol"]["notes"])
