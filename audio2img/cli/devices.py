"""`audio2img devices`: the microphones there are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json


@click.command("devices")
@json_option
@talk_options
def command(as_json: bool, **given: Any) -> None:
    """The microphones there are; a star marks the system's default."""
    from audio2img.audio.microphone import list_devices

    devices = list_devices()
    if as_json:
        print_json([asdict(device) for device in devices])
        return
    for device in devices:
        mark = "*" if device.is_default else " "
        rate = f"{device.sample_rate_hz:.0f} Hz"
        click.echo(
            f"{mark}{device.index:>3}  {device.name}  ({device.host_api}, {device.channels} in, {rate})"
        )
    if not devices:
        click.echo("no microphone found", err=True)
