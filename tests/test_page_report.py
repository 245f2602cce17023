"""The report page as a file: what it says, that it reaches no network, and that text in it stays text."""
import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from data.errors import UserError
from data.folder.folder import Features
from evaluate.page.charts import brief_row, is_comparable
from evaluate.page.report import write_report
from evaluate.page.stories import rank_stories
from evaluate.page.verdict import choose_headline, describe, format_value
from evaluate.predictions import Prediction
from evaluate.rows import ROW_ORDER
from tests.page_runs import add_thumbnails, set_captions, write_evaluated_run, write_told_run

HOSTILE = ["<img src=x onerror=alert(1)>", "</script><script>window.hacked=1</script>", "{{7*7}} {% raw %}",
           'quotes "double" \'single\' & \u2028 done', "<!--<script> ]]> \\u003c"]


class Page(HTMLParser):
    """A parsed page: its text without scripts, its links, its elements and its script and style blocks."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source, self.text, self.links, self.tags = source, "", [], []
        self.blocks: list[tuple[str, dict, str]] = []
        self.policy, self._open = "", None
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        self.links += [values[name] for name in ("src", "href", "action", "data") if name in values]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag in ("script", "style"):
            self._open = (tag, values)
            self.blocks.append((tag, values, ""))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._open = None

    def handle_data(self, content):
        if self._open:
            tag, values, before = self.blocks[-1]
            self.blocks[-1] = (tag, values, before + content)
        else:
            self.text += content

    def block(self, name):
        return next(content for _, values, content in self.blocks if values.get("id") == name)

    @property
    def words(self):
        return " ".join(self.text.split())


@pytest.fixture
def folder(make_features):
    return add_thumbnails(make_features(stories={"test": 44}, bad_photos=(3,)), side=96)


@pytest.fixture
def run_path(tmp_path, folder):
    return write_evaluated_run(tmp_path / "world" / "run", folder)


def report(run_path, folder, **settings):
    return Page(write_report(run_path, "test", Features.open(folder), **settings).read_text("utf-8"))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_page_reaches_no_network_and_runs_nothing_but_its_own_script(run_path, folder):
    page = report(run_path, folder)
    assert page.links and all(link.startswith("#") for link in page.links)
    assert not re.search(r"https?:|//cdn|@import|url\(", page.source)
    directives = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert directives["default-src"] == "'none'" and directives["img-src"] == "data:"
    assert "unsafe" not in page.policy
    for tag, values, content in page.blocks:
        if "type" not in values:  # the others hold values, no code
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not any(name.startswith("on") or name == "style" for _, values in page.tags for name in values)


def test_the_page_says_what_was_evaluated_and_what_is_beaten(run_path, folder):
    page = report(run_path, folder)
    assert "world/run on test" in page.words
    for fact in ("stories44", "albums22", "photos110", "seed11", "bestepoch8of9"):
        assert fact in page.words.replace(" ", "")
    assert "CIDEr-D" in page.words and "the model beats every baseline." in page.words
    assert re.search(r"On MRR split the model beats .*, cannot be told from copy last frame\.", page.words)
    assert "lpips: the trunk's weights are not at hand" in page.words
    assert "Nothing is proven" not in page.words
    assert "broken the model is worse on R@1 album" in page.words


def test_whole_stories_have_a_page_of_their_own_kind(tmp_path, folder):
    page = report(write_told_run(tmp_path / "told", folder), folder)
    assert "From five photos a story of five sentences is written" in page.words
    assert re.search(r"On [^.]*ROUGE-L the model beats the one baseline, constant story\.", page.words)
    assert "Scored on the same references as the people who told these photos, the model is behind them" in page.words
    assert "Tags of frame" not in page.words and "frames seen" not in page.words and "✕" not in page.words
    assert "meteor: no Java here" in page.words and "likeliest true story first" in page.words
    content = json.loads(page.block("story-data"))
    assert content["task"] == "tell" and len(content["stories"]) == 44
    story = content["stories"][3]
    assert len(story["w"]) == len(story["c"]) == len(story["p"]) == 5 and list(story["n"]) == ["5"]
    line = json.loads((tmp_path / "told/predictions-test.jsonl").read_text().splitlines()[3])
    assert [[[content["tags"][tag] for tag in tags] for tags in told] for told in story["tags"]] == [
        [tags or [] for tags in line[name]] for name in ("tags", "tags_seen", "tags_next")]
    assert all(page.block("photo-data").split("\n")[number] for number in story["p"])


def test_a_told_story_without_its_sentences_is_refused(tmp_path, folder):
    run_path = write_told_run(tmp_path / "told", folder)
    line = json.loads((run_path / "predictions-test.jsonl").read_text().splitlines()[0])
    bare = {key: line[key] for key in ("story_id", "album_id", "story")}
    (run_path / "predictions-test.jsonl").write_text(json.dumps(bare) + "\n")
    with pytest.raises(UserError, match="expected photos and what was written .*; evaluate the run again"):
        report(run_path, folder)


def test_story_sense_stands_beside_chance(run_path, folder):
    assert "Story sense" not in report(run_path, folder).words

    def add(found):
        for part, value in (("", 0.8), (".photo", 0.7), (".caption", 0.6)):
            for task in ("cloze.other_album.1_of_4", "ordering.exact"):
                found["rows"]["model"][task + part] = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 31}
        found["rows"]["model"]["cloze.same_album.1_of_2"] = {"value": None, "low": None, "high": None, "n": 0}
        found["rows"]["chance"] = {"cloze.other_album.1_of_4": {"value": 0.25}, "ordering.exact": {"value": 1 / 120}}
        found["differences"]["chance"] = {"cloze.other_album.1_of_4": {"value": 0.55, "low": 0.4, "high": 0.7},
                                          "ordering.exact": {"value": 0.1, "low": -0.1, "high": 0.3}}
    edit(run_path / "eval-test.json", add)
    words = report(run_path, folder).words
    assert "Ending 1 of 40.8000.700 to 0.9000.7000.600 to 0.8000.6000.500 to 0.7000.250above31" in words
    assert "Order, exact0.8000.700 to 0.9000.7000.600 to 0.8000.6000.500 to 0.7000.008not told apart31" in words
    assert "same album" not in words  # nothing was measured there


def test_tags_with_support_have_a_bar_the_most_frequent_first(run_path, folder):
    assert "Tags of frame" not in report(run_path, folder).words

    def add(found):
        for name, support in (("dog", 5), ("beach", 9), ("cat", 0)):
            score = {"value": 0.25, "low": None, "high": None, "n": support}
            found["rows"]["model"] |= {f"tags_{kind}.f1.{name}": score for kind in ("next", "seen")}
    edit(run_path / "eval-test.json", add)
    page = report(run_path, folder)
    assert "Tags of frame 5" in page.words and "47 of 49 tags have no frame here" in page.words
    assert "F1 by tag: dog, ahead 0.250, seen 0.250, support 5" in page.source


def test_few_albums_and_absent_intervals_allow_no_claim(tmp_path, make_features):
    folder = make_features(stories={"test": 6})
    run_path = write_evaluated_run(tmp_path / "few", folder, intervals=False)
    words = report(run_path, folder).words
    assert "Nothing is proven here: the split has 3 albums" in words
    assert "beats" not in words and "There are no intervals, so nothing is claimed" in words


def test_the_cautions_of_the_protocol_are_shown_at_the_top(run_path, folder):
    edit(run_path / "eval-test.json", lambda found: found["protocol"].update(notes=["no photo descriptions: so it is"]))
    words = report(run_path, folder).words
    assert words.index("No photo descriptions: so it is.") < words.index("Against the baselines")


def test_text_from_outside_stays_text(tmp_path, folder):
    captions = [HOSTILE[index % 5] for index in range(44 * 5)]
    set_captions(folder, "test", captions)
    run_path = write_evaluated_run(tmp_path / "<b>run</b>", folder)

    def spoil(evaluation):
        evaluation["rows"]["<i>row</i> {{7*7}}"] = evaluation["rows"].pop("train_mean")
        evaluation["rows"]["model"]["</script><script>metric"] = {"value": 1.0, "low": None, "high": None, "n": 1}
        evaluation["rows"]["model"]["ssim"] = {"value": None, "n": 0, "reason": HOSTILE[0]}
        evaluation["protocol"]["notes"] = [HOSTILE[1]]
    edit(run_path / "eval-test.json", spoil)
    page = report(run_path, folder)
    scripts = [content for tag, _, content in page.blocks if tag == "script"]
    assert len(scripts) == 3 and sum(tag == "img" for tag, _ in page.tags) == 0
    assert not {tag for tag, _ in page.tags} & {"b", "i"}
    assert "{{7*7}}" in page.text and "49 {%" not in page.source
    stories = json.loads(page.block("story-data"))["stories"]
    assert [caption for story in stories for caption in story["c"]] == captions
    assert "<" not in page.block("story-data") and "\u2028" not in page.source


def test_every_story_is_there_with_its_photos_once(run_path, folder):
    page = report(run_path, folder)
    payload, photos = json.loads(page.block("story-data")), page.block("photo-data").split("\n")
    assert len(payload["stories"]) == 44
    shown = [photo for photo in photos if photo]
    assert len(shown) == len(set(shown)) == 109
    assert payload["notes"][payload["photoIds"].index("test0003")] == "missing"
    assert all(base64.b64decode(photo).startswith(b"\xff\xd8") for photo in shown)
    line = json.loads((run_path / "predictions-test.jsonl").read_text().splitlines()[3])
    story = next(story for story in payload["stories"] if story["id"] == line["story_id"])
    said = story["n"]["4"]
    assert said["w"] == line["written"] and said["ra"] == line["rank_album"]
    assert [payload["photoIds"][number] for number in said["r"]] == line["retrieved"]
    assert [payload["tags"][tag] for tag in said["x"]] == line["tags_next"]


def test_byte_equal_photos_are_one(folder, run_path):
    features = Features.open(folder)
    features.content.pieces[:] = [piece.copy() for piece in features.content.pieces]
    features.content.pieces[0][1] = features.content.pieces[0][0]
    page = Page(write_report(run_path, "test", features).read_text("utf-8"))
    story = json.loads(page.block("story-data"))["stories"][0]
    assert story["p"][0] == story["p"][1]


def test_a_page_over_its_budget_keeps_best_worst_and_a_sample(run_path, folder):
    budget = 1_500_000 + 120_000
    path = write_report(run_path, "test", Features.open(folder), max_bytes=budget)
    page = Page(path.read_text("utf-8"))
    kept = [story["id"] for story in json.loads(page.block("story-data"))["stories"]]
    assert path.stat().st_size <= budget and 4 <= len(kept) < 44
    assert f"{len(kept)} of 44 stories, so that this page stays small" in page.words
    lines = [json.loads(line) for line in (run_path / "predictions-test.jsonl").read_text().splitlines()]
    last = {line["story_id"]: line for line in lines if line["t"] == 4}
    best = min(last, key=lambda story: standing(last, story))
    worst = max(last, key=lambda story: standing(last, story))
    assert best in kept and worst in kept


def standing(lines, story):
    """Mean of two percentiles, by definition and not by the code under test."""
    def place(measure):
        values = {name: measure(line) for name, line in lines.items()}
        worst = max(value for value in values.values() if value is not None)
        ordered = sorted({worst if value is None else value for value in values.values()})
        return ordered.index(worst if values[story] is None else values[story]) / (len(ordered) - 1)
    return (place(lambda line: line["rank_all"] if line["rank_all"] is not None else line["rank_album"])
            + place(lambda line: line["nll"] / line["tokens"]))


def test_without_thumbnails_photos_come_from_the_dataset_or_the_page_says_how(tmp_path, make_features):
    folder = make_features(stories={"test": 4})
    run_path = write_evaluated_run(tmp_path / "run", folder)
    assert "--thumbnails 160" in report(run_path, folder).words
    dataset = tmp_path / "dataset" / "images"
    dataset.mkdir(parents=True)
    Image.new("RGB", (900, 600), "teal").save(dataset / "test0000.jpg")
    (dataset / "test0001.jpg").write_bytes(b"<html>gone</html>")
    page = report(run_path, folder, dataset_root=tmp_path / "dataset")
    payload, photos = json.loads(page.block("story-data")), page.block("photo-data").split("\n")
    shown = {payload["photoIds"][number]: photo for number, photo in enumerate(photos) if photo}
    assert set(shown) == {"test0000"}
    assert payload["notes"][payload["photoIds"].index("test0001")] == "no picture at hand"
    assert f"DATA={tmp_path / 'dataset'}" in page.words


def test_commands_replay_the_settings_that_differ_from_the_preset(run_path, folder):
    words = report(run_path, folder).words
    assert "PRESET=small TASK=next ARGS='--seed 11 --epochs 9'" in words
    assert f"make eval RUN={run_path} FEATURES={folder} SPLIT=test" in words
    assert f"make features DATA=path/to/the/dataset FEATURES={folder}" in words


def test_the_evaluation_is_replayed_with_its_own_settings(run_path, folder):
    edit(run_path / "eval-test.json", lambda found: found["protocol"].update(
        missing="drop", limit=0, captions={"method": "beam", "beam_width": 7}, story_sense={"ordered": 0},
        intervals={"resamples": 1000, "seed": 3}))
    flags = "--missing drop --seed 3 --sense 0 --method beam --beam-width 7"
    assert f"SPLIT=test ARGS='{flags}'" in report(run_path, folder).words


def test_equal_input_gives_equal_bytes(run_path, folder):
    assert report(run_path, folder).source == report(run_path, folder).source


@pytest.mark.parametrize("spoil, message", [
    (lambda run: (run / "eval-test.json").unlink(), "make eval RUN="),
    (lambda run: (run / "predictions-test.jsonl").unlink(), "a predictions file with split 'test'"),
    (lambda run: (run / "predictions-test.jsonl").write_text("{\n"), "line 1"),
    (lambda run: (run / "predictions-test.jsonl").write_text('{"t": 1}\n'), "story_id"),
    (lambda run: (run / "eval-test.json").write_text('{"rows": 3}'), "expected an object with 'rows'")])
def test_missing_and_damaged_files_are_told_and_leave_no_page(run_path, folder, spoil, message):
    spoil(run_path)
    with pytest.raises(UserError, match=message):
        report(run_path, folder)
    assert not (run_path / "report.html").exists()


def test_a_run_without_config_curves_or_known_metrics_still_has_a_page(run_path, folder):
    for name in ("config.json", "metrics.jsonl"):
        (run_path / name).unlink()
    (run_path / "eval-test.json").write_text(json.dumps({"rows": {"ours": {"my_score": 0.5}}}))
    page = report(run_path, folder)
    assert "My score" in page.words and "44 stories" in page.words


def test_the_name_of_every_row_fits_into_a_chart():
    assert [row for row in ROW_ORDER if is_comparable(row) and brief_row(row).endswith("…")] == []


def test_metrics_are_labelled_for_the_page():
    assert describe("perplexity").label == "Perplexity" and describe("never_seen").label == "Never seen"
    assert describe("tags_next.map").label.startswith("mAP")
    assert [metric.name for metric in choose_headline(["bleu_4", "x", "r1_album", "mrr_all", "r10_all"])] == [
        "r1_album", "mrr_all", "r10_all"]
    assert [metric.name for metric in choose_headline(["bleu_4", "x", "r1_album"], of_stories=True)] == ["bleu_4"]
    assert [metric.name for metric in choose_headline(["x", "y"])] == ["x", "y"]
    assert [format_value(value) for value in (None, 0.12345, -28.004, 12345.6)] == ["–", "0.123", "−28.00", "12,346"]


def test_stories_are_ranked_whatever_is_missing():
    assert rank_stories([]) == []
    manifest_free = [[prediction(rank, nll)] for rank, nll in ((3.0, None), (1.0, None), (None, None))]
    assert rank_stories(manifest_free) == [1, 0, 2]


def prediction(rank, nll):
    return Prediction(story_id=f"s{rank}", album_id="a", t=4, photos=(), ranks={"all": rank}, nll=nll, tokens=5)
