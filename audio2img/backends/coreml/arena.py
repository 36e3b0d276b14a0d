"""Arrays handed from one process to another through memory that both have mapped.

One side writes, the other reads, turn by turn. The memory is a temporary file without a name, passed
on as a file descriptor: nothing is left of it when both processes are gone, however they end.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

ALIGNMENT = 64  # bytes; a cache line, and what NumPy's and Core ML's vector code likes best
GROWTH = 1 << 20  # bytes

Row = tuple[str, str, list[int], int]
"""Of an array in an arena: name, NumPy's short name of its type, shape, where it starts in bytes."""


class Arena:
    """One direction of the talk between two processes."""

    def __init__(self, descriptor: int | None = None) -> None:
        """descriptor: of the other side's arena; None makes a new one. Raises OSError if that fails."""
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor
        self._memory: mmap.mmap | None = None

    def write(
        self, arrays: Mapping[str, NDArray[Any]], dtypes: Mapping[str, np.dtype[np.generic]] | None = None
    ) -> list[Row]:
        """Copy arrays in, C-contiguous, in the types of `dtypes` where it has them; gives what `read` takes.

        Raises OSError when the disk of temporary files is full.
        """
        rows: list[Row] = []
        end = 0
        for name, array in arrays.items():
            dtype = (dtypes or {}).get(name, array.dtype)
            rows.append((name, dtype.str, list(array.shape), end))
            end += -(-math.prod(array.shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self._make_room(end)
        for row in rows:
            self._view(row)[...] = arrays[row[0]]
        return rows

    def read(self, rows: Sequence[Row]) -> Arrays:
        """Copies of the arrays that the other side wrote, by name."""
        return {row[0]: self._view(row).copy() for row in rows}

    def close(self) -> None:
        """Forget the memory; it is freed when the other side has done so, too."""
        self._memory = None
        os.close(self.descriptor)

    def _view(self, row: Row) -> NDArray[Any]:
        _, dtype, shape, start = row
        count = math.prod(shape)
        if self._memory is None or len(self._memory) < start + count * np.dtype(dtype).itemsize:
            self._memory = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        return np.frombuffer(self._memory, dtype, count, start).reshape(shape)

    def _make_room(self, size: int) -> None:
        """Have at least `size` bytes, and one more, so that an array of no elements is somewhere."""
        have = os.fstat(self.descriptor).st_size
        missing = size + 1 - have
        if missing > 0:
            # Written and not only declared: a disk that is full must say so here, not by a signal later.
            block = bytes(GROWTH)
            os.lseek(self.descriptor, 0, os.SEEK_END)
            for _ in range(-(-missing // GROWTH)):
                if os.write(self.descriptor, block) != GROWTH:
                    raise OSError("there is no room for the arrays of a model")
