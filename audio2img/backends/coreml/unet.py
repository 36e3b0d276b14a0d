"""The UNet as the denoising loop sees it: guided, whole or in two halves, for one or two at a time.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): the UNet is asked for the prompt
and for the negative prompt, and the answer is `guidance_scale` times the way from the second to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.conditioning import Conditioning, TextWindow
from audio2img.backends.coreml.contract import Part
from audio2img.backends.coreml.numbers import as_finite
from audio2img.backends.coreml.runtime import Model

Floats = NDArray[np.float32]


class GuidedUNet:
    """The UNet of a bundle with what it is told; one for each picture, or for all of one prompt."""

    def __init__(
        self,
        bundle: Bundle,
        halves: Sequence[tuple[Part, Model]],
        conditioning: Conditioning,
        guidance_scale: float,
    ) -> None:
        """halves: the whole UNet, or its chunks in order. Up to a scale of 1 nothing is guided."""
        self._bundle = bundle
        self._halves = halves
        self._guidance_scale = np.float32(guidance_scale)
        self._is_guided = guidance_scale > 1
        self._windows = (*(conditioning.negative if self._is_guided else ()), *conditioning.positive)
        self._n_negative = len(self._windows) - len(conditioning.positive)
        width, height = bundle.contract.size
        self._time_ids = np.array([[height, width, 0, 0, height, width]], dtype=np.float32)

    def predict(self, sample: Floats, timestep: float) -> Floats:
        """The guided answer for `sample` (1, channels, height, width); of the same shape."""
        answers = self._ask(sample, timestep)
        weights = np.array([window.weight for window in self._windows], dtype=np.float32)
        weighted = answers * weights[:, None, None, None]
        positive: Floats = weighted[self._n_negative :].sum(axis=0, keepdims=True)
        if not self._is_guided:
            return positive
        negative: Floats = weighted[: self._n_negative].sum(axis=0, keepdims=True)
        guided: Floats = negative + self._guidance_scale * (positive - negative)
        return guided

    def _ask(self, sample: Floats, timestep: float) -> Floats:
        """One answer for each window; as many windows a call as the UNet takes."""
        batch = self._bundle.contract.batch
        answers = []
        for start in range(0, len(self._windows), batch):
            asked = list(self._windows[start : start + batch])
            # A UNet for two is shown a single window twice; its second answer is as good as its first.
            shown = asked + asked[-1:] * (batch - len(asked))
            answers.append(self._call(sample, timestep, shown)[: len(asked)])
        return np.concatenate(answers)

    def _call(self, sample: Floats, timestep: float, windows: Sequence[TextWindow]) -> Floats:
        count = len(windows)
        values: dict[str, NDArray[Any]] = {
            "sample": np.concatenate([sample] * count),
            "timestep": np.full(count, timestep),
            "encoder_hidden_states": np.concatenate([window.states for window in windows]),
        }
        if self._bundle.contract.kind == "sdxl":
            pooled = [window.pooled for window in windows if window.pooled is not None]
            values |= {"text_embeds": np.concatenate(pooled), "time_ids": np.repeat(self._time_ids, count, 0)}
        for part, model in self._halves:
            inputs = {
                name: values[name].reshape(spec.shape).astype(spec.dtype, copy=False)
                for name, spec in part.inputs.items()
                if name in values or not spec.optional
            }
            values |= model.predict(inputs)
        return as_finite(values["noise_pred"], "UNet", self._bundle)
