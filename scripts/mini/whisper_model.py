"""Whisper in miniature, in PyTorch: the arithmetic of whisper.cpp, a vocabulary of whole words.

whisper.cpp needs the special tokens of the English-only models at their places (50256 and
up), so the smallest vocabulary has 50,364 rows. Only some seventy are ever used: training
keeps those and one more vector that all other rows share, which is exact for the softmax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from audio2img.prompt import mini_world
from scripts.mini.ggml_writer import WhisperSizes

# Tokens of the English-only models (whisper.cpp, struct whisper_vocab)
END_OF_TEXT, START, TRANSLATE, TRANSCRIBE = 50256, 50257, 50357, 50358
START_OF_LM, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = 50359, 50360, 50361, 50362
N_VOCAB = 50364  # the first timestamp token must exist

SPACE, NOTHING = 0, 1  # whisper.cpp looks up " "; NOTHING is written where nothing was said


@dataclass(frozen=True)
class Vocabulary:
    """Which tokens the model uses; compact row i stands for token `active[i]`."""

    words: tuple[str, ...] = field(default_factory=mini_world.spoken_words)

    @property
    def entries(self) -> tuple[bytes, ...]:
        """The bytes of tokens 0, 1, ... for the file."""
        return (b" ", b"", *(f" {word}".encode() for word in self.words))

    @property
    def active(self) -> tuple[int, ...]:
        return (*range(len(self.entries)), END_OF_TEXT, START, NO_TIMESTAMPS, NO_SPEECH)

    def row(self, token: int) -> int:
        """The compact row of a token."""
        return self.active.index(token)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text of known words (their rows are the same numbers); NOTHING for an empty one."""
        known = {word: number + 2 for number, word in enumerate(self.words)}
        return [known[word] for word in text.split()] or [NOTHING]

    def decode(self, tokens: list[int]) -> str:
        """The words of some tokens; special ones are left out."""
        return " ".join(self.words[token - 2] for token in tokens if 2 <= token < len(self.entries))


def default_sizes(width: int = 128, n_audio_layers: int = 3, n_text_layers: int = 2) -> WhisperSizes:
    """10.24 s of sound, up to 44 words, heads of 32."""
    heads = width // 32
    return WhisperSizes(N_VOCAB, 512, width, heads, n_audio_layers, 96, width, heads, n_text_layers)


class Attention(nn.Module):
    """Multi-head attention, to itself or to `memory`; the keys have no bias."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor | None = None, causal: bool = False) -> Tensor:
        source = x if memory is None else memory
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in (self.query(x), self.key(source), self.value(source))
        )
        heard = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(heard.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A transformer layer; decoder layers are causal and look at the encoder's output."""

    def __init__(self, width: int, n_heads: int, is_decoder: bool, dropout: float) -> None:
        super().__init__()
        self.attn = Attention(width, n_heads)
        self.attn_ln = nn.LayerNorm(width)
        self.is_decoder = is_decoder
        if is_decoder:
            self.cross_attn = Attention(width, n_heads)
            self.cross_attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        self.mlp_ln = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attn(self.attn_ln(x), causal=self.is_decoder))
        if self.is_decoder:
            x = x + self.dropout(self.cross_attn(self.cross_attn_ln(x), memory))
        return x + self.dropout(self.mlp(self.mlp_ln(x)))  # type: ignore[no-any-return]


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's fixed positions of the encoder, (length, width)."""
    rates = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Encoder(nn.Module):
    """(batch, 80, frames) log-mel to (batch, frames / 2, width)."""

    positional_embedding: Tensor

    def __init__(self, sizes: WhisperSizes, dropout: float) -> None:
        super().__init__()
        width = sizes.n_audio_state
        self.conv1 = nn.Conv1d(sizes.n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", sinusoids(sizes.n_audio_ctx, width))
        self.blocks = nn.ModuleList(
            Block(width, sizes.n_audio_head, False, dropout) for _ in range(sizes.n_audio_layer)
        )
        self.ln_post = nn.LayerNorm(width)

    def forward(self, log_mel: Tensor) -> Tensor:
        x = functional.gelu(self.conv1(log_mel), approximate="tanh")
        x = functional.gelu(self.conv2(x), approximate="tanh").transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.ln_post(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Compact rows (batch, length) to logits (batch, length, rows + 1); the last is all unused tokens."""

    def __init__(self, sizes: WhisperSizes, n_rows: int, dropout: float) -> None:
        super().__init__()
        width = sizes.n_text_state
        self.token_embedding = nn.Embedding(n_rows + 1, width)
        nn.init.normal_(self.token_embedding.weight, std=0.05)
        self.positional_embedding = nn.Parameter(torch.randn(sizes.n_text_ctx, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, sizes.n_text_head, True, dropout) for _ in range(sizes.n_text_layer)
        )
        self.ln = nn.LayerNorm(width)
        self.log_n_unused = math.log(sizes.n_vocab - n_rows)

    def forward(self, rows: Tensor, memory: Tensor) -> Tensor:
        x = self.token_embedding(rows) + self.positional_embedding[: rows.shape[1]]
        for block in self.blocks:
            x = block(x, memory)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 is too coarse for probabilities
            logits = self.ln(x.float()) @ self.token_embedding.weight.T
        return torch.cat([logits[..., :-1], logits[..., -1:] + self.log_n_unused], dim=-1)


class MiniWhisper(nn.Module):
    """The whole model, with a phoneme head on the encoder that only the training uses."""

    def __init__(
        self, sizes: WhisperSizes, vocabulary: Vocabulary, n_phonemes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.vocabulary = vocabulary
        self.encoder = Encoder(sizes, dropout)
        self.decoder = Decoder(sizes, len(vocabulary.active), dropout)
        self.phoneme_head = nn.Linear(sizes.n_audio_state, n_phonemes + 1)  # the last one is CTC's blank

    def export_tensors(self) -> dict[str, NDArray[np.float32]]:
        """The tensors of the ggml file, by OpenAI's names."""
        tensors = {
            name: tensor.detach().float().cpu().numpy()
            for name, tensor in self.state_dict().items()
            if not name.startswith("phoneme_head")
        }
        compact = tensors["decoder.token_embedding.weight"]
        full = np.repeat(compact[-1:], self.sizes.n_vocab, axis=0)
        full[list(self.vocabulary.active)] = compact[:-1]
        tensors["decoder.token_embedding.weight"] = full
        return tensors

    @torch.no_grad()
    def transcribe(self, log_mel: Tensor) -> list[int]:
        """The tokens that whisper.cpp's greedy decoding finds for (80, frames), the end left out."""
        vocabulary = self.vocabulary
        memory = self.encoder(log_mel[None])
        end = vocabulary.row(END_OF_TEXT)
        special = [vocabulary.row(token) for token in (START, NO_TIMESTAMPS, NO_SPEECH)]
        rows = [vocabulary.row(START), vocabulary.row(NO_TIMESTAMPS)]
        for position in range(self.sizes.n_text_ctx // 2 - 4):
            logits = self.decoder(torch.tensor([rows], device=log_mel.device), memory)[0, -1]
            logits[[*special, *((end, SPACE) if position == 0 else ())]] = -torch.inf
            logits[-1] -= self.decoder.log_n_unused  # one unused token alone
            best = int(logits.argmax())
            if best >= len(vocabulary.entries):
                break
            rows.append(best)
        return rows[2:]
