"""Settings: the file, the environment over it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from audio2img import config
from audio2img.errors import UsageError


def test_without_a_file_nothing_is_set(private_home: Path) -> None:
    assert config.load_settings() == config.Settings()


def test_the_environment_wins_over_the_file(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text('model = "one"\nsteps = 12\nguidance = 5\noutput = "there"\n')
    monkeypatch.setenv("AUDIO2IMG_MODEL", "two")
    settings = config.load_settings()
    assert (settings.model, settings.steps, settings.guidance, settings.output) == ("two", 12, 5, "there")


@pytest.mark.parametrize("text", ["steps = ", "stepz = 3", "steps = true", 'guidance = "7"', "model = 1"])
def test_a_wrong_file_is_refused_by_name(private_home: Path, text: str) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UsageError, match=r"settings\.toml"):
        config.load_settings()


def test_everything_lives_under_the_home(private_home: Path) -> None:
    for path in (config.config_dir(), config.log_file(), config.settings_file()):
        assert private_home in path.parents


@given(name=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_saved_setting_is_read_back_and_the_rest_stays(private_home: Path, name: str) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('# mine\nsteps = 12\ndevice="old"\n')
    assert config.save_setting("device", name) == path
    assert config.load_settings() == config.Settings(device=name, steps=12)
    config.save_setting("device", None)
    assert path.read_text() == "# mine\nsteps = 12\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "text", ["steps = ", 'stepz = "a"', 'steps = 3\nstyle = """\ndevice = 5\n"""\n"device" = "a"']
)
def test_a_settings_file_that_is_not_understood_is_left_alone(private_home: Path, text: str) -> None:
    path = config.settings_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UsageError, match=r"settings\.toml"):
        config.save_setting("device", "new")
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
