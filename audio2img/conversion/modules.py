"""The torch module of each part, with the inputs and outputs that Apple's converter gives it.

Names, shapes and order are those of python_coreml_stable_diffusion/torch2coreml.py in
apple/ml-stable-diffusion; B is the UNet's batch, D the text's width, h and w the latents' sides:

    text_encoder    input_ids (1, 77) -> last_hidden_state (1, 77, D), pooled_outputs (1, D)
      of SDXL       input_ids (1, 77) -> hidden_embeds (1, 77, D), pooled_outputs (1, D)
    text_encoder_2  input_ids (1, 77) -> hidden_embeds (1, 77, D2), pooled_outputs (1, P)
    unet            sample (B, 4, h, w), timestep (B,), encoder_hidden_states (B, D, 1, 77)
      of SDXL       and time_ids (B, 6), text_embeds (B, P) -> noise_pred (B, 4, h, w)
    vae_decoder     z (1, 4, h, w) -> image (1, 3, 8h, 8w) in [-1, 1]
    vae_encoder     x (1, 3, 8h, 8w) in [-1, 1] -> latent (1, 8, h, w): means, then log variances
    safety_checker  clip_input (1, 3, s, s), images (1, 8h, 8w, 3), adjustment (1,)
                    -> filtered_images (1, 8h, 8w, 3), has_nsfw_concepts (1, 1, 1, 1), concept_scores (1, 17)

Inputs are float16, except the text encoders' (float32) and the autoencoder's of SDXL, which
overflows in float16 and is computed in float32 throughout. Outputs are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio2img.conversion.plan import PartJob
from audio2img.conversion.source import COMPONENTS
from audio2img.errors import ModelError
from audio2img.installation import how_to_repair

HIDDEN_LAYER = -2  # of an SDXL text encoder: the output of its last layer but one
TEXT_LENGTH = 77  # positions of CLIP's text encoder
TIME_IDS = 6  # original height and width, crop top and left, target height and width
SPECIAL_CARE_ADJUSTMENT = 0.01  # how much stricter the safety checker gets after a special concept


@dataclass(frozen=True)
class Signature:
    """A part as a module.

    module: called with the inputs in order, gives the outputs in order.
    make_inputs: seed -> inputs by name, float32 tensors (input_ids: int32) of values as they occur.
    input_dtype: "float16" or "float32", of the package's inputs. precision: what it computes in.
    """

    module: Any
    make_inputs: Callable[[int], dict[str, Any]]
    outputs: tuple[str, ...]
    input_dtype: str = "float16"
    precision: str = "float16"


def make_signature(job: PartJob) -> Signature:
    """The signature of a job's part, with the weights of its folder, in float32."""
    makers = {
        "text_encoder": _text_encoder,
        "text_encoder_2": _text_encoder,
        "unet": _unet,
        "vae_decoder": _vae_decoder,
        "vae_encoder": _vae_encoder,
        "safety_checker": _safety_checker,
    }
    return makers[job.part](job)


def load_component(folder: str, component: str, variant: str | None) -> Any:
    """A component of a diffusers folder as a float32 module; safetensors only."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    if component == "safety_checker":
        from diffusers.pipelines.stable_diffusion.safety_checker import (
            StableDiffusionSafetyChecker as Checker,
        )

    kinds: dict[str, Any] = {
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "safety_checker": Checker if component == "safety_checker" else None,
    }
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "variant": variant}
    path = Path(folder) / component
    model, loading = kinds[component].from_pretrained(
        path, torch_dtype=torch.float32, output_loading_info=True, **options
    )
    # What is not in the file is made up by from_pretrained, with no more than a warning.
    if missing := sorted(loading["missing_keys"]) + sorted(map(str, loading["mismatched_keys"])):
        raise ModelError(
            f"the weights in {path} are not of this model, or the installed transformers does not know "
            f"their names: {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            f"{how_to_repair('transformers', 'diffusers')}; or get the model again",
        )
    return model.float().eval()


def _load(job: PartJob) -> Any:
    component = COMPONENTS[job.part]
    return load_component(job.folder, component, job.variants[component])


def _generator(seed: int) -> Any:
    import torch

    return torch.Generator().manual_seed(seed)


def _normal(seed: int, *shape: int) -> Any:
    import torch

    return torch.randn(*shape, generator=_generator(seed))


def _text_encoder(job: PartJob) -> Signature:
    import torch

    encoder = _load(job)
    config = encoder.config
    is_second = job.part == "text_encoder_2"

    class TextEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: Any) -> Any:
            result = self.encoder(input_ids, output_hidden_states=job.kind == "sdxl", return_dict=True)
            pooled = result.text_embeds if is_second else result.pooler_output
            if job.kind == "sdxl":
                return result.hidden_states[HIDDEN_LAYER], pooled
            return result.last_hidden_state, pooled

    def make_inputs(seed: int) -> dict[str, Any]:
        """A text of a third of the window; the end mark has the highest number, as CLIP's vocabularies do."""
        length, end = config.max_position_embeddings, config.vocab_size - 1
        ids = torch.randint(0, end - 1, (1, length), generator=_generator(seed), dtype=torch.int32)
        ids[:, length // 3 :] = end
        return {"input_ids": ids}

    hidden = "hidden_embeds" if job.kind == "sdxl" else "last_hidden_state"
    return Signature(TextEncoder(), make_inputs, (hidden, "pooled_outputs"), input_dtype="float32")


def _unet(job: PartJob) -> Signature:
    import torch

    model = _load(job)
    (height, width), batch, is_sdxl = job.latent_size, job.batch, job.kind == "sdxl"

    class UNet(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = model

        def forward(
            self,
            sample: Any,
            timestep: Any,
            encoder_hidden_states: Any,
            time_ids: Any = None,
            text_embeds: Any = None,
        ) -> Any:
            states = encoder_hidden_states.squeeze(2).transpose(1, 2)
            added = {"time_ids": time_ids, "text_embeds": text_embeds} if is_sdxl else None
            return self.unet(sample, timestep, states, added_cond_kwargs=added, return_dict=False)[0]

    def make_inputs(seed: int) -> dict[str, Any]:
        inputs = {
            "sample": _normal(seed, batch, model.config.in_channels, height, width),
            "timestep": torch.full((batch,), 981.0 if seed == 0 else 481.0),
            "encoder_hidden_states": _normal(
                seed + 1, batch, model.config.cross_attention_dim, 1, TEXT_LENGTH
            ),
        }
        if is_sdxl:
            sides = torch.tensor([height, width, 0.0, 0.0, height, width]) * job.factor
            inputs["time_ids"] = sides.repeat(batch, 1)
            inputs["text_embeds"] = _normal(seed + 2, batch, _pooled_width(model.config))
        return inputs

    return Signature(UNet(), make_inputs, ("noise_pred",))


def _pooled_width(config: Any) -> int:
    """P: what is left of the additional embedding's input beside the six embedded numbers."""
    width: int = config.projection_class_embeddings_input_dim - TIME_IDS * config.addition_time_embed_dim
    return width


def _vae_precision(job: PartJob) -> str:
    return "float32" if job.kind == "sdxl" else "float16"


def _in_order(*modules: Any) -> Any:
    """The modules that are there, one after the other."""
    import torch

    return torch.nn.Sequential(*(module for module in modules if module is not None))


def _vae_decoder(job: PartJob) -> Signature:
    vae = _load(job)
    decoder = _in_order(vae.post_quant_conv, vae.decoder)

    def make_inputs(seed: int) -> dict[str, Any]:
        return {"z": _normal(seed, 1, vae.config.latent_channels, *job.latent_size)}

    precision = _vae_precision(job)
    return Signature(decoder, make_inputs, ("image",), precision, precision)


def _vae_encoder(job: PartJob) -> Signature:
    vae = _load(job)
    encoder = _in_order(vae.encoder, vae.quant_conv)

    def make_inputs(seed: int) -> dict[str, Any]:
        sides = (job.factor * side for side in job.latent_size)
        return {"x": _normal(seed, 1, vae.config.in_channels, *sides).clamp(-1, 1)}

    precision = _vae_precision(job)
    return Signature(encoder, make_inputs, ("latent",), precision, precision)


def _safety_checker(job: PartJob) -> Signature:
    """A picture's likeness to 17 concepts, above their thresholds: any above zero blanks the picture."""
    import torch
    from torch.nn.functional import normalize

    checker = _load(job)

    class SafetyChecker(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.checker = checker

        def forward(self, clip_input: Any, images: Any, adjustment: Any) -> Any:
            own = self.checker
            embedded = normalize(own.visual_projection(own.vision_model(clip_input)[1]))
            special = embedded @ normalize(own.special_care_embeds).T - own.special_care_embeds_weights
            is_special = (special + adjustment).amax(dim=1, keepdim=True).gt(0).float()
            likeness = embedded @ normalize(own.concept_embeds).T
            scores = likeness - own.concept_embeds_weights + SPECIAL_CARE_ADJUSTMENT * is_special
            flagged = scores.amax(dim=1).gt(0).float()[:, None, None, None]
            return images * (1 - flagged), flagged, scores

    side = checker.config.vision_config.image_size

    def make_inputs(seed: int) -> dict[str, Any]:
        height, width = (job.factor * size for size in job.latent_size)
        return {
            "clip_input": _normal(seed, 1, 3, side, side),
            "images": torch.rand(1, height, width, 3, generator=_generator(seed + 1)),
            "adjustment": torch.zeros(1),
        }

    return Signature(SafetyChecker(), make_inputs, ("filtered_images", "has_nsfw_concepts", "concept_scores"))
