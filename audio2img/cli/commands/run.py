"""`audio2img run`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audio2img.cli.display import Display
from audio2img.cli.finished import Finished
from audio2img.cli.first_run import ensure_models
from audio2img.cli.job import run_job
from audio2img.cli.options import (
    hear_options,
    json_option,
    microphone_options,
    offline_option,
    picture_options,
    speech_options,
    talk_options,
)
from audio2img.cli.stage_options import live_input, make_options, open_pipeline, output_of
from audio2img.errors import UsageError
from audio2img.pipeline.checks import check
from audio2img.pipeline.options import Options
from audio2img.pipeline.redrawing import Changes
from audio2img.store.rows import Kind
from audio2img.types import AudioClip, Hear

# "auto" does without a sound model where there is none.
KINDS: dict[Hear, tuple[Kind, ...]] = {
    "speech": ("image", "speech"),
    "sounds": ("image", "sound"),
    "auto": ("image", "speech"),
    "both": ("image", "speech", "sound"),
}


@click.command("run")
@click.argument("audio", required=False)
@click.option("--from", "picture", metavar="PICTURE", help="Draw a picture of ours again, from itself.")
@microphone_options
@click.option("--keep-audio", is_flag=True, help="Keep the recording beside the picture, as WAV.")
@speech_options
@hear_options
@picture_options
@offline_option
@json_option
@talk_options
def command(audio: str | None, picture: str | None, as_json: bool, open_after: bool, **given: Any) -> None:
    """Speech, or any sound, to picture: the main job. Prints the picture's path.

    AUDIO is any sound or video file, or - for standard input. Without it you are listened to
    until you stop speaking, or press Enter or Ctrl-D; with --hear sounds or auto for six seconds.
    """
    if picture and audio:
        raise UsageError("--from draws a picture again and needs no AUDIO", "leave one of them out")
    if given["keep_audio"] and (picture or audio):
        raise UsageError("--keep-audio keeps what the microphone hears", "leave it out, or leave AUDIO out")
    finished = Finished(output_of(given))
    with finished.printed(as_json, open_after):
        if picture:
            _draw_again(picture, given, finished)
        else:
            _draw_sound(audio, given, finished)


def _draw_sound(audio: str | None, given: dict[str, Any], finished: Finished) -> None:
    options = make_options(given)
    check(options, audio, output_of(given))
    ensure_models(given, KINDS[options.hear])
    recordings: list[AudioClip] = []
    with (
        Display(given["quiet"], given["verbose"], given["previews"]) as display,
        open_pipeline(given, display) as pipeline,
    ):
        source = live_input(given) if audio is None else audio
        try:
            run_job(
                pipeline,
                lambda: pipeline.run(source, options, on_clip=recordings.append, on_picture=finished),
            )
        finally:
            if given["keep_audio"] and recordings:
                _keep(recordings[0], finished.paths, output_of(given), display)


def _keep(clip: AudioClip, pictures: list[Path], output: Path, display: Display) -> None:
    """Keep the recording beside its picture, or where that would have been."""
    from audio2img.output import format_of
    from audio2img.output.sound import write_sound

    beside = output / "recording" if format_of(output) is None else output
    name = pictures[0] if pictures else beside
    display.say(f"the recording is in {write_sound(clip, name.with_suffix('.wav'))}")


def _draw_again(picture: str, given: dict[str, Any], finished: Finished) -> None:
    from audio2img.output import read_ignored, read_record
    from audio2img.pipeline.redrawing import original_model

    changes = _changes(given)
    check(Options(count=given["count"], init_image=given["init_image"]), target=output_of(given))
    record = read_record(picture)
    chosen = dict(given)
    if not given["model"]:
        chosen["model"], backend = original_model(record, Path(picture))
        chosen["backend"] = given["backend"] or backend
    with (
        Display(given["quiet"], given["verbose"], given["previews"]) as display,
        open_pipeline(chosen, display) as pipeline,
    ):
        if ignored := read_ignored(picture):
            display.say(f"not repeated from {picture}: {', '.join(ignored)}")
        run_job(
            pipeline,
            lambda: pipeline.redraw(record, changes, init_image=given["init_image"], on_picture=finished),
        )


def _changes(given: dict[str, Any]) -> Changes:
    """What the command line asks to be different."""
    unusable = [name for name in ("style", "template", "translate", "language", "hear") if given.get(name)]
    if unusable:
        raise UsageError(f"--{unusable[0]} does not go with --from", "leave it out")
    names = ("seed", "steps", "guidance", "scheduler", "size", "negative", "strength")
    count = None if given["count"] == 1 else given["count"]
    return Changes(**{name: given[name] for name in names}, count=count)
