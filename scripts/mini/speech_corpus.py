"""Synthetic speech for the mini Whisper: what is said, by whom, and what should be written down.

Five kinds of utterance:

    known    sentences, lists and words of the mini world; all of it is written down
    sentence whole sentences only
    word     any one word of the world, whichever side of the held-out split it is on
    mixed    such a sentence with unknown words in it; the known words are written down
    unknown  speech from outside the world; nothing is written down

A shard is an .npz file: `audio` (n,) int16 at 16 kHz, `offsets` (k + 1,) int64 into it, and
`spoken`, `target`, `voice`, (k,) str. What is in a shard follows from its recipe alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audio2img.prompt import mini_world
from scripts.mini.synthesizers import (
    FESTIVAL_HTS_VOICE,
    SAMPLE_RATE,
    Engine,
    Voice,
    held_out_voices,
    speak,
    training_voices,
)

Kind = Literal["known", "sentence", "word", "mixed", "unknown"]

EVERYDAY_WORDS = Path(__file__).with_name("everyday_words.txt")
# Pronouncing dictionary of Debian's festlex-cmu, used as a list of English words and names.
FESTIVAL_WORDS = Path("/usr/share/festival/dicts/cmu/cmudict-0.4.out")
N_DICTIONARY_WORDS = 6_000
HELD_OUT_WORD_BYTES = 26  # of 256: unknown words that only the evaluation uses

CONTENT_WORDS = frozenset(
    word
    for phrase in (*mini_world.COLOURS, *mini_world.THINGS, *mini_world.SETTINGS)
    for word in phrase.split()
) - {"at", "in", "the", "on", "a", "by"}

MIN_CLIP_S = 0.2
MAX_CLIP_S = 10.0  # the encoder hears 10.24 s
PEAK = 0.7  # clips are stored at one level; the training varies it


@dataclass(frozen=True)
class ShardRecipe:
    """All that decides what is in a shard."""

    name: str
    seed: int
    kind: Kind
    voices: tuple[Voice, ...]
    n_clips: int
    held_out_text: bool = False


@dataclass(frozen=True)
class Shard:
    """Clips with their texts; clip i is `audio[offsets[i] : offsets[i + 1]]`, int16 at 16 kHz."""

    audio: NDArray[np.int16]
    offsets: NDArray[np.int64]
    spoken: tuple[str, ...]
    target: tuple[str, ...]
    voice: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.spoken)

    def clip(self, number: int) -> NDArray[np.int16]:
        """The samples of one clip, (n,) int16 at 16 kHz."""
        return self.audio[self.offsets[number] : self.offsets[number + 1]]


def split_words(text: str) -> list[str]:
    """The words of a text as the model writes them: lower case, no punctuation."""
    return re.findall(r"[a-z']+", text.lower())


@functools.cache
def pronounce(words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The phonemes of each word, from espeak-ng's American English; stress and length dropped.

    The articles get the weak form they have inside a sentence.
    """
    done = subprocess.run(
        ["espeak-ng", "-v", "en-us", "-q", "--ipa", "--sep=_", "--stdin"],
        input="\n\n".join(words).encode(),
        capture_output=True,
        check=True,
    )
    lines = [line.strip() for line in done.stdout.decode().splitlines() if line.strip()]
    if len(lines) != len(words):
        raise RuntimeError(f"espeak-ng pronounced {len(lines)} of {len(words)} words")
    phonemes = {
        word: tuple(re.sub("[ˈˌː]", "", line).replace(" ", "_").strip("_").split("_"))
        for word, line in zip(words, lines, strict=True)
    }
    return phonemes | {word: ("ɐ", *phonemes[word][1:]) for word in ("a", "an") if word in phonemes}


@functools.cache
def unknown_words(held_out: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(everyday words, dictionary words) from outside the world, for the training or the evaluation.

    Words that sound like a known word ("knight") or are forms of one ("houses") are left out.
    """
    known = mini_world.spoken_words()
    everyday = sorted({word for word in EVERYDAY_WORDS.read_text().split() if word.isalpha()})
    dictionary = sorted(
        {
            match[1]
            for line in FESTIVAL_WORDS.read_text(errors="replace").splitlines()
            if (match := re.match(r'\("([a-z]{3,12})"', line))
        }
    )
    sample = random.Random(0).sample(dictionary, N_DICTIONARY_WORDS)
    sounds = pronounce(tuple(sorted({*known, *everyday, *sample})))
    taken = {sounds[word] for word in known}

    def is_free(word: str) -> bool:
        forms = any(
            word.startswith(stem) and len(word) <= len(stem) + 3 for stem in CONTENT_WORDS if len(stem) > 2
        )
        digest = hashlib.md5(word.encode(), usedforsecurity=False).digest()[0]
        right_side = (digest < HELD_OUT_WORD_BYTES) == held_out
        return word not in known and sounds[word] not in taken and not forms and right_side

    return tuple(filter(is_free, everyday)), tuple(filter(is_free, sample))


def random_unknown_word(rng: random.Random, held_out: bool) -> str:
    """A word from outside the world: mostly an everyday one, else any word or name of English."""
    everyday, dictionary = unknown_words(held_out)
    return rng.choice(everyday if rng.random() < 0.6 else dictionary)


def write_target(spoken: str) -> str:
    """What the model should write for a spoken text: its known words.

    Speech with unknown words is only worth a transcript if something to draw is left of it.
    """
    words = split_words(spoken)
    known = [word for word in words if word in mini_world.spoken_words()]
    if len(known) < len(words) and not CONTENT_WORDS.intersection(known):
        return ""
    return " ".join(known)


def write_known(rng: random.Random, held_out: bool) -> str:
    """Something to say that lies wholly in the world, from the wanted side of the held-out split."""
    while True:
        bare = rng.random() < 0.08
        text = rng.choice(mini_world.spoken_words()) if bare else mini_world.random_utterance(rng)
        if mini_world.is_held_out(text) == held_out:
            return text


def write_sentence(rng: random.Random, held_out: bool) -> str:
    """A sentence of the grammar from the wanted side of the held-out split."""
    while True:
        text = mini_world.write_sentence(mini_world.random_scene(rng), rng)
        if mini_world.is_held_out(text) == held_out:
            return text


def write_word(rng: random.Random, held_out: bool) -> str:
    """One word. There are too few to hold some out."""
    return rng.choice(mini_world.spoken_words())


def write_unknown(rng: random.Random, held_out: bool) -> str:
    """Speech from outside the world; its small words may be known ones."""
    small_words = ("a", "the", "of", "to", "in", "on", "at", "i", "and", "me", "by", "show", "make", "want")
    words = [random_unknown_word(rng, held_out) for _ in range(rng.choice((1, 1, 2, 3, 4, 5, 6, 8)))]
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, 1 + len(words) // 2)):
            words.insert(rng.randrange(len(words) + 1), rng.choice(small_words))
    return " ".join(words)


def write_mixed(rng: random.Random, held_out: bool) -> str:
    """A sentence of the world with unknown words before, in or after it."""
    words = write_known(rng, held_out).split()
    some = [random_unknown_word(rng, held_out) for _ in range(rng.choice((1, 1, 2, 2, 3)))]
    place = rng.random()
    if place < 0.4:
        break_off = "," if rng.random() < 0.5 else ""
        return " ".join(some) + break_off + " " + " ".join(words)
    if place < 0.6:
        return " ".join([*words, *some])
    for word in some[:2]:
        spot = rng.randrange(len(words))
        if words[spot] in CONTENT_WORDS and rng.random() < 0.7:
            words[spot] = word
        else:
            words.insert(spot, word)
    return " ".join(words)


_WRITERS: dict[Kind, Callable[[random.Random, bool], str]] = {
    "known": write_known,
    "sentence": write_sentence,
    "word": write_word,
    "mixed": write_mixed,
    "unknown": write_unknown,
}


def punctuate(text: str, rng: random.Random) -> str:
    """Now and then a comma, where a speaker might pause."""
    words = text.split()
    for number, word in enumerate(words[1:]):
        if rng.random() < (0.3 if word == "and" else 0.02) and not words[number].endswith(","):
            words[number] += ","
    return " ".join(words)


def make_shard(recipe: ShardRecipe) -> Shard:
    """Speak what the recipe asks for. Clips that are too short or too long are left out."""
    rng = random.Random(f"{recipe.name}/{recipe.seed}")
    spoken: list[str] = []
    voices: list[str] = []
    clips: list[NDArray[np.int16]] = []
    batch = 1 if recipe.voices[0].engine == "espeak" else 40
    for start in range(0, recipe.n_clips, batch):
        voice = rng.choice(recipe.voices)
        n_texts = min(batch, recipe.n_clips - start)
        texts = [_WRITERS[recipe.kind](rng, recipe.held_out_text) for _ in range(n_texts)]
        for text, samples in zip(
            texts, speak([punctuate(text, rng) for text in texts], voice, rng), strict=True
        ):
            if samples is None or not MIN_CLIP_S <= len(samples) / SAMPLE_RATE <= MAX_CLIP_S:
                continue
            loudest = float(np.abs(samples).max())
            if loudest < 1e-3:
                continue
            spoken.append(" ".join(split_words(text)))
            voices.append(str(voice))
            clips.append((samples * (PEAK * 32767 / loudest)).astype(np.int16))
    return Shard(
        np.concatenate(clips),
        np.cumsum([0, *(len(clip) for clip in clips)]),
        tuple(spoken),
        tuple(write_target(text) for text in spoken),
        tuple(voices),
    )


def save_shard(shard: Shard, path: Path) -> None:
    """Write a shard, whole or not at all."""
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        audio=shard.audio,
        offsets=shard.offsets,
        spoken=np.array(shard.spoken),
        target=np.array(shard.target),
        voice=np.array(shard.voice),
    )
    os.replace(partial, path)


def load_shard(path: Path) -> Shard:
    """Read a shard back."""
    with np.load(path) as arrays:
        texts = (tuple(str(text) for text in arrays[name]) for name in ("spoken", "target", "voice"))
        return Shard(arrays["audio"], arrays["offsets"], *texts)


def training_recipes(seed: int, size: float = 1.0, shard_clips: int = 1_000) -> list[ShardRecipe]:
    """The shards of the training corpus, about 53,000 clips at size 1, in an order good from the start."""
    hts = (Voice("festival", FESTIVAL_HTS_VOICE),)
    diphone = (Voice("festival", "kal_diphone"),)
    amounts: list[tuple[str, Kind, tuple[Voice, ...], int]] = [
        ("espeak", "known", training_voices("espeak"), 19_000),
        ("flite", "known", training_voices("flite"), 11_000),
        ("diphone", "known", diphone, 4_000),
        ("hts", "known", hts, 4_000),
        ("espeak-mixed", "mixed", training_voices("espeak"), 3_000),
        ("flite-mixed", "mixed", training_voices("flite"), 2_000),
        ("festival-mixed", "mixed", (*diphone, *hts), 1_000),
        ("espeak-word", "word", training_voices("espeak"), 1_000),
        ("flite-word", "word", training_voices("flite"), 1_000),
        ("festival-word", "word", (*diphone, *hts), 1_000),
        ("espeak-unknown", "unknown", training_voices("espeak"), 3_000),
        ("flite-unknown", "unknown", training_voices("flite"), 2_000),
        ("festival-unknown", "unknown", (*diphone, *hts), 1_000),
    ]
    dated = []
    for name, kind, voices, amount in amounts:
        n_shards = max(1, round(amount * size / shard_clips))
        clips = shard_clips if amount * size >= shard_clips / 2 else max(40, round(amount * size))
        for number in range(n_shards):
            recipe = ShardRecipe(f"{name}-{number:03d}", seed, kind, voices, clips)
            dated.append(((number + 0.5) / n_shards, recipe))
    return [recipe for _, recipe in sorted(dated, key=lambda pair: (pair[0], pair[1].name))]


def evaluation_recipes(n_clips: int, seed: int) -> dict[str, ShardRecipe]:
    """The sets of the evaluation, all of held-out sentences: n clips for each kind of voice."""
    engines: tuple[Engine, ...] = ("espeak", "flite", "festival")
    groups = {f"seen {engine}": training_voices(engine) for engine in engines}
    groups |= {f"unseen {name}": voices for name, voices in held_out_voices().items()}
    sets = {}
    for name, voices in groups.items():
        label = name.replace(" ", "-")
        sets[name] = ShardRecipe(f"test-{label}", seed, "sentence", voices, n_clips, True)
        sets[f"unknown, {name}"] = ShardRecipe(
            f"test-unknown-{label}", seed, "unknown", voices, n_clips, True
        )
        sets[f"mixed, {name}"] = ShardRecipe(f"test-mixed-{label}", seed, "mixed", voices, n_clips, True)
    return sets


def _make_and_save(job: tuple[ShardRecipe, Path]) -> tuple[str, int, float]:
    recipe, folder = job
    started = time.monotonic()
    shard = make_shard(recipe)
    save_shard(shard, folder / f"{recipe.name}.npz")
    return recipe.name, len(shard), time.monotonic() - started


def build_corpus(
    recipes: Iterable[ShardRecipe], folder: Path, n_jobs: int, say: Callable[[str], None] = print
) -> None:
    """Make the shards that are not in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    write_phonemes(folder)
    jobs = [(recipe, folder) for recipe in recipes if not (folder / f"{recipe.name}.npz").exists()]
    with multiprocessing.Pool(n_jobs) as pool:
        for number, (name, n_clips, seconds) in enumerate(pool.imap(_make_and_save, jobs), 1):
            say(f"corpus {number}/{len(jobs)}: {name}, {n_clips} clips in {seconds:.0f} s")


def write_phonemes(folder: Path) -> None:
    """Keep the pronunciation of every word the corpus may use beside it, as JSON."""
    path = folder / "phonemes.json"
    if path.exists():
        return
    groups: Sequence[Sequence[str]] = (*unknown_words(False), *unknown_words(True), mini_world.spoken_words())
    words = tuple(sorted({word for group in groups for word in group}))
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(pronounce(words), ensure_ascii=False, indent=0))
    os.replace(partial, path)
