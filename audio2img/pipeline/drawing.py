"""From words to pictures: the prompt, what exactly is asked of the backend, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from audio2img.backends import DrawingWishes, load_backend, preferred_variant
from audio2img.backends.protocol import DEFAULT_STRENGTH, DrawingStep
from audio2img.background import in_background
from audio2img.diffusion import Pixels
from audio2img.diffusion.loras import check_same
from audio2img.errors import InputError, NothingToDrawError
from audio2img.pipeline.events import Event
from audio2img.pipeline.options import Options
from audio2img.pipeline.progress import Progress
from audio2img.store.catalog import ResolvedModel, default_name, resolve_model
from audio2img.types import ImageRequest, ImageResult, InitImage, Prompt, SoundSummary, Transcript

if TYPE_CHECKING:
    from audio2img.backends import ImageBackend
    from audio2img.output.record import PictureRecord

Draw = Callable[..., tuple[ImageResult, ...]]


@dataclass(frozen=True, eq=False)
class Drawing:
    """The pictures of one call with all that led to them; `save` writes them into files."""

    images: tuple[ImageResult, ...]
    prompt: Prompt
    transcript: Transcript | None = None
    sounds: SoundSummary | None = None
    audio_source: str = ""
    timings_s: dict[str, float] = field(default_factory=dict)

    def save(self, target: str | Path) -> list[Path]:
        """Write the pictures into a folder, or the only one to a path that ends in .png, .jpg or .webp.

        Raises MachineError when the disk refuses, UsageError for several pictures and one path, and for
        a path with another ending.
        """
        from audio2img.output import check_target, write_picture

        check_target(target, len(self.images))
        return [write_picture(image, self.record_of(image), target) for image in self.images]

    def record_of(self, image: ImageResult) -> PictureRecord:
        from audio2img.output.record import PictureRecord

        return PictureRecord.of(
            image, transcript=self.transcript, sounds=self.sounds, audio_source=self.audio_source
        )


class Painter:
    """The hand of a pipeline. Its model is loaded in the background from `preload` on, and kept.

    model: a name or a path; None takes the machine's default for what the wishes ask for.
    """

    def __init__(self, model: str | None, wishes: DrawingWishes, progress: Progress) -> None:
        self._name = model
        self._wishes = wishes
        self._progress = progress
        self._backend: Future[ImageBackend] | None = None
        self._identity: Future[str] | None = None

    def close(self) -> None:
        """Free the model; closing twice is no error."""
        if self._backend is not None:
            self._backend.add_done_callback(_close_backend)  # now, or as soon as it has loaded
        self._backend = None

    def check(self) -> None:
        """Raise what went wrong in loading the model, if that is known already."""
        if self._backend is not None and self._backend.done():
            self._backend.result()

    @cached_property
    def model(self) -> ResolvedModel:
        """The model that draws. Raises ModelError when it cannot be found."""
        asked = self._name
        if asked is None and self._wishes.backend != "auto":
            asked = default_name("image", self._wishes.backend)
        return resolve_model(asked, "image", preferred_variant())

    def preload(self) -> None:
        """Start loading the image model in the background, if that has not happened yet."""
        if self._backend is None:
            model = self.model  # unknown here and now, not in the thread
            self._backend = in_background(lambda: self._load_backend(model))

    def generate(
        self, text: str, options: Options = Options(), sounds: SoundSummary | None = None
    ) -> Drawing:
        """Pictures of what `text` describes, spoken style and all ("please draw a red house").

        sounds: what was heard besides, or with an empty text instead; it becomes a part of the scene.
        """
        self.preload()
        with self._progress.cancellable():
            start = None if options.init_image is None else _read_init_image(options.init_image)
            prompt = self._make_prompt(*self._add_sounds(text, options, sounds))
            if options.long_prompt == "cut":
                prompt = self._cut_prompt(prompt)
            request = self._make_request(prompt, options, None if start is None else start[0])
            backend = self._loaded_backend()
            images = self._draw(backend.generate_all, request, None if start is None else start[1])
            for index in sorted(set(range(request.count)) - {image.request.index for image in images}):
                self._progress.warn(
                    f"the model's safety checker refused picture {index + 1} of {request.count}"
                )
            return Drawing(images, prompt, timings_s=self._progress.take_timings())

    def draw(self, request: ImageRequest, init_image: str | Path | None = None) -> Drawing:
        """Exactly the picture of `request`, with no clean-up of its words.

        init_image: the file that `request.init_image` names, where there is one; InputError for another.
        """
        self.preload()
        with self._progress.cancellable():
            pixels = _matching_pixels(request, init_image)
            backend = self._loaded_backend()
            check_same(request.loras, backend.loras)
            images = self._draw(lambda *given: (backend.generate(*given),), request, pixels)
            prompt = Prompt(request.prompt, request.negative_prompt)
            return Drawing(images, prompt, timings_s=self._progress.take_timings())

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) of the image model's files; loads the model."""
        self._loaded_backend()
        assert self._identity is not None
        return self._identity.result()

    def _add_sounds(
        self, text: str, options: Options, sounds: SoundSummary | None
    ) -> tuple[str, Options, str]:
        """The words to draw, the options with the template that suits them, and what follows the words."""
        from audio2img.prompt.scene import DEFAULT_TEMPLATE, write_scene

        if sounds is None:
            return text, options, ""
        in_mini_world = self.model.vocabulary == "mini_world"
        scene = write_scene(sounds.things, text, in_mini_world=in_mini_world)
        if scene.left_out:
            self._progress.warn(f"the mini model has no words for: {', '.join(scene.left_out)}")
        if text:
            joint = " " if in_mini_world else ", "
            return text, options, joint + scene.text if scene.text else ""
        if not scene.text:
            heard = "silence" if any(thing.role == "silence" for thing in sounds.things) else "no clear sound"
            raise NothingToDrawError(
                f"there is nothing to draw: {heard} was heard", "look at it with: audio2img classify AUDIO"
            )
        if options.template is None and options.style is None and not in_mini_world:
            options = replace(options, template=DEFAULT_TEMPLATE)
        return scene.text, options, ""

    def _make_prompt(self, text: str, options: Options, scene: str) -> Prompt:
        from audio2img.config import config_dir
        from audio2img.prompt import clean_transcript, make_prompt
        from audio2img.prompt.mini_world import unknown_words

        prompt = make_prompt(
            text,
            style=options.style,
            template=options.template,
            negative=options.negative,
            scene=scene,
            styles_dir=config_dir() / "styles",
            templates_dir=config_dir() / "templates",
        )
        self._progress.tell(Event("prompt", 1.0, prompt.text))
        if self.model.vocabulary == "mini_world":
            world = "it knows one small world: audio2img models show mini"
            if unknown := unknown_words(clean_transcript(text) + scene):  # the person's, not the style's
                self._progress.warn(f"the mini model does not know: {', '.join(unknown)} ({world})")
        return prompt

    def _cut_prompt(self, prompt: Prompt) -> Prompt:
        """The prompt without what does not fit into the model's window, which is said."""
        from audio2img.prompt import fit_prompt

        fit = self._loaded_backend().fit_prompt
        prompt = fit_prompt(prompt, fit)
        remedy = "(--long-prompt chunk takes all of it)"
        if prompt.dropped:
            self._progress.warn(
                f"the prompt is longer than the model reads; left out: {prompt.dropped} {remedy}"
            )
        negative, dropped = fit(prompt.negative)
        if dropped:
            self._progress.warn(
                f"the negative prompt is longer than the model reads; left out: {dropped} {remedy}"
            )
        return replace(prompt, negative=negative)

    def _make_request(self, prompt: Prompt, options: Options, init_image: InitImage | None) -> ImageRequest:
        import secrets

        defaults = self._loaded_backend().defaults
        width, height = options.size or (None, None)
        strength = options.strength
        if init_image is not None and strength is None:
            strength = DEFAULT_STRENGTH
        return ImageRequest(
            prompt=prompt.text,
            negative_prompt=prompt.negative,
            seed=secrets.randbelow(2**32) if options.seed is None else options.seed,
            steps=defaults.steps if options.steps is None else options.steps,
            guidance_scale=defaults.guidance_scale if options.guidance is None else options.guidance,
            scheduler=options.scheduler or defaults.scheduler,
            width=width,
            height=height,
            count=options.count,
            init_image=init_image,
            strength=strength,
            long_prompt=options.long_prompt,
            loras=self._loaded_backend().loras,
        )

    def _draw(self, draw: Draw, request: ImageRequest, pixels: Pixels | None) -> tuple[ImageResult, ...]:
        def report(step: DrawingStep) -> None:
            self._progress.tell(Event("draw", step.done / step.total, preview=step.preview))

        self._progress.tell(Event("draw", 0.0))
        with self._progress.timed("draw"):
            images = draw(request, report, self._progress.is_cancelled, pixels)
        return tuple(replace(image, model_hash=self.model_hash) for image in images)

    def _load_backend(self, model: ResolvedModel) -> ImageBackend:
        started = time.perf_counter()
        backend = load_backend(model, self._wishes)
        self._identity = in_background(lambda: backend.identity)
        how = backend.describe()
        took = f"{model.name} ready in {time.perf_counter() - started:.1f} s"
        self._progress.tell(Event("load", 1.0, f"{took}: {how}" if how else took))
        return backend

    def _loaded_backend(self) -> ImageBackend:
        self.preload()
        assert self._backend is not None
        with self._progress.timed(
            "load"
        ):  # what the person still waits for, not what was hidden behind the speech
            while not wait([self._backend], timeout=0.1).done:
                self._progress.check()
        return self._backend.result()


def _close_backend(loaded: Future[ImageBackend]) -> None:
    if loaded.exception() is None:
        loaded.result().close()


def _read_init_image(path: str | Path) -> tuple[InitImage, Pixels]:
    from audio2img.output.pixels import read_pixels

    pixels, sha256 = read_pixels(path)
    return InitImage(Path(path).name, sha256), pixels


def _matching_pixels(request: ImageRequest, path: str | Path | None) -> Pixels | None:
    """The pixels that `request` starts from. Raises InputError when `path` is missing or another picture."""
    wanted = request.init_image
    if wanted is None:
        return None
    remedy = f"give the same file: --init-image {wanted.name}"
    if path is None:
        raise InputError(f"the picture was drawn from another one, {wanted.name}", remedy)
    found, pixels = _read_init_image(path)
    if found.sha256 != wanted.sha256:
        raise InputError(f"{path} is not the picture that this one was drawn from ({wanted.name})", remedy)
    return pixels
