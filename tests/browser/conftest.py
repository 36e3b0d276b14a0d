"""Real browsers, Debian's Chromium and Firefox, with a microphone that the tests speak into.

A folder named by AUDIO2IMG_SCREENSHOTS gets a picture of each state that a test shows with `shoot`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audio2img.types import SAMPLE_RATE_HZ
from tests.conftest import ROOT
from tests.live_microphone import LiveMicrophone, live_microphone
from tests.server.clients import TOKEN, Server, run_server
from tests.speech_synthesis import synthesize

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Expect, Page, Playwright

Visit = Callable[..., "Page"]
Say = Callable[..., None]
Shoot = Callable[["Page", str], None]

PATIENCE_MS = 60_000  # the machine may be busy
LOUDNESS = 0.25  # of the synthesizer's: as loud as somebody who sits at a laptop
TEXTS = json.loads((ROOT / "audio2img" / "server" / "static" / "texts" / "en.json").read_text("utf-8"))
OURS = re.compile(r"(http|ws)://127\.0\.0\.1:\d+/|data:|blob:")
SCREENSHOTS = os.environ.get("AUDIO2IMG_SCREENSHOTS")  # before private_home takes such names away


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Once more, where a busy machine has dropped a part of what was said: sound servers do, and what is left
    of a sentence is another one. What is really wrong is so each time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.flaky(reruns=2))


def program(name: str) -> str:
    """The path of `name`; skips the test where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: apt install {name}")
    return path


@pytest.fixture(scope="module")
def microphone() -> Iterator[LiveMicrophone]:
    program("pulseaudio")
    with live_microphone() as microphone:
        yield microphone


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """For one module at a time: while it runs, nothing else of this process can call asyncio.run."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    with sync_api.sync_playwright() as running:
        yield running


@pytest.fixture
def expect(playwright: Playwright) -> Expect:
    """Playwright's, which looks again and again."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)
    return expect


@pytest.fixture(scope="module")
def outfit(microphone: LiveMicrophone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How a browser is started: with our microphone, and nothing of the person running the tests."""
    home = str(tmp_path_factory.mktemp("browser-home"))
    return {"env": {**os.environ, **microphone.environment, "HOME": home}, "timeout": PATIENCE_MS}


@pytest.fixture(scope="module")
def chromium(playwright: Playwright, outfit: dict[str, Any]) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=program("chromium"), **outfit)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def firefox(playwright: Playwright, outfit: dict[str, Any]) -> Iterator[Browser]:
    """Debian's own: a "moz-" channel is driven by WebDriver BiDi, where the other needs a patched build."""
    browser = playwright.firefox.launch(
        channel="moz-firefox",
        executable_path=program("firefox-esr"),
        firefox_user_prefs={"media.navigator.permission.disabled": True},  # asks nobody for the microphone
        **outfit,
    )
    yield browser
    browser.close()


@pytest.fixture(params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Browser:
    chosen: Browser = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def new_context() -> Iterator[Callable[..., BrowserContext]]:
    """new_context(browser, **Playwright's options): a visitor of its own, who lets pages use the microphone.

    At the end no page of theirs may have complained in its console, or have asked anybody outside.
    expected: pattern of the complaints that a test provokes.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    asked: list[str] = []

    def watch(page: Page, expected: str) -> None:
        def complain(text: str) -> None:
            if not expected or not re.search(expected, text):
                complaints.append(text)

        page.on("console", lambda said: complain(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))

    def open_context(browser: Browser, *, expected: str = "", **options: Any) -> BrowserContext:
        if browser.browser_type.name == "chromium":  # the other is told in its preferences
            options.setdefault("permissions", ["microphone"])
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.on("page", lambda page: watch(page, expected))
        return context

    yield open_context
    for context in contexts:
        context.close()
    if SCREENSHOTS is None:  # taking one puts a style into the page, which the page's policy refuses
        assert complaints == []
    assert [url for url in asked if not OURS.match(url)] == []


# What a page has shown, each state once, in order: between two looks of a test much can pass.
NOTES = """
window.shown = { words: [], hints: [], pictures: [], status: [] };
const note = (what, now) => { if (now && window.shown[what].at(-1) !== now) window.shown[what].push(now); };
const look = () => {
  const part = (id) => document.getElementById(id);
  if (document.readyState === "loading") return;
  if (!part("words").hidden) note("words", part("words").className + ": " + part("words").textContent);
  note("hints", part("hint").textContent);
  note("status", part("status").textContent);
  if (!part("stage").hidden) note("pictures", part("picture").getAttribute("src"));
};
new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
"""


def shown(page: Page, what: str) -> list[str]:
    """All that has stood there: "words", "hints", "status", or "pictures" (their addresses)."""
    seen: list[str] = page.evaluate("what => window.shown[what]", what)
    return seen


@pytest.fixture(scope="module")
def running_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from run_server(tmp_path_factory.mktemp("studio"))


@pytest.fixture
def studio(running_studio: Server) -> Iterator[Server]:
    """Without a picture, and with nothing under way that a page of `visit` began."""
    yield running_studio
    for path in running_studio.pictures.glob("*.png"):
        path.unlink()


@pytest.fixture
def visit(
    new_context: Callable[..., BrowserContext], studio: Server, expect: Expect
) -> Iterator[Callable[..., Page]]:
    """visit(browser or context, **Playwright's options): the studio's page, ready to be spoken to."""
    pages: list[Page] = []

    def open_page(by: Browser | BrowserContext, **options: Any) -> Page:
        context = new_context(by, **options) if hasattr(by, "browser_type") else by
        page = context.new_page()
        pages.append(page)
        page.add_init_script(NOTES)
        page.goto(f"http://{studio.host}/?token={TOKEN}")
        expect(page.locator("#speak")).to_be_enabled()
        return page

    yield open_page
    for page in pages:  # before the studio ends, and they complain
        if not page.is_closed():
            page.evaluate("document.getElementById('stop').click()")  # where it is disabled, nothing happens
            expect(page.locator("#stop")).to_be_disabled()
        page.close()


@pytest.fixture
def say(microphone: LiveMicrophone, tmp_path: Path) -> Iterator[Say]:
    """say(words of the mini world): into the microphone, after a breath; comes back at once."""

    def speak(text: str, breath_s: float = 1.0) -> None:
        said = LOUDNESS * synthesize(tmp_path / "said.wav", text).samples
        microphone.say(np.concatenate([np.zeros(int(breath_s * SAMPLE_RATE_HZ), np.float32), said]))

    yield speak
    microphone.hush()


@pytest.fixture
def shoot() -> Shoot:
    """shoot(page, name): a picture of the whole page for a person to look at, where one is wanted."""

    def take(page: Page, name: str) -> None:
        if SCREENSHOTS is not None:
            browser = page.context.browser
            assert browser is not None
            path = Path(SCREENSHOTS, f"{name}-{browser.browser_type.name}.png")
            page.screenshot(path=path, full_page=True, caret="initial")

    return take
