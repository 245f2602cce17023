"""The page: what it writes is what the command writes, what it keeps, what it saves."""
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from data.__main__ import main as data_main
from data.annotations.stories import read_dataset
from data.errors import UserError
from evaluate.app.telling import MAX_KEPT, Telling
from evaluate.app.uploads import read_key_frames
from evaluate.config import StoryConfig
from evaluate.own_story.story import Storyteller, tell_story
from tests.app_server import (  # noqa: F401
    BACKBONE,
    ask,
    asked,
    give,
    jpeg,
    make_video,
    open_telling,
    photo_paths,
    runs,
    server,
    serving,
    tellings,
)

ROOT = Path(__file__).resolve().parents[1]


def test_it_goes_on_as_the_command_does(runs, server):
    paths = photo_paths(runs, 4)
    captions = ("the dog ran", "we saw a big tree", "everyone was happy then", "they went home")
    told = tell_story(StoryConfig(photos=tuple(paths), run=runs / "next", backbone=BACKBONE, captions=captions, top=3))
    ids = give(server, [path.read_bytes() for path in paths])
    status, answer, _ = ask(server, "/write", asked(ids, [*captions, ""], 4))
    assert status == 200 and answer["sentence"] == told.sentences[0]
    assert answer["tags"] == [list(tag) for tag in told.tags_next]
    assert len(answer["next"]) == 3 and all(photo["picture"] and photo["caption"] for photo in answer["next"])
    assert {photo["id"][:2] for photo in answer["next"]} == {"tr"}, "photos beside come from train"


def test_a_place_reads_what_stands_before_it_and_nothing_behind(runs, server):
    ids = give(server, [path.read_bytes() for path in photo_paths(runs)])
    first = ask(server, "/write", asked(ids, ["the dog ran", "", "", "", ""], 2))[1]
    assert ask(server, "/write", asked([*ids[:2], ids[4]], ["the dog ran", ""], 2))[1] == first
    written = {ask(server, "/write", asked(ids, [text, text], 2))[1]["sentence"]
               for text in ("", "the dog ran to the park", "we saw a big tree", "they went home", "a cat on the table")}
    assert len(written) > 1


def test_words_it_does_not_know_are_told_of_the_sentence_they_stand_in(runs, server):
    ids = give(server, [path.read_bytes() for path in photo_paths(runs, 2)])
    answer = ask(server, "/write", asked(ids, ["The dog skateboards!", "we saw Zanzibar"], 2))[1]
    assert answer["unknown"] == [["skateboards"], ["zanzibar"]]


def test_a_run_that_tells_writes_as_the_command_does_and_reads_what_was_put_in(runs, tellings):
    paths = photo_paths(runs)
    told = tell_story(StoryConfig(photos=tuple(paths), run=runs / "tell", backbone=BACKBONE))
    with serving(tellings["tell"]) as server:
        ids, sentences = give(server, [path.read_bytes() for path in paths]), []
        for place in range(5):
            answer = ask(server, "/write", asked(ids, sentences, place))[1]
            assert answer["next"] == []
            sentences.append(answer["sentence"])
        assert sentences == told.sentences
        assert ask(server, "/write", asked(ids, sentences, 5))[0] == 400
        others = [ask(server, "/write", asked(ids, [text, text], 2))[1]["sentence"]
                  for text in ("the dog ran to the park", "we saw a big tree", "they went home", "a cat on the table")]
        assert {*others} != {sentences[2]}, "what somebody else wrote is read"


def test_a_tag_that_is_switched_off_changes_what_is_written_and_only_then(runs, server, tellings):
    ids = give(server, [path.read_bytes() for path in photo_paths(runs, 1)])
    before = tellings["next"].teller.run.model.counted_tags.clone()

    def written(off):
        questions = [asked(ids, ["the dog ran"], 1, method="nucleus", seed=seed, off=off) for seed in range(12)]
        return [ask(server, "/write", question)[1]["sentence"] for question in questions]
    usual = written([])
    assert len(set(usual)) > 1, "every seed another way"
    assert written(tellings["next"].teller.tag_names) != usual == written([])
    assert (tellings["next"].teller.run.model.counted_tags == before).all()


def test_a_saved_story_is_read_by_the_pipe(runs, tmp_path, capsys):
    with serving(open_telling(runs / "next", tmp_path / "mine/images")) as server:
        ids = give(server, [path.read_bytes() for path in photo_paths(runs)])
        sentences = ["The dog ran.", "we  saw\na tree", "“Ha!”", "they went home", "the end"]
        status, content, _ = ask(server, "/vist", {"photos": ids, "sentences": sentences})
        assert status == 200
        refused, answer, _ = ask(server, "/vist", {"photos": ids[:4], "sentences": sentences})
        assert refused == 400 and "found 4 photos and 4 sentences" in answer["error"]
    path = tmp_path / "mine/annotations/test.story-in-sequence.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (story,) = read_dataset(tmp_path / "mine").stories["test"]
    assert list(story.photo_ids) == ids
    assert story.captions == ("The dog ran.", "we saw a tree", "“Ha!”", "they went home", "the end")
    assert data_main(["check", str(tmp_path / "mine")]) == 0
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("test"))
    assert row[1:5] == ["1", "1", "5", "0"], "one story, one album, five photos, none missing"


def test_a_saved_page_shows_what_was_written_and_runs_nothing(runs, server):
    ids = give(server, [path.read_bytes() for path in photo_paths(runs, 2)])
    text = "</figcaption><script>alert(1)</script> {{7*7}} & more"
    status, content, _ = ask(server, "/page", {"photos": ids, "sentences": [text, "two", "what comes next"]})
    page = content.decode()
    assert status == 200 and page.count("<img ") == 2 and page.count("<li>") == 3
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page and "{{7*7}}" in page
    assert "default-src &#39;none&#39;" in page


def test_nothing_of_a_photo_is_kept_but_a_small_picture_without_metadata(server, tellings):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "taken at home"
    Image.new("RGB", (3000, 2000), "teal").save(file, "JPEG", exif=exif)
    assert b"taken at home" in file.getvalue()
    (photo_id,) = give(server, [file.getvalue()])
    kept = tellings["next"].take(photo_id)
    assert max(Image.open(io.BytesIO(kept.picture)).size) <= 480 and b"taken at home" not in kept.picture
    assert set(vars(kept)) == {"feature", "picture", "content"} and len(kept.content) == 32


def test_a_photo_unlike_all_that_was_learned_is_called_so(runs, server):
    assert ask(server, "/photo", sorted((runs / "data/images").glob("tr*.jpg"))[0].read_bytes())[1]["unlike"] is None
    stripes = Image.new("RGB", (32, 32), "white")
    stripes.paste("black", (0, 0, 32, 16))
    file = io.BytesIO()
    stripes.save(file, "PNG")
    distance, usual = ask(server, "/photo", file.getvalue())[1]["unlike"]
    assert distance > usual > 0


def test_of_fifty_photos_the_oldest_are_let_go(server, tellings):
    ids = give(server, [jpeg(number) for number in range(50)])
    assert len(tellings["next"]._photos) == MAX_KEPT < 50
    status, answer, _ = ask(server, "/write", asked([ids[0]], ["a"], 1))
    assert status == 400 and "not kept any more" in answer["error"]
    assert ask(server, "/write", asked([ids[-1]], ["a"], 1))[0] == 200
    status, answer, _ = ask(server, "/write", asked(ids[-6:], ["a"], 1))
    assert status == 400 and "at most 5 photos" in answer["error"]


def test_random_weights_are_called_so(tellings, monkeypatch):
    telling = tellings["tell"]
    backbone = replace(telling.teller.backbone, weights="random")
    monkeypatch.setattr(telling, "teller", replace(telling.teller, backbone=backbone))
    with serving(telling) as server:
        page = ask(server, "/", method="GET")[1].decode()
    assert "tells stories" in page and "was never trained" in page


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
def test_key_frames_are_spread_over_a_video(container):
    frames = read_key_frames(make_video(24, container), 5)
    reds = [Image.open(io.BytesIO(frame)).getpixel((30, 20))[0] for frame in frames]
    assert len(reds) == 5 and reds == sorted(reds) and reds[0] < 60 and reds[-1] > 160
    assert len(read_key_frames(make_video(1, container), 5)) == 1, "no more than there are"


def test_a_video_is_as_good_as_its_key_frames(server):
    status, answer, _ = ask(server, "/video", make_video())
    assert status == 200 and len(answer["photos"]) == 5
    assert ask(server, "/write", asked([photo["id"] for photo in answer["photos"]], ["a", "b"], 2))[0] == 200


@pytest.mark.parametrize("content, said", [
    (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "found something else"),
    (b"ffconcat version 1.0\nfile x", "something else"), (b"", "something else"),
    (b"\0\0\0\x18ftypmp42" + b"\0" * 50, "broken")])
def test_what_is_no_video_is_refused(server, content, said):
    pytest.importorskip("av")
    status, answer, _ = ask(server, "/video", content)
    assert status == 400 and said in answer["error"]


def test_a_cut_video_gives_what_is_whole_or_is_refused(server):
    for container in ("mp4", "matroska", "avi"):
        whole = make_video(24, container)
        for share in (0.3, 0.6, 0.9):
            assert ask(server, "/video", whole[:int(len(whole) * share)])[0] in (200, 400)


def test_without_pyav_videos_are_refused_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install -c constraints.txt '.\[video\]'"):
        read_key_frames(b"\0\0\0\x18ftypmp42", 5)


def test_a_photo_that_was_asked_for_stays_longer_than_one_that_was_not(server):
    ids = give(server, [jpeg(100 + number) for number in range(MAX_KEPT)])
    assert ask(server, "/write", asked(ids[:1], ["a"], 1))[0] == 200
    give(server, [jpeg(180)])
    assert ask(server, "/write", asked(ids[:1], ["a"], 1))[0] == 200
    assert ask(server, "/write", asked(ids[1:2], ["a"], 1))[0] == 400


def test_a_photo_of_the_story_is_not_what_comes_next(runs, server, monkeypatch):
    monkeypatch.setattr("evaluate.app.telling.NEAREST", 24)
    path = sorted((runs / "data/images").glob("tr*.jpg"))[0]
    shown = ask(server, "/write", asked(give(server, [path.read_bytes()]), ["a"], 1))[1]["next"]
    assert len(shown) == 23 and path.stem not in {photo["id"] for photo in shown}


def test_a_video_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr("evaluate.app.uploads.MAX_VIDEO_PIXELS", 1000)
    with pytest.raises(UserError, match="64 x 48"):
        read_key_frames(make_video(), 5)


def test_a_folder_without_train_or_val_still_tells(runs, tmp_path):
    folder = tmp_path / "features"
    shutil.copytree(runs / "features", folder)
    raw = json.loads((folder / "manifest.json").read_text())
    for split in ("train", "val"):
        del raw["shards"][f"words/default/{split}"]
    (folder / "manifest.json").write_text(json.dumps(raw))
    telling = Telling(Storyteller.open(runs / "next", folder, BACKBONE, None, "cpu"))
    photo = telling.add_photo(jpeg(1))
    assert photo["near"] == [] and photo["unlike"] is None and telling.facts()["samples"] == []
    assert telling.write([photo["id"]], ["a"], 1, "greedy", 1, [])["next"] == []
    json.dumps(telling.facts())
