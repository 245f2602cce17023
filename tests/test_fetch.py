"""Photos from the web: fetched, checked, gone on with, reported, from a server that misbehaves in every way."""
import socket
import time
from email.utils import formatdate

import numpy as np
import pytest

from data.__main__ import main
from data.annotations.stories import read_dataset
from data.errors import UserError
from data.fetch import fetch
from data.fetch.config import FetchConfig
from data.fetch.journal import SAVED, Journal
from data.pictures.photos import find_photos
from tests.fetching import IDS, RANDOM, jpeg, name_urls, quick, report, root, run, serve, server  # noqa: F401
from tests.misbehaving_server import answer, drip, drip_headers, hang_up, in_turn, redirect
from tests.photo_dataset import photo_id


def test_photos_are_fetched_named_by_what_they_are_and_asked_for_once(root, server, capsys):
    png, gif = jpeg(kind="PNG"), jpeg(kind="GIF")
    serve(root, server, **{IDS[0]: answer(png), IDS[1]: answer(gif, kind="application/octet-stream"),
                           IDS[2]: answer(jpeg(kind="WEBP"), kind=None)})
    assert run(root) == 0
    photos = find_photos(root)
    assert sorted(photos) == sorted(IDS)
    assert [photos[name].suffix for name in IDS[:4]] == [".png", ".gif", ".webp", ".jpg"]
    assert photos[IDS[0]].read_bytes() == png and report(root) == {}
    assert "36 fetched" in capsys.readouterr().out
    assert run(root) == 0 and len(server.asked) == 36
    photos[IDS[5]].unlink()
    assert run(root) == 0 and server.asked[36:] == [f"/{IDS[5]}"]
    assert not list(root.rglob("*.part"))


def test_a_folder_that_lacks_nothing_is_only_read(root, server, capsys):
    serve(root, server)
    for name in IDS:
        (root / f"{name}.jpg").write_bytes(jpeg())
    before = sorted(root.rglob("*"))
    assert run(root) == 0 and sorted(root.rglob("*")) == before and not server.asked
    assert "36 were there" in capsys.readouterr().out


GOOD = jpeg()
FAULTS = {
    "404": (answer(status=404), "gone", "404 Not Found", 1),
    "410": (answer(status=410), "gone", "410 Gone", 1),
    "a web page": (answer(b"<html>", kind="text/html; charset=utf-8"), "gone", "content type text/html", 1),
    "a web page called a picture": (answer(b"<html>sorry"), "gone", "a web page", 1),
    "no picture": (answer(b"\0" * 99), "gone", "not an image", 1),
    "too large, said so": (answer(b"", Content_Length=9 << 20), "gone", "larger than 1 MB", 1),
    "too large, not said": (answer(b"\xff" * (2 << 20), Content_Length=None, Connection="close"), "gone",
                            "larger than 1 MB", 1),
    "half a picture": (answer(GOOD[:len(GOOD) // 2]), "failed", "truncated", 3),
    "cut short": (answer(GOOD[:99], Content_Length=len(GOOD), Connection="close"), "failed", "connection broken", 3),
    "nothing": (answer(b""), "failed", "empty answer", 3),
    "hangs up": (hang_up, "failed", "connection broken", 3),
    "500": (answer(status=500), "failed", "500 Internal Server Error", 3),
    "silence": (lambda handler: time.sleep(0.8), "failed", "time-out", 3),
    "drips": (drip(0.1), "failed", "time-out", 3),
    "drips headers": (drip_headers, "failed", "time-out", 3),
    "speaks no HTTP": (lambda handler: handler.wfile.write(b"220 ready\r\n\r\n"), "failed", "connection broken", 3),
    "packs it badly": (answer(b"\x1f\x8bno", Content_Encoding="gzip"), "failed", "connection broken", 3),
    "goes in circles": (lambda handler: redirect(handler.path)(handler), "gone", "too many redirects", 6),
    "sends to a file": (redirect("file:///etc/passwd"), "gone", "no http(s) address", 1),
    "unavailable": (redirect("/en-us/photo_unavailable.png"), "gone", "placeholder picture", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_cause_and_as_many_tries_as_may_help(root, server, fault, monkeypatch):
    send, result, cause, tries = FAULTS[fault]
    monkeypatch.setattr(fetch, "read_dataset", first_story)
    serve(root, server, **{IDS[2]: send})
    code = run(root, "--max-megabytes", "1")
    assert code == (3 if result == "failed" else 0)
    found = report(root)
    assert list(found) == [IDS[2]] and found[IDS[2]][0] == result and cause in found[IDS[2]][1]
    assert server.asked.count(f"/{IDS[2]}") == tries
    assert sorted(find_photos(root)) == sorted({*IDS[:5]} - {IDS[2]}) and not list(root.rglob("*.part"))
    before = len(server.asked)
    run(root, "--max-megabytes", "1")  # what is gone is not asked for again, what failed is, and so is --retry's
    asked = server.asked[before:]
    assert bool(asked) == (result == "failed" or "larger" in cause)
    if result == "gone":
        run(root, "--max-megabytes", "1", "--retry")
        assert len(server.asked) > before + len(asked)


def first_story(root):
    """The dataset with the first story alone: its five photos."""
    dataset = read_dataset(root)
    for split, stories in dataset.stories.items():
        del stories[1 if split == "train" else 0:]
    return dataset


def test_what_passes_is_overcome(root, server):
    serve(root, server, **{
        IDS[0]: in_turn(answer(status=503), hang_up, answer(GOOD)),
        IDS[1]: in_turn(answer(GOOD[:50], Content_Length=500, Connection="close"), answer(jpeg())),
        IDS[2]: redirect(f"/{IDS[3]}", 301)})
    assert run(root) == 0 and len(find_photos(root)) == 36


def test_the_second_address_is_asked_where_the_first_is_of_no_use(root, server):
    serve(root, server)
    server.routes |= {"/gone": answer(status=404), "/page": answer(b"<html>"), "/gone_m": answer(status=410)}
    name_urls(root, {IDS[0]: (f"{server.url}/gone", f"{server.url}/{IDS[0]}"),
                     IDS[1]: (f"{server.url}/page", f"{server.url}/{IDS[1]}"),
                     IDS[2]: (f"{server.url}/gone", f"{server.url}/gone_m")})
    assert run(root) == 0
    assert report(root) == {IDS[2]: ("gone", "404 Not Found; 410 Gone")} and len(find_photos(root)) == 35


@pytest.mark.parametrize("wait", [lambda: "1", lambda: formatdate(time.time() + 2, usegmt=True)])
def test_who_asks_for_patience_is_left_alone_so_long(root, server, wait):
    times = []

    def busy(handler):
        times.append(time.monotonic())
        (answer(status=429, Retry_After=wait()) if len(times) == 1 else answer(GOOD))(handler)
    serve(root, server, **{name: busy for name in IDS})
    assert run(root, "--per-host", "1") == 0
    assert times[1] - times[0] >= 0.9 and times[-1] - times[1] < 5  # the whole host, not the photo alone


def test_who_asks_for_an_hour_is_asked_by_the_next_run(root, server):
    serve(root, server, **{IDS[0]: answer(status=429, Retry_After=3600)})
    assert run(root) == 3 and report(root) == {IDS[0]: ("failed", "429 Too Many Requests, come back in 3600 s")}


def test_so_many_at_a_time_from_one_host(root, server):
    def slow(handler):
        time.sleep(0.03)
        answer(GOOD[:-2] + bytes(RANDOM.integers(0, 9, 1, np.uint8)) + GOOD[-2:])(handler)
    serve(root, server, **{name: slow for name in IDS})
    run(root, "--per-host", "3")
    assert server.most == 3


def test_a_host_that_is_away_is_not_asked_for_ever(root, server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        name_urls(root, {name: f"http://127.0.0.1:{port}/{name}" for name in IDS})
        started = time.monotonic()
        assert run(root, "--tries", "100") == 3 and time.monotonic() - started < 20
    assert {result for result, _ in report(root).values()} == {"failed"} and len(report(root)) == 36
    assert any("host does not answer" in cause for _, cause in report(root).values())


def test_one_picture_under_many_ids_of_many_albums_is_taken_back(root, server):
    sorry = jpeg()
    first_of_album = IDS[::6]
    serve(root, server, **{name: answer(sorry) for name in first_of_album})
    name_urls(root, {first_of_album[0]: (f"{server.url}/{first_of_album[0]}", f"{server.url}/better")})
    server.routes["/better"] = answer(jpeg())
    assert run(root) == 0
    assert report(root) == {name: ("gone", "placeholder picture") for name in first_of_album[1:]}
    assert sorted(find_photos(root)) == sorted(set(IDS) - set(first_of_album[1:]))


def test_placeholders_are_counted_over_runs(root, server):
    sorry, first_of_album = jpeg(), IDS[::6]
    serve(root, server, **{name: answer(sorry) for name in first_of_album[:4]},
          **{name: in_turn(answer(status=500), answer(status=500), answer(status=500), answer(sorry))
             for name in first_of_album[4:]})
    assert run(root) == 3 and len(find_photos(root)) == 34
    assert run(root) == 0 and sorted(report(root)) == sorted(first_of_album) and len(find_photos(root)) == 30


def test_a_killed_run_goes_on(root, server, monkeypatch):
    serve(root, server, **{IDS[3]: answer(status=404)})
    note, left = Journal.note, [10]

    def stop(self, line):
        note(self, line)
        left[0] -= line.result == SAVED
        if not left[0]:
            raise KeyboardInterrupt
    monkeypatch.setattr(Journal, "note", stop)
    assert run(root, "--per-host", "2") == 130 and 10 <= len(find_photos(root)) <= 14
    monkeypatch.undo()
    journal = root / ".fetch" / "journal.jsonl"
    journal.write_text(journal.read_text() + '{"id": "half')
    before = len(server.asked)
    assert run(root) == 0 and len(find_photos(root)) == 35 and len(server.asked) < before + 30


def test_photos_of_the_albums_are_fetched_when_asked_for(root, server):
    untold = photo_id("train", 0, 6)
    serve(root, server)
    server.routes[f"/{untold}"] = answer(jpeg())
    name_urls(root, {untold: f"{server.url}/{untold}"})
    assert run(root) == 0 and untold not in find_photos(root)
    assert run(root, "--photos", "albums") == 0 and untold in find_photos(root)
    assert all(cause == "no address in the annotations" for _, cause in report(root).values())


def test_settings_out_of_range_are_refused(tmp_path):
    with pytest.raises(UserError, match="per_host: expected at least 1 and at most 64, found 0; change --per-host"):
        FetchConfig(tmp_path, per_host=0)
    with pytest.raises(UserError, match="silence: expected at least 0.1 and at most 3600.*, found nan"):
        FetchConfig(tmp_path, silence=float("nan"))
    assert main(["fetch", str(tmp_path / "nowhere")]) == 2
