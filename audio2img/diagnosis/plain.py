"""The questions of `audio2img doctor`, in their order: packages, settings, models, microphone, folders."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from audio2img import __version__
from audio2img.backends.coreml import apple
from audio2img.config import (
    Settings,
    embedded_models_dir,
    expand_path,
    load_settings,
    log_file,
    pictures_dir,
    settings_file,
)
from audio2img.diagnosis import mac_actions, machine, torch_machine
from audio2img.diagnosis.checks import Check, State
from audio2img.diagnosis.page import check_page
from audio2img.errors import Audio2ImgError, MachineError
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

PACKAGES = (
    "av", "click", "huggingface_hub", "numpy", "pillow", "pywhispercpp", "sounddevice", "soxr", "tokenizers",
)  # fmt: skip


def run_checks() -> Iterator[Check]:
    """Every plain check, one after the other; where the settings cannot be read, as if there were none."""
    try:
        settings, error = load_settings(), None
    except Audio2ImgError as reason:
        settings, error = Settings(), reason
    for name in CHECKS:
        if error and name == "settings":
            yield Check(name, "fail", error.message, error.remedy, is_needed=True)
        else:
            yield _run_check(name, settings)


def run_deep_checks(model: str | None, against_apple: bool, say: Callable[[str], None]) -> Iterator[Check]:
    """What programs and settings there are, then all that `deep` asks.

    model: name or path of the image model whose parts are checked; None takes the one of the settings.
    say: is told what goes on. Raises ModelError for a model that cannot be found, UsageError where the
    settings cannot be read.
    """
    from audio2img.diagnosis.deep import Examination
    from audio2img.store.catalog import resolve_model

    settings = load_settings()
    resolved = resolve_model(model or settings.model, "image")
    for name in DEEP_CHECKS:
        yield _run_check(name, settings)
    with tempfile.TemporaryDirectory(prefix="audio2img-doctor-", ignore_cleanup_errors=True) as folder:
        examination = Examination(resolved.name, resolved.path, Path(folder), say, settings, against_apple)
        yield from examination.run()


def _run_check(name: str, settings: Settings) -> Check:
    """One check of CHECKS; one that raises has failed."""
    is_needed = name not in OPTIONAL
    try:
        return replace(CHECKS[name](settings), is_needed=is_needed)
    except Audio2ImgError as error:
        state: State = "fail" if is_needed else "note"
        return Check(name, state, error.message, error.remedy, is_needed=is_needed)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
        return Check(name, "fail", detail, "run: audio2img doctor --verbose", is_needed=is_needed)


def _system(_: Settings) -> Check:
    python = platform.python_version()
    where = f"{platform.platform()}, {platform.machine()}"
    return Check("system", "ok", f"audio2img {__version__}, Python {python}, {where}")


def _packages(_: Settings) -> Check:
    wanted = (*PACKAGES, "coremltools") if apple.is_here() else PACKAGES
    found, missing = [], []
    for package in wanted:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        return Check("packages", "fail", f"missing: {', '.join(missing)}", "reinstall audio2img")
    return Check("packages", "ok", ", ".join(found))


def _settings(_: Settings) -> Check:
    path = settings_file()
    return Check("settings", "ok", str(path) if path.exists() else f"none set ({path} does not exist)")


def _codecs(_: Settings) -> Check:
    import av

    wanted = ("aac", "flac", "mp3", "opus", "pcm_s16le", "vorbis")
    missing = [codec for codec in wanted if codec not in av.codecs_available]
    if missing:
        return Check("codecs", "fail", f"FFmpeg lacks: {', '.join(missing)}", "reinstall the package av")
    return Check("codecs", "ok", f"{', '.join(wanted)} and {len(av.codecs_available) - len(wanted)} more")


def _speech(_: Settings) -> Check:
    from audio2img.pipeline import Pipeline

    started = time.perf_counter()
    with Pipeline("mini", "mini-whisper") as pipeline:
        heard = pipeline.transcribe(embedded_models_dir() / "demo.flac")
    return Check("speech", "ok", f"heard “{heard.text}” in {time.perf_counter() - started:.1f} s")


def _sounds(settings: Settings) -> Check:
    """Whether sounds can be named here: the extra, the model, and what it calls a tone."""
    from audio2img.pipeline import Pipeline

    started = time.perf_counter()
    with Pipeline("mini", sound_model=settings.sound_model) as pipeline:
        heard = pipeline.classify(_tone()).summary
        name = pipeline.sound_model.name
    spent = f"{time.perf_counter() - started:.1f} s"
    return Check("sounds", "ok", f"{name}: a tone is “{heard.categories[0].name}”, in {spent}")


def _tone() -> AudioClip:
    """A second of 440 Hz."""
    import numpy as np

    times_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    return AudioClip((0.3 * np.sin(2 * np.pi * 440 * times_s)).astype(np.float32), "a tone")


def _picture(_: Settings) -> Check:
    from audio2img.pipeline import Pipeline
    from audio2img.pipeline.options import Options

    with Pipeline("mini") as pipeline, tempfile.TemporaryDirectory() as folder:
        drawing = pipeline.generate("a red house", Options(seed=1))
        path = drawing.save(folder)[0]
        image = drawing.images[0]
        size = path.stat().st_size
    detail = f"{image.request.steps} steps on {image.backend} in {image.duration_s:.1f} s, {size:,} bytes"
    return Check("picture", "ok", detail)


def _microphone(_: Settings) -> Check:
    from audio2img.audio.microphone import list_devices

    devices = list_devices()
    if not devices:
        return Check("microphone", "note", "none found", "give a file: audio2img run AUDIO")
    names = ", ".join(device.name + (" (default)" if device.is_default else "") for device in devices)
    return Check("microphone", "ok", names)


def _output(settings: Settings) -> Check:
    chosen = settings.output
    folder = expand_path(chosen) if chosen else pictures_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise MachineError(
            f"cannot write to {existing}: {error.strerror}", "choose another with --output"
        ) from error
    return Check("output", "ok", str(folder))


def _log(_: Settings) -> Check:
    return Check("log", "ok", str(log_file()))


CHECKS: dict[str, Callable[[Settings], Check]] = {
    "system": _system,
    "packages": _packages,
    "settings": _settings,
    "codecs": _codecs,
    "speech": _speech,
    "sounds": _sounds,
    "core ml": lambda _: machine.check_core_ml(),
    "compute": machine.check_compute,
    "memory": machine.check_memory,
    "compiled cache": lambda _: machine.check_compiled_cache(),
    "picture": _picture,
    "torch": torch_machine.check_torch,
    "torch picture": torch_machine.check_torch_picture,
    "microphone": _microphone,
    "page": check_page,
    "output": _output,
    "quick actions": lambda _: mac_actions.check_quick_actions(),
    "shortcuts": lambda _: mac_actions.check_shortcuts(),
    "dialogs": lambda _: mac_actions.check_dialogs(),
    "log": _log,
}
OPTIONAL = (
    "sounds",
    "microphone",
    "page",
    "torch",
    "torch picture",
    "memory",
    "compiled cache",
    "quick actions",
    "shortcuts",
    "dialogs",
    "log",
)
# The others are asked more deeply.
DEEP_CHECKS = ("system", "packages", "settings", "codecs", "speech", "sounds")
