"""From a request to pictures with torch: encode the text, denoise latents, decode them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from audio2img.backends.torch.conditioning import Conditioner, Conditioning
from audio2img.backends.torch.facts import read_facts
from audio2img.backends.torch.folder import ModelFolder, looks_like_ours, read_folder
from audio2img.backends.torch.memory import is_out_of_memory, release_memory
from audio2img.backends.torch.parts import Parts, keep_compiled, load_parts
from audio2img.backends.torch.plan import Needs, Plan, Wishes, find_device, make_plan
from audio2img.backends.torch.schedulers import Walk
from audio2img.backends.torch.unet import Direct, GuidedUNet, Replayed
from audio2img.backends.torch.vae import Preview, decode_latents, encode_pixels, is_refused
from audio2img.background import in_background
from audio2img.diffusion import (
    DEFAULT_STRENGTH,
    CancelCheck,
    DrawingStep,
    ModelDefaults,
    Pixels,
    ProgressCallback,
)
from audio2img.diffusion.loras import LoraFile
from audio2img.diffusion.noise import NoiseStream
from audio2img.diffusion.requests import check_request
from audio2img.diffusion.results import leave_out_refused, make_results
from audio2img.errors import CancelledError, MachineError, ModelError, UsageError
from audio2img.types import ImageRequest, ImageResult, LoraUse

logger = logging.getLogger(__name__)


class DiffusersBackend:
    """An image model in diffusers' form, ready to draw: an ImageBackend."""

    def __init__(
        self, model: ModelFolder, parts: Parts, loras: Sequence[LoraUse], model_hash: Future[str]
    ) -> None:
        """Use `load`, which makes these from a folder or a file."""
        self.folder = model
        self._loras = tuple(loras)
        self._parts = parts
        self._facts = read_facts(model)
        self._conditioner = Conditioner(model, self._facts)
        self._ask: Any = None
        self._preview: Preview | None = None
        self._hash = model_hash

    @classmethod
    def load(
        cls,
        path: str | Path,
        name: str | None = None,
        wishes: Wishes | None = None,
        loras: Sequence[LoraFile] = (),
    ) -> DiffusersBackend:
        """Load the model in the folder or single file `path`, and check it before anything is drawn.

        name: what to call the model; None takes its own name.
        Raises ModelError if a part is missing, damaged, unknown or a pickle, MachineError if this
        machine cannot draw it, UsageError for wishes that make no sense.
        """
        wishes = wishes or Wishes()
        if wishes.compile:
            keep_compiled()
        model = find_model(Path(path), name)
        used = [lora.as_recorded() for lora in loras]
        plan = make_plan(find_device(wishes.device), find_needs(model), wishes)
        model_hash = in_background(lambda: model.hash(plan.is_half))
        try:
            return cls(model, load_parts(model, plan, loras), used, model_hash)
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
    def model_hash(self) -> str:
        return self._hash.result()

    @property
    def defaults(self) -> ModelDefaults:
        return self._facts.defaults

    @property
    def loras(self) -> tuple[LoraUse, ...]:
        return self._loras

    @property
    def plan(self) -> Plan:
        """How this machine draws."""
        return self._parts.plan

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
        return self._draw(request, [request.index], progress, cancelled, init_image)[0]

    def generate_all(
        self,
        request: ImageRequest,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        init_image: Pixels | None = None,
    ) -> tuple[ImageResult, ...]:
        """See ImageBackend. Pictures drawn in one batch are those of `generate` up to rounding."""
        return self._draw(request, list(range(request.count)), progress, cancelled, init_image)

    def close(self) -> None:
        """Free the parts; closing twice is no error."""
        self._parts.close()
        self._ask = self._preview = None
        release_memory()

    def _draw(
        self,
        request: ImageRequest,
        indices: list[int],
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
        init_image: Pixels | None,
    ) -> tuple[ImageResult, ...]:
        """The pictures of these indices; once more with less memory where that has run out."""
        import torch

        self._check_request(request, init_image)
        job = _Job(request, indices, progress, cancelled, init_image)
        with torch.no_grad():
            try:
                return self._draw_once(job)
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
                return self._draw_once(job)
            except Exception as error:
                if is_out_of_memory(error):
                    raise _no_memory(self.folder, self.plan) from error
                raise

    def _draw_once(self, job: _Job) -> tuple[ImageResult, ...]:
        request, indices = job.request, job.indices
        stops = [time.perf_counter()]
        texts = self._encode(request)
        job.check_cancelled()
        noise, source = self._noise_and_source(job, texts.positive[0].states)
        stops.append(time.perf_counter())
        latents = self._denoise_all(job, texts, noise, source)
        stops.append(time.perf_counter())
        job.check_cancelled()
        pictures = self._decode_all(latents)
        stops.append(time.perf_counter())
        kept = self._leave_out_refused(dict(zip(indices, pictures, strict=True)))
        return make_results(
            kept, request, stops, len(indices),
            model=self.model, model_hash=self.model_hash, backend=self.name,
        )  # fmt: skip

    def _check_request(self, request: ImageRequest, init_image: Pixels | None) -> None:
        width, height = self._size(request)
        step = self.folder.factor * self._widest_stride()
        if width % step or height % step:
            near = [max(step, round(side / step) * step) for side in (width, height)]
            raise UsageError(
                f"the model {self.model} cannot draw {width}x{height} pixels: "
                f"both must be multiples of {step}",
                f"ask for {near[0]}x{near[1]}",
            )
        check_request(request, init_image)
        if request.loras != self.loras:
            raise UsageError(
                "the LoRA files of the request are not those that were loaded", "give the same ones"
            )

    def _size(self, request: ImageRequest) -> tuple[int, int]:
        return request.width or self._facts.defaults.width, request.height or self._facts.defaults.height

    def _widest_stride(self) -> int:
        """How often the UNet halves its latents."""
        return int(2 ** (len(self.folder.parts["unet"].config["block_out_channels"]) - 1))

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
        with self._parts.use("vae") as (vae,):
            source = encode_pixels(vae, job.init_image, (width, height), fresh.to(vae.device))
        return noise, source.to("cpu", like.dtype)

    def _denoise_all(self, job: _Job, texts: Conditioning, noise: Any, source: Any | None) -> list[Any]:
        """The latents (1, channels, height, width) that each picture's walk ends at."""
        ended: list[Any] = []
        with self._parts.use("unet") as (net,):
            if self._ask is None:
                self._ask = Replayed(net) if self.plan.graphs else Direct(net)
            config = self.folder.parts["unet"].config
            unet = GuidedUNet(self._ask, config, texts, job.request.guidance_scale, self._size(job.request))
            size = self._batch_size(job.request)
            for first in range(0, len(job.indices), size):
                batch = job.indices[first : first + size]
                ended += self._denoise(job, batch, unet, noise[batch], source, first).split(1)
        for latents in ended:
            self._check_finite(latents)
        return ended

    def _batch_size(self, request: ImageRequest) -> int:
        """How many pictures of this size the plan draws at once."""
        width, height = self._size(request)
        usual = self._facts.defaults.width * self._facts.defaults.height
        return max(1, int(self.plan.batch * usual / (width * height)))

    def _denoise(
        self, job: _Job, batch: list[int], unet: GuidedUNet, noise: Any, source: Any | None, done: int
    ) -> Any:
        """Latents (n, channels, height, width) of the pictures of `batch`. done: pictures before them."""
        request, device = job.request, self.plan.device.kind
        strength = DEFAULT_STRENGTH if request.strength is None else request.strength
        walk = Walk(
            request.scheduler, self.folder.scheduler, self._facts.scheduler, request.steps, request.seed,
            batch, None if source is None else strength,
        )  # fmt: skip
        latents = walk.start(noise, source).to(device)
        timesteps = [timestep.to(device) for timestep in walk.timesteps]
        for call, timestep in enumerate(timesteps):
            job.check_cancelled()
            shown = walk.scale(latents, call)
            prediction = unet.predict(shown, timestep)
            before, latents = latents, walk.step(prediction, call, latents)
            if job.progress is not None:
                preview = self._draw_preview(walk, before, shown, prediction, call)
                n_calls = len(timesteps)
                job.progress(
                    DrawingStep(done * n_calls + (call + 1) * len(batch), len(job.indices) * n_calls, preview)
                )
        return latents

    def _draw_preview(
        self, walk: Walk, latents: Any, shown: Any, prediction: Any, call: int
    ) -> Callable[[], Pixels]:
        def draw() -> Pixels:
            if self._preview is None:
                self._preview = Preview(self.folder)
            if not self._preview.is_ready:
                with self._parts.use("vae") as (vae,):
                    self._preview.fit(vae)
            return self._preview.draw(walk.predict_denoised(latents[0], shown[0], prediction[0], call))

        return draw

    def _check_finite(self, latents: Any) -> None:
        if not bool(latents.isfinite().all()):
            half = self.plan.is_half
            remedy = "try: --precision full" if half else "try another --scheduler, or get the model again"
            raise ModelError(f"the UNet of {self.model} gave numbers that are none", remedy)

    def _decode_all(self, latents: list[Any]) -> list[Pixels]:
        with self._parts.use("vae") as (vae,):
            return [decode_latents(vae, one) for one in latents]

    def _leave_out_refused(self, pictures: dict[int, Pixels]) -> dict[int, Pixels]:
        if "safety_checker" not in self.folder.parts:
            return pictures
        with self._parts.use("safety_checker") as (checker,):
            return leave_out_refused(pictures, lambda pixels: is_refused(checker, pixels), self.model)


class _Job:
    """What one call asks for, and whom it tells."""

    def __init__(
        self,
        request: ImageRequest,
        indices: list[int],
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
        init_image: Pixels | None,
    ) -> None:
        self.request, self.indices, self.init_image = request, indices, init_image
        self.progress, self._cancelled = progress, cancelled

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


def find_needs(model: ModelFolder) -> Needs:
    """What drawing a picture of the model's own size takes."""
    vae, unet = model.parts["vae"].config, model.parts["unet"].config
    width, height = model.size
    widths = model.vae_widths
    return Needs(
        parameters={name: part.n_parameters for name, part in model.parts.items()},
        width=width,
        height=height,
        factor=model.factor,
        unet_width=int(unet["block_out_channels"][0]),
        vae_width=int(widths[min(1, len(widths) - 1)]),
        upcast_vae=model.kind == "sdxl" and bool(vae.get("force_upcast", True)),
    )


def _no_memory(model: ModelFolder, plan: Plan) -> MachineError:
    remedy = "close other programs, ask for a smaller --size, or take a smaller model"
    if plan.device.kind != "cpu":
        remedy += ", or draw on the processor: --compute-units cpu"
    return MachineError(f"there is not enough memory for {model.name} on {plan.device.name}", remedy)


def _check_compiler(error: Exception) -> None:
    """Raises MachineError where torch could not compile, such as for want of a compiler of C++ or Triton."""
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise MachineError(
            f"torch cannot compile the model on this machine: {reason[:200]}", "leave --compile out"
        ) from error
