"""`audio2img models compress`: smaller weights for a Core ML model."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from audio2img.cli.help import Command
from audio2img.cli.numbers import NumberRange
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json
from audio2img.errors import CancelledError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from audio2img.compression.results import Result
    from audio2img.compression.source import CompressionWishes

DEFAULT_MIN_PSNR = 35.0  # dB; about what 6 bits for every weight keep
BITS = ("8", "6", "4", "2", "1")


class Talk:
    """Progress on stderr: a bar on a terminal, elsewhere a line whenever something new begins."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._label = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Talk:
        if not self._quiet and sys.stderr.isatty():
            from rich.progress import BarColumn, TimeElapsedColumn, TimeRemainingColumn

            from audio2img.cli.console import label_column, open_progress

            columns = (label_column(), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._progress = open_progress(*columns)
            self._task = self._progress.add_task("starting", total=1.0)
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


@click.command(
    "compress",
    cls=Command,
    examples=(
        "audio2img models compress sd21-base-fp16 sd21-small",
        "audio2img models compress sd21-base-fp16 sd21-mixed --mixed --min-psnr 30",
    ),
)
@click.argument("source", metavar="SOURCE")
@click.argument("dest", type=click.Path(), metavar="DEST")
@click.option("--bits", type=click.Choice(BITS), show_default="6", help="Palettes of 2^BITS values.")
@click.option("--mixed", is_flag=True, help="For each weight its own bits, as few as --min-psnr allows.")
@click.option(
    "--min-psnr",
    type=NumberRange(1.0, 200),
    metavar="DB",
    show_default=f"{DEFAULT_MIN_PSNR:g}",
    help="Signal of the denoised latents that --mixed keeps.",
)
@click.option("--recipe", type=click.Path(), help="A recipe file: ours, or one of Apple's.")
@click.option("--recipe-name", metavar="NAME", help="Which of several recipes in Apple's file.")
@click.option(
    "--parts",
    callback=_parse_parts,
    metavar="NAME,NAME",
    show_default="all; with --mixed the UNet",
    help="Only these parts.",
)
@click.option(
    "--prompt", "prompts", multiple=True, metavar="TEXT", help="What to draw to measure; may be repeated."
)
@click.option("--no-measure", is_flag=True, help="Draw nothing; report the weights alone.")
@click.option("--workers", type=NumberRange(1), metavar="N", show_default="one a core", help="Processes.")
@json_option
@talk_options
def command(source: str, dest: str, as_json: bool, quiet: bool, verbose: bool, **given: Any) -> None:
    """Make the weights of the Core ML model SOURCE smaller, in the new folder DEST.

    SOURCE is a folder of packages (.mlpackage), or a model's name. It is only read. Interrupted, the
    same command goes on where it stopped. Prints the new folder; a report lies in DEST/compression.
    """
    from pathlib import Path

    from audio2img.compression.job import compress
    from audio2img.compression.report import as_table
    from audio2img.store.catalog import resolve_model

    options = _options(**given)
    made = Path(dest)
    try:
        with Talk(quiet) as talk:
            result = compress(resolve_model(source, "image").path, made, options, talk)
    except KeyboardInterrupt as error:
        raise CancelledError("stopped", "the same command goes on where it was") from error
    if as_json:
        print_json({"path": str(made), **as_table(result)})
        return
    if not quiet:
        click.echo(_summary(result), err=True)
    click.echo(made)


def _summary(result: Result) -> str:
    sizes = f"{result.size_before / 1e6:.1f} MB became {result.size_after / 1e6:.1f} MB"
    bits = f"{result.average_bits:.2f} bits a weight"
    if result.latents_db is None:
        return f"{sizes}, {bits}; no picture was drawn: {result.unmeasured}"
    return f"{sizes}, {bits}; the latents keep {result.latents_db:.1f} dB"


def _options(
    bits: str | None,
    mixed: bool,
    min_psnr: float | None,
    recipe: str | None,
    recipe_name: str | None,
    parts: tuple[str, ...] | None,
    prompts: tuple[str, ...],
    no_measure: bool,
    workers: int | None,
) -> CompressionWishes:
    """What the options ask for. Raises UsageError for what does not go together."""
    from pathlib import Path

    from audio2img.compression.drawing import DEFAULT_PROMPTS
    from audio2img.compression.source import CompressionWishes

    ways = {
        "--mixed": mixed,
        "--recipe": recipe is not None,
        "--bits": bits is not None,
    }
    asked = [name for name, is_given in ways.items() if is_given]
    if len(asked) > 1:
        raise click.UsageError(f"{asked[0]} and {asked[1]} do not go together")
    for name, is_given, needed in (
        ("--recipe-name", recipe_name is not None, "--recipe"),
        ("--min-psnr", min_psnr is not None, "--mixed"),
    ):
        if is_given and not ways[needed]:
            raise click.UsageError(f"{name} needs {needed}")
    if mixed and no_measure:
        raise click.UsageError("--mixed measures: leave out --no-measure")
    return CompressionWishes(
        bits=None if recipe or mixed else int(bits or 6),
        recipe=None if recipe is None else Path(recipe),
        recipe_name=recipe_name,
        min_psnr_db=(DEFAULT_MIN_PSNR if min_psnr is None else min_psnr) if mixed else None,
        parts=parts,
        prompts=prompts or DEFAULT_PROMPTS,
        measure=not no_measure,
        n_workers=workers,
    )
