"""Packages with values inside of them as outputs, read by coremltools."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio2img.diagnosis.ops import choose_taps, write_tapped
from audio2img.mlprogram.mlpackage import Package


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae_decoder", "vae_encoder"])
def test_coremltools_takes_a_tapped_package(mini_bundle: Path, tmp_path: Path, part: str) -> None:
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    package = next(mini_bundle.glob(f"*_{part}.mlpackage"))
    taps = choose_taps(Package(package).load_function())
    tapped = write_tapped(package, tmp_path / "tapped.mlpackage", tuple(taps))
    model = ct.models.MLModel(str(tapped), skip_model_load=True)
    spec = model.get_spec()
    assert [output.name for output in spec.description.output] == list(taps)
    program = load(spec, spec.specificationVersion, model.weights_dir)
    outputs = {output.name: output for output in program.functions["main"].outputs}
    assert list(outputs) == list(taps)
    for output in spec.description.output:
        assert tuple(output.type.multiArrayType.shape) == outputs[output.name].shape
