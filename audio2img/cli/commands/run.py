"""`audio2img run`: the main job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audio2img.cli import completions
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
    "run",
    cls=Command,
    examples=(
        "audio2img run memo.m4a interview.mp3 --style watercolor -o ~/Desktop",
        "audio2img run --watch ~/Memos -o ~/Pictures/memos",
    ),
)
@click.argument("audio", nargs=-1, shell_complete=completions.files)
@click.option(
    "--from",
    "picture",
    metavar="PICTURE",
    shell_complete=completions.pictures,
    help="Draw a picture of ours again, from itself; last is the newest.",
)
@click.option(
    "--watch",
    "watched",
    metavar="FOLDER",
    shell_complete=completions.folders,
    help="Draw every recording that arrives in FOLDER from now on, until Ctrl-C.",
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
    audio: tuple[str, ...],
    picture: str | None,
    watched: str | None,
    keep_audio: bool,
    as_json: bool,
    open_after: bool,
    quiet: bool,
    verbose: bool,
    previews: bool,
    wishes: Wishes,
) -> None:
    """Speech, or any sound, to picture: the main job. Prints the picture's path.

    AUDIO is any sound or video file, its http(s) address, or - for standard input. Several are drawn
    one after the other; one that cannot be understood does not keep the others from it. Without any you
    are listened to until you stop speaking, or press Enter or Ctrl-D; with --hear sounds or auto
    for six seconds.
    """
    from audio2img.cli.display import Display
    from audio2img.cli.finished import Finished
    from audio2img.cli.first_run import ensure_models
    from audio2img.cli.last import find_picture
    from audio2img.pipeline.checks import check

    _check_together(audio, picture, watched, keep_audio)
    display = Display(quiet, verbose, previews)
    output = wishes.output_path()
    finished = Finished(output, display.show_result, as_json, open_after)
    if picture:
        _draw_again(find_picture(picture, output), wishes, display, finished)
        return
    options = wishes.options()
    check(options, audio, output)
    folder = None if watched is None else _check_watched(watched, output)
    ensure_models(wishes, quiet, KINDS[options.hear])
    if audio or folder:
        _draw_files(audio, folder, wishes, display, finished)
    else:
        _draw_live(wishes, display, finished, keep_audio)


def _check_together(
    audio: tuple[str, ...], picture: str | None, watched: str | None, keep_audio: bool
) -> None:
    """Raises UsageError for what cannot be asked for at once."""
    if picture and audio:
        raise UsageError("--from draws a picture again and needs no AUDIO", "leave one of them out")
    if watched is not None and (picture or audio):
        other = "--from" if picture else "AUDIO"
        raise UsageError(f"--watch takes what arrives in its folder, and no {other}", "leave one of them out")
    if keep_audio and (picture or audio or watched is not None):
        remedy = "leave it out, or give neither AUDIO nor --from nor --watch"
        raise UsageError("--keep-audio keeps what the microphone hears", remedy)


def _check_watched(watched: str, output: Path) -> Path:
    """The folder. Raises InputError for one that cannot be read, UsageError for no name, and where only one
    picture can go."""
    from audio2img.audio.arrivals import list_recordings
    from audio2img.config import expand_path
    from audio2img.errors import about_setting
    from audio2img.output import format_of

    if not watched:  # as of a variable that a shell does not know; it would be the folder we are in
        raise UsageError("--watch needs a folder", "name it; . is the one you are in")
    folder = expand_path(watched)
    list_recordings(folder)
    if format_of(output) is not None:
        with about_setting("output"):
            raise UsageError(
                f"the pictures of all that arrives do not fit into {output}", "give a folder as `target`"
            )
    return folder


def _draw_files(
    audio: tuple[str, ...], folder: Path | None, wishes: Wishes, display: Display, finished: Finished
) -> None:
    """Those that are named, or that arrive in `folder`."""
    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.cli.several import go_through, watch

    options = wishes.options()
    with display, open_pipeline(wishes, display) as pipeline:

        def draw(source: str) -> None:
            with finished.of(source, in_one_line=len(audio) != 1):
                run_job(pipeline, lambda: pipeline.run(source, options, on_picture=finished))

        if folder is not None:
            pipeline.preload()
            go_through(watch(folder, display, pipeline.models.check_image_model), draw, display)
        elif len(audio) == 1:
            draw(audio[0])
        else:
            go_through(audio, draw, display)


def _draw_live(wishes: Wishes, display: Display, finished: Finished, keep_audio: bool) -> None:
    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.cli.stop_key import stop_key

    options = wishes.options()
    recordings: list[AudioClip] = []
    with display, open_pipeline(wishes, display) as pipeline, finished.of():
        live = wishes.live(stop_key())
        try:
            run_job(
                pipeline, lambda: pipeline.run(live, options, on_clip=recordings.append, on_picture=finished)
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
    with display, open_pipeline(wishes, display) as pipeline, finished.of():
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
