"""The page's own files: what refers to what, and the texts of its languages."""

from __future__ import annotations

import json
import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest

import audio2img
from audio2img.types import Hear, LongPrompt

STATIC = Path(audio2img.__file__).parent / "server" / "static"
HTML = (STATIC / "index.html").read_text(encoding="utf-8")
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
TEXTS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (STATIC / "texts").glob("*.json")
}
PLACEHOLDER = re.compile(r"\{\w+\}")
STAGES = ("record", "fetch", "decode", "load", "classify", "transcribe", "prompt", "draw", "save")

in_each_language = pytest.mark.parametrize("language", ["de", "es"])


@in_each_language
def test_every_language_says_the_same_things(language: str) -> None:
    assert list(TEXTS[language]) == list(TEXTS["en"])


@in_each_language
def test_every_language_names_the_same_values(language: str) -> None:
    for key, text in TEXTS["en"].items():
        assert set(PLACEHOLDER.findall(TEXTS[language][key])) == set(PLACEHOLDER.findall(text)), key
        assert TEXTS[language][key].strip(), key


def test_every_text_that_the_page_shows_is_there() -> None:
    shown = set(re.findall(r'data-t(?:-label|-hint)?="([^"]+)"', HTML))
    for script in SCRIPTS.values():
        shown |= set(re.findall(r'\bt\("([^"]+)"', script))
        shown |= set(re.findall(r'"(microphone\.\w+|hint\.\w+)"', script))
    shown |= {f"stage.{stage}" for stage in STAGES}
    assert shown <= set(TEXTS["en"])


def test_every_text_is_shown() -> None:
    said = HTML + "".join(SCRIPTS.values())
    for key in TEXTS["en"]:
        plain = key.removesuffix(".one")
        assert f'"{plain}"' in said or key.startswith("stage."), key


def test_every_element_that_a_script_looks_for_is_there() -> None:
    ids = re.findall(r'\bid="([^"]+)"', HTML)
    assert len(ids) == len(set(ids))
    ids.append("texts")  # which the server puts in
    for script in SCRIPTS.values():
        assert set(re.findall(r'(?:\$|\bpart)\("([\w-]+)"\)', script)) <= set(ids)


def test_every_label_belongs_to_a_field() -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', HTML))
    assert set(re.findall(r'\b(?:for|aria-describedby|aria-labelledby)="([^"]+)"', HTML)) <= ids


@pytest.mark.parametrize(
    ("options", "choices"),
    [
        (r'<option value="(\w+)" data-t="long', get_args(LongPrompt)),
        (r'name="hear" value="(\w+)"', get_args(Hear)),
    ],
)
def test_what_can_be_chosen_is_what_can_be_asked_for(options: str, choices: tuple[str, ...]) -> None:
    offered = re.findall(options, HTML)
    assert offered
    assert set(offered) <= set(choices)


def test_every_file_that_is_asked_for_is_there() -> None:
    asked = set(re.findall(r'"/static/([^"]+)"', HTML + "".join(SCRIPTS.values())))
    asked |= set(re.findall(r'"\./([\w.]+)"', "".join(SCRIPTS.values())))
    assert asked == {path.name for path in STATIC.iterdir() if path.is_file()} - {"index.html"}


def imports(script: str) -> dict[str, set[str]]:
    """The modules that a script has at its beginning, and the names that it takes from each."""
    found = re.findall(r'^import \{([^}]+)\} from "\./([\w.]+)";$', SCRIPTS[script], re.MULTILINE)
    return {module: set(re.findall(r"[\w$]+", names)) for names, module in found}


def loaded_with(script: str) -> set[str]:
    """What is loaded at once where the script is."""
    return {script}.union(*map(loaded_with, imports(script)))


def test_no_module_needs_one_that_needs_it() -> None:
    needs = {script: re.findall(r'"\./([\w.]+)"', text) for script, text in SCRIPTS.items()}
    TopologicalSorter(needs).prepare()  # raises CycleError


def test_modules_take_what_others_give_and_use_it() -> None:
    for script, text in SCRIPTS.items():
        words = re.findall(r"[\w$]+", text)
        for module, names in imports(script).items():
            given = re.findall(r"^export (?:async )?(?:class|const|function) ([\w$]+)", SCRIPTS[module], re.M)
            assert names <= set(given), script
            assert [name for name in names if words.count(name) == 1] == [], script


def test_the_first_page_is_few_requests_and_asks_for_its_modules_at_once() -> None:
    """Those of a picture that is changed, of files and of sounds come when they are first needed."""
    modules = loaded_with("page.js")
    assert set(re.findall(r'"/static/(\w+\.js)"', HTML)) == modules
    assert len({"index.html", "style.css"} | modules) <= 6
    assert not modules & {"change.js", "files.js", "sounds.js", "worklet.js"}


def test_nothing_comes_from_outside_and_nothing_is_inline() -> None:
    """What the page's content security policy would refuse."""
    said = HTML + "".join(SCRIPTS.values()) + (STATIC / "style.css").read_text(encoding="utf-8")
    outside = set(re.findall(r"https?://[^'\"\s]*", said))
    assert outside == {"http://www.w3.org/2000/svg"}  # the name of a format
    assert not re.search(r"<style|\sstyle=|\son\w+=", HTML)
    assert not re.search(r"<script(?![^>]*\bsrc=)", HTML)


def test_the_place_of_the_texts_is_marked_once() -> None:
    assert HTML.count("<!--texts-->") == 1
    assert HTML.count('lang="en"') >= 1
    assert HTML.index('lang="en"') < HTML.index("<head>")  # the first one is the page's
