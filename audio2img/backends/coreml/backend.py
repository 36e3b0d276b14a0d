"""From a request to pictures with Core ML parts: encode the text, denoise latents, decode them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.bundle import Bundle, load_bundle
from audio2img.backends.coreml.conditioning import Conditioner, Conditioning
from audio2img.backends.coreml.parts import Parts
from audio2img.backends.coreml.process import ModelProcess
from audio2img.backends.coreml.runtime import runtime_name
from audio2img.backends.coreml.unet import GuidedUNet
from audio2img.backends.coreml.units import (
    ComputeChoice,
    choose_compute,
    has_small_memory,
    preferred_attention,
)
from audio2img.backends.coreml.vae import decode_latents, encode_pixels, is_refused
from audio2img.backends.protocol import (
    DEFAULT_STRENGTH,
    CancelCheck,
    Capabilities,
    DrawingStep,
    ProgressCallback,
    Sizes,
)
from audio2img.diffusion import ModelDefaults, Pixels
from audio2img.diffusion.noise import NoiseStream
from audio2img.diffusion.requests import check_request
from audio2img.diffusion.results import StageClock, refused_by_checker
from audio2img.diffusion.schedulers import (
    SCHEDULER_NAMES,
    make_scheduler,
    predict_denoised,
    skipped_steps,
)
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

    @classmethod
    def load(
        cls,
        path: str | Path,
        name: str | None = None,
        compute_units: str | None = None,
        low_memory: bool | None = None,
        cancelled: CancelCheck | None = None,
        own_process: bool | None = None,
    ) -> CoreMLBackend:
        """Load the model in the folder `path`, and check it before anything is drawn.

        name: what to call the model; None takes its own name. compute_units: of units.COMPUTE_UNITS;
        None chooses by the machine and the model. low_memory: load one part at a time, when its turn
        comes; None does so on a Mac of 8 GB. cancelled: asked while the parts are loaded.
        own_process: run the parts in a process of their own; None does so where Core ML runs them.
        Raises ModelError if a part is missing, damaged or of another contract, MachineError if this
        machine cannot run it, UsageError for compute units that do not exist, CancelledError.
        """
        compute = choose_compute(compute_units)
        process = ModelProcess() if (apple.is_here() if own_process is None else own_process) else None
        try:
            if process is not None:
                process.start()  # it imports what it needs while the bundle is read here
            bundle = load_bundle(Path(path), name, preferred_attention())
            if compute_units is None:
                compute = choose_compute(attention=bundle.attention)
            small = has_small_memory() if low_memory is None else low_memory
            parts = Parts(bundle, compute.units, small, process)
            backend = cls(bundle, parts, compute)
            if not parts.low_memory:
                parts.load_all(cancelled)
        except BaseException:
            if process is not None:
                process.close()
            raise
        return backend

    @property
    def name(self) -> str:
        return runtime_name()

    @property
    def model(self) -> str:
        return self.bundle.settings.name

    @property
    def identity(self) -> str:
        return self.bundle.hash

    @property
    def defaults(self) -> ModelDefaults:
        return self.bundle.defaults

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            sizes=Sizes(self.bundle.contract.size),
            schedulers=SCHEDULER_NAMES,
            text_window=self._conditioner.window,
            init_image="vae_encoder" in self.bundle.parts,
        )

    @property
    def loras(self) -> tuple[LoraUse, ...]:
        return ()

    def describe(self) -> str:
        """See ImageBackend."""
        return f"Core ML on {self.compute.units}: {self.compute.reason}" if self.name == "coreml" else ""

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
        return self._draw(request, [request.index], progress, cancelled, init_image, lambda result: None)[0]

    def generate_all(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
        finished: Callable[[ImageResult], None] = lambda result: None,
    ) -> tuple[ImageResult, ...]:
        """See ImageBackend."""
        return self._draw(request, list(range(request.count)), progress, cancelled, init_image, finished)

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
        finished: Callable[[ImageResult], None],
    ) -> tuple[ImageResult, ...]:
        """The pictures of these indices, without those that the safety checker refuses."""
        self._check_request(request, init_image)
        clock, results = StageClock(), []
        texts = self._encode(request, cancelled)
        _check_cancelled(cancelled)
        noise, source = self._noise_and_source(request, init_image, cancelled)
        clock.stop("encode", len(indices))
        with self._parts.keep(len(indices)):
            for done, index in enumerate(indices):
                report = _Reporter(progress, done, len(indices))
                latents = self._denoise(request, index, texts, noise[index], source, report, cancelled)
                clock.stop("denoise")
                _check_cancelled(cancelled)
                pixels = self._decode(latents, cancelled)
                clock.stop("decode")
                if not self._is_refused(pixels, cancelled):
                    results.append(clock.made(pixels, replace(request, index=index), self.model, self.name))
                    finished(results[-1])
                clock.start()
        if not results:
            raise refused_by_checker(self.model)
        return tuple(results)

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
                "leave `init_image` out, or get a model with a VAEEncoder",
            )

    # Each part is lent to a method of its own: a name that lives on would keep it in memory.

    def _encode(self, request: ImageRequest, cancelled: CancelCheck | None) -> Conditioning:
        with self._parts.use(*self._conditioner.encoder_names, cancelled=cancelled) as encoders:
            return self._conditioner.encode(
                encoders, request.prompt, request.negative_prompt, request.long_prompt
            )

    def _decode(self, latents: Floats, cancelled: CancelCheck | None) -> Pixels:
        with self._parts.use("vae_decoder", cancelled=cancelled) as (decoder,):
            return decode_latents(self.bundle, decoder, latents)

    def _noise_and_source(
        self, request: ImageRequest, init_image: Pixels | None, cancelled: CancelCheck | None
    ) -> tuple[Floats, Floats | None]:
        """Unit noise (count, channels, height, width), and the latents (1, ...) of the picture to start from.

        The order of the draws is Swift's: the noise of every picture, then the encoder's.
        """
        shape = self.bundle.contract.latent_shape
        stream = NoiseStream(request.seed)
        noise = stream.draw((request.count, *shape))
        if init_image is None:
            return noise, None
        with self._parts.use("vae_encoder", cancelled=cancelled) as (encoder,):
            return noise, encode_pixels(self.bundle, encoder, init_image, stream.draw((1, *shape)))

    def _denoise(
        self,
        request: ImageRequest,
        index: int,
        texts: Conditioning,
        noise: Floats,
        source: Floats | None,
        report: _Reporter,
        cancelled: CancelCheck | None,
    ) -> Floats:
        """The latents (1, channels, height, width) that the picture's walk ends at."""
        strength = DEFAULT_STRENGTH if request.strength is None else request.strength
        skip = 0 if source is None else skipped_steps(request.steps, strength)
        scheduler = make_scheduler(
            request.scheduler, request.steps, self.bundle.settings.facts.scheduler, request.seed, index, skip
        )
        if source is None:
            latents: Floats = noise[None] * np.float32(scheduler.init_noise_sigma)
        else:
            latents = scheduler.add_noise(source, noise[None])
        names = self._parts.unet_names
        with self._parts.use(*names, cancelled=cancelled) as models:
            halves = [(self.bundle.parts[name], model) for name, model in zip(names, models, strict=True)]
            unet = GuidedUNet(self.bundle, halves, texts, request.guidance_scale)
            for call, timestep in enumerate(scheduler.timesteps):
                _check_cancelled(cancelled)
                sample = scheduler.scale_input(latents, call)
                prediction = unet.predict(sample, float(timestep))
                latents = scheduler.step(prediction, call, latents)
                preview = partial(self._preview, sample, prediction, timestep)
                report(call + 1, len(scheduler.timesteps), preview)
        return latents

    def _preview(self, sample: Floats, prediction: Floats, timestep: float) -> Pixels:
        settings = self.bundle.settings
        denoised = predict_denoised(settings.facts.scheduler, sample, prediction, timestep)
        return settings.preview.draw(denoised[0])

    def _is_refused(self, pixels: Pixels, cancelled: CancelCheck | None) -> bool:
        if "safety_checker" not in self.bundle.parts:
            return False
        with self._parts.use("safety_checker", cancelled=cancelled) as (checker,):
            return is_refused(self.bundle, checker, pixels)


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
