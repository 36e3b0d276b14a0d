"""`audio2img doctor`: check that everything works on this machine."""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import click

from audio2img import __version__
from audio2img.cli.options import json_option, talk_options, with_settings
from audio2img.cli.results import print_json
from audio2img.cli.stage_options import output_of
from audio2img.config import embedded_models_dir, log_file, settings_file
from audio2img.errors import Audio2ImgError, MachineError

State = Literal["ok", "note", "fail"]

PACKAGES = (
    "av", "click", "huggingface_hub", "numpy", "pillow", "pywhispercpp", "sounddevice", "soxr", "tokenizers",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One line of the report. A `note` is something missing that only some commands need."""

    name: str
    state: State
    detail: str
    remedy: str = ""


@click.command("doctor")
@json_option
@talk_options
def command(as_json: bool, **given: Any) -> None:
    """Check that everything works on this machine: packages, models, microphone, folders.

    Exits with 5 when something fails that every picture needs.
    """
    checks: list[Check] = []
    for check in run_checks():
        checks.append(check)
        if not as_json:
            remedy = f" — {check.remedy}" if check.remedy else ""
            click.echo(f"{check.state:<5}{check.name:<14}{check.detail}{remedy}")
    if as_json:
        print_json([asdict(check) for check in checks])
    failed = [check.name for check in checks if check.state == "fail"]
    if failed:
        raise MachineError(f"not everything works: {', '.join(failed)}", "see the lines above")


def run_checks() -> Iterator[Check]:
    """Every check, one after the other; a check that raises is a failed check."""
    for name, check in CHECKS.items():
        try:
            yield check()
        except Audio2ImgError as error:
            state: State = "note" if name in OPTIONAL else "fail"
            yield Check(name, state, error.message, error.remedy)
        except Exception as error:
            yield Check(name, "fail", f"{type(error).__name__}: {error}", "run: audio2img doctor --verbose")


def _system() -> Check:
    python = platform.python_version()
    where = f"{platform.platform()}, {platform.machine()}"
    return Check("system", "ok", f"audio2img {__version__}, Python {python}, {where}")


def _packages() -> Check:
    wanted = (*PACKAGES, "coremltools") if sys.platform == "darwin" else PACKAGES
    found, missing = [], []
    for package in wanted:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        return Check("packages", "fail", f"missing: {', '.join(missing)}", "reinstall audio2img")
    return Check("packages", "ok", ", ".join(found))


def _settings() -> Check:
    with_settings()
    path = settings_file()
    return Check("settings", "ok", str(path) if path.exists() else f"none set ({path} does not exist)")


def _codecs() -> Check:
    import av

    wanted = ("aac", "flac", "mp3", "opus", "pcm_s16le", "vorbis")
    missing = [codec for codec in wanted if codec not in av.codecs_available]
    if missing:
        return Check("codecs", "fail", f"FFmpeg lacks: {', '.join(missing)}", "reinstall the package av")
    return Check("codecs", "ok", f"{', '.join(wanted)} and {len(av.codecs_available) - len(wanted)} more")


def _speech() -> Check:
    from audio2img.pipeline import Pipeline

    started = time.perf_counter()
    with Pipeline("mini", "mini-whisper") as pipeline:
        heard = pipeline.transcribe(embedded_models_dir() / "demo.flac")
    return Check("speech", "ok", f"heard “{heard.text}” in {time.perf_counter() - started:.1f} s")


def _picture() -> Check:
    from audio2img.pipeline import Options, Pipeline

    with Pipeline("mini") as pipeline, tempfile.TemporaryDirectory() as folder:
        drawing = pipeline.generate("a red house", Options(seed=1))
        path = drawing.save(folder)[0]
        image = drawing.images[0]
        size = path.stat().st_size
    detail = f"{image.request.steps} steps on {image.backend} in {image.duration_s:.1f} s, {size:,} bytes"
    return Check("picture", "ok", detail)


def _microphone() -> Check:
    from audio2img.audio.microphone import list_devices

    devices = list_devices()
    if not devices:
        return Check("microphone", "note", "none found", "give a file: audio2img run AUDIO")
    names = ", ".join(device.name + (" (default)" if device.is_default else "") for device in devices)
    return Check("microphone", "ok", names)


def _output() -> Check:
    folder = output_of({})
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise MachineError(
            f"cannot write to {existing}: {error.strerror}", "choose another with --output"
        ) from error
    return Check("output", "ok", str(folder))


def _core_ml() -> Check:
    if sys.platform != "darwin":
        return Check(
            "core ml", "note", "not on this system; the reference runtime draws the mini model instead"
        )
    import coremltools

    return Check("core ml", "ok", f"coremltools {coremltools.__version__}, macOS {platform.mac_ver()[0]}")


def _log() -> Check:
    return Check("log", "ok", str(log_file()))


CHECKS: dict[str, Callable[[], Check]] = {
    "system": _system,
    "packages": _packages,
    "settings": _settings,
    "codecs": _codecs,
    "speech": _speech,
    "core ml": _core_ml,
    "picture": _picture,
    "microphone": _microphone,
    "output": _output,
    "log": _log,
}
OPTIONAL = ("microphone",)
