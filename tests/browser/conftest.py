"""Real browsers, Debian's Chromium and Firefox, with a microphone that the tests speak into.

A folder named by AUDIO2IMG_SCREENSHOTS gets a picture of each state that a test shows with `shoot`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.live_microphone import LiveMicrophone, live_microphone
from tests.speech_synthesis import synthesize

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Expect, Page, Playwright

PATIENCE_MS = 60_000  # the machine may be busy
SCREENSHOTS = os.environ.get("AUDIO2IMG_SCREENSHOTS")  # before private_home takes such names away


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
    """
    contexts, complaints = [], []

    def watch(page: Page) -> None:
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_context(browser: Browser, **options: Any) -> BrowserContext:
        if browser.browser_type.name == "chromium":  # the other is told in its preferences
            options.setdefault("permissions", ["microphone"])
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.on("page", watch)
        return context

    yield open_context
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def say(microphone: LiveMicrophone, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """say(words of the mini world): into the microphone, from now on; comes back at once."""

    def speak(text: str) -> None:
        microphone.say(synthesize(tmp_path / "said.wav", text).samples)

    yield speak
    microphone.hush()


@pytest.fixture
def shoot() -> Callable[[Page, str], None]:
    """shoot(page, name): a picture of the whole page for a person to look at, where one is wanted."""

    def take(page: Page, name: str) -> None:
        if SCREENSHOTS is not None:
            browser = page.context.browser
            assert browser is not None
            path = Path(SCREENSHOTS, f"{name}-{browser.browser_type.name}.png")
            page.screenshot(path=path, full_page=True)

    return take
