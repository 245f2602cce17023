"""Scores computed elsewhere: read without trust, set beside people's, d_HM; and published rows on VIST alone."""
import json
import math

import pytest

from data.errors import UserError
from evaluate.__main__ import main
from evaluate.comparison.outside_scores import read_story_scores
from evaluate.comparison.score import PUBLISHED, find_published

CLEAN = "we went to the old town early . then a dog ran off into some woods ."
OTHER = "everyone came to see us at the lake . all had a very good time ."


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)
    return write


@pytest.fixture
def score(write, tmp_path, capsys):
    def score(*flags):
        albums = [f"a{number:02d}" for number in range(20)]
        code = main(["score", "--predictions", write("p.json", {album: [OTHER] for album in albums}), "--references",
                     write("r.json", {album: [CLEAN, OTHER] for album in albums}), "--no-meteor", "--resamples", "9",
                     "--out", str(tmp_path / "out.json"), *flags])
        return code, capsys.readouterr(), json.loads((tmp_path / "out.json").read_text()) if code == 0 else {}
    return score


@pytest.mark.parametrize("content", [
    '{"1": 0.5, "2": "-1.5", "3": NaN, "4": ""}', "1,0.5\n2,-1.5\n3,nan\n", "story_id,score\n1, 0.5\n2,-1.5\n\n4,\n"])
def test_json_and_csv_are_read_and_empty_scores_left_out(write, tmp_path, content):
    write("s", content)
    assert read_story_scores(tmp_path / "s", "coherence") == {"1": 0.5, "2": -1.5}


@pytest.mark.parametrize("content, message", [
    ("[1]", "a list"), ('{"1": true}', "story 1"), ('{"1": [2]}', "found a list"), ('{"1": 1e999}', "finite number"),
    ('{"1": "x"}', "finite number"), ('{"1": 1, "1": 2}', "more than once"),
    ("1,2\n1,3", "row 2 of .*: expected story"),
    ("id,score\n1,x", "row 2"), ("1,2\n3", "row 2"), ("", "found none"), ("id,score\n1,nan", "found none"),
    ('{"1": ' + "9" * 400 + "}", "finite number"), ("{" * 100_000, "expected JSON"), ('1,"2', "CSV or JSON"),
    ("1,inf", "found none")])
def test_what_is_no_map_of_numbers_is_refused(write, tmp_path, content, message):
    write("s", content)
    with pytest.raises(UserError, match=message):
        read_story_scores(tmp_path / "s", "coherence")


def test_distances_and_d_hm_are_over_the_stories_that_all_files_score(score, write):
    own = write("c.json", {"1": 0.5, "2": 0.7, "9": 0.0}), write("g.csv", "id,score\n1,1\n2,0\n")
    people = write("ch.json", {"1": 0.9, "2": 0.8, "3": 0.1}), write("gh.json", {"1": 0, "2": 0, "9": 5})
    code, printed, result = score("--coherence", own[0], people[0], "--grounding", own[1], people[1])
    system = {metric: found["value"] for metric, found in result["rows"]["system"].items()}
    assert code == 0 and system["coherence"] == pytest.approx(0.4)
    assert result["rows"]["human"]["coherence"]["value"] == pytest.approx(0.6)
    assert system["coherence_distance"] == pytest.approx(0.25)
    assert system["grounding"] == system["grounding_distance"] == pytest.approx(math.tanh(1) / 2)
    assert system["d_hm"] == pytest.approx((0.25 + math.tanh(1) / 2 + system["nr_distance"]) / 3)
    assert "d_HM" in printed.out and "2 stories that all four files score" in " ".join(printed.out.split())


def test_without_people_there_is_no_distance_and_strangers_are_refused(score, write):
    own = write("c.json", {"1": 0.5})
    code, printed, result = score("--coherence", own)
    assert code == 0 and "d_hm" not in result["rows"]["system"] and "no d_HM" in printed.out
    assert result["rows"]["system"]["coherence"]["value"] == 0.5
    code, printed, _ = score("--coherence", own, write("ch.json", {"2": 0.5}))
    assert code == 2 and "found none; use the same story ids" in printed.err
    code, printed, _ = score("--coherence", own, own, own)
    assert code == 2 and "found 3 files" in printed.err


def test_published_rows_stand_beside_vist_alone(score, realdata):
    references = json.loads((realdata / "vist/arel_protocol_test_reference.json").read_text())
    moved = {album: [f" {story.upper()}" for story in reversed(stories)]
             for album, stories in reversed(references.items())}
    assert find_published(references) == find_published(moved) == PUBLISHED
    assert find_published(dict(list(references.items())[1:])) == {}
    assert score()[2]["published"] == {}
    published = json.loads((realdata / "vist/arel_published_scores.json").read_text())
    assert PUBLISHED["AREL"]["cider"] == round(published["CIDEr"], 3)
    assert PUBLISHED["AREL"]["meteor"] == round(published["METEOR"], 3)
