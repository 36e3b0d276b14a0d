"""Facts of the machine, read from what Linux and NVIDIA's driver say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio2img import machine


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty list of PCI devices, and a PATH without NVIDIA's program."""
    folder = tmp_path / "devices"
    folder.mkdir()
    monkeypatch.setattr(machine, "PCI", folder)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder


def add_device(devices: Path, address: str, vendor: str, kind: str) -> None:
    (devices / address).mkdir()
    (devices / address / "vendor").write_text(f"{vendor}\n")
    (devices / address / "class").write_text(f"{kind}\n")


@pytest.mark.parametrize(
    ("vendor", "kind", "is_card"),
    [
        ("0x10de", "0x030000", True),
        ("0x10de", "0x030200", True),  # without an output for a screen
        ("0x10de", "0x040300", False),  # its sound
        ("0x10de", "0x020000", False),  # a network chip of an old board
        ("0x1002", "0x030000", False),
    ],
)
def test_a_card_is_known_without_its_driver(devices: Path, vendor: str, kind: str, is_card: bool) -> None:
    add_device(devices, "0000:00:02.0", "0x8086", "0x030000")
    (devices / "unreadable").mkdir()
    assert not machine.has_nvidia_card()
    add_device(devices, "0000:01:00.0", vendor, kind)
    assert machine.has_nvidia_card() == is_card


@pytest.mark.parametrize(
    ("answer", "has_card"),
    [
        ("echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", True),
        ("echo 'No devices were found'; exit 6", False),
        ("exit 0", False),
        ("echo 'GPU 0: lost'; exit 9", False),
    ],
)
def test_a_card_is_known_by_its_driver(devices: Path, tmp_path: Path, answer: str, has_card: bool) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    assert machine.has_nvidia_card() == has_card


def test_a_program_that_cannot_be_run_lists_no_card(devices: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_bytes(b"\x7fELF")
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    assert not machine.has_nvidia_card()
