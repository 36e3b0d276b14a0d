from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio2img.diffusion.noise import initial_latents
from audio2img.diffusion.schedulers import (
    SCHEDULER_NAMES,
    Scheduler,
    SchedulerConfig,
    cumulative_alphas,
    make_scheduler,
    refuse_unsupported,
)
from audio2img.errors import ModelError, UsageError

PREDICTIONS = ("epsilon", "v_prediction")

# Made with diffusers 0.42 and torch 2.13; `new` is the class named in our docstring, with
# clip_sample=False, set_alpha_to_one=False, skip_prk_steps=True where it has these, `k` use_karras_sigmas:
#   s = new(num_train_timesteps=1000, beta_start=.00085, beta_end=.012, beta_schedule="scaled_linear",
#           steps_offset=1, prediction_type=p, use_karras_sigmas=k); s.set_timesteps(6)
#   rs = np.random.RandomState(42)  # also gives euler-a its noise, four numbers a step
#   x = torch.tensor(rs.standard_normal(4), dtype=torch.float32) * s.init_noise_sigma
#   for t in s.timesteps: x = s.step(torch.sin(s.scale_model_input(x, t) + t / 300), t, x).prev_sample
GOLDEN = {
    ("dpmpp-2m", "epsilon", False): [14.0865, -3.54653, 15.9617, 27.0127],
    ("dpmpp-2m", "epsilon", True): [14.2545, -5.18167, 19.3157, 22.8931],
    ("dpmpp-2m", "v_prediction", False): [-0.314661, -0.582058, -0.208156, 1.3192],
    ("dpmpp-2m", "v_prediction", True): [-0.294249, -0.509327, -0.19042, 1.40963],
    ("euler", "epsilon", False): [14.7648, -3.19098, 17.3372, 28.2393],
    ("euler", "epsilon", True): [14.9075, -4.40619, 19.6143, 26.3454],
    ("euler", "v_prediction", False): [-0.2613, -0.600772, -0.127337, 1.27467],
    ("euler", "v_prediction", True): [-0.152964, -0.597317, 0.0038569, 1.2955],
    ("euler-a", "epsilon", False): [15.1935, -7.13056, 20.7097, 40.01],
    ("euler-a", "v_prediction", False): [-0.73382, -0.663792, -0.786443, -0.833305],
    ("ddim", "epsilon", False): [4.54755, -2.60675, 6.38329, 11.9449],
    ("ddim", "v_prediction", False): [-0.276566, -0.599306, -0.160734, 1.13493],
    ("pndm", "epsilon", False): [4.99108, -3.06558, 6.8731, 10.5051],
    ("pndm", "v_prediction", False): [-0.126477, -0.511632, -0.00474251, 0.770522],
}


@pytest.mark.parametrize(("name", "prediction", "karras"), GOLDEN)
def test_golden_walks(name: str, prediction: Any, karras: bool) -> None:
    config = SchedulerConfig(prediction_type=prediction, use_karras_sigmas=karras)
    scheduler = make_scheduler(name, 6, config, seed=42)
    x = initial_latents(42, (4,)) * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        x = scheduler.step(np.sin(scheduler.scale_input(x, i) + t / 300), i, x)
    np.testing.assert_allclose(x, GOLDEN[name, prediction, karras], rtol=2e-5)


def alpha_bar_at(config: SchedulerConfig, timestep: float) -> float:
    """alpha_bar between training timesteps, through sigma as the schedulers interpolate it."""
    alphas = cumulative_alphas(config).astype(np.float64)
    sigma = np.interp(timestep, np.arange(len(alphas)), np.sqrt((1 - alphas) / alphas))
    return float(1 / (1 + sigma**2))


def walk_gaussian(
    scheduler: Scheduler,
    config: SchedulerConfig,
    start: np.ndarray,
    mean: float,
    std: float,
    calls: int | None = None,
) -> Any:
    """The walk with the best possible model of data that is N(mean, std**2) in every number.

    start: unit noise; calls: how many model calls to make, None for all.
    The expected noise of x = a x0 + s n is s (x - a mean) / (a^2 std^2 + s^2).
    """
    x = (start * scheduler.init_noise_sigma).astype(np.float32)
    for i, timestep in enumerate(scheduler.timesteps[:calls]):
        shown = scheduler.scale_input(x, i)
        a = math.sqrt(alpha_bar_at(config, float(timestep)))
        s = math.sqrt(1 - a * a)
        noise = s * (shown - a * mean) / (a * a * std * std + s * s)
        x0 = (shown - s * noise) / a
        prediction = a * noise - s * x0 if config.prediction_type == "v_prediction" else noise
        x = scheduler.step(prediction.astype(np.float32), i, x)
    return x


EXACT = [
    (name, spacing, prediction)
    for name in SCHEDULER_NAMES
    for spacing in ("linspace", "leading", "trailing")
    for prediction in PREDICTIONS
    # PNDM averages predictions of different times, and its stride is not linspace's.
    if name != "pndm" or (spacing != "linspace" and prediction == "epsilon")
]


@pytest.mark.parametrize("steps", [1, 2, 5, 25])
@pytest.mark.parametrize(("name", "spacing", "prediction"), EXACT)
def test_data_that_is_one_point_is_found(name: str, spacing: Any, prediction: Any, steps: int) -> None:
    # With only one possible picture every step is exact, whatever the method or the stride.
    config = SchedulerConfig(prediction_type=prediction, timestep_spacing=spacing, set_alpha_to_one=True)
    start = initial_latents(3, (50,))
    found = walk_gaussian(make_scheduler(name, steps, config, seed=3), config, start, mean=0.7, std=0.0)
    np.testing.assert_allclose(found, 0.7, atol=2e-4)


def gaussian_error(name: str, steps: int) -> float:
    """How far the walk is from the exact flow of N(0, 0.5**2) data at timestep 499, relative to it."""
    std, start = 0.5, initial_latents(3, (50,))
    config = SchedulerConfig(timestep_spacing="trailing")
    scheduler = make_scheduler(name, steps, config)
    calls = steps // 2 + (name == "pndm")
    assert scheduler.timesteps[calls] == 499
    shown = scheduler.scale_input(walk_gaussian(scheduler, config, start, 0.0, std, calls), calls)
    first = scheduler.scale_input(start * scheduler.init_noise_sigma, 0)
    deviation = {t: math.sqrt(alpha_bar_at(config, t) * (std**2 - 1) + 1) for t in (499, 999)}
    return float(np.abs(shown / first * deviation[999] / deviation[499] - 1).max())


@pytest.mark.parametrize(("name", "least_gain"), [("euler", 1.8), ("ddim", 1.8), ("dpmpp-2m", 2.6)])
def test_more_steps_come_closer_to_the_exact_flow(name: str, least_gain: float) -> None:
    # First order halves its error with twice the steps; second order does better.
    errors = [gaussian_error(name, steps) for steps in (10, 20, 40)]
    assert errors[0] / errors[1] > least_gain
    assert errors[1] / errors[2] > least_gain


def test_higher_order_comes_closer_at_the_same_steps() -> None:
    assert gaussian_error("dpmpp-2m", 20) < gaussian_error("ddim", 20) / 3
    assert gaussian_error("pndm", 20) < gaussian_error("dpmpp-2m", 20) / 3


@given(
    name=st.sampled_from(SCHEDULER_NAMES),
    steps=st.integers(1, 1000),
    spacing=st.sampled_from([None, "linspace", "leading", "trailing"]),
    karras=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_timesteps_are_the_models_and_descend(name: str, steps: int, spacing: Any, karras: bool) -> None:
    config = SchedulerConfig(timestep_spacing=spacing, use_karras_sigmas=karras)
    try:
        scheduler = make_scheduler(name, steps, config)
    except UsageError:
        assert steps >= 500  # only walks with nearly every timestep may be refused
        return
    timesteps = scheduler.timesteps
    assert timesteps.dtype == np.float32
    assert len(timesteps) == steps + (name == "pndm" and steps > 1)
    assert timesteps.max() <= 999
    assert timesteps.min() >= 0
    assert np.all(np.diff(timesteps) <= 0)
    assert math.isfinite(scheduler.init_noise_sigma)


def test_trailing_never_adds_a_step_by_rounding() -> None:
    # np.arange(1000, 0, -1000 / 61) has 62 points in floating point, the last at timestep -1.
    assert len(make_scheduler("ddim", 61, SchedulerConfig(timestep_spacing="trailing")).timesteps) == 61


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_a_scheduler_can_walk_again(name: str) -> None:
    scheduler = make_scheduler(name, 5, SchedulerConfig(), seed=9)
    start = initial_latents(9, (2, 3)) * scheduler.init_noise_sigma

    def walk() -> Any:
        x = start
        for i in range(len(scheduler.timesteps)):
            x = scheduler.step(np.cos(scheduler.scale_input(x, i)), i, x)
        return x

    np.testing.assert_array_equal(walk(), walk())


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_calls_out_of_order_are_refused(name: str) -> None:
    scheduler = make_scheduler(name, 5, SchedulerConfig())
    x = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="step 2 of"):
        scheduler.step(x, 2, x)
    with pytest.raises(ValueError, match="step 1 of"):
        scheduler.step(x, 1, x)


def test_only_the_ancestral_scheduler_depends_on_its_seed() -> None:
    def walk(name: str, seed: int) -> Any:
        scheduler = make_scheduler(name, 4, SchedulerConfig(), seed=seed)
        x = np.ones(5, np.float32)
        for i in range(len(scheduler.timesteps)):
            x = scheduler.step(scheduler.scale_input(x, i), i, x)
        return x.tolist()

    assert {name for name in SCHEDULER_NAMES if walk(name, 1) != walk(name, 2)} == {"euler-a"}


def test_an_unknown_name_lists_the_choices() -> None:
    with pytest.raises(UsageError) as caught:
        make_scheduler("heun", 20, SchedulerConfig())
    assert "'heun'" in caught.value.message
    assert all(name in caught.value.remedy for name in SCHEDULER_NAMES)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(UsageError, match="steps"):
        make_scheduler("ddim", steps, SchedulerConfig())


def test_config_reads_what_diffusers_writes() -> None:
    written = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.42.0",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "trained_betas": None,
        "lambda_min_clipped": -math.inf,
    }
    config = SchedulerConfig.from_dict(written)
    assert config == SchedulerConfig(prediction_type="v_prediction", timestep_spacing="leading")


REFUSED = ("trained_betas", "thresholding", "rescale_betas_zero_snr", "timestep_type")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trained_betas", [0.1]),
        ("thresholding", True),
        ("rescale_betas_zero_snr", True),
        ("prediction_type", "sample"),
        ("beta_schedule", "squaredcos_cap_v2"),
        ("timestep_spacing", "log"),
        ("num_train_timesteps", "1000"),
        ("num_train_timesteps", 0),
        ("steps_offset", -1),
        ("beta_end", math.nan),
        ("use_karras_sigmas", 1),
        ("timestep_type", "continuous"),
    ],
)
def test_config_refuses_what_it_cannot_honour(key: str, value: object) -> None:
    refuse = refuse_unsupported if key in REFUSED else SchedulerConfig.from_dict
    with pytest.raises(ModelError, match=key):
        refuse({key: value})
