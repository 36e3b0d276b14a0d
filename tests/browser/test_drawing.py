"""Words become pictures on the page; pictures are looked at, changed and brought back."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from audio2img.output import PictureRecord, write_picture
from audio2img.output.pictures import read_record
from audio2img.output.pixels import read_pixels
from audio2img.types import ImageRequest, ImageResult, Segment, Transcript
from tests.browser.conftest import TEXTS, Shoot, Visit, shown
from tests.server.clients import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Expect, Page

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


# The answer to an order comes later than the news of how it failed.
LATE_ANSWER = """
const fetchAtOnce = window.fetch;
window.fetch = async (...given) => {
  const answer = await fetchAtOnce(...given);
  const isOver = () => !String(given[0]).startsWith("/hear") || document.querySelector("#alert p");
  while (!isOver()) await new Promise(requestAnimationFrame);
  return answer;
};
"""


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
    expect(page.locator("#total")).to_have_text("1")


def test_a_kept_seed_gives_the_same_picture_again(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server
) -> None:
    page = visit(chromium)
    draw(page, expect, PROMPT)
    [first] = studio.pictures.glob("*.png")
    page.locator("#keep-seed").click()
    expect(page.locator("#seed")).to_have_value(str(read_record(first).request.seed))
    page.locator("#draw").click()
    expect(page.locator("#gallery li")).to_have_count(2)
    [second] = set(studio.pictures.glob("*.png")) - {first}
    assert np.array_equal(read_pixels(first)[0], read_pixels(second)[0])
    *previews, last = shown(page, "pictures")
    assert last == f"/pictures/{second.name}"
    assert len(set(previews)) > 2  # it grows


def test_several_in_a_style(chromium: Browser, visit: Visit, expect: Expect, studio: Server) -> None:
    page = visit(chromium)
    page.locator("#style").select_option("watercolor")
    page.locator("#count").fill("2")
    page.locator("#prompt").fill("a red house")
    page.locator("#draw").click()
    expect(page.locator("#status")).to_have_text(TEXTS["done"].replace("{n}", "2"))
    expect(page.locator("#gallery li")).to_have_count(2)
    expect(page.locator("#batch li")).to_have_count(2)
    one, other = (read_record(path).request for path in studio.pictures.glob("*.png"))
    assert {one.index, other.index} == {0, 1}
    assert one.prompt == other.prompt
    assert one.prompt.startswith("a red house")
    assert "watercolo" in one.prompt
    page.locator("#batch button").nth(1).click()
    second = page.locator("#batch button").nth(1).get_attribute("data-name")
    expect(page.locator("#picture")).to_have_attribute("src", f"/pictures/{second}")


def test_what_the_model_cannot_is_not_offered(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server
) -> None:
    """The embedded one draws at one size, and is the only one here; all else it can."""
    page = visit(chromium)
    expect(page.locator("#steps")).to_be_hidden()
    page.locator("#more > summary").click()
    expect(page.locator("#steps")).to_have_attribute("placeholder", "20")
    for name in ("width", "height", "model", "language"):
        expect(page.locator(f"#{name}")).to_be_hidden()
    for name in ("negative", "guidance", "start-choose"):
        expect(page.locator(f"#{name}")).to_be_visible()
    page.locator("#scheduler").select_option("euler")
    page.locator("#steps").fill("5")
    page.locator("#negative").fill("dog")
    draw(page, expect, "a red house")
    [picture] = studio.pictures.glob("*.png")
    request = read_record(picture).request
    assert (request.scheduler, request.steps, request.negative_prompt) == ("euler", 5, "dog")


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
    assert read_record(download.value.path()).request.prompt == PROMPT
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


def test_a_chosen_recording_gives_words_alone(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, demo_audio: Path
) -> None:
    page = visit(chromium)
    page.locator("#at-once").uncheck()
    page.locator("#file").set_input_files(demo_audio)
    expect(page.locator("#words.final")).to_have_text("please draw a big red house at night")
    expect(page.locator("#prompt")).to_have_value("please draw a big red house at night")
    expect(page.locator("#stop")).to_be_disabled()  # nothing more comes
    assert list(studio.pictures.glob("*.png")) == []


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


def test_what_went_wrong_before_the_order_was_answered_stays_told(
    chromium: Browser,
    new_context: Callable[..., BrowserContext],
    visit: Visit,
    expect: Expect,
    tmp_path: Path,
) -> None:
    context = new_context(chromium)
    context.add_init_script(LATE_ANSWER)
    page = visit(context)
    path = tmp_path / "notes.mp3"
    path.write_text("no sound at all")
    with page.expect_request_finished(lambda request: "/hear?" in request.url):
        page.locator("#file").set_input_files(path)
    expect(page.locator("#alert")).to_contain_text("notes.mp3")
    expect(page.locator("#status")).to_be_empty()  # the answer is here
    expect(page.locator("#alert")).to_contain_text("notes.mp3")


def test_a_picture_of_others_is_one_to_start_from(
    chromium: Browser,
    new_context: Callable[..., BrowserContext],
    visit: Visit,
    expect: Expect,
    studio: Server,
    tmp_path: Path,
) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (200, 100), "green").save(photo)
    page = visit(new_context(chromium, expected="status of 422"))
    drop(page, photo, "image/png")
    expect(page.locator("#offer")).to_contain_text("photo.png")
    page.locator("#offer-yes").click()
    expect(page.locator("#start-name")).to_have_text(TEXTS["start.from"].replace("{name}", "photo.png"))
    page.locator("#strength").fill("0.3")
    draw(page, expect, PROMPT)
    [picture] = studio.pictures.glob("*.png")
    request = read_record(picture).request
    assert request.init_image is not None
    assert request.init_image.name == "photo.png"
    assert request.strength == 0.3
    red, green, blue = read_pixels(picture)[0].mean((0, 1))
    assert green > max(red, blue)
    page.locator("#start-none").click()
    expect(page.locator("#start")).to_be_hidden()


def test_what_a_picture_says_is_text(chromium: Browser, visit: Visit, expect: Expect, studio: Server) -> None:
    """Anybody can write a record; what it says is nothing that a page would run or load."""
    hostile = '<img src=x onerror="window.caught=1"></script><b>bold</b>'
    request = ImageRequest(hostile, hostile, seed=1)
    image = ImageResult(
        np.zeros((64, 64, 3), np.uint8), request, hostile, "0123456789abcdef" * 4, "reference"
    )
    said = Transcript((Segment(0, 1, hostile),), "en", 0.9, "transcribe", hostile)
    picture = write_picture(image, PictureRecord.of(image, transcript=said), studio.pictures / "a.png")
    page = visit(chromium)
    page.locator("#gallery button").click()
    expect(page.locator("#caption")).to_have_text(hostile)
    expect(page.locator("#facts")).to_contain_text(hostile)
    assert page.locator("#gallery img").get_attribute("alt") == hostile
    page.locator("#edit").click()
    expect(page.locator("#prompt")).to_have_value(hostile)
    page.locator("#prompt").fill("")
    drop(page, picture, "image/png")
    expect(page.locator("#prompt")).to_have_value(hostile)
    assert page.locator("main b, main [onerror]").count() == 0
    assert page.evaluate("window.caught") is None


def test_write_the_change(chromium: Browser, visit: Visit, expect: Expect, studio: Server) -> None:
    page = visit(chromium)
    page.locator("#at-once").uncheck()
    draw(page, expect, "a red house", seed="3")
    [first] = studio.pictures.glob("*.png")
    page.locator("#change-words").fill("make the house blue")
    page.locator("#change-words").press("Enter")
    expect(page.locator("#revised")).to_have_value("a blue house")
    expect(page.locator("#gallery li")).to_have_count(1)  # not before it was looked at
    page.locator("#revision-draw").click()
    expect(page.locator("#gallery li")).to_have_count(2)
    expect(page.locator("#before-picture")).to_have_attribute("src", f"/pictures/{first.name}")
    [second] = set(studio.pictures.glob("*.png")) - {first}
    request = read_record(second).request
    assert (request.prompt, request.seed) == ("a blue house", 3)
    page.locator("#versions button").first.click()
    expect(page.locator("#picture")).to_have_attribute("src", f"/pictures/{first.name}")
    expect(page.locator("#before")).to_be_hidden()
    expect(page.locator("#versions button")).to_have_count(2)


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
