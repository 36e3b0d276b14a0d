"""Samplers of diffusion models in NumPy: from noise to latents, one model call at a time.

Each scheduler follows a published method and gives the numbers of the diffusers class
that people know it by (noted at each class), so a picture does not depend on which
of the two drew it. The loop around one is the same for all:

    scheduler = make_scheduler("dpmpp-2m", 20, config, seed=seed)
    latents = initial_latents(seed, shape) * scheduler.init_noise_sigma
    for i, timestep in enumerate(scheduler.timesteps):
        prediction = unet(scheduler.scale_input(latents, i), timestep, ...)
        latents = scheduler.step(prediction, i, latents)

Image to image leaves out the first steps: `skip` of make_scheduler, and the walk starts at
`scheduler.add_noise(image_latents, noise)` instead.

Letters as in the papers: alpha_bar is the cumulative product of 1 - beta, a noisy sample is
x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise, and sigma = sqrt((1 - alpha_bar) / alpha_bar)
is its ratio of noise to signal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from audio2img.diffusion.noise import NoiseStream
from audio2img.errors import ModelError, UsageError

Floats = NDArray[np.float32]
Spacing = Literal["linspace", "leading", "trailing"]
StreamSeed = tuple[int, int]  # seed, and which of its streams

KARRAS_RHO = 7.0  # Karras et al. 2022 (arXiv 2206.00364), the value of their equation 5
FEW_STEPS = 15  # below this, DPM-Solver++ ends with a first-order step for stability (as diffusers)


@dataclass(frozen=True)
class SchedulerConfig:
    """What a model was trained with, and how its samplers walk; defaults are Stable Diffusion 1.x and 2.x.

    timestep_spacing: None means the scheduler's own habit in diffusers (linspace for the DPM and
        Euler kinds, leading for DDIM and PNDM).
    steps_offset: added to "leading" timesteps. use_karras_sigmas: for dpmpp-2m and euler only.
    final_sigmas_type: where dpmpp-2m and euler end. set_alpha_to_one: where ddim and pndm end
        (True: no noise at all; False: the noise of timestep 0). clip_sample: ddim only.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: Literal["scaled_linear", "linear"] = "scaled_linear"
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon"
    timestep_spacing: Spacing | None = None
    steps_offset: int = 1
    use_karras_sigmas: bool = False
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    lower_order_final: bool = True
    euler_at_final: bool = False
    set_alpha_to_one: bool = False
    clip_sample: bool = False
    clip_sample_range: float = 1.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SchedulerConfig:
        """The configuration in a diffusers `scheduler_config.json`, already parsed.

        Keys that are absent keep this class's defaults, keys that only choose a solver are
        ignored (the solver is chosen by name here), and values of the wrong kind raise
        ModelError. What the schedulers here cannot do `refuse_unsupported` finds.
        """
        defaults = cls()
        known = {name: getattr(defaults, name) for name in cls.__dataclass_fields__}
        taken = {name: values[name] for name in known if values.get(name) is not None}
        for name, value in taken.items():
            _check_setting(name, value, known[name])
        return cls(**taken)


def refuse_unsupported(values: Mapping[str, Any]) -> None:
    """Raises ModelError where a `scheduler_config.json` has settings that change what the model means
    and that no scheduler here has."""
    for key, harmless in _REFUSED_UNLESS.items():
        if values.get(key, harmless) not in (harmless, None):
            raise ModelError(
                f"the model's scheduler settings ask for {key} = {values[key]!r}, which is not supported",
                "choose another model: audio2img models list",
            )


_CHOICES: dict[str, tuple[str, ...]] = {
    "beta_schedule": ("scaled_linear", "linear"),
    "prediction_type": ("epsilon", "v_prediction"),
    "timestep_spacing": ("linspace", "leading", "trailing"),
    "final_sigmas_type": ("zero", "sigma_min"),
}
_REFUSED_UNLESS: dict[str, object] = {
    "trained_betas": None,
    "thresholding": False,
    "rescale_betas_zero_snr": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
    "sigma_min": None,
    "sigma_max": None,
    "timestep_type": "discrete",
    "interpolation_type": "linear",
}


def _check_setting(name: str, value: object, default: object) -> None:
    if name in _CHOICES:
        good = value in _CHOICES[name]
    elif isinstance(default, bool):
        good = isinstance(value, bool)
    elif isinstance(default, int):
        good = isinstance(value, int) and not isinstance(value, bool) and value >= (name != "steps_offset")
    else:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good:
        choices = f" (known: {', '.join(_CHOICES[name])})" if name in _CHOICES else ""
        raise ModelError(
            f"the model's scheduler settings have {name} = {value!r}, which is not understood{choices}",
            "the model's files may be damaged; get the model again",
        )


class Scheduler(Protocol):
    """One walk from noise to latents.

    timesteps: (n,) float32, descending; n model calls, which for PNDM is more than the steps asked for.
    init_noise_sigma: what unit noise is multiplied by before the first call.
    """

    @property
    def timesteps(self) -> Floats: ...

    @property
    def init_noise_sigma(self) -> float: ...

    def scale_input(self, sample: Floats, i: int) -> Floats:
        """What the model is shown of `sample` at call `i`; same shape, float32."""
        ...

    def add_noise(self, latents: Floats, noise: Floats) -> Floats:
        """Where a walk that should end near `latents` starts: these, as noisy as call 0 expects."""
        ...

    def step(self, prediction: Floats, i: int, sample: Floats) -> Floats:
        """The sample after call `i`: same shape, float32.

        prediction: the model's answer (after guidance), of the kind the configuration names.
        Calls go 0, 1, 2, ...; 0 starts a new walk. Raises ValueError out of order.
        """
        ...


def skipped_steps(steps: int, strength: float) -> int:
    """How many of `steps` image-to-image leaves out at a `strength` in [0, 1], as diffusers counts them.

    Raises UsageError for another strength, or one so small that no step is left.
    """
    if not 0 <= strength <= 1:
        raise UsageError(f"the strength {strength} is not between 0 and 1", "try: `strength=0.6`")
    walked = min(int(steps * strength), steps)
    if walked == 0:
        raise UsageError(
            f"with {steps} steps a strength of {strength} leaves nothing to draw",
            f"try: `strength={min(1.0, math.ceil(200 / steps) / 100):g}`",
        )
    return steps - walked


def make_scheduler(
    name: str, steps: int, config: SchedulerConfig, seed: int = 0, index: int = 0, skip: int = 0
) -> Scheduler:
    """The scheduler called `name` (one of SCHEDULER_NAMES) for `steps` steps, the first `skip` left out.

    seed, index: only for "euler-a", whose fresh noise continues the stream of `initial_latents(seed, ...)`
    for the first picture and has a stream of its own for each further one.
    Raises UsageError for an unknown name, or a number of steps that the walk cannot have.
    """
    if name not in _SCHEDULERS:
        raise UsageError(
            f"there is no scheduler called {name!r} here", f"choose from: {', '.join(SCHEDULER_NAMES)}"
        )
    if not 1 <= steps <= config.num_train_timesteps:
        raise UsageError(
            f"{steps} steps cannot be walked; the model knows 1 to {config.num_train_timesteps}",
            "try: `steps=20`",
        )
    return _SCHEDULERS[name](steps, config, (seed, index), skip)


@cache
def cumulative_alphas(config: SchedulerConfig) -> Floats:
    """alpha_bar for every training timestep: (num_train_timesteps,) float32, falling from nearly 1.

    Rounded to float32 at the places where diffusers rounds: 1 - alpha_bar at small timesteps
    is a difference of nearly equal numbers, so the rounding is seen in the picture.
    """
    if config.beta_schedule == "scaled_linear":
        betas = _linspace32(config.beta_start**0.5, config.beta_end**0.5, config.num_train_timesteps) ** 2
    else:
        betas = _linspace32(config.beta_start, config.beta_end, config.num_train_timesteps)
    alphas: Floats = np.cumprod((np.float32(1) - betas).astype(np.float64)).astype(np.float32)
    alphas.flags.writeable = False  # shared by all who ask
    return alphas


def predict_denoised(config: SchedulerConfig, shown: Floats, prediction: Floats, timestep: float) -> Floats:
    """The latents that a model's answer points to.

    shown: what the model was given (of unit variance), of any shape; prediction: its answer.
    """
    alphas = cumulative_alphas(config)
    alpha_bar = float(np.interp(timestep, np.arange(len(alphas)), alphas))
    alpha, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    if config.prediction_type == "v_prediction":
        return shown * alpha - prediction * sigma
    return np.asarray((shown - prediction * sigma) * (1 / alpha), dtype=np.float32)


def _linspace32(start: float, stop: float, count: int) -> Floats:
    """Evenly spaced float32, computed from both ends towards the middle in float32 as PyTorch does."""
    first, last = np.float32(start), np.float32(stop)
    width = np.float32((last - first) / np.float32(max(count - 1, 1)))
    index = np.arange(count)
    up = first + width * index.astype(np.float32)
    down = last - width * (count - 1 - index).astype(np.float32)
    return np.asarray(np.where(index < count // 2, up, down), dtype=np.float32)


def _training_sigmas(config: SchedulerConfig) -> Floats:
    """sigma for every training timestep: (num_train_timesteps,) float32, rising."""
    alphas = cumulative_alphas(config)
    return np.asarray(np.sqrt((np.float32(1) - alphas) / alphas), dtype=np.float32)


def _space_timesteps(
    config: SchedulerConfig, steps: int, spacing: Spacing, *, without_last: bool = False, whole: bool = True
) -> NDArray[np.float64]:
    """`steps` timesteps, descending (Lin et al. 2023, arXiv 2305.08891, table 2).

    without_last: divide the way to timestep 0 into one more step and leave that last one out.
    whole: round linspace timesteps to whole numbers.
    Raises UsageError where a timestep would lie outside the training's.
    """
    total = config.num_train_timesteps
    count = steps + 1 if without_last else steps
    if spacing == "trailing":
        # Floating point can add a point at 0 to the end: only the first `steps` are meant.
        timesteps = np.round(np.arange(total, 0, -total / steps))[:steps] - 1
    elif spacing == "leading":
        timesteps = (np.arange(count) * (total // count))[::-1][:steps].astype(
            np.float64
        ) + config.steps_offset
    else:
        timesteps = np.linspace(0, total - 1, count)[::-1][:steps]
        timesteps = np.round(timesteps) if whole else timesteps
    if timesteps[0] > total - 1:
        raise UsageError(f"{steps} steps are too many for this scheduler's spacing", "try: `steps=20`")
    return timesteps


def _karras_sigmas(low: float, high: float, steps: int) -> NDArray[np.float64]:
    """`steps` sigmas from `high` to `low`, dense at the low end (Karras et al. 2022, equation 5)."""
    ramp = np.linspace(0, 1, steps)
    slow, fast = low ** (1 / KARRAS_RHO), high ** (1 / KARRAS_RHO)
    return np.asarray((fast + ramp * (slow - fast)) ** KARRAS_RHO)


def _sigmas_to_timesteps(sigmas: NDArray[np.float64], training_sigmas: Floats) -> NDArray[np.float64]:
    """Where each sigma lies among the training's, as fractional timesteps; linear in log sigma."""
    return np.interp(np.log(sigmas), np.log(training_sigmas), np.arange(len(training_sigmas)))


def _append_final_sigma(
    config: SchedulerConfig, sigmas: NDArray[np.float64], training_sigmas: Floats
) -> Floats:
    final = float(training_sigmas[0]) if config.final_sigmas_type == "sigma_min" else 0.0
    return np.append(sigmas, final).astype(np.float32)


class _Walk:
    """What all schedulers share: the timesteps, and that the calls come in order."""

    init_noise_sigma = 1.0

    def __init__(self, timesteps: NDArray[np.float64], config: SchedulerConfig) -> None:
        self.timesteps: Floats = timesteps.astype(np.float32)
        self._config = config
        self._next = 0

    def scale_input(self, sample: Floats, i: int) -> Floats:
        return sample

    def add_noise(self, latents: Floats, noise: Floats) -> Floats:
        alpha_bar = float(cumulative_alphas(self._config)[int(self.timesteps[0])])
        return latents * math.sqrt(alpha_bar) + noise * math.sqrt(1 - alpha_bar)

    def _enter(self, i: int) -> None:
        """Note that call `i` is made; 0 starts anew."""
        if i not in (0, self._next) or i >= len(self.timesteps):
            raise ValueError(f"step {i} of {len(self.timesteps)} came where step {self._next} was due")
        self._next = i + 1


class DpmSolverMultistep(_Walk):
    """DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095, algorithm 2), midpoint form.

    diffusers: DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", solver_order=2).
    """

    def __init__(self, steps: int, config: SchedulerConfig, seed: StreamSeed = (0, 0), skip: int = 0) -> None:
        training = _training_sigmas(config)
        if config.use_karras_sigmas:
            sigmas = _karras_sigmas(float(training[0]), float(training[-1]), steps)
            timesteps = np.round(_sigmas_to_timesteps(sigmas, training))
        else:
            timesteps = _space_timesteps(
                config, steps, config.timestep_spacing or "linspace", without_last=True
            )
            sigmas = np.interp(timesteps, np.arange(len(training)), training)
        super().__init__(timesteps[skip:], config)
        self._is_short = steps < FEW_STEPS
        self._sigmas = _append_final_sigma(config, sigmas, training)[skip:]
        if not np.all(np.diff(self._sigmas) < 0):
            raise UsageError(
                f"{steps} steps are too many for dpmpp-2m: two would coincide", "try: `steps=20`"
            )
        self._previous_x0: Floats | None = None

    def add_noise(self, latents: Floats, noise: Floats) -> Floats:
        sigma = float(self._sigmas[0])
        return np.asarray((latents + noise * sigma) * (1 / math.hypot(sigma, 1)), dtype=np.float32)

    def step(self, prediction: Floats, i: int, sample: Floats) -> Floats:
        self._enter(i)
        sigma, target = float(self._sigmas[i]), float(self._sigmas[i + 1])
        x0 = self._predict_x0(prediction, sigma, sample)
        previous, self._previous_x0 = self._previous_x0, x0
        drift = x0
        if i > 0 and previous is not None and not self._ends_first_order(i):
            # lambda = -log sigma is the paper's time; r compares the last stride with this one.
            r = math.log(float(self._sigmas[i - 1]) / sigma) / math.log(sigma / target)
            drift = x0 + (x0 - previous) * (0.5 / r)
        # exp(-h) of the paper is the ratio of the sigmas, which stays finite where the target is 0.
        alpha, target_alpha = 1 / math.hypot(sigma, 1), 1 / math.hypot(target, 1)
        ratio = target / sigma
        return sample * (ratio * target_alpha / alpha) + drift * (target_alpha * (1 - ratio))

    def _predict_x0(self, prediction: Floats, sigma: float, sample: Floats) -> Floats:
        alpha = 1 / math.hypot(sigma, 1)
        if self._config.prediction_type == "v_prediction":
            return sample * alpha - prediction * (sigma * alpha)
        return sample * (1 / alpha) - prediction * sigma

    def _ends_first_order(self, i: int) -> bool:
        config = self._config
        few = config.lower_order_final and self._is_short
        first_order = few or config.euler_at_final or config.final_sigmas_type == "zero"
        return i == len(self.timesteps) - 1 and first_order


class Euler(_Walk):
    """Euler's method on Karras et al.'s ODE (2022, algorithm 2 without churn); samples scaled by 1 / alpha.

    diffusers: EulerDiscreteScheduler.
    """

    def __init__(self, steps: int, config: SchedulerConfig, seed: StreamSeed = (0, 0), skip: int = 0) -> None:
        training = _training_sigmas(config)
        spacing = config.timestep_spacing or "linspace"
        timesteps = _space_timesteps(config, steps, spacing, whole=False)
        sigmas = np.interp(timesteps, np.arange(len(training)), training)
        if self._knows_karras and config.use_karras_sigmas:
            sigmas = _karras_sigmas(float(sigmas[-1]), float(sigmas[0]), steps)
            timesteps = _sigmas_to_timesteps(sigmas, training)
        super().__init__(timesteps[skip:], config)
        all_sigmas = self._finish_sigmas(config, sigmas, training)
        highest = float(all_sigmas.max())
        self._sigmas = all_sigmas[skip:]
        # "leading" does not start at the very top of the noise, so the sample's own unit variance counts.
        self.init_noise_sigma = math.hypot(highest, 1) if spacing == "leading" else highest

    _knows_karras = True

    @staticmethod
    def _finish_sigmas(config: SchedulerConfig, sigmas: NDArray[np.float64], training: Floats) -> Floats:
        return _append_final_sigma(config, sigmas, training)

    def scale_input(self, sample: Floats, i: int) -> Floats:
        return sample * (1 / math.hypot(float(self._sigmas[i]), 1))

    def add_noise(self, latents: Floats, noise: Floats) -> Floats:
        return latents + noise * float(self._sigmas[0])

    def step(self, prediction: Floats, i: int, sample: Floats) -> Floats:
        self._enter(i)
        return sample + self._slope(prediction, i, sample) * float(self._sigmas[i + 1] - self._sigmas[i])

    def _slope(self, prediction: Floats, i: int, sample: Floats) -> Floats:
        """d sample / d sigma: the noise that the prediction says is in the sample."""
        sigma = float(self._sigmas[i])
        if self._config.prediction_type == "v_prediction":
            return sample * (sigma / (sigma**2 + 1)) + prediction * (1 / math.hypot(sigma, 1))
        return prediction


class EulerAncestral(Euler):
    """Euler's method that goes a little too far down and adds fresh noise (k-diffusion's ancestral sampling).

    diffusers: EulerAncestralDiscreteScheduler, which has neither Karras sigmas nor another end than 0.
    """

    _knows_karras = False

    def __init__(self, steps: int, config: SchedulerConfig, seed: StreamSeed = (0, 0), skip: int = 0) -> None:
        super().__init__(steps, config, seed, skip)
        self._seed = seed
        self._noise = NoiseStream(*seed)

    @staticmethod
    def _finish_sigmas(config: SchedulerConfig, sigmas: NDArray[np.float64], training: Floats) -> Floats:
        return np.append(sigmas, 0.0).astype(np.float32)

    def step(self, prediction: Floats, i: int, sample: Floats) -> Floats:
        self._enter(i)
        if i == 0:
            # The walk's start was the first draw from this seed; what comes after it is fresh.
            self._noise = NoiseStream(*self._seed)
            self._noise.draw(sample.shape)
        sigma, target = float(self._sigmas[i]), float(self._sigmas[i + 1])
        up = math.sqrt(target**2 * (sigma**2 - target**2)) / sigma
        down = math.sqrt(max(target**2 - up**2, 0.0))
        moved: Floats = sample + self._slope(prediction, i, sample) * (down - sigma)
        fresh: Floats = self._noise.draw(sample.shape) * up
        return moved + fresh


class Ddim(_Walk):
    """DDIM without noise (Song et al. 2020, arXiv 2010.02502, equation 12 with sigma = 0).

    diffusers: DDIMScheduler with eta = 0.
    """

    def __init__(self, steps: int, config: SchedulerConfig, seed: StreamSeed = (0, 0), skip: int = 0) -> None:
        timesteps = _space_timesteps(config, steps, config.timestep_spacing or "leading")
        super().__init__(timesteps[skip:], config)
        self._stride = config.num_train_timesteps // steps
        self._alphas = cumulative_alphas(config)

    def step(self, prediction: Floats, i: int, sample: Floats) -> Floats:
        self._enter(i)
        timestep = int(self.timesteps[i])
        here, there = _alpha_at(self, timestep), _alpha_at(self, timestep - self._stride)
        alpha, sigma = math.sqrt(here), math.sqrt(1 - here)
        if self._config.prediction_type == "v_prediction":
            x0: Floats = sample * alpha - prediction * sigma
            epsilon: Floats = prediction * alpha + sample * sigma
        else:
            x0 = sample * (1 / alpha) - prediction * (sigma / alpha)
            epsilon = prediction
        if self._config.clip_sample:
            bound = self._config.clip_sample_range
            x0 = np.asarray(np.clip(x0, -bound, bound), dtype=np.float32)
        return x0 * math.sqrt(there) + epsilon * math.sqrt(1 - there)


class Pndm(_Walk):
    """Pseudo linear multistep, PLMS (Liu et al. 2022, arXiv 2202.09778, equations 9 and 12).

    The first step is walked twice (Heun's way) because nothing lies behind it yet, so from two
    steps up there is one model call more than steps. diffusers: PNDMScheduler(skip_prk_steps=True).
    Image to image leaves out calls, not steps, as there: the walk begins one call earlier in the noise.
    """

    def __init__(self, steps: int, config: SchedulerConfig, seed: StreamSeed = (0, 0), skip: int = 0) -> None:
        spaced = _space_timesteps(config, steps, config.timestep_spacing or "leading")
        super().__init__(np.concatenate([spaced[:1], spaced[1:2], spaced[1:]])[skip:], config)
        self._stride = config.num_train_timesteps // steps
        self._alphas = cumulative_alphas(config)
        self._history: list[Floats] = []  # the latest predictions, newest last, at most four
        self._start: Floats | None = None

    def step(self, prediction: Floats, i: int, sample: Floats) -> Floats:
        self._enter(i)
        timestep = int(self.timesteps[i])
        if i == 1:
            # The second call looks at the same step from its far end and walks it again.
            if self._start is None:
                raise ValueError("step 1 came without step 0")
            average = (prediction + self._history[-1]) * 0.5
            return self._transfer(self._start, timestep + self._stride, timestep, average)
        if i == 0:
            self._history, self._start = [], sample
        self._history = [*self._history[-3:], prediction]
        return self._transfer(sample, timestep, timestep - self._stride, self._extrapolate())

    def _extrapolate(self) -> Floats:
        """Adams-Bashforth over the predictions there are."""
        newest_first = self._history[::-1]
        weights = _ADAMS_BASHFORTH[len(newest_first)]
        total = newest_first[0] * weights[0]
        for weight, past in zip(weights[1:], newest_first[1:], strict=True):
            total = total + past * weight
        return total

    def _transfer(self, sample: Floats, timestep: int, target: int, prediction: Floats) -> Floats:
        """The sample carried from `timestep` to `target` along the noise (equation 9)."""
        here, there = _alpha_at(self, timestep), _alpha_at(self, target)
        if self._config.prediction_type == "v_prediction":
            prediction = prediction * math.sqrt(here) + sample * math.sqrt(1 - here)
        denominator = here * math.sqrt(1 - there) + math.sqrt(here * (1 - here) * there)
        return sample * math.sqrt(there / here) - prediction * ((there - here) / denominator)


_ADAMS_BASHFORTH: dict[int, tuple[float, ...]] = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


def _alpha_at(walk: Ddim | Pndm, timestep: int) -> float:
    """alpha_bar at a timestep; before the first one, what `set_alpha_to_one` says."""
    if timestep >= 0:
        return float(walk._alphas[timestep])
    return 1.0 if walk._config.set_alpha_to_one else float(walk._alphas[0])


_SCHEDULERS: dict[str, type[DpmSolverMultistep] | type[Euler] | type[Ddim] | type[Pndm]] = {
    "dpmpp-2m": DpmSolverMultistep,
    "euler": Euler,
    "euler-a": EulerAncestral,
    "ddim": Ddim,
    "pndm": Pndm,
}
SCHEDULER_NAMES = tuple(_SCHEDULERS)
