"""The public door of the package: models of its own, and a first caller of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from audio2img.backends.protocol import DrawingWishes
from audio2img.diffusion.loras import parse_lora
from audio2img.pipeline.events import Event
from audio2img.pipeline.models import ModelNames, Models
from audio2img.pipeline.session import Session


class Pipeline(Session):
    """Speech or sounds to picture, with the models kept between calls.

    model, speech_model, sound_model: a name from `audio2img models list` or a path; None takes the default.
    backend: coreml, diffusers, or auto: by the model and the machine.
    compute_units: what Core ML may draw on, of `coreml.units.COMPUTE_UNITS`, or diffusers: cuda, mps or
    cpu; None chooses by the machine.
    low_memory: hold one part of the image model at a time; None does so where memory is small.
    precision, compile, loras: for backends that know them; a LoRA is PATH or PATH:WEIGHT.
    vad_model: name or path of a Silero VAD ggml model, to leave out what is not speech. The one
        that is installed, if any, also tells when a person at the microphone has stopped.
    on_event: called from whichever thread has news; keep it short.

    One call at a time, and `cancel` from any thread; for more callers of the same models, each with
    events and a cancel of its own, there is `session`. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        model: str | None = None,
        speech_model: str | None = None,
        *,
        sound_model: str | None = None,
        backend: str = "auto",
        compute_units: str | None = None,
        low_memory: bool | None = None,
        precision: str | None = None,
        compile: bool = False,
        loras: Sequence[str | Path] = (),
        vad_model: str | Path | None = None,
        threads: int | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        files = tuple(parse_lora(str(lora)) for lora in loras)
        wishes = DrawingWishes(backend, compute_units, low_memory, precision, compile, files)
        names = ModelNames(model, speech_model, sound_model, vad_model, threads)
        super().__init__(Models(names, wishes), on_event)

    @classmethod
    def of(
        cls, names: ModelNames, drawing: DrawingWishes, on_event: Callable[[Event], None] | None = None
    ) -> Pipeline:
        """The same from what the arguments are put into."""
        pipeline = cls.__new__(cls)
        Session.__init__(pipeline, Models(names, drawing), on_event)
        return pipeline

    def session(self, on_event: Callable[[Event], None] | None = None) -> Session:
        """Another caller of the same models; it may work at the same time, and is closed with them."""
        return self.models.session(on_event)

    def __enter__(self) -> Pipeline:
        return self

    def close(self) -> None:
        """Free all models. The pipeline cannot be used afterwards; closing twice is no error."""
        super().close()
        self.models.close()
