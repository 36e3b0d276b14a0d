"""Start-up is a feature: what is imported before there is work to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "numpy", "PIL", "av", "rich", "soxr", "sounddevice", "pywhispercpp", "tokenizers", "huggingface_hub",
    "platformdirs", "concurrent.futures", "asyncio", "importlib.metadata", "coremltools", "torch",
)  # fmt: skip


def modules_after(code: str) -> set[str]:
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_import_nothing_heavy(argument: str) -> None:
    loaded = modules_after(f"from audio2img.cli import main; main([{argument!r}])")
    assert "audio2img.cli" in loaded
    assert not loaded & set(HEAVY)


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import audio2img") & {*HEAVY, "click"}


def test_every_module_imports_in_a_fresh_interpreter_on_the_base_install() -> None:
    code = (
        "import audio2img, importlib, pkgutil; "
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(audio2img.__path__, 'audio2img.')"
        " if not m.name.endswith('__main__')]"
    )
    loaded = modules_after(code)
    assert "audio2img.pipeline.pipeline" in loaded
    heavy = {"torch", "diffusers", "transformers", "coremltools", "sounddevice", "av", "pywhispercpp"}
    assert not loaded & heavy
