"""Where the tests find real files, and the rule that a full run skips nothing unexpected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MINI = ROOT / "models" / "mini"

# Reasons a full run (AUDIO2IMG_TESTS_STRICT=1) accepts: hardware and systems it cannot have.
ACCEPTED_SKIPS = ("needs macOS", "needs Windows", "needs CUDA")

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has its own home, so nothing of the person running them is read or written."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for name in ("CONFIG", "CACHE", "DATA", "STATE", "PICTURES"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    for name in [name for name in os.environ if name.startswith("AUDIO2IMG_")]:
        if name not in ("AUDIO2IMG_TEST_DATA", "AUDIO2IMG_TESTS_STRICT"):
            monkeypatch.delenv(name)
    return home


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings and model files that are not part of the project."""
    folder = Path(os.environ.get("AUDIO2IMG_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs the folder of real test files: set AUDIO2IMG_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def mini_whisper() -> Path:
    return MINI / "mini-whisper.bin"


@pytest.fixture(scope="session")
def mini_bundle() -> Path:
    return MINI / "coreml"


@pytest.fixture(scope="session")
def demo_audio() -> Path:
    return MINI / "demo.flac"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With AUDIO2IMG_TESTS_STRICT=1 a skipped test fails the run, unless its reason is an accepted one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("AUDIO2IMG_TESTS_STRICT") != "1" or reporter is None:
        return
    reasons = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    unexpected = [reason for reason in reasons if not any(good in reason for good in ACCEPTED_SKIPS)]
    for reason in unexpected:
        reporter.write_line(f"unexpected skip: {reason}", red=True)
    if unexpected:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
