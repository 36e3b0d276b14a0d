"""Every picture is saved as soon as it is finished; what there is gets printed however the command ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from audio2img.cli.results import open_pictures, print_drawing

if TYPE_CHECKING:
    from audio2img.pipeline.drawing import Drawing


class Finished:
    """Takes pictures from a pipeline and writes them. paths: of those that are on the disk."""

    def __init__(self, output: Path) -> None:
        self.paths: list[Path] = []
        self._output = output
        self._drawings: list[Drawing] = []

    def __call__(self, drawing: Drawing) -> None:
        self.paths += drawing.save(self._output)
        self._drawings.append(drawing)

    @contextmanager
    def printed(self, as_json: bool, open_after: bool) -> Iterator[None]:
        """Around the work: print the pictures at its end; also those from before it was stopped or failed."""
        try:
            yield
        finally:
            if self._drawings:
                images = tuple(image for drawing in self._drawings for image in drawing.images)
                print_drawing(replace(self._drawings[-1], images=images), self.paths, as_json)
        if open_after:
            open_pictures(self.paths)
