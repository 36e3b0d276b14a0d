"""Which backend draws with a model, and loading it with what the person wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from audio2img.diffusion.loras import LoraFile
from audio2img.errors import MachineError, UsageError
from audio2img.store.catalog import ResolvedModel
from audio2img.store.defaults import this_machine

if TYPE_CHECKING:
    from audio2img.diffusion import ImageBackend

BackendChoice = Literal["auto", "coreml", "diffusers"]
BACKENDS: tuple[BackendChoice, ...] = get_args(BackendChoice)

GET_DIFFUSERS = "run: pip install 'audio2img[diffusers]'"


@dataclass(frozen=True)
class DrawingWishes:
    """How to draw, where a person has said it. None means: decided by the machine and the model.

    compute_units: of `coreml.units.COMPUTE_UNITS`, or with diffusers cuda, mps or cpu.
    precision: half or full; compile: have torch compile the UNet; loras: added to the model. These
    three are for diffusers alone.
    """

    backend: str = "auto"
    compute_units: str | None = None
    low_memory: bool | None = None
    precision: str | None = None
    compile: bool = False
    loras: Sequence[LoraFile] = ()

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise UsageError(
                f"there is no backend called {self.backend!r}", f"choose from: {', '.join(BACKENDS)}"
            )


def choose_backend(model: ResolvedModel, asked: str = "auto") -> BackendChoice:
    """ "coreml" or "diffusers". Raises MachineError for a format that nothing draws with, UsageError where
    the model does not go with the backend that is asked for."""
    format_ = model.format or _format_of(model.path)
    if format_ == "coreml" and asked == "diffusers" and model.diffusers_path is not None:
        return "diffusers"
    if format_ not in ("coreml", "diffusers"):
        raise MachineError(
            f"{model.name} is a {format_} model, which draws nothing", "see: audio2img models list"
        )
    if asked not in ("auto", format_):
        other = "a diffusers" if format_ == "diffusers" else "a Core ML"
        remedy = "sd21-base-diffusers" if asked == "diffusers" else "sd21-base-palettized"
        raise UsageError(
            f"{model.name} is {other} model, which the backend {asked} cannot draw with",
            f"leave --backend out, or take another model, such as --model {remedy}",
        )
    return "diffusers" if format_ == "diffusers" else "coreml"


def load_backend(model: ResolvedModel, wishes: DrawingWishes) -> ImageBackend:
    """The model, loaded by the backend that draws with it.

    Raises ModelError for a damaged model, MachineError where this machine lacks something, UsageError
    for wishes that do not go together.
    """
    if choose_backend(model, wishes.backend) == "coreml":
        return _load_coreml(model, wishes)
    check_diffusers(model.name)
    from audio2img.backends.torch.backend import DiffusersBackend
    from audio2img.backends.torch.plan import Wishes

    path = model.path if model.format in ("", "diffusers") else model.diffusers_path
    assert path is not None
    return DiffusersBackend.load(
        path,
        model.name,
        Wishes(wishes.compute_units, wishes.precision, wishes.low_memory, wishes.compile),
        wishes.loras,
    )


def check_diffusers(model_name: str) -> None:
    """Raises MachineError where the packages of the diffusers extra are not installed."""
    if not this_machine().has_diffusers:
        raise MachineError(
            f"{model_name} is drawn with torch and diffusers, which are not installed", GET_DIFFUSERS
        )


def describe_backend(backend: ImageBackend) -> str:
    """How it draws on this machine, in words; "" where there is nothing to decide."""
    plan = getattr(backend, "plan", None)
    return "" if plan is None else str(plan.describe())


def _load_coreml(model: ResolvedModel, wishes: DrawingWishes) -> ImageBackend:
    from audio2img.backends.coreml.backend import CoreMLBackend

    for option, given in (
        ("lora", wishes.loras),
        ("precision", wishes.precision),
        ("compile", wishes.compile),
    ):
        if given:
            raise UsageError(
                f"--{option} is for the backend diffusers, and {model.name} is drawn with Core ML's",
                "add: --backend diffusers",
            )
    return CoreMLBackend.load(model.path, model.name, wishes.compute_units, wishes.low_memory)


def _format_of(path: Path) -> str:
    """The format of a model that is given by its path."""
    from audio2img.backends.torch.folder import looks_like_ours

    return "diffusers" if looks_like_ours(path) or path.is_file() else "coreml"
