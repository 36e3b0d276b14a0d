"""A prompt in windows of the text encoder: cut to one, or taken whole in several with their weights."""

from __future__ import annotations

from collections.abc import Sequence

from audio2img.diffusion.prompt_weights import parse_weights, with_weights
from audio2img.diffusion.tokenizer import ClipTokenizer, Tokens
from audio2img.types import LongPrompt


class PromptWindows:
    """Splits text for a model's tokenizers, the first of which decides what fits."""

    def __init__(self, tokenizers: Sequence[ClipTokenizer]) -> None:
        self._tokenizers = tokenizers

    @property
    def length(self) -> int:
        """Tokens in one window."""
        return self._tokenizers[0].context_length

    def fit(self, text: str) -> tuple[str, str]:
        """(kept, dropped): the words that fit into one window, and those that do not, with their weights."""
        weighted = parse_weights(text)
        tokens = self._tokenizers[0].encode(weighted.text)
        if not tokens.dropped:
            return text, ""
        length = len(weighted.text.rstrip())
        return (
            weighted.part(0, len(tokens.kept)),
            weighted.part(length - len(tokens.dropped), length),
        )

    def split(self, text: str, long_prompt: LongPrompt) -> list[tuple[list[Tokens], float]]:
        """For each window its tokens by every tokenizer, weighted, and its share of the prompt, of 1.

        "cut" gives one window. The share goes by the number of tokens.
        """
        pieces = self._pieces(text) if long_prompt == "chunk" else [text]
        read = [parse_weights(piece) for piece in pieces]
        rows = [[with_weights(one.encode(text.text), text) for one in self._tokenizers] for text in read]
        sizes = [max(1, min(row[0].n_tokens, len(row[0].ids) - 2)) for row in rows]
        return [(row, size / sum(sizes)) for row, size in zip(rows, sizes, strict=True)]

    def _pieces(self, text: str) -> list[str]:
        """The text in pieces that fit into a window, cut between words."""
        pieces = []
        while True:
            kept, text_left = self.fit(text)
            pieces.append(kept)
            if not text_left or not kept:
                return pieces
            text = text_left
