"""`audio2img generate`: text to picture."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli.display import Display
from audio2img.cli.finished import Finished
from audio2img.cli.first_run import ensure_models
from audio2img.cli.job import run_job
from audio2img.cli.options import json_option, offline_option, picture_options, talk_options
from audio2img.cli.stage_options import make_options, open_pipeline, output_of
from audio2img.cli.streams import read_words
from audio2img.pipeline.checks import check


@click.command("generate")
@click.argument("text", nargs=-1, required=True)
@picture_options
@offline_option
@json_option
@talk_options
def command(text: tuple[str, ...], as_json: bool, open_after: bool, **given: Any) -> None:
    """Text to picture. Prints the picture's path.

    TEXT is what to draw, with or without quotes, or - to read it from standard input.
    """
    words = read_words() if text == ("-",) else " ".join(text)
    options = make_options(given)
    check(options, target=output_of(given))
    ensure_models(given, ("image",))
    finished = Finished(output_of(given))
    with (
        finished.printed(as_json, open_after),
        Display(given["quiet"], given["verbose"], given["previews"]) as display,
        open_pipeline(given, display) as pipeline,
    ):
        run_job(pipeline, lambda: pipeline.generate(words, options, on_picture=finished))
