"""The catalogue: ours is whole, and a person's own row is refused by file and name when it is wrong."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from audio2img.errors import MachineError, ModelError, UsageError
from audio2img.store import catalog
from audio2img.store.defaults import Machine
from audio2img.store.our_models import OUR_MODELS
from audio2img.store.parse import read_rows
from audio2img.store.rows import ModelRow, Variant, Wanted


def every_variant() -> list[Wanted]:
    return [Wanted(row, one) for row in catalog.load_catalog() for one in row.variants if not row.embedded]


def test_it_has_what_was_promised() -> None:
    rows = {row.name: row for row in catalog.load_catalog()}
    assert [variant.name for variant in rows["sd21-base-palettized"].variants] == ["split_einsum", "original"]
    for name in (
        "sd21-base-fp16", "sd21-768", "sdxl-base", "playground-v2.5", "sd21-base-diffusers",
        "sd-turbo", "sdxl-turbo", "lcm-dreamshaper",
    ):  # fmt: skip
        assert rows[name].kind == "image"
    for name in ("tiny", "base", "base.en", "base-q5_1", "small", "medium", "large-v3", "large-v3-turbo"):
        assert rows[f"whisper-{name}"].kind == "speech"
    assert (rows["silero-vad"].kind, rows["yamnet"].kind) == ("vad", "sound")


def as_toml(row: ModelRow) -> dict[str, Any]:
    """A row of ours as a person would write it into a file."""
    given = {field: value for field, value in asdict(row).items() if value and field != "variants"}
    given["mirrors"] = [
        {"url": one.url} if one.url else {"hub": one.hub, "revision": one.revision} for one in row.mirrors
    ]
    variants = [_variant_as_toml(one) for one in row.variants]
    return given | ({"variant": variants} if row.variants[0].name else variants[0])


def _variant_as_toml(variant: Variant) -> dict[str, Any]:
    given = {field: value for field, value in asdict(variant).items() if value and field != "files"}
    files = [{"path": file.path, "bytes": file.size_bytes, "sha256": file.sha256} for file in variant.files]
    return given | {"files": [{key: value for key, value in file.items() if value} for file in files]}


def test_our_own_rows_pass_what_a_persons_must(tmp_path: Path) -> None:
    import tomlkit

    path = tmp_path / "models.toml"
    path.write_text(tomlkit.dumps({"model": [as_toml(row) for row in OUR_MODELS]}), encoding="utf-8")
    assert [replace(row, origin=None) for row in read_rows(path)] == list(OUR_MODELS)
    catalog.check_unique(OUR_MODELS)


@pytest.mark.parametrize("wanted", every_variant(), ids=lambda wanted: wanted.name)
def test_every_row_can_be_downloaded_and_says_how_large_it_is(wanted: Wanted) -> None:
    assert wanted.row.mirrors
    assert wanted.variant.download_bytes > 100_000
    assert wanted.row.memory_bytes > 0
    assert wanted.row.licence_url.startswith("https://")
    is_known = all(file.sha256 for file in wanted.variant.files) and not wanted.variant.patterns
    is_pinned = any(len(mirror.revision) == 40 for mirror in wanted.row.mirrors if mirror.hub)
    assert wanted.row.unverified or is_known, "what nobody has verified must be marked so"
    assert wanted.row.unverified or is_pinned or is_known


def test_a_model_that_does_not_fit_is_refused_before_it_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, private_home: Path
) -> None:
    from click.testing import CliRunner

    from audio2img.cli.commands.models_get import command
    from audio2img.store import defaults

    monkeypatch.setattr(defaults, "memory_bytes", lambda: 6_000_000_000)
    defaults.check_fits(catalog.find_row("sd21-768"))
    with pytest.raises(MachineError, match=r"needs about 8\.0 GB of memory, and this machine has 6\.0 GB"):
        defaults.check_fits(catalog.find_row("sdxl-base"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    done = CliRunner().invoke(command, ["playground-v2.5", "--accept-license"])
    assert isinstance(done.exception, MachineError)
    assert "--anyway" in done.exception.remedy


@pytest.mark.parametrize(
    ("machine", "name", "words"),
    [
        (Machine("linux", False), "sd21", "run: "),
        (Machine("linux", False), "sd21-768", "run: "),
        (Machine("linux", True), "sd21:original", "diffusers"),
    ],
)
def test_what_this_machine_cannot_draw_is_refused_before_it_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, private_home: Path, machine: Machine, name: str, words: str
) -> None:
    from click.testing import CliRunner

    from audio2img.backends.coreml import apple
    from audio2img.backends.torch import row
    from audio2img.cli.commands.models_get import command
    from audio2img.store import get

    monkeypatch.setattr(catalog, "this_machine", lambda: machine)
    monkeypatch.setattr(row, "this_machine", lambda: machine)
    monkeypatch.setattr(apple, "is_here", lambda: False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    asked: list[str] = []
    monkeypatch.setattr(get, "get_model", lambda model, *_: asked.append(model.row.name))
    refused = CliRunner().invoke(command, [name, "--accept-license"])
    assert isinstance(refused.exception, MachineError)
    assert words in refused.exception.remedy
    assert asked == []
    insist = f"audio2img models get {catalog.find_wanted(name).name} --anyway"
    assert refused.exception.remedy.endswith(insist)
    CliRunner().invoke(command, [*insist.split()[3:], "--accept-license"])
    assert asked == [catalog.find_wanted(name).row.name]


@pytest.mark.parametrize(
    ("machine", "is_told"),
    [(Machine("linux", False), True), (Machine("windows", False), True), (Machine("linux", True), False)],
)
def test_the_defaults_say_what_pictures_need(
    monkeypatch: pytest.MonkeyPatch, private_home: Path, machine: Machine, is_told: bool
) -> None:
    from click.testing import CliRunner

    from audio2img.cli.commands.models_get import command
    from audio2img.installation import how_to_add

    monkeypatch.setattr(catalog, "this_machine", lambda: machine)
    told = CliRunner().invoke(command, ["default"]).stderr
    assert (how_to_add("diffusers").removeprefix("run: ") in told) == is_told
    assert "PyTorch" not in CliRunner().invoke(command, ["default", "--quiet"]).stderr
    assert "PyTorch" not in CliRunner().invoke(command, ["mini"]).stderr


@pytest.mark.parametrize(
    ("asked", "kind", "remedy"),
    [
        ("whisper-bse", None, "did you mean whisper-base or "),
        ("WHISPER-TINY", None, "did you mean whisper-tiny or "),
        ("sd2l", None, "did you mean sdxl or sd21? known models: mini and "),
        ("yamnt", None, "did you mean yamnet? known models: yamnet; or give a path"),
        ("nonesuch", None, "known models: mini, mini-whisper and "),
        ("whisper-bse", "image", "known models: mini and "),
    ],
)
def test_what_was_meant_is_suggested_with_its_own_kind(asked: str, kind: Any, remedy: str) -> None:
    with pytest.raises(ModelError) as caught:
        catalog.find_row(asked, kind)
    assert caught.value.remedy.startswith(remedy)
    if asked.lower().startswith("whisper") and kind is None:
        assert "known models: mini-whisper and " in caught.value.remedy


def test_the_memory_of_this_machine_is_known() -> None:
    from audio2img.machine import memory_bytes

    assert (memory_bytes() or 0) > 1_000_000_000


def test_no_dead_home_comes_before_a_living_mirror() -> None:
    """Stability AI withdrew Stable Diffusion 2 in November 2025."""
    dead = [
        mirror.hub
        for row in catalog.load_catalog()
        for mirror in row.mirrors
        if "stabilityai/stable-diffusion-2" in mirror.hub
    ]
    assert dead == []


@pytest.mark.parametrize(
    "machine", [Machine(p, d) for p in ("macos", "linux", "windows") for d in (True, False)]
)
def test_every_default_fits_its_machine(machine: Machine) -> None:
    for kind, name in machine.defaults.items():
        row = catalog.find_row(name)
        assert row.kind == kind
        assert machine.platform in row.platforms
    assert (machine.defaults["image"] == "sd21-base-palettized") == (machine.platform == "macos")


def test_aliases_and_variants_are_found() -> None:
    assert catalog.find_wanted("base").name == "whisper-base"
    assert catalog.find_wanted("sd21:original", "split_einsum").key == "sd21-base-palettized--original"
    assert catalog.find_wanted("whisper-base", "original").name == "whisper-base"


@pytest.mark.parametrize("platform", ["macos", "linux", "windows"])
def test_an_alias_means_what_this_system_can_draw(platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "this_machine", lambda: Machine(platform, True))
    if platform == "macos":
        assert catalog.find_wanted("sd21").name == "sd21-base-palettized:split_einsum"
        assert catalog.find_wanted("sd21", "original").name == "sd21-base-palettized:original"
    else:
        assert catalog.find_wanted("sd21").name == "sd21-base-diffusers"
        assert catalog.find_wanted("sd21:original").name == "sd21-base-palettized:original"


@pytest.mark.parametrize("name", ["mini", "whisper-base", "yamnet"])
def test_the_catalogue_decides_what_a_name_means(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert not catalog.looks_like_path(name)
    assert catalog.find_row(name).name == name
    assert catalog.resolve_model("mini", "image").format == "coreml"


def test_what_is_only_a_file_here_is_suggested_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        catalog.resolve_model("my-model", "image")
    assert "./my-model" in caught.value.remedy
    assert catalog.resolve_model("./my-model", "image").path == Path("my-model")


@pytest.mark.parametrize(
    ("name", "kind"), [("whisper-base", "image"), ("sd21", "speech"), ("yamnet", "image")]
)
def test_a_model_of_the_wrong_kind_is_no_download(name: str, kind: Any) -> None:
    with pytest.raises(ModelError, match="not a model for"):
        catalog.find_missing(name, kind)


@pytest.mark.parametrize(
    ("name", "kind", "near"),
    [("sd2l", "image", "sd21"), ("SDXL", "image", "sdxl"), ("Whisper-Base", "speech", "whisper-base")],
)
def test_suggestions_know_aliases_case_and_kind(name: str, kind: Any, near: str) -> None:
    with pytest.raises(ModelError) as caught:
        catalog.find_missing(name, kind)
    assert near in caught.value.remedy
    assert ("whisper" in caught.value.remedy) == (kind == "speech")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wisper-base", "whisper-base"),
        ("nonesuch", "mini"),
        ("sd21:best", "sd21-base-palettized:original"),
        ("whisper-base:best", "no variant"),
    ],
)
def test_an_unknown_name_lists_the_choices(name: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        catalog.find_wanted(name)
    assert words in f"{caught.value.message} {caught.value.remedy}"


def test_a_row_of_ones_own_replaces_one_of_ours(shelf: Any) -> None:
    shelf.write(
        shelf.row("whisper-base", 'mirrors = [{ hub = "company/mirror" }]\nfiles = [{ path = "a.bin" }]')
    )
    wanted = catalog.find_wanted("whisper-base")
    assert [mirror.hub for mirror in wanted.row.mirrors] == ["company/mirror"]
    assert catalog.find_wanted("whisper-tiny")


HUB = 'mirrors = [{ hub = "a/b" }]\n'
FILES = 'files = [{ path = "a.bin" }]'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (HUB, "files or patterns"),
        (FILES, "has no mirrors"),
        (HUB + FILES + "\nsize = 3", "size"),
        (HUB + FILES + '\nmemory_bytes = "much"', "memory_bytes"),
        (HUB + FILES + "\nunverified = 1", "unverified"),
        (HUB + FILES + '\nplatforms = ["amiga"]', "amiga"),
        (HUB + FILES + '\naliases = ["a b"]', "'a b'"),
        (HUB + 'files = ["a.bin"]', "no table"),
        (HUB + 'files = [{ path = "/etc/passwd.bin" }]', "/etc/passwd.bin"),
        (HUB + 'files = [{ path = "../a.bin" }]', "../a.bin"),
        (HUB + 'files = [{ path = "a.bin", sha256 = "ABC" }]', "SHA-256"),
        (HUB + 'files = [{ path = "a.bin", bytes = 0 }]', "0 bytes"),
        (HUB + 'files = [{ path = "a.bin", sha = "x" }]', "sha"),
        (HUB + 'files = [{ path = "a.exe" }]', "a.exe"),
        (HUB + 'files = [{ path = "model.ckpt" }]', "pickle"),
        ('mirrors = [{ hub = "b" }]\n' + FILES, "owner/name"),
        ('mirrors = [{ hub = "a/b", url = "https://a/b" }]\n' + FILES, "either a hub or a url"),
        ('mirrors = [{ url = "ftp://a/b" }]\n' + FILES, "neither https nor http"),
        ('mirrors = [{ url = "http://a/b" }]\n' + FILES, "anyone on the way"),
        ('mirrors = [{ url = "https://a/" }]\npatterns = ["*"]', "only a hub"),
        (
            'mirrors = [{ url = "https://a/b" }]\nfiles = [{ path = "a.bin" }, { path = "b.bin" }]',
            "no folder",
        ),
        (HUB + FILES + "\n[[model.variant]]\n" + FILES, "both variants and files"),
        (HUB + f'[[model.variant]]\nname="x"\n{FILES}\n[[model.variant]]\nname="x"\n{FILES}', "two variants"),
    ],
)
def test_a_wrong_row_is_refused_by_file_and_name(shelf: Any, body: str, words: str) -> None:
    path = shelf.write(shelf.row("good", HUB + FILES), shelf.row("my-model", body))
    with pytest.raises(UsageError) as caught:
        catalog.load_catalog()
    assert f"{path}: the model my-model " in caught.value.message
    assert words in caught.value.message


def test_names_must_be_unique(shelf: Any) -> None:
    path = shelf.write(shelf.row("a", HUB + FILES), shelf.row("b", HUB + FILES + '\naliases = ["a"]'))
    with pytest.raises(UsageError, match=r"the model b: the name a occurs twice") as caught:
        catalog.load_catalog()
    assert str(path) in caught.value.message


def test_broken_toml_is_named(shelf: Any) -> None:
    path = shelf.write("[[model")
    with pytest.raises(UsageError, match=r"models\.toml"):
        catalog.load_catalog()
    path.write_text('[models]\nname = "x"')
    with pytest.raises(UsageError, match="more than"):
        catalog.load_catalog()


def test_a_zip_stands_alone(shelf: Any) -> None:
    body = HUB + 'files = [{ path = "a.zip" }, { path = "vocab.json" }]'
    shelf.write(shelf.row("z", body, "image", "coreml"))
    with pytest.raises(UsageError, match="something else beside it"):
        catalog.load_catalog()


@pytest.mark.parametrize(
    ("cores", "variant"), [(10, "original"), (4, "split_einsum"), (None, "split_einsum")]
)
def test_a_mac_gets_what_suits_its_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, variant: str
) -> None:
    from audio2img.backends.coreml import units
    from audio2img.cli.commands.models_get import wanted_models

    monkeypatch.setattr(units, "performance_cores", lambda: cores)
    monkeypatch.setattr(catalog, "this_machine", lambda: Machine("macos", False))
    names = [model.name for model in wanted_models(("default", "base"))]
    assert names == [f"sd21-base-palettized:{variant}", "whisper-base"]


def test_a_model_of_another_kind_is_refused_with_the_right_option() -> None:
    with pytest.raises(ModelError) as caught:
        catalog.resolve_model("mini-whisper", "image")
    assert "`speech_model" in caught.value.remedy


def test_python_gets_the_command_too(private_home: Path) -> None:
    from audio2img import Pipeline

    with Pipeline() as pipeline, pytest.raises(ModelError, match="whisper-base") as caught:
        _ = pipeline.speech_model
    assert "audio2img models get default" in caught.value.remedy
    with Pipeline(speech_model="mini-whisper") as pipeline:
        assert pipeline.speech_model.name == "mini-whisper"
