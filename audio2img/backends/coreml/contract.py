"""Whether the parts of a model fit together: names, shapes and types, before anything is drawn.

The contract is that of apple/ml-stable-diffusion's converter (torch2coreml.py):

    text_encoder    input_ids [1, length] -> last_hidden_state [1, length, width]
                    (SDXL: hidden_embeds, and of text_encoder_2 pooled_outputs [1, pooled])
    unet            sample [batch, channels, h, w], timestep [batch],
                    encoder_hidden_states [batch, width, 1, length]
                    (SDXL: text_embeds [batch, pooled], time_ids [batch, 6] or [6 batch]) -> noise_pred
    unet_chunk1, 2  the same in two halves; the second takes what the first gives
    vae_decoder     z [1, channels, h, w] -> image [1, 3, height, width]
    vae_encoder     x [1, 3, height, width] -> latent [1, 2 channels, h, w], mean and log variance
    safety_checker  clip_input [1, 3, side, side], images, adjustment [1] -> has_nsfw_concepts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio2img.backends.coreml.layout import REMEDY, UNET_CHUNKS
from audio2img.errors import ModelError
from audio2img.mlprogram.mlpackage import ArraySpec, Description

TIME_ID_COUNT = 6  # original height and width, crop top and left, target height and width
Kind = Literal["sd", "sdxl"]


@dataclass(frozen=True)
class Part:
    """One model of a bundle: its name (a key of COMPILED_NAMES), where it is, what it takes and gives."""

    name: str
    path: Path
    description: Description

    @property
    def inputs(self) -> dict[str, ArraySpec]:
        return {spec.name: spec for spec in self.description.inputs}

    @property
    def outputs(self) -> dict[str, ArraySpec]:
        return {spec.name: spec for spec in self.description.outputs}

    def wrong(self, reason: str, remedy: str = REMEDY) -> ModelError:
        return ModelError(f"the {self.name.replace('_', ' ')} {self.path} {reason}", remedy)


@dataclass(frozen=True)
class Contract:
    """What the parts agreed on.

    batch: how many pictures the UNet takes at once: 2 (both halves of the guidance) or 1.
    latent_shape: (channels, height, width); size: (width, height) of the picture in pixels.
    context_length, text_width: positions and channels of the text that the UNet takes.
    """

    kind: Kind
    batch: int
    latent_shape: tuple[int, int, int]
    size: tuple[int, int]
    context_length: int
    text_width: int


def check_contract(parts: Mapping[str, Part]) -> Contract:
    """What the parts agree on. Raises ModelError, with the part's name, where one does not fit."""
    unet = _whole_unet(parts)
    kind: Kind = "sdxl" if "text_embeds" in unet.inputs else "sd"
    batch, latent_shape, text_width = _check_unet(unet, kind)
    length = unet.inputs["encoder_hidden_states"].shape[3]
    encoders = ("text_encoder", "text_encoder_2") if kind == "sdxl" else ("text_encoder",)
    for name in encoders:
        if name not in parts:
            raise ModelError(f"{unet.path} is of an SDXL model, but has no {name.replace('_', ' ')}", REMEDY)
        _check_text_encoder(parts[name], kind, length)
    _check_text_width([parts[name] for name in encoders], unet, kind, text_width)
    size = _check_vae_decoder(parts["vae_decoder"], latent_shape)
    if "vae_encoder" in parts:
        _check_vae_encoder(parts["vae_encoder"], latent_shape, size)
    if "safety_checker" in parts:
        _check_safety_checker(parts["safety_checker"])
    return Contract(kind, batch, latent_shape, size, length, text_width)


def hidden_states_name(kind: Kind) -> str:
    """What a text encoder calls the states that the UNet reads: SDXL's are of the last layer but one."""
    return "hidden_embeds" if kind == "sdxl" else "last_hidden_state"


def _whole_unet(parts: Mapping[str, Part]) -> Part:
    """The UNet; of two halves, what both together take and give."""
    if "unet" in parts:
        return parts["unet"]
    first, second = (parts[name] for name in UNET_CHUNKS)
    handed_over = first.outputs
    for name, spec in second.inputs.items():
        given = handed_over.get(name) or first.inputs.get(name)
        if given is not None and given.shape not in ((), spec.shape):
            raise second.wrong(f"takes {spec}, the first half gives {given}")
    own = [spec for name, spec in second.inputs.items() if name not in handed_over | first.inputs]
    description = Description((*first.description.inputs, *own), second.description.outputs)
    return Part("unet", first.path, description)


def _check_names(part: Part, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    wanted = set(inputs)
    needed = {name for name, spec in part.inputs.items() if not spec.optional}
    if needed - wanted or wanted - part.inputs.keys():
        hint = " (a ControlNet or refiner model?)" if needed - wanted else ""
        raise part.wrong(f"takes {sorted(part.inputs)}, not {sorted(wanted)}{hint}")
    if set(outputs) - part.outputs.keys():
        raise part.wrong(f"gives {sorted(part.outputs)}, not {sorted(outputs)}")
    for spec in (*part.description.inputs, *part.description.outputs):
        if spec.dtype.kind not in "fi":
            raise part.wrong(f"has {spec}, which is no array of numbers")


def _check_unet(part: Part, kind: Kind) -> tuple[int, tuple[int, int, int], int]:
    """(batch, latent shape, text width) of the UNet."""
    more = ("text_embeds", "time_ids") if kind == "sdxl" else ()
    _check_names(part, ("sample", "timestep", "encoder_hidden_states", *more), ("noise_pred",))
    sample, states = part.inputs["sample"].shape, part.inputs["encoder_hidden_states"].shape
    timestep = part.inputs["timestep"].shape
    if len(sample) != 4 or sample[0] not in (1, 2) or min(sample) < 1:
        raise part.wrong(f"takes a sample of shape {list(sample)}, not [1 or 2, channels, height, width]")
    if timestep != sample[:1]:
        raise part.wrong(f"takes timesteps of shape {list(timestep)} for a batch of {sample[0]}")
    if len(states) != 4 or states[0] != sample[0] or states[2] != 1:
        raise part.wrong(f"takes text of shape {list(states)}, not [{sample[0]}, width, 1, length]")
    if part.outputs["noise_pred"].shape not in ((), sample):
        raise part.wrong(f"gives noise of shape {list(part.outputs['noise_pred'].shape)} for {list(sample)}")
    if kind == "sdxl":
        ids = part.inputs["time_ids"].shape
        if ids not in ((sample[0], TIME_ID_COUNT), (sample[0] * TIME_ID_COUNT,)):
            raise part.wrong(f"takes time ids of shape {list(ids)}, not [{sample[0]}, {TIME_ID_COUNT}]")
    return sample[0], (sample[1], sample[2], sample[3]), states[1]


def _check_text_encoder(part: Part, kind: Kind, length: int) -> None:
    pooled = ("pooled_outputs",) if part.name == "text_encoder_2" else ()
    _check_names(part, ("input_ids",), (hidden_states_name(kind), *pooled))
    ids = part.inputs["input_ids"].shape
    if ids != (1, length):
        raise part.wrong(f"takes tokens of shape {list(ids)}, the UNet text of {length} positions")


def _check_text_width(encoders: list[Part], unet: Part, kind: Kind, text_width: int) -> None:
    """The encoders' channels together are the UNet's; SDXL's pooled text is as wide as the UNet takes it."""
    length = unet.inputs["encoder_hidden_states"].shape[3]
    shapes = [part.outputs[hidden_states_name(kind)].shape for part in encoders]
    if all(shapes):  # older converters leave the shapes of outputs out
        widths = [shape[2] if len(shape) == 3 and shape[:2] == (1, length) else 0 for shape in shapes]
        if 0 in widths or sum(widths) != text_width:
            part = encoders[widths.index(0) if 0 in widths else -1]
            given = list(part.outputs[hidden_states_name(kind)].shape)
            raise part.wrong(f"gives text of shape {given}, the UNet takes {[1, length, text_width]}")
    if kind == "sdxl":
        pooled, taken = encoders[-1].outputs["pooled_outputs"].shape, unet.inputs["text_embeds"].shape
        if pooled and (1, *taken[1:]) != pooled:
            raise encoders[-1].wrong(
                f"gives pooled text of shape {list(pooled)}, the UNet takes {list(taken)}"
            )


def _check_vae_decoder(part: Part, latent_shape: tuple[int, int, int]) -> tuple[int, int]:
    """(width, height) of the pictures that the decoder gives."""
    _check_names(part, ("z",), ("image",))
    latents, image = part.inputs["z"].shape, part.outputs["image"].shape
    if latents != (1, *latent_shape):
        raise part.wrong(f"takes latents of shape {list(latents)}, the UNet gives {[1, *latent_shape]}")
    if not image:
        return 8 * latent_shape[2], 8 * latent_shape[1]
    if len(image) != 4 or image[:2] != (1, 3):
        raise part.wrong(f"gives pictures of shape {list(image)}, not [1, 3, height, width]")
    return image[3], image[2]


def _check_vae_encoder(part: Part, latent_shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    _check_names(part, ("x",), ("latent",))
    picture, latent = part.inputs["x"].shape, part.outputs["latent"].shape
    if picture != (1, 3, size[1], size[0]):
        raise part.wrong(f"takes pictures of shape {list(picture)}, the decoder gives {[1, 3, *size[::-1]]}")
    channels, *area = latent_shape
    if latent not in ((), (1, 2 * channels, *area)):
        raise part.wrong(f"gives latents of shape {list(latent)}, not {[1, 2 * channels, *area]}")


def _check_safety_checker(part: Part) -> None:
    _check_names(part, ("clip_input", "images", "adjustment"), ("has_nsfw_concepts",))
    clip = part.inputs["clip_input"].shape
    if len(clip) != 4 or clip[:2] != (1, 3) or clip[2] != clip[3]:
        raise part.wrong(f"takes pictures of shape {list(clip)}, not [1, 3, side, side]")
    if len(part.inputs["images"].shape) != 4:
        raise part.wrong(f"takes images of shape {list(part.inputs['images'].shape)}")
