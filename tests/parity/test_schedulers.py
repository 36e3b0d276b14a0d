"""Our NumPy schedulers against diffusers' classes, whole trajectories with the same model function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audio2img.diffusion.noise import NoiseStream, initial_latents
from audio2img.diffusion.schedulers import SchedulerConfig, cumulative_alphas, make_scheduler, skipped_steps

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

SEED = 7
SHAPE = (1, 4, 8, 8)
TOLERANCE = 1e-5  # of the latents' own largest value; 1e-4 is what is promised
TRAINED = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
SPACINGS = ("linspace", "leading", "trailing")
STEPS = (1, 2, 3, 4, 10, 20, 50)
PREDICTIONS = ("epsilon", "v_prediction")

CLASSES = {
    "dpmpp-2m": diffusers.DPMSolverMultistepScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler-a": diffusers.EulerAncestralDiscreteScheduler,
    "ddim": diffusers.DDIMScheduler,
    "pndm": diffusers.PNDMScheduler,
}

_MIX = np.random.RandomState(0).standard_normal((SHAPE[1], SHAPE[1])).astype(np.float32) / 2


def fake_model(sample: np.ndarray, timestep: float) -> np.ndarray:
    """A smooth, nonlinear function of the sample and the time, of about unit size: (1, 4, 8, 8) float32."""
    mixed = np.einsum("oc,bchw->bohw", _MIX, sample).astype(np.float32)
    return np.sin(mixed + np.float32(timestep / 300)).astype(np.float32) + np.float32(0.3) * sample


def walk_ours(name: str, steps: int, config: SchedulerConfig) -> list[np.ndarray]:
    scheduler = make_scheduler(name, steps, config, seed=SEED)
    sample = initial_latents(SEED, SHAPE) * scheduler.init_noise_sigma
    samples = [sample]
    for i, timestep in enumerate(scheduler.timesteps):
        prediction = fake_model(scheduler.scale_input(sample, i), float(timestep))
        sample = scheduler.step(prediction, i, sample)
        assert sample.dtype == np.float32
        samples.append(sample)
    return samples


def walk_theirs(scheduler: Any, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # otherwise a repeated first timestep makes it skip a sigma
    stream = NoiseStream(SEED)
    start = torch.from_numpy(stream.draw(SHAPE))
    module = type(scheduler).__module__
    if "ancestral" in module:
        monkeypatch.setattr(
            f"{module}.randn_tensor", lambda shape, **_: torch.from_numpy(stream.draw(tuple(shape)))
        )
    sample = start * scheduler.init_noise_sigma
    samples = [sample.numpy()]
    for timestep in scheduler.timesteps:
        shown = scheduler.scale_model_input(sample, timestep).numpy()
        prediction = torch.from_numpy(fake_model(shown, float(timestep)))
        sample = scheduler.step(prediction, timestep, sample).prev_sample
        samples.append(sample.numpy())
    return samples


def assert_same_walk(
    name: str, steps: int, theirs: Any, config: SchedulerConfig, mp: pytest.MonkeyPatch
) -> None:
    expected = walk_theirs(theirs, steps, mp)
    actual = walk_ours(name, steps, config)
    assert len(actual) == len(expected)
    np.testing.assert_allclose(
        make_scheduler(name, steps, config).timesteps, theirs.timesteps.numpy(), rtol=1e-5, atol=1e-3
    )
    for mine, other in zip(actual, expected, strict=True):
        assert np.all(np.isfinite(other))
        assert np.abs(mine - other).max() <= TOLERANCE * max(1.0, np.abs(other).max())


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"final_sigmas_type": "sigma_min"},
        {"euler_at_final": True, "final_sigmas_type": "sigma_min"},
        {"lower_order_final": False},
        {"use_karras_sigmas": True},
        {"steps_offset": 0},
    ],
    ids=lambda extra: "-".join(extra) or "plain",
)
def test_dpm_solver_multistep(
    prediction: str, steps: int, spacing: str, extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        **TRAINED,
        "steps_offset": 1,
        "prediction_type": prediction,
        "timestep_spacing": spacing,
        **extra,
    }
    theirs = diffusers.DPMSolverMultistepScheduler(**settings)
    assert_same_walk("dpmpp-2m", steps, theirs, SchedulerConfig.from_dict(settings), monkeypatch)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    "extra",
    [{}, {"use_karras_sigmas": True}, {"final_sigmas_type": "sigma_min"}],
    ids=lambda e: "-".join(e) or "plain",
)
def test_euler(
    prediction: str, steps: int, spacing: str, extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        **TRAINED,
        "steps_offset": 1,
        "prediction_type": prediction,
        "timestep_spacing": spacing,
        **extra,
    }
    theirs = diffusers.EulerDiscreteScheduler(**settings)
    assert_same_walk("euler", steps, theirs, SchedulerConfig.from_dict(settings), monkeypatch)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_euler_ancestral(prediction: str, steps: int, spacing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**TRAINED, "steps_offset": 1, "prediction_type": prediction, "timestep_spacing": spacing}
    theirs = diffusers.EulerAncestralDiscreteScheduler(**settings)
    assert_same_walk("euler-a", steps, theirs, SchedulerConfig.from_dict(settings), monkeypatch)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    "extra",
    [
        {"set_alpha_to_one": False},
        {"set_alpha_to_one": True},
        {"clip_sample": True, "clip_sample_range": 0.7},
    ],
    ids=lambda extra: "-".join(f"{k}-{v}" for k, v in extra.items()),
)
def test_ddim(
    prediction: str, steps: int, spacing: str, extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        **TRAINED,
        "steps_offset": 1,
        "prediction_type": prediction,
        "timestep_spacing": spacing,
        "clip_sample": False,
        "set_alpha_to_one": False,
        **extra,
    }
    theirs = diffusers.DDIMScheduler(**settings)
    assert_same_walk("ddim", steps, theirs, SchedulerConfig.from_dict(settings), monkeypatch)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("to_one", [False, True])
def test_pndm(
    prediction: str, steps: int, spacing: str, to_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        **TRAINED,
        "steps_offset": 1,
        "prediction_type": prediction,
        "timestep_spacing": spacing,
        "skip_prk_steps": True,
        "set_alpha_to_one": to_one,
    }
    theirs = diffusers.PNDMScheduler(**settings)
    assert_same_walk("pndm", steps, theirs, SchedulerConfig.from_dict(settings), monkeypatch)


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("steps", [8, 20])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", ["dpmpp-2m", "euler", "euler-a", "ddim", "pndm"])
def test_image_to_image(
    name: str, prediction: str, steps: int, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From noise on a picture's latents, as diffusers' image-to-image pipelines count their calls."""
    settings: dict[str, Any] = {**TRAINED, "steps_offset": 1, "prediction_type": prediction}
    own: dict[str, dict[str, Any]] = {"pndm": {"skip_prk_steps": True}, "ddim": {"clip_sample": False}}
    if name in own:
        own[name]["set_alpha_to_one"] = False
    theirs = CLASSES[name](**settings, **own.get(name, {}))
    theirs.set_timesteps(steps)
    begin = max(steps - min(int(steps * strength), steps), 0)
    if hasattr(theirs, "set_begin_index"):
        theirs.set_begin_index(begin)
    timesteps = theirs.timesteps[begin * theirs.order :]
    source = np.random.RandomState(3).standard_normal(SHAPE).astype(np.float32)
    stream = NoiseStream(SEED)
    noise = stream.draw(SHAPE)
    if name == "euler-a":
        module = type(theirs).__module__
        monkeypatch.setattr(
            f"{module}.randn_tensor", lambda shape, **_: torch.from_numpy(stream.draw(tuple(shape)))
        )
    expected = theirs.add_noise(torch.from_numpy(source), torch.from_numpy(noise), timesteps[:1])
    for timestep in timesteps:
        shown = theirs.scale_model_input(expected, timestep).numpy()
        answer = torch.from_numpy(fake_model(shown, float(timestep)))
        expected = theirs.step(answer, timestep, expected).prev_sample

    config = SchedulerConfig.from_dict(settings)
    ours = make_scheduler(name, steps, config, seed=SEED, skip=skipped_steps(steps, strength))
    np.testing.assert_allclose(ours.timesteps, timesteps.numpy(), rtol=1e-5, atol=1e-3)
    sample = ours.add_noise(source, noise)
    for i, timestep in enumerate(ours.timesteps):
        sample = ours.step(fake_model(ours.scale_input(sample, i), float(timestep)), i, sample)
    assert np.abs(sample - expected.numpy()).max() <= TOLERANCE * max(1.0, expected.abs().max())


@pytest.mark.parametrize("schedule", ["scaled_linear", "linear"])
def test_cumulative_alphas(schedule: str) -> None:
    theirs = diffusers.DDIMScheduler(**{**TRAINED, "beta_schedule": schedule}).alphas_cumprod.numpy()
    ours = cumulative_alphas(SchedulerConfig(beta_schedule=schedule))  # type: ignore[arg-type]
    np.testing.assert_allclose(ours, theirs, rtol=2e-7)


@pytest.mark.parametrize(("name", "make"), CLASSES.items())
def test_own_spacing_is_that_of_the_class(name: str, make: Callable[..., Any]) -> None:
    theirs = make(**TRAINED, steps_offset=1, **({"skip_prk_steps": True} if name == "pndm" else {}))
    theirs.set_timesteps(20)
    ours = make_scheduler(name, 20, SchedulerConfig())
    np.testing.assert_allclose(ours.timesteps, theirs.timesteps.numpy(), rtol=1e-6)
    assert math.isclose(ours.init_noise_sigma, float(theirs.init_noise_sigma), rel_tol=1e-6)
