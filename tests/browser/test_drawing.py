"""Words become pictures on the page; pictures are looked at, changed and brought back."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audio2img.output.pictures import read_record
from tests.browser.conftest import TEXTS, Shoot, Visit, shown
from tests.server.clients import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Expect, Page

pytestmark = pytest.mark.slow
PROMPT = "a small blue boat by the sea"
MANY_STEPS = "400"

DROP = """([name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type }));
  const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  document.querySelector("h1").dispatchEvent(event);
}"""


def drop(page: Page, path: Path, kind: str) -> None:
    """As somebody would drop the file on the page."""
    page.evaluate(DROP, [path.name, kind, base64.b64encode(path.read_bytes()).decode()])


def draw(page: Page, expect: Expect, prompt: str, n_pictures: int = 1, seed: str = "") -> None:
    """Draw `prompt`, which is to be number `n_pictures` in the gallery."""
    page.locator("#prompt").fill(prompt)
    page.locator("#seed").fill(seed)
    page.locator("#prompt").press("Enter")
    expect(page.locator("#gallery li")).to_have_count(n_pictures)


def draw_for_long(page: Page, expect: Expect) -> None:
    """Begin one that takes its time, until something of it can be seen."""
    if not page.locator("#steps").is_visible():
        page.locator("#more > summary").click()
    page.locator("#steps").fill(MANY_STEPS)
    page.locator("#prompt").fill(PROMPT)
    page.locator("#draw").click()
    expect(page.locator("#picture.preview")).to_be_visible()


def test_write_and_draw(browser: Browser, visit: Visit, expect: Expect, studio: Server) -> None:
    page = visit(browser)
    draw(page, expect, PROMPT, seed="7")
    [picture] = studio.pictures.glob("*.png")
    request = read_record(picture).request
    assert (request.prompt, request.seed) == (PROMPT, 7)
    assert shown(page, "pictures")[-1] == f"/pictures/{picture.name}"
    expect(page.locator("#facts")).to_contain_text("7")


def test_keys_at_a_picture(chromium: Browser, visit: Visit, expect: Expect, studio: Server) -> None:
    page = visit(chromium)
    draw(page, expect, "a red house", seed="1")
    [house] = studio.pictures.glob("*.png")
    draw(page, expect, PROMPT, 2, seed="2")
    [boat] = set(studio.pictures.glob("*.png")) - {house}
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#picture")).to_have_attribute("src", f"/pictures/{house.name}")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#picture")).to_have_attribute("src", f"/pictures/{boat.name}")
    with page.expect_download() as download:
        page.keyboard.press("d")
    assert download.value.suggested_filename == boat.name
    page.keyboard.press("r")
    expect(page.locator("#gallery li")).to_have_count(3)
    [again] = set(studio.pictures.glob("*.png")) - {house, boat}
    assert read_record(again).request.prompt == PROMPT
    assert read_record(again).request.seed != 2
    page.locator("#prompt").fill("")
    page.locator("h1").click()
    page.keyboard.press("e")
    expect(page.locator("#prompt")).to_have_value(PROMPT)


def test_stop(browser: Browser, visit: Visit, expect: Expect, studio: Server, shoot: Shoot) -> None:
    page = visit(browser)
    draw_for_long(page, expect)
    shoot(page, "drawing")
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text(TEXTS["stopped"])
    expect(page.locator("#stage")).to_be_hidden()
    assert list(studio.pictures.glob("*.png")) == []


def test_a_reload_in_the_middle(chromium: Browser, visit: Visit, expect: Expect) -> None:
    page = visit(chromium)
    draw_for_long(page, expect)
    page.reload()
    expect(page.locator("#picture.preview")).to_be_visible()
    page.locator("#stop").click()  # it is still ours
    expect(page.locator("#status")).to_have_text(TEXTS["stopped"])


def test_a_dropped_recording(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, demo_audio: Path
) -> None:
    page = visit(chromium)
    drop(page, demo_audio, "audio/flac")
    expect(page.locator("#words.final")).to_have_text("please draw a big red house at night")
    expect(page.locator("#gallery li")).to_have_count(1)
    [picture] = studio.pictures.glob("*.png")
    assert read_record(picture).audio_source == demo_audio.name


def test_a_dropped_picture_of_ours_brings_its_settings_back(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, tmp_path: Path
) -> None:
    page = visit(chromium)
    draw(page, expect, PROMPT, seed="7")
    [picture] = studio.pictures.glob("*.png")
    mine = shutil.copy(picture, tmp_path / "mine.png")
    page.locator("#prompt").fill("")
    page.locator("#seed").fill("")
    drop(page, mine, "image/png")
    expect(page.locator("#prompt")).to_have_value(PROMPT)
    expect(page.locator("#seed")).to_have_value("7")


def test_what_could_not_be_loaded_is_loaded_the_next_time(
    firefox: Browser, visit: Visit, expect: Expect, demo_audio: Path
) -> None:
    """Firefox remembers that the module failed."""
    page = visit(firefox)
    page.route("**/static/files.js*", lambda route: route.abort())
    drop(page, demo_audio, "audio/flac")
    expect(page.locator("#alert")).to_contain_text(TEXTS["lost.request"])
    page.unroute("**/static/files.js*")
    drop(page, demo_audio, "audio/flac")
    expect(page.locator("#gallery li")).to_have_count(1)


def test_what_is_no_recording_is_said_so(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, tmp_path: Path, shoot: Shoot
) -> None:
    page = visit(chromium)
    path = tmp_path / "notes.mp3"
    path.write_text("no sound at all")
    page.locator("#file").set_input_files(path)
    expect(page.locator("#alert")).to_contain_text("notes.mp3")
    shoot(page, "refused")
    assert list(studio.pictures.glob("*.png")) == []


def test_write_the_change(chromium: Browser, visit: Visit, expect: Expect, studio: Server) -> None:
    page = visit(chromium)
    draw(page, expect, "a red house", seed="3")
    [first] = studio.pictures.glob("*.png")
    page.locator("#change-words").fill("make the house blue")
    page.locator("#change-words").press("Enter")
    expect(page.locator("#gallery li")).to_have_count(2)
    expect(page.locator("#before-picture")).to_have_attribute("src", f"/pictures/{first.name}")
    [second] = set(studio.pictures.glob("*.png")) - {first}
    request = read_record(second).request
    assert (request.prompt, request.seed) == ("a blue house", 3)


def test_pictures_of_others_come_and_go(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server
) -> None:
    page = visit(chromium)
    draw(page, expect, PROMPT)
    [picture] = studio.pictures.glob("*.png")
    other = Path(shutil.copy(picture, picture.with_name("other.png")))
    expect(page.locator("#gallery li")).to_have_count(2)
    other.unlink()
    expect(page.locator("#gallery li")).to_have_count(1)


def test_pasted_words_are_to_be_drawn(chromium: Browser, visit: Visit, expect: Expect) -> None:
    page = visit(chromium)
    page.evaluate(
        """(words) => {
          const clipboardData = new DataTransfer();
          clipboardData.setData("text/plain", words);
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        PROMPT,
    )
    expect(page.locator("#prompt")).to_have_value(PROMPT)


def test_what_a_picture_says_is_shown_as_text(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server
) -> None:
    page = visit(chromium)
    hostile = "<img src=x onerror=alert(1)> </script> & a red house"
    draw(page, expect, hostile)
    expect(page.locator("#caption")).to_have_text(hostile)
    page.reload()
    page.locator("#gallery button").click()
    expect(page.locator("#caption")).to_have_text(hostile)
    assert page.locator("main img[src=x]").count() == 0
