"""For everybody: without a mouse, on a phone, in the dark, through a screen reader, offline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import TEXTS, Shoot, Visit
from tests.server.clients import TOKEN, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Expect, Page, Request

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
MOST_BYTES = 60_000
MOST_REQUESTS = 6

FOCUSABLE = """() => [...document.querySelectorAll("button, a[href], summary, input, select, textarea")]
  .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0)
  .filter((one) => one.type !== "radio" || one.checked)
  .map((one) => { one.dataset.stop = ""; return one; }).length"""
ARRIVED = "() => { delete document.activeElement.dataset?.stop; }"
LEFT = "() => [...document.querySelectorAll('[data-stop]')].map((one) => one.outerHTML.slice(0, 80))"


def draw_two(page: Page, expect: Expect) -> None:
    """A picture and a version of it: all that the page can show about pictures."""
    page.locator("#prompt").fill("a red house")
    page.locator("#prompt").press("Enter")
    expect(page.locator("#gallery li")).to_have_count(1)
    page.locator("#change-words").fill("make the house blue")
    page.locator("#change-words").press("Enter")
    expect(page.locator("#versions li")).to_have_count(2)


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


@pytest.mark.parametrize("language", ["de", "es"])
def test_other_languages_fit_a_phone(
    chromium: Browser, visit: Visit, expect: Expect, shoot: Shoot, language: str
) -> None:
    page = visit(chromium, locale=language, **PHONE)
    expect(page.locator("html")).to_have_attribute("lang", language)
    page.locator("#more > summary").tap()
    assert not is_too_wide(page)
    assert faults(page) == []
    shoot(page, f"phone-{language}")


def test_the_keyboard_reaches_everything(browser: Browser, visit: Visit, expect: Expect) -> None:
    page = visit(browser)
    page.locator("#more > summary").click()
    draw_two(page, expect)
    page.locator("h1").click()
    for _ in range(page.evaluate(FOCUSABLE) + 10):
        page.keyboard.press("Tab")
        page.evaluate(ARRIVED)
    assert page.evaluate(LEFT) == []


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
    requests: list[Request] = []
    page = new_context(chromium).new_page()
    page.on("requestfinished", lambda request: requests.append(request))
    page.goto(f"http://{studio.host}/?token={TOKEN}")
    expect(page.locator("#speak")).to_be_enabled()
    page.wait_for_load_state("networkidle")
    over_the_line = [one for one in requests if one.url.startswith("http")]
    sizes = [one.sizes() for one in over_the_line if one.response() is not None]
    n_bytes = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    assert 0 < n_bytes <= MOST_BYTES
    assert 2 <= len(over_the_line) <= MOST_REQUESTS
