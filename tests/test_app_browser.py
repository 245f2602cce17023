"""The page in a real browser, the whole way: photos in, put in order, told, mended, compared, saved."""
import json
import shutil
import time

import pytest
from PIL import Image

from data.annotations.stories import read_dataset
from tests.app_server import make_runs, make_video, open_telling, serving

IDLE = "!document.getElementById('choose').disabled"
HOSTILE = "<img src=x onerror=window.hacked=1>.jpg"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = make_runs(tmp_path_factory.mktemp("app"))
    (root / "mine").mkdir()
    for number, path in enumerate(sorted((root / "data/images").glob("te*.jpg"))):
        shutil.copy(path, root / "mine" / (f"photo {number}.jpg" if number else HOSTILE))
    return root


@pytest.fixture(scope="module")
def servers(runs):
    with serving(open_telling(runs / "next")) as ahead, serving(open_telling(runs / "tell")) as tell:
        yield {"next": ahead, "tell": tell}


@pytest.fixture
def open_page(browser, servers, runs):
    """A function that opens the page of a task and gives it some photos, in the order of their names."""
    def open_page(task="next", count=0, **window):
        browser.open("about:blank")
        browser.messages()
        browser.open(servers[task].url, **window)
        if count:
            give(browser, *sorted((runs / "mine").iterdir())[:count])
        return browser
    return open_page


def give(browser, *paths, selector="#files"):
    before = browser.run("return document.querySelectorAll('.frame:not(.coda)').length")
    browser.choose_files(selector, *paths)
    browser.wait(f"document.querySelectorAll('.frame:not(.coda)').length > {before} && {IDLE}", 30)


def click(browser, selector):
    browser.run("document.querySelector(arguments[0]).click()", selector)


def write_in(browser, place, text):
    browser.run("""const field = document.querySelectorAll('textarea')[arguments[0]];
        field.value = arguments[1]; field.dispatchEvent(new Event('input'))""", place, text)


def sentences(browser):
    return browser.run("return [...document.querySelectorAll('textarea')].map(field => field.value)")


def names(browser):
    return browser.run("return [...document.querySelectorAll('.picture img')].map(image => image.alt)")


def status(browser):
    return browser.run("return document.getElementById('status').textContent")


def tell(browser, button="#write"):
    click(browser, button)
    browser.wait(f"{IDLE} && /written/.test(document.getElementById('status').textContent)", 30)
    return sentences(browser)


def test_four_photos_and_a_first_sentence_become_a_story(open_page):
    browser = open_page(count=4)
    assert names(browser) == [HOSTILE, "photo 1.jpg", "photo 2.jpg", "photo 3.jpg"]
    assert browser.run("return document.querySelectorAll('.frame').length") == 5, "the last is what comes next"
    write_in(browser, 0, "The dog went home to <b>Zanzibar</b>.")
    told = tell(browser)
    assert told[0] == "The dog went home to <b>Zanzibar</b>." and all(told)
    assert browser.run("return document.querySelectorAll('[data-part=near] img').length") == 12
    assert browser.run("return document.querySelectorAll('[data-part=next] img').length") == 12, "of places 2 to 5"
    assert "zanzibar" in browser.run("return document.querySelector('[data-part=unknown]:not([hidden])').textContent")
    assert browser.run("return document.querySelector('.frame [data-part=again]').checkVisibility()") is False
    assert browser.messages() == [] and browser.run("return window.hacked") is None


def test_what_is_edited_or_locked_stays_and_the_rest_is_written_again(open_page):
    browser = open_page("tell", count=5)
    first = tell(browser)
    assert len(first) == 5 and all(first) and tell(browser) == first, "greedy: the same again"
    write_in(browser, 1, "I wrote this myself")
    click(browser, ".frame:nth-child(4) [data-part=lock]")
    assert browser.run("return document.querySelectorAll('.frame.locked').length") == 2
    assert browser.run("return document.querySelector('.frame:nth-child(2) [data-part=again]').disabled")
    others = [tell(browser, "#retell") for _ in range(4)]
    assert all(other[1] == "I wrote this myself" and other[3] == first[3] for other in others)
    assert any(other[0] != first[0] for other in others), "drawn: another one"
    before = sentences(browser)
    click(browser, ".frame:nth-child(3) [data-part=vary]")
    browser.wait(f"{IDLE} && /^Sentence 3: /.test(document.getElementById('status').textContent)")
    assert [*sentences(browser)[:2], *sentences(browser)[3:]] == [*before[:2], *before[3:]]
    for place in (2, 4):
        click(browser, f".frame:nth-child({place}) [data-part=lock]")
    assert browser.run("return document.querySelectorAll('.frame.locked').length") == 0
    assert browser.messages() == []


def test_photos_are_dragged_moved_by_keys_and_removed(open_page):
    browser = open_page(count=3, height=2000)
    write_in(browser, 0, "of the first")
    browser.drag(".frame:nth-child(1) .handle", ".frame:nth-child(3)")
    assert names(browser) == ["photo 1.jpg", "photo 2.jpg", HOSTILE]
    assert sentences(browser)[2] == "of the first", "a sentence goes with its photo"
    assert "is now photo 3" in status(browser)
    browser.run("document.querySelector('.frame:nth-child(3) .handle').focus()")
    browser.press("ArrowUp", "ArrowUp")
    assert names(browser)[0] == HOSTILE and browser.run("return document.activeElement.textContent") == "1"
    click(browser, ".frame:nth-child(1) [data-part=later]")
    assert names(browser) == ["photo 1.jpg", HOSTILE, "photo 2.jpg"]
    click(browser, ".frame:nth-child(1) [data-part=remove]")
    assert names(browser) == [HOSTILE, "photo 2.jpg"]
    assert browser.run("return document.activeElement.dataset.part") == "remove"
    for _ in range(2):
        click(browser, ".frame [data-part=remove]")
    assert browser.run("return document.querySelectorAll('.frame').length") == 0, "nothing comes after nothing"
    assert browser.messages() == [] and browser.run("return window.hacked") is None


def test_a_tag_is_switched_off_everywhere(open_page):
    browser = open_page(count=2)
    tell(browser)
    tag = browser.run("const chip = document.querySelector('.tags button'); chip.click(); return chip.dataset.tag")
    pressed = browser.run("""return [...document.querySelectorAll('.tags button')]
        .filter(chip => chip.dataset.tag === arguments[0]).map(chip => chip.ariaPressed)""", tag)
    assert pressed and set(pressed) == {"false"}
    asked = browser.run("""const sent = []; const real = window.fetch;
        window.fetch = (path, options) => { sent.push(options.body); return real(path, options); };
        window.sent = sent; document.getElementById('write').click()""")
    browser.wait(f"{IDLE} && window.sent.length === 2")
    assert asked is None and json.loads(browser.run("return window.sent[1]"))["off"] == [tag]
    assert tag.replace("_", " ") in browser.run("return document.getElementById('off').textContent")


def test_tellings_are_compared_and_taken_over(open_page):
    browser = open_page("tell", count=3)
    first = tell(browser)
    second = tell(browser, "#retell")
    while second == first:
        second = tell(browser, "#retell")
    click(browser, "#keep")
    click(browser, "#keep")
    shown = browser.run("""return [...document.querySelectorAll('.tellings article')].map(
        box => [...box.querySelectorAll('li')].map(item => item.textContent))""")
    assert shown[0] == first and shown[-1] == second and len({*map(tuple, shown)}) == len(shown), "each once"
    assert browser.run("return document.querySelectorAll('article:first-child .differs').length") == sum(
        one != other for one, other in zip(first, second))
    browser.run("document.querySelector('article button').click()")
    assert sentences(browser) == first
    click(browser, ".frame [data-part=remove]")
    assert browser.run("return document.querySelector('article button').disabled"), "its photos are not all here"


def test_a_story_is_saved_as_a_page_and_in_vists_format(open_page, tmp_path):
    browser = open_page("tell", count=5)
    told = tell(browser)
    browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for button, name in (("#save-page", "story.html"), ("#save-vist", "test.story-in-sequence.json")):
        click(browser, button)
        wait_for(tmp_path / name)
        browser.wait(IDLE)
    (story,) = read_dataset(tmp_path).stories["test"]
    assert list(story.captions) == told and len(set(story.photo_ids)) == 5
    browser.open(tmp_path / "story.html")
    assert browser.run("return [...document.querySelectorAll('figcaption')].map(text => text.textContent)") == told
    assert browser.run("return [...document.images].every(image => image.naturalWidth)") and browser.messages() == []


def wait_for(path):
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


def test_work_can_be_stopped(open_page, runs, monkeypatch):
    browser = open_page()
    monkeypatch.setenv("TINY_SECONDS", "0.8")
    browser.choose_files("#files", *sorted((runs / "mine").iterdir())[:5])
    browser.wait("document.querySelectorAll('.frame:not(.coda)').length")
    assert browser.run("return document.getElementById('progress').checkVisibility()")
    click(browser, "#stop")
    browser.wait(f"{IDLE} && /^Stopped after/.test(document.getElementById('status').textContent)")
    looked_at = browser.run("return document.querySelectorAll('.frame:not(.coda)').length")
    assert status(browser) == f"Stopped after {looked_at} of 5." and looked_at < 5
    monkeypatch.undo()
    give(browser, *sorted((runs / "mine").iterdir())[1:3])


def test_what_is_no_photo_is_named_and_the_others_are_taken(open_page, runs, tmp_path):
    (tmp_path / "a notes.jpg").write_text("<b onclick='window.hacked=2'>no photo</b>")
    with open(tmp_path / "b large.jpg", "wb") as file:
        file.truncate(100_000_000)
    (tmp_path / "c drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Image.new("RGB", (80, 60), "teal").save(tmp_path / "d whole.png")
    browser = open_page()
    give(browser, *sorted(tmp_path.iterdir()))
    said = browser.run("return [...document.querySelectorAll('#problems li')].map(item => item.textContent)")
    assert [line.partition(":")[0] for line in said] == ["a notes.jpg", "b large.jpg", "c drawing.svg"]
    assert "32 MB" in said[1] and names(browser) == ["d whole.png"] and browser.run("return window.hacked") is None


def test_of_fifty_photos_five_are_chosen(open_page, tmp_path):
    for number in range(50):
        Image.new("RGB", (40, 30), (number * 5, 90, 90)).save(tmp_path / f"{number}.png")
    browser = open_page()
    browser.choose_files("#files", *tmp_path.iterdir())
    browser.wait("document.querySelectorAll('#choices img').length === 50")
    assert browser.run("return document.activeElement.id") == "picker"
    click(browser, "#choices li:nth-child(8) input")
    assert browser.run("return document.getElementById('take').disabled"), "six are too many"
    click(browser, "#choices li:nth-child(1) input")
    click(browser, "#take")
    browser.wait(f"document.querySelectorAll('.frame').length === 5 && {IDLE}", 30)
    assert names(browser) == ["1.png", "2.png", "3.png", "4.png", "7.png"]
    assert not browser.run("return document.getElementById('drop').checkVisibility()") and browser.messages() == []


def test_key_frames_of_a_video_become_photos(open_page, tmp_path):
    (tmp_path / "film.mp4").write_bytes(make_video())
    browser = open_page("tell")
    give(browser, tmp_path / "film.mp4", selector="#video")
    assert names(browser) == [f"Key frame {number}" for number in range(1, 6)]
    assert all(tell(browser))


def test_files_are_dropped(open_page):
    browser = open_page()
    browser.run("""const canvas = new OffscreenCanvas(40, 30); canvas.getContext('2d').fillRect(0, 0, 40, 30);
        return canvas.convertToBlob({type: 'image/png'}).then(blob => {
            const transfer = new DataTransfer(); transfer.items.add(new File([blob], 'dropped.png'));
            document.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, cancelable: true})); });""")
    browser.wait("document.querySelectorAll('.picture img').length === 1")
    assert names(browser) == ["dropped.png"]


def test_a_wrong_token_and_an_ended_server_are_told(open_page, browser, servers, runs):
    browser.open(servers["next"].url.partition("#")[0])
    assert "lacks its token" in browser.run("return document.getElementById('problems').textContent")
    browser.choose_files("#files", sorted((runs / "mine").iterdir())[0])
    browser.wait("/open the address that the command printed/.test(document.getElementById('problems').textContent)")
    with serving(open_telling(runs / "next")) as ended:
        browser.open(ended.url)
    browser.choose_files("#files", *sorted((runs / "mine").iterdir())[:5])  # some connections were open before
    browser.wait("/Was it ended/.test(document.getElementById('problems').textContent)")


@pytest.mark.parametrize("width", [390, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_window_and_every_field_has_a_name(open_page, width, scheme):
    browser = open_page(count=3, width=width, scheme=scheme)
    write_in(browser, 0, "a" * 300)
    tell(browser)
    click(browser, "#keep")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    nameless = browser.run("""return [...document.querySelectorAll('button, textarea, input:not([hidden])')]
        .filter(field => field.checkVisibility() && !(field.ariaLabel || field.textContent.trim() ||
        field.labels?.[0]?.textContent.trim())).map(field => field.outerHTML)""")
    assert nameless == []
    small = browser.run("""return [...document.querySelectorAll('button')].filter(button => button.checkVisibility() &&
        button.getBoundingClientRect().height < 24).map(button => button.outerHTML)""")
    assert small == []
    dark = browser.run("return getComputedStyle(document.documentElement).backgroundColor") == "rgb(19, 21, 25)"
    assert dark is (scheme == "dark")
