"""What every backend offers once a model is loaded, and what it can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from audio2img.diffusion import ModelDefaults, Pixels
    from audio2img.diffusion.loras import LoraFile
    from audio2img.types import ImageRequest, ImageResult, LoraUse

DEFAULT_STRENGTH = 0.6
"""How far image-to-image leaves its picture, of 1, where nobody says it."""


@dataclass(frozen=True, eq=False)
class DrawingStep:
    """One step of the drawing is done: `done` of `total`, over all pictures of the call.

    preview: makes a small picture (height, width, 3) uint8 of what is there so far, in well under a
    millisecond; call it or not, but only before the callback returns.
    """

    done: int
    total: int
    preview: Callable[[], Pixels]


ProgressCallback = Callable[[DrawingStep], None]

CancelCheck = Callable[[], bool]
"""True as soon as the person wants to stop; asked before each model call."""


@dataclass(frozen=True)
class Sizes:
    """Which pictures can be drawn, in pixels.

    usual: (width, height) where nobody asks for a size. multiple: both sides are multiples of it; 0 where
    the usual size is the only one. least, most: of each side; None where there is no bound that we know.
    """

    usual: tuple[int, int]
    multiple: int = 0
    least: int | None = None
    most: int | None = None

    @property
    def is_fixed(self) -> bool:
        return self.multiple == 0

    def includes(self, width: int, height: int) -> bool:
        return (width, height) == self.nearest(width, height)

    def nearest(self, width: int, height: int) -> tuple[int, int]:
        """The size to ask for instead."""
        return self.usual if self.is_fixed else (self._nearest_side(width), self._nearest_side(height))

    def _nearest_side(self, side: int) -> int:
        n = max(1, round(side / self.multiple))
        if self.least is not None:
            n = max(n, -(-self.least // self.multiple))
        if self.most is not None:
            n = min(n, self.most // self.multiple)
        return n * self.multiple


@dataclass(frozen=True)
class Capabilities:
    """What a loaded backend can do with its model; whoever offers it to people asks here.

    schedulers: those of ours that it knows; () where it takes its own steps. text_window: how many
    tokens its text encoder reads; None where there is no bound that we know. at_once: how many pictures
    it draws in one go. is_reproducible: the same request gives the same picture again. is_concurrent: two
    calls may draw at the same time; else callers take turns.
    """

    sizes: Sizes
    schedulers: tuple[str, ...] = ()
    text_window: int | None = None
    at_once: int = 1
    negative_prompt: bool = True
    init_image: bool = True
    loras: bool = False
    is_reproducible: bool = True
    is_concurrent: bool = False


class ImageBackend(Protocol):
    """A loaded image model, ready to draw.

    name: what is recorded with the picture ("coreml", "reference", "diffusers"); model: the model's name.
    """

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def identity(self) -> str:
        """What tells this model from others: SHA-256 (hex) over its files, or a provider's id and version.

        The first time it may read gigabytes: ask in a thread of its own.
        """
        ...

    @property
    def defaults(self) -> ModelDefaults: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def loras(self) -> tuple[LoraUse, ...]:
        """What was added to the model when it was loaded; a request must name the same."""
        ...

    def describe(self) -> str:
        """How it draws on this machine, in words; "" where there is nothing to decide."""
        ...

    def fit_prompt(self, text: str) -> tuple[str, str]:
        """(kept, dropped): the words that fit into the text encoder's window, and those that do not."""
        ...

    def generate(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
    ) -> ImageResult:
        """Picture `request.index` of `request`; the same request gives the same pixels on the same machine.

        init_image: the pixels of `request.init_image`, of any size; they are scaled and cropped to fit.
        The result's `model_hash` is left empty: whoever has `identity` at hand fills it in.
        Raises UsageError for a request the model cannot serve (size, steps, scheduler),
        CancelledError as soon as `cancelled` says so, ModelError for a damaged model,
        NothingToDrawError when the model's safety checker refuses the picture.
        """
        ...

    def generate_all(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
        finished: Callable[[ImageResult], None] = lambda result: None,
    ) -> tuple[ImageResult, ...]:
        """All `request.count` pictures, whatever `request.index` says; the same ones that `generate` gives.

        finished: gets each picture as soon as it is, in the thread of the call; what it raises ends the
        drawing. Raises what `generate` raises; NothingToDrawError only when every picture was refused.
        """
        ...

    def close(self) -> None:
        """Free the model's memory; closing twice is no error."""
        ...


@dataclass(frozen=True)
class DrawingWishes:
    """How to draw, where a person has said it. None means: decided by the machine and the model.

    backend: "auto", or the name of a row. compute_units: in the words of the backend. precision: half
    or full; compile: have the model compiled first; loras: added to the model.
    general: of those that are wished of all drawing and not of this one, where that was said, by name: a
    backend that does not know such a wish draws without it.
    """

    backend: str = "auto"
    compute_units: str | None = None
    low_memory: bool | None = None
    precision: str | None = None
    compile: bool = False
    loras: tuple[LoraFile, ...] = ()
    general: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def given(self) -> tuple[str, ...]:
        """The names of those that somebody has said, apart from the backend's."""
        said = {
            "compute_units": self.compute_units is not None,
            "low_memory": self.low_memory is not None,
            "precision": self.precision is not None,
            "compile": self.compile,
            "loras": bool(self.loras),
        }
        return tuple(name for name, is_said in said.items() if is_said)

    def without(self, names: Iterable[str]) -> DrawingWishes:
        """The same with these decided by the machine and the model."""
        usual = DrawingWishes()
        changes: dict[str, Any] = {name: getattr(usual, name) for name in names}
        return replace(self, **changes)
