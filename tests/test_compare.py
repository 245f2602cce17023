"""Comparing systems: agrees with the table, pairs what is common, corrects for many, claims no more than it may."""
import json
from pathlib import Path

import numpy as np
import pytest

from evaluate.__main__ import main
from evaluate.comparison.compare import compare_systems, describe_claims
from evaluate.config import CompareConfig
from tests.tiny_runs import write_run

WORDS = "we saw the dog run to a big tree then home was happy".split()


def write_lines(path: Path, skill: float, albums: int = 30, seed: int = 0, **changes: object) -> Path:
    """Predictions of a made-up system; the truth is the same whatever its skill."""
    truth, own = np.random.default_rng(7), np.random.default_rng([seed, int(skill * 1000)])
    with open(path, "w") as file:
        for album in range(albums):
            for story in range(2):
                caption = list(truth.choice(WORDS, 7))
                written = [word if own.random() < skill else str(own.choice(WORDS)) for word in caption]
                line = {"story_id": f"s{album}-{story}", "album_id": f"a{album}", "t": 4,
                        "photos": [f"p{album}-{story}-{k}" for k in range(5)], "caption": " ".join(caption),
                        "written": " ".join(written), "tags": ["dog"], "tags_next": ["dog"] if own.random() < skill
                        else ["cat"], "rank_album": 1.0 if own.random() < skill else 3.0, "nll": 8 * (2 - skill),
                        "tokens": 8, **changes}
                file.write(json.dumps({name: value for name, value in line.items() if value is not ...}) + "\n")
    return path


def compare(*systems: Path, **settings: object) -> dict:
    return compare_systems(CompareConfig(systems=systems, resamples=300, **settings))


def test_a_better_system_is_called_better(tmp_path):
    result = compare(write_lines(tmp_path / "weak.jsonl", 0.2), write_lines(tmp_path / "strong.jsonl", 0.9))
    assert {pair["metric"] for pair in result["pairs"]} == {"r1_album", "cider", "bleu_4", "rouge_l", "perplexity",
                                                            "tags_next.micro_f1"}
    assert all(pair["better"] == "strong.jsonl" and pair["p_holm"] >= pair["p"] for pair in result["pairs"])
    assert result["claims"] == ["strong.jsonl is better than weak.jsonl at R@1 album, CIDEr-D, BLEU-4, "
                                "ROUGE-L, perplexity, micro F1 of next tags."]
    turned = compare(tmp_path / "strong.jsonl", tmp_path / "weak.jsonl")
    assert [pair["better"] for pair in turned["pairs"]] == ["strong.jsonl"] * 6
    assert turned["pairs"][0]["value"] == pytest.approx(-result["pairs"][0]["value"])


def test_what_ties_counts_by_its_chance(tmp_path):
    """A rank of 2 that ties with two others is the first, second or third place; whoever ties all scores chance."""
    clear = write_lines(tmp_path / "clear.jsonl", 0.5, rank_all=2.0, rank_1_of_5=1.0, nll_known=7.0, tokens_known=4)
    tied = write_lines(tmp_path / "tied.jsonl", 0.5, rank_all=2.0, tied_all=2, rank_1_of_5=3.0, tied_1_of_5=4)
    systems = compare(clear, tied)["systems"]
    assert systems["clear.jsonl"]["mrr_all"]["value"] == 0.5
    assert systems["tied.jsonl"]["mrr_all"]["value"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert [systems[name]["1_of_5"]["value"] for name in ("clear.jsonl", "tied.jsonl")] == pytest.approx([1, 0.2])
    assert systems["clear.jsonl"]["perplexity_known"]["value"] == pytest.approx(np.exp(7 / 4))
    assert "perplexity_known" not in systems["tied.jsonl"]


def test_equal_skill_is_not_told_apart(tmp_path):
    result = compare(*(write_lines(tmp_path / f"{seed}.jsonl", 0.5, seed=seed, nll=...) for seed in (1, 2)))
    assert not any(pair["better"] for pair in result["pairs"])
    assert "cannot be told apart" in result["claims"][0]


def test_many_comparisons_ask_for_more(tmp_path):
    files = [write_lines(tmp_path / f"{seed}.jsonl", 0.5, seed=seed) for seed in range(4)]
    result = compare(*files)
    assert len({(pair["first"], pair["second"]) for pair in result["pairs"]}) == 6
    smallest = min(result["pairs"], key=lambda pair: pair["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, smallest["p"] * len(result["pairs"])))


def test_only_common_stories_count_and_the_rest_is_told(tmp_path):
    few, many = write_lines(tmp_path / "few.jsonl", 0.5, 25), write_lines(tmp_path / "many.jsonl", 0.5)
    result = compare(few, many)
    assert result["albums"] == 25 and "many.jsonl: 10 of its captions" in result["notes"][0]
    same = write_lines(tmp_path / "same.jsonl", 0.5, 25)
    assert result["systems"]["few.jsonl"] == compare(few, same)["systems"]["few.jsonl"]


def test_what_a_file_lacks_is_left_out(tmp_path):
    bare = write_lines(tmp_path / "bare.jsonl", 0.5, nll=..., rank_album=..., tags_next=..., tags=...)
    result = compare(write_lines(tmp_path / "full.jsonl", 0.5), bare)
    assert {pair["metric"] for pair in result["pairs"]} == {"cider", "bleu_4", "rouge_l"}


def test_photos_without_descriptions_stand_apart(tmp_path):
    def describe(path: Path, wrong: bool) -> Path:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for place, line in enumerate(lines):
            line |= {"described": place % 3 == 0, "tags_next": ["cat"] if place % 3 and wrong else ["dog"]}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path
    right, wrong = (describe(write_lines(tmp_path / f"{name}.jsonl", 0.5), name == "wrong")
                    for name in ("right", "wrong"))
    systems = compare(right, wrong)["systems"]
    assert systems["wrong.jsonl"]["tags_next.micro_f1"]["value"] == 1 == systems["right.jsonl"][
        "tags_next.undescribed.micro_f1"]["value"]
    assert systems["wrong.jsonl"]["tags_next.undescribed.micro_f1"]["value"] == 0
    assert compare(right, wrong)["systems"]["right.jsonl"]["tags_next.micro_f1"]["n"] == 20


def test_systems_are_measured_where_all_of_them_answer(tmp_path):
    good, lazy = write_lines(tmp_path / "good.jsonl", 0.6), write_lines(tmp_path / "lazy.jsonl", 0.6)
    lines = [json.loads(line) for line in lazy.read_text().splitlines()]
    for line in lines:  # says nothing where it would be wrong
        line["rank_album"] = 1.0 if line["rank_album"] == 1 else None
        line["tags_next"] = line["tags_next"] if line["tags_next"] == ["dog"] else None
    lazy.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = compare(good, lazy)
    answered = sum(line["rank_album"] is not None for line in lines)
    assert {row["r1_album"]["n"] for row in result["systems"].values()} == {answered} and answered < len(lines)
    assert not any(pair["better"] for pair in result["pairs"])


def test_few_albums_claim_nothing(tmp_path):
    result = compare(*(write_lines(tmp_path / f"{skill}.jsonl", skill, 19) for skill in (0.1, 0.9)))
    assert result["claims"] == ["Nothing can be claimed: 19 albums in common are too few for intervals (at least 20)."]
    assert result["pairs"][0]["value"] > 0 and result["pairs"][0]["low"] is None
    assert describe_claims(result) == result["claims"]


def test_stories_are_compared_by_the_published_protocol(tmp_path, capsys):
    random = np.random.default_rng(0)
    references = {f"a{album}": [" ".join(random.choice(WORDS, 9)) for _ in range(3)] for album in range(24)}
    files = {"references": references, "poor": {album: ["home"] for album in references},
             "good": {album: [texts[0]] for album, texts in references.items()}}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert main(["compare", str(tmp_path / "poor.json"), str(tmp_path / "good.json"), "--references",
                 str(tmp_path / "references.json"), "--resamples", "200", "--out", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "good.json is better than poor.json at CIDEr-D, BLEU-4, ROUGE-L." in printed
    assert json.loads((tmp_path / "out.json").read_text())["albums"] == 24


def test_runs_agree_with_their_own_tables(make_evaluated_runs, capsys):
    first, second = make_evaluated_runs
    result = compare(first, second)
    for run in (first, second):
        table = json.loads((run / "eval-test.json").read_text())["rows"]["model"]
        mine = result["systems"][run.name]
        for metric in ("1_of_5", "r10_all", "cider", "bleu_4", "rouge_l", "perplexity", "perplexity_known", "mrr_all",
                       "tags_next.micro_f1", "tags_seen.micro_f1"):
            assert mine[metric]["value"] == pytest.approx(table[metric]["value"]), metric


def test_told_stories_bring_their_references(tmp_path, make_features, capsys):
    folder = make_features(stories={"train": 4, "test": 48})
    runs = [write_run(tmp_path / f"run-{seed}", folder, seed=seed, task="tell") for seed in (1, 2)]
    for run in runs:
        assert main(["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0"]) == 0
    result = compare(*runs)
    assert result["albums"] == 24 and {pair["metric"] for pair in result["pairs"]} >= {"cider", "bleu_4", "rouge_l"}
    for run in runs:
        table = json.loads((run / "eval-test.json").read_text())["rows"]["model"]
        for metric in ("bleu_1", "perplexity", "perplexity_known", "tags_next.micro_f1", "tags_seen.micro_f1"):
            assert result["systems"][run.name][metric]["value"] == pytest.approx(table[metric]["value"]), metric
    assert main(["score", "--predictions", str(runs[0] / "predictions-test.jsonl"), "--no-meteor"]) == 0
    assert "the true stories in the predictions themselves" in capsys.readouterr().out
    captions = write_lines(tmp_path / "captions.jsonl", 0.5)
    assert main(["compare", str(runs[0]), str(captions)]) == 2
    assert "compare systems of one kind" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, said", [
    (["compare"], "two runs"), (["compare", "a"], "two runs"), (["compare", "a", "a"], "twice"),
    (["compare", "nowhere", "else"], "run folder or a predictions file"), (["compare", "a", "b", "--t", "7"], "--t")])
def test_bad_input_is_one_sentence(arguments, said, capsys):
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1


def test_a_broken_line_is_named(tmp_path, capsys):
    good, bad = write_lines(tmp_path / "good.jsonl", 0.5), tmp_path / "bad.jsonl"
    for broken, said in (('{"story_id": 1}', "line 1"), ("[]", "line 1"), ("", "empty"), ("nonsense", "line 1"),
                         (good.read_text() + good.read_text(), "found it again")):
        bad.write_text(broken)
        assert main(["compare", str(good), str(bad)]) == 2 and said in capsys.readouterr().err


@pytest.fixture
def make_evaluated_runs(tmp_path, make_features) -> list[Path]:
    """Two untrained runs on one folder, evaluated without baselines."""
    folder = make_features(stories={"train": 4, "val": 4, "test": 12}, bad_photos=(22,))
    runs = [write_run(tmp_path / f"run-{seed}", folder, seed=seed) for seed in (1, 2)]
    for run in runs:
        assert main(["--run", str(run), "--no-meteor", "--no-page", "--no-baselines"]) == 0
    return runs
