"""`audio2img transcribe`: speech to text."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli.display import Display
from audio2img.cli.first_run import ensure_models
from audio2img.cli.job import run_job
from audio2img.cli.options import json_option, offline_option, speech_options, talk_options
from audio2img.cli.results import print_json, transcript_table
from audio2img.cli.stage_options import make_options, open_pipeline


@click.command("transcribe")
@click.argument("audio")
@speech_options
@offline_option
@json_option
@talk_options
def command(audio: str, as_json: bool, **given: Any) -> None:
    """Speech to text. Prints what is said.

    AUDIO is any sound or video file, or - for standard input.
    """
    options = make_options(given)
    ensure_models(given, ("speech",))
    with Display(given["quiet"], given["verbose"]) as display, open_pipeline(given, display) as pipeline:
        transcript = run_job(pipeline, lambda: pipeline.transcribe(audio, options))
    if as_json:
        print_json(transcript_table(transcript))
    else:
        click.echo(transcript.text)
