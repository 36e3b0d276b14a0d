"""What `from audio2img import ...` offers is there, documented, and nothing else."""

from __future__ import annotations

import audio2img


def test_every_public_name_is_there_and_documented() -> None:
    for name in audio2img.__all__:
        assert getattr(audio2img, name).__doc__, name
        assert name in dir(audio2img)


def test_public_names_are_these() -> None:
    assert sorted(audio2img.__all__) == [
        "Audio2ImgError", "AudioClip", "CancelledError", "Changes", "Drawing", "Event", "ImageRequest",
        "ImageResult", "InputError", "LiveInput", "MachineError", "ModelError", "ModelInfo", "Models",
        "NothingToDrawError", "Options", "Pipeline", "Prompt", "Segment", "Session", "SoundEvent",
        "SoundEvents", "SoundSummary", "Transcript", "UsageError", "get_model", "list_models",
    ]  # fmt: skip


def test_exit_codes_are_the_documented_ones() -> None:
    codes = {
        "Audio2ImgError": 1, "UsageError": 2, "NothingToDrawError": 3, "ModelError": 4,
        "MachineError": 5, "InputError": 6, "CancelledError": 130,
    }  # fmt: skip
    assert {name: getattr(audio2img, name).exit_code for name in codes} == codes
