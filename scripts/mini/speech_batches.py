"""Batches for the mini Whisper's training: clips drawn, changed, and turned into tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from scripts.mini.mel_filters import N_MELS, SAMPLE_RATE
from scripts.mini.speech_augment import MAX_CLIP_S, Augmented, Augmenter
from scripts.mini.speech_corpus import load_shard, write_target
from scripts.mini.whisper_log_mel import mel_power, normalize
from scripts.mini.whisper_model import END_OF_TEXT, NO_SPEECH, NO_TIMESTAMPS, NOTHING, START, Vocabulary

MAX_FRAMES = 1024
MAX_WORDS = 44
POOL_BATCHES = 8  # clips are sorted by length within so many batches
P_NO_SPEECH = 0.06
P_JOIN = 0.12  # two clips said one after the other
IGNORED = -100

# How often each part of the corpus is heard, whatever its size
PART_WEIGHTS = {
    "espeak": 0.34, "flite": 0.25, "diphone": 0.08, "hts": 0.07,
    "espeak-word": 0.02, "flite-word": 0.02, "festival-word": 0.01,
    "espeak-mixed": 0.06, "flite-mixed": 0.04, "festival-mixed": 0.02,
    "espeak-unknown": 0.045, "flite-unknown": 0.035, "festival-unknown": 0.01,
}  # fmt: skip
# A refinement leans on what is learned last: what not to write
REFINING_WEIGHTS = {
    "espeak": 0.19, "flite": 0.19, "diphone": 0.07, "hts": 0.06,
    "espeak-word": 0.025, "flite-word": 0.025, "festival-word": 0.01,
    "espeak-mixed": 0.11, "flite-mixed": 0.10, "festival-mixed": 0.03,
    "espeak-unknown": 0.08, "flite-unknown": 0.08, "festival-unknown": 0.03,
}  # fmt: skip


class Batch(NamedTuple):
    """One step's clips. `targets` follow `inputs` by one; the first tells speech from none."""

    log_mel: Tensor  # (batch, 80, frames) float32
    inputs: Tensor  # (batch, length) int64, compact rows
    targets: Tensor  # (batch, length) int64, compact rows or IGNORED
    phonemes: Tensor  # (batch, longest) int64
    n_phonemes: Tensor  # (batch,) int64


@dataclass(frozen=True)
class Example:
    """A changed clip with what should be written and the phonemes that are heard."""

    clip: Augmented
    target: str
    phonemes: tuple[int, ...]


class ClipStore:
    """The clips of some shards of a corpus folder, by part ("espeak", "festival-mixed", ...)."""

    def __init__(
        self, folder: Path, shard_names: Iterable[str], part_weights: Mapping[str, float] = PART_WEIGHTS
    ) -> None:
        pronunciations: dict[str, list[str]] = json.loads((folder / "phonemes.json").read_text())
        self.phonemes = tuple(sorted({sound for word in pronunciations.values() for sound in word}))
        numbers = {sound: number for number, sound in enumerate(self.phonemes)}
        self._sounds = {word: [numbers[s] for s in sounds] for word, sounds in pronunciations.items()}
        self._parts: dict[str, list[tuple[NDArray[np.int16], str]]] = {}
        for name in sorted(shard_names):
            shard = load_shard(folder / f"{name}.npz")
            part = self._parts.setdefault(name.rpartition("-")[0], [])
            part.extend((shard.clip(number), text) for number, text in enumerate(shard.spoken))
        self._names = [name for name in part_weights if name in self._parts]
        weights = np.array([part_weights[name] for name in self._names])
        self._weights = weights / weights.sum()

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int16], str]:
        """A clip (n,) int16 and what is said in it."""
        part = self._parts[self._names[rng.choice(len(self._names), p=self._weights)]]
        return part[rng.integers(len(part))]

    def pronounce(self, text: str) -> tuple[int, ...]:
        """The phonemes of a text by number."""
        return tuple(sound for word in text.split() for sound in self._sounds[word])


class SpeechBatches(IterableDataset[Batch]):
    """An endless stream of batches. `level` (a shared float tensor) says how hard to augment."""

    def __init__(
        self, store: ClipStore, vocabulary: Vocabulary, batch_size: int, seed: tuple[int, ...], level: Tensor
    ) -> None:
        self._store = store
        self._vocabulary = vocabulary
        self._batch_size = batch_size
        self._seed = seed
        self._level = level

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker:
            torch.set_num_threads(1)
        rng = np.random.default_rng((*self._seed, worker.id if worker else 0))
        augmenter = Augmenter(rng)
        while True:
            pool = [self._example(augmenter, rng) for _ in range(self._batch_size * POOL_BATCHES)]
            pool.sort(key=lambda example: len(example.clip.samples) / example.clip.hop)
            for start in rng.permutation(POOL_BATCHES) * self._batch_size:
                yield self._collate(pool[start : start + self._batch_size], rng)

    def _example(self, augmenter: Augmenter, rng: np.random.Generator) -> Example:
        level = float(self._level)
        if rng.random() < P_NO_SPEECH:
            return Example(augmenter.no_speech(rng), "", ())
        samples, text = self._store.draw(rng)
        if rng.random() < P_JOIN:
            more, more_text = self._store.draw(rng)
            pause = np.zeros(int(SAMPLE_RATE * rng.uniform(0.05, 0.8)), np.int16)
            joined = np.concatenate([samples, pause, more])
            if len(joined) <= MAX_CLIP_S * SAMPLE_RATE and len(f"{text} {more_text}".split()) <= MAX_WORDS:
                samples, text = joined, f"{text} {more_text}"
        clip = augmenter.speech(samples, level, rng)
        return Example(clip, write_target(text), self._store.pronounce(text))

    def _collate(self, examples: list[Example], rng: np.random.Generator) -> Batch:
        powers = [_hear(example.clip) for example in examples]
        n_frames = max(map(len, powers)) + int(rng.integers(4, 64))
        n_frames = MAX_FRAMES if rng.random() < 0.03 else min(MAX_FRAMES, n_frames // 2 * 2)
        power = torch.zeros(len(examples), n_frames, N_MELS)
        for row, heard in zip(power, powers, strict=True):
            row[: min(n_frames, len(heard))] = heard[:n_frames]
        tokens = [self._vocabulary.encode(example.target) for example in examples]
        return Batch(
            normalize(power).transpose(1, 2),
            *self._collate_tokens(tokens),
            _pad([list(example.phonemes) for example in examples], 0),
            torch.tensor([len(example.phonemes) for example in examples]),
        )

    def _collate_tokens(self, tokens: list[list[int]]) -> tuple[Tensor, Tensor]:
        start, begin, nothing_said, end = (
            self._vocabulary.row(token) for token in (START, NO_TIMESTAMPS, NO_SPEECH, END_OF_TEXT)
        )
        inputs = [[start, begin, *words] for words in tokens]
        targets = [[nothing_said if words == [NOTHING] else begin, *words, end] for words in tokens]
        return _pad(inputs, end), _pad(targets, IGNORED)


def _hear(clip: Augmented) -> Tensor:
    power = mel_power(clip.samples, clip.hop, clip.warp)
    return power if clip.mel_gain is None else power * torch.from_numpy(clip.mel_gain)


def _pad(rows: list[list[int]], filler: int) -> Tensor:
    longest = max(1, *map(len, rows))
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])
