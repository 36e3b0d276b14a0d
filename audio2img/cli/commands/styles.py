"""`audio2img styles`: the styles and templates there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from audio2img.cli import completions
from audio2img.cli.help import Command, Group
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json

if TYPE_CHECKING:
    from audio2img.prompt.styling import ListedStyle

templates_option = click.option("--templates", is_flag=True, help="Templates instead of styles.")


@click.group("styles", cls=Group, examples=("audio2img styles list", "audio2img styles show watercolor"))
def command() -> None:
    """The styles and templates there are, ours and your own."""


@command.command(
    "list",
    cls=Command,
    short_help="The name of each, and what it is.",
    examples=("audio2img styles list", "audio2img styles list --templates"),
)
@templates_option
@json_option
@talk_options
def list_all(templates: bool, as_json: bool, **given: Any) -> None:
    """One line each: its name and what it is; a file that cannot be used is named with its fault."""
    listed = _listed(templates)
    if as_json:
        print_json([_as_table(one) for one in listed])
        return
    width = max(len(one.name) for one in listed)
    for one in listed:
        about = one.problem or (one.style.description if one.style else "")
        own = "  (your own)" if one.is_own else ""
        click.echo(f"{one.name:<{width}}  {about}{own}")


@command.command(
    "show",
    cls=Command,
    short_help="The words that one puts around the prompt.",
    examples=("audio2img styles show ink", "audio2img styles show scene --templates"),
)
@click.argument("name", shell_complete=completions.styles)
@templates_option
@json_option
@talk_options
def show(name: str, templates: bool, as_json: bool, **given: Any) -> None:
    """The words that a style puts around the prompt, and what it keeps out of the picture."""
    from audio2img.config import config_dir
    from audio2img.prompt import find_style, find_template

    folder = config_dir() / ("templates" if templates else "styles")
    style = find_template(name, folder) if templates else find_style(name, folder)
    table = {"name": style.name, "description": style.description, "template": style.template,
             "negative": style.negative}  # fmt: skip
    if as_json:
        print_json(table)
        return
    for key, value in table.items():
        if value:
            click.echo(f"{key:<12}{value}")


def _listed(templates: bool) -> tuple[ListedStyle, ...]:
    from audio2img.config import config_dir
    from audio2img.prompt import list_styles

    if templates:
        return list_styles("template", config_dir() / "templates")
    return list_styles("style", config_dir() / "styles")


def _as_table(one: ListedStyle) -> dict[str, Any]:
    style = one.style
    return {
        "name": one.name,
        "own": one.is_own,
        "file": str(one.file),
        "problem": one.problem,
        "template": style.template if style else None,
        "negative": style.negative if style else None,
        "description": style.description if style else None,
    }
