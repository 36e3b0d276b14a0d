"""`audio2img models prune`: empty the cache of compiled models."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
@talk_options
def command(dry_run: bool, as_json: bool, **given: Any) -> None:
    """Remove what Core ML compiled and keeps on a Mac.

    No model is lost: a package is compiled again when it is used next, which takes a while.
    """
    from audio2img.coreml.compiled import SUFFIX, compiled_dir, compiled_entries, entry_bytes, prune_compiled

    entries = list(compiled_entries())
    n_partial = sum(entry.suffix != SUFFIX for entry in entries)
    size_bytes = sum(map(entry_bytes, entries)) if dry_run else prune_compiled()
    if as_json:
        print_json(
            {
                "folder": str(compiled_dir()),
                "models": len(entries) - n_partial,
                "interrupted": n_partial,
                "size_bytes": size_bytes,
                "removed": not dry_run,
            }
        )
        return
    if not entries:
        click.echo(f"nothing to remove in {compiled_dir()}")
        return
    verb = "would free" if dry_run else "freed"
    partial = f", {n_partial} of them interrupted" if n_partial else ""
    models = f"{len(entries)} compiled model{'s' if len(entries) > 1 else ''}{partial}"
    click.echo(f"{verb} {size_bytes / 1e6:.1f} MB: {models} in {compiled_dir()}")
