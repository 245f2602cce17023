"""`python -m evaluate score`: the published protocol, the rows beside it, and files that do not fit."""
import json
import shutil

import numpy as np
import pytest

from data.errors import UserError
from evaluate.__main__ import main
from evaluate.comparison.score import format_result, match_stories, score_predictions
from evaluate.comparison.story_files import read_references, read_stories
from evaluate.config import ScoreConfig
from evaluate.stories.scorer import AS_HUMAN, CONSTANT, HUMAN, SYSTEM, Corpus, PublishedScorer, score_corpus

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no java on the PATH: METEOR cannot run")


def draw_stories(num_albums=24, num_references=3, seed=0):
    random = np.random.default_rng(seed)
    lexicon = [f"w{index}" for index in range(15)]

    def story(album):
        words = random.choice(lexicon, random.integers(6, 14)).tolist()
        return " ".join([f"album{album}", *words, "."])
    albums = [f"a{album:02d}" for album in range(num_albums)]
    return ({album: [story(place)] for place, album in enumerate(albums)},
            {album: [story(place) for _ in range(num_references)] for place, album in enumerate(albums)})


def coco(predictions, references):
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    bleu = BleuScorer(n=4)
    for album in references:
        bleu += (predictions[album][0], references[album])
    return {**dict(zip(("bleu_1", "bleu_2", "bleu_3", "bleu_4"), bleu.compute_score(option="closest")[0])),
            "rouge_l": Rouge().compute_score(references, predictions)[0],
            "cider": Cider().compute_score(references, predictions)[0]}


def as_corpus(predictions, references):
    return Corpus(list(references), [predictions[album] for album in references], list(references.values()))


def values(row):
    return {metric: estimate.draws[0] for metric, estimate in row.items()}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path
    return write


def score(write, predictions, references=None, **settings):
    return score_predictions(ScoreConfig(
        predictions=write("p.json", predictions), references=write("r.json", references) if references else None,
        **{"meteor": False, "resamples": 50, **settings}))


def assert_published(found, realdata):
    published = json.loads((realdata / "vist/arel_published_scores.json").read_text())
    for order in range(1, 5):
        assert found[f"bleu_{order}"]["value"] == pytest.approx(published[f"Bleu_{order}"], abs=1e-6)
    assert found["cider"]["value"] == pytest.approx(published["CIDEr"], abs=1e-6)
    assert found["rouge_l_raw"]["value"] == pytest.approx(published["ROUGE_L"], abs=1e-9)
    return published


def test_published_numbers(realdata, golden):
    result = score_predictions(ScoreConfig(
        predictions=realdata / "vist/arel_prediction_test.json", meteor=False, resamples=20,
        references=realdata / "vist/arel_protocol_test_reference.json"))
    rows = result["rows"]
    assert_published(rows[SYSTEM], realdata)
    clean = json.loads((golden / "text_scores.json").read_text())["arel_reproduction"]["rouge_whitespace_normalised"]
    assert rows[SYSTEM]["rouge_l"]["value"] == pytest.approx(clean, abs=1e-9)
    assert result["protocol"]["notes"] == [] and rows[SYSTEM]["bleu_4"]["n"] == 1010
    assert rows[SYSTEM]["nr"]["value"] == pytest.approx(.855, abs=6e-4) and "AREL" in format_result(result)
    assert rows[HUMAN]["nr"]["value"] == pytest.approx(.931, abs=6e-4)
    assert rows[HUMAN]["nr_distance"]["value"] == pytest.approx(.046, abs=2e-3)
    assert result["differences"][HUMAN]["nr_distance"]["low"] > 0
    # what the scores are worth: one fixed story comes within a point of the system, people do not
    assert 0 < rows[SYSTEM]["bleu_4"]["value"] - rows[CONSTANT]["bleu_4"]["value"] < .02
    assert rows[HUMAN]["bleu_4"]["value"] < rows[CONSTANT]["bleu_4"]["value"]
    assert rows[CONSTANT]["cider"]["value"] < .04 < rows[HUMAN]["cider"]["value"]


@pytest.mark.slow
@needs_java
@pytest.mark.timeout(900)
def test_published_meteor(realdata):
    result = score_predictions(ScoreConfig(predictions=realdata / "vist/arel_prediction_test.json", resamples=0,
                                           references=realdata / "vist/arel_protocol_test_reference.json"))
    published = assert_published(result["rows"][SYSTEM], realdata)
    assert result["rows"][SYSTEM]["meteor"]["value"] == pytest.approx(published["METEOR"], abs=1e-9)
    assert all(row["meteor"]["value"] for row in result["rows"].values())


def test_annotations_give_the_published_reference_strings(realdata):
    published = json.loads((realdata / "vist/arel_protocol_test_reference.json").read_text())
    references, notes = read_references(realdata / "vist/test.subset.story-in-sequence.json", "test")
    assert sum(map(len, references.values())) == 2010 and notes == []
    known = [(album, story) for album, stories in references.items() if album in published for story in stories]
    assert len(known) == 2008 and all(story in published[album] for album, story in known)


def test_a_data_folder_gives_references_of_a_split(realdata):
    references, _ = read_references(realdata / "bookdash", "test")
    other, _ = read_references(realdata / "bookdash", "val")
    assert references and not set(references) & set(other)
    story = next(iter(references.values()))[0]
    assert story == " ".join(story.split()) and "\n" not in story


def test_system_row_equals_pycocoevalcap_and_blanks_count_only_where_it_says_so():
    predictions, references = draw_stories()
    predictions["a03"] = ["  " + predictions["a03"][0].replace(" ", "  ", 2)]
    found = values(score_corpus(as_corpus(predictions, references), meteor=False)[0][SYSTEM])
    raw = coco(predictions, references)
    clean = coco({album: [" ".join(texts[0].split())] for album, texts in predictions.items()}, references)
    assert found["rouge_l_raw"] == pytest.approx(raw.pop("rouge_l"), abs=1e-12)
    assert {metric: found[metric] for metric in clean} == pytest.approx(clean, abs=1e-9)
    assert found["rouge_l_raw"] != pytest.approx(found["rouge_l"], abs=1e-6)


def test_human_rows_are_leave_one_out_and_the_system_is_scored_on_the_same_references():
    predictions, references = draw_stories(num_references=4)
    rows = score_corpus(as_corpus(predictions, references), meteor=False)[0]
    folds = {HUMAN: [], AS_HUMAN: []}
    for fold in range(4):
        others = {album: texts[:fold] + texts[fold + 1:] for album, texts in references.items()}
        folds[HUMAN].append(coco({album: [texts[fold]] for album, texts in references.items()}, others))
        folds[AS_HUMAN].append(coco(predictions, others))
    for name, found in folds.items():
        expected = {metric: np.mean([fold[metric] for fold in found]) for metric in found[0]}
        assert {metric: rows[name][metric].draws[0] for metric in expected} == pytest.approx(expected, abs=1e-9)


def test_albums_with_one_reference_are_left_out_of_the_human_rows_and_told():
    predictions, references = draw_stories()
    references["a00"] = references["a00"][:1]
    rows, scorer, _ = score_corpus(as_corpus(predictions, references), meteor=False)
    assert rows[HUMAN]["cider"].n == rows[AS_HUMAN]["cider"].n == 23 and rows[SYSTEM]["cider"].n == 24
    assert any("leave out 1 of 24" in note for note in scorer.notes)
    single = {album: texts[:1] for album, texts in references.items()}
    rows, scorer, _ = score_corpus(as_corpus(predictions, single), meteor=False)
    assert HUMAN not in rows and any("two references" in note for note in scorer.notes)


@pytest.mark.parametrize("seed", range(3))
def test_the_constant_story_is_never_chosen_on_what_it_is_scored_on(seed):
    predictions, references = draw_stories(seed=seed)  # every story names its album
    scorer = PublishedScorer(as_corpus(predictions, references), 0, seed)
    (comparison,) = scorer.comparisons[CONSTANT]
    origin = {int(unit): scorer.raw[row].split()[0].removeprefix("album")
              for unit, row in zip(comparison.hypothesis_unit, comparison.hypotheses)}
    first, second = ({unit for unit, from_album in origin.items() if from_album == album}
                     for album in sorted(set(origin.values())))
    assert len(first) == len(second) == 12
    for unit, album in origin.items():
        assert int(album) not in (first if unit in first else second)


def test_the_constant_is_the_best_story_of_its_half():
    common = "we all had a great time at the beach today ."
    predictions, references = draw_stories()
    for album in list(references)[::2] + list(references)[1::4]:
        references[album][0] = common
    _, scorer, _ = score_corpus(as_corpus(predictions, references), meteor=False)
    assert scorer.constants == [common, common]


def test_several_stories_of_an_album_are_averaged_and_told(write):
    predictions, references = draw_stories()
    doubled = {album: texts * 2 for album, texts in predictions.items()}
    once, twice = score(write, predictions, references), score(write, doubled, references)
    for metric in ("bleu_4", "rouge_l", "cider"):
        assert twice["rows"][SYSTEM][metric]["value"] == pytest.approx(once["rows"][SYSTEM][metric]["value"])
    assert "several stories, averaged within the album: 24 (a00, a01, a02, ...)" in twice["protocol"]["notes"][0]


def test_missing_extra_and_empty_are_told_and_scored_as_said(write):
    predictions, references = draw_stories()
    whole = score(write, predictions, references)
    del predictions["a04"], predictions["a05"]
    predictions.update(zz=["a story of another split ."], a06=["  "])
    result = score(write, predictions, references)
    notes = "; ".join(result["protocol"]["notes"])
    for sentence in ("without a story, scored as empty stories: 2 (a04, a05)", "without references, not scored: 1 (zz)",
                     "with an empty story, which scores 0: 1 (a06)"):
        assert sentence in notes and sentence in format_result(result)
    assert (result["protocol"]["missing"], result["protocol"]["extra"]) == (["a04", "a05"], ["zz"])
    spelled_out = {**predictions, "a04": [""], "a05": [""], "a06": [""]}
    del spelled_out["zz"]
    assert score(write, spelled_out, references)["rows"] == result["rows"]
    assert result["rows"][SYSTEM]["rouge_l"]["value"] < whole["rows"][SYSTEM]["rouge_l"]["value"]

    kept = {album: texts for album, texts in references.items() if album in predictions}
    dropped = score(write, predictions, references, missing="drop")
    assert dropped["rows"] == score(write, predictions, kept)["rows"]
    assert "left out: not comparable" in dropped["protocol"]["notes"][0]
    with pytest.raises(UserError, match=r"found none for 2 \(a04, a05\)"):
        score(write, predictions, references, missing="refuse")


def test_order_of_albums_is_irrelevant(write):
    predictions, references = draw_stories()
    order = np.random.default_rng(3).permutation(list(references)).tolist()
    ours = score(write, predictions, references)
    moved = score(write, predictions, {album: references[album] for album in order})
    for row in ours["rows"]:
        for metric, found in ours["rows"][row].items():
            assert moved["rows"][row][metric] == pytest.approx(found, abs=1e-9), (row, metric)


def test_intervals_are_over_albums_and_need_twenty(write):
    predictions, references = draw_stories(num_albums=24)
    result = score(write, predictions, references, resamples=400)
    found = result["rows"][SYSTEM]["rouge_l"]
    assert found["low"] < found["value"] < found["high"]
    difference = result["differences"][CONSTANT]["cider"]
    assert difference["value"] == pytest.approx(result["rows"][SYSTEM]["cider"]["value"]
                                                - result["rows"][CONSTANT]["cider"]["value"])
    few = {album: texts for album, texts in list(references.items())[:19]}
    result = score(write, predictions, few)
    assert result["rows"][SYSTEM]["rouge_l"]["low"] is None and "no intervals: 19 albums" in format_result(result)


def test_lines_of_stories_score_as_the_field_s_file(write):
    predictions, references = draw_stories()
    lines = "\n".join(json.dumps({"album_id": album, "story_id": f"s{album}", "story": texts[0]})
                      for album, texts in predictions.items()) + "\n"
    assert score(write, lines, references)["rows"] == score(write, predictions, references)["rows"]


def test_captions_of_task_next_bring_their_references_along(write):
    lines, units = [], {}
    for number, (album, photos) in enumerate([("a", "12345"), ("a", "12345"), ("b", "54321"), ("c", "99999")]):
        for t in (3, 4):
            written, caption = f"we saw the dog {number % 3} .", f"they saw a dog {number} {t} ."
            lines.append({"album_id": album, "story_id": str(number), "photos": list(photos), "t": t,
                          "written": written, "caption": caption})
            if t == 4:
                unit = units.setdefault(photos, ([], []))
                unit[0].append(written), unit[1].append(caption)
    text = "\n".join(map(json.dumps, lines))
    result = score(write, text)
    assert result["protocol"]["units"] == 3 and result["rows"][SYSTEM]["cider"]["n"] == 3
    from evaluate.captions.text_scores import score_units
    expected = score_units([written.split() for unit in units.values() for written in unit[0]], [0, 0, 1, 2],
                           [[caption.split() for caption in unit[1]] for unit in units.values()]).scores()
    assert {metric: result["rows"][SYSTEM][metric]["value"] for metric in expected} == pytest.approx(expected)
    with pytest.raises(UserError, match="found t = 3, 4; change --t"):
        score(write, text, t=2)
    with pytest.raises(UserError, match="leave out --references"):
        score(write, text, {"a": ["x"]})


@pytest.mark.parametrize("content, message", [
    ("", "found an empty file"), ("[1, 2]", "a list"), ("{}", "an object"), ("{\"a\": [\"x\"]", "line 1"),
    ({"a": [3]}, "album a: expected a list of stories, each a string"), ({"a": {"story": "x"}}, "found an object"),
    ({"a": None}, "found null"), ('{"a": ["x"], "a": ["y"]}', "the key 'a' more than once"),
    ('{"album_id": "a"}\n{"album_id": "b"}', "add 'story'"),
    ('{"album_id": "a", "story": "x"}\n{"album_id": 7, "story": "x"}', "line 2 of .*: expected 'album_id' as str"),
    ('{"album_id": "a", "story": "x"}\nno json', "line 2"),
    ('{"album_id": "a", "story_id": "1", "story": "x"}\n{"album_id": "a", "story_id": "1", "story": "y"}',
     "story 1 of album a once"),
    ('{"album_id": "a", "photos": [], "t": "4", "written": "x", "caption": "y"}', "'t' as int"),
    ("[" * 100_000, "nested beyond reason")])
def test_predictions_that_cannot_be_used_are_refused(write, content, message):
    path = write("p.json", content)
    with pytest.raises(UserError, match=message) as refusal:
        read_stories(path)
    assert str(path) in str(refusal.value)


def test_references_that_cannot_be_used_are_refused(write, tmp_path):
    for content, message in (("{", "found JSONDecodeError"), ({"a": ["x", 1]}, "each a string"),
                             ({"images": [], "annotations": []}, "at least one story")):
        with pytest.raises(UserError, match=message):
            read_references(write("r.json", content), "test")
    with pytest.raises(UserError, match="no such file"):
        read_references(tmp_path / "absent.json", "test")
    with pytest.raises(UserError, match=r"none or empty ones for 1 \(b\)"):
        match_stories({"a": ["x"]}, {"a": ["y"], "b": [" "]}, "empty")
    with pytest.raises(UserError, match="both are of one split"):
        match_stories({"x": ["x"]}, {"a": ["y"]}, "empty")
    matched = match_stories({"a": ["x"]}, {"a": ["y", ""]}, "empty")
    assert matched.corpus.references == [["y"]] and matched.notes[-1] == "empty reference stories, left out: 1"


def test_fewer_references_than_published_figures_have_are_told():
    five = {"a": ["y"] * 5, "b": ["z"] * 5}
    assert match_stories({"a": ["x"], "b": ["x"]}, five, "empty").notes == []
    (note,) = match_stories({"a": ["x"], "b": ["x"]}, {**five, "b": ["z"] * 2}, "empty").notes
    assert note.startswith("references per album: 2 to 5; published figures have 5")


def test_command_prints_a_table_writes_json_and_refuses_in_one_sentence(write, tmp_path, capsys):
    predictions, references = draw_stories()
    predictions["a00"] = ["\x1b[31mred ."]
    flags = ["score", "--predictions", str(write("p.json", predictions)), "--references",
             str(write("r.json", references)), "--no-meteor", "--resamples", "50"]
    assert main([*flags, "--out", str(tmp_path / "scores.json")]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert all(name in printed for name in ("BLEU-4", "CIDEr", CONSTANT, HUMAN, AS_HUMAN)) and "\x1b" not in printed
    written = json.loads((tmp_path / "scores.json").read_text())
    assert set(written) == {"rows", "differences", "protocol", "published"}
    assert set(written["rows"][SYSTEM]["bleu_4"]) == {"value", "low", "high", "n"}
    assert written["rows"][SYSTEM]["meteor"]["value"] is None and written["protocol"]["meteor"] == "switched off"
    assert main([*flags, "--out", str(tmp_path)]) == 2 and "found a folder" in capsys.readouterr().err
    assert main([*flags[:3]]) == 2
    refusal = capsys.readouterr()
    assert refusal.out == "" and refusal.err.startswith("error: expected --references") and refusal.err.count("\n") == 1


def test_without_java_meteor_is_null_and_the_reason_is_printed(write, monkeypatch, tmp_path):
    predictions, references = draw_stories()
    monkeypatch.setenv("PATH", str(tmp_path))
    result = score(write, predictions, references, meteor=True)
    assert result["rows"][SYSTEM]["meteor"]["value"] is None
    assert "METEOR is absent: no java on the PATH" in format_result(result)


@needs_java
def test_meteor_of_every_row(write):
    predictions, references = draw_stories()
    result = score(write, predictions, references, meteor=True)
    found = {row: metrics["meteor"] for row, metrics in result["rows"].items()}
    assert set(found) == {SYSTEM, CONSTANT, HUMAN, AS_HUMAN}
    assert all(0 < meteor["low"] < meteor["value"] < meteor["high"] < 1 for meteor in found.values())
    assert found[AS_HUMAN]["value"] < found[SYSTEM]["value"]  # two references less to agree with
