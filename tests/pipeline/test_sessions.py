"""Models that are shared, and the sessions that call them: with the real mini models."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio2img import AudioClip, CancelledError, Event, NothingToDrawError, Options, Pipeline, UsageError
from audio2img.backends.protocol import CancelCheck, DrawingWishes, ImageBackend
from audio2img.backends.table import ImageModel
from audio2img.pipeline import models as models_module
from audio2img.pipeline.models import ModelNames, Models
from tests.conftest import HeldLoad, wait_until

QUICK = Options(seed=3, steps=2)
LONG = Options(seed=3, steps=900)
SENTENCE = "please draw a big red house at night"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The image models that were really loaded, by name."""
    loaded: list[str] = []
    load = models_module.load_backend

    def note(model: ImageModel, wishes: DrawingWishes, cancelled: CancelCheck | None) -> ImageBackend:
        loaded.append(model.name)
        return load(model, wishes, cancelled)

    monkeypatch.setattr(models_module, "load_backend", note)
    return loaded


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    with Models(ModelNames("mini", "mini-whisper")) as models:
        yield models


@pytest.fixture
def fresh_models() -> Iterator[Models]:
    """Of its own, for a test that closes them or counts what they load."""
    with Models(ModelNames("mini", "mini-whisper")) as models:
        yield models


class At:
    """Holds a call where it tells of `stage`, until `go_on`."""

    def __init__(self, stage: str, matches: Callable[[Event], bool] = lambda event: True) -> None:
        self._stage, self._matches = stage, matches
        self.arrived, self._may_go_on = threading.Event(), threading.Event()

    def __call__(self, event: Event) -> None:
        if event.stage == self._stage and self._matches(event) and not self.arrived.is_set():
            self.arrived.set()
            assert self._may_go_on.wait(60)

    def go_on(self) -> None:
        self._may_go_on.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_a_second_session_loads_nothing(fresh_models: Models, loads: list[str], demo_audio: Path) -> None:
    first = fresh_models.session().run(demo_audio, QUICK)
    loaded = fresh_models._image, fresh_models.recognizer()
    second = fresh_models.session().run(demo_audio, QUICK)
    assert loads == ["mini"]
    assert (fresh_models._image, fresh_models.recognizer()) == loaded
    np.testing.assert_array_equal(first.images[0].pixels, second.images[0].pixels)
    assert first.images[0].model_hash == second.images[0].model_hash != ""


def test_sessions_that_draw_at_once_take_turns_and_know_their_place(
    models: Models, pool: ThreadPoolExecutor
) -> None:
    at = At("draw", lambda event: event.preview is not None)
    first = pool.submit(models.session(at).generate, "a red house", QUICK)
    assert at.arrived.wait(60)
    told: list[Event] = []
    is_told = threading.Event()

    def listen(event: Event) -> None:
        told.append(event)
        if event.place:
            is_told.set()

    second = pool.submit(models.session(listen).generate, "a red house", QUICK)
    assert is_told.wait(60)
    assert [(event.place, event.text) for event in told if event.stage == "draw"] == [
        (1, "waiting for one other")
    ]
    assert not second.done()
    at.go_on()
    np.testing.assert_array_equal(first.result(60).images[0].pixels, second.result(60).images[0].pixels)


def test_a_cancel_in_the_queue_hits_only_who_waits(models: Models, pool: ThreadPoolExecutor) -> None:
    at = At("draw", lambda event: event.preview is not None)
    first = pool.submit(models.session(at).generate, "a red house", QUICK)
    assert at.arrived.wait(60)
    is_waiting = threading.Event()
    waiting = models.session(lambda event: is_waiting.set() if event.place else None)
    second = pool.submit(waiting.generate, "a blue fish", QUICK)
    assert is_waiting.wait(60)
    assert waiting.cancel()
    with pytest.raises(CancelledError):
        second.result(60)
    at.go_on()
    assert first.result(60).images
    assert waiting.generate("a blue fish", QUICK).images, "the next call of the session works"


def test_words_of_two_sessions_do_not_mix(models: Models, pool: ThreadPoolExecutor, demo_audio: Path) -> None:
    heard = [pool.submit(models.session().transcribe, demo_audio) for _ in range(4)]
    assert [one.result(60).text for one in heard] == [SENTENCE] * 4


@pytest.mark.parametrize("stage", ["transcribe", "draw"])
def test_a_cancel_from_another_thread_stops_the_call_it_is_meant_for(
    models: Models, pool: ThreadPoolExecutor, demo_audio: Path, stage: str
) -> None:
    at = At(stage)
    session, other = models.session(at), models.session()
    call = pool.submit(session.run, demo_audio, LONG)
    assert at.arrived.wait(60)
    assert not other.cancel(), "another session has nothing to stop"
    assert session.cancel()
    at.go_on()
    with pytest.raises(CancelledError):
        call.result(60)
    assert session.generate("a red house", QUICK).images
    assert other.generate("a red house", QUICK).images


def test_a_cancel_that_comes_late_is_void(models: Models) -> None:
    session = models.session()
    assert not session.cancel(), "before the first call"
    session.generate("a red house", QUICK)
    assert not session.cancel(), "a moment after it"
    assert session.generate("a red house", QUICK).images


def test_after_a_cancel_none_of_several_calls_goes_on(models: Models) -> None:
    session = models.session()
    with session.cancellable():
        session.generate("a red house", QUICK)
        assert session.cancel(), "also between two of them"
        with pytest.raises(CancelledError):
            session.generate("a red house", QUICK)
    assert session.generate("a red house", QUICK).images


def test_a_cancel_is_heard_while_the_identity_is_found_out(
    fresh_models: Models, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audio2img.backends.coreml.bundle import Bundle

    is_reading, may_go_on = threading.Event(), threading.Event()

    def read_slowly(bundle: Bundle) -> str:
        is_reading.set()
        may_go_on.wait(60)
        return "0" * 64

    monkeypatch.setattr(Bundle, "hash", property(read_slowly))
    session = fresh_models.session()
    asked = pool.submit(lambda: session.model_hash)
    try:
        assert is_reading.wait(60)
        assert session.cancel()
        with pytest.raises(CancelledError):
            asked.result(60)
    finally:
        may_go_on.set()
    assert session.model_hash == "0" * 64


def test_timings_belong_to_the_call(models: Models, demo_audio: Path) -> None:
    session = models.session()
    assert "transcribe" in session.run(demo_audio, QUICK).timings_s
    second = session.generate("a red house", QUICK).timings_s
    assert set(second) == {"load", "draw"}
    session.transcribe(demo_audio)
    assert set(session.generate("a red house", QUICK).timings_s) == {"load", "draw"}


def test_one_session_takes_one_call_at_a_time(models: Models, pool: ThreadPoolExecutor) -> None:
    at = At("draw")
    session = models.session(at)
    call = pool.submit(session.generate, "a red house", QUICK)
    assert at.arrived.wait(60)
    with pytest.raises(UsageError, match="busy with another call"):
        session.generate("a blue fish", QUICK)
    at.go_on()
    assert call.result(60).images


def test_a_closed_session_says_so_and_leaves_the_models_open(models: Models) -> None:
    with models.session() as session:
        session.generate("a red house", QUICK)
    session.close()
    for call in (
        lambda: session.generate("a"),
        lambda: session.transcribe("x.wav"),
        lambda: session.model_hash,
    ):
        with pytest.raises(UsageError, match="this session is closed"):
            call()
    assert models.session().generate("a red house", QUICK).images


def test_models_closed_while_in_use_end_the_call_and_free_themselves(
    fresh_models: Models, pool: ThreadPoolExecutor
) -> None:
    at = At("draw", lambda event: event.preview is not None)
    session = fresh_models.session(at)
    call = pool.submit(session.generate, "a red house", LONG)
    assert at.arrived.wait(60)
    fresh_models.close()
    assert fresh_models._image is not None, "somebody is drawing with it"
    at.go_on()
    with pytest.raises(CancelledError, match="the models were closed"):
        call.result(60)
    assert fresh_models._image is None
    for use in (lambda: session.generate("a red house"), fresh_models.session, fresh_models.preload):
        with pytest.raises(UsageError, match="these models are closed"):
            use()
    fresh_models.close()


def test_a_model_that_could_not_be_loaded_is_tried_again(
    tmp_path: Path, mini_bundle: Path, loads: list[str]
) -> None:
    import shutil

    from audio2img import ModelError

    folder = tmp_path / "model"
    shutil.copytree(mini_bundle, folder)
    unet = next(folder.glob("*unet.mlpackage"))
    unet.rename(tmp_path / unet.name)
    with Models(ModelNames(str(folder))) as models:
        session = models.session()
        with pytest.raises(ModelError):
            session.generate("a red house", QUICK)
        (tmp_path / unet.name).rename(unet)
        assert session.generate("a red house", QUICK).images
    assert loads == ["model", "model"]


def test_a_model_that_cannot_be_loaded_stops_only_those_who_draw(tmp_path: Path, mini_bundle: Path) -> None:
    import shutil

    from audio2img import LiveInput, ModelError

    folder = tmp_path / "model"
    shutil.copytree(mini_bundle, folder)
    shutil.rmtree(next(folder.glob("*unet.mlpackage")))
    with Models(ModelNames(str(folder), "mini-whisper")) as models:

        def live() -> LiveInput:
            """Sound that goes on until the model has been loaded, or could not be."""

            def chunks() -> Iterator[NDArray[np.float32]]:
                image = models._image
                assert image is not None
                wait_until(image.future.done)
                for _ in range(4):
                    yield np.zeros(800, np.float32)

            return LiveInput(chunks=chunks(), seconds=0.2)

        models.preload()
        assert models.session().listen(live()).duration_s == 0.2
        with pytest.raises(ModelError):
            models.session().run(live(), QUICK)
        assert models.session().listen(live()).duration_s == 0.2


# A load that several wait for. Core ML's holds Python's lock in its process until the test lets it go.

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="needs Linux or macOS, not Windows")


@needs_fork
def test_a_load_that_was_only_for_a_stopped_call_is_given_up(
    held_load: HeldLoad, fresh_models: Models, pool: ThreadPoolExecutor, loads: list[str]
) -> None:
    session = fresh_models.session()
    call = pool.submit(session.generate, "a red house", QUICK)
    wait_until(lambda: held_load.has_begun)
    assert session.cancel()
    with pytest.raises(CancelledError):
        call.result(60)
    wait_until(lambda: fresh_models._image is None)  # as soon as its process has ended
    assert not held_load.has_ended
    held_load.let_go()
    assert session.generate("a red house", QUICK).images, "the next call begins it again"
    assert loads == ["mini", "mini"]


@needs_fork
def test_a_load_that_another_session_waits_for_goes_on(
    held_load: HeldLoad, fresh_models: Models, pool: ThreadPoolExecutor, loads: list[str]
) -> None:
    session, at = fresh_models.session(), At("prompt")
    stopped = pool.submit(session.generate, "a red house", QUICK)
    waiting = pool.submit(fresh_models.session(at).generate, "a red house", QUICK)
    assert at.arrived.wait(60)
    wait_until(lambda: held_load.has_begun)
    assert session.cancel()
    with pytest.raises(CancelledError):
        stopped.result(60)
    at.go_on()
    held_load.let_go()
    assert waiting.result(60).images
    assert loads == ["mini"]


def test_who_comes_while_a_load_is_being_given_up_gets_the_model(
    fresh_models: Models, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been told to stop already, and ends only when the other one waits for it."""
    load, loads = models_module.load_backend, []
    has_noticed, may_end = threading.Event(), threading.Event()

    def load_slowly(model: ImageModel, wishes: DrawingWishes, cancelled: CancelCheck | None) -> ImageBackend:
        assert cancelled is not None
        loads.append(model.name)
        if len(loads) == 1:
            wait_until(cancelled)
            has_noticed.set()
            assert may_end.wait(60)
            raise CancelledError("stopped while loading the model")
        return load(model, wishes, cancelled)

    monkeypatch.setattr(models_module, "load_backend", load_slowly)
    session, at = fresh_models.session(), At("prompt")
    stopped = pool.submit(session.generate, "a red house", QUICK)
    wait_until(session.cancel)
    with pytest.raises(CancelledError):
        stopped.result(60)
    assert has_noticed.wait(60)
    waiting = pool.submit(fresh_models.session(at).generate, "a red house", QUICK)
    assert at.arrived.wait(60)
    may_end.set()
    at.go_on()
    assert waiting.result(60).images
    assert loads == ["mini", "mini"]


@needs_fork
def test_a_load_that_was_asked_for_in_advance_goes_on(
    held_load: HeldLoad, fresh_models: Models, pool: ThreadPoolExecutor, loads: list[str]
) -> None:
    fresh_models.preload()
    session = fresh_models.session()
    call = pool.submit(session.generate, "a red house", QUICK)
    wait_until(lambda: held_load.has_begun)
    assert session.cancel()
    with pytest.raises(CancelledError):
        call.result(60)
    held_load.let_go()
    assert session.generate("a red house", QUICK).images
    assert loads == ["mini"]


@needs_fork
def test_a_load_goes_on_after_a_call_that_found_nothing_to_draw(
    held_load: HeldLoad, fresh_models: Models, pool: ThreadPoolExecutor, loads: list[str], demo_audio: Path
) -> None:
    """Who said nothing is going to say it again; and a call that is stopped may not have wanted a picture."""
    with pytest.raises(NothingToDrawError):
        fresh_models.session().run(AudioClip(np.zeros(16000, np.float32), "silence"), QUICK)
    at = At("transcribe")
    session = fresh_models.session(at)
    call = pool.submit(session.transcribe, demo_audio)
    assert at.arrived.wait(60)
    assert session.cancel()
    at.go_on()
    with pytest.raises(CancelledError):
        call.result(60)
    wait_until(lambda: held_load.has_begun)
    held_load.let_go()
    assert session.generate("a red house", QUICK).images
    assert loads == ["mini"]


def test_a_pipeline_opens_sessions_that_close_with_it(loads: list[str]) -> None:
    told: list[str] = []
    with Pipeline("mini", "mini-whisper") as pipeline:
        pipeline.generate("a red house", QUICK)
        session = pipeline.session(lambda event: told.append(event.stage))
        session.generate("a red house", QUICK)
    assert loads == ["mini"]
    assert "draw" in told
    with pytest.raises(UsageError, match="closed"):
        session.generate("a red house", QUICK)
    with pytest.raises(UsageError, match="closed"):
        pipeline.generate("a red house", QUICK)
