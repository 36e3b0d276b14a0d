"""For everybody: without a mouse, on a phone, in the dark, through a screen reader, offline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import TEXTS, Shoot, Visit
from tests.conftest import ROOT
from tests.server.clients import TOKEN, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Expect, Page

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
MOST_BYTES = 60_000
MOST_REQUESTS = 6

SLOW_STEPS = "400"

FOCUSABLE = """() => [...document.querySelectorAll("button, a[href], summary, input, select, textarea")]
  .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0)
  .filter((one) => one.type !== "radio" || one.checked)
  .map((one, i) => { one.dataset.stop = i; return one.outerHTML.slice(0, 80); })"""
FOCUSED = """() => {
  const one = document.activeElement, shown = one.type === "radio" ? one.nextElementSibling : one;
  const { outlineStyle, outlineWidth } = getComputedStyle(shown);
  return {
    stop: one.dataset.stop === undefined ? null : Number(one.dataset.stop),
    isMarked: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
  };
}"""
IS_IN_VIEW = """() => {
  const box = document.activeElement.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
}"""
SAID = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), said = [];
  while (texts.nextNode()) said.push(texts.currentNode.data.trim());
  for (const one of document.querySelectorAll("body *")) {
    for (const name of ["aria-label", "placeholder", "alt", "title"]) said.push(one.getAttribute(name));
  }
  return said.filter(Boolean);
}"""


def draw_two(page: Page, expect: Expect) -> None:
    """A picture and a version of it: all that the page can show about pictures."""
    page.locator("#prompt").fill("a red house")
    page.locator("#prompt").press("Enter")
    expect(page.locator("#gallery li")).to_have_count(1)
    page.locator("#change-words").fill("make the house blue")
    page.locator("#change-words").press("Enter")
    expect(page.locator("#versions li")).to_have_count(2)
    expect(page.locator("#gallery li")).to_have_count(2)


def faults(page: Page) -> list[str]:
    """What axe-core finds on the page as it stands."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    chromium: Browser, visit: Visit, expect: Expect, shoot: Shoot, scheme: str
) -> None:
    page = visit(chromium, color_scheme=scheme, reduced_motion="reduce")
    assert faults(page) == []
    page.locator("#more > summary").click()
    assert faults(page) == []
    draw_two(page, expect)
    shoot(page, f"all-{scheme}")
    assert faults(page) == []
    page.locator("#help").click()
    assert faults(page) == []


def test_a_phone_shows_it_all_without_scrolling_sideways(
    chromium: Browser, visit: Visit, expect: Expect, shoot: Shoot
) -> None:
    page = visit(chromium, **PHONE)
    assert not is_too_wide(page)
    page.locator("#more > summary").tap()
    draw_two(page, expect)
    assert not is_too_wide(page)
    assert faults(page) == []
    shoot(page, "phone")


def test_axe_finds_nothing_in_firefox(firefox: Browser, visit: Visit, expect: Expect) -> None:
    page = visit(firefox, color_scheme="dark")
    page.locator("#more > summary").click()
    draw_two(page, expect)
    assert faults(page) == []


def test_axe_finds_nothing_while_it_draws_and_where_something_went_wrong(
    chromium: Browser, visit: Visit, expect: Expect, shoot: Shoot, tmp_path: Path
) -> None:
    page = visit(chromium, reduced_motion="reduce")
    page.locator("#more > summary").click()
    page.locator("#steps").fill(SLOW_STEPS)
    page.locator("#prompt").fill("a red house")
    page.locator("#draw").click()
    expect(page.locator("#picture.preview")).to_be_visible()
    assert faults(page) == []
    page.locator("#stop").click()
    expect(page.locator("#status")).to_have_text(TEXTS["stopped"])
    path = tmp_path / "notes.mp3"
    path.write_text("no sound at all")
    page.locator("#file").set_input_files(path)
    expect(page.locator("#alert")).to_contain_text("notes.mp3")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a str, it says
        assert faults(page) == []
        shoot(page, f"wrong-{scheme}")


def test_nothing_scrolls_sideways(chromium: Browser, visit: Visit, expect: Expect) -> None:
    page = visit(chromium)
    page.locator("#more > summary").click()
    draw_two(page, expect)
    for width in (320, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        assert not is_too_wide(page), width


@pytest.mark.parametrize("language", ["de", "es"])
def test_other_languages_fit_a_phone_and_say_nothing_in_english(
    chromium: Browser, visit: Visit, expect: Expect, shoot: Shoot, language: str
) -> None:
    texts = json.loads((ROOT / f"audio2img/server/static/texts/{language}.json").read_text("utf-8"))
    english = set(TEXTS.values()) - set(texts.values())
    keys = {key for key in TEXTS if "." in key or "_" in key}
    page = visit(chromium, locale=language, **PHONE)
    expect(page.locator("html")).to_have_attribute("lang", language)
    page.locator("#more > summary").tap()
    draw_two(page, expect)
    assert not is_too_wide(page)
    assert faults(page) == []
    shoot(page, f"phone-{language}")
    said = page.evaluate(SAID)
    assert texts["title"] in said
    assert texts["prompt.example"] in said
    assert [text for text in said if text in english | keys] == []


def test_the_keyboard_reaches_everything(browser: Browser, visit: Visit, expect: Expect) -> None:
    """In the order in which it is read, and one sees where one is."""
    page = visit(browser)
    page.locator("#more > summary").click()
    draw_two(page, expect)
    page.locator("#help").focus()
    focusable = page.evaluate(FOCUSABLE)
    assert len(focusable) > 30
    for number, one in enumerate(focusable[1:], 1):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == {"stop": number, "isMarked": True}, one
        page.wait_for_function(IS_IN_VIEW)  # browsers scroll softly


def test_space_in_words_speaks_to_nobody(browser: Browser, visit: Visit, expect: Expect) -> None:
    page = visit(browser)
    page.locator("#prompt").press_sequentially("a red house ")
    expect(page.locator("#prompt")).to_have_value("a red house ")
    expect(page.locator("#speak")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#hint")).to_have_text(TEXTS["hint"])


def test_speak_stop_and_draw_by_keys_alone(browser: Browser, visit: Visit, expect: Expect) -> None:
    page = visit(browser)
    page.keyboard.press(" ")
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.listening"])
    page.keyboard.press("Escape")
    expect(page.locator("#speak")).to_have_attribute("aria-pressed", "false")
    while not page.locator("#prompt").evaluate("one => one === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.type("a red house")
    page.keyboard.press("Enter")
    expect(page.locator("#announce")).to_have_text(TEXTS["done.one"])
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_the_first_page_is_light(
    chromium: Browser, new_context: Callable[..., BrowserContext], expect: Expect, studio: Server
) -> None:
    """As much as comes over the line, with what the page loads after its first words."""
    page = new_context(chromium).new_page()
    line = page.context.new_cdp_session(page)
    asked: list[str] = []
    sizes: list[int] = []
    line.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    line.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    line.send("Network.enable")
    page.goto(f"http://{studio.host}/?token={TOKEN}")
    expect(page.locator("#speak")).to_be_enabled()
    page.wait_for_load_state("networkidle")
    over_the_line = [url for url in asked if not url.startswith("data:")]
    assert all(url.startswith(f"http://{studio.host}/") for url in over_the_line)
    assert 2 <= len(over_the_line) <= MOST_REQUESTS
    assert len(sizes) >= len(over_the_line)
    assert 0 < sum(sizes) <= MOST_BYTES
