"""Where the tests find real files, and the rule that a full run skips nothing unexpected."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.written_packages"]

ROOT = Path(__file__).resolve().parent.parent
MINI = ROOT / "models" / "mini"

# Reasons a full run (AUDIO2IMG_TESTS_STRICT=1) accepts: hardware and systems it cannot have.
ACCEPTED_SKIPS = ("needs macOS", "needs Windows", "needs CUDA")

os.environ.setdefault("HF_HUB_OFFLINE", "1")

settings.register_profile("audio2img", deadline=None)  # the machine may be busy
settings.load_profile("audio2img")

# A shell starts what it puts into the background with Ctrl-C ignored, and every process inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def yamnet_file(shared_data: Path) -> Path:
    return shared_data / "yamnet.tflite"


@pytest.fixture(scope="session")
def mini_whisper() -> Path:
    return MINI / "mini-whisper.bin"


@pytest.fixture(scope="session")
def mini_bundle() -> Path:
    return MINI / "coreml"


@pytest.fixture(scope="session")
def demo_audio() -> Path:
    return MINI / "demo.flac"


@pytest.fixture
def core_ml_stand_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A Mac as far as this package asks: at the one place where it calls coremltools, the reference
    runtime stands in. Gives the list of what was asked of it: ("compile", name) and ("open", units).

    What it compiles holds the package and the metadata.json that Apple's compiler writes.
    """
    from audio2img.backends.coreml import apple
    from audio2img.mlprogram.mlpackage import Package
    from audio2img.mlprogram.reference import ReferenceModel

    asked: list[tuple[str, str]] = []

    def compile_package(package: Path, destination: Path) -> None:
        asked.append(("compile", package.name))
        write_compiled(package, destination)

    def open_compiled(path: Path, compute_units: str) -> ReferenceModel:
        asked.append(("open", compute_units))
        return ReferenceModel(Package(path / "stand-in.mlpackage"))

    monkeypatch.setattr(apple, "is_here", lambda: True)
    monkeypatch.setattr(apple, "versions", lambda: ("9.0", "15.1"))
    monkeypatch.setattr(apple, "compile_package", compile_package)
    monkeypatch.setattr(apple, "open_compiled", open_compiled)
    return asked


def write_compiled(package: Path, destination: Path) -> None:
    """A `.mlmodelc` that describes itself as one of Apple's compiler does."""
    from audio2img.mlprogram.mlpackage import ArraySpec, read_description

    kinds = {"float16": "Float16", "float32": "Float32", "int32": "Int32"}

    def schema(specs: tuple[ArraySpec, ...]) -> list[dict[str, str]]:
        return [
            {
                "hasShapeFlexibility": "0",
                "isOptional": str(int(spec.optional)),
                "dataType": kinds[spec.dtype.name],
                "formattedType": f"MultiArray ({kinds[spec.dtype.name]} {' × '.join(map(str, spec.shape))})",
                "shortDescription": "",
                "shape": str(list(spec.shape)),
                "name": spec.name,
                "type": "MultiArray",
            }
            for spec in specs
        ]

    description = read_description(package)
    content = {
        "metadataOutputVersion": "3.0",
        "storagePrecision": "Mixed (Float16, Palettized (8 bits))",
        "outputSchema": schema(description.outputs),
        "modelParameters": [],
        "specificationVersion": 7,
        "isUpdatable": "0",
        "modelType": {"name": "MLModelType_mlProgram"},
        "inputSchema": schema(description.inputs),
        "userDefinedMetadata": {},
        "method": "predict",
    }
    shutil.copytree(package, destination / "stand-in.mlpackage")
    text = json.dumps([content], indent=2, ensure_ascii=False)
    (destination / "metadata.json").write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def as_compiled() -> Callable[[Path, Path], Path]:
    """as_compiled(bundle of packages, folder): the same model as Apple's compiled resources."""
    from audio2img.backends.coreml.layout import COMPILED_NAMES

    def convert(bundle: Path, folder: Path) -> Path:
        folder.mkdir(parents=True)
        for part, name in COMPILED_NAMES.items():
            for package in bundle.glob(f"*_{part}.mlpackage"):
                write_compiled(package, folder / f"{name}.mlmodelc")
        for path in (path for path in bundle.iterdir() if path.is_file()):
            shutil.copyfile(path, folder / path.name)
        return folder

    return convert


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
