"""The loaded parts of a model: all at once for speed, or one after the other for little memory.

They run in this process, or in one of their own (see process).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.layout import UNET_CHUNKS
from audio2img.backends.coreml.process import ModelProcess, ProcessModel
from audio2img.backends.coreml.runtime import Model, load_part
from audio2img.backends.protocol import CancelCheck
from audio2img.errors import ModelError

SELDOM_USED = ("vae_encoder",)  # loaded when the first picture starts from another one


class Parts:
    """Loads parts of a bundle and lends them out.

    low_memory: hold only the parts that are lent at the moment. process: where they run; None is this one.
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
        """The parts of these names, loaded now if need be; with little memory they go when the block ends.

        cancelled: asked while they are loaded, and where they run in a process of their own while they
        predict, which CancelledError then ends.
        """
        if self._is_closed:
            raise ModelError(f"the model {self.bundle.settings.name} is closed", "load it again")
        for name in names:
            if name not in self._loaded:
                self._loaded[name] = self._load(name, cancelled)
        try:
            yield [_stopped_by(self._loaded[name], cancelled) for name in names]
        finally:
            if self.low_memory:
                for name in names:
                    self._drop(name)

    def close(self) -> None:
        """Free everything; closing twice is no error."""
        self._is_closed = True
        self._loaded = {}
        if self._process is not None:
            self._process.close()

    def _load(self, name: str, cancelled: CancelCheck | None = None) -> Model:
        part = self.bundle.parts[name]
        if self._process is None:
            return load_part(part.path, self._compute_units)
        model = ProcessModel(self._process, part, self._compute_units, cancelled)
        self._process.load(model)
        return model

    def _drop(self, name: str) -> None:
        model = self._loaded.pop(name, None)
        if isinstance(model, ProcessModel):
            model.process.drop(model)


def _stopped_by(model: Model, cancelled: CancelCheck | None) -> Model:
    return replace(model, cancelled=cancelled) if isinstance(model, ProcessModel) else model
