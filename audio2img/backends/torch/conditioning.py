"""From prompts to what the UNet is told: encoded text, for SDXL with pooled text.

As diffusers' encode_prompt does it. Long prompts are taken in windows as in the Core ML backend: the
UNet is asked once for each, and the answers are averaged by the number of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audio2img.backends.torch.folder import ModelFolder
from audio2img.diffusion.facts import ModelFacts
from audio2img.diffusion.prompt_weights import emphasize
from audio2img.diffusion.prompt_windows import PromptWindows
from audio2img.diffusion.tokenizer import ClipTokenizer, Tokens
from audio2img.types import LongPrompt


@dataclass(frozen=True, eq=False)
class TextWindow:
    """One window of text. states: tensor (1, length, width); pooled: (1, width), None but for SDXL.

    weight: its share of the prompt, of 1.
    """

    states: Any
    pooled: Any | None
    weight: float


@dataclass(frozen=True)
class Conditioning:
    """What the UNet is told to draw, and what not."""

    positive: tuple[TextWindow, ...]
    negative: tuple[TextWindow, ...]


class Conditioner:
    """Encodes prompts with a model's text encoders."""

    def __init__(self, model: ModelFolder, facts: ModelFacts) -> None:
        """Raises ModelError if the tokenizer's files are missing or damaged."""
        self.encoder_names = ("text_encoder", "text_encoder_2")[: len(model.tokenizers)]
        self._is_sdxl = facts.family == "sdxl"
        self._zero_empty = facts.zero_empty_negative
        tokenizers = []
        for folder, pad, name in zip(model.tokenizers, facts.pad_tokens, self.encoder_names, strict=True):
            length = int(model.parts[name].config.get("max_position_embeddings", 77))
            tokenizers.append(ClipTokenizer.from_folder(folder, pad, length))
        self._windows = PromptWindows(tokenizers)

    @property
    def window(self) -> int:
        """Tokens that the text encoder reads at once."""
        return self._windows.length

    def fit(self, text: str) -> tuple[str, str]:
        """See PromptWindows."""
        return self._windows.fit(text)

    def encode(
        self, encoders: Sequence[Any], prompt: str, negative_prompt: str, long_prompt: LongPrompt
    ) -> Conditioning:
        """Both prompts, by the loaded encoders. An empty negative prompt is the empty text, or zeros where
        the model was trained so."""
        positive = self._encode_windows(encoders, prompt, long_prompt)
        if negative_prompt == "" and self._zero_empty:
            first = positive[0]
            pooled = None if first.pooled is None else first.pooled * 0
            return Conditioning(positive, (TextWindow(first.states * 0, pooled, 1.0),))
        return Conditioning(positive, self._encode_windows(encoders, negative_prompt, long_prompt))

    def _encode_windows(
        self, encoders: Sequence[Any], text: str, long_prompt: LongPrompt
    ) -> tuple[TextWindow, ...]:
        windows = self._windows.split(text, long_prompt)
        return tuple(self._encode_window(encoders, tokens, weight) for tokens, weight in windows)

    def _encode_window(self, encoders: Sequence[Any], row: Sequence[Tokens], weight: float) -> TextWindow:
        import torch

        hidden, pooled = [], None
        for encoder, tokens in zip(encoders, row, strict=True):
            ids = torch.from_numpy(tokens.ids[None].astype("int64")).to(encoder.device)
            if not self._is_sdxl:
                return TextWindow(_weigh(encoder(ids)[0], tokens), None, weight)
            result = encoder(ids, output_hidden_states=True)
            hidden.append(_weigh(result.hidden_states[-2], tokens))
            pooled = result[0]  # of the second encoder, which projects it
        return TextWindow(torch.cat(hidden, dim=-1), pooled, weight)


def _weigh(states: Any, tokens: Tokens) -> Any:
    """An encoder's answer (1, length, width) with the weights of the prompt's words, if it has any."""
    import torch

    if tokens.weights is None:
        return states
    return emphasize(states, torch.from_numpy(tokens.weights)[None, :, None].to(states))
