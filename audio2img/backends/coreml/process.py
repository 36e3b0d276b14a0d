"""The parts of a model in a process of their own, which is asked through pipes and shared memory.

Core ML holds the lock of the Python that calls it for as long as it works, and can end it. In a
process of its own it stops no recording and no progress, a crash is an error message, stopping it
is ending it, and all its memory is free as soon as it has gone.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from audio2img import errors
from audio2img.backends.coreml.arena import Arena, Arrays
from audio2img.backends.coreml.compiled import remove_abandoned
from audio2img.backends.coreml.contract import Part
from audio2img.backends.protocol import CancelCheck
from audio2img.config import cache_dir
from audio2img.errors import CancelledError, MachineError, ModelError

WORKER = "audio2img.backends.coreml.worker"
POLL_S = 0.05  # how often a waiting call asks whether it should stop
GRACE_S = 0.3  # how long the process may take to end its call, which leaves it ready for the next one
WORDS_KEPT = 20  # lines of what it wrote to standard error

# The process cannot notice our end while Core ML holds its Python's lock, which may be for minutes. A shell
# can: its standard input ends when we do, however that is. (Linux can send a signal at the end of a parent,
# but also sends it at the end of the thread that started the process.)
END_WITH_US = ("/bin/sh", "-c", 'read -r _; kill -9 "$1"', "sh")

MODEL_CLOSED = ("the model is closed", "load it again")


@dataclass(frozen=True, eq=False)
class ProcessModel:
    """A part loaded by a ModelProcess: a runtime.Model. cancelled: asked while it loads and predicts."""

    process: ModelProcess
    part: Part
    compute_units: str
    cancelled: CancelCheck | None = None

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """See Model. Loads the part again if the process had to be started anew.

        Raises ModelError if the runtime fails, MachineError if its process ends, CancelledError.
        """
        return self.process.predict(self, inputs)


class ModelProcess:
    """Starts the process when it is needed, and again when it has ended. Calls of several threads take turns.

    cancelled, where a call has one, is asked about 20 times a second: the process then has GRACE_S to
    end its call, and is ended itself otherwise.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._running: _Running | None = None
        self._is_closed = False

    def start(self) -> None:
        """Have the process start up while something else is done. Raises MachineError if it cannot be."""
        with self._turn:
            self._started()

    def load(self, model: ProcessModel) -> None:
        """Load the part, unless it is loaded. Raises what `ProcessModel.predict` raises."""
        with self._taken(model.cancelled) as running:
            self._load(running, model)

    def predict(self, model: ProcessModel, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        with self._taken(model.cancelled) as running:
            number = self._load(running, model)
            try:
                dtypes = {name: spec.dtype for name, spec in model.part.inputs.items()}
                rows = running.inputs.write(inputs, dtypes)
            except OSError as error:
                raise MachineError(f"cannot hand a picture to Core ML: {error}", "make room there") from error
            request = {"do": "predict", "model": number, "rows": rows}
            answer = running.ask(request, model, f"running {model.part.path}")
            return running.outputs.read(answer["rows"])

    def drop(self, model: ProcessModel) -> None:
        """Free the memory of the part."""
        with self._turn:
            running = self._running
            if running is not None and (number := running.loaded.pop(_key(model), None)) is not None:
                with suppress(MachineError), self._kept_whole(running):  # if it has ended, so be it
                    running.ask({"do": "drop", "model": number}, None, "freeing memory")

    def close(self) -> None:
        """End the process, in the middle of a call if there is one; closing twice is no error."""
        self._is_closed = True
        running = self._running
        if running is not None:
            running.process.kill()
        with self._turn:
            self._end()

    def _load(self, running: _Running, model: ProcessModel) -> int:
        key = _key(model)
        if key not in running.loaded:
            path = str(model.part.path.absolute())
            request = {"do": "load", "path": path, "units": model.compute_units}
            running.loaded[key] = running.ask(request, model, f"loading {model.part.path}")["model"]
        return running.loaded[key]

    @contextmanager
    def _taken(self, cancelled: CancelCheck | None) -> Iterator[_Running]:
        """The running process, for a call of this thread alone."""
        while not self._turn.acquire(timeout=POLL_S):
            if cancelled is not None and cancelled():
                raise CancelledError("stopped while waiting for the model")
        try:
            running = self._started()
            with self._kept_whole(running):
                yield running
        finally:
            self._turn.release()

    @contextmanager
    def _kept_whole(self, running: _Running) -> Iterator[None]:
        """End the process if a call is left before it was answered."""
        try:
            yield
        except BaseException as error:
            if running.is_asked:
                self._end()
                if self._is_closed and isinstance(error, MachineError):
                    raise ModelError(*MODEL_CLOSED) from None
            raise

    def _started(self) -> _Running:
        if self._is_closed:
            raise ModelError(*MODEL_CLOSED)
        if self._running is not None and self._running.process.poll() is not None:
            self._end()
        if self._running is None:
            self._running = _Running.start()
            # Also at the end of the program, or when nobody holds this object any more.
            self._finalizer = weakref.finalize(self, self._running.end)
        return self._running

    def _end(self) -> None:
        if self._running is not None:
            self._finalizer()
            self._running = None


def _key(model: ProcessModel) -> tuple[Path, str]:
    return model.part.path, model.compute_units


@dataclass(eq=False)
class _Running:
    """A process that runs. guard: ends it after us. loaded: its number for each part; is_asked: an answer is
    still to come."""

    process: subprocess.Popen[bytes]
    guard: subprocess.Popen[bytes]
    inputs: Arena
    outputs: Arena
    loaded: dict[tuple[Path, str], int] = field(default_factory=dict)
    is_asked: bool = False
    _unread: bytes = b""
    _words: deque[str] = field(default_factory=lambda: deque(maxlen=WORDS_KEPT))
    _note_taker: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._note_taker = threading.Thread(target=_note_words, args=(self.process, self._words), daemon=True)
        self._note_taker.start()

    @classmethod
    def start(cls) -> _Running:
        """Raises MachineError if it cannot be started; then nothing of it is left."""
        import audio2img

        with ExitStack() as undo:
            try:
                inputs, outputs = (undo.enter_context(closing(Arena())) for _ in range(2))
                process = undo.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-m", WORKER, str(inputs.descriptor), str(outputs.descriptor)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        # Python looks for modules in the folder it is started in: nobody's else than ours.
                        cwd=Path(audio2img.__file__).parent.parent,
                        env={**os.environ, "AUDIO2IMG_CACHE": str(cache_dir().absolute())},
                        pass_fds=(inputs.descriptor, outputs.descriptor),
                        start_new_session=True,  # Ctrl-C reaches it through us
                    )
                )
                undo.callback(process.kill)
                guard = undo.enter_context(
                    subprocess.Popen(
                        [*END_WITH_US, str(process.pid)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                )
                undo.callback(guard.kill)
            except OSError as error:
                raise MachineError(
                    f"cannot start a process for Core ML: {error}",
                    "close other programs, or make room on the disk",
                ) from error
            running = cls(process, guard, inputs, outputs)
            undo.pop_all()
        return running

    def ask(self, request: Mapping[str, Any], model: ProcessModel | None, doing: str) -> dict[str, Any]:
        """The answer to `request`. Raises what it says went wrong, MachineError if the process ends."""
        self.is_asked = True
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which reading tells
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        line = self._read_line(None if model is None else model.cancelled)
        if not line:
            raise self._ended(doing)
        self.is_asked = False
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            kind, message, remedy = answer["error"]
            raise getattr(errors, kind)(message, remedy)
        if "fault" in answer:
            raise RuntimeError(f"in the process that runs the model:\n{answer['fault']}")
        return answer

    def _read_line(self, cancelled: CancelCheck | None) -> bytes:
        """What the process writes; empty when it has ended. Raises CancelledError when it must be ended."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        give_up_at: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if selector.select(None if cancelled is None else POLL_S):
                    piece = os.read(descriptor, 1 << 16)
                    if not piece:
                        return b""
                    self._unread += piece
                elif cancelled is not None and cancelled():
                    give_up_at = give_up_at or time.monotonic() + GRACE_S
                    if time.monotonic() >= give_up_at:
                        raise CancelledError("stopped while the model was at work")
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _ended(self, doing: str) -> MachineError:
        code = self.process.wait()
        self._note_taker.join(1)
        if code == -signal.SIGKILL:
            remedy = "memory may have run out: close other programs, or try: `low_memory=True`"
        else:
            remedy = "try again, or with `compute_units=CPU_ONLY`; audio2img doctor --deep looks closer"
        how = describe_end(code, list(self._words))
        return MachineError(f"the process that runs the model {how}, while {doing}", remedy)

    def end(self) -> None:
        """Kill the process, and free what belongs to it."""
        self.process.kill()
        self.guard.kill()
        self.guard.wait()
        self.process.wait()  # last: from then on its number, all that the guard knows, may be another's
        for pipe in (self.process.stdin, self.process.stdout, self.guard.stdin):
            assert pipe is not None
            with suppress(OSError):  # what could not be written any more
                pipe.close()
        self.inputs.close()
        self.outputs.close()
        remove_abandoned()


def _note_words(process: subprocess.Popen[bytes], words: deque[str]) -> None:
    """Keep the last lines that the process writes to standard error."""
    assert process.stderr is not None
    with process.stderr:
        words.extend(line.decode(errors="replace").strip() for line in process.stderr if line.strip())


def describe_end(code: int, words: list[str]) -> str:
    """How a process ended, for a message: its exit code, or the name of the signal, and its last words."""
    last = f": {words[-1][:200]}" if words else ""
    if code >= 0:
        return f"failed with exit code {code}{last}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"crashed ({name}){last}"
