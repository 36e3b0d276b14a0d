"""`audio2img run`: the main job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli.help import Command
from audio2img.cli.options import (
    hear_options,
    json_option,
    microphone_options,
    offline_option,
    picture_options,
    speech_options,
    takes_wishes,
    talk_options,
)
from audio2img.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from audio2img.cli.display import Display
    from audio2img.cli.finished import Finished
    from audio2img.pipeline.redrawing import Changes
    from audio2img.pipeline.wishes import Wishes
    from audio2img.store.rows import Kind
    from audio2img.types import AudioClip, Hear

# "auto" does without a sound model where there is none.
KINDS: dict[Hear, tuple[Kind, ...]] = {
    "speech": ("image", "speech"),
    "sounds": ("image", "sound"),
    "auto": ("image", "speech"),
    "both": ("image", "speech", "sound"),
}


@click.command(
    "run", cls=Command, examples=("audio2img run", "audio2img run memo.m4a --style watercolor -o fox.png")
)
@click.argument("audio", required=False)
@click.option(
    "--from",
    "picture",
    metavar="PICTURE",
    help="Draw a picture of ours again, from itself; last is the newest.",
)
@microphone_options
@click.option("--keep-audio", is_flag=True, help="Keep the recording beside the picture, as WAV.")
@speech_options
@hear_options
@picture_options
@offline_option
@json_option
@talk_options
@takes_wishes
def command(
    audio: str | None,
    picture: str | None,
    keep_audio: bool,
    as_json: bool,
    open_after: bool,
    quiet: bool,
    verbose: bool,
    previews: bool,
    wishes: Wishes,
) -> None:
    """Speech, or any sound, to picture: the main job. Prints the picture's path.

    AUDIO is any sound or video file, its http(s) address, or - for standard input. Without it you
    are listened to until you stop speaking, or press Enter or Ctrl-D; with --hear sounds or auto
    for six seconds.
    """
    from audio2img.cli.display import Display
    from audio2img.cli.finished import Finished
    from audio2img.cli.first_run import ensure_models
    from audio2img.cli.last import find_picture
    from audio2img.pipeline.checks import check

    if picture and audio:
        raise UsageError("--from draws a picture again and needs no AUDIO", "leave one of them out")
    if keep_audio and (picture or audio):
        raise UsageError("--keep-audio keeps what the microphone hears", "leave it out, or leave AUDIO out")
    finished = Finished(wishes.output_path())
    display = Display(quiet, verbose, previews)
    with finished.printed(as_json, open_after):
        if picture:
            _draw_again(find_picture(picture, wishes.output_path()), wishes, display, finished)
        else:
            options = wishes.options()
            check(options, audio, wishes.output_path())
            ensure_models(wishes, quiet, KINDS[options.hear])
            _draw_sound(audio, wishes, display, finished, keep_audio)


def _draw_sound(
    audio: str | None, wishes: Wishes, display: Display, finished: Finished, keep_audio: bool
) -> None:
    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.cli.stop_key import stop_key

    options = wishes.options()
    recordings: list[AudioClip] = []
    with display, open_pipeline(wishes, display) as pipeline:
        source = wishes.live(stop_key()) if audio is None else audio
        try:
            run_job(
                pipeline,
                lambda: pipeline.run(source, options, on_clip=recordings.append, on_picture=finished),
            )
        finally:
            if keep_audio and recordings:
                _keep(recordings[0], finished.paths, wishes.output_path(), display)


def _keep(clip: AudioClip, pictures: list[Path], output: Path, display: Display) -> None:
    """Keep the recording beside its picture, or where that would have been."""
    from audio2img.output import format_of
    from audio2img.output.sound import write_sound

    beside = output / "recording" if format_of(output) is None else output
    name = pictures[0] if pictures else beside
    display.say(f"the recording is in {write_sound(clip, name.with_suffix('.wav'))}")


def _draw_again(picture: str, wishes: Wishes, display: Display, finished: Finished) -> None:
    from dataclasses import replace
    from pathlib import Path

    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.output import read_ignored, read_record
    from audio2img.pipeline.checks import check
    from audio2img.pipeline.options import Options
    from audio2img.pipeline.redrawing import original_model

    changes = _changes(wishes)
    check(Options(count=wishes.count, init_image=wishes.init_image), target=wishes.output_path())
    record = read_record(picture)
    if wishes.said("model") is None:
        model, backend = original_model(record, Path(picture))
        wishes = replace(wishes, model=model, backend=wishes.said("backend") or backend)
    with display, open_pipeline(wishes, display) as pipeline:
        if ignored := read_ignored(picture):
            display.say(f"not repeated from {picture}: {', '.join(ignored)}")
        run_job(
            pipeline,
            lambda: pipeline.redraw(record, changes, init_image=wishes.init_image, on_picture=finished),
        )


def _changes(wishes: Wishes) -> Changes:
    """What the command line asks to be different."""
    from dataclasses import fields

    from audio2img.pipeline.redrawing import Changes

    unusable = [name for name in ("style", "template", "translate", "language", "hear") if wishes.said(name)]
    if unusable:
        raise UsageError(f"--{unusable[0]} does not go with --from", "leave it out")
    said = {one.name: wishes.said(one.name) for one in fields(Changes)}
    return Changes(**{**said, "count": None if wishes.count == 1 else wishes.count})
