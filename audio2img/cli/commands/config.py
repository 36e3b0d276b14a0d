"""`audio2img config`: the settings, where each comes from, and changing them."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli import completions
from audio2img.cli.help import Command, Group
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json


@click.group("config", cls=Group, examples=("audio2img config list", "audio2img config set style watercolor"))
def command() -> None:
    """Your settings: what is set, where, and changing it."""


@command.command(
    "list",
    cls=Command,
    short_help="What is set, and by what.",
    examples=("audio2img config list", "audio2img config list --json"),
)
@json_option
@talk_options
def list_settings(as_json: bool, **given: Any) -> None:
    """What is set, and by what: a variable of the environment, or the settings file."""
    from audio2img.config import load_settings, setting_names

    settings = load_settings()
    rows = [(name, getattr(settings, name), settings.origins.get(name)) for name in setting_names()]
    if as_json:
        print_json({name: {"value": value, "set_by": origin} for name, value, origin in rows})
        return
    width = max(len(name) for name, _, _ in rows)
    for name, value, origin in rows:
        shown = "-" if value is None else f"{_as_text(value)}  (set by {origin})"
        click.echo(f"{name:<{width}}  {shown}")


@command.command(
    "get",
    cls=Command,
    short_help="The value of one setting.",
    examples=("audio2img config get style", "audio2img config get output --json"),
)
@click.argument("name", shell_complete=completions.settings)
@json_option
@talk_options
def get_setting(name: str, as_json: bool, **given: Any) -> None:
    """The value of one setting; an empty line where it is not set."""
    from audio2img.config import check_setting_name, load_settings

    check_setting_name(name)
    value = getattr(load_settings(), name)
    if as_json:
        print_json({name: value})
    else:
        click.echo("" if value is None else _as_text(value))


@command.command(
    "set",
    cls=Command,
    short_help="Write a setting into the settings file, or take it out.",
    examples=("audio2img config set style watercolor", "audio2img config set style --unset"),
    context_settings={"ignore_unknown_options": True},
)
@click.argument("name", shell_complete=completions.settings)
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Take it out of the file instead.")
@talk_options
def set_setting(name: str, value: str | None, unset: bool, **given: Any) -> None:
    """Write a setting into the settings file; the rest of the file stays as it is. Prints the file's path."""
    from audio2img.config import parse_setting, save_setting

    if unset == (value is not None):
        raise click.UsageError("give a VALUE, or --unset")
    parsed = None if value is None else parse_setting(name, value)
    if parsed is not None:
        from audio2img.pipeline.checks import check_setting

        check_setting(name, parsed)
    click.echo(save_setting(name, parsed))


@command.command("path", cls=Command, examples=("audio2img config path", "audio2img config path --quiet"))
@talk_options
def path(**given: Any) -> None:
    """Where the settings file is, or would be."""
    from audio2img.config import settings_file

    click.echo(settings_file())


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
