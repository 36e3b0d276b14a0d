"""From a request to pictures with Core ML parts: encode the text, denoise latents, decode them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml.bundle import Bundle, load_bundle
from audio2img.backends.coreml.conditioning import Conditioner, Conditioning
from audio2img.backends.coreml.parts import Parts
from audio2img.backends.coreml.runtime import runtime_name
from audio2img.backends.coreml.unet import GuidedUNet
from audio2img.backends.coreml.units import (
    ComputeChoice,
    choose_compute,
    has_small_memory,
    preferred_attention,
)
from audio2img.backends.coreml.vae import decode_latents, encode_pixels, is_refused
from audio2img.background import in_background
from audio2img.diffusion import (
    DEFAULT_STRENGTH,
    CancelCheck,
    DrawingStep,
    ModelDefaults,
    Pixels,
    ProgressCallback,
)
from audio2img.diffusion.noise import NoiseStream
from audio2img.diffusion.requests import check_request
from audio2img.diffusion.results import leave_out_refused, make_results
from audio2img.diffusion.schedulers import make_scheduler, predict_denoised, skipped_steps
from audio2img.errors import CancelledError, UsageError
from audio2img.types import ImageRequest, ImageResult, LoraUse

Floats = NDArray[np.float32]


class CoreMLBackend:
    """An image model in Apple's layout, ready to draw: an ImageBackend."""

    def __init__(self, bundle: Bundle, parts: Parts, compute: ComputeChoice) -> None:
        """Use `load`, which makes these from a folder."""
        self.bundle = bundle
        self.compute = compute
        self._conditioner = Conditioner(bundle)
        self._parts = parts
        self._hash: Future[str] = in_background(lambda: bundle.hash)

    @classmethod
    def load(
        cls,
        path: str | Path,
        name: str | None = None,
        compute_units: str | None = None,
        low_memory: bool | None = None,
    ) -> CoreMLBackend:
        """Load the model in the folder `path`, and check it before anything is drawn.

        name: what to call the model; None takes its own name. compute_units: of units.COMPUTE_UNITS;
        None chooses by the machine and the model. low_memory: load one part at a time, when its turn
        comes; None does so on a Mac of 8 GB.
        Raises ModelError if a part is missing, damaged or of another contract, MachineError if this
        machine cannot run it, UsageError for compute units that do not exist.
        """
        compute = choose_compute(compute_units)
        bundle = load_bundle(Path(path), name, preferred_attention())
        if compute_units is None:
            compute = choose_compute(attention=bundle.attention)
        parts = Parts(bundle, compute.units, has_small_memory() if low_memory is None else low_memory)
        backend = cls(bundle, parts, compute)
        if not parts.low_memory:
            parts.load_all()
        return backend

    @property
    def name(self) -> str:
        return runtime_name()

    @property
    def model(self) -> str:
        return self.bundle.settings.name

    @property
    def model_hash(self) -> str:
        return self._hash.result()

    @property
    def defaults(self) -> ModelDefaults:
        return self.bundle.defaults

    @property
    def loras(self) -> tuple[LoraUse, ...]:
        return ()

    def fit_prompt(self, text: str) -> tuple[str, str]:
        """(kept, dropped): the words that fit into the text encoder's window, and those that do not."""
        return self._conditioner.fit(text)

    def generate(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
    ) -> ImageResult:
        """See ImageBackend."""
        return self._draw(request, [request.index], progress, cancelled, init_image)[0]

    def generate_all(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
    ) -> tuple[ImageResult, ...]:
        """See ImageBackend."""
        return self._draw(request, list(range(request.count)), progress, cancelled, init_image)

    def close(self) -> None:
        """Free the parts; closing twice is no error."""
        self._parts.close()

    def _draw(
        self,
        request: ImageRequest,
        indices: list[int],
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
        init_image: Pixels | None,
    ) -> tuple[ImageResult, ...]:
        """The pictures of these indices, without those that the safety checker refuses."""
        self._check_request(request, init_image)
        stops = [time.perf_counter()]
        texts = self._encode(request)
        _check_cancelled(cancelled)
        noise, source = self._noise_and_source(request, init_image)
        stops.append(time.perf_counter())
        latents = self._denoise_all(request, indices, texts, noise, source, progress, cancelled)
        stops.append(time.perf_counter())
        _check_cancelled(cancelled)
        pictures = self._decode_all(latents)
        stops.append(time.perf_counter())
        kept = self._leave_out_refused(dict(zip(indices, pictures, strict=True)))
        return make_results(
            kept, request, stops, len(indices),
            model=self.model, model_hash=self.model_hash, backend=self.name,
        )  # fmt: skip

    def _check_request(self, request: ImageRequest, init_image: Pixels | None) -> None:
        width, height = self.bundle.contract.size
        wanted = (request.width or width, request.height or height)
        if wanted != (width, height):
            raise UsageError(
                f"the model {self.model} draws {width}x{height} pixels only, not {wanted[0]}x{wanted[1]}",
                f"leave the size out, or ask for {width}x{height}",
            )
        check_request(request, init_image)
        if init_image is not None and "vae_encoder" not in self.bundle.parts:
            raise UsageError(
                f"the model {self.model} has no vae encoder, so it cannot start from a picture",
                "leave --init-image out, or get a model with a VAEEncoder",
            )

    # Each part is lent to a method of its own: a name that lives on would keep it in memory.

    def _encode(self, request: ImageRequest) -> Conditioning:
        with self._parts.use(*self._conditioner.encoder_names) as encoders:
            return self._conditioner.encode(
                encoders, request.prompt, request.negative_prompt, request.long_prompt
            )

    def _decode_all(self, latents: list[Floats]) -> list[Pixels]:
        with self._parts.use("vae_decoder") as (decoder,):
            return [decode_latents(self.bundle, decoder, one) for one in latents]

    def _noise_and_source(
        self, request: ImageRequest, init_image: Pixels | None
    ) -> tuple[Floats, Floats | None]:
        """Unit noise (count, channels, height, width), and the latents (1, ...) of the picture to start from.

        The order of the draws is Swift's: the noise of every picture, then the encoder's.
        """
        shape = self.bundle.contract.latent_shape
        stream = NoiseStream(request.seed)
        noise = stream.draw((request.count, *shape))
        if init_image is None:
            return noise, None
        with self._parts.use("vae_encoder") as (encoder,):
            return noise, encode_pixels(self.bundle, encoder, init_image, stream.draw((1, *shape)))

    def _denoise_all(
        self,
        request: ImageRequest,
        indices: list[int],
        texts: Conditioning,
        noise: Floats,
        source: Floats | None,
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
    ) -> list[Floats]:
        """The latents (1, channels, height, width) that each picture's walk ends at."""
        names = self._parts.unet_names
        ended: list[Floats] = []
        with self._parts.use(*names) as models:
            halves = [(self.bundle.parts[name], model) for name, model in zip(names, models, strict=True)]
            unet = GuidedUNet(self.bundle, halves, texts, request.guidance_scale)
            for done, index in enumerate(indices):
                report = _Reporter(progress, done, len(indices))
                ended.append(self._denoise(request, index, unet, noise[index], source, report, cancelled))
        return ended

    def _denoise(
        self,
        request: ImageRequest,
        index: int,
        unet: GuidedUNet,
        noise: Floats,
        source: Floats | None,
        report: _Reporter,
        cancelled: CancelCheck | None,
    ) -> Floats:
        strength = DEFAULT_STRENGTH if request.strength is None else request.strength
        skip = 0 if source is None else skipped_steps(request.steps, strength)
        scheduler = make_scheduler(
            request.scheduler, request.steps, self.bundle.settings.facts.scheduler, request.seed, index, skip
        )
        if source is None:
            latents: Floats = noise[None] * np.float32(scheduler.init_noise_sigma)
        else:
            latents = scheduler.add_noise(source, noise[None])
        for call, timestep in enumerate(scheduler.timesteps):
            _check_cancelled(cancelled)
            sample = scheduler.scale_input(latents, call)
            prediction = unet.predict(sample, float(timestep))
            latents = scheduler.step(prediction, call, latents)
            report(call + 1, len(scheduler.timesteps), partial(self._preview, sample, prediction, timestep))
        return latents

    def _preview(self, sample: Floats, prediction: Floats, timestep: float) -> Pixels:
        settings = self.bundle.settings
        denoised = predict_denoised(settings.facts.scheduler, sample, prediction, timestep)
        return settings.preview.draw(denoised[0])

    def _leave_out_refused(self, pictures: dict[int, Pixels]) -> dict[int, Pixels]:
        if "safety_checker" not in self.bundle.parts:
            return pictures
        with self._parts.use("safety_checker") as (checker,):
            return leave_out_refused(
                pictures, lambda pixels: is_refused(self.bundle, checker, pixels), self.model
            )


class _Reporter:
    """Counts the steps of all pictures of a call."""

    def __init__(self, progress: ProgressCallback | None, done: int, count: int) -> None:
        self._progress, self._done, self._count = progress, done, count

    def __call__(self, call: int, calls: int, preview: Callable[[], Pixels]) -> None:
        if self._progress is not None:
            self._progress(DrawingStep(self._done * calls + call, self._count * calls, preview))


def _check_cancelled(cancelled: CancelCheck | None) -> None:
    if cancelled is not None and cancelled():
        raise CancelledError("stopped while drawing")
