"""Which compute units are chosen, by the person, the model and the machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from audio2img import machine
from audio2img.backends.coreml import apple
from audio2img.backends.coreml.layout import Attention
from audio2img.backends.coreml.units import (
    COMPUTE_UNITS,
    choose_compute,
    has_small_memory,
    memory_bytes,
    performance_cores,
    preferred_attention,
)
from audio2img.errors import UsageError


@pytest.fixture
def sysctl(core_ml_stand_in: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A Mac whose cores have not been asked for yet."""
    machine.performance_cores.cache_clear()
    yield monkeypatch
    machine.performance_cores.cache_clear()


def answer_with(monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> list[list[str]]:
    """Have sysctl say this; gives the list of what it is asked."""
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, 0, answer, "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


@pytest.mark.parametrize(
    ("cores", "chosen", "attention"),
    [
        (2, "CPU_AND_NE", "split_einsum"),
        (7, "CPU_AND_NE", "split_einsum"),
        (8, "CPU_AND_GPU", "original"),
        (16, "CPU_AND_GPU", "original"),
    ],
)
def test_the_number_of_performance_cores_decides(
    sysctl: pytest.MonkeyPatch, cores: int, chosen: str, attention: Attention
) -> None:
    asked = answer_with(sysctl, f"{cores}\n")
    choice = choose_compute()
    assert (choice.units, choice.attention) == (chosen, attention)
    assert str(cores) in choice.reason
    assert preferred_attention() == attention
    assert asked == [["/usr/sbin/sysctl", "-n", "hw.perflevel0.physicalcpu"]]  # once


@pytest.mark.parametrize(
    "answer",
    ["", "many", OSError("no such program"), subprocess.TimeoutExpired("sysctl", 5),
     subprocess.CalledProcessError(1, "sysctl")],
    ids=["nothing", "words", "missing", "slow", "failed"],
)  # fmt: skip
def test_core_ml_chooses_where_the_cores_are_not_known(
    sysctl: pytest.MonkeyPatch, answer: str | Exception
) -> None:
    answer_with(sysctl, answer)
    assert performance_cores() is None
    assert preferred_attention() is None
    choice = choose_compute()
    assert (choice.units, choice.attention) == ("ALL", None)
    assert "not known" in choice.reason


@pytest.mark.parametrize(
    ("attention", "chosen"), [("original", "CPU_AND_GPU"), ("split_einsum", "CPU_AND_NE")]
)
def test_the_model_at_hand_goes_before_the_machine(
    sysctl: pytest.MonkeyPatch, attention: Attention, chosen: str
) -> None:
    answer_with(sysctl, "4" if attention == "original" else "12")
    choice = choose_compute(attention=attention)
    assert (choice.units, choice.attention) == (chosen, attention)
    assert "the model" in choice.reason


@pytest.mark.parametrize("asked", COMPUTE_UNITS)
def test_the_person_goes_before_all(sysctl: pytest.MonkeyPatch, asked: str) -> None:
    answer_with(sysctl, "12")
    choice = choose_compute(asked, "split_einsum")
    assert (choice.units, choice.attention, choice.reason) == (asked, "split_einsum", "asked for")
    assert choose_compute(asked).attention == "original"  # which variant to take is not asked for


@pytest.mark.parametrize("asked", ["", "GPU", "all", "CPU_AND_GPU "])
def test_units_that_do_not_exist_are_refused_with_the_choices(asked: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_compute(asked)
    assert all(name in caught.value.remedy for name in COMPUTE_UNITS)


def test_elsewhere_than_on_a_mac_nothing_is_asked(sysctl: pytest.MonkeyPatch) -> None:
    asked = answer_with(sysctl, "8")
    sysctl.setattr(apple, "is_here", lambda: False)
    assert performance_cores() is None
    assert asked == []


@pytest.mark.parametrize(
    ("size", "on_mac", "small"),
    [
        (8 << 30, True, True),
        ((8 << 30) + 4096, True, False),
        (16 << 30, True, False),
        (4 << 30, False, False),
    ],
)
def test_little_memory_counts_on_a_mac(
    core_ml_stand_in: object, monkeypatch: pytest.MonkeyPatch, size: int, on_mac: bool, small: bool
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else size // 4096)
    monkeypatch.setattr(apple, "is_here", lambda: on_mac)
    assert memory_bytes() == size
    assert has_small_memory() is small


@pytest.mark.parametrize("problem", [ValueError("unknown name"), OSError()])
def test_memory_that_is_not_told_is_not_small(
    core_ml_stand_in: object, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def refuse(name: str) -> int:
        raise problem

    monkeypatch.setattr(os, "sysconf", refuse)
    assert memory_bytes() is None
    assert not has_small_memory()
