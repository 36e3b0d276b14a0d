"""`audio2img record`: from a microphone into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli import completions
from audio2img.cli.help import Command
from audio2img.cli.options import microphone_options, takes_wishes, talk_options

if TYPE_CHECKING:
    from audio2img.pipeline.wishes import Wishes


@click.command(
    "record",
    cls=Command,
    examples=("audio2img record -o memo.wav", "audio2img record -o rain.flac --seconds 10"),
)
@click.option(
    "-o",
    "--output",
    "target",
    default="recording.wav",
    metavar="FILE",
    shell_complete=completions.files,
    show_default=True,
    help="Where the sound goes: .wav, .flac, .opus, .m4a or .mp3.",
)
@microphone_options
@talk_options
@takes_wishes
def command(target: str, quiet: bool, verbose: bool, wishes: Wishes) -> None:
    """Record from a microphone into a file (16 kHz, mono). Prints its path.

    It begins with the first word and ends when the speaker stops, or at Enter or Ctrl-D.
    """
    from audio2img.cli.display import Display
    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.cli.stop_key import stop_key
    from audio2img.config import expand_path
    from audio2img.output.sound import sound_format, write_sound

    path = expand_path(target)
    sound_format(path)  # before the microphone opens
    with Display(quiet, verbose) as display, open_pipeline(wishes, display, draws=False) as pipeline:
        live = wishes.live(stop_key())
        clip = run_job(pipeline, lambda: pipeline.listen(live))
    click.echo(write_sound(clip, path))
