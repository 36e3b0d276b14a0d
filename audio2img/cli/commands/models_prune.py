"""`audio2img models prune`: throw away half downloads, and what Core ML compiled."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json


@click.command("prune", cls=Command, examples=("audio2img models prune --dry-run", "audio2img models prune"))
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
@talk_options
def command(dry_run: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Remove what Core ML or torch compiled, and what interrupted downloads left.

    No model is lost: a package is compiled again when it is used next, which takes a while, and a
    download that was not finished begins anew. What another process is downloading now stays.
    """
    compiled = _prune_compiled(dry_run)
    from audio2img.backends.torch.caches import cached_bytes, prune_caches

    downloads = _prune_downloads(dry_run, quiet)
    torch_bytes = cached_bytes() if dry_run else prune_caches()
    if as_json:
        torch_table = {"size_bytes": torch_bytes}
        print_json({**compiled, "downloads": downloads, "torch": torch_table, "removed": not dry_run})
        return
    verb = "would free" if dry_run else "freed"
    n_entries, n_partial = compiled["models"] + compiled["interrupted"], compiled["interrupted"]
    if n_entries:
        partial = f", {n_partial} of them interrupted" if n_partial else ""
        models = f"{n_entries} compiled model{'s' if n_entries > 1 else ''}{partial}"
        click.echo(f"{verb} {compiled['size_bytes'] / 1e6:.1f} MB: {models} in {compiled['folder']}")
    else:
        click.echo(f"nothing to remove in {compiled['folder']}")
    if torch_bytes:
        click.echo(f"{verb} {torch_bytes / 1e6:.1f} MB: what torch compiled, and settings of single files")
    if n_downloads := downloads["interrupted"]:
        what = f"what {n_downloads} interrupted download{'s' if n_downloads > 1 else ''} or writing left"
        click.echo(f"{verb} {downloads['size_bytes'] / 1e6:.1f} MB: {what}")


def _prune_compiled(dry_run: bool) -> dict[str, Any]:
    from audio2img.backends.coreml.compiled import (
        SUFFIX,
        compiled_dir,
        compiled_entries,
        prune_compiled,
    )
    from audio2img.files import size_on_disk

    entries = list(compiled_entries())
    n_partial = sum(entry.suffix != SUFFIX for entry in entries)
    return {
        "folder": str(compiled_dir()),
        "models": len(entries) - n_partial,
        "interrupted": n_partial,
        "size_bytes": sum(map(size_on_disk, entries)) if dry_run else prune_compiled(),
    }


def _prune_downloads(dry_run: bool, quiet: bool) -> dict[str, int]:
    from audio2img.cli.downloads import Bars
    from audio2img.files import size_on_disk
    from audio2img.store.upkeep import (
        leftover_bytes,
        leftovers,
        prune_downloads,
        unfinished_files,
    )

    found, unfinished = list(leftovers()), unfinished_files()
    with Bars(quiet) as bars:
        if dry_run:
            freed = sum(leftover_bytes(path) for _, path in found) + sum(map(size_on_disk, unfinished))
        else:
            freed = prune_downloads(bars)
    return {"interrupted": len({key for key, _ in found}) + len(unfinished), "size_bytes": freed}
