"""The report page in a real browser: opened, searched, filtered, walked through by keyboard, small and printed."""
import json

import pytest

from data.folder.folder import Features
from evaluate.page.report import write_report
from tests.conftest import write_features_folder
from tests.page_runs import add_thumbnails, set_captions, write_evaluated_run, write_told_run

NUM_STORIES = 120
ON_SCREEN = """[...document.querySelectorAll('.story')].filter(card => {
    const box = card.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; })"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of 120 stories whose captions are hostile here and there."""
    root = tmp_path_factory.mktemp("page")
    folder = add_thumbnails(write_features_folder(root / "features", {"test": NUM_STORIES}), side=96)
    captions = [f"frame {index % 5} of story {index // 5} ." for index in range(NUM_STORIES * 5)]
    captions[2:5] = ["<img src=x onerror='window.hacked=1'>", "</script><script>window.hacked=2</script>", "{{7*7}}"]
    captions[9] = "a zebra rides home ."
    set_captions(folder, "test", captions)
    predictions = write_evaluated_run(root / "run", folder) / "predictions-test.jsonl"
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    next(line for line in lines if (line["story_id"], line["t"]) == ("test-1", 4))["written"] = "We ride a home today ."
    predictions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return write_report(root / "run", "test", Features.open(folder))


@pytest.fixture
def opened(browser, page):
    browser.open(page)
    return browser


def show_stories(browser):
    browser.run("document.getElementById('stories').scrollIntoView()")
    browser.wait(f"{ON_SCREEN}.length && {ON_SCREEN}.every(card => card.dataset.filled)")


def first_story(browser):
    return browser.run("return document.querySelector('.story').id")


def choose(browser, name, value):
    browser.run("const field = document.getElementById(arguments[0]); field.value = arguments[1];"
                "field.dispatchEvent(new Event('change'))", name, value)


def test_it_opens_without_a_complaint_and_shows_captions_without_running_them(opened):
    show_stories(opened)
    assert opened.messages() == []
    assert opened.run("return window.hacked") is None
    shown = opened.run("return document.querySelector('#s-test-0').textContent")
    assert "<img src=x onerror='window.hacked=1'>" in shown and "{{7*7}}" in shown
    assert "</script><script>window.hacked=2</script>" in shown
    sizes = opened.run("return [...document.querySelectorAll('#s-test-1 .strip img')].map(image => image.naturalWidth)")
    assert len(sizes) == 5 and all(sizes)
    assert opened.run("return document.querySelectorAll('#s-test-1 .target').length") == 1


def test_only_stories_near_the_screen_are_filled_and_any_is_when_it_comes_near(opened):
    show_stories(opened)
    assert opened.run("return document.querySelectorAll('.story[data-filled]').length") < NUM_STORIES / 2
    opened.run(f"document.getElementById('s-test-{NUM_STORIES - 1}').scrollIntoView()")
    opened.wait(f"{ON_SCREEN}.length && {ON_SCREEN}.every(card => card.dataset.filled)")


def test_search_finds_captions(opened):
    opened.press("/")
    opened.press(*"zebra home")
    opened.wait("document.getElementById('count').textContent === '1 of 120 stories'")
    assert first_story(opened) == "s-test-1"
    opened.press(*"xx")
    opened.wait("document.querySelector('.empty')")
    opened.press("Escape")
    opened.wait(f"document.querySelectorAll('.story').length === {NUM_STORIES}")


def test_a_tag_filters_by_how_it_was_predicted(opened, page):
    lines = [json.loads(line) for line in (page.parent / "predictions-test.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["t"] == 4]
    tag = last[0]["tags_next"][-1]
    column = opened.run("return [...document.querySelectorAll('#tag option')].find("
                        "option => option.textContent.startsWith(arguments[0] + ' (')).value", tag.replace("_", " "))
    choose(opened, "tag", column)
    expected = {"true": {line["story_id"] for line in last if tag in line["tags"]},
                "hit": {line["story_id"] for line in last if tag in line["tags"] and tag in line["tags_next"]},
                "alarm": {line["story_id"] for line in last if tag not in line["tags"] and tag in line["tags_next"]}}
    for role, stories in expected.items():
        choose(opened, "role", role)
        shown = opened.run("return [...document.querySelectorAll('.story')].map(card => card.id.slice(2))")
        assert set(shown) == stories


def test_best_and_worst_come_first_when_asked_for(opened, page):
    lines = [json.loads(line) for line in (page.parent / "predictions-test.jsonl").read_text().splitlines()]
    last = {line["story_id"]: line["nll"] for line in lines if line["t"] == 4}
    choose(opened, "order", "likely")
    assert first_story(opened) == f"s-{min(last, key=lambda story: round(last[story] / 11, 3))}"
    choose(opened, "order", "best")
    best = first_story(opened)
    choose(opened, "order", "worst")
    assert first_story(opened) != best
    assert opened.run("return document.querySelector('.story:last-child').id") == best


def test_keys_walk_through_the_stories_and_choose_the_frames_seen(opened):
    focused = "document.activeElement.id"
    opened.press("j")
    opened.wait(f"{focused} === 's-test-0'")
    opened.press("j", "j", "k")
    opened.wait(f"{focused} === 's-test-1'")
    opened.press("2")
    opened.wait("document.querySelector('#s-test-1').dataset.filled === '2'")
    assert opened.run(f"return {focused}") == "s-test-1"
    classes = opened.run("return [...document.querySelectorAll('#s-test-1 .strip li')].map(frame => frame.className)")
    assert classes == ["seen", "seen", "target", "later", "later"]
    box = opened.run("const box = document.activeElement.getBoundingClientRect(); return [box.top, innerHeight]")
    tools = opened.run("return document.querySelector('.tools').getBoundingClientRect().bottom")
    assert tools <= box[0] < box[1]  # below the bar that stays on the screen


def test_the_first_tab_stop_skips_to_the_stories(opened):
    opened.press("Tab")
    assert opened.run("return document.activeElement.textContent") == "Skip to the stories"
    opened.press("Enter")
    opened.wait("document.querySelector('.tools').getBoundingClientRect().top < innerHeight")
    nameless = opened.run("""return [...document.querySelectorAll('button, input, select, a')].filter(element =>
        element.checkVisibility() && !(element.textContent.trim() || element.ariaLabel || element.labels?.length))
        .map(element => element.outerHTML)""")
    assert nameless == []


def test_differing_words_are_marked(opened):
    opened.run("document.getElementById('s-test-1').scrollIntoView()")
    opened.wait("document.querySelector('#s-test-1[data-filled]')")
    marked = opened.run("return [...document.querySelectorAll('#s-test-1 .pair > div')].map(side => [side.lastChild"
                        ".textContent, [...side.querySelectorAll('mark')].map(mark => mark.textContent)])")
    assert marked == [["a zebra rides home.", ["zebra rides"]], ["We ride a home today.", ["We ride", "today"]]]


def test_tables_sort_by_a_metric(opened):
    table = "document.querySelector('table.sortable')"
    rows = f"return [...{table}.tBodies[0].rows].map(row => row.cells[0].textContent)"
    assert opened.run(rows)[0] == "model"
    opened.run(f"{table}.tHead.querySelector('button').click()")
    assert opened.run(rows)[0] == "oracle"
    assert opened.run(f"return {table}.tHead.querySelector('[aria-sort]').ariaSort") == "descending"
    opened.run(f"{table}.tHead.querySelector('button').click()")
    assert opened.run(rows)[0] == "train mean"


@pytest.mark.parametrize("width", [390, 768, 1400])
def test_nothing_is_wider_than_the_screen(browser, page, width, tmp_path):
    browser.open(page, width=width, height=844)
    show_stories(browser)
    browser.run("for (const details of document.querySelectorAll('details')) details.open = true")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    outside = browser.run("""return [...document.querySelectorAll('main *')].filter(element =>
        !element.closest('.scroll, svg, .hidden-text') && element.checkVisibility()
        && element.getBoundingClientRect().right > innerWidth + 1).map(element => element.outerHTML.slice(0, 80))""")
    assert outside == []
    assert browser.screenshot(tmp_path / "page.png").stat().st_size > 10_000


def test_dark_follows_the_system_until_it_is_chosen(browser, page):
    light = "getComputedStyle(document.documentElement).backgroundColor"
    browser.open(page, scheme="light")
    paper = browser.run(f"return {light}")
    browser.open(page, scheme="dark")
    assert browser.run(f"return {light}") != paper
    assert browser.run("return document.getElementById('theme').ariaPressed") == "true"
    browser.run("document.getElementById('theme').click()")
    assert browser.run(f"return {light}") == paper
    browser.run("localStorage.clear()")


def test_print_shows_whole_stories_and_no_controls(opened):
    opened.run("dispatchEvent(new Event('beforeprint'))")
    opened.command("Emulation.setEmulatedMedia", media="print")
    printed = opened.run("return [...document.querySelectorAll('.story')].filter(card => card.checkVisibility())"
                         ".map(card => card.dataset.filled)")
    assert printed == ["4"] * 24
    assert not opened.run("return document.querySelector('.tools').checkVisibility()")
    opened.command("Emulation.setEmulatedMedia", media="")
    opened.run("dispatchEvent(new Event('afterprint'))")
    assert opened.run("return [...document.querySelectorAll('.story')].every(card => card.checkVisibility())")


@pytest.mark.slow
def test_two_thousand_stories_open_and_scroll_smoothly(browser, tmp_path):
    folder = add_thumbnails(write_features_folder(tmp_path / "features", {"test": 2010}, shard_rows=6000))
    page = write_report(write_evaluated_run(tmp_path / "run", folder), "test", Features.open(folder))
    assert page.stat().st_size <= 40_000_000
    browser.open(page)
    loaded = browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert browser.run("return document.querySelectorAll('.story').length") == 2010
    frames = browser.run("""return new Promise(done => {
        document.getElementById('stories').scrollIntoView();
        const times = []; let last = performance.now();
        requestAnimationFrame(function step(now) {
            times.push(now - last); last = now; scrollBy(0, 120);
            if (times.length < 300) requestAnimationFrame(step); else done(times.sort((a, b) => a - b));
        });
    })""")
    median, slow = frames[150], frames[285]
    print(f"{page.stat().st_size / 1e6:.1f} MB, open {loaded:.0f} ms, frames {median:.0f} ms median, {slow:.0f} ms p95")
    assert loaded < 10_000 and median < 60 and slow < 250  # a loaded machine without a GPU


def test_whole_stories_are_shown_sentence_by_sentence(browser, tmp_path):
    folder = add_thumbnails(write_features_folder(tmp_path / "features", {"test": 24}), side=96)
    set_captions(folder, "test", ["<b onclick='window.hacked=3'>bold</b> & brave ."] * 120)
    browser.open(write_report(write_told_run(tmp_path / "told", folder), "test", Features.open(folder)))
    show_stories(browser)
    assert browser.messages() == [] and browser.run("return window.hacked") is None
    card = "document.querySelector('#s-test-0')"
    assert browser.run(f"return {card}.querySelectorAll('.strip img').length") == 5
    pairs = browser.run(f"return [...{card}.querySelectorAll('.sentences .pair')].map(pair => pair.textContent)")
    assert len(pairs) == 5 and "<b onclick='window.hacked=3'>bold</b> & brave." in pairs[0]
    assert "once we came here" in pairs[0]
    said = json.loads((tmp_path / "told/predictions-test.jsonl").read_text().splitlines()[0])
    chips = f"[...{card}.querySelectorAll('.pair')].map(pair => pair.querySelectorAll('.chip.hit, .chip.miss').length)"
    assert browser.run(f"return {chips}") == [len(tags) for tags in said["tags"]]
    choose(browser, "order", "unlikely")
    unlikely = first_story(browser)
    choose(browser, "order", "likely")
    assert first_story(browser) != unlikely
    browser.press("j")
    assert browser.run("return document.activeElement.id") == first_story(browser)
    assert browser.run("return document.getElementById('story-t').offsetParent === null")
