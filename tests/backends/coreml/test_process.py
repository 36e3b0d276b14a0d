"""Core ML in a process of its own, with a stand-in that holds Python's lock, crashes and hangs as it does."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.backends.coreml.bundle import load_bundle
from audio2img.backends.coreml.compiled import PARTIAL_PREFIX, compiled_dir
from audio2img.backends.coreml.parts import Parts
from audio2img.backends.coreml.process import ModelProcess
from audio2img.errors import CancelledError, MachineError, ModelError
from audio2img.types import ImageRequest
from tests.conftest import Asked, HeldLoad, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs Linux or macOS")]

REQUEST = ImageRequest("a red house at night", seed=5, steps=2)
TOKENS = {"input_ids": np.arange(77, dtype=np.float32)[None]}
HOLDS = {"compile": "right", "*": "hold-load"}
Plan = Callable[[dict[str, str]], None]


@pytest.fixture
def plan(core_ml_stand_in: Asked, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """plan(table): how the processes that start from now on behave."""
    return lambda table: monkeypatch.setenv("STAND_IN", json.dumps(table))


@pytest.fixture
def process() -> Iterator[ModelProcess]:
    process = ModelProcess()
    yield process
    process.close()


@pytest.fixture
def parts(mini_bundle: Path, process: ModelProcess) -> Parts:
    return Parts(load_bundle(mini_bundle), "CPU_ONLY", process=process)


def pid_of(process: ModelProcess) -> int:
    assert process._running is not None
    return process._running.process.pid


def runs(pid: int) -> bool:
    """Whether a process is there that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_begun(asked: Asked) -> bool:
    return ("hold", "begin") in list(asked)


def encode(parts: Parts, cancelled: Callable[[], bool] | None = None) -> np.ndarray:
    with parts.use("text_encoder", cancelled=cancelled) as (encoder,):
        return encoder.predict(TOKENS)["last_hidden_state"]


def test_the_reference_runtime_draws_the_same_in_a_process_of_its_own(mini_bundle: Path) -> None:
    here = CoreMLBackend.load(mini_bundle)
    there = CoreMLBackend.load(mini_bundle, own_process=True)
    assert there.name == "reference"
    np.testing.assert_array_equal(there.generate(REQUEST).pixels, here.generate(REQUEST).pixels)
    there.close()


@pytest.mark.parametrize("behaviour", ["hold-load", "hold-predict"])
def test_other_threads_run_while_core_ml_holds_its_lock(
    core_ml_stand_in: Asked, plan: Plan, parts: Parts, behaviour: str
) -> None:
    """In our own process not a single one would be counted."""
    plan({"compile": "right", "*": behaviour})
    counted = 0
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(encode, parts)
        while not result.done():
            counted += list(core_ml_stand_in)[-1:] == [("hold", "begin")]
            time.sleep(0.01)
    assert result.result().shape == (1, 77, 128)
    assert counted > 20


@pytest.mark.parametrize("behaviour", ["hold-load", "hold-predict"])
def test_stopping_ends_a_process_that_does_not_listen(
    core_ml_stand_in: Asked, plan: Plan, parts: Parts, process: ModelProcess, behaviour: str
) -> None:
    plan({"compile": "right", "*": behaviour})
    with pytest.raises(CancelledError):
        encode(parts, lambda: has_begun(core_ml_stand_in))
    assert ("hold", "end") not in list(core_ml_stand_in), "it was waited for"
    plan({})
    assert encode(parts).shape == (1, 77, 128)  # in a new process


def test_stopping_a_quick_call_leaves_the_process_as_it_is(parts: Parts, process: ModelProcess) -> None:
    expected = encode(parts)
    pid = pid_of(process)
    np.testing.assert_array_equal(encode(parts, lambda: True), expected)
    assert pid_of(process) == pid


def test_a_stopped_compilation_leaves_nothing_in_the_cache(
    core_ml_stand_in: Asked, plan: Plan, parts: Parts
) -> None:
    plan({"compile": "hang"})
    with pytest.raises(CancelledError):
        encode(parts, lambda: bool(compiled_dir().is_dir() and list(compiled_dir().iterdir())))
    assert list(compiled_dir().iterdir()) == []


def test_what_other_processes_are_compiling_is_left_alone(
    core_ml_stand_in: Asked, parts: Parts, tmp_path: Path
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    theirs, abandoned = (compiled_dir() / f"{PARTIAL_PREFIX}{pid}-x" for pid in (os.getppid(), gone.pid))
    for folder in (theirs, abandoned):
        (folder / "half").mkdir(parents=True)
    encode(parts)
    left = [path for path in compiled_dir().iterdir() if path.name.startswith(PARTIAL_PREFIX)]
    assert left == [theirs]


def test_a_crash_is_an_error_and_the_next_call_starts_anew(plan: Plan, parts: Parts) -> None:
    plan({"*": "abort-predict"})
    with pytest.raises(MachineError, match=r"crashed \(SIGABRT\).*while running .*text_encoder") as caught:
        encode(parts)
    assert "CPU_ONLY" in caught.value.remedy
    assert "\n" not in caught.value.message
    plan({})
    assert encode(parts).shape == (1, 77, 128)


def test_a_process_killed_at_work_may_have_taken_too_much_memory(
    core_ml_stand_in: Asked, plan: Plan, parts: Parts, process: ModelProcess
) -> None:
    plan(HOLDS)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(encode, parts)
        wait_until(lambda: has_begun(core_ml_stand_in))
        os.kill(pid_of(process), signal.SIGKILL)
        with pytest.raises(MachineError, match=r"SIGKILL.*while loading .*text_encoder") as caught:
            result.result()
    assert "memory" in caught.value.remedy


def test_a_process_that_went_between_two_calls_is_not_missed(parts: Parts, process: ModelProcess) -> None:
    expected = encode(parts)
    assert process._running is not None
    process._running.process.kill()
    process._running.process.wait()
    np.testing.assert_array_equal(encode(parts), expected)


def test_closing_ends_the_process_and_its_memory(parts: Parts, process: ModelProcess) -> None:
    encode(parts)
    assert process._running is not None
    pids = pid_of(process), process._running.guard.pid
    assert all(map(runs, pids))
    parts.close()
    parts.close()
    assert not any(map(runs, pids))
    with pytest.raises(ModelError, match="closed"):
        encode(parts)


def test_closing_ends_a_call_of_another_thread(core_ml_stand_in: Asked, plan: Plan, parts: Parts) -> None:
    plan(HOLDS)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(encode, parts)
        wait_until(lambda: has_begun(core_ml_stand_in))
        parts.close()
        with pytest.raises(ModelError, match="closed"):
            result.result()
    assert ("hold", "end") not in list(core_ml_stand_in)


def test_a_forgotten_process_ends() -> None:
    process = ModelProcess()
    process.start()
    pid = pid_of(process)
    del process
    gc.collect()
    assert not runs(pid)


def test_a_process_that_cannot_be_started_leaves_nothing_open() -> None:
    """Whichever descriptor it is that cannot be had."""
    import resource

    def count() -> int:
        gc.collect()
        return len(os.listdir("/dev/fd"))

    limits, before, failures = resource.getrlimit(resource.RLIMIT_NOFILE), count(), list[str]()
    for room in range(100):
        process = ModelProcess()
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + room, limits[1]))
        try:
            process.start()
            break
        except MachineError as error:
            failures.append(error.message)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            process.close()
        assert count() == before
    assert len(failures) > 5
    assert all("Too many open files" in message for message in failures)
    assert count() == before


def test_ctrl_c_and_what_it_prints_stay_within(
    plan: Plan, parts: Parts, process: ModelProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    plan({"*": "talk"})
    first = encode(parts)
    os.kill(pid_of(process), signal.SIGINT)
    np.testing.assert_array_equal(encode(parts), first)
    assert tuple(capfd.readouterr()) == ("", "")


def test_threads_take_turns(parts: Parts) -> None:
    with parts.use("vae_decoder") as (decoder,):
        (spec,) = parts.bundle.parts["vae_decoder"].inputs.values()
        noise = np.random.default_rng(1)
        inputs = [noise.standard_normal(spec.shape).astype(spec.dtype) for _ in range(4)]
        expected = [decoder.predict({"z": z})["image"] for z in inputs]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda z: decoder.predict({"z": z})["image"], inputs))
    np.testing.assert_array_equal(found, expected)


def test_with_little_memory_the_process_holds_only_what_is_lent(
    mini_bundle: Path, process: ModelProcess
) -> None:
    parts = Parts(load_bundle(mini_bundle), low_memory=True, process=process)
    with parts.use("text_encoder"):
        assert process._running is not None
        assert len(process._running.loaded) == 1
    assert process._running.loaded == {}
    assert encode(parts).shape == (1, 77, 128)


PARENT = """
import os, sys, threading, time
from pathlib import Path
from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.backends.coreml.process import ModelProcess

start = ModelProcess.start
def tell(process):
    start(process)
    print(process._running.process.pid, flush=True)
ModelProcess.start = tell
kept = []
load = threading.Thread(target=lambda: kept.append(CoreMLBackend.load(Path(sys.argv[1]))), daemon=True)
load.start()
if sys.argv[2] == "stays":
    load.join()
    print("loaded", flush=True)
    time.sleep(60)
log = Path(os.environ["STAND_IN_LOG"])
while not log.exists() or "hold" not in log.read_text():
    time.sleep(.01)
"""


@contextmanager
def program(bundle: Path, way: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program that draws, and the number of its process for Core ML."""
    command = [sys.executable, "-c", PARENT, str(bundle), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            yield parent, int(parent.stdout.readline())
        finally:
            parent.kill()


def test_a_program_that_is_killed_leaves_no_process(plan: Plan, mini_bundle: Path) -> None:
    with program(mini_bundle, "stays") as (parent, pid):
        assert parent.stdout is not None
        assert parent.stdout.readline() == "loaded\n"
        assert runs(pid)
    wait_until(lambda: not runs(pid))


def test_a_program_that_is_killed_while_core_ml_holds_its_lock_leaves_no_process(
    held_load: HeldLoad, mini_bundle: Path
) -> None:
    """The lock is held for as long as this test likes."""
    with program(mini_bundle, "stays") as (_, pid):
        wait_until(lambda: held_load.has_begun)
        assert runs(pid)
    wait_until(lambda: not runs(pid))
    assert not held_load.has_ended


def test_a_program_that_ends_does_not_wait_for_a_load(
    core_ml_stand_in: Asked, plan: Plan, mini_bundle: Path
) -> None:
    plan(HOLDS)
    with program(mini_bundle, "ends") as (parent, pid):
        assert parent.wait(60) == 0
    assert not runs(pid)
    assert ("hold", "end") not in list(core_ml_stand_in)


def test_nothing_is_started_where_the_model_runs_here(mini_bundle: Path) -> None:
    before = threading.active_count()
    backend = CoreMLBackend.load(mini_bundle, low_memory=True)
    assert backend._parts._process is None
    assert threading.active_count() <= before + 1  # it hashes the files
