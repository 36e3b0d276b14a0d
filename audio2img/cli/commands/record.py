"""`audio2img record`: from a microphone into a file."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli.display import Display
from audio2img.cli.job import run_job
from audio2img.cli.options import microphone_options, talk_options
from audio2img.cli.stage_options import live_input, open_pipeline
from audio2img.config import expand_path


@click.command("record")
@click.option(
    "-o",
    "--output",
    default="recording.wav",
    metavar="FILE",
    help="Where the sound goes: .wav, .flac, .opus, .m4a or .mp3.",
)
@microphone_options
@talk_options
def command(output: str, **given: Any) -> None:
    """Record from a microphone into a file (16 kHz, mono). Prints its path.

    It begins with the first word and ends when the speaker stops, or at Enter or Ctrl-D.
    """
    from audio2img.output.sound import sound_format, write_sound

    path = expand_path(output)
    sound_format(path)  # before the microphone opens
    with Display(given["quiet"], given["verbose"]) as display, open_pipeline(given, display) as pipeline:
        live = live_input(given)
        clip = run_job(pipeline, lambda: pipeline.listen(live))
    click.echo(write_sound(clip, path))
