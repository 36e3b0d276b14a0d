from __future__ import annotations

import pytest

from audio2img.errors import UsageError
from audio2img.prompt import find_style, list_styles, make_prompt
from audio2img.prompt.styling import BUILT_IN, Style, fill_template
from audio2img.types import Prompt


def test_a_template_goes_around_the_words():
    prompt = make_prompt("draw me a red house", template="{prompt}, oil on canvas")
    assert prompt == Prompt("a red house, oil on canvas")


def test_braces_in_the_words_are_no_placeholders():
    assert make_prompt("a {weird} house", template="{prompt}!").text.endswith("!")
    assert fill_template("{{{prompt}}}", "x", "it") == "{x}"


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("oil on canvas", "lacks"),
        ("{prompt} by {artist}", "{artist}"),
        ("{prompt", "read"),
        ("{}", "unknown"),
        ("", "lacks"),
    ],
)
def test_a_template_that_is_none(template, word):
    with pytest.raises(UsageError, match=None) as caught:
        make_prompt("a house", template=template)
    assert word in caught.value.message
    assert "{prompt}" in caught.value.remedy


@pytest.mark.parametrize("path", sorted(BUILT_IN["style"].glob("*.toml")), ids=lambda path: path.stem)
def test_the_styles_that_come_with_it(path):
    style = find_style(path.stem.upper())
    assert style.description
    assert style.negative
    prompt = make_prompt("draw a red house", style=path.stem, negative="people")
    assert "a red house" in prompt.text
    assert prompt.negative == f"people, {style.negative}"
    assert len(prompt.text.split()) < 30  # it must leave room in 77 tokens


def test_there_are_some_styles():
    assert {"photo", "oil", "watercolor", "pencil", "anime", "pixel", "3d", "cinematic"} <= {
        one.name for one in list_styles("style")
    }


def test_an_unknown_style_lists_the_choices(tmp_path):
    with pytest.raises(UsageError) as caught:
        make_prompt("a house", style="cubism", styles_dir=tmp_path)
    assert "cubism" in caught.value.message
    assert "oil, pencil, photo" in caught.value.remedy
    assert str(tmp_path) in caught.value.remedy


def test_a_style_of_ones_own_wins(tmp_path):
    (tmp_path / "Lino.toml").write_text('template = "linocut of {prompt}"\n')
    (tmp_path / "oil.toml").write_text('template = "{prompt} in oil"\nnegative = "acrylic"\n')
    (tmp_path / "notes.txt").write_text("not a style")
    assert make_prompt("a house", style="lino", styles_dir=tmp_path) == Prompt("linocut of a house")
    assert make_prompt("a house", style="oil", styles_dir=tmp_path) == Prompt("a house in oil", "acrylic")
    assert make_prompt("a house", style="photo", styles_dir=tmp_path / "none").text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('template = "{prompt}"\nnegatives = "x"\n', ["negatives"]),
        ('template = "no place"\n', ["{prompt}"]),
        ('template = "{prompt} {x}"\n', ["{x}"]),
        ('negative = "x"\n', ["no template"]),
        ("template = 5\n", ["template", "not a text"]),
        ("template = \n", ["not valid TOML"]),
        (b"\xff\xfe\x00", ["not valid TOML"]),
    ],
)
def test_a_style_file_with_a_fault_is_named(tmp_path, content, words):
    path = tmp_path / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as caught:
        make_prompt("a house", style="mine", styles_dir=tmp_path)
    for word in ["mine.toml", *words]:
        assert word in caught.value.message
    assert caught.value.remedy


def test_template_and_style_together():
    prompt = make_prompt("a house", template="{prompt} at night", style="ink")
    assert prompt.text.startswith("ink drawing of a house at night,")


def test_the_templates_that_come_with_it():
    templates = {one.name: one.style for one in list_styles("template")}
    assert {"older", "scene", "panorama", "moment", "mood"} <= set(templates)
    for template in templates.values():
        assert template
        assert template.description
        assert make_prompt("a barking dog", template=template.name.upper()).text != "a barking dog"
    assert make_prompt("a dog, rain", template="older") == Prompt("generate an image of a dog, rain")


def test_a_template_of_ones_own(tmp_path):
    (tmp_path / "older.toml").write_text('template = "once: {prompt}"\nnegative = "new"\n')
    assert make_prompt("a house", template="older", templates_dir=tmp_path) == Prompt("once: a house", "new")
    with pytest.raises(UsageError, match=r"no template called 'newer'") as caught:
        make_prompt("a house", template="newer", templates_dir=tmp_path)
    assert "older, panorama, scene" in caught.value.remedy


def test_a_file_with_a_fault_breaks_only_itself(tmp_path):
    for name, content in [
        ("bad", "template = "),
        ("oil", 'template = "none"'),
        ("good", 'template = "{prompt}!"'),
    ]:
        (tmp_path / f"{name}.toml").write_text(content)
    assert make_prompt("a house", style="good", styles_dir=tmp_path).text == "a house!"
    assert make_prompt("a house", style="photo", styles_dir=tmp_path).text != "a house"
    with pytest.raises(UsageError, match=r"bad\.toml"):
        make_prompt("a house", style="bad", styles_dir=tmp_path)
    with pytest.raises(UsageError, match=r"oil\.toml"):  # not ours in its place, which was not asked for
        make_prompt("a house", style="oil", styles_dir=tmp_path)


def test_lists_name_faults_and_owners(tmp_path):
    (tmp_path / "bad.toml").write_text("template = ")
    (tmp_path / "Oil.toml").write_text('template = "{prompt} in oil"\ndescription = "mine"\n')
    listed = {one.name: one for one in list_styles("style", tmp_path)}
    assert list(listed) == sorted(listed)
    assert "bad.toml" in listed["bad"].problem
    assert listed["bad"].style is None
    assert listed["oil"].style == Style("oil", "{prompt} in oil", "", "mine")
    assert {one.name for one in listed.values() if one.is_own} == {"bad", "oil"}
    assert not any(one.problem for one in list_styles("template"))
