"""Working LoRA files into a model's weights, so that drawing with them costs nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from audio2img.backends.torch.folder import Kind, read_header
from audio2img.backends.torch.memory import is_out_of_memory
from audio2img.diffusion.loras import LoraFile
from audio2img.errors import MachineError, ModelError
from audio2img.installation import how_to_add

PIPELINES: dict[Kind, str] = {"sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}


def add_loras(kind: Kind, modules: dict[str, Any], loras: Sequence[LoraFile]) -> None:
    """Add them to the weights of `modules` (on the processor), each with its weight.

    Raises ModelError for a file that does not belong to such a model, MachineError without peft.
    """
    if find_spec("peft") is None:
        raise MachineError("LoRA files need the package peft", how_to_add("diffusers"))
    import diffusers

    rest: dict[str, Any] = {"tokenizer": None, "scheduler": _idle_scheduler()}
    if kind == "sdxl":
        rest |= {"tokenizer_2": None, "text_encoder_2": modules["text_encoder_2"], "add_watermarker": False}
    else:
        rest |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipe = getattr(diffusers, PIPELINES[kind])(
        vae=modules["vae"], text_encoder=modules["text_encoder"], unet=modules["unet"], **rest
    )
    names = [f"lora_{number}" for number in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        _load(pipe, name, lora)
    pipe.set_adapters(names, [lora.weight for lora in loras])
    pipe.fuse_lora(adapter_names=names)
    pipe.unload_lora_weights()


def _load(pipe: Any, name: str, lora: LoraFile) -> None:
    """Raises ModelError where the file has nothing that fits, which the library would only note."""
    from safetensors.torch import load_file

    read_header(lora.path)
    try:
        pipe.load_lora_weights(load_file(lora.path), adapter_name=name)
        reached = pipe.get_list_adapters()
    except Exception as error:  # of peft, diffusers, torch
        if is_out_of_memory(error):
            raise
        raise _unfit(lora, str(error).strip().splitlines()[0][:200] if str(error).strip() else "") from error
    if not any(name in adapters for adapters in reached.values()):
        raise _unfit(lora, "none of its weights has a place there")


def _unfit(lora: LoraFile, reason: str) -> ModelError:
    return ModelError(
        f"the LoRA {lora.path} does not fit this model: {reason}",
        "take one that was made for this kind of model",
    )


def _idle_scheduler() -> Any:
    """A scheduler for a pipeline that never draws."""
    from diffusers import DDIMScheduler

    return DDIMScheduler()
