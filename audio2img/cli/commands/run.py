"""`audio2img run`: the main job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from audio2img.backends import name_of_recorded
from audio2img.cli.display import Display
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
from audio2img.cli.results import open_pictures, print_drawing
from audio2img.cli.stage_options import live_input, make_options, microphone_of, open_pipeline, output_of
from audio2img.errors import Audio2ImgError, NothingToDrawError, UsageError
from audio2img.pipeline import Pipeline
from audio2img.pipeline.drawing import Drawing
from audio2img.pipeline.options import Options
from audio2img.store.rows import Kind
from audio2img.types import AudioClip, Hear, ImageRequest, Transcript

SOUND_S = 6.0  # how long the microphone is recorded for sounds, which nobody ends by falling silent
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
    if not picture:
        ensure_models(given, KINDS[make_options(given).hear])
    with Display(given["quiet"], given["verbose"], given["previews"]) as display:
        if picture:
            drawing, paths = _draw_again(Path(picture), given, display)
        else:
            drawing, paths = _draw_speech(audio, given, display)
    print_drawing(drawing, paths, as_json)
    if open_after:
        open_pictures(paths)


def _draw_speech(audio: str | None, given: dict[str, Any], display: Display) -> tuple[Drawing, list[Path]]:
    options = make_options(given)
    output = output_of(given)
    with open_pipeline(given, display) as pipeline:

        def job() -> tuple[Drawing, list[Path]]:
            pipeline.preload()
            if audio is None:
                return _draw_voice(pipeline, options, given, display)
            drawing = pipeline.run(audio, options)
            return drawing, drawing.save(output)

        return run_job(pipeline, job)


def _draw_voice(
    pipeline: Pipeline, options: Options, given: dict[str, Any], display: Display
) -> tuple[Drawing, list[Path]]:
    from audio2img.output import format_of

    output = output_of(given)
    recordings: list[AudioClip] = []
    try:
        clip, heard = _hear(pipeline, options, given, recordings)
        drawing = pipeline.run(clip, options, heard)
        paths = drawing.save(output)
    except Audio2ImgError:
        if recordings and given["keep_audio"]:
            name = output / "recording" if format_of(output) is None else output
            _keep(recordings[0], name, display)
        raise
    if given["keep_audio"]:
        _keep(clip, paths[0], display)
    return drawing, paths


def _hear(
    pipeline: Pipeline, options: Options, given: dict[str, Any], recordings: list[AudioClip]
) -> tuple[AudioClip, Transcript | None]:
    """What the microphone heard, which `recordings` gets at once, and its words where they are known."""
    if given["seconds"] or options.hear in ("sounds", "auto"):
        clip = pipeline.record(given["seconds"] or SOUND_S, microphone_of(given))
        recordings.append(clip)
        return clip, None
    try:
        return pipeline.hear(live_input(given), options, recordings.append)
    except NothingToDrawError:
        if options.hear != "both" or not recordings:
            raise
        return recordings[0], None  # no words, but perhaps a sound


def _keep(clip: AudioClip, name: Path, display: Display) -> None:
    from audio2img.output.sound import write_sound

    display.say(f"the recording is in {write_sound(clip, name.with_suffix('.wav'))}")


def _draw_again(picture: Path, given: dict[str, Any], display: Display) -> tuple[Drawing, list[Path]]:
    from audio2img.output import read_record

    record = read_record(picture)
    request = _with_changes(record.request, given)
    init_image = given["init_image"]
    if (init_image or given["strength"]) and request.init_image is None:
        option = "--init-image" if init_image else "--strength"
        raise UsageError(f"{picture} was not drawn from another picture", f"leave {option} out")
    backend = given["backend"] or (None if given["model"] else name_of_recorded(record.backend))
    chosen = {**given, "model": given["model"] or record.model, "backend": backend}
    with open_pipeline(chosen, display) as pipeline:

        def job() -> tuple[Drawing, list[Path]]:
            _warn_if_other_model(pipeline, record.model_hash, display)
            drawing = pipeline.draw(request, init_image)
            drawing = replace(
                drawing,
                transcript=record.transcript,
                sounds=record.sounds,
                audio_source=record.audio_source,
            )
            return drawing, drawing.save(output_of(given))

        return run_job(pipeline, job)


def _with_changes(request: ImageRequest, given: dict[str, Any]) -> ImageRequest:
    """The recorded request, except for what the command line asks to be different."""
    unusable = [name for name in ("style", "template", "translate", "language", "hear") if given.get(name)]
    if unusable or given["count"] != 1:
        raise UsageError(f"--{(unusable or ['count'])[0]} does not go with --from", "leave it out")
    names = {
        "seed": "seed",
        "steps": "steps",
        "guidance": "guidance_scale",
        "scheduler": "scheduler",
        "negative": "negative_prompt",
        "strength": "strength",
    }
    changes = {ours: given[theirs] for theirs, ours in names.items() if given[theirs] is not None}
    if given["size"]:
        changes["width"], changes["height"] = given["size"]
    return replace(request, **changes)


def _warn_if_other_model(pipeline: Pipeline, recorded_hash: str, display: Display) -> None:
    if recorded_hash and pipeline.model_hash != recorded_hash:
        display.say("the model is not the one that drew this picture: the new one may differ")
