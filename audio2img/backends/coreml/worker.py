"""The other side of process.ModelProcess: `python -m audio2img.backends.coreml.worker INPUTS OUTPUTS`.

INPUTS and OUTPUTS are the descriptors of two arenas. Standard input brings requests, standard output
takes answers, one JSON table a line, turn by turn:

    {"do": "load", "path": "...", "units": "ALL"}        -> {"model": 1}
    {"do": "predict", "model": 1, "rows": [...]}         -> {"rows": [...]}
    {"do": "drop", "model": 1}                           -> {}

What goes wrong is answered by {"error": [class of errors.py, message, remedy]}, a fault of ours by
{"fault": traceback}. When standard input ends, so does this process, as soon as it has answered; whoever
starts it sees to it that it ends sooner.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from audio2img.backends.coreml import apple
from audio2img.backends.coreml.arena import Arena, Arrays
from audio2img.backends.coreml.runtime import Model, load_part
from audio2img.errors import Audio2ImgError, MachineError

REMEMBERED_CALLS = 2


def main(arguments: list[str]) -> None:
    # Ctrl-C at the terminal is for the process that was started there; it ends this one when it wants to.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inputs, outputs = (Arena(int(descriptor)) for descriptor in arguments)
    requests, answers = _take_pipes()
    with suppress(Audio2ImgError):  # told when something is to be loaded
        apple.prepare()
    _Desk(inputs, outputs).serve(requests, answers)


def _take_pipes() -> tuple[TextIO, TextIO]:
    """Requests and answers. Whatever else prints to standard output writes to standard error instead."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, answers


class _Desk:
    """Answers requests one after the other."""

    def __init__(self, inputs: Arena, outputs: Arena) -> None:
        self._inputs, self._outputs = inputs, outputs
        self._models: dict[int, Model] = {}
        self._n_loaded = 0
        self._calls: list[tuple[Arrays, Arrays]] = []

    def serve(self, requests: TextIO, answers: TextIO) -> None:
        for line in requests:
            answer = self._answer(json.loads(line))
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._do(**request)
        except Audio2ImgError as error:
            return {"error": [type(error).__name__, error.message, error.remedy]}
        except MemoryError:
            return {"error": [MachineError.__name__, "there is not enough memory for the model", ""]}
        except Exception:
            return {"fault": traceback.format_exc()}

    def _do(self, do: str, **details: Any) -> dict[str, Any]:
        if do == "load":
            return self._load(**details)
        return self._predict(**details) if do == "predict" else self._drop(**details)

    def _load(self, path: str, units: str) -> dict[str, Any]:
        self._n_loaded += 1
        self._models[self._n_loaded] = load_part(Path(path), units)
        return {"model": self._n_loaded}

    def _predict(self, model: int, rows: list[Any]) -> dict[str, Any]:
        inputs = self._inputs.read(rows)
        outputs = self._models[model].predict(inputs)
        # Core ML may look at what it was given after it has answered (apple/coremltools pull request 2827).
        self._calls = [*self._calls, (inputs, outputs)][-REMEMBERED_CALLS:]
        try:
            return {"rows": self._outputs.write(outputs)}
        except OSError as error:
            raise MachineError(f"cannot hand over what a model gave: {error}", "make room there") from error

    def _drop(self, model: int) -> dict[str, Any]:
        self._models.pop(model, None)
        return {}


if __name__ == "__main__":
    main(sys.argv[1:])
