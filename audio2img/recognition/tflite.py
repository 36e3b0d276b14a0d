"""A TFLite file that names sounds, opened with LiteRT and checked to be one.

The only module that knows ai-edge-litert (the extra `sounds`). LiteRT verifies a file's structure
before it reads it, and refuses what is cut or changed; what it then is, is checked here.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import MachineError, ModelError
from audio2img.files import regular_size
from audio2img.installation import how_to_add
from audio2img.recognition.sound_windows import WINDOW

TFLITE_IDENTIFIER = b"TFL3"  # at byte 4 of the file, as schema.fbs of TensorFlow Lite says
LABELS_SUFFIX = ".txt"
LABELS_LIMIT_BYTES = 1 << 20


class SoundModel:
    """One loaded file. Not for two threads at once: the caller holds a lock around every call.

    names: what its scores are of: the labels that the file brings along (TFLite metadata), or else
    `default_names`, whichever there are as many scores of.

    Raises ModelError for a file that is missing, damaged, or hears or says something else than
    windows of WINDOW samples and a score for each name; MachineError where LiteRT is not installed.
    """

    def __init__(self, path: Path, default_names: Sequence[str], threads: int = 1) -> None:
        interpreter_class = load_interpreter_class()
        _check_identifier(path)
        known = (*read_labels(path), tuple(default_names))
        with _native_talk_aside():
            try:
                self._interpreter = interpreter_class(model_path=os.fspath(path), num_threads=threads)
                self._input = _open_input(self._interpreter, path)
                self._interpreter.allocate_tensors()
                self._output, self.names = _find_scores(self._interpreter, known, path)
                noise = np.random.default_rng(0).uniform(-1, 1, WINDOW).astype(np.float32)
                scores = self.score(noise)
            except (ValueError, RuntimeError, TypeError) as error:
                raise _refused(path, f"LiteRT cannot run it ({' '.join(str(error).split())})") from None
        if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
            raise _refused(path, "its scores are not between 0 and 1")

    def score(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """window: (WINDOW,) float32. The scores of the classes: (len(names),) float32 in [0, 1]."""
        self._interpreter.set_tensor(self._input["index"], window.reshape(self._input["shape"]))
        self._interpreter.invoke()
        scores: NDArray[np.float32] = self._interpreter.get_tensor(self._output["index"])
        # A model of free length may cut a window into several frames, each with its scores.
        mean: NDArray[np.float32] = scores.reshape(-1, len(self.names)).mean(axis=0)
        return mean


def load_interpreter_class() -> Any:
    """LiteRT's Interpreter. Raises MachineError with the command that installs it."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        where = " (there is none for Macs with Intel processors)" if sys.platform == "darwin" else ""
        raise MachineError(
            f"naming sounds needs the package ai-edge-litert{where}: {error}", how_to_add("sounds")
        ) from None
    return Interpreter


def read_labels(path: Path) -> tuple[tuple[str, ...], ...]:
    """The lists of labels in a file's metadata, which TFLite appends as a zip; () where there are none."""
    try:
        with zipfile.ZipFile(path) as archive:
            texts = [
                archive.read(entry).decode("utf-8")
                for entry in archive.infolist()
                if entry.filename.endswith(LABELS_SUFFIX)
                and entry.file_size <= LABELS_LIMIT_BYTES
                and entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            ]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
        return ()
    lists = (tuple(line.strip() for line in text.splitlines() if line.strip()) for text in texts)
    return tuple(labels for labels in lists if labels)


def _check_identifier(path: Path) -> None:
    try:
        regular_size(path)
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        reason = "is a folder" if path.is_dir() else f"cannot be read: {error.strerror}"
        raise ModelError(f"the sound model {path} {reason}", "give a .tflite file") from None
    if head[4:] != TFLITE_IDENTIFIER:
        raise _refused(path, "it is not a TFLite file" if head else "it is empty")


def _open_input(interpreter: Any, path: Path) -> dict[str, Any]:
    """The one input, as long as a window; one of free length is made so."""
    inputs = interpreter.get_input_details()
    shapes = [list(map(int, one["shape_signature"])) for one in inputs]
    if len(inputs) != 1 or inputs[0]["dtype"] is not np.float32:
        kinds = ", ".join(
            f"{one['dtype'].__name__} {shape}" for one, shape in zip(inputs, shapes, strict=True)
        )
        raise _refused(path, f"it takes {kinds}, not one float32 [1, {WINDOW}]")
    if shapes[0] in ([WINDOW], [1, WINDOW]):
        return dict(inputs[0])
    if shapes[0] not in ([-1], [1, -1], [-1, WINDOW], [-1, -1]):
        raise _refused(path, f"it takes float32 {shapes[0]}, not [1, {WINDOW}] (.975 s at 16 kHz)")
    interpreter.resize_tensor_input(inputs[0]["index"], [1, WINDOW][-len(shapes[0]) :])
    return dict(interpreter.get_input_details()[0])


def _find_scores(
    interpreter: Any, known: Sequence[tuple[str, ...]], path: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The output that holds a score for each name, found by its shape: files differ in their order."""
    outputs = interpreter.get_output_details()
    for names in known:
        for output in outputs:
            shape = output["shape"]
            if output["dtype"] is np.float32 and len(shape) and shape[-1] == len(names):
                return dict(output), names
    shapes = ", ".join(str(list(map(int, output["shape"]))) for output in outputs)
    wanted = " or ".join(f"[1, {len(names)}]" for names in known)
    raise _refused(path, f"it gives {shapes}, not {wanted}, a score for each kind of sound")


def _refused(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} is not a model that names sounds: {reason}",
        "take YAMNet: audio2img models get yamnet, or another classifier of its shape",
    )


@contextmanager
def _native_talk_aside() -> Iterator[None]:
    """Keep what LiteRT writes to stderr while it loads: its news are dropped, anything else follows after.

    It has no door for this but file descriptor 2, so this must be short: other threads write there, too.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError):  # no stderr, as under pythonw
        yield
        return
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            aside.seek(0)
            rest = [line for line in aside if not line.startswith(b"INFO:")]
            os.write(2, b"".join(rest))
