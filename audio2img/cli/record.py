"""`audio2img record`: from a microphone into a WAV file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audio2img.cli.display import Display
from audio2img.cli.job import run_job
from audio2img.cli.options import microphone_options, talk_options, with_settings
from audio2img.cli.run import LISTEN_S
from audio2img.cli.stage_options import open_pipeline


@click.command("record")
@click.option("-o", "--output", default="recording.wav", metavar="FILE.wav", help="Where the sound goes.")
@microphone_options
@talk_options
def command(output: str, seconds: float | None, device: str | None, **given: Any) -> None:
    """Record from a microphone into a WAV file (16 kHz, mono, 16 bit). Prints its path."""
    from audio2img.output.wav import write_wav

    settings = with_settings(device=device)
    with Display(given["quiet"], given["verbose"]) as display, open_pipeline(given, display) as pipeline:
        clip = run_job(pipeline, lambda: pipeline.record(seconds or LISTEN_S, settings.device))
    click.echo(write_wav(clip, Path(output).expanduser()))
