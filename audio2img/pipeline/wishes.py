"""What somebody wishes, wherever it was said: in the call, the environment, or the settings file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from audio2img.backends.protocol import DrawingWishes
from audio2img.config import Settings, expand_path, pictures_dir
from audio2img.errors import UsageError, about_setting
from audio2img.pipeline.options import Options
from audio2img.types import Hear, LongPrompt

if TYPE_CHECKING:
    from audio2img.pipeline.live import LiveInput
    from audio2img.pipeline.models import ModelNames

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wishes(Settings):
    """The settings, with what is asked for in this call alone, as in `Options` and `LiveInput`.

    origins: as in Settings; a name that is not in it was said in the call itself.
    """

    threads: int | None = None
    translate: bool = False
    initial_prompt: str = ""
    seed: int | None = None
    size: tuple[int, int] | None = None
    count: int = 1
    init_image: str | None = None
    strength: float | None = None
    long_prompt: str = "cut"
    loras: tuple[str, ...] = ()
    seconds: float | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any], settings: Settings) -> Wishes:
        """given: what the call itself says, by the names of the fields; None leaves it to the settings."""
        said = {name: value for name, value in given.items() if value is not None}
        known = {one.name: getattr(settings, one.name) for one in fields(Settings)}
        origins = {name: origin for name, origin in settings.origins.items() if name not in said}
        return cls(**{**known, **said, "origins": origins})

    def said(self, name: str) -> Any:
        """The value of that name where the call itself says it, else None."""
        return None if name in self.origins else getattr(self, name)

    def models(self) -> ModelNames:
        from audio2img.pipeline.models import ModelNames

        return ModelNames(self.model, self.speech_model, self.sound_model, self.vad_model, self.threads)

    def drawing(self) -> DrawingWishes:
        """Raises UsageError for a LoRA that cannot be read as PATH or PATH:WEIGHT."""
        from audio2img.diffusion.loras import parse_lora

        return DrawingWishes(
            self.backend or "auto",
            self.compute_units,
            self.low_memory,
            self.precision,
            bool(self.compile),
            tuple(parse_lora(lora) for lora in self.loras),
            general=self.origins,
        )

    def hearing_options(self) -> Options:
        """What is wished of the words. Raises UsageError for what cannot be."""
        return Options(
            language=self.language,
            task="translate" if self.translate else "transcribe",
            initial_prompt=self.initial_prompt,
        )

    def options(self) -> Options:
        """All that is wished of words and pictures. Raises UsageError for what cannot be."""
        return Options(
            language=self.language,
            task="translate" if self.translate else "transcribe",
            initial_prompt=self.initial_prompt,
            style=self.style,
            template=self.template,
            negative=self.negative or "",
            seed=self.seed,
            steps=self.steps,
            guidance=self.guidance,
            scheduler=self.scheduler,
            size=self.size,
            count=self.count,
            init_image=self.init_image,
            strength=self.strength,
            long_prompt=cast(LongPrompt, self.long_prompt),  # Options checks it
            hear=cast(Hear, self.hear or "speech"),
        )

    def live(self, stop: Callable[[], bool]) -> LiveInput:
        """How to listen until the person has stopped, or `stop` says so. Raises UsageError."""
        from audio2img.pipeline.live import LiveInput

        return LiveInput(self._microphone(), seconds=self.seconds, stop=stop, **self.patience())

    def patience(self) -> dict[str, Any]:
        """How long to listen and to wait, of what LiveInput takes; nothing where nobody has said it."""
        times = {"silence_s": self.silence, "limit_s": self.limit}
        return {name: value for name, value in times.items() if value is not None}

    def _microphone(self) -> str | None:
        """The one that is asked for; one of the settings only while it is plugged in."""
        from audio2img.audio.microphone import find_device

        if self.device is None or "device" not in self.origins:
            return self.device
        try:
            find_device(self.device)
        except UsageError as problem:
            logger.warning("settings: %s; listening to %s instead", problem.message, find_device().name)
            return None
        return self.device

    def output_path(self) -> Path:
        """Where pictures go: as wished, or our folder among the user's pictures.

        Raises UsageError where so many pictures cannot be written there.
        """
        from audio2img.output import check_target

        path = expand_path(self.output) if self.output else pictures_dir()
        with about_setting("output"):
            check_target(path, self.count)
        return path
