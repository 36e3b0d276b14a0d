"""`audio2img models`: the models there are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from audio2img.cli import LazyGroup
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json
from audio2img.store.catalog import DEFAULTS, ModelRow, find_row, load_catalog

LAZY = {
    "convert": ("models_convert", "A diffusers model to Core ML packages."),
    "compress": ("models_compress", "Smaller weights: palettized or quantized, with a report."),
    "prune": ("models_prune", "Remove what Core ML compiled and keeps."),
}


@click.group("models", cls=LazyGroup, lazy=LAZY)
def command() -> None:
    """The models there are."""


@command.command("list")
@json_option
@talk_options
def list_models(as_json: bool, **given: Any) -> None:
    """One line per model: name, kind, size, what it is for."""
    rows = load_catalog()
    if as_json:
        print_json([_describe(row) for row in rows])
        return
    for row in rows:
        mark = "*" if row.name in DEFAULTS.values() else " "
        click.echo(f"{mark} {row.name:<14}{row.kind:<8}{_size_bytes(row.path) / 1e6:6.1f} MB  {row.purpose}")
    click.echo("* used when none is named")


@command.command("show")
@click.argument("name")
@json_option
@talk_options
def show_model(name: str, as_json: bool, **given: Any) -> None:
    """All that is known about one model."""
    row = find_row(name)
    if as_json:
        print_json(_describe(row))
        return
    for label, value in _describe(row).items():
        if value not in ("", None):
            click.echo(f"{label + ':':<16}{value}")
    if row.vocabulary == "mini_world":
        from audio2img import mini_world

        for label in ("THINGS", "COLOURS", "SIZES", "RELATIONS", "SETTINGS"):
            click.echo(f"{label.lower() + ':':<16}{', '.join(getattr(mini_world, label))}")


def _describe(row: ModelRow) -> dict[str, Any]:
    table = asdict(row)
    table.pop("embedded")
    return {
        **table,
        "default": row.name in DEFAULTS.values(),
        "path": str(row.path),
        "size_bytes": _size_bytes(row.path),
    }


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
