"""whisper.cpp itself, made safe to call.

The only module that knows pywhispercpp. It uses its C-style binding, `_pywhispercpp`, and not its
`Model` class: that one ignores whisper.cpp's return codes, gives no probabilities while it works,
and keeps parameters from one call to the next. Nothing here checks a model file; `ggml` does.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio2img.errors import MachineError, ModelError
from audio2img.installation import how_to_repair

logger = logging.getLogger(__name__)

_import_lock = threading.Lock()
_thread = threading.local()
_binding: Any = None


@dataclass(frozen=True)
class RawSegment:
    """A segment as whisper.cpp gives it. Times in seconds, not to be trusted; probability in [0, 1]."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True)
class DecodeSettings:
    """What one transcription asks of whisper.cpp. language: a code that it knows."""

    language: str
    translate: bool
    initial_prompt: str
    threads: int
    writes_timestamps: bool
    vad_model_path: str | None


def load_binding() -> Any:
    """The `_pywhispercpp` module, silenced. Raises MachineError where it is not installed."""
    global _binding
    with _import_lock:
        if _binding is None:
            # Without this an abort inside ggml starts a debugger, where one is installed.
            os.environ.setdefault("GGML_NO_BACKTRACE", "1")
            binding = _import_binding()
            # whisper.cpp writes its log to stderr from native code. A log callback keeps it off
            # the terminal without touching file descriptor 2, which other threads draw on. It
            # must be gone before the interpreter is, or the process aborts at exit.
            binding.whisper_log_set(_log)
            atexit.register(binding.whisper_log_set, None)
            _binding = binding
        return _binding


def _import_binding() -> Any:
    # Its OpenMP threads wait for one another in busy loops: with as many threads as cores and
    # anything else at work (the image model that is being loaded), a transcription of .1 s takes
    # 5 s. OpenMP reads this once, while it is loaded; nobody else shall inherit it.
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import _pywhispercpp
    except (ImportError, OSError) as error:
        raise MachineError(
            f"speech recognition cannot be loaded here: {error}",
            how_to_repair("pywhispercpp"),
        ) from None
    finally:
        if before is None:
            del os.environ["OMP_WAIT_POLICY"]
    return _pywhispercpp


def _log(_level: int, text: str) -> None:
    if line := text.strip():
        logger.debug("%s", line)
        if (lines := getattr(_thread, "lines", None)) is not None:
            lines.append(line)


@contextmanager
def _reading_log() -> Iterator[list[str]]:
    """What whisper.cpp logs in this thread meanwhile."""
    lines: list[str] = []
    _thread.lines = lines
    try:
        yield lines
    finally:
        del _thread.lines


class NativeModel:
    """One loaded model. Not for two threads at once: the caller holds a lock around every call."""

    def __init__(self, path: str, *, use_gpu: bool = True) -> None:
        self._binding = load_binding()
        context_params = self._binding.whisper_context_default_params()
        context_params.use_gpu = use_gpu
        # Flash attention pads the encoder's output without masking it: off, at a small cost in speed.
        context_params.flash_attn = False
        self._context = self._binding.whisper_init_from_file_with_params(path, context_params)
        if self._context is None:
            raise ModelError(f"whisper.cpp cannot load {path}", "see why with --verbose")
        # Also runs at exit: Metal insists that its memory is given back before the process ends.
        self._free = weakref.finalize(self, self._binding.whisper_free, self._context)

    def close(self) -> None:
        self._free()

    def languages(self, n_languages: int) -> list[str]:
        """The codes of the first `n_languages` languages, in whisper.cpp's order."""
        return [self._binding.whisper_lang_str(number) for number in range(n_languages)]

    def language_code(self, name: str) -> str | None:
        """The code of a language given by code or English name ("german" -> "de"), None if unknown."""
        number = self._binding.whisper_lang_id(name)
        return None if number < 0 else str(self._binding.whisper_lang_str(number))

    def detect_language(
        self, samples: NDArray[np.float32], threads: int, should_stop: Callable[[], bool]
    ) -> tuple[str, float | None]:
        """The likeliest language of the first 30 s of samples: (n,) float32 at 16 kHz, and how likely.

        By a transcription that ends after this: the function made for it, `whisper_lang_auto_detect`,
        holds the interpreter's lock for a whole pass of the encoder. How likely is told in its log only.
        """
        params = self._binding.whisper_full_default_params(
            self._binding.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY
        )
        params.n_threads = threads
        params.print_progress = False
        params.language = "auto"
        params.detect_language = True
        with _reading_log() as lines:
            self._run(params, samples, should_stop)
        number = self._binding.whisper_full_lang_id(self._context)
        code = str(self._binding.whisper_lang_str(max(0, number)))
        told = re.search(r"auto-detected language: (\w+) \(p = ([\d.]+)\)", "\n".join(lines))
        return code, float(told[2]) if told and told[1] == code else None

    def decode(
        self,
        samples: NDArray[np.float32],
        settings: DecodeSettings,
        on_segment: Callable[[RawSegment], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Transcribe samples: (n,) float32 at 16 kHz, contiguous, at least 0.2 s.

        Both callbacks are called from here, in the calling thread, and must not raise.
        """
        params = self._params(settings)
        n_told = 0

        def tell(context: Any, _n_new: int) -> None:
            nonlocal n_told
            n_segments = self._binding.whisper_full_n_segments(context)
            for number in range(n_told, n_segments):
                on_segment(self._segment(context, number))
            n_told = n_segments

        self._binding.assign_new_segment_callback(params, tell)
        self._run(params, samples, should_stop)

    def _run(self, params: Any, samples: NDArray[np.float32], should_stop: Callable[[], bool]) -> None:
        self._binding.assign_abort_callback(params, should_stop)
        code = self._binding.whisper_full(self._context, params, samples, samples.size)
        if code != 0 and not should_stop():
            raise ModelError(
                f"whisper.cpp failed with code {code}",
                "see why with --verbose, or try another `speech_model`",
            )

    def _params(self, settings: DecodeSettings) -> Any:
        params = self._binding.whisper_full_default_params(
            self._binding.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY
        )
        params.n_threads = settings.threads
        params.language = settings.language
        params.translate = settings.translate
        params.print_progress = False
        params.print_realtime = False
        params.print_special = False
        # One pass at temperature 0. The fallback to higher ones takes minutes on odd input.
        params.temperature = 0.0
        params.temperature_inc = 0.0
        # whisper.cpp reads this probability from a row it has not written: never act on it.
        params.no_speech_thold = 1.0
        params.no_timestamps = not settings.writes_timestamps
        params.no_context = True
        if settings.initial_prompt:
            params.initial_prompt = settings.initial_prompt
            params.carry_initial_prompt = True
        else:
            # Text of the window before makes Whisper repeat itself, and nothing here stops that.
            params.n_max_text_ctx = 0
        if settings.vad_model_path is not None:
            params.vad = True
            params.vad_model_path = settings.vad_model_path
        return params

    def _segment(self, context: Any, number: int) -> RawSegment:
        binding = self._binding
        text: bytes = binding.whisper_full_get_segment_text(context, number)
        return RawSegment(
            binding.whisper_full_get_segment_t0(context, number) / 100.0,  # centiseconds
            binding.whisper_full_get_segment_t1(context, number) / 100.0,
            text.decode("utf-8", errors="replace").strip(),
            self._probability(context, number),
        )

    def _probability(self, context: Any, number: int) -> float:
        """Geometric mean over the tokens of a segment."""
        binding = self._binding
        n_tokens = binding.whisper_full_n_tokens(context, number)
        if n_tokens == 0:
            return 0.0
        # A probability that underflowed to zero counts as the least float32.
        logs = (
            math.log(max(binding.whisper_full_get_token_p(context, number, token), 1e-38))
            for token in range(n_tokens)
        )
        return math.exp(sum(logs) / n_tokens)
