"""The networks of a model: loaded from safetensors files, and lent out where the plan wants them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from audio2img.backends.protocol import CancelCheck
from audio2img.backends.torch.caches import compiled_dir
from audio2img.backends.torch.folder import ModelFolder, Part
from audio2img.backends.torch.loras import add_loras
from audio2img.backends.torch.memory import is_out_of_memory, release_memory
from audio2img.backends.torch.plan import Plan
from audio2img.backends.torch.vae import set_tiles
from audio2img.diffusion.loras import LoraFile
from audio2img.errors import Audio2ImgError, CancelledError, ModelError

logger = logging.getLogger(__name__)

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
DRAWING_PARTS = ("unet", "vae", "safety_checker")  # what each picture needs
_REMEDY = "get the model again; its files are damaged or incomplete"


class Parts:
    """The loaded networks of a model, on the processor or on the device as `plan` says."""

    def __init__(self, model: ModelFolder, plan: Plan, modules: dict[str, Any]) -> None:
        self.model = model
        self.plan = plan
        self._modules = modules
        self._kept: tuple[str, ...] = ()
        self._is_closed = False
        self.apply(plan)

    def apply(self, plan: Plan) -> None:
        """Put every part where `plan` has it wait, in the order of numbers that it wants."""
        import torch

        self.plan = plan
        self._kept = ()
        release_memory()
        for name, module in self._modules.items():
            module.to("cpu" if self._is_offloaded(name) else plan.device.kind)
            if plan.channels_last and name in ("unet", "vae"):
                module.to(memory_format=torch.channels_last)
        set_tiles(self._modules["vae"], self.model.size if plan.tile_vae else None, self.model.factor)

    def widen_vae(self) -> None:
        """Have the autoencoder calculate in full precision from now on."""
        self.plan = replace(self.plan, vae_precision="full")
        self._modules["vae"].float()

    @contextmanager
    def use(self, *names: str) -> Iterator[list[Any]]:
        """The parts of these names, on the device; the offloaded ones go back when the block ends, unless
        they are kept."""
        if self._is_closed:
            raise ModelError(f"the model {self.model.name} is closed", "load it again")
        moved = [name for name in names if self._is_offloaded(name)]
        try:
            for name in moved:
                self._modules[name].to(self.plan.device.kind)
            yield [self._modules[name] for name in names]
        finally:
            self._take_back(name for name in moved if name not in self._kept)

    @contextmanager
    def keep(self, n_batches: int) -> Iterator[None]:
        """While several batches are drawn: where the plan allows it, what each of them needs stays on the
        device until the block ends."""
        self._kept = DRAWING_PARTS if n_batches > 1 and self.plan.keeps else ()
        try:
            yield
        finally:
            self._take_back(self._kept)
            self._kept = ()

    def close(self) -> None:
        """Free everything; closing twice is no error."""
        self._is_closed = True
        self._modules = {}

    def _take_back(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._modules:
                self._modules[name].to("cpu")

    def _is_offloaded(self, name: str) -> bool:
        if self.plan.device.kind == "cpu" or self.plan.offload == "none":
            return False
        return self.plan.offload == "parts" or name in TEXT_ENCODERS


def load_parts(
    model: ModelFolder, plan: Plan, loras: Sequence[LoraFile] = (), cancelled: CancelCheck | None = None
) -> Parts:
    """Every part of a model, with the LoRA files worked in, ready to draw.

    Raises ModelError for damaged or incomplete files, CancelledError. Memory that runs out is for the caller.
    """
    with _silence():
        try:
            modules = _load_modules(model, plan, cancelled)
            if loras:
                add_loras(model.kind, modules, loras)
        except Audio2ImgError:
            raise
        except Exception as error:  # torch, safetensors and both libraries raise many kinds
            if is_out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise ModelError(f"the model in {model.path} cannot be loaded: {reason}", _REMEDY) from error
    for module in modules.values():
        module.eval().requires_grad_(False)
    if plan.compile:
        _compile(modules["unet"], plan)
    return _place(model, plan, modules)


def _place(model: ModelFolder, plan: Plan, modules: dict[str, Any]) -> Parts:
    """Parts by the plan, or by the one with less memory where there is not enough for it."""
    try:
        return Parts(model, plan, modules)
    except Exception as error:
        smaller = plan.with_less_memory()
        if smaller is None or not is_out_of_memory(error):
            raise
    logger.warning("memory ran out while loading: going on with one part at a time")
    return Parts(model, smaller, modules)


def _load_modules(model: ModelFolder, plan: Plan, cancelled: CancelCheck | None) -> dict[str, Any]:
    if model.checkpoint is not None:
        from audio2img.backends.torch.single_file import load_checkpoint

        return load_checkpoint(model, plan)
    modules = {}
    for name, part in model.parts.items():
        if cancelled is not None and cancelled():
            raise CancelledError("stopped while loading the model")
        modules[name] = _load_part(part, plan)
    return modules


def _load_part(part: Part, plan: Plan) -> Any:
    """A network from its folder; one that lacks weights is refused, not filled with noise."""
    import torch

    precision = plan.vae_precision if part.name == "vae" else plan.precision
    dtype = torch.float16 if precision == "half" else torch.float32
    is_ours = part.name in ("unet", "vae")  # diffusers' own; the others are transformers'
    module, told = _find_class(part).from_pretrained(
        str(part.folder),
        variant=part.variant(plan.is_half),
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **{"torch_dtype" if is_ours else "dtype": dtype},
    )
    missing = [name for name in told.get("missing_keys", ()) if not name.endswith("position_ids")]
    if missing:
        raise ModelError(f"the weights in {part.folder} lack {sorted(missing)[0]}", _REMEDY)
    return module


def _find_class(part: Part) -> Any:
    if part.name == "safety_checker":
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

        return StableDiffusionSafetyChecker
    if part.name in ("unet", "vae"):
        import diffusers

        return getattr(diffusers, part.class_name)
    import transformers

    return getattr(transformers, part.class_name)


def keep_compiled() -> None:
    """Have what torch compiles kept in our cache folder, unless the person has chosen another.

    To be called before diffusers is imported, which makes torch choose a temporary folder.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled_dir()))


def _compile(unet: Any, plan: Plan) -> None:
    """Have torch compile the UNet at its first call."""
    is_cuda = plan.device.kind == "cuda"
    unet.compile(mode="reduce-overhead" if is_cuda else "default", fullgraph=True, dynamic=False)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing of the libraries' own bars and notes: what matters is raised."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    for library in (ours, theirs):
        library.set_verbosity_error()
        library.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
