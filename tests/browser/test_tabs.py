"""Two tabs never disturb each other, and what one has begun goes on without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import TEXTS, Shoot, Visit
from tests.server.clients import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Expect, Page

pytestmark = pytest.mark.slow


def begin(page: Page, prompt: str, steps: str) -> None:
    page.locator("#more > summary").click()
    page.locator("#steps").fill(steps)
    page.locator("#prompt").fill(prompt)
    page.locator("#draw").click()


def test_stop_stops_ones_own(
    chromium: Browser,
    new_context: Callable[..., BrowserContext],
    visit: Visit,
    expect: Expect,
    studio: Server,
    shoot: Shoot,
) -> None:
    context = new_context(chromium)
    first, second = visit(context), visit(context)
    begin(first, "a red house", "400")
    expect(first.locator("#picture.preview")).to_be_visible()
    second.locator("#prompt").fill("a blue boat")
    second.locator("#draw").click()
    expect(second.locator("#status")).to_have_text(TEXTS["place.one"].replace("{n}", "1"))
    shoot(second, "waiting")
    first.locator("#stop").click()
    expect(first.locator("#status")).to_have_text(TEXTS["stopped"])
    expect(second.locator("#status")).to_have_text(TEXTS["done.one"])
    expect(second.locator("#caption")).to_have_text("a blue boat")
    expect(first.locator("#gallery li")).to_have_count(1)
    assert len(list(studio.pictures.glob("*.png"))) == 1


def test_a_closed_tab_is_drawn_for(
    chromium: Browser, new_context: Callable[..., BrowserContext], visit: Visit, expect: Expect
) -> None:
    context = new_context(chromium)
    first, second = visit(context), visit(context)
    begin(first, "a red house", "100")
    expect(first.locator("#stop")).to_be_enabled()
    expect(first.locator("#done")).to_be_visible()
    first.close()
    expect(second.locator("#gallery li")).to_have_count(1)
    second.locator("#gallery button").click()
    expect(second.locator("#caption")).to_have_text("a red house")
