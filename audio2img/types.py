"""What the stages hand each other. Nothing here imports another part of the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, eq=False)
class AudioClip:
    """Sound as every recognizer here wants it.

    samples: (n,) float32, mono, 16 kHz, nominally in [-1, 1].
    source: where it came from, for messages and provenance ("memo.m4a", "microphone").
    """

    samples: NDArray[np.float32]
    source: str = ""

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Segment:
    """A stretch of speech. probability: mean token probability in [0, 1], None where unknown."""

    start_s: float
    end_s: float
    text: str
    probability: float | None = None


@dataclass(frozen=True)
class Transcript:
    """What was said. language: ISO 639-1 code; model: the name of the speech model."""

    segments: tuple[Segment, ...]
    language: str
    language_probability: float | None
    task: Task
    model: str

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


@dataclass(frozen=True)
class Prompt:
    """The words that go to the text encoder, and those that did not fit into its window."""

    text: str
    negative: str = ""
    dropped: str = ""


@dataclass(frozen=True)
class InitImage:
    """The picture that image-to-image starts from, by its name and the SHA-256 (hex) of its file.

    The pixels are handed over beside it: a request stays small, and can be written down.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class LoraUse:
    """A LoRA that was added to the model: its file's name and SHA-256 (hex), and how strongly it worked."""

    name: str
    sha256: str
    weight: float = 1.0


LongPrompt = Literal["cut", "chunk"]


@dataclass(frozen=True)
class ImageRequest:
    """Everything that decides a picture. width, height in pixels; None means the model's own.

    count, index: the picture is number `index` (from 0) of `count` whose noise is one stream.
    init_image, strength: start from a picture instead of noise, and how far to leave it (0 to 1).
    long_prompt: what becomes of words beyond the text encoder's window, see `Conditioner`.
    loras: what was added to the model, in this order.
    """

    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    steps: int = 20
    guidance_scale: float = 7.5
    scheduler: str = "dpmpp-2m"
    width: int | None = None
    height: int | None = None
    count: int = 1
    index: int = 0
    init_image: InitImage | None = None
    strength: float | None = None
    long_prompt: LongPrompt = "cut"
    loras: tuple[LoraUse, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageResult:
    """A picture and what made it.

    pixels: (height, width, 3) uint8 RGB.
    model, model_hash: the model's name and the SHA-256 (hex) over its files.
    backend: "coreml", "reference", "diffusers", ...
    """

    pixels: NDArray[np.uint8]
    request: ImageRequest
    model: str
    model_hash: str
    backend: str
    duration_s: float = 0.0
    timings_s: dict[str, float] = field(default_factory=dict)
