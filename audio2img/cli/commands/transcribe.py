"""`audio2img transcribe`: speech to text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli import completions
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, offline_option, speech_options, takes_wishes, talk_options
from audio2img.cli.results import json_text, transcript_table

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes


@click.command(
    "transcribe",
    cls=Command,
    examples=(
        "audio2img transcribe memo.m4a",
        "audio2img transcribe *.mp3 --language de --translate",
    ),
)
@click.argument("audio", nargs=-1, required=True, shell_complete=completions.files)
@speech_options
@offline_option
@json_option
@talk_options
@takes_wishes
def command(audio: tuple[str, ...], as_json: bool, quiet: bool, verbose: bool, wishes: Wishes) -> None:
    """Speech to text. Prints what is said; of several recordings each in a line that begins with its name.

    AUDIO is any sound or video file, its http(s) address, or - for standard input. One that cannot be
    understood does not keep the others from it.
    """
    from audio2img.cli.display import Display
    from audio2img.cli.first_run import ensure_models
    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.cli.several import go_through
    from audio2img.pipeline.checks import check

    options = wishes.hearing_options()
    check(options, audio)
    ensure_models(wishes, quiet, ("speech",))
    are_several = len(audio) > 1
    with Display(quiet, verbose) as display, open_pipeline(wishes, display, draws=False) as pipeline:

        def transcribe(source: str) -> None:
            transcript = run_job(pipeline, lambda: pipeline.transcribe(source, options))
            if as_json:
                table = {"source": source, **transcript_table(transcript)}
                display.show_result(json_text(table, in_one_line=are_several))
            else:
                display.show_result(f"{source}: {transcript.text}" if are_several else transcript.text)

        if are_several:
            go_through(audio, transcribe, display)
        else:
            transcribe(audio[0])
