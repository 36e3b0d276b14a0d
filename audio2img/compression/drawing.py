"""Pictures drawn for comparison: the same prompts and seeds with models before and after.

The walk is that of audio2img.backends.coreml.backend, with the parts handed in and the latents handed out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.conditioning import Conditioner
from audio2img.backends.coreml.layout import UNET_CHUNKS
from audio2img.backends.coreml.runtime import Model
from audio2img.backends.coreml.unet import GuidedUNet
from audio2img.backends.coreml.vae import decode_latents
from audio2img.diffusion import Pixels
from audio2img.diffusion.noise import initial_latents
from audio2img.diffusion.schedulers import make_scheduler

Floats = NDArray[np.float32]
Inputs = dict[str, NDArray[np.generic]]

PICTURE_PEAK = 255.0


@dataclass(frozen=True)
class Probe:
    """What to draw, and the seed to draw it with."""

    prompt: str
    seed: int


# Sentences that the embedded mini model knows, and any other model too.
DEFAULT_PROMPTS = (
    "a red house under a yellow moon",
    "a blue boat next to a green tree",
    "a white cat on a brown mountain",
    "a pink flower and a black bird",
)


def make_probes(prompts: Sequence[str]) -> tuple[Probe, ...]:
    """Each prompt with a seed of its own, counted from 0."""
    return tuple(Probe(prompt, seed) for seed, prompt in enumerate(prompts))


@dataclass(frozen=True, eq=False)
class ProbeDrawing:
    """What a probe became. latents: (1, channels, height, width) float32; pixels: None if not decoded."""

    latents: Floats
    pixels: Pixels | None


def unet_parts(bundle: Bundle) -> tuple[str, ...]:
    """The whole UNet, or its halves."""
    return ("unet",) if "unet" in bundle.parts else UNET_CHUNKS


def drawing_parts(bundle: Bundle) -> tuple[str, ...]:
    """The parts that `draw` uses."""
    return (*Conditioner(bundle).encoder_names, *unet_parts(bundle), "vae_decoder")


def draw(
    bundle: Bundle,
    models: Mapping[str, Model],
    probes: Sequence[Probe],
    on_probe: Callable[[], None],
    decode: bool = True,
) -> list[ProbeDrawing]:
    """Draw `probes` with the loaded parts `models`, in the model's own steps, guidance and scheduler.

    on_probe: called after each. Raises ModelError if a part gives what is no number.
    """
    facts, shape = bundle.settings.facts, bundle.contract.latent_shape
    defaults = facts.defaults
    conditioner = Conditioner(bundle)
    encoders = [models[name] for name in conditioner.encoder_names]
    halves = [(bundle.parts[name], models[name]) for name in unet_parts(bundle)]
    drawings = []
    for probe in probes:
        texts = conditioner.encode(encoders, probe.prompt, "", "cut")
        unet = GuidedUNet(bundle, halves, texts, defaults.guidance_scale)
        scheduler = make_scheduler(defaults.scheduler, defaults.steps, facts.scheduler, probe.seed)
        latents: Floats = initial_latents(probe.seed, (1, *shape)) * np.float32(scheduler.init_noise_sigma)
        for call, timestep in enumerate(scheduler.timesteps):
            prediction = unet.predict(scheduler.scale_input(latents, call), float(timestep))
            latents = scheduler.step(prediction, call, latents)
        pixels = decode_latents(bundle, models["vae_decoder"], latents) if decode else None
        drawings.append(ProbeDrawing(latents, pixels))
        on_probe()
    return drawings


class Recorder:
    """A Model that remembers what it is given."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.calls: list[Inputs] = []

    def predict(self, inputs: Mapping[str, NDArray[np.generic]]) -> Inputs:
        self.calls.append({name: np.array(value) for name, value in inputs.items()})
        return self._model.predict(inputs)

    def pick(self, n_calls: int) -> list[Inputs]:
        """`n_calls` of the calls, or all: spread over the probes, each at another step of its walk."""
        total = len(self.calls)
        if total <= n_calls:
            return self.calls
        # One from each n-th of the calls, early in the first, late in the last.
        places = [int(total * (index + (index + 0.5) / n_calls) / n_calls) for index in range(n_calls)]
        return [self.calls[place] for place in places]


def psnr_db(reference: NDArray[np.generic], other: NDArray[np.generic], peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, infinite for equal arrays.

    peak: None takes the largest magnitude of `reference`, as Apple's ml-stable-diffusion does.
    """
    exact = np.asarray(reference, dtype=np.float64)
    error = float(np.square(exact - np.asarray(other, dtype=np.float64)).mean())
    if error == 0:
        return math.inf
    top = float(np.abs(exact).max()) if peak is None else peak
    return 10 * math.log10(top * top / error) if top else -math.inf
