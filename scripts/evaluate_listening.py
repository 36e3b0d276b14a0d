"""How well the end of speech is found, on built cases: `python -m scripts.evaluate_listening --silero FILE`.

Cases are sentences of every synthesizer, half of them with pauses of .3 to 1 s, in white, pink and
speech-shaped noise, hum and music at 0 to 30 dB, or in quiet. Needs what train_mini_whisper needs.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from audio2img.audio.vad import FRAME_SAMPLES, Detector, Endpointer, make_detector
from scripts.mini.listening_cases import BACKGROUNDS, Case, build_cases

TOLERANCE_S = 0.3


def find_utterance(detector: Detector, case: Case) -> Endpointer:
    """What the detector and the endpointer make of a case."""
    detector.reset()
    endpointer = Endpointer()
    for start in range(0, len(case.samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        if endpointer.feed(detector.hear(case.samples[start : start + FRAME_SAMPLES])) == "ended":
            break
    return endpointer


def measure(detector: Detector, cases: list[Case]) -> dict[str, float]:
    """Percent of cases whose start and end are right within TOLERANCE_S, and of those not cut inside."""
    starts, ends, whole = [], [], []
    for case in cases:
        found = find_utterance(detector, case)
        start_s = -np.inf if found.start_s is None else found.start_s
        has_ended = found.state == "ended" and found.end_s is not None
        end_s = found.end_s if has_ended and found.end_s is not None else np.inf
        starts.append(abs(start_s - case.start_s) <= TOLERANCE_S)
        ends.append(abs(end_s - case.end_s) <= TOLERANCE_S)
        whole.append(end_s >= case.end_s - TOLERANCE_S)
    shares = {"start": starts, "end": ends, "not cut": whole}
    return {name: round(100 * float(np.mean(values)), 1) for name, values in shares.items()}


@click.command(context_settings={"show_default": True})
@click.option("-n", "n", type=int, default=240)
@click.option("--seed", type=int, default=1)
@click.option("--silero", type=click.Path(path_type=Path, exists=True), help="Silero VAD ggml file.")
def main(n: int, seed: int, silero: Path | None) -> None:
    """Print the figures as JSON: of the energy gate, and of Silero VAD where its file is given."""
    cases = build_cases(n, seed)
    detectors = {"gate": make_detector(None)} | ({"silero": make_detector(silero)} if silero else {})
    results = {
        name: {
            "all": measure(detector, cases),
            **{
                kind: measure(detector, [case for case in cases if case.background == kind])
                for kind in BACKGROUNDS
            },
        }
        for name, detector in detectors.items()
    }
    click.echo(json.dumps({"n": len(cases), **results}, indent=2))


if __name__ == "__main__":
    main()
