"""What is remembered of a tab, and for how long."""

from __future__ import annotations

import gc
import weakref

from audio2img.server.incoming import IncomingSound
from audio2img.server.jobs import KEPT_JOBS, KEPT_SOUNDS, Visitor

SOUNDS = {"duration_s": 1.0, "spectrogram": "data:image/webp;base64,"}


def test_the_last_jobs_are_remembered_and_of_few_the_sounds() -> None:
    visitor = Visitor("tab-many-jobs")
    running = visitor.add("first", "draw")
    for number in range(50):
        job = visitor.add(str(number), "hear")
        job.change(sounds=SOUNDS)
        job.end("done")
    visitor.add("last", "draw")
    over = [job for job in visitor.jobs if job.is_over]
    assert len(over) == KEPT_JOBS - 1
    assert [job.view.id for job in over][-1] == "49"
    assert [job.view.sounds for job in over].count(SOUNDS) == KEPT_SOUNDS
    assert over[-1].view.sounds is SOUNDS
    assert running in visitor.jobs


def test_a_job_that_is_over_keeps_no_sound() -> None:
    sound = IncomingSound(16_000)
    sound.put(bytes(100))
    job = Visitor("tab-that-spoke").add("1", "speak")
    job.when_stopped(sound.end)
    job.end("done")
    assert job.stop() is False
    kept = weakref.ref(sound)
    del sound
    gc.collect()
    assert kept() is None
