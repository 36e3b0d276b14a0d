"""`audio2img devices`: the microphones there are."""

from __future__ import annotations

from typing import Any

import click

from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json
from audio2img.errors import Audio2ImgError


@click.command("devices", cls=Command, examples=("audio2img devices", "audio2img devices --use default"))
@click.option(
    "--use", "wanted", metavar="NUMBER|NAME|default", help="Remember this microphone; default: the system's."
)
@json_option
@talk_options
def command(as_json: bool, wanted: str | None, **given: Any) -> None:
    """The microphones there are; a star marks the system's default, an arrow the one to listen to."""
    from audio2img.audio.microphone import find_device, list_devices
    from audio2img.config import load_settings, save_setting

    if wanted is not None:  # by its name: numbers change with every plug
        save_setting("device", None if wanted == "default" else find_device(wanted).name)
    devices = list_devices()
    if as_json:
        from dataclasses import asdict

        print_json([asdict(device) for device in devices])
        return
    chosen = _chosen(load_settings().device)
    for device in devices:
        marks = ("*" if device.is_default else " ") + (">" if device.index == chosen else " ")
        rate = f"{device.sample_rate_hz:.0f} Hz"
        click.echo(
            f"{marks}{device.index:>3}  {device.name}  ({device.host_api}, {device.channels} in, {rate})"
        )
    if not devices:
        click.echo("no microphone found", err=True)


def _chosen(remembered: str | None) -> int | None:
    """The number of the microphone in the settings, None where there is none or it is not plugged in."""
    from audio2img.audio.microphone import find_device

    if remembered is None:
        return None
    try:
        return find_device(remembered).index
    except Audio2ImgError:
        return None
