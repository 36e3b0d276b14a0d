"""`audio2img models remove`: remove a model from this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli import completions
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json
from audio2img.errors import ModelError

if TYPE_CHECKING:
    from audio2img.store.receipts import Receipt


@click.command(
    "remove",
    cls=Command,
    examples=("audio2img models remove sd-turbo", "audio2img models remove sd-turbo --json"),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completions.models())
@json_option
@talk_options
def command(names: tuple[str, ...], as_json: bool, quiet: bool, verbose: bool) -> None:
    """Remove models from this machine. Of one with variants all that are here, unless one is named.

    What other tools put into the hub's cache, or use there, stays.
    """
    from audio2img.cli.downloads import Bars
    from audio2img.store.upkeep import remove_model

    receipts = [receipt for name in names for receipt in _installed(name)]
    with Bars(quiet) as bars:
        freed = {receipt.name: remove_model(receipt, bars) for receipt in receipts}
    if as_json:
        print_json([{"name": name, "size_bytes": size} for name, size in freed.items()])
        return
    for name, size in freed.items():
        click.echo(f"removed {name}: freed {size / 1e6:,.1f} MB")


def _installed(name: str) -> list[Receipt]:
    """The receipts of a model, whole or not. Raises ModelError when there is none."""
    from audio2img.store.catalog import split_name
    from audio2img.store.receipts import read_receipt
    from audio2img.store.rows import Wanted

    row, variant = split_name(name)
    if row.embedded:
        raise ModelError(f"{row.name} comes with audio2img and cannot be removed", "remove another one")
    variants = (variant,) if variant else row.variants
    receipts = [receipt for one in variants if (receipt := read_receipt(Wanted(row, one).key))]
    if not receipts:
        raise ModelError(f"{name} is not on this machine", "see what is: audio2img models list --installed")
    return receipts
