"""`audio2img show`: how a picture was made."""

from __future__ import annotations

import sys
from typing import Any

import click

from audio2img.cli import completions
from audio2img.cli.help import Command
from audio2img.cli.last import LAST, find_picture
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json


@click.command("show", cls=Command, examples=("audio2img show fox.png", "audio2img show last --json"))
@click.argument("picture", shell_complete=completions.pictures)
@json_option
@talk_options
def command(picture: str, as_json: bool, **given: Any) -> None:
    """How a picture was made: its words, its settings, its model.

    PICTURE is a PNG, JPEG or WebP file that audio2img wrote, or a Stable Diffusion web UI; last is the
    newest one in the folder that pictures go to.
    """
    from audio2img.output import read_ignored, read_record

    if picture == LAST:
        from audio2img.config import load_settings
        from audio2img.pipeline.wishes import Wishes

        picture = find_picture(picture, Wishes.of({}, load_settings()).output_path())

    record = read_record(picture)
    if as_json:
        import json

        print_json(json.loads(record.to_json()))
        return
    request = record.request
    rows = {
        "prompt": request.prompt,
        "negative": request.negative_prompt,
        "heard": record.transcript.text if record.transcript else "",
        "language": record.transcript.language if record.transcript else "",
        "speech model": record.transcript.model if record.transcript else "",
        "sounds": ", ".join(thing.phrase for thing in record.sounds.things) if record.sounds else "",
        "sound model": record.sounds.model if record.sounds else "",
        "sound": record.audio_source,
        "model": f"{record.model} ({record.backend}, {record.model_hash[:12]})",
        "seed": str(request.seed)
        + (f", picture {request.index + 1} of {request.count}" if request.count > 1 else ""),
        "drawn from": f"{request.init_image.name}, strength {request.strength:g}"
        if request.init_image and request.strength
        else "",
        "steps": f"{request.steps}, {request.scheduler}, guidance {request.guidance_scale:g}",
        "LoRAs": ", ".join(f"{lora.name}, weight {lora.weight:g}" for lora in request.loras),
        "size": f"{request.width}x{request.height}",
        "made": record.created,
        "not repeated": ", ".join(read_ignored(picture)),
    }
    for label, value in rows.items():
        if value:
            click.echo(f"{label + ':':<14}{_printable(value)}")
    click.echo(f"{'again:':<14}{_printable(_command_line('audio2img', 'run', '--from', str(picture)))}")


def _command_line(*words: str) -> str:
    """The words as a shell of this system reads them."""
    if sys.platform == "win32":
        import subprocess

        return subprocess.list2cmdline(words)
    import shlex

    return shlex.join(words)


def _printable(text: str) -> str:
    """`text` without control characters: a picture from elsewhere must not steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
