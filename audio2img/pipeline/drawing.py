"""From words to pictures: the prompt, what exactly is asked of the backend, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audio2img.backends.protocol import DEFAULT_STRENGTH, DrawingStep
from audio2img.diffusion import Pixels
from audio2img.diffusion.loras import check_same
from audio2img.errors import InputError, NothingToDrawError
from audio2img.pipeline.call import Call
from audio2img.pipeline.events import Event
from audio2img.pipeline.models import LoadedImageModel, Models
from audio2img.pipeline.options import Options
from audio2img.types import ImageRequest, ImageResult, InitImage, Prompt, SoundSummary, Transcript

if TYPE_CHECKING:
    from audio2img.backends.protocol import ImageBackend
    from audio2img.output.record import PictureRecord


@dataclass(frozen=True)
class Origin:
    """What pictures remember of where their words came from."""

    transcript: Transcript | None = None
    sounds: SoundSummary | None = None
    audio_source: str = ""


@dataclass(frozen=True, eq=False)
class Drawing:
    """The pictures of one call with all that led to them; `save` writes them into files."""

    images: tuple[ImageResult, ...]
    prompt: Prompt
    transcript: Transcript | None = None
    sounds: SoundSummary | None = None
    audio_source: str = ""
    timings_s: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Drawing({', '.join(map(repr, self.images))})"

    def save(self, target: str | Path) -> list[Path]:
        """Write the pictures into a folder, or the only one to a path that ends in .png, .jpg or .webp.

        A name in a folder is the prompt's words without their weights, and the seed.

        Raises MachineError when the disk refuses, UsageError for several pictures and one path, and for
        a path with another ending.
        """
        from audio2img.diffusion.prompt_weights import parse_weights
        from audio2img.output import check_target, write_picture

        check_target(target, len(self.images))
        return [
            write_picture(image, self.record_of(image), target, parse_weights(image.request.prompt).text)
            for image in self.images
        ]

    def record_of(self, image: ImageResult) -> PictureRecord:
        from audio2img.output.record import PictureRecord

        return PictureRecord.of(
            image, transcript=self.transcript, sounds=self.sounds, audio_source=self.audio_source
        )


class Painter:
    """The hand of one call, with a model that others may be drawing with, too.

    on_picture: gets each picture as soon as it is finished, as a Drawing of its own. origin: what the
    pictures remember besides what was drawn.
    """

    def __init__(
        self,
        models: Models,
        call: Call,
        on_picture: Callable[[Drawing], None] | None = None,
        origin: Origin = Origin(),
    ) -> None:
        self._models, self._call = models, call
        self._on_picture, self._origin = on_picture, origin
        self._has_told = False

    def generate(self, text: str, options: Options, sounds: SoundSummary | None) -> Drawing:
        """See `Session.generate`."""
        self._models.preload(self._call)
        start = None if options.init_image is None else _read_init_image(options.init_image)
        prompt = self._make_prompt(*self._add_sounds(text, options, sounds))
        backend = self._loaded().backend
        if options.long_prompt == "cut":
            prompt = self._cut_prompt(prompt, backend)
        request = self._make_request(prompt, options, None if start is None else start[0], backend)
        drawing = self._draw(request, prompt, None if start is None else start[1], all_of_them=True)
        for index in sorted(set(range(request.count)) - {image.request.index for image in drawing.images}):
            self._call.warn(f"the model's safety checker refused picture {index + 1} of {request.count}")
        return drawing

    def draw(
        self, request: ImageRequest, init_image: str | Path | None, *, all_of_them: bool = False
    ) -> Drawing:
        """See `Session.draw`. all_of_them: every picture of the request, not only that of its index."""
        self._models.preload(self._call)
        pixels = _matching_pixels(request, init_image)
        check_same(request.loras, self._loaded().backend.loras)
        prompt = Prompt(request.prompt, request.negative_prompt)
        return self._draw(request, prompt, pixels, all_of_them=all_of_them)

    def find_identity(self) -> str:
        """See `Session.model_hash`."""
        return self._call.wait(self._loaded().identity)

    def _loaded(self) -> LoadedImageModel:
        """The image model; how it draws is told the first time."""
        loaded = self._models.image(self._call)
        if not self._has_told:
            self._has_told = True
            self._call.tell(Event("load", 1.0, loaded.describe()))
        return loaded

    def _add_sounds(
        self, text: str, options: Options, sounds: SoundSummary | None
    ) -> tuple[str, Options, str]:
        """The words to draw, the options with the template that suits them, and what follows the words."""
        from audio2img.prompt.scene import DEFAULT_TEMPLATE, write_scene

        if sounds is None:
            return text, options, ""
        in_mini_world = self._models.image_model.vocabulary == "mini_world"
        scene = write_scene(sounds.things, text, in_mini_world=in_mini_world)
        if scene.left_out:
            self._call.warn(f"the mini model has no words for: {', '.join(scene.left_out)}")
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
        self._call.tell(Event("prompt", 1.0, prompt.text))
        if self._models.image_model.vocabulary == "mini_world":
            world = "it knows one small world: audio2img models show mini"
            if unknown := unknown_words(clean_transcript(text) + scene):  # the person's, not the style's
                self._call.warn(f"the mini model does not know: {', '.join(unknown)} ({world})")
        return prompt

    def _cut_prompt(self, prompt: Prompt, backend: ImageBackend) -> Prompt:
        """The prompt without what does not fit into the model's window, which is said."""
        from audio2img.prompt import fit_prompt

        prompt = fit_prompt(prompt, backend.fit_prompt)
        remedy = "(`long_prompt=chunk` takes all of it)"
        if prompt.dropped:
            self._call.warn(f"the prompt is longer than the model reads; left out: {prompt.dropped} {remedy}")
        negative, dropped = backend.fit_prompt(prompt.negative)
        if dropped:
            self._call.warn(
                f"the negative prompt is longer than the model reads; left out: {dropped} {remedy}"
            )
        return replace(prompt, negative=negative)

    def _make_request(
        self, prompt: Prompt, options: Options, init_image: InitImage | None, backend: ImageBackend
    ) -> ImageRequest:
        import secrets

        defaults = backend.defaults
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
            loras=backend.loras,
        )

    def _draw(
        self, request: ImageRequest, prompt: Prompt, pixels: Pixels | None, *, all_of_them: bool
    ) -> Drawing:
        """Picture `request.index`, or all of them, when its turn has come."""
        call, loaded = self._call, self._loaded()
        finished: list[ImageResult] = []

        def report(step: DrawingStep) -> None:
            steps = (step.done, step.total)
            call.tell(Event("draw", step.done / step.total, steps=steps, preview=step.preview))

        def take(image: ImageResult) -> None:
            finished.append(replace(image, model_hash=call.wait(loaded.identity)))
            if self._on_picture is not None:
                self._on_picture(self._drawing(finished[-1:], prompt))

        with self._turn(loaded.backend):
            call.tell(Event("draw", 0.0))
            with call.timed("draw"):
                if all_of_them:
                    loaded.backend.generate_all(request, report, call.is_cancelled, pixels, take)
                else:
                    take(loaded.backend.generate(request, report, call.is_cancelled, pixels))
        return self._drawing(finished, prompt)

    def _turn(self, backend: ImageBackend) -> AbstractContextManager[None]:
        if backend.capabilities.is_concurrent:
            return nullcontext()
        return self._models.drawing_turns.turn(
            self._call.check, lambda place: self._call.tell(Event.of_place("draw", place))
        )

    def _drawing(self, images: Sequence[ImageResult], prompt: Prompt) -> Drawing:
        origin = self._origin
        return Drawing(
            tuple(images),
            prompt,
            transcript=origin.transcript,
            sounds=origin.sounds,
            audio_source=origin.audio_source,
            timings_s=self._call.timings_s,
        )


def _read_init_image(path: str | Path) -> tuple[InitImage, Pixels]:
    from audio2img.output.pixels import read_pixels

    pixels, sha256 = read_pixels(path)
    return InitImage(Path(path).name, sha256), pixels


def _matching_pixels(request: ImageRequest, path: str | Path | None) -> Pixels | None:
    """The pixels that `request` starts from. Raises InputError when `path` is missing or another picture."""
    wanted = request.init_image
    if wanted is None:
        return None
    remedy = f"give the same file: `init_image={wanted.name}`"
    if path is None:
        raise InputError(f"the picture was drawn from another one, {wanted.name}", remedy)
    found, pixels = _read_init_image(path)
    if found.sha256 != wanted.sha256:
        raise InputError(f"{path} is not the picture that this one was drawn from ({wanted.name})", remedy)
    return pixels
