"""Somebody speaks to the page: their words, and the picture of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audio2img.output.pictures import read_record
from tests.browser.conftest import TEXTS, Say, Shoot, Visit, shown
from tests.server.clients import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Expect

pytestmark = pytest.mark.slow
SENTENCE = "draw a small blue boat by the sea"
PROMPT = "a small blue boat by the sea"  # which is drawn for it
PREVIEW = "data:image/jpeg;base64,"


def test_speak_and_see(
    browser: Browser, visit: Visit, expect: Expect, studio: Server, say: Say, shoot: Shoot
) -> None:
    page = visit(browser)
    shoot(page, "start")
    page.locator("#speak").click()
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.listening"])
    expect(page.locator("#speak")).to_have_attribute("aria-pressed", "true")
    say(SENTENCE)
    expect(page.locator("#words.partial")).not_to_be_empty()
    shoot(page, "hearing")
    expect(page.locator("#words.final")).to_have_text(SENTENCE)
    expect(page.locator("#prompt")).to_have_value(SENTENCE)
    expect(page.locator("#speak")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#status")).to_have_text(TEXTS["done.one"])
    expect(page.locator("#gallery li")).to_have_count(1)
    shoot(page, "picture")

    assert TEXTS["hint.hearing"] in shown(page, "hints")
    *partial, final = shown(page, "words")
    assert all(words.startswith("partial: ") for words in partial)
    assert final == f"final: {SENTENCE}"
    [picture] = studio.pictures.glob("*.png")
    *previews, last = shown(page, "pictures")
    assert previews
    assert all(preview.startswith(PREVIEW) for preview in previews)
    assert last == f"/pictures/{picture.name}"
    assert page.locator("#picture").evaluate("image => image.naturalWidth") == 128
    record = read_record(picture)
    assert record.transcript is not None
    assert (record.request.prompt, record.transcript.text) == (PROMPT, SENTENCE)


def test_who_speaks_at_once_loses_nothing(chromium: Browser, visit: Visit, expect: Expect, say: Say) -> None:
    """For a while after it has opened a microphone, a browser may give zeros."""
    page = visit(chromium)
    page.locator("#speak").click()
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.listening"])
    say(SENTENCE, breath_s=0)
    expect(page.locator("#words.final")).to_have_text(SENTENCE)


def test_words_alone_wait_to_be_changed_and_drawn(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, say: Say
) -> None:
    page = visit(chromium)
    page.locator("#at-once").uncheck()
    page.locator("#speak").press("Escape")  # nothing is under way, so it stops nothing
    page.locator("body").press(" ")
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.listening"])
    say(SENTENCE)
    expect(page.locator("#words.final")).to_have_text(SENTENCE)
    expect(page.locator("#speak")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#stage")).to_be_hidden()
    page.locator("#prompt").fill("a small red boat by the sea")
    page.locator("#draw").click()
    expect(page.locator("#status")).to_have_text(TEXTS["done.one"])
    [picture] = studio.pictures.glob("*.png")
    record = read_record(picture)
    assert record.transcript is not None
    assert (record.request.prompt, record.transcript.text) == ("a small red boat by the sea", SENTENCE)


def test_the_button_ends_what_is_said(browser: Browser, visit: Visit, expect: Expect, say: Say) -> None:
    page = visit(browser)
    page.locator("#at-once").uncheck()
    page.locator("#speak").click()
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.listening"])
    say(f"{SENTENCE}, and {SENTENCE}, and {SENTENCE}")
    expect(page.locator("#words.partial")).to_contain_text("draw a small")
    page.locator("#speak").click()
    expect(page.locator("#words.final")).to_have_text(re.compile("draw a small"))
    expect(page.locator("#speak")).to_have_attribute("aria-pressed", "false")
    heard = page.locator("#prompt").input_value()
    assert len(heard) < 3 * len(SENTENCE)


def test_escape_ends_listening_and_nothing_comes_of_it(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, say: Say
) -> None:
    page = visit(chromium)
    page.locator("#speak").click()
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.listening"])
    say(SENTENCE)
    expect(page.locator("#words.partial")).not_to_be_empty()
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text(TEXTS["stopped"])
    expect(page.locator("#speak")).to_have_attribute("aria-pressed", "false")
    assert page.locator("#prompt").input_value() == ""
    assert list(studio.pictures.glob("*.png")) == []


def test_without_permission_a_recording_is_offered(
    chromium: Browser, visit: Visit, expect: Expect, demo_audio: Path, shoot: Shoot
) -> None:
    page = visit(chromium, permissions=[])
    page.locator("#speak").click()
    expect(page.locator("#alert")).to_contain_text(TEXTS["microphone.denied"])
    expect(page.locator("#choose")).to_have_class("offered")
    shoot(page, "no-permission")
    page.locator("#file").set_input_files(demo_audio)
    expect(page.locator("#words.final")).to_have_text("please draw a big red house at night")
    expect(page.locator("#gallery li")).to_have_count(1)


def test_say_the_change(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, say: Say, shoot: Shoot
) -> None:
    page = visit(chromium)
    page.locator("#prompt").fill(PROMPT)
    page.locator("#prompt").press("Enter")
    expect(page.locator("#gallery li")).to_have_count(1)
    [first] = studio.pictures.glob("*.png")
    page.locator("#at-once").uncheck()
    page.locator("#change").click()
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.change"])
    say("and a red circle")
    expect(page.locator("#revised")).to_have_value(
        re.compile("red circle")
    )  # the mini Whisper may miss the "and"
    shoot(page, "change-heard")
    page.locator("#revision-draw").click()
    expect(page.locator("#gallery li")).to_have_count(2)
    expect(page.locator("#before-picture")).to_have_attribute("src", f"/pictures/{first.name}")
    expect(page.locator("#versions li")).to_have_count(2)
    shoot(page, "changed")
    [second] = set(studio.pictures.glob("*.png")) - {first}
    assert read_record(second).request.seed == read_record(first).request.seed
    assert "red circle" in read_record(second).request.prompt
    page.locator("#versions button").first.click()
    expect(page.locator("#picture")).to_have_attribute("src", f"/pictures/{first.name}")


def test_a_reload_while_somebody_speaks_loses_nothing_that_was_heard(
    chromium: Browser, visit: Visit, expect: Expect, studio: Server, say: Say
) -> None:
    page = visit(chromium)
    page.locator("#speak").click()
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.listening"])
    say(SENTENCE)
    expect(page.locator("#words.partial")).to_contain_text("boat")
    page.reload()
    expect(page.locator("#words.final")).to_contain_text("draw a small blue boat")
    expect(page.locator("#gallery li")).to_have_count(1)


def test_the_microphone_that_was_chosen_is_remembered(
    chromium: Browser, visit: Visit, expect: Expect, say: Say
) -> None:
    page = visit(chromium)
    page.locator("#speak").click()
    expect(page.locator("#hint")).to_have_text(TEXTS["hint.listening"])
    page.keyboard.press("Escape")
    page.locator("#more > summary").click()
    choices = page.locator("#microphone option")
    expect(choices.nth(1)).to_be_attached()  # their names are told after the permission
    last = choices.last.get_attribute("value")
    assert last
    page.locator("#microphone").select_option(last)
    page.reload()
    expect(page.locator("#microphone")).to_have_value(last)
