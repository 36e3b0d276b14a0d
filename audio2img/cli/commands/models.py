"""`audio2img models`: the models there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audio2img.cli import LazyGroup
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json

if TYPE_CHECKING:
    from audio2img.store.receipts import Receipt
    from audio2img.store.rows import ModelRow, Wanted


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


@command.command("list", cls=Command, examples=("audio2img models list", "audio2img models list --installed"))
@click.option("--installed", "only_installed", is_flag=True, help="Only those on this machine.")
@json_option
@talk_options
def list_models(only_installed: bool, as_json: bool, **given: Any) -> None:
    """One line per model: name, kind, whether it is here, size, licence."""
    tables = [describe(wanted) for wanted in every_model()]
    if only_installed:
        tables = [table for table in tables if table["installed"]]
    if as_json:
        print_json(tables)
        return
    for table in tables:
        mark = "*" if table["default"] else " "
        here = "here" if table["installed"] else "" if _fits(table) else "not for this system"
        size = f"{table['size_bytes'] / 1e6:8,.1f} MB"
        click.echo(
            f"{mark} {table['name']:<34}{table['kind']:<8}{size}  {table['licence']:<26}{here}".rstrip()
        )
    click.echo("* taken when none is named; what each is for: audio2img models show NAME")


@command.command(
    "show", cls=Command, examples=("audio2img models show mini", "audio2img models show mini --json")
)
@click.argument("name")
@json_option
@talk_options
def show_model(name: str, as_json: bool, **given: Any) -> None:
    """All that is known about one model."""
    from audio2img.store.catalog import split_name
    from audio2img.store.rows import Wanted

    row, variant = split_name(name)
    variants = (variant,) if variant else row.variants
    tables = [describe(Wanted(row, one)) for one in variants]
    if as_json:
        print_json(tables[0] if len(tables) == 1 else tables)
        return
    for table in tables:
        _print_table(table)
    if row.vocabulary == "mini_world":
        from audio2img.prompt import mini_world

        for label in ("THINGS", "COLOURS", "SIZES", "RELATIONS", "SETTINGS"):
            click.echo(f"{label.lower() + ':':<16}{', '.join(getattr(mini_world, label))}")


def every_model() -> list[Wanted]:
    """Every variant of every row of the catalogue."""
    from audio2img.store.catalog import load_catalog
    from audio2img.store.rows import Wanted

    return [Wanted(row, variant) for row in load_catalog() for variant in row.variants]


def describe(wanted: Wanted) -> dict[str, Any]:
    """What there is to know of a model, as plain JSON values."""
    from audio2img.store.receipts import installed

    row, variant = wanted.row, wanted.variant
    receipt = None if row.embedded else installed(wanted.key)
    return {
        "name": wanted.name,
        "aliases": list(row.aliases),
        "kind": row.kind,
        "format": row.format,
        "title": row.title,
        "purpose": row.purpose,
        "installed": receipt is not None or bool(row.embedded),
        "embedded": bool(row.embedded),
        "default": _is_default(wanted),
        "path": _path_of(row, receipt),
        "size_bytes": _size_of(wanted, receipt),
        "memory_bytes": row.memory_bytes,
        "platforms": list(row.platforms),
        "licence": row.licence,
        "licence_url": row.licence_url,
        "licence_accepted": receipt.licence.accepted if receipt else "",
        "mirrors": [str(mirror) for mirror in row.mirrors],
        "from": receipt.mirror if receipt else "",
        "unverified": row.unverified,
        "vocabulary": row.vocabulary,
        "files": [file.path for file in (receipt.files if receipt else variant.files)],
    }


def _is_default(wanted: Wanted) -> bool:
    from audio2img.backends import preferred_variant
    from audio2img.store.catalog import default_name

    if wanted.row.name != default_name(wanted.row.kind):
        return False
    return wanted.variant.name in ("", preferred_variant() or wanted.row.variants[0].name)


def _path_of(row: ModelRow, receipt: Receipt | None) -> str | None:
    if row.embedded_path is not None:
        return str(row.embedded_path)
    return receipt.model_path if receipt else None


def _size_of(wanted: Wanted, receipt: Receipt | None) -> int:
    if wanted.row.embedded_path is not None:
        return _size_bytes(wanted.row.embedded_path)
    return receipt.size_bytes if receipt else wanted.variant.download_bytes


def _fits(table: dict[str, Any]) -> bool:
    from audio2img.store.defaults import this_machine

    return this_machine().platform in table["platforms"]


def _print_table(table: dict[str, Any]) -> None:
    for label, value in table.items():
        if value in ("", None, []):
            continue
        if isinstance(value, list):
            value = "; ".join(map(str, value))
        click.echo(f"{label.replace('_', ' ') + ':':<18}{value}")


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
