"""What the stages hand each other. Nothing here imports another part of the package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # a command that only shows what is written needs no numbers
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000

Task = Literal["transcribe", "translate"]
Hear = Literal["speech", "sounds", "auto", "both"]
SoundRole = Literal["thing", "voice", "place", "signal", "silence"]


@dataclass(frozen=True, eq=False)
class AudioClip:
    """Sound as every recognizer here wants it.

    samples: (n,) float32, mono, 16 kHz, nominally in [-1, 1].
    source: where it came from, for messages and provenance ("memo.m4a", "microphone").
    """

    samples: NDArray[np.float32]
    source: str = ""

    def __repr__(self) -> str:
        return f"AudioClip({self.duration_s:.2f} s of {_short(self.source)})"

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ

    def blocks(self, n_samples: int = 1 << 16) -> Iterator[NDArray[np.float32]]:
        """The samples in pieces of (n,), as a file that is being decoded gives them."""
        for start in range(0, len(self.samples), n_samples):
            yield self.samples[start : start + n_samples]


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

    def __repr__(self) -> str:
        segments = "1 segment" if len(self.segments) == 1 else f"{len(self.segments)} segments"
        return f"Transcript({_short(self.text)}, {segments}, {self.language!r}, by {self.model!r})"

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


@dataclass(frozen=True)
class SoundEvent:
    """A named sound in a stretch of a recording. score: how sure the model is, in [0, 1]."""

    start_s: float
    end_s: float
    name: str
    score: float


@dataclass(frozen=True)
class SoundCategory:
    """How one class of sounds did over a whole recording.

    lead_share: the share of windows in which it scored highest; mean_score, peak_score: of its scores
    in all windows. All in [0, 1].
    """

    name: str
    lead_share: float
    mean_score: float
    peak_score: float

    @property
    def weight(self) -> float:
        """What categories are ranked by, in [0, 1]: how often it leads and how sure it is, in equal parts."""
        return (self.lead_share + self.mean_score) / 2


@dataclass(frozen=True)
class HeardThing:
    """What near synonyms among the categories stand for, in words that a painter understands.

    name: the category whose words these are; weight: how much of the recording it is, in [0, 1]; the
    strongest thing has the weight of all its family.
    role: "voice" is speech, "place" says where it is, "signal" and "silence" tell of the recording and
    not of the scene.
    mini_world: the same in the words of `mini_world`, "" where it has none.
    """

    phrase: str
    name: str
    weight: float
    role: SoundRole = "thing"
    mini_world: str = ""


@dataclass(frozen=True)
class SoundSummary:
    """What was heard in a recording, as far as a picture remembers it; both lists with the best first.

    model: the name of the sound model; windows: how many stretches of `duration_s` it judged.
    """

    model: str
    duration_s: float
    windows: int
    categories: tuple[SoundCategory, ...]
    things: tuple[HeardThing, ...]

    def shortened(self, n_categories: int) -> SoundSummary:
        """The same with only the first categories."""
        return replace(self, categories=self.categories[:n_categories])

    @property
    def speech_leads(self) -> bool:
        """Whether somebody speaking is the first of all things in it."""
        roles = (thing.role for thing in self.things if thing.role not in ("signal", "silence"))
        return next(roles, None) == "voice"


@dataclass(frozen=True, eq=False)
class SoundEvents:
    """What sounds when.

    starts_s: (n,) float64, where each window begins, in seconds; window_s: how long it is.
    classes: (n, k) uint16, the k best classes of each window, best first, as indices into `names`.
    scores: (n, k) float32, theirs in [0, 1].
    summary: of the whole recording, with every category that ever scored.
    """

    names: tuple[str, ...]
    starts_s: NDArray[np.float64]
    window_s: float
    classes: NDArray[np.uint16]
    scores: NDArray[np.float32]
    summary: SoundSummary

    def __repr__(self) -> str:
        phrases = ", ".join(thing.phrase for thing in self.summary.things)
        return f"SoundEvents({len(self.starts_s)} windows, {_short(phrases)})"

    def window(self, index: int) -> tuple[SoundEvent, ...]:
        """The best classes of one window, best first."""
        start_s = float(self.starts_s[index])
        end_s = min(start_s + self.window_s, self.summary.duration_s)
        return tuple(
            SoundEvent(start_s, end_s, self.names[number], float(score))
            for number, score in zip(self.classes[index], self.scores[index], strict=True)
        )

    def timeline(self) -> tuple[SoundEvent, ...]:
        """The classes that lead, one event for each run of windows with the same one, end to end.

        A run ends half way between the middles of its last window and of the next one's first; its score
        is the mean of its windows'.
        """
        import numpy as np

        leaders = self.classes[:, 0]
        firsts = [0, *(np.flatnonzero(np.diff(leaders.astype(np.int32))) + 1).tolist()]
        middles_s = (self.starts_s[1:] + self.starts_s[:-1] + self.window_s) / 2
        starts_s = [0.0, *(float(middles_s[first - 1]) for first in firsts[1:]), self.summary.duration_s]
        return tuple(
            SoundEvent(starts_s[run], starts_s[run + 1], self.names[leaders[first]], float(scores.mean()))
            for run, (first, scores) in enumerate(
                zip(firsts, np.split(self.scores[:, 0], firsts[1:]), strict=True)
            )
        )


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
    model, model_hash: the model's name and its identity: the SHA-256 (hex) over its files, or what its
        provider calls it; "" where nobody has asked yet.
    backend: "coreml", "reference", "diffusers", ...
    """

    pixels: NDArray[np.uint8]
    request: ImageRequest
    model: str
    model_hash: str
    backend: str
    duration_s: float = 0.0
    timings_s: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        words, seed = _short(self.request.prompt), self.request.seed
        return f"ImageResult({width}x{height}, {words}, seed {seed}, by {_short(self.model)})"


def _short(text: str, n_letters: int = 40) -> str:
    """As a repr shows it."""
    return repr(text if len(text) <= n_letters else f"{text[:n_letters]}…")
