"""From any recording to 16 kHz mono float32, through FFmpeg's decoders (PyAV) and soxr.

Channels are averaged here and not by FFmpeg, whose mono downmix of stereo is 3 dB too loud
and clips; rates are converted by soxr and not by FFmpeg, whose default filter lets tones
above 8 kHz fold back into speech. Memory stays constant however long the recording is.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audio2img.audio.recordings import empty_recording, open_recording
from audio2img.audio.resampling import Resampler, check_rate
from audio2img.errors import InputError, MachineError, UsageError
from audio2img.types import SAMPLE_RATE_HZ, AudioClip

if TYPE_CHECKING:
    import av
    import av.container

Source = str | os.PathLike[str] | BinaryIO
Progress = Callable[[float | None], None]

BLOCK_SAMPLES = 1 << 16  # what is gathered before it is resampled: 1.5 s at 44.1 kHz
SPOOL_BYTES = 32 << 20  # a pipe is kept in memory up to here, then in a temporary file
PRESIZE_LIMIT_S = 4 * 3600.0  # how far a file's own word about its duration is trusted for memory
# What a file can hold: the thriftiest speech codec (Codec 2 at 450 bit/s) takes 56 bytes a second, and
# a short silence next to nothing. More than that is made to fill the memory.
LEAST_BYTES_PER_S = 32
ALWAYS_ALLOWED_S = 600.0
MAX_CHANNELS = 64  # FFmpeg converts no more
CUT_SHORT_S = 0.5  # a recording that ends this much before its declared end has been cut
CUT_SHORT_SHARE = 0.02

AVSEEK_FORCE = 0x20000  # FFmpeg adds it to `whence`: seek, whatever it costs
LOUDEST = 2.0**31  # floats somebody wrote as integers of 32 bit; what is louder is no sound

logger = logging.getLogger(__name__)


def decode_audio(source: Source, *, progress: Progress | None = None) -> AudioClip:
    """The whole recording as one clip.

    source: a path, "-" for standard input, or a binary file object (it may be a pipe).
    progress: called with the share done in [0, 1], or None where the length is unknown.
    Returns a clip whose samples are (n,) float32 at 16 kHz. Peak memory is about the result's
    own size: 230 MB for an hour. Something cut short or damaged inside is decoded as far as it
    goes, and a warning is logged.

    Raises InputError: no such file, a directory, empty, unreadable, not audio, no audio track,
    samples that are not numbers, a rate that no sound has, more sound than its bytes can hold.
    MachineError: it does not fit into memory. UsageError: a value that is no path and no file.
    """
    with _open_source(source) as opened:
        collected = _Collector()
        for block in _stream(opened, progress, collected.expect):
            collected.add(block)
        return AudioClip(collected.finish(), opened.name)


def stream_audio(source: Source, *, progress: Progress | None = None) -> Iterator[NDArray[np.float32]]:
    """The recording as blocks of (n,) float32 at 16 kHz, in constant memory.

    The blocks have no fixed length. Raises what `decode_audio` raises, from the first step on.
    """
    with _open_source(source) as opened:
        yield from _stream(opened, progress)


class _Collector:
    """One array that grows in place: realloc moves pages where concatenating would hold two copies."""

    def __init__(self) -> None:
        self._samples = np.empty(0, np.float32)
        self._used = 0

    def expect(self, duration_s: float) -> None:
        n_samples = int(min(duration_s, PRESIZE_LIMIT_S) * SAMPLE_RATE_HZ) + BLOCK_SAMPLES
        with contextlib.suppress(MemoryError):  # it may be a lie, and then nothing of it is needed
            self._samples = np.empty(n_samples, np.float32)

    def add(self, block: NDArray[np.float32]) -> None:
        end = self._used + block.size
        if end > self._samples.size:
            # Not by more: what is added is filled with zeros, and so takes memory at once.
            try:
                self._samples.resize(end + end // 16 + BLOCK_SAMPLES, refcheck=False)
            except MemoryError:
                hours = end / SAMPLE_RATE_HZ / 3600
                raise MachineError(
                    f"there is not enough memory for {hours:.1f} hours of sound and more",
                    "cut the recording into pieces",
                ) from None
        self._samples[self._used : end] = block
        self._used = end

    def finish(self) -> NDArray[np.float32]:
        self._samples.resize(self._used, refcheck=False)
        return self._samples


@dataclass(frozen=True)
class _OpenSource:
    """A seekable binary file, and what to call it in messages."""

    file: BinaryIO
    name: str


@contextmanager
def _open_source(source: Source) -> Iterator[_OpenSource]:
    """Open `source` for reading and seeking; what was opened here is closed here."""
    if isinstance(source, (str, os.PathLike)) and os.fspath(source) != "-":
        with open_recording(Path(source)) as file, _seekable(file, Path(source).name) as seekable:
            yield _OpenSource(seekable, Path(source).name)
        return
    if isinstance(source, (str, os.PathLike)):
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError(
                "standard input is a terminal, not a recording",
                "pipe one in: audio2img run - < memo.m4a",
            )
        file, name = sys.stdin.buffer, "standard input"
    else:
        _check_is_file_object(source)
        given_name = getattr(source, "name", None)
        file, name = source, Path(given_name).name if isinstance(given_name, str) else "the given file"
    with _seekable(file, name) as seekable:
        yield _OpenSource(seekable, name)


def _check_is_file_object(source: object) -> None:
    if not callable(getattr(source, "read", None)):
        raise UsageError(
            f"no recording can be read from a value of type {type(source).__name__}",
            "give a path, a file that is open in binary mode, or an AudioClip",
        )


@contextmanager
def _seekable(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """`file` itself where it can seek, else a copy: an m4a keeps its index at either end."""
    if _can_seek(file):
        yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        try:
            shutil.copyfileobj(file, spool)
        except (OSError, TypeError) as error:
            raise InputError(f"{name} cannot be read: {error}", "give a file opened in binary mode") from None
        if spool.tell() == 0:
            raise empty_recording(name)
        spool.seek(0)
        yield spool  # type: ignore[misc]  # typeshed: a SpooledTemporaryFile is not quite a BinaryIO


def _can_seek(file: BinaryIO) -> bool:
    try:
        return bool(file.seekable())
    except AttributeError:  # a file object of somebody's own that only reads
        return False


class _ReadOnly:
    """What PyAV sees of a file: a name that FFmpeg cannot take for an address, and the first read fault."""

    def __init__(self, opened: _OpenSource) -> None:
        self._file = opened.file
        # The ending helps FFmpeg to recognise raw streams; the rest of the name is of no use to it.
        self.name = "audio" + Path(opened.name).suffix
        self.fault: OSError | None = None

    def read(self, n_bytes: int) -> bytes:
        try:
            return self._file.read(n_bytes)[:n_bytes]  # PyAV copies what it gets, however much it is
        except OSError as error:
            self.fault = self.fault or error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """The new position; a negative error number where a damaged file sends FFmpeg nowhere."""
        try:
            return self._file.seek(offset, whence & ~AVSEEK_FORCE)
        except (OSError, ValueError):
            return -errno.EINVAL

    def tell(self) -> int:
        return self._file.tell()


def _stream(
    opened: _OpenSource,
    progress: Progress | None,
    expect: Callable[[float], None] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Decode, average, resample. `expect` is told the declared duration in seconds, where there is one."""
    import av

    head, size_bytes = _peek(opened)
    reader = _ReadOnly(opened)
    try:
        # The empty whitelist keeps a playlist disguised as audio from opening files or addresses.
        container = av.open(reader, "r", metadata_errors="ignore", options={"protocol_whitelist": "none"})
    except av.error.FFmpegError as error:
        raise _read_fault(opened, reader) or _not_audio(opened, head, error) from None
    with container:
        if not container.streams.audio:
            raise InputError(
                f"{opened.name} has no audio track", "give a recording, or a video that has sound"
            )
        declared_s = _declared_duration_s(container)
        if declared_s is not None and expect is not None:
            expect(declared_s)
        meter = _Meter(opened.name, size_bytes, declared_s, progress)
        yield from _resample(_mono_blocks(container, meter))
    if fault := _read_fault(opened, reader):
        raise fault
    meter.report_damage()


def _peek(opened: _OpenSource) -> tuple[bytes, int]:
    """The first bytes, and how many there are."""
    try:
        position = opened.file.tell()
        head = opened.file.read(12)
        size_bytes = opened.file.seek(0, os.SEEK_END) - position
        opened.file.seek(position)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{opened.name} cannot be read: {error}", "check the disk, or copy it again"
        ) from None
    if not isinstance(head, bytes):
        raise InputError(f"{opened.name} was opened as text", "open it in binary mode: open(path, 'rb')")
    if not head:
        raise empty_recording(opened.name)
    return head, size_bytes


def _read_fault(opened: _OpenSource, reader: _ReadOnly) -> InputError | None:
    if reader.fault is None:
        return None
    return _unreadable(opened, reader.fault)


def _unreadable(opened: _OpenSource, fault: Exception) -> InputError:
    return InputError(f"{opened.name} cannot be read: {fault}", "check the disk, or copy it again")


def _not_audio(opened: _OpenSource, head: bytes, error: Exception) -> InputError:
    if head[4:8] == b"ftyp":
        return InputError(
            f"{opened.name} is cut off: the index that an m4a or mp4 file ends with is missing",
            "copy or download it again, or record it again",
        )
    return InputError(
        f"{opened.name} is not a recording in any format known here ({getattr(error, 'strerror', error)})",
        "check that it plays; wav, mp3, m4a, flac, ogg, opus, webm and videos can be read",
    )


def _declared_duration_s(container: av.container.InputContainer) -> float | None:
    """What the file says its audio lasts, in seconds; None where it says nothing."""
    stream = container.streams.audio[0]
    if stream.duration and stream.duration > 0 and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return container.duration / 1_000_000  # AV_TIME_BASE: microseconds
    return None


class _Meter:
    """Counts what was decoded, reports progress, and says in the end what was missing."""

    def __init__(
        self, name: str, size_bytes: int, declared_s: float | None, progress: Progress | None
    ) -> None:
        self.name = name
        self.decoded_s = 0.0
        self.damaged_packets = 0
        self._allowed_s = ALWAYS_ALLOWED_S + size_bytes / LEAST_BYTES_PER_S
        self._declared_s = declared_s
        self._progress = progress

    def add(self, duration_s: float) -> None:
        self.decoded_s += duration_s
        if self.decoded_s > self._allowed_s:
            raise InputError(
                f"{self.name} unpacks into more than {self._allowed_s / 60:.0f} minutes of sound, "
                "far more than a file of its size can hold",
                "it is damaged, or made to fill the memory: record or export it again",
            )
        if self._progress is not None:
            self._progress(min(1.0, self.decoded_s / self._declared_s) if self._declared_s else None)

    def report_damage(self) -> None:
        if self.decoded_s == 0.0:
            raise InputError(
                f"{self.name} holds no sound that can be decoded", "copy it again, or record it again"
            )
        if self.damaged_packets:
            logger.warning("%s: %d damaged packets were left out", self.name, self.damaged_packets)
        missing_s = (self._declared_s or 0.0) - self.decoded_s
        if missing_s > max(CUT_SHORT_S, CUT_SHORT_SHARE * (self._declared_s or 0.0)):
            logger.warning(
                "%s is cut short: it holds %.1f s of the %.1f s that it declares",
                self.name, self.decoded_s, self._declared_s,
            )  # fmt: skip


def _mono_blocks(
    container: av.container.InputContainer, meter: _Meter
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """(samples, rate) of the first audio track: blocks of one rate each, about BLOCK_SAMPLES long."""
    pending: list[NDArray[np.float32]] = []
    n_pending, rate = 0, 0
    for samples, new_rate in _packed(_frames(container, meter), meter):
        if n_pending and (n_pending >= BLOCK_SAMPLES or new_rate != rate):
            yield _join(pending, meter.name), rate
            meter.add(n_pending / rate)
            pending, n_pending = [], 0
        if new_rate != rate:
            check_rate(new_rate, meter.name)
        rate = new_rate
        pending.append(_average_channels(samples))
        n_pending += len(samples)
    if n_pending:
        yield _join(pending, meter.name), rate
        meter.add(n_pending / rate)


def _frames(container: av.container.InputContainer, meter: _Meter) -> Iterator[av.AudioFrame]:
    """Every frame that decodes. A damaged packet is left out and counted; a damaged container ends it."""
    import av

    stream = container.streams.audio[0]
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            meter.damaged_packets += 1
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            meter.damaged_packets += 1
            continue
        yield from frames


def _packed(frames: Iterator[av.AudioFrame], meter: _Meter) -> Iterator[tuple[NDArray[np.float32], int]]:
    """(samples, rate) of every frame: (n, channels) float32, whatever the decoder gives.

    FFmpeg lays the channels side by side, and changes neither layout nor rate. Planes are never read
    one by one: PyAV runs past the end of their list where there are eight or more.
    """
    import av

    setup = resampler = None
    for frame in frames:
        n_channels = frame.layout.nb_channels
        if n_channels > MAX_CHANNELS:
            raise InputError(
                f"{meter.name} has {n_channels} channels, and at most {MAX_CHANNELS} can be mixed",
                "export the one with the voice from the program that made it",
            )
        if resampler is None or setup != (frame.format.name, frame.layout.name, frame.sample_rate):
            setup = (frame.format.name, frame.layout.name, frame.sample_rate)
            resampler = av.AudioResampler(format="flt")
        try:
            packed = resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):
            meter.damaged_packets += 1
            resampler = None
            continue
        for one in packed:
            samples = np.frombuffer(memoryview(one.planes[0]), np.float32, one.samples * n_channels)
            yield samples.reshape(-1, n_channels), one.sample_rate


def _average_channels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, channels) float32 -> (n,), their mean."""
    # Adding channel by channel is several times faster than mean() over an axis of two.
    total: NDArray[np.float32] = samples[:, 0].copy()
    with np.errstate(all="ignore"):  # what is no number is found, and said, in _join
        for channel in samples.T[1:]:
            total += channel
        total /= samples.shape[1]
    return total


def _join(blocks: list[NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    joined = np.concatenate(blocks)
    if not float(np.abs(joined).max()) <= LOUDEST:  # nor is it with NaN
        raise InputError(
            f"{name} holds samples that are not numbers (NaN, infinite, or beyond all measure)",
            "export it again from the program that made it, as 16-bit wav",
        )
    return joined


def _resample(blocks: Iterator[tuple[NDArray[np.float32], int]]) -> Iterator[NDArray[np.float32]]:
    """Each stretch of one rate through its own resampler, to 16 kHz."""
    resampler = Resampler(SAMPLE_RATE_HZ)
    for block, rate in blocks:
        if rate != resampler.rate_hz:
            yield resampler.finish()
            resampler = Resampler(rate)
        yield resampler.feed(block)
    yield resampler.finish()
