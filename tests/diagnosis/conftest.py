"""A Mac for this process and its children, which does as well as a test says (see tests/stand_in)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from audio2img.diagnosis.child import Measurement, Workshop
from audio2img.diagnosis.draws import Subject

STAND_IN = Path(__file__).parents[1] / "stand_in"
Mac = Callable[..., None]


@pytest.fixture
def mac(core_ml_stand_in: object, monkeypatch: pytest.MonkeyPatch) -> Mac:
    """mac(ALL="nan", ...): what Core ML does on which compute units; all others are right."""

    def become(**plan: str) -> None:
        monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
        monkeypatch.setenv("STAND_IN", json.dumps(plan))

    return become


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    folder = tmp_path / "workshop"
    folder.mkdir()
    return Workshop(folder, limit_s=120)


@pytest.fixture(scope="session")
def subject(mini_bundle: Path) -> Subject:
    """The mini model, with few steps."""
    return Subject("mini", mini_bundle, steps=3, is_mini=True)


@pytest.fixture(scope="session")
def reference(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    """Its picture by the reference runtime."""
    outcome = Workshop(tmp_path_factory.mktemp("reference")).run(subject.job(runtime="reference"))
    assert not outcome.error
    return outcome
