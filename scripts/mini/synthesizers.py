"""Debian's speech synthesizers, driven from Python: espeak-ng, flite and festival.

`speak(texts, voice, rng)` gives one clip per text, each with prosody of its own drawn
from `rng`. Needs the Debian packages espeak-ng, flite, festival, festvox-kallpc16k,
festvox-kdlpc16k and festvox-us-slt-hts.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
SYNTHESIS_TIMEOUT_S = 60.0

Engine = Literal["espeak", "flite", "festival"]

ESPEAK_ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-us-nyc", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
ESPEAK_VARIANTS = (
    "f1", "f2", "f4", "f5", "m1", "m2", "m3", "m4", "m6", "m7", "m8", "klatt", "klatt3", "klatt4",
    "klatt5", "klatt6", "Alex", "Alicia", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique",
    "Hugo", "Jacky", "Lee", "Marco", "Mario", "Mike", "Nguyen", "RicishayMax2", "RicishayMax3", "Storm",
    "Tweaky", "adam", "anika", "announcer", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb",
    "david", "ed", "edward", "edward2", "grandma", "grandpa", "gustave", "iven", "iven2", "iven3", "john",
    "kaukovalta", "linda", "marcelo", "max", "michel", "miguel", "norbert", "pablo", "paul", "pedro",
    "quincy", "rob", "robert", "robosoft2", "sandro", "shelby", "steph", "steph2", "travis", "victor",
    "whisper", "zac",
)  # fmt: skip
HELD_OUT_ESPEAK_VARIANTS = ("f3", "m5", "klatt2", "Michael", "Andrea", "RicishayMax", "steph3", "iven4")
HELD_OUT_ESPEAK_ACCENT = "en-gb-scotland"
FLITE_MEAN_F0_HZ = {"slt": 170.0, "rms": 100.0, "awb": 130.0, "kal": 105.0, "kal16": 105.0}
FESTIVAL_HTS_VOICE = "cmu_us_slt_arctic_hts"


@dataclass(frozen=True)
class Voice:
    """One voice of one synthesizer, by the name the synthesizer knows it under."""

    engine: Engine
    name: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"


def training_voices(engine: Engine) -> tuple[Voice, ...]:
    """The voices of an engine that the training may hear."""
    if engine == "espeak":
        named = [f"{accent}+{variant}" for accent in ESPEAK_ACCENTS for variant in ESPEAK_VARIANTS]
        return tuple(Voice(engine, name) for name in [*ESPEAK_ACCENTS, *named])
    names = ("slt", "awb", "kal", "kal16") if engine == "flite" else ("kal_diphone", FESTIVAL_HTS_VOICE)
    return tuple(Voice(engine, name) for name in names)


def held_out_voices() -> dict[str, tuple[Voice, ...]]:
    """Voices that no training hears, in groups that are measured apart.

    Two are whole voices of other speakers (flite rms, festival ked); the espeak groups are
    speaker variants and an accent.
    """
    return {
        "flite rms": (Voice("flite", "rms"),),
        "festival ked": (Voice("festival", "ked_diphone"),),
        "espeak variants": tuple(
            Voice("espeak", f"{accent}+{variant}")
            for accent in ESPEAK_ACCENTS
            for variant in HELD_OUT_ESPEAK_VARIANTS
        ),
        "espeak scotland": tuple(
            Voice("espeak", f"{HELD_OUT_ESPEAK_ACCENT}+{variant}") for variant in ESPEAK_VARIANTS
        ),
    }


def missing_programs() -> tuple[str, ...]:
    """The synthesizer programs that are not on this machine."""
    return tuple(name for name in ("espeak-ng", "flite", "festival") if shutil.which(name) is None)


def speak(texts: Sequence[str], voice: Voice, rng: random.Random) -> list[NDArray[np.float32] | None]:
    """Each text spoken: (n,) float32 in [-1, 1] at 16 kHz, or None where the synthesizer gave nothing."""
    if voice.engine == "espeak":
        return [_speak_espeak(text, voice.name, rng) for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        if voice.engine == "flite":
            return [_speak_flite(text, voice.name, rng, Path(folder) / "clip.wav") for text in texts]
        return _speak_festival(texts, voice.name, rng, Path(folder))


def read_riff(content: bytes) -> NDArray[np.float32] | None:
    """The samples of a 16-bit mono RIFF file at 16 kHz, (n,) float32; None if there are none.

    Read by hand, since espeak-ng writes a length of 2 GB into the header of a stream.
    """
    start = content.find(b"data")
    if content[:4] != b"RIFF" or start < 0:
        return None
    rate = int.from_bytes(content[24:28], "little")
    payload = content[start + 8 :]
    samples: NDArray[np.float32] = np.frombuffer(payload[: len(payload) // 2 * 2], "<i2") * np.float32(
        1 / 32768
    )
    if not len(samples):
        return None
    if rate == SAMPLE_RATE:
        return samples
    resampled: NDArray[np.float32] = soxr.resample(samples, rate, SAMPLE_RATE, quality="MQ")
    return resampled


def _run(command: Sequence[str]) -> bytes:
    return subprocess.run(command, capture_output=True, timeout=SYNTHESIS_TIMEOUT_S, check=False).stdout


def _speak_espeak(text: str, name: str, rng: random.Random) -> NDArray[np.float32] | None:
    options = ["-s", str(rng.randint(110, 210)), "-p", str(rng.randint(20, 80))]
    options += ["-g", str(rng.choice((0, 0, 0, 1, 2, 5)))]
    return read_riff(_run(["espeak-ng", "-v", name, *options, "--stdout", text]))


def _speak_flite(text: str, name: str, rng: random.Random, path: Path) -> NDArray[np.float32] | None:
    mean_f0 = FLITE_MEAN_F0_HZ[name] * rng.uniform(0.8, 1.3)
    options = ["--setf", f"int_f0_target_mean={mean_f0:.1f}"]
    options += ["--setf", f"int_f0_target_stddev={rng.uniform(6, 30):.1f}"]
    options += ["--setf", f"duration_stretch={rng.uniform(0.78, 1.3):.3f}"]
    path.unlink(missing_ok=True)
    _run(["flite", "-voice", name, *options, "-t", text, "-o", str(path)])
    return read_riff(path.read_bytes()) if path.exists() else None


def _speak_festival(
    texts: Sequence[str], name: str, rng: random.Random, folder: Path
) -> list[NDArray[np.float32] | None]:
    """One festival process for all texts: its start costs more than a sentence."""
    script = [f"(voice_{name})"]
    paths = [folder / f"{number}.wav" for number in range(len(texts))]
    for text, path in zip(texts, paths, strict=True):
        if name == FESTIVAL_HTS_VOICE:
            parameters = f'(list (list "-r" {rng.uniform(0.75, 1.25):.3f}))'
            script.append(
                f"(set! hts_engine_params (append {FESTIVAL_HTS_VOICE}::hts_engine_params {parameters}))"
            )
        else:
            f0 = f"(target_f0_mean {rng.uniform(85, 160):.0f}) (target_f0_std {rng.uniform(6, 26):.0f})"
            script.append(f"(set! int_lr_params '({f0} (model_f0_mean 170) (model_f0_std 34)))")
            script.append(f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.25):.3f})")
        script.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}" \'riff)')
    script_path = folder / "speak.scm"
    script_path.write_text("\n".join(script))
    _run(["festival", "-b", str(script_path)])
    return [read_riff(path.read_bytes()) if path.exists() else None for path in paths]
