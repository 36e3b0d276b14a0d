"""One walk from noise to latents with diffusers' schedulers, under our names for them.

The noise that some of them add in each step comes from our generator, in the order of
`diffusion.schedulers`, so that a seed means the same picture on every device and in every backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from audio2img.diffusion.facts import EDM_CLASSES, LCM, SCHEDULER_CLASSES
from audio2img.diffusion.noise import NoiseStream
from audio2img.diffusion.schedulers import SchedulerConfig
from audio2img.errors import UsageError

NOISY = ("euler-a", LCM)
"""Those that add noise in each step."""

CHOSEN: dict[str, dict[str, Any]] = {
    "dpmpp-2m": {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"},
    "pndm": {"skip_prk_steps": True},
}


def scheduler_names(written: Mapping[str, Any]) -> tuple[str, ...]:
    """Our names of those that go with a model. written: its scheduler_config.json."""
    return tuple(_classes(written))


def make_scheduler(name: str, written: Mapping[str, Any], config: SchedulerConfig) -> Any:
    """diffusers' scheduler for our name.

    written: the model's scheduler_config.json, for what `config`, its reading, leaves to diffusers.
    Raises UsageError for a name that does not exist, or does not go with such a model.
    """
    table = _classes(written)
    if name not in table:
        why = " for a model trained in EDM's way" if name in SCHEDULER_CLASSES else ""
        raise UsageError(f"there is no scheduler called {name!r}{why}", f"choose from: {', '.join(table)}")
    import diffusers

    read = (
        {}
        if table is EDM_CLASSES
        else {key: value for key, value in vars(config).items() if value is not None}
    )
    settings = {**written, **read, **CHOSEN.get(name, {})}
    known = {key: value for key, value in settings.items() if not key.startswith("_")}
    return getattr(diffusers, table[name]).from_config(known)


def _classes(written: Mapping[str, Any]) -> Mapping[str, str]:
    return EDM_CLASSES if written.get("_class_name") in EDM_CLASSES.values() else SCHEDULER_CLASSES


class Walk:
    """The steps of one batch of pictures.

    timesteps: one 0-dimensional tensor a call, on the processor: schedulers ask them for their values,
    which on a graphics card would wait for everything that is under way there.
    """

    def __init__(
        self,
        name: str,
        written: Mapping[str, Any],
        config: SchedulerConfig,
        steps: int,
        seed: int,
        indices: Sequence[int],
        strength: float | None = None,
    ) -> None:
        """written, config: see make_scheduler. indices: of the pictures in the stream of `seed`.

        strength: of image to image, None for pure noise.

        Raises UsageError for a number of steps that cannot be walked.
        """
        self._scheduler = make_scheduler(name, written, config)
        self._is_edm = type(self._scheduler).__name__ in EDM_CLASSES.values()
        self._fresh = _fresh_noise(seed, indices) if name in NOISY else None
        given = {"strength": strength} if name == LCM and strength is not None else {}
        try:
            self._scheduler.set_timesteps(steps, device="cpu", **given)
        except (ValueError, IndexError) as error:
            raise UsageError(
                f"{steps} steps cannot be walked with {name}: {error}", "try: `steps=20`"
            ) from error
        # As diffusers' image-to-image pipelines count; LCM spreads its steps over what is left instead.
        skip = 0 if strength is None or given else max(steps - min(int(steps * strength), steps), 0)
        self.timesteps = list(self._scheduler.timesteps[skip:])
        if not self.timesteps:
            raise UsageError(
                f"with {steps} steps a strength of {strength} leaves nothing to draw",
                "take more of one of them",
            )
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(skip)
        self._skip = skip

    def start(self, noise: Any, source: Any | None) -> Any:
        """The latents of the first call, from unit noise and, for image to image, latents: like `noise`."""
        if source is None:
            return noise * self._scheduler.init_noise_sigma
        import torch

        first = torch.stack([self.timesteps[0]] * len(noise))
        return self._scheduler.add_noise(source.expand_as(noise), noise, first)

    def scale(self, latents: Any, call: int) -> Any:
        """What the model is shown of `latents` at this call."""
        return self._scheduler.scale_model_input(latents, self.timesteps[call])

    def step(self, prediction: Any, call: int, latents: Any) -> Any:
        """The latents after this call."""
        with self._fresh or nullcontext():
            return self._scheduler.step(prediction, self.timesteps[call], latents, return_dict=False)[0]

    def predict_denoised(self, latents: Any, shown: Any, prediction: Any, call: int) -> Any:
        """The latents that the answer of this call points to, for previews; all of one shape."""
        config = self._scheduler.config
        if self._is_edm:
            sigma = self._scheduler.sigmas[self._skip + call]
            return self._scheduler.precondition_outputs(latents, prediction, sigma)
        alphas = self._scheduler.alphas_cumprod.cpu().numpy()
        alpha_bar = float(np.interp(float(self.timesteps[call]), np.arange(len(alphas)), alphas))
        alpha, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        if config.prediction_type == "v_prediction":
            return shown * alpha - prediction * sigma
        return (shown - prediction * sigma) / alpha


def _fresh_noise(seed: int, indices: Sequence[int]) -> Any:
    """A context in which torch.randn gives the numbers of our streams.

    diffusers' schedulers have no other door for noise than torch's generators. The first picture goes
    on with the stream that its own noise came from, each other one has a stream for itself.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class FreshNoise(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.streams = [NoiseStream(seed, index) for index in indices]
            self.is_new = True

        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            if func is not torch.randn:
                return func(*args, **(kwargs or {}))
            given = kwargs or {}
            shape = (1, *tuple(args[0])[1:])
            if self.is_new:  # what the walk started from was the first draw of these streams
                for stream in self.streams:
                    stream.draw(shape)
                self.is_new = False
            numbers = np.concatenate([stream.draw(shape) for stream in self.streams])
            return torch.from_numpy(numbers).to(device=given.get("device"), dtype=given.get("dtype"))

    return FreshNoise()
