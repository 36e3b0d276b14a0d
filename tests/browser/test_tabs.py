"""Two tabs never disturb each other, and what one has begun goes on without it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import TEXTS, Shoot, Visit
from tests.server.clients import TOKEN, Server, run_server

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
    begin(first, "a red house", "40")
    expect(first.locator("#stop")).to_be_enabled()
    expect(first.locator("#done")).to_be_visible()
    first.close()
    expect(second.locator("#gallery li")).to_have_count(1)
    second.locator("#gallery button").click()
    expect(second.locator("#caption")).to_have_text("a red house")


def test_a_server_that_comes_back(
    chromium: Browser, new_context: Callable[..., BrowserContext], expect: Expect, tmp_path: Path
) -> None:
    """The page says that it is gone, keeps what was written, and finds it again by itself."""
    serving = contextmanager(run_server)
    page = new_context(chromium, expected="ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE").new_page()
    with serving(tmp_path) as server:
        page.goto(f"http://{server.host}/?token={TOKEN}")
        page.locator("#prompt").fill("a red house")
        page.locator("#prompt").press("Enter")
        expect(page.locator("#gallery li")).to_have_count(1)
    expect(page.locator("#connection")).to_have_text(TEXTS["lost"])
    expect(page.locator("#speak")).to_be_disabled()
    page.locator("#prompt").fill("a blue boat")
    page.locator("#draw").click()
    expect(page.locator("#alert")).to_contain_text(TEXTS["lost.request"])
    with serving(tmp_path, "--port", str(server.port)):
        expect(page.locator("#connection")).to_be_empty()
        expect(page.locator("#speak")).to_be_enabled()
        expect(page.locator("#prompt")).to_have_value("a blue boat")
        page.locator("#draw").click()
        expect(page.locator("#gallery li")).to_have_count(2)
        expect(page.locator("#caption")).to_have_text("a blue boat")
        expect(page.locator("#alert")).to_be_empty()
        page.close()
