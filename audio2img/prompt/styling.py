"""Styles and templates: named words around a scene, each in a TOML file of its own.

Each has `template`, with {prompt} where the scene goes, and optionally `negative` and `description`.
Only the file that is asked for is read, so that one with a fault breaks nothing but itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Literal

from audio2img.config import read_toml
from audio2img.errors import UsageError
from audio2img.names import did_you_mean

STYLE_KEYS = ("description", "template", "negative")
PLACEHOLDER = "prompt"
BUILT_IN = {"style": Path(__file__).parent / "styles", "template": Path(__file__).parent / "templates"}

Kind = Literal["style", "template"]

_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Style:
    """A named way to draw. template: holds {prompt}; negative: what to keep out of the picture."""

    name: str
    template: str
    negative: str = ""
    description: str = ""


@dataclass(frozen=True)
class ListedStyle:
    """A style or template as a list shows it. problem: why its file cannot be used, "" where it can."""

    name: str
    file: Path
    is_own: bool
    style: Style | None
    problem: str = ""


def fill_template(template: str, text: str, owner: str) -> str:
    """`template` with {prompt} replaced by `text`. owner: whose template, for the message.

    Raises UsageError when {prompt} is missing, or another placeholder or a lone brace is there.
    """
    remedy = 'write it like "{prompt}, oil on canvas"'
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"{owner} cannot be read: {error}", remedy) from None
    names = [name for _literal, name, _format, _conversion in parts if name is not None]
    for name in names:
        if name != PLACEHOLDER:
            raise UsageError(f"{owner} has an unknown placeholder {{{name}}}", remedy)
    if not names:
        raise UsageError(f"{owner} lacks the placeholder {{{PLACEHOLDER}}}: {template!r}", remedy)
    return "".join(literal + (text if name is not None else "") for literal, name, _f, _c in parts)


def find_style(name: str, own_dir: Path | None = None) -> Style:
    """The style of that name, in any case: the one in `own_dir`, or else ours.

    Raises UsageError with the choices when there is none, or naming the file and the key when its file
    has a fault.
    """
    return _find(name, "style", own_dir)


def find_template(name_or_text: str, own_dir: Path | None = None) -> Style:
    """The template of that name, or the text itself where it is no single word.

    Templates are files like styles, and what they keep out of the picture is kept out, too. Raises
    UsageError as `find_style`, and as `fill_template` for a text.
    """
    if not _NAME.fullmatch(name_or_text.strip()):
        fill_template(name_or_text, "", "the template")
        return Style("", name_or_text)
    return _find(name_or_text, "template", own_dir)


def list_styles(kind: Kind, own_dir: Path | None = None) -> tuple[ListedStyle, ...]:
    """All styles, or all templates, by name: those in `own_dir`, which win, and ours."""
    listed = []
    for name, file in sorted(_files(kind, own_dir).items()):
        is_own = file.parent == own_dir
        try:
            listed.append(ListedStyle(name, file, is_own, _read_style(file, kind)))
        except UsageError as fault:
            listed.append(ListedStyle(name, file, is_own, None, fault.message))
    return tuple(listed)


def _find(name: str, kind: Kind, own_dir: Path | None) -> Style:
    files = _files(kind, own_dir)
    wanted = name.strip().lower()
    if wanted not in files:
        own = f"; or add your own as {own_dir / 'NAME.toml'}" if own_dir is not None else ""
        raise UsageError(
            f"there is no {kind} called {name!r}",
            f"{did_you_mean(name, files)}choose from: {', '.join(sorted(files))}{own}",
        )
    return _read_style(files[wanted], kind)


def _files(kind: Kind, own_dir: Path | None) -> dict[str, Path]:
    """Lower-case name to file."""
    folders = [BUILT_IN[kind]] if own_dir is None else [BUILT_IN[kind], own_dir]
    files = (file for folder in folders for file in sorted(folder.glob("*.toml")))
    return {file.stem.lower(): file for file in files if not file.name.startswith(".")}


def _read_style(file: Path, kind: Kind) -> Style:
    remedy = f"mend or remove it; its keys can be: {', '.join(STYLE_KEYS)}"
    content = read_toml(file)
    if unknown := [key for key in content if key not in STYLE_KEYS]:
        raise UsageError(f"the {kind} file {file} has an unknown key {unknown[0]!r}", remedy)
    for key, value in content.items():
        if not isinstance(value, str):
            raise UsageError(f"in the {kind} file {file}, {key} is not a text", remedy)
    if "template" not in content:
        raise UsageError(f"the {kind} file {file} has no template", remedy)
    fill_template(content["template"], "", f"the {kind} file {file}")
    return Style(file.stem.lower(), **content)
