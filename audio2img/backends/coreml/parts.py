"""The loaded parts of a model: all at once for speed, or one after the other for little memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from audio2img.backends.coreml.bundle import Bundle
from audio2img.backends.coreml.layout import UNET_CHUNKS
from audio2img.backends.coreml.runtime import Model, load_part
from audio2img.errors import ModelError

SELDOM_USED = ("vae_encoder",)  # loaded when the first picture starts from another one


class Parts:
    """Loads parts of a bundle and lends them out.

    low_memory: hold only the parts that are lent at the moment.
    """

    def __init__(self, bundle: Bundle, compute_units: str = "ALL", low_memory: bool = False) -> None:
        self.bundle = bundle
        self.low_memory = low_memory
        self._compute_units = compute_units
        self._loaded: dict[str, Model] = {}
        self._is_closed = False

    @property
    def unet_names(self) -> tuple[str, ...]:
        return ("unet",) if "unet" in self.bundle.parts else UNET_CHUNKS

    def load_all(self) -> None:
        """Load what every picture needs, in parallel. Raises ModelError or MachineError if one fails."""
        names = [name for name in self.bundle.parts if name not in SELDOM_USED]
        with ThreadPoolExecutor(len(names), "load") as pool:
            loading = {name: pool.submit(self._load, name) for name in names}
        self._loaded = {name: future.result() for name, future in loading.items()}

    @contextmanager
    def use(self, *names: str) -> Iterator[list[Model]]:
        """The parts of these names, loaded now if need be; with little memory they go when the block ends."""
        if self._is_closed:
            raise ModelError(f"the model {self.bundle.settings.name} is closed", "load it again")
        for name in names:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
        try:
            yield [self._loaded[name] for name in names]
        finally:
            if self.low_memory:
                for name in names:
                    self._loaded.pop(name, None)

    def close(self) -> None:
        """Free everything; closing twice is no error."""
        self._is_closed = True
        self._loaded = {}

    def _load(self, name: str) -> Model:
        return load_part(self.bundle.parts[name].path, self._compute_units)
