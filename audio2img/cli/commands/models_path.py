"""`audio2img models path`: where a model is."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli import completions
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json


@click.command(
    "path", cls=Command, examples=("audio2img models path mini", "audio2img models path mini --json")
)
@click.argument("name", shell_complete=completions.models())
@json_option
@talk_options
def command(name: str, as_json: bool, **given: Any) -> None:
    """Where a model is, for scripts and other tools. Exits with 4 when it is not on this machine."""
    from audio2img.backends import preferred_variant
    from audio2img.store.catalog import resolve_model, split_name

    row, _ = split_name(name)
    model = resolve_model(name, row.kind, preferred_variant())
    if as_json:
        print_json({"name": model.name, "kind": model.kind, "format": model.format, "path": str(model.path)})
    else:
        click.echo(model.path)
