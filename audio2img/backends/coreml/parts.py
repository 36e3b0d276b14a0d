"""The loaded parts of a model: all at once for speed, or one after the other for little memory.

They run in this process, or in one of their own (see process).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.layout import UNET_CHUNKS
from audio2img.backends.coreml.process import ModelProcess, ProcessModel
from audio2img.backends.coreml.runtime import Model, load_part
from audio2img.backends.protocol import CancelCheck
from audio2img.errors import CancelledError, ModelError
from audio2img.files import size_on_disk
from audio2img.machine import memory_bytes

SELDOM_USED = ("vae_encoder",)  # loaded when the first picture starts from another one

DECODING_BYTES_PER_PIXEL = 1536  # the decoder at its widest: 3 times 256 channels, in half precision
USABLE_SHARE = 0.5  # of the machine's memory: the rest is for macOS and other programs


class Parts:
    """Loads parts of a bundle and lends them out.

    low_memory: hold only the parts that are lent at the moment, or kept for several pictures. process: where
    they run; None is this one.
    """

    def __init__(
        self,
        bundle: Bundle,
        compute_units: str = "ALL",
        low_memory: bool = False,
        process: ModelProcess | None = None,
    ) -> None:
        self.bundle = bundle
        self.low_memory = low_memory
        self._compute_units = compute_units
        self._process = process
        self._loaded: dict[str, Model] = {}
        self._kept: tuple[str, ...] = ()
        self._is_closed = False

    @property
    def unet_names(self) -> tuple[str, ...]:
        return ("unet",) if "unet" in self.bundle.parts else UNET_CHUNKS

    def load_all(self, cancelled: CancelCheck | None = None) -> None:
        """Load what every picture needs. Raises ModelError or MachineError if one fails, CancelledError."""
        names = [name for name in self.bundle.parts if name not in SELDOM_USED]
        if self._process is not None:  # where Core ML loads one after the other anyway
            self._loaded = {name: self._load(name, cancelled) for name in names}
            return
        with ThreadPoolExecutor(len(names), "load") as pool:
            loading = {name: pool.submit(self._load, name, cancelled) for name in names}
        self._loaded = {name: future.result() for name, future in loading.items()}

    @contextmanager
    def use(self, *names: str, cancelled: CancelCheck | None = None) -> Iterator[list[Model]]:
        """The parts of these names, loaded now if need be; with little memory they go when the block ends,
        unless they are kept.

        cancelled: asked while they are loaded, and where they run in a process of their own while they
        predict, which CancelledError then ends.
        """
        if self._is_closed:
            raise ModelError(f"the model {self.bundle.settings.name} is closed", "load it again")
        try:
            for name in names:
                if name not in self._loaded:
                    self._loaded[name] = self._load(name, cancelled)
            yield [_stopped_by(self._loaded[name], cancelled) for name in names]
        finally:
            if self.low_memory:
                self._drop(name for name in names if name not in self._kept)

    @contextmanager
    def keep(self, n_pictures: int) -> Iterator[None]:
        """While several pictures are drawn: with little memory, too, what each of them needs is loaded once
        and stays until the block ends, where it fits together."""
        needed = (*self.unet_names, "vae_decoder", "safety_checker")
        names = tuple(name for name in needed if name in self.bundle.parts)
        self._kept = names if n_pictures > 1 and self._fit_together(names) else ()
        try:
            yield
        finally:
            if self.low_memory:
                self._drop(self._kept)
            self._kept = ()

    def close(self) -> None:
        """Free everything; closing twice is no error."""
        self._is_closed = True
        self._loaded = {}
        if self._process is not None:
            self._process.close()

    def _load(self, name: str, cancelled: CancelCheck | None = None) -> Model:
        part = self.bundle.parts[name]
        if cancelled is not None and cancelled():
            raise CancelledError("stopped while loading the model")
        if self._process is None:
            return load_part(part.path, self._compute_units)
        model = ProcessModel(self._process, part, self._compute_units, cancelled)
        self._process.load(model)
        return model

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            model = self._loaded.pop(name, None)
            if isinstance(model, ProcessModel):
                model.process.drop(model)

    def _fit_together(self, names: Iterable[str]) -> bool:
        """Whether these parts, and a picture that is being decoded, leave enough for everything else."""
        memory = memory_bytes()
        if memory is None:
            return False
        width, height = self.bundle.contract.size
        weights = sum(size_on_disk(self.bundle.parts[name].path) for name in names)
        return weights + width * height * DECODING_BYTES_PER_PIXEL <= memory * USABLE_SHARE


def _stopped_by(model: Model, cancelled: CancelCheck | None) -> Model:
    return replace(model, cancelled=cancelled) if isinstance(model, ProcessModel) else model
