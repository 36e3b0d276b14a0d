"""`audio2img transcribe`: speech to text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli.help import Command
from audio2img.cli.options import json_option, offline_option, speech_options, takes_wishes, talk_options
from audio2img.cli.results import print_json, transcript_table

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes


@click.command(
    "transcribe",
    cls=Command,
    examples=(
        "audio2img transcribe memo.m4a",
        "audio2img transcribe interview.mp3 --language de --translate",
    ),
)
@click.argument("audio")
@speech_options
@offline_option
@json_option
@talk_options
@takes_wishes
def command(audio: str, as_json: bool, quiet: bool, verbose: bool, wishes: Wishes) -> None:
    """Speech to text. Prints what is said.

    AUDIO is any sound or video file, its http(s) address, or - for standard input.
    """
    from audio2img.cli.display import Display
    from audio2img.cli.first_run import ensure_models
    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.pipeline.checks import check

    options = wishes.hearing_options()
    check(options, audio)
    ensure_models(wishes, quiet, ("speech",))
    with Display(quiet, verbose) as display, open_pipeline(wishes, display) as pipeline:
        transcript = run_job(pipeline, lambda: pipeline.transcribe(audio, options))
    if as_json:
        print_json(transcript_table(transcript))
    else:
        click.echo(transcript.text)
