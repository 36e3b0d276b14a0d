"""From a request to pictures with torch: encode the text, denoise latents, decode them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from audio2img.backends.protocol import (
    DEFAULT_STRENGTH,
    CancelCheck,
    Capabilities,
    DrawingStep,
    ProgressCallback,
    Sizes,
)
from audio2img.backends.torch.conditioning import Conditioner, Conditioning
from audio2img.backends.torch.facts import read_facts
from audio2img.backends.torch.folder import ModelFolder, looks_like_ours, read_folder
from audio2img.backends.torch.memory import is_out_of_memory, release_memory
from audio2img.backends.torch.needs import find_needs
from audio2img.backends.torch.parts import Parts, keep_compiled, load_parts
from audio2img.backends.torch.plan import Plan, PlanWishes, find_device, make_plan
from audio2img.backends.torch.schedulers import Walk, scheduler_names
from audio2img.backends.torch.unet import Direct, GuidedUNet, Replayed
from audio2img.backends.torch.vae import (
    NotFiniteError,
    Preview,
    decode_latents,
    encode_pixels,
    is_refused,
)
from audio2img.diffusion import ModelDefaults, Pixels
from audio2img.diffusion.loras import LoraFile
from audio2img.diffusion.noise import NoiseStream
from audio2img.diffusion.requests import check_request
from audio2img.diffusion.results import StageClock, refused_by_checker
from audio2img.errors import CancelledError, MachineError, ModelError, UsageError
from audio2img.types import ImageRequest, ImageResult, LoraUse

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class DiffusersBackend:
    """An image model in diffusers' form, ready to draw: an ImageBackend."""

    def __init__(self, model: ModelFolder, parts: Parts, loras: Sequence[LoraUse]) -> None:
        """Use `load`, which makes these from a folder or a file."""
        self.folder = model
        self._loras = tuple(loras)
        self._parts = parts
        self._facts = read_facts(model)
        self._conditioner = Conditioner(model, self._facts)
        self._ask: Any = None
        self._preview: Preview | None = None
        self._identity: str | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        name: str | None = None,
        wishes: PlanWishes | None = None,
        loras: Sequence[LoraFile] = (),
        cancelled: CancelCheck | None = None,
    ) -> DiffusersBackend:
        """Load the model in the folder or single file `path`, and check it before anything is drawn.

        name: what to call the model; None takes its own name. cancelled: asked before each part of a folder.
        Raises ModelError if a part is missing, damaged, unknown or a pickle, MachineError if this
        machine cannot draw it, UsageError for wishes that make no sense, CancelledError.
        """
        wishes = wishes or PlanWishes()
        if wishes.compile:
            keep_compiled()
        model = find_model(Path(path), name)
        used = [lora.as_recorded() for lora in loras]
        plan = make_plan(find_device(wishes.device), find_needs(model), wishes)
        try:
            return cls(model, load_parts(model, plan, loras, cancelled), used)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise _no_memory(model, plan) from error

    @property
    def name(self) -> str:
        return "diffusers"

    @property
    def model(self) -> str:
        return self.folder.name

    @property
    def identity(self) -> str:
        if self._identity is None:
            self._identity = self.folder.hash(self.plan.is_half)
        return self._identity

    @property
    def defaults(self) -> ModelDefaults:
        return self._facts.defaults

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            sizes=self._sizes,
            schedulers=scheduler_names(self.folder.scheduler),
            text_window=self._conditioner.window,
            at_once=self.plan.batch,
            loras=True,
        )

    @property
    def loras(self) -> tuple[LoraUse, ...]:
        return self._loras

    @property
    def plan(self) -> Plan:
        """How this machine draws."""
        return self._parts.plan

    def describe(self) -> str:
        """See ImageBackend."""
        return self.plan.describe()

    def fit_prompt(self, text: str) -> tuple[str, str]:
        """(kept, dropped): the words that fit into the text encoder's window, and those that do not."""
        return self._conditioner.fit(text)

    def generate(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
    ) -> ImageResult:
        """See ImageBackend."""
        return self._draw(_Job(request, [request.index], progress, cancelled, init_image))[0]

    def generate_all(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
        finished: Callable[[ImageResult], None] = lambda result: None,
    ) -> tuple[ImageResult, ...]:
        """See ImageBackend. Pictures drawn in one batch are those of `generate` up to rounding."""
        job = _Job(request, list(range(request.count)), progress, cancelled, init_image, finished)
        return self._draw(job)

    def close(self) -> None:
        """Free the parts; closing twice is no error."""
        self._parts.close()
        self._ask = self._preview = None
        release_memory()

    def _draw(self, job: _Job) -> tuple[ImageResult, ...]:
        """The pictures of a job; what is left of it once more with less memory where that has run out."""
        import torch

        self._check_request(job.request, job.init_image)
        with torch.no_grad():
            return self._spare_memory(lambda: self._draw_once(job))

    def _spare_memory(self, stage: Callable[[], Result]) -> Result:
        """What a stage gives; where memory runs out, the stage is done once more with less of it."""
        try:
            return stage()
        except Exception as error:
            if not is_out_of_memory(error):
                _check_compiler(error)
                raise
            smaller = self.plan.with_less_memory()
            if smaller is None:
                raise _no_memory(self.folder, self.plan) from error
        # Outside of the handler, whose traceback holds the tensors of the failed attempt.
        logger.warning("memory ran out: drawing again with less (%s)", smaller.describe())
        self._ask = None
        self._parts.apply(smaller)
        try:
            return stage()
        except Exception as error:
            if is_out_of_memory(error):
                raise _no_memory(self.folder, self.plan) from error
            raise

    def _draw_once(self, job: _Job) -> tuple[ImageResult, ...]:
        """Draw in batches what is not finished yet, and hand over each picture as soon as it is."""
        clock = StageClock()
        texts = self._encode(job.request)
        job.check_cancelled()
        noise, source = self._noise_and_source(job, texts.positive[0].states)
        clock.stop("encode", len(job.indices))
        with self._parts.keep(-(-len(job.waiting) // self._batch_size(job.request))):
            while batch := job.waiting[: self._batch_size(job.request)]:
                ended = self._denoise(job, batch, texts, noise[batch], source)
                clock.stop("denoise", len(batch))
                job.check_cancelled()
                for index, latents in zip(batch, ended, strict=True):
                    # Memory that runs out here costs the decoding alone, and not the walk before it.
                    pixels = self._spare_memory(partial(self._decode, latents))
                    clock.stop("decode")
                    is_refused = self._is_refused(pixels)
                    request = replace(job.request, index=index)
                    job.hand_over(
                        index, None if is_refused else clock.made(pixels, request, self.model, self.name)
                    )
                    clock.start()
        if not job.results:
            raise refused_by_checker(self.model)
        return tuple(job.results)

    def _check_request(self, request: ImageRequest, init_image: Pixels | None) -> None:
        width, height = self._size(request)
        sizes = self._sizes
        if not sizes.includes(width, height):
            near = sizes.nearest(width, height)
            raise UsageError(
                f"the model {self.model} cannot draw {width}x{height} pixels: "
                f"both must be multiples of {sizes.multiple}",
                f"ask for {near[0]}x{near[1]}",
            )
        check_request(request, init_image)
        if request.loras != self.loras:
            raise UsageError(
                "the LoRA files of the request are not those that were loaded", "give the same ones"
            )

    def _size(self, request: ImageRequest) -> tuple[int, int]:
        return request.width or self._facts.defaults.width, request.height or self._facts.defaults.height

    @property
    def _sizes(self) -> Sizes:
        stride = 2 ** (len(self.folder.parts["unet"].config["block_out_channels"]) - 1)  # its widest
        return Sizes((self.defaults.width, self.defaults.height), self.folder.factor * stride)

    def _encode(self, request: ImageRequest) -> Conditioning:
        with self._parts.use(*self._conditioner.encoder_names) as encoders:
            return self._conditioner.encode(
                encoders, request.prompt, request.negative_prompt, request.long_prompt
            )

    def _noise_and_source(self, job: _Job, like: Any) -> tuple[Any, Any | None]:
        """Unit noise (count, channels, height, width) in the type of `like`, and the latents (1, ...) of the
        picture to start from, both on the processor.

        The order of the draws is Swift's: the noise of every picture, then the encoder's.
        """
        import torch

        width, height = self._size(job.request)
        factor = self.folder.factor
        shape = (self.folder.latent_channels, height // factor, width // factor)
        stream = NoiseStream(job.request.seed)
        noise = torch.from_numpy(stream.draw((job.request.count, *shape))).to(like.dtype)
        if job.init_image is None:
            return noise, None
        fresh = torch.from_numpy(stream.draw((1, *shape)))
        picture = job.init_image
        source = self._ask_vae(lambda vae: encode_pixels(vae, picture, (width, height), fresh.to(vae.device)))
        return noise, source.to("cpu", like.dtype)

    def _batch_size(self, request: ImageRequest) -> int:
        """How many pictures of this size the plan draws at once."""
        width, height = self._size(request)
        usual = self._facts.defaults.width * self._facts.defaults.height
        return max(1, int(self.plan.batch * usual / (width * height)))

    def _denoise(
        self, job: _Job, batch: list[int], texts: Conditioning, noise: Any, source: Any | None
    ) -> list[Any]:
        """The latents (1, channels, height, width) that the walk of each picture of `batch` ends at."""
        request, device = job.request, self.plan.device.kind
        strength = DEFAULT_STRENGTH if request.strength is None else request.strength
        walk = Walk(
            request.scheduler, self.folder.scheduler, self._facts.scheduler, request.steps, request.seed,
            batch, None if source is None else strength,
        )  # fmt: skip
        latents = walk.start(noise, source).to(device)
        timesteps = [timestep.to(device) for timestep in walk.timesteps]
        done, n_calls = len(job.indices) - len(job.waiting), len(timesteps)
        with self._parts.use("unet") as (net,):
            if self._ask is None:
                self._ask = Replayed(net) if self.plan.graphs else Direct(net)
            config = self.folder.parts["unet"].config
            unet = GuidedUNet(self._ask, config, texts, request.guidance_scale, self._size(request))
            unet.expect(n_calls * (len(job.waiting) // len(batch)))
            for call, timestep in enumerate(timesteps):
                job.check_cancelled()
                shown = walk.scale(latents, call)
                prediction = unet.predict(shown, timestep)
                before, latents = latents, walk.step(prediction, call, latents)
                if job.progress is not None:
                    preview = self._draw_preview(walk, before, shown, prediction, call)
                    steps = done * n_calls + (call + 1) * len(batch)
                    job.progress(DrawingStep(steps, len(job.indices) * n_calls, preview))
        self._check_finite(latents)
        return list(latents.split(1))

    def _draw_preview(
        self, walk: Walk, latents: Any, shown: Any, prediction: Any, call: int
    ) -> Callable[[], Pixels]:
        def draw() -> Pixels:
            if self._preview is None:
                self._preview = Preview(self.folder)
            if not self._preview.is_ready:
                self._ask_vae(self._preview.fit)
            return self._preview.draw(walk.predict_denoised(latents[0], shown[0], prediction[0], call))

        return draw

    def _check_finite(self, latents: Any) -> None:
        if not bool(latents.isfinite().all()):
            half = self.plan.is_half
            remedy = "try: `precision=full`" if half else "try another `scheduler`, or get the model again"
            raise ModelError(f"the UNet of {self.model} gave numbers that are none", remedy)

    def _decode(self, latents: Any) -> Pixels:
        return self._ask_vae(partial(decode_latents, latents=latents))

    def _ask_vae(self, ask: Callable[[Any], Result]) -> Result:
        """What is asked of the autoencoder; in full precision where its numbers are too large for half."""
        try:
            with self._parts.use("vae") as (vae,):
                return ask(vae)
        except NotFiniteError as error:
            if self.plan.vae_precision == "full":
                raise ModelError(
                    f"the autoencoder of {self.model} gave numbers that are none", "get the model again"
                ) from error
        logger.warning("the autoencoder of %s overflows in half precision: once more in full", self.model)
        self._parts.widen_vae()
        return self._ask_vae(ask)

    def _is_refused(self, pixels: Pixels) -> bool:
        if "safety_checker" not in self.folder.parts:
            return False
        with self._parts.use("safety_checker") as (checker,):
            return is_refused(checker, pixels)


class _Job:
    """What one call asks for, whom it tells, and what is finished of it."""

    def __init__(
        self,
        request: ImageRequest,
        indices: list[int],
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
        init_image: Pixels | None,
        finished: Callable[[ImageResult], None] = lambda result: None,
    ) -> None:
        self.request, self.indices, self.init_image = request, indices, init_image
        self.progress, self._cancelled, self._finished = progress, cancelled, finished
        self.waiting = list(indices)
        self.results: list[ImageResult] = []

    def hand_over(self, index: int, result: ImageResult | None) -> None:
        """Picture `index` is done; None where it is refused."""
        self.waiting.remove(index)
        if result is not None:
            self.results.append(result)
            self._finished(result)

    def check_cancelled(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise CancelledError("stopped while drawing")


def find_model(path: Path, name: str | None = None) -> ModelFolder:
    """The model in a diffusers folder or a single safetensors file. Raises ModelError for anything else."""
    if path.is_file():
        from audio2img.backends.torch.single_file import read_checkpoint

        return read_checkpoint(path, name)
    if not looks_like_ours(path):
        raise ModelError(f"{path} is neither a diffusers folder nor a .safetensors file", "check the path")
    return read_folder(path, name)


def _no_memory(model: ModelFolder, plan: Plan) -> MachineError:
    remedy = "close other programs, ask for a smaller `size`, or take a smaller model"
    if plan.device.kind != "cpu":
        remedy += ", or draw on the processor: `compute_units=cpu`"
    return MachineError(f"there is not enough memory for {model.name} on {plan.device.name}", remedy)


def _check_compiler(error: Exception) -> None:
    """Raises MachineError where torch could not compile, such as for want of a compiler of C++ or Triton."""
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise MachineError(
            f"torch cannot compile the model on this machine: {reason[:200]}", "leave `compile` out"
        ) from error
