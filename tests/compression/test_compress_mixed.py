"""Mixed bits: the search by itself, and on real models."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio2img.backends.coreml.bundle import load_bundle
from audio2img.compression import rig as rig_module
from audio2img.compression.drawing import Recorder, draw, make_probes, psnr_db
from audio2img.compression.job import compress
from audio2img.compression.package import Writer
from audio2img.compression.program import find_weights
from audio2img.compression.progress import Count
from audio2img.compression.rig import open_rig
from audio2img.compression.search import (
    BitStep,
    Choice,
    find_smallest,
    find_steps,
    mean_db,
    plan_after,
)
from audio2img.compression.sensitivity import Trial, run_trials, save_calls
from audio2img.compression.source import CompressionWishes
from audio2img.errors import MachineError, UsageError
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.reference import ReferenceModel

PROMPT = ("a red house under a yellow moon",)
Rows = dict[tuple[str, str], list[Choice]]


def ignore(label: str, done: float) -> None:
    assert 0 <= done <= 1


def make_rows(errors: Sequence[Sequence[float]], sizes: Sequence[int]) -> Rows:
    """A weight for each row of errors (at 8, 4 and 2 bits) and size (at 16)."""
    return {
        ("unet", f"weight{index}"): [
            Choice(None, 16 * size, 0.0),
            *(Choice(b, b * size, error) for b, error in zip((8, 4, 2), row, strict=True)),
        ]
        for index, (row, size) in enumerate(zip(errors, sizes, strict=True))
    }


def size_after(choices: Rows, steps: Sequence[BitStep]) -> int:
    """The bytes of all weights after `steps`."""
    sizes = {name: max(choice.size_bytes for choice in row) for name, row in choices.items()}
    sizes.update({step.name: step.choice.size_bytes for step in steps})
    return sum(sizes.values())


rows_of_errors = st.lists(st.tuples(*[st.floats(0, 1e3, width=32)] * 3), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(errors=rows_of_errors, sizes=st.lists(st.integers(1, 1000), min_size=4, max_size=4))
def test_no_other_plan_is_smaller_and_nearer(errors: list[tuple[float, ...]], sizes: list[int]) -> None:
    rows = make_rows(errors, sizes[: len(errors)])
    steps = find_steps(rows)
    every = [
        (sum(choice.size_bytes for choice in plan), sum(choice.error for choice in plan))
        for plan in itertools.product(*rows.values())
    ]
    for n_steps in range(len(steps) + 1):
        chosen = {name: row[0] for name, row in rows.items()}
        chosen.update({step.name: step.choice for step in steps[:n_steps]})
        error = sum(choice.error for choice in chosen.values())
        size = size_after(rows, steps[:n_steps])
        assert size == sum(choice.size_bytes for choice in chosen.values())
        better = [one for one in every if one[0] <= size and one[1] < error * (1 - 1e-9) - 1e-9]
        assert not better


@settings(max_examples=60, deadline=None)
@given(errors=rows_of_errors, wished=st.floats(0, 60))
def test_the_search_keeps_what_was_wished_for(errors: list[tuple[float, ...]], wished: float) -> None:
    rows = make_rows(errors, [100] * len(errors))
    steps = find_steps(rows)

    def signal(taken: Sequence[BitStep]) -> float:
        last = {step.name: step.choice.error for step in taken}
        total = sum(last.values())
        return -10 * math.log10(total / 1e4) if total else math.inf

    kept = find_smallest(steps, signal, wished)
    assert signal(kept) >= wished
    prefixes = [n for n in range(len(steps) + 1) if signal(steps[:n]) >= wished]
    # The signal falls with every step here, so bisection finds the last step that is good enough.
    assert size_after(rows, kept) <= size_after(rows, steps[: max(prefixes)])


def test_one_weight_does_not_hold_up_the_others() -> None:
    """A weight that looks harmless alone and is not: it stays, the rest goes on."""
    rows = make_rows([(1, 2, 4)] * 12, [100] * 12)
    steps = find_steps(rows)

    def signal(taken: Sequence[BitStep]) -> float:
        return 10.0 if any(step.name[1] == "weight3" for step in taken) else 50.0

    kept = find_smallest(steps, signal, 40)
    plan = plan_after(kept)["unet"]
    assert "weight3" not in plan
    assert len(plan) == 11
    assert set(plan.values()) == {2}


def test_nothing_can_be_taken() -> None:
    steps = find_steps(make_rows([(1, 2, 4)] * 3, [10] * 3))
    assert find_smallest(steps, lambda taken: 1.0, 40) == []


def test_psnr_is_that_of_the_definition() -> None:
    reference = np.array([0.0, 2.0, -4.0, 1.0], np.float32)
    assert psnr_db(reference, reference) == math.inf
    assert psnr_db(reference, reference + 0.4) == pytest.approx(20, abs=1e-5)
    picture = np.zeros((2, 2, 3), np.uint8)
    assert psnr_db(picture, picture + 1, 255.0) == pytest.approx(48.1308, abs=1e-4)
    assert mean_db([math.inf, 40.0]) == 80.0


class Echo:
    def predict(self, inputs: Any) -> Any:
        return dict(inputs)


def test_the_recorder_picks_from_all_scenes_and_times() -> None:
    recorder = Recorder(Echo())
    for call in range(80):
        recorder.predict({"call": np.array(call)})
    picked = [int(call["call"]) for call in recorder.pick(4)]
    assert [call // 20 for call in picked] == [0, 1, 2, 3]  # a probe has 20 calls
    assert len({call % 20 for call in picked}) == 4
    assert len(recorder.pick(100)) == 80


@pytest.fixture(scope="module")
def text_encoder(mini_bundle: Path) -> Package:
    return Package(next(mini_bundle.glob("*_text_encoder.mlpackage")))


def test_trials_are_not_run_twice(text_encoder: Package, tmp_path: Path) -> None:
    names = list(find_weights(text_encoder.load_function()))[:3]
    ids = np.random.default_rng(0).integers(0, 600, (2, 1, 77)).astype(np.float32)
    save_calls(tmp_path / "calls.npz", [{"input_ids": one} for one in ids])
    trials = [
        Trial("text_encoder", name, bits, text_encoder.path, tmp_path / "calls.npz")
        for name in names
        for bits in (2, 4)
    ]
    seen: list[float] = []

    def run(chosen: list[Trial]) -> Any:
        seen.clear()
        count = Count(lambda label, done: seen.append(done), "trying", len(chosen))
        return run_trials(chosen, tmp_path / "trials.jsonl", 1, count)

    first = run(trials[:4])
    assert seen == [0, 0, 1 / 4, 2 / 4, 3 / 4, 1]
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('["text_encoder", "cut o')  # as a power cut leaves it
    second = run(trials)
    assert seen == [0, 4 / 6, 5 / 6, 1]
    assert first.items() <= second.items()
    for name in names:
        two, four = (second["text_encoder", name, bits] for bits in (2, 4))
        assert 1e-10 < four < two < 0.3


def mixed(mini_bundle: Path, dest: Path, min_psnr_db: float, part: str = "text_encoder") -> Any:
    options = CompressionWishes(min_psnr_db=min_psnr_db, parts=(part,), prompts=PROMPT, n_workers=1)
    return compress(mini_bundle, dest, options, ignore)


@pytest.mark.slow
def test_mixed_bits_keep_their_promise(mini_bundle: Path, tmp_path: Path) -> None:
    results = [mixed(mini_bundle, tmp_path / f"at{wished}", wished) for wished in (25, 35)]
    for wished, result in zip((25, 35), results, strict=True):
        assert result.latents_db >= wished
        assert result.size_after < result.size_before
        bundle = load_bundle(tmp_path / f"at{wished}")
        models = {name: ReferenceModel(Package(part.path)) for name, part in bundle.parts.items()}
        (after,) = draw(bundle, models, make_probes(PROMPT), lambda: None)
        (probe,) = result.probes
        assert psnr_db(probe.before.latents, after.latents) == probe.latents_db
    assert results[0].average_bits < results[1].average_bits < 8
    treatments = {layer.treatment for layer in results[1].parts[0].layers}
    assert len(treatments) > 1
    report = json.loads((tmp_path / "at25/compression/report.json").read_text())
    assert report["wished_db"] == 25
    assert report["latents_db"] == pytest.approx(results[0].latents_db, abs=1e-3)
    assert (tmp_path / "at25/compression/before_after.png").stat().st_size > 10_000


@pytest.mark.slow
def test_on_a_mac_large_models_are_measured_by_core_ml(
    mini_bundle: Path,
    tmp_path: Path,
    core_ml_stand_in: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise MachineError("too large")

    monkeypatch.setattr(rig_module, "ReferenceModel", refuse)
    result = mixed(mini_bundle, tmp_path / "small", 25)
    assert result.runtime == "coreml"
    assert result.latents_db >= 25
    assert result.size_after < result.size_before
    compiled = [name for what, name in core_ml_stand_in if what == "compile"]
    assert sum("text_encoder" in name for name in compiled) > 3  # the original, the trials, the result
    assert list(tmp_path.iterdir()) == [tmp_path / "small"]


@pytest.mark.slow
def test_both_ways_to_measure_agree(
    mini_bundle: Path, tmp_path: Path, core_ml_stand_in: list[tuple[str, str]]
) -> None:
    packages = {part: Package(one.path) for part, one in load_bundle(mini_bundle).parts.items()}
    weights = {part: find_weights(package.load_function()) for part, package in packages.items()}
    rig = open_rig(mini_bundle, packages, make_probes(PROMPT), ignore)
    assert not isinstance(rig, str)
    plan = {"text_encoder": dict.fromkeys(weights["text_encoder"], 4)}
    writer = Writer(packages, weights, tmp_path / "weights", 1, ignore)
    writer.write(plan, tmp_path, "writing")
    count = Count(ignore, "drawing", 3)
    signals = [
        replace(rig, runtime=runtime).try_latents(writer.paths(plan, tmp_path), count)
        for runtime in ("reference", "coreml")
    ]
    assert signals[0] == signals[1]
    assert 10 < signals[0][0] < 60
    assert rig.try_latents({}, count) == [math.inf]
    assert [what for what, _ in core_ml_stand_in].count("compile") == 1


def test_mixed_bits_of_what_cannot_be_drawn_are_refused(mini_bundle: Path, tmp_path: Path) -> None:
    source = tmp_path / "parts"
    source.mkdir()
    package = next(mini_bundle.glob("*_text_encoder.mlpackage"))
    shutil.copytree(package, source / package.name)
    with pytest.raises(MachineError, match="unet") as caught:
        mixed(source, tmp_path / "small", 20)
    assert "--bits 6" in caught.value.remedy
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.slow
def test_too_much_signal_leaves_only_what_costs_nothing(mini_bundle: Path, tmp_path: Path) -> None:
    result = mixed(mini_bundle, tmp_path / "small", 199)
    changed = [layer for layer in result.parts[0].layers if layer.treatment]
    assert changed  # the mask has two values, and loses nothing at 2 bits
    assert all(math.isinf(layer.snr_db) for layer in changed)
    with pytest.raises(UsageError, match="199 dB") as caught:
        mixed(tmp_path / "small", tmp_path / "smaller", 199)
    assert "--min-psnr" in caught.value.remedy
    assert not (tmp_path / "smaller").exists()


def test_mixed_bits_for_a_part_without_latents_are_refused(mini_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vae decoder"):
        mixed(mini_bundle, tmp_path / "small", 30, "vae_decoder")
