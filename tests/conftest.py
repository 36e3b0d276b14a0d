"""Where the tests find real files, and the rule that a full run skips nothing unexpected."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ["tests.written_packages"]

ROOT = Path(__file__).resolve().parent.parent
MINI = ROOT / "models" / "mini"
STAND_IN = ROOT / "tests" / "stand_in"

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


class Asked(Sequence[tuple[str, str]]):
    """What has been asked of the stand-in so far, in this process and in its children."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def _rows(self) -> list[tuple[str, str]]:
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
        return [(what, detail) for what, detail in map(json.loads, lines)]

    def __len__(self) -> int:
        return len(self._rows())

    def __getitem__(self, index: Any) -> Any:
        return self._rows()[index]

    def __eq__(self, other: object) -> bool:
        return self._rows() == other

    def __repr__(self) -> str:
        return repr(self._rows())

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def core_ml_stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A Mac as far as this package asks, in this process and in the children it starts: at the one place
    where it calls coremltools, the reference runtime stands in (see stand_in/sitecustomize.py).

    Gives what was asked of it: ("compile", name) and ("open", units).
    """
    spec = importlib.util.spec_from_file_location("stand_in", STAND_IN / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    log = tmp_path_factory.mktemp("stand-in") / "log"
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("STAND_IN", "{}")
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    module.take_the_place_of_core_ml({}, monkeypatch.setattr)
    return Asked(log)


class HeldLoad:
    """Core ML that holds its lock in the first load of each of its processes, until `let_go`."""

    def __init__(self, pipe: Path, asked: Asked) -> None:
        self.pipe, self._asked = pipe, asked
        self._writer: int | None = None
        os.mkfifo(pipe)

    @property
    def has_begun(self) -> bool:
        return ("hold", "begin") in self._asked

    @property
    def has_ended(self) -> bool:
        return ("hold", "end") in self._asked

    def let_go(self) -> None:
        """Now, and at once from now on."""
        self._writer = os.open(self.pipe, os.O_RDWR)  # which waits for no reader

    def close(self) -> None:
        if self._writer is None:
            self.let_go()  # also what a test that failed has left behind
        assert self._writer is not None
        os.close(self._writer)


@pytest.fixture
def held_load(
    core_ml_stand_in: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HeldLoad]:
    """As core_ml_stand_in, with a load that ends when the test says so."""
    held = HeldLoad(tmp_path_factory.mktemp("held-load") / "pipe", core_ml_stand_in)
    monkeypatch.setenv("STAND_IN", json.dumps({"compile": "right", "*": "wait-load"}))
    monkeypatch.setenv("STAND_IN_PIPE", str(held.pipe))
    yield held
    held.close()


def wait_until(happened: Callable[[], object]) -> None:
    """Look again and again, for a minute at most."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)


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
