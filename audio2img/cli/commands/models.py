"""`audio2img models`: the models there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from audio2img.cli import LazyGroup, completions
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json

if TYPE_CHECKING:
    from audio2img.pipeline.inventory import ModelInfo

WIDTH = 80

LAZY = {
    "get": ("models_get", "Download models, or go on with a download."),
    "path": ("models_path", "Where a model is, for scripts and other tools."),
    "verify": ("models_verify", "Read every file again and compare its hash."),
    "remove": ("models_remove", "Remove a model from this machine."),
    "prune": ("models_prune", "Remove half downloads, and what Core ML compiled."),
    "convert": ("models_convert", "A diffusers model to Core ML packages."),
    "compress": ("models_compress", "Smaller weights: palettized or quantized, with a report."),
}


@click.group(
    "models",
    cls=LazyGroup,
    lazy=LAZY,
    examples=("audio2img models list", "audio2img models get default"),
)
def command() -> None:
    """The models there are."""


@command.command(
    "list",
    cls=Command,
    short_help="Each model, its size, whether it is here, and what it is for.",
    examples=("audio2img models list", "audio2img models list --installed"),
)
@click.option("--installed", "only_installed", is_flag=True, help="Only those on this machine.")
@json_option
@talk_options
def list_all(only_installed: bool, as_json: bool, **given: Any) -> None:
    """Each model with its aliases, its size, and whether it is here; then its kind and what it is for.

    Where this machine can do nothing with a model, a line says why.
    """
    from audio2img.pipeline.inventory import list_models

    models = [one for one in list_models() if one.installed or not only_installed]
    if as_json:
        print_json([as_table(one) for one in models])
        return
    for one in models:
        click.echo(_lines_of(one))
    click.echo("* taken when none is named; licence, memory and more: audio2img models show NAME")


def _lines_of(model: ModelInfo) -> str:
    mark = "*" if model.default else " "
    label = f"{model.name} ({', '.join(model.aliases)})" if model.aliases else model.name
    here = "here" if model.installed else ""
    lines = [f"{mark} {label:<59} {_megabytes(model.size_bytes):>11}  {here}".rstrip()]
    texts = [f"{model.kind}: {model.purpose}"]
    if model.why_not:
        texts.append(f"not usable: it {model.why_not.removeprefix(f'{model.name} ')}")
    lines += [_wrapped(text) for text in texts]
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    """click would load what breaks lines for those too that need no break."""
    if len(text) + 4 <= WIDTH:
        return f"    {text}"
    return click.wrap_text(text, WIDTH, "    ", "      ")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes else "unknown"


@command.command(
    "show", cls=Command, examples=("audio2img models show mini", "audio2img models show mini --json")
)
@click.argument("name", shell_complete=completions.models())
@json_option
@talk_options
def show_model(name: str, as_json: bool, **given: Any) -> None:
    """All that is known about one model."""
    from audio2img.pipeline.inventory import describe_model
    from audio2img.store.catalog import split_name
    from audio2img.store.rows import Wanted

    row, variant = split_name(name)
    variants = (variant,) if variant else row.variants
    tables = [as_table(describe_model(Wanted(row, one))) for one in variants]
    if as_json:
        print_json(tables[0] if len(tables) == 1 else tables)
        return
    for table in tables:
        _print_table(table)
    if row.vocabulary == "mini_world":
        from audio2img.prompt import mini_world

        for label in ("THINGS", "COLOURS", "SIZES", "RELATIONS", "SETTINGS"):
            click.echo(f"{label.lower() + ':':<16}{', '.join(getattr(mini_world, label))}")


def as_table(model: ModelInfo) -> dict[str, Any]:
    """All that is known of a model, as plain JSON values."""
    from dataclasses import fields

    table = {one.name: getattr(model, one.name) for one in fields(model)}
    table["path"] = str(model.path) if model.path else None
    return {"from" if name == "mirror" else name: value for name, value in table.items()}


def _print_table(table: dict[str, Any]) -> None:
    for label, value in table.items():
        if value in ("", None, ()):
            continue
        if isinstance(value, tuple):
            value = "; ".join(map(str, value))
        click.echo(f"{label.replace('_', ' ') + ':':<18}{value}")
