"""`audio2img generate`: text to picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli.help import Command
from audio2img.cli.options import json_option, offline_option, picture_options, takes_wishes, talk_options

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes


@click.command(
    "generate",
    cls=Command,
    examples=(
        "audio2img generate a red fox in the snow",
        "audio2img generate 'a red fox' --style ink --count 4 -o foxes",
    ),
)
@click.argument("text", nargs=-1, required=True)
@picture_options
@offline_option
@json_option
@talk_options
@takes_wishes
def command(
    text: tuple[str, ...],
    as_json: bool,
    open_after: bool,
    quiet: bool,
    verbose: bool,
    previews: bool,
    wishes: Wishes,
) -> None:
    """Text to picture. Prints the picture's path.

    TEXT is what to draw, with or without quotes, or - to read it from standard input.
    """
    from audio2img.cli.display import Display
    from audio2img.cli.finished import Finished
    from audio2img.cli.first_run import ensure_models
    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.cli.streams import read_words
    from audio2img.pipeline.checks import check

    words = read_words() if text == ("-",) else " ".join(text)
    options = wishes.options()
    output = wishes.output_path()
    check(options, target=output)
    ensure_models(wishes, quiet, ("image",))
    display = Display(quiet, verbose, previews)
    finished = Finished(output, display.show_result, as_json, open_after)
    with display, open_pipeline(wishes, display) as pipeline, finished.of():
        run_job(pipeline, lambda: pipeline.generate(words, options, on_picture=finished))
