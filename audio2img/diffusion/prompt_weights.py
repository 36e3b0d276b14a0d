"""Weights of words in a prompt, as people know them from the A1111 web page.

    (text)       1.1 times as strong        [text]      1.1 times weaker
    (text:1.4)   as strong as is written    \\( \\) \\[ \\] \\\\   the characters themselves

Brackets nest and multiply; one that is never closed holds to the end, one that was never opened is a
character. The text encoder's answer is multiplied by the weight of each token, and brought back to the
mean that it had. https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#attentionemphasis
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.diffusion.tokenizer import Tokens

STEP = 1.1  # what a bracket without a number is worth
MAX_WEIGHT = 10.0  # beyond it the numbers mean nothing, and overflow half precision
_PIECE = re.compile(r"\\[()\[\]\\]|:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)|[()\[\]]|[^\\()\[\]:]+|.", re.DOTALL)
_SPECIAL = re.compile(r"[()\[\]\\]")


@dataclass(frozen=True)
class WeightedText:
    """A text without the brackets that gave its characters their weights. weights: one a character."""

    text: str
    weights: tuple[float, ...]

    @property
    def is_plain(self) -> bool:
        """Whether every word weighs the same."""
        return all(weight == 1.0 for weight in self.weights)

    def part(self, start: int, stop: int) -> str:
        """The characters from `start` to before `stop`, with brackets that `parse_weights` reads alike."""
        pieces = []
        for weight, group in groupby(range(start, stop), key=self.weights.__getitem__):
            text = _SPECIAL.sub(r"\\\g<0>", "".join(self.text[index] for index in group))
            written = f"{weight:.4f}".rstrip("0").rstrip(".")
            pieces.append(text if weight == 1.0 else f"({text}:{written})")
        return "".join(pieces)

    def of_tokens(self, tokens: Tokens) -> NDArray[np.float32] | None:
        """A weight for each position of the window, 1 for marks and padding; None where all are 1.

        tokens: of `text`.
        """
        if self.is_plain:
            return None
        row = np.ones(len(tokens.ids), dtype=np.float32)
        row[1 : 1 + len(tokens.starts)] = [self.weights[start] for start in tokens.starts]
        return row


def parse_weights(text: str) -> WeightedText:
    """A prompt with its brackets read. Any string is accepted; one without brackets comes back as it is."""
    if not _SPECIAL.search(text):
        return WeightedText(text, (1.0,) * len(text))
    pieces = list(_PIECE.finditer(text))
    factors = _match_brackets([piece[0] for piece in pieces])
    letters: list[str] = []
    weights: list[float] = []
    inside = [1.0]
    for number, piece in enumerate(pieces):
        if number not in factors:
            plain = piece[0][1:] if len(piece[0]) > 1 and piece[0][0] == "\\" else piece[0]
            letters.append(plain)
            weights += [inside[-1]] * len(plain)
        elif (factor := factors[number]) is None:
            inside.pop()
        else:
            inside.append(min(MAX_WEIGHT, max(-MAX_WEIGHT, inside[-1] * factor)))
    return WeightedText("".join(letters), tuple(weights))


def with_weights(tokens: Tokens, text: WeightedText) -> Tokens:
    """The tokens of `text`, with the weights of their words."""
    return replace(tokens, weights=text.of_tokens(tokens))


def emphasize(states: Any, weights: Any) -> Any:
    """A text encoder's answer with the weights of its tokens.

    states: (1, length, width), an array or a tensor; weights: of the same library, (1, length, 1).
    """
    weighted = states * weights
    mean = weighted.mean()
    return weighted * (states.mean() / mean) if mean else weighted


def _match_brackets(pieces: list[str]) -> dict[int, float | None]:
    """For each piece that opens a group its factor, for each that closes one None; the others are text."""
    found: dict[int, float | None] = {}
    open_: list[int] = []
    for number, piece in enumerate(pieces):
        if piece in ("(", "["):
            open_.append(number)
            found[number] = STEP if piece == "(" else 1 / STEP
        elif open_ and piece[-1] == ")" and piece[0] in ":)" and pieces[open_[-1]] == "(":
            found[number] = None
            if len(piece) > 1:
                found[open_[-1]] = min(MAX_WEIGHT, max(-MAX_WEIGHT, float(piece[1:-1])))
            open_.pop()
        elif open_ and piece == "]" and pieces[open_[-1]] == "[":
            found[number] = None
            open_.pop()
    return found
