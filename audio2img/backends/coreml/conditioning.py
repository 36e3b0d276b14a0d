"""From prompts to what the UNet is told: encoded text, for SDXL with pooled text and the picture's size.

A prompt longer than the text encoder's window is cut, or taken in windows: the UNet is asked once
for each, and the answers are averaged by the number of tokens, as a conjunction of prompts (Liu et
al. 2022, arXiv 2206.01714, equation 11) with weights that add up to the guidance scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.contract import hidden_states_name
from audio2img.backends.coreml.numbers import as_finite
from audio2img.backends.coreml.runtime import Model
from audio2img.diffusion.prompt_weights import emphasize
from audio2img.diffusion.prompt_windows import PromptWindows
from audio2img.diffusion.tokenizer import ClipTokenizer, Tokens
from audio2img.types import LongPrompt

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TextWindow:
    """One window of text. weight: its share of the prompt, of 1.

    states: (1, width, 1, length) float32; pooled: (1, pooled width) float32, None but for SDXL.
    """

    states: Floats
    pooled: Floats | None
    weight: float


@dataclass(frozen=True)
class Conditioning:
    """What the UNet is told to draw, and what not."""

    positive: tuple[TextWindow, ...]
    negative: tuple[TextWindow, ...]


class Conditioner:
    """Encodes prompts with the text encoders of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises ModelError if the tokenizer's files are damaged."""
        pad_tokens, contract = bundle.settings.facts.pad_tokens, bundle.contract
        self._bundle = bundle
        self.encoder_names = ("text_encoder", "text_encoder_2")[: len(pad_tokens)]
        self._windows = PromptWindows(
            [
                ClipTokenizer.from_folder(bundle.tokenizer_folder, pad_token, contract.context_length)
                for pad_token in pad_tokens
            ]
        )

    @property
    def window(self) -> int:
        """Tokens that the text encoder reads at once."""
        return self._windows.length

    def fit(self, text: str) -> tuple[str, str]:
        """See PromptWindows."""
        return self._windows.fit(text)

    def encode(
        self, encoders: Sequence[Model], prompt: str, negative_prompt: str, long_prompt: LongPrompt
    ) -> Conditioning:
        """Both prompts, by the loaded parts `encoder_names`. An empty negative prompt is the empty text,
        or zeros where the model was trained so."""
        positive = self._encode_windows(encoders, prompt, long_prompt)
        if negative_prompt == "" and self._bundle.settings.facts.zero_empty_negative:
            first = positive[0]
            pooled = None if first.pooled is None else np.zeros_like(first.pooled)
            return Conditioning(positive, (TextWindow(np.zeros_like(first.states), pooled, 1.0),))
        return Conditioning(positive, self._encode_windows(encoders, negative_prompt, long_prompt))

    def _encode_windows(
        self, encoders: Sequence[Model], text: str, long_prompt: LongPrompt
    ) -> tuple[TextWindow, ...]:
        windows = self._windows.split(text, long_prompt)
        return tuple(self._encode_window(encoders, tokens, weight) for tokens, weight in windows)

    def _encode_window(self, encoders: Sequence[Model], rows: list[Tokens], weight: float) -> TextWindow:
        hidden: list[NDArray[Any]] = []
        pooled = None
        for name, encoder, tokens in zip(self.encoder_names, encoders, rows, strict=True):
            spec = self._bundle.parts[name].inputs["input_ids"]
            result = encoder.predict({"input_ids": tokens.ids[None, :].astype(spec.dtype)})
            states = result[hidden_states_name(self._bundle.contract.kind)]
            states = as_finite(states, "text encoder", self._bundle)
            if tokens.weights is not None:
                states = emphasize(states, tokens.weights[None, :, None])
            hidden.append(states)
            if name == "text_encoder_2":
                pooled = as_finite(result["pooled_outputs"], "text encoder", self._bundle)
        states = np.concatenate(hidden, axis=2).transpose(0, 2, 1)[:, :, None, :]
        return TextWindow(states, pooled, weight)
