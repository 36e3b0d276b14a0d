"""`audio2img classify`: which sounds are in a recording."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from audio2img.cli import completions
from audio2img.cli.help import Command
from audio2img.cli.numbers import NumberRange
from audio2img.cli.options import json_option, offline_option, sound_model_option, takes_wishes, talk_options
from audio2img.cli.results import print_json, sounds_table

if TYPE_CHECKING:
    from pathlib import Path

    from audio2img.audio.spectrogram import Spectrogram
    from audio2img.pipeline.wishes import Wishes
    from audio2img.types import SoundEvent, SoundEvents

TOP = 10


@click.command(
    "classify",
    cls=Command,
    examples=("audio2img classify street.wav", "audio2img classify street.wav --timeline"),
)
@click.argument("audio", shell_complete=completions.files)
@sound_model_option
@click.option(
    "--top", type=NumberRange(1), default=TOP, show_default=True, metavar="N", help="Sounds in the table."
)
@click.option(
    "--max-results",
    type=NumberRange(-1),
    metavar="N",
    show_default="5",
    help="Sounds kept of each window; -1 keeps all.",
)
@click.option("--timeline", is_flag=True, help="What leads when, instead of the table.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "timestamps"]),
    default="table",
    show_default=True,
    help="timestamps: a line for each window, such as “Timestamp 0: Dog (0.26)”.",
)
@click.option("--plot", metavar="FILE.png", help="Draw the spectrogram and the sounds under it.")
@offline_option
@json_option
@talk_options
@takes_wishes
def command(
    audio: str,
    top: int,
    max_results: int | None,
    timeline: bool,
    layout: str,
    plot: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    wishes: Wishes,
) -> None:
    """Name the sounds in a recording. Prints those that lead most often and most surely.

    AUDIO is any sound or video file, its http(s) address, or - for standard input; it may last for hours.
    """
    from audio2img.cli.display import Display
    from audio2img.cli.first_run import ensure_models
    from audio2img.cli.job import run_job
    from audio2img.cli.opening import open_pipeline
    from audio2img.pipeline.checks import check
    from audio2img.pipeline.options import Options

    if max_results == 0:
        raise click.UsageError("--max-results takes one or more, or -1 for all")
    if timeline and layout != "table":
        raise click.UsageError("--timeline and --format timestamps print different things: choose one")
    check(Options(), [audio])
    ensure_models(wishes, quiet, ("sound",))
    with Display(quiet, verbose) as display, open_pipeline(wishes, display, draws=False) as pipeline:
        spectrogram = _open_spectrogram() if plot else None
        watch = spectrogram.add if spectrogram else None
        sounds = run_job(pipeline, lambda: pipeline.classify(audio, max_results, watch))
        if plot and spectrogram:
            display.say(f"the plot is in {_write_plot(sounds, spectrogram, audio, plot)}")
    if as_json:
        print_json(_as_table(audio, sounds, top, timeline, layout == "timestamps"))
        return
    if timeline:
        lines = _write_timeline(sounds)
    elif layout == "timestamps":
        lines = _write_timestamps(sounds, max_results is None)
    else:
        lines = _write_table(sounds, top)
    for line in lines:
        click.echo(line)


def _open_spectrogram() -> Spectrogram:
    from audio2img.audio.spectrogram import Spectrogram
    from audio2img.output.sound_plot import check_plotting

    check_plotting()
    return Spectrogram()


def _write_plot(sounds: SoundEvents, spectrogram: Spectrogram, audio: str, plot: str) -> Path:
    from audio2img.config import expand_path
    from audio2img.output.sound_plot import write_sound_plot
    from audio2img.pipeline.hearing import name_of

    title = "standard input" if audio == "-" else name_of(audio)
    decibels, column_s = spectrogram.decibels(), spectrogram.column_s
    return write_sound_plot(sounds, decibels, column_s, title, expand_path(plot))


def _write_table(sounds: SoundEvents, top: int) -> Iterator[str]:
    from audio2img.prompt.scene import write_scene

    rows = sounds.summary.categories[:top]
    width = max(len("sound"), *(len(row.name) for row in rows))
    yield f"{'sound':<{width}}  leads   mean   peak"
    for row in rows:
        scores = f"{row.lead_share:>4.0%}  {row.mean_score:>6.2f} {row.peak_score:>6.2f}"
        yield f"{row.name:<{width}}  {scores}"
    yield ""
    yield f"to draw: {write_scene(sounds.summary.things).text or 'nothing'}"


def _write_timeline(sounds: SoundEvents) -> Iterator[str]:
    for event in sounds.timeline():
        yield f"{_clock(event.start_s)} – {_clock(event.end_s)}  {event.name} ({event.score:.2f})"


def _write_timestamps(sounds: SoundEvents, only_first: bool) -> Iterator[str]:
    """As MediaPipe's own example prints it: when each window begins, in milliseconds."""
    for index in range(sounds.summary.windows):
        events = sounds.window(index)[: 1 if only_first else None]
        heard = ", ".join(f"{event.name} ({event.score:.2f})" for event in events)
        yield f"Timestamp {int(events[0].start_s * 1000)}: {heard}"


def _as_table(audio: str, sounds: SoundEvents, top: int, timeline: bool, per_window: bool) -> dict[str, Any]:
    """All of it as plain JSON values; the timeline and the windows where they are asked for."""
    table = {"source": audio, **sounds_table(sounds.summary.shortened(top))}
    if timeline:
        table["timeline"] = [_event_table(event) for event in sounds.timeline()]
    if per_window:
        table["per_window"] = [
            [_event_table(event) for event in sounds.window(index)] for index in range(sounds.summary.windows)
        ]
    return table


def _event_table(event: SoundEvent) -> dict[str, Any]:
    return {
        "start_s": round(event.start_s, 4),
        "end_s": round(event.end_s, 4),
        "name": event.name,
        "score": round(event.score, 4),
    }


def _clock(seconds: float) -> str:
    """ "0:07.3", "1:02:07.3"."""
    tenths = round(seconds * 10)
    hours, minutes = divmod(tenths // 600, 60)
    start = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{start}:{tenths % 600 / 10:04.1f}"
