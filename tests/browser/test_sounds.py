"""A recording that nobody speaks in: its sounds are named over its spectrogram, and drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audio2img.output.pictures import read_record
from tests.browser.conftest import Shoot, Visit
from tests.browser.test_access import faults
from tests.server.clients import Server, run_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Expect

pytestmark = pytest.mark.slow


@pytest.fixture
def studio(tmp_path: Path, yamnet_file: Path) -> Iterator[Server]:
    """One that can name sounds."""
    yield from run_server(tmp_path, "--sound-model", str(yamnet_file))


def test_sounds_are_named_when_they_are_heard(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, shared_data: Path, shoot: Shoot
) -> None:
    page = visit(chromium, reduced_motion="reduce")
    page.locator("#hear label").nth(1).click()
    page.locator("#file").set_input_files(shared_data / "recordings" / "rain.ogg")
    expect(page.locator("#sounds")).to_be_visible()
    expect(page.locator("#sounds li").first).to_contain_text("ain")  # Rain, Raindrop, Rain on surface
    expect(page.locator("#sounds img")).to_have_js_property("naturalWidth", 1024)
    expect(page.locator("#gallery li")).to_have_count(1)
    [picture] = studio.pictures.glob("*.png")
    record = read_record(picture)
    assert record.transcript is None
    assert record.sounds is not None
    assert record.audio_source == "rain.ogg"
    shoot(page, "sounds")
    assert faults(page) == []
