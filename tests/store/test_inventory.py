"""`list_models` and `get_model` from Python, against a real hub on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audio2img import Event, MachineError, ModelError, ModelInfo, UsageError, get_model, list_models
from audio2img.backends.coreml import apple, units
from audio2img.backends.torch import row as torch_row
from audio2img.pipeline import inventory
from audio2img.store import catalog, defaults
from audio2img.store.defaults import Machine
from audio2img.store.receipts import installed
from audio2img.wording import as_options

HUB_ROW = 'mirrors = [{ hub = "someone/speech" }]\nfiles = [{ path = "ggml-x.bin" }]\nabout_bytes = 300_000'


@pytest.fixture
def speech(server: Any, shelf: Any) -> bytes:
    """A ggml file in a repository of the hub, and a row for it in the person's catalogue."""
    data: bytes = shelf.weights(3_000_000)
    server.repos["someone/speech"] = shelf.repo({"ggml-x.bin": data})
    shelf.write(shelf.row("x", f'{HUB_ROW}\naliases = ["ex"]'))
    return data


def model(name: str) -> ModelInfo:
    (found,) = [one for one in list_models() if one.name == name]
    return found


def test_what_came_along_is_here(mini_bundle: Path, mini_whisper: Path) -> None:
    assert [(one.name, one.path) for one in list_models() if one.installed] == [
        ("mini", mini_bundle),
        ("mini-whisper", mini_whisper),
    ]
    mini = model("mini")
    assert (mini.embedded, mini.why_not, mini.vocabulary) == (True, "", "mini_world")
    assert mini.size_bytes == sum(file.stat().st_size for file in mini_bundle.rglob("*") if file.is_file())
    assert get_model("mini") == mini_bundle


def test_models_of_one_kind() -> None:
    sounds = list_models("sound")
    assert [one.name for one in sounds] == ["yamnet"]
    assert {one.kind for one in list_models()} == {"image", "speech", "vad", "sound"}
    with pytest.raises(UsageError, match="no models of kind 'pictures'") as caught:
        list_models("pictures")  # type: ignore[arg-type]
    assert "image, speech, vad, sound" in caught.value.remedy


@pytest.mark.parametrize("cores", [None, 4])
def test_a_row_of_your_own_that_takes_the_place_of_a_default_is_the_default(
    shelf: Any, monkeypatch: pytest.MonkeyPatch, cores: int | None
) -> None:
    """Whatever its variants are called."""
    monkeypatch.setattr(units, "performance_cores", lambda: cores)
    hub = 'mirrors = [{ hub = "someone/speech" }]'
    variants = [f'[[model.variant]]\nname = "{name}"\nfiles = [{{ path = "{name}.bin" }}]' for name in "ab"]
    shelf.write(shelf.row("mine", "\n".join([hub, 'aliases = ["whisper-base"]', *variants])))
    assert [one.name for one in list_models("speech") if one.default] == ["mine:a"]


def test_a_model_is_got_and_then_here(server: Any, speech: bytes) -> None:
    assert (model("x").installed, model("x").path, model("x").size_bytes) == (False, None, 300_000)
    path = get_model("ex", accept_license=True)
    assert path.read_bytes() == speech
    found = model("x")
    assert (found.installed, found.path, found.size_bytes) == (True, path, len(speech))
    assert found.licence_accepted.startswith("20")
    assert (found.mirror, found.files) == ("someone/speech at cccccccccc", ("ggml-x.bin",))
    receipt = installed("x")
    assert receipt is not None
    assert receipt.licence.how == "accept_license=True"
    n_asked = len(server.asked)
    assert get_model("x") == path
    assert len(server.asked) == n_asked


def test_a_licence_is_accepted_by_an_argument_alone(server: Any, speech: bytes) -> None:
    with pytest.raises(UsageError, match=r"the licence of x .* MIT, https://example\.org/licence") as caught:
        get_model("x")
    assert "`accept_license=True`" in caught.value.remedy
    assert as_options(caught.value.remedy).endswith("--accept-license")
    assert server.asked == []


def test_a_licence_that_was_accepted_is_not_asked_for_again(speech: bytes) -> None:
    path = get_model("x", accept_license=True)
    path.resolve().unlink()
    assert not model("x").installed
    assert get_model("x").read_bytes() == speech


def test_it_tells_how_far_it_is(server: Any, speech: bytes) -> None:
    told: list[Event] = []
    get_model("x", accept_license=True, on_event=told.append)
    parts = [event.done for event in told if event.done is not None]
    assert {event.stage for event in told} == {"fetch"}
    assert len(parts) > 1
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert {event.text for event in told if event.done is not None} == {"ggml-x.bin"}


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, BrokenPipeError])  # the last two as a network's
def test_what_the_callback_raises_ends_it_and_the_next_call_goes_on(
    server: Any, speech: bytes, kind: type[Exception]
) -> None:
    def stop(event: Event) -> None:
        if event.done:
            raise kind("enough")

    with pytest.raises(kind, match="enough"):
        get_model("x", accept_license=True, on_event=stop)
    assert not model("x").installed
    assert get_model("x", accept_license=True).read_bytes() == speech
    assert server.bodies("/cdn/")[-1].begin > 0


@pytest.mark.parametrize("name", ["nonesuch", "whisper-base:best"])
def test_an_unknown_name_lists_the_choices(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        get_model(name, accept_license=True)
    assert caught.value.remedy


def test_offline_and_without_a_mirror(server: Any, speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="network is off"):
        get_model("x", accept_license=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    del server.repos["someone/speech"]
    with pytest.raises(ModelError, match="could not be downloaded"):
        get_model("x", accept_license=True)


def test_a_model_that_is_too_large_for_the_machine(
    server: Any, shelf: Any, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.write(shelf.row("x", f"{HUB_ROW}\nmemory_bytes = 8_000_000_000"))
    monkeypatch.setattr(defaults, "memory_bytes", lambda: 4_000_000_000)
    assert model("x").why_not == "x needs about 8.0 GB of memory, and this machine has 4.0 GB"
    with pytest.raises(MachineError, match=r"needs about 8\.0 GB") as caught:
        get_model("x", accept_license=True)
    assert "`anyway=True`" in caught.value.remedy
    assert server.asked == []
    assert get_model("x", accept_license=True, anyway=True).read_bytes() == speech


@pytest.mark.parametrize(
    ("machine", "default", "usable"),
    [
        (Machine("linux", False), {"mini"}, {"coreml": {"mini"}, "diffusers": set()}),
        (Machine("linux", True), {"sd21-base-diffusers"}, {"coreml": {"mini"}}),
        (Machine("macos", False), {"sd21-base-palettized:split_einsum"}, {"diffusers": set()}),
    ],
)
def test_what_a_machine_draws_with(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, default: set[str], usable: dict[str, set[str]]
) -> None:
    monkeypatch.setattr(defaults, "memory_bytes", lambda: 64_000_000_000)
    monkeypatch.setattr(units, "performance_cores", lambda: 4)
    monkeypatch.setattr(apple, "is_here", lambda: machine.platform == "macos")
    monkeypatch.setattr(inventory, "this_platform", lambda: machine.platform)
    for module in (catalog, torch_row):
        monkeypatch.setattr(module, "this_machine", lambda: machine)
    images = list_models("image")
    assert {one.name for one in images if one.default} == default
    assert default <= {one.name for one in images if not one.why_not}
    for format_ in ("coreml", "diffusers"):
        of_format = {one.name for one in images if one.format == format_}
        found = {one.name for one in images if one.format == format_ and not one.why_not}
        assert found == usable.get(format_, of_format)
