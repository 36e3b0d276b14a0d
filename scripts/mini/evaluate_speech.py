"""How well the mini Whisper hears: measured through pywhispercpp on speech that no training heard.

All sentences are from the held-out tenth. "Seen" voices are those of the training, "unseen"
ones were never trained on. Unknown words are from the held-out tenth as well.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pywhispercpp.model import Model

from audio2img.errors import NothingToDrawError
from audio2img.prompt import mini_world
from audio2img.recognition import load_recognizer
from audio2img.store.catalog import resolve_model
from audio2img.types import AudioClip
from scripts.mini.speech_augment import Augmenter
from scripts.mini.speech_corpus import (
    MAX_CLIP_S,
    ShardRecipe,
    evaluation_recipes,
    make_shard,
    punctuate,
)
from scripts.mini.synthesizers import SAMPLE_RATE, Voice, held_out_voices, speak, training_voices

Samples = NDArray[np.float32]

MODEL_NAME = "mini-whisper.bin"
THRESHOLDS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # on the mean token probability of a segment
EVERYDAY_SENTENCES = (
    "what is the weather like today", "turn off the kitchen lights", "call my mother please",
    "set an alarm for seven thirty", "how much does this cost", "i will be home before dinner",
    "where did you put the keys", "the meeting starts at noon tomorrow", "thank you very much",
    "could you close the window", "we should leave in ten minutes", "good morning everybody",
    "my brother lives in london", "she plays the violin every evening", "that is a terrible idea",
    "please read the next chapter", "the train to berlin was late again", "what time is it",
    "i forgot to buy bread and milk", "let us talk about something else", "nobody answered the phone",
    "the engine makes a funny noise", "do you remember his name", "play some quiet music",
    "it was nice to meet you", "he always drinks coffee after lunch", "send the message to alice",
    "who won the game last week", "the doctor said to wait", "can i help you with that",
)  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """One transcription: what should be written, what was, and how sure the model was."""

    target: str
    text: str
    probability: float

    @property
    def n_errors(self) -> int:
        return count_word_errors(self.target.split(), self.text.split())


@dataclass(frozen=True)
class Saying:
    """A clip (n,) float32 at 16 kHz and what should be written of it."""

    samples: Samples
    target: str


class Listener:
    """The model as the program uses it: greedy, no second tries."""

    def __init__(self, path: Path, n_threads: int = 2) -> None:
        self._model = Model(
            str(path),
            redirect_whispercpp_logs_to=None,
            n_threads=n_threads,
            print_progress=False,
            temperature_inc=0.0,
        )

    def hear(self, samples: Samples) -> tuple[str, float]:
        """The words in (n,) float32, and the lowest segment probability (1 where nothing was heard)."""
        audio = np.ascontiguousarray(samples, np.float32)
        segments = self._model.transcribe(audio, extract_probability=True)
        spoken = [segment for segment in segments if segment.text.strip()]
        text = " ".join(segment.text.strip() for segment in spoken)
        return text, min((segment.probability for segment in spoken), default=1.0)

    def hear_all(self, sayings: Iterable[Saying]) -> list[Heard]:
        return [Heard(saying.target, *self.hear(saying.samples)) for saying in sayings]


def count_word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Words to insert, delete or replace to turn one into the other (Levenshtein)."""
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != got))
    return row[-1]


def count_kept(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """How many words of the one are in the other in the same order (longest common subsequence)."""
    row = [0] * (len(hypothesis) + 1)
    for wanted in reference:
        diagonal = 0
        for j, got in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], diagonal + 1 if wanted == got else max(row[j], row[j - 1])
    return row[-1]


def score_words(heard: Sequence[Heard]) -> dict[str, float]:
    """Word error rate, share of words kept and of wholly right transcripts, in percent."""
    n_words = sum(len(item.target.split()) for item in heard)
    n_kept = sum(count_kept(item.target.split(), item.text.split()) for item in heard)
    return {
        "n": len(heard),
        "wer": 100 * sum(item.n_errors for item in heard) / max(1, n_words),
        "kept": 100 * n_kept / max(1, n_words),
        "exact": 100 * sum(item.n_errors == 0 for item in heard) / len(heard),
    }


def score_empty(heard: Sequence[Heard]) -> dict[str, float]:
    """Share of empty transcripts, in percent."""
    return {"n": len(heard), "empty": 100 * sum(not item.text for item in heard) / len(heard)}


def score_refused(path: Path, sayings: Sequence[Saying]) -> dict[str, float]:
    """Share, in percent, of clips that the whole recognizer refuses: the model with what guards it."""
    recognizer = load_recognizer(replace(resolve_model("mini-whisper", "speech"), path=path))
    refused = 0
    for saying in sayings:
        try:
            recognizer.transcribe(AudioClip(saying.samples))
        except NothingToDrawError:
            refused += 1
    recognizer.close()
    return {"n": len(sayings), "empty": 100 * refused / max(1, len(sayings))}


def speak_recipe(recipe: ShardRecipe) -> list[Saying]:
    """The clips of a recipe."""
    shard = make_shard(recipe)
    return [
        Saying(shard.clip(number).astype(np.float32) * np.float32(1 / 32768), shard.target[number])
        for number in range(len(shard))
    ]


def speak_texts(
    texts: Sequence[str], voices: Sequence[Voice], seed: int, silent: bool = False
) -> list[Saying]:
    """Each text by each voice; `silent`: nothing of it should be written."""
    rng = random.Random(seed)
    sayings = []
    for voice in voices:
        clips = speak([punctuate(text, rng) for text in texts], voice, rng)
        for text, samples in zip(texts, clips, strict=True):
            if samples is not None and len(samples) <= MAX_CLIP_S * SAMPLE_RATE:
                level = np.float32(0.7 / max(1e-6, float(np.abs(samples).max())))
                sayings.append(Saying(samples * level, "" if silent else text))
    return sayings


def write_lists(n: int, seed: int) -> list[str]:
    """Long lists of things, four to six."""
    rng = random.Random(seed)
    texts: list[str] = []
    while len(texts) < n:
        items = [mini_world.random_scene(rng, 0.0).items[0] for _ in range(rng.randint(4, 6))]
        text = " and ".join(mini_world.write_item(item) for item in items)
        if mini_world.is_held_out(text):
            texts.append(text)
    return texts


def make_sounds(n: int, seed: int) -> list[Saying]:
    """Silence, noise, hum and music; half are of kinds that no training has."""
    rng = np.random.default_rng((seed, 99))
    augmenter = Augmenter(rng)
    speech = speak_recipe(evaluation_recipes(8, seed)["seen espeak"])
    sounds: list[Samples] = [augmenter.no_speech(rng).samples for _ in range(n // 2)]
    while len(sounds) < n:
        sounds.append(_unfamiliar_sound(speech[len(sounds) % len(speech)].samples, len(sounds) % 5, rng))
    return [Saying(samples, "") for samples in sounds]


def _unfamiliar_sound(speech: Samples, kind: int, rng: np.random.Generator) -> Samples:
    """A sweep, beeps, one pure tone, noise with the spectrum of speech, or noise switched on and off."""
    n = int(SAMPLE_RATE * rng.uniform(0.5, 8))
    time_s = np.arange(n) / SAMPLE_RATE
    pitch_hz = rng.uniform(100, 2000)
    gate = np.sin(2 * np.pi * rng.uniform(0.5, 5) * time_s) > 0
    if kind == 0:
        sound = np.sin(2 * np.pi * pitch_hz * time_s * (1 + time_s / 8))
    elif kind == 1:
        sound = np.sign(np.sin(2 * np.pi * pitch_hz * time_s)) * gate
    elif kind == 2:
        sound = np.sin(2 * np.pi * pitch_hz * time_s)
    elif kind == 3:
        spectrum = np.abs(np.fft.rfft(speech)) * np.exp(2j * np.pi * rng.random(len(speech) // 2 + 1))
        sound = np.fft.irfft(spectrum, len(speech))
    else:
        sound = rng.standard_normal(n) * gate
    return np.asarray(sound / np.abs(sound).max() * 10 ** rng.uniform(-2, -0.1), np.float32)


def time_transcription(listener: Listener, samples: Samples, n_runs: int = 10) -> float:
    """Median milliseconds for a clip of 5 s."""
    clip = np.resize(samples, 5 * SAMPLE_RATE)
    seconds = []
    for _ in range(n_runs):
        started = time.perf_counter()
        listener.hear(clip)
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def weigh_thresholds(known: Sequence[Heard], unknown: Sequence[Heard]) -> list[dict[str, float]]:
    """What refusing unsure transcripts would do: known speech lost, unknown speech silenced, in percent."""
    spoken = [item for item in known if item.text]
    return [
        {
            "threshold": threshold,
            "known_refused": 100 * sum(item.probability < threshold for item in spoken) / max(1, len(spoken)),
            "unknown_silent": 100
            * sum(not item.text or item.probability < threshold for item in unknown)
            / max(1, len(unknown)),
        }
        for threshold in THRESHOLDS
    ]


def main(model_dir: Path, n: int, seed: int) -> dict[str, Any]:
    """Measure `model_dir`/mini-whisper.bin with n clips a set; the figures by name."""
    path = model_dir / MODEL_NAME
    listener = Listener(path)
    recipes = evaluation_recipes(n, seed)
    heard = {name: listener.hear_all(speak_recipe(recipe)) for name, recipe in recipes.items()}
    unseen = {name: voices[0] for name, voices in held_out_voices().items()}
    seen = [training_voices("espeak")[0], *training_voices("flite")[:2], *training_voices("festival")]
    lists = speak_texts(write_lists(max(4, n // 10), seed), [*seen, *unseen.values()], seed)
    words = mini_world.spoken_words()
    sounds = make_sounds(4 * n, seed)
    results: dict[str, Any] = {
        "model": {"file": path.name, "size_bytes": path.stat().st_size},
        "sentences": {name: score_words(items) for name, items in heard.items() if "," not in name},
        "half_unknown": {
            name: score_words(items) for name, items in heard.items() if name.startswith("mixed")
        },
        "single_words": {
            "seen voices": score_words(listener.hear_all(speak_texts(words, seen, seed))),
            "unseen voices": score_words(listener.hear_all(speak_texts(words, list(unseen.values()), seed))),
        },
        "long_lists": score_words(listener.hear_all(lists)),
        "unknown_speech": {
            name: score_empty(items) for name, items in heard.items() if name.startswith("unknown")
        },
        "no_speech": score_empty(listener.hear_all(sounds)),
        "refused_no_speech": score_refused(path, sounds),
        "milliseconds_for_5_s": time_transcription(listener, lists[0].samples),
    }
    everyday = listener.hear_all(
        speak_texts(EVERYDAY_SENTENCES, [*seen, *unseen.values()], seed, silent=True)
    )
    results["unknown_speech"]["everyday sentences"] = score_empty(everyday)
    results["thresholds"] = weigh_thresholds(
        [item for name, items in heard.items() if "," not in name for item in items],
        [*everyday, *(item for name, items in heard.items() if name.startswith("unknown") for item in items)],
    )
    results |= _summarize(results)
    return results


def _summarize(results: dict[str, Any]) -> dict[str, Any]:
    def mean(group: str, start: str, figure: str) -> float:
        values = [item[figure] for name, item in results[group].items() if name.startswith(start)]
        return float(np.mean(values))

    return {
        "summary": {
            "wer_seen_voices": mean("sentences", "seen", "wer"),
            "wer_unseen_voices": mean("sentences", "unseen", "wer"),
            "wer_half_unknown_seen": mean("half_unknown", "mixed, seen", "wer"),
            "wer_half_unknown_unseen": mean("half_unknown", "mixed, unseen", "wer"),
            "kept_half_unknown_seen": mean("half_unknown", "mixed, seen", "kept"),
            "kept_half_unknown_unseen": mean("half_unknown", "mixed, unseen", "kept"),
            "empty_unknown_speech": mean("unknown_speech", "", "empty"),
        }
    }


def write_table(results: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| what | clips | word errors | words kept | wholly right | empty |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    groups = ("sentences", "half_unknown", "single_words", "long_lists", "unknown_speech", "no_speech")
    for group in (*groups, "refused_no_speech"):
        found = results[group]
        rows = {"": found} if "n" in found else found
        for name, row in rows.items():
            cells = [f"{row[key]:.1f} %" if key in row else "" for key in ("wer", "kept", "exact", "empty")]
            title = f"{group.replace('_', ' ')}{': ' if name else ''}{name}"
            lines.append(f"| {title} | {row['n']} | {' | '.join(cells)} |")
    lines += [
        "",
        "| probability at least | known speech refused | unknown speech silent |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {row['threshold']:.1f} | {row['known_refused']:.1f} % | {row['unknown_silent']:.1f} % |"
        for row in results["thresholds"]
    ]
    summary = ", ".join(f"{name} {value:.2f}" for name, value in results["summary"].items())
    lines += ["", f"{summary}; {results['milliseconds_for_5_s']:.0f} ms for 5 s"]
    return os.linesep.join(lines)
