"""What goes to stdout: the paths of the pictures, one a line, or JSON."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import click

from audio2img.cli.text import clean_json

if TYPE_CHECKING:
    from pathlib import Path

    from audio2img.pipeline.drawing import Drawing
    from audio2img.types import SoundSummary, Transcript


def drawing_table(drawing: Drawing, paths: list[Path], source: str | None) -> dict[str, Any]:
    """A Drawing as plain JSON values. paths: of its pictures; source: AUDIO as it was given, if it was."""
    pictures = [
        {
            "path": str(path),
            "seed": image.request.seed,
            "index": image.request.index,
            "steps": image.request.steps,
            "guidance_scale": image.request.guidance_scale,
            "scheduler": image.request.scheduler,
            "width": image.pixels.shape[1],
            "height": image.pixels.shape[0],
            "model": image.model,
            "model_hash": image.model_hash,
            "backend": image.backend,
            "duration_s": round(image.duration_s, 3),
        }
        for image, path in zip(drawing.images, paths, strict=True)
    ]
    return {
        "source": source,
        "pictures": pictures,
        "prompt": drawing.prompt.text,
        "negative_prompt": drawing.prompt.negative,
        "dropped": drawing.prompt.dropped,
        "transcript": transcript_table(drawing.transcript) if drawing.transcript else None,
        "sounds": sounds_table(drawing.sounds) if drawing.sounds else None,
        "timings_s": {stage: round(spent, 3) for stage, spent in drawing.timings_s.items()},
    }


def transcript_table(transcript: Transcript) -> dict[str, Any]:
    """A Transcript as plain JSON values."""
    return {
        "text": transcript.text,
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "task": transcript.task,
        "model": transcript.model,
        "segments": [
            {
                "start_s": round(segment.start_s, 3),
                "end_s": round(segment.end_s, 3),
                "text": segment.text,
                "probability": None if segment.probability is None else round(segment.probability, 4),
            }
            for segment in transcript.segments
        ],
    }


def sounds_table(sounds: SoundSummary) -> dict[str, Any]:
    """A SoundSummary as plain JSON values."""
    from dataclasses import asdict

    return {"speech_leads": sounds.speech_leads, **asdict(sounds)}


def print_json(table: Any) -> None:
    click.echo(json_text(table))


def json_text(table: Any, in_one_line: bool = False) -> str:
    """One JSON value, in which nothing steers a terminal; a number that JSON lacks (NaN) is null."""
    import json

    indent = None if in_one_line else 2
    return clean_json(json.dumps(_without_nan(table), ensure_ascii=False, indent=indent))


def _without_nan(table: Any) -> Any:
    if isinstance(table, dict):
        return {key: _without_nan(value) for key, value in table.items()}
    if isinstance(table, (list, tuple)):
        return [_without_nan(value) for value in table]
    return None if isinstance(table, float) and not math.isfinite(table) else table


def open_pictures(paths: list[Path]) -> None:
    """Show the pictures in the system's own viewer; a machine without one just does not."""
    import subprocess

    for path in paths:
        if sys.platform == "win32":
            import os

            os.startfile(path)
            continue
        program = "open" if sys.platform == "darwin" else "xdg-open"
        try:
            subprocess.Popen([program, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError:
            click.echo(f"audio2img: cannot open {path}: there is no {program} here", err=True)
