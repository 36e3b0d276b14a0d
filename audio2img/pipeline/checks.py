"""What can be found wrong with a call before anything is loaded, or fetched from the network for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audio2img.audio.recordings import check_recording
from audio2img.config import Settings, expand_path
from audio2img.errors import MachineError, UsageError, about_setting
from audio2img.pipeline.hearing import AudioSource
from audio2img.pipeline.options import Options

if TYPE_CHECKING:
    from audio2img.store.rows import Kind

MODEL_KINDS: dict[str, Kind] = {
    "model": "image",
    "speech_model": "speech",
    "sound_model": "sound",
    "vad_model": "vad",
}
"""What kind of model a setting names."""


def check(options: Options, sources: Sequence[AudioSource] = (), target: str | Path | None = None) -> None:
    """Raises what the calls would raise for a missing file, an unknown style or an unwritable place.

    sources: of the sound, one for each call. target: where pictures are going to be saved.
    """
    for source in sources:
        _check_source(source)
    if sum(isinstance(source, (str, Path)) and str(source) == "-" for source in sources) > 1:
        raise UsageError("standard input can be read only once", "give one - alone, or the names of files")
    _check_words_around(options)
    if options.init_image is not None:
        from audio2img.output.pixels import read_pixels

        read_pixels(options.init_image)
    if target is not None:
        with about_setting("output"):
            _check_target(expand_path(target), options.count * max(1, len(sources)))


def check_setting(name: str, value: str | float | bool) -> None:
    """Raises what every call would raise for this value of a setting: an unknown name, a number out of range.

    What may come yet is taken: a file, a microphone that is not plugged in, a model to be downloaded.
    """
    from audio2img.backends import check_backend_name, check_compute_units
    from audio2img.pipeline.live import LiveInput
    from audio2img.pipeline.wishes import Wishes
    from audio2img.store.catalog import find_missing

    with about_setting(name):
        if name == "backend":
            check_backend_name(str(value))
        elif name == "compute_units":
            check_compute_units(str(value))
        elif name in MODEL_KINDS:
            find_missing(str(value), MODEL_KINDS[name])
        elif name in ("silence", "limit"):
            seconds = float(value)
            LiveInput(silence_s=seconds) if name == "silence" else LiveInput(limit_s=seconds)
        else:
            _check_words_around(Wishes.of({name: value}, Settings()).options())


def _check_source(source: AudioSource) -> None:
    if isinstance(source, str) and "://" in source:
        from audio2img.fetch import check_url

        check_url(source)
    elif isinstance(source, (str, Path)) and str(source) != "-":
        check_recording(expand_path(source))


def _check_words_around(options: Options) -> None:
    from audio2img.config import config_dir
    from audio2img.prompt import find_style, find_template

    if options.style is not None:
        with about_setting("style"):
            find_style(options.style, config_dir() / "styles")
    if options.template is not None:
        with about_setting("template"):
            find_template(options.template, config_dir() / "templates")


def _check_target(path: Path, count: int) -> None:
    from audio2img.output import check_target, format_of

    check_target(path, count)
    if format_of(path) is not None:
        path = path.parent
    existing = next((one for one in (path, *path.parents) if one.exists()), None)
    if existing is not None and not existing.is_dir():
        raise UsageError(f"{existing} is not a folder", "choose another `target`")
    if existing is not None and not os.access(existing, os.W_OK | os.X_OK):
        raise MachineError(f"no permission to write into {path}", "choose another `target`")
