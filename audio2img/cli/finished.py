"""Every picture is saved and printed as soon as it is finished, however the command ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from audio2img.cli.results import drawing_table, json_text, open_pictures

if TYPE_CHECKING:
    from audio2img.pipeline.drawing import Drawing


class Finished:
    """Takes pictures from a pipeline, writes them and prints them with `show`: each path at once, or
    as_json one object for each source. paths: of the source's pictures that are on the disk.
    """

    def __init__(self, output: Path, show: Callable[[str], None], as_json: bool, open_after: bool) -> None:
        self.paths: list[Path] = []
        self._output, self._show = output, show
        self._as_json, self._open_after = as_json, open_after
        self._drawings: list[Drawing] = []

    def __call__(self, drawing: Drawing) -> None:
        paths = drawing.save(self._output)
        self.paths += paths
        self._drawings.append(drawing)
        if not self._as_json:
            for path in paths:
                self._show(str(path))

    @contextmanager
    def of(self, source: str | None = None, in_one_line: bool = False) -> Iterator[None]:
        """Around the work on one source. JSON tells also of pictures from before it was stopped or failed.

        in_one_line: as one of several JSON values is printed.
        """
        self.paths, self._drawings = [], []
        try:
            yield
        finally:
            if self._as_json and self._drawings:
                images = tuple(image for drawing in self._drawings for image in drawing.images)
                whole = replace(self._drawings[-1], images=images)
                self._show(json_text(drawing_table(whole, self.paths, source), in_one_line))
        if self._open_after:
            open_pictures(self.paths)
