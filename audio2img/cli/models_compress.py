"""`audio2img models compress`: smaller weights for a Core ML model."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from audio2img.coreml.compression.job import Options

BITS = ("8", "6", "4", "3", "2", "1")


class Talk:
    """Progress on stderr: a bar on a terminal, elsewhere a line whenever something new begins."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._label = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Talk:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._progress = Progress(
                *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
            )
            self._task = self._progress.add_task("starting", total=1.0)
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, label: str, done: float) -> None:
        """`done` of the work called `label` is done, from 0 to 1."""
        if self._progress is not None and self._task is not None:
            if label != self._label:
                self._progress.reset(self._task, description=label)
            self._progress.update(self._task, description=label, completed=done)
        elif label != self._label and not self._quiet:
            click.echo(label, err=True)
        self._label = label


def _parse_parts(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names with commas between them, as the callback of an option."""
    if value is None:
        return None
    parts = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not parts:
        raise click.BadParameter("name at least one part, such as unet", ctx, param)
    return parts


@click.command("compress")
@click.argument("source", metavar="SOURCE")
@click.argument("dest", type=click.Path(path_type=Path), metavar="DEST")
@click.option("--bits", type=click.Choice(BITS), help="Palettes of 2^BITS values. [default: 6]")
@click.option(
    "--group-size",
    type=click.IntRange(1),
    metavar="N",
    help="One palette for every N output channels instead of one a weight; needs macOS 15 to run.",
)
@click.option("--linear", is_flag=True, help="8-bit integers with a scale a channel instead of palettes.")
@click.option("--recipe", type=click.Path(path_type=Path), help="A recipe file: ours, or one of Apple's.")
@click.option("--recipe-name", metavar="NAME", help="Which of several recipes in Apple's file.")
@click.option("--parts", callback=_parse_parts, metavar="NAME,NAME", help="Only these parts, such as unet.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes. [default: one a core]")
@json_option
@talk_options
def command(source: str, dest: Path, as_json: bool, quiet: bool, verbose: bool, **given: Any) -> None:
    """Make the weights of the Core ML model SOURCE smaller, in the new folder DEST.

    SOURCE is a folder of packages (.mlpackage), or a model's name. It is only read. Interrupted, the
    same command goes on where it stopped. Prints the new folder; a report lies in DEST/compression.
    """
    from audio2img.coreml.compression.job import average_bits, compress
    from audio2img.store.catalog import resolve_model

    options = _options(**given)
    folder = resolve_model(source, "image").path
    with Talk(quiet) as talk:
        results = compress(folder, dest, options, talk)
    before = sum(result.size_before for result in results)
    after = sum(result.size_after for result in results)
    if as_json:
        print_json({"path": str(dest), "size_before": before, "size_after": after})
        return
    if not quiet:
        click.echo(
            f"{before / 1e6:.1f} MB became {after / 1e6:.1f} MB, {average_bits(results):.2f} bits a weight",
            err=True,
        )
    click.echo(dest)


def _options(
    bits: str | None,
    group_size: int | None,
    linear: bool,
    recipe: Path | None,
    recipe_name: str | None,
    parts: tuple[str, ...] | None,
    workers: int | None,
) -> Options:
    """What the options ask for. Raises UsageError for what does not go together."""
    from audio2img.coreml.compression.job import Options
    from audio2img.coreml.compression.schemes import Linear, Palette, Treatment

    asked = [name for name, given in (("--linear", linear), ("--recipe", recipe is not None)) if given]
    if len(asked) > 1 or (asked and (bits or group_size)):
        other = asked[1] if len(asked) > 1 else "--bits" if bits else "--group-size"
        raise click.UsageError(f"{asked[0]} and {other} do not go together")
    if recipe_name is not None and recipe is None:
        raise click.UsageError("--recipe-name needs --recipe")
    treatment: Treatment | None = Linear() if linear else Palette(int(bits or 6), group_size or 0)
    return Options(None if recipe else treatment, recipe, recipe_name, parts, workers)
