"""What was made of files and may be asked for again, within a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from audio2img.server.listing import FileVersion

V = TypeVar("V")


class Remembered(Generic[V]):
    """The values of the files that were asked for last, as many as fit. Any thread may call."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._values: OrderedDict[FileVersion, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, file: FileVersion) -> V | None:
        with self._lock:
            if file not in self._values:
                return None
            self._values.move_to_end(file)
            return self._values[file][0]

    def put(self, file: FileVersion, value: V, n_bytes: int) -> None:
        """n_bytes: what the value takes; one that takes more than all may is not kept."""
        with self._lock:
            self._n_bytes += n_bytes - self._values.pop(file, (value, 0))[1]
            self._values[file] = value, n_bytes
            while self._n_bytes > self._max_bytes:
                self._n_bytes -= self._values.popitem(last=False)[1][1]
