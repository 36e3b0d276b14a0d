"""What the demo says to do next, on each kind of machine, with the real catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio2img.cli.next_steps import next_steps
from audio2img.installation import how_to_add
from audio2img.store.defaults import Machine
from audio2img.store.receipts import InstalledFile, LicenceRecord, Receipt, write_receipt


def test_a_mac_goes_on_with_core_ml() -> None:
    first, total, *models = next_steps(Machine("macos", has_diffusers=False))
    assert first.endswith("audio2img run")
    assert "1.3 GB (3 min at 50 Mbit/s)" in total
    assert [line.split(":")[0].strip() for line in models] == ["sd21-base-palettized", "whisper-base"]
    assert all("licence" in line and "MB" in line for line in models)


@pytest.mark.parametrize("platform", ["linux", "windows"])
def test_elsewhere_the_extra_is_installed_first(platform: str) -> None:
    install, run, _, *models = next_steps(Machine(platform, has_diffusers=False))  # type: ignore[arg-type]
    assert how_to_add("diffusers").removeprefix("run: ") in install
    assert "on disk" in install
    assert run.endswith("audio2img run")
    assert models[0].split(":")[0].strip() == "sd21-base-diffusers"


def test_with_the_extra_only_models_are_missing() -> None:
    lines = list(next_steps(Machine("linux", has_diffusers=True)))
    assert not any("PyTorch" in line for line in lines)
    assert any("sd21-base-diffusers" in line for line in lines)


def test_what_is_here_is_not_named_again(mini_whisper: Path) -> None:
    file = InstalledFile(mini_whisper.name, mini_whisper.stat().st_size, "")
    root, licence = str(mini_whisper.parent), LicenceRecord("MIT", "")
    write_receipt(
        Receipt(
            "whisper-base", "whisper-base", "speech", "ggml", str(mini_whisper), root, "", licence, (file,)
        )
    )
    lines = list(next_steps(Machine("linux", has_diffusers=True)))
    assert not any("whisper" in line for line in lines)
    assert any("sd21-base-diffusers" in line for line in lines)
