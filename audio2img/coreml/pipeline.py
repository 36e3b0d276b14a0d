"""From a request to a picture with Core ML parts: encode the text, denoise latents, decode them.

Stable Diffusion with classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): each step
asks the UNet once for the prompt and once for the negative prompt, and goes `guidance_scale` times
the way from the second answer to the first.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.coreml.bundle import Bundle, load_bundle
from audio2img.coreml.runtime import RUNTIME_NAME, Model, load_part
from audio2img.diffusion import CancelCheck, ModelDefaults, ProgressCallback
from audio2img.diffusion.noise import check_seed, initial_latents
from audio2img.diffusion.schedulers import Scheduler, make_scheduler
from audio2img.diffusion.tokenizer import ClipTokenizer
from audio2img.errors import CancelledError, ModelError, UsageError
from audio2img.types import ImageRequest, ImageResult

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Parts:
    """The loaded parts that every picture needs."""

    text_encoder: Model
    unet: Model
    vae_decoder: Model


class CoreMLBackend:
    """An image model in Apple's layout, loaded: an ImageBackend."""

    def __init__(self, bundle: Bundle, tokenizer: ClipTokenizer, parts: _Parts) -> None:
        """Use `load`, which makes these from a folder."""
        self.bundle = bundle
        self._tokenizer = tokenizer
        self._parts: _Parts | None = parts
        self._hash = bundle.hash

    @classmethod
    def load(
        cls, path: str | Path, name: str | None = None, compute_units: str | None = None
    ) -> CoreMLBackend:
        """Load the model in the folder `path`, and check it before anything is drawn.

        name: what to call the model; None takes its own name. compute_units: see runtime.load_part.
        Raises ModelError if a part is missing, damaged or of another contract, MachineError if this
        machine cannot run it.
        """
        bundle = load_bundle(Path(path), name)
        tokenizer = ClipTokenizer.from_folder(bundle.folder, bundle.settings.pad_token, bundle.context_length)
        parts = (
            load_part(bundle.parts[part].path, compute_units)
            for part in ("text_encoder", "unet", "vae_decoder")
        )
        return cls(bundle, tokenizer, _Parts(*parts))

    @property
    def name(self) -> str:
        return RUNTIME_NAME

    @property
    def model(self) -> str:
        return self.bundle.settings.name

    @property
    def model_hash(self) -> str:
        return self._hash

    @property
    def defaults(self) -> ModelDefaults:
        return self.bundle.defaults

    def fit_prompt(self, text: str) -> tuple[str, str]:
        """(kept, dropped): the words that fit into the text encoder's window, and those that do not."""
        tokens = self._tokenizer.encode(text)
        return tokens.kept, tokens.dropped

    def generate(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
    ) -> ImageResult:
        """The picture of `request`. Raises UsageError for what the model cannot draw, CancelledError
        between two model calls once `cancelled` says so, ModelError if the model gives no numbers."""
        if self._parts is None:
            raise ModelError(f"the model {self.model} is closed", "load it again")
        self._check_request(request)
        started = time.perf_counter()
        scheduler = make_scheduler(
            request.scheduler, request.steps, self.bundle.settings.scheduler, request.seed
        )
        texts = self._encode(self._parts, request)
        encoded = time.perf_counter()
        latents = self._denoise(self._parts, request, scheduler, texts, progress, cancelled)
        denoised = time.perf_counter()
        _check_cancelled(cancelled)
        pixels = self._decode(self._parts, latents)
        ended = time.perf_counter()
        timings = {"encode": encoded - started, "denoise": denoised - encoded, "decode": ended - denoised}
        return ImageResult(pixels, request, self.model, self.model_hash, self.name, ended - started, timings)

    def close(self) -> None:
        """Free the parts; closing twice is no error."""
        self._parts = None

    def _check_request(self, request: ImageRequest) -> None:
        width, height = self.bundle.size
        wanted = (request.width or width, request.height or height)
        if wanted != (width, height):
            raise UsageError(
                f"the model {self.model} draws {width}x{height} pixels only, not {wanted[0]}x{wanted[1]}",
                f"leave the size out, or ask for {width}x{height}",
            )
        if not math.isfinite(request.guidance_scale) or request.guidance_scale < 0:
            raise UsageError(
                f"the guidance scale {request.guidance_scale} cannot be used", "try: --guidance 7.5"
            )
        check_seed(request.seed)

    def _encode(self, parts: _Parts, request: ImageRequest) -> NDArray[Any]:
        """(2, width, 1, length), in the UNet's type: the negative prompt's text and the prompt's.

        An empty negative prompt is encoded as the empty text, as the models were trained.
        """
        spec = self.bundle.parts["text_encoder"].inputs["input_ids"]
        rows = []
        for text in (request.negative_prompt, request.prompt):
            ids = self._tokenizer.encode(text).ids[None, :].astype(spec.dtype)
            hidden = parts.text_encoder.predict({"input_ids": ids})["last_hidden_state"]
            rows.append(self._finite(hidden, "text encoder").transpose(0, 2, 1)[:, :, None, :])
        states = self.bundle.parts["unet"].inputs["encoder_hidden_states"]
        return np.concatenate(rows).astype(states.dtype)

    def _denoise(
        self,
        parts: _Parts,
        request: ImageRequest,
        scheduler: Scheduler,
        texts: NDArray[Any],
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
    ) -> Floats:
        """The latents (1, channels, height, width) that the walk from the seed's noise ends at."""
        latents = initial_latents(request.seed, (1, *self.bundle.latent_shape))
        latents *= np.float32(scheduler.init_noise_sigma)
        n_calls = len(scheduler.timesteps)
        for call, timestep in enumerate(scheduler.timesteps):
            _check_cancelled(cancelled)
            sample = scheduler.scale_input(latents, call)
            prediction = self._predict_noise(parts, sample, float(timestep), texts, request.guidance_scale)
            latents = scheduler.step(prediction, call, latents)
            if progress is not None:
                progress(call + 1, n_calls)
        return latents

    def _predict_noise(
        self, parts: _Parts, sample: Floats, timestep: float, texts: NDArray[Any], guidance_scale: float
    ) -> Floats:
        """The guided answer of the UNet, of the sample's shape; up to a scale of 1 nothing is guided."""
        if guidance_scale <= 1:
            # A UNet for two at once is shown the prompt twice; its second answer is as good as its first.
            alone = texts[1:] if self.bundle.batch == 1 else np.concatenate([texts[1:]] * 2)
            return self._call_unet(parts, sample, timestep, alone)[:1]
        if self.bundle.batch == 2:
            negative, positive = np.split(self._call_unet(parts, sample, timestep, texts), 2)
        else:
            negative = self._call_unet(parts, sample, timestep, texts[:1])
            positive = self._call_unet(parts, sample, timestep, texts[1:])
        guided: Floats = negative + np.float32(guidance_scale) * (positive - negative)
        return guided

    def _call_unet(self, parts: _Parts, sample: Floats, timestep: float, texts: NDArray[Any]) -> Floats:
        """One call of the UNet with `sample` for each row of `texts`."""
        inputs = self.bundle.parts["unet"].inputs
        count = len(texts)
        result = parts.unet.predict(
            {
                "sample": np.concatenate([sample] * count).astype(inputs["sample"].dtype),
                "timestep": np.full(count, timestep, dtype=inputs["timestep"].dtype),
                "encoder_hidden_states": texts,
            }
        )
        return self._finite(result["noise_pred"], "UNet")

    def _decode(self, parts: _Parts, latents: Floats) -> NDArray[np.uint8]:
        """(height, width, 3) uint8: the decoder's picture, from [-1, 1]."""
        dtype = self.bundle.parts["vae_decoder"].inputs["z"].dtype
        z = (latents / np.float32(self.bundle.settings.scaling_factor)).astype(dtype)
        image = self._finite(parts.vae_decoder.predict({"z": z})["image"], "VAE decoder")
        unit = np.clip(image[0].transpose(1, 2, 0) * 0.5 + 0.5, 0.0, 1.0)
        return np.ascontiguousarray((unit * 255).round().astype(np.uint8))

    def _finite(self, values: NDArray[Any], part: str) -> Floats:
        """`values` as float32. Raises ModelError for NaN and infinity, which would give a black picture."""
        floats = np.asarray(values, dtype=np.float32)
        if not np.isfinite(floats).all():
            raise ModelError(
                f"the {part} of {self.model} gave values that are no numbers",
                "the model may be damaged, or overflow float16 on this machine's compute units: get it again",
            )
        return floats


def _check_cancelled(cancelled: CancelCheck | None) -> None:
    if cancelled is not None and cancelled():
        raise CancelledError("stopped while drawing")
