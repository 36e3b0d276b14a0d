#!/usr/bin/env python3
"""Convert the mini Stable Diffusion from a diffusers folder to Core ML packages in Apple's layout.

    python scripts/convert_mini.py [--source models/mini/diffusers] [--dest models/mini/coreml] [--bits 8]

Needs the `convert` extra (torch, diffusers, transformers, coremltools); runs on Linux and macOS.
The inputs and outputs are those of apple/ml-stable-diffusion: text_encoder, unet, vae_decoder and
vae_encoder as ML programs for macOS 13, computed in float16, the weights palettized with k-means
(16 bits: left as they are). Beside them go vocab.json, merges.txt and audio2img.json, which carries
what a Core ML package has no place for. The destination is replaced as a whole, and only when every
part was converted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PARTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")
MODEL_NAME = "audio2img-mini"
PACKAGE_NAME = "Stable_Diffusion_version_audio2img_mini_{part}.mlpackage"
TEXT_LENGTH = 77
GUIDED_BATCH = 2  # classifier-free guidance: the unconditional and the conditional half together
SMALL_TENSOR_ELEMENTS, SMALL_TENSOR_BITS = 16_384, 8
MIN_PALETTIZED_ELEMENTS = 2048  # below this a palette costs more than it saves
RECOMMENDED = {"num_inference_steps": 20, "guidance_scale": 7.5}  # where recommended.json says nothing else
# Names derived from the content keep two runs byte for byte alike; coremltools draws random ones.
ITEM_NAMESPACE = uuid.UUID("6f1d3c52-4c1c-5d0e-9b53-0b1f7c3f6a90")


@dataclass(frozen=True)
class Contract:
    """What one part takes and gives: names, example inputs (torch tensors), NumPy dtypes."""

    module: Any
    inputs: dict[str, Any]
    input_dtype: Any
    outputs: tuple[str, ...]


def patch_coremltools() -> None:
    """Let coremltools 9.0 run under NumPy 2.4, where int() of a 1-element array is an error."""
    import coremltools.converters.mil.frontend.torch.ops as torch_ops
    import numpy as np

    original = torch_ops._cast

    def cast(context: Any, node: Any, dtype: Callable[[Any], Any], dtype_name: str) -> None:
        value = torch_ops._get_inputs(context, node, expected=1)[0]
        if value.can_be_folded_to_const() and not isinstance(value.val, dtype):  # type: ignore[arg-type]
            constant = dtype(np.asarray(value.val).item())
            context.add(torch_ops.mb.const(val=constant, name=node.name), node.name)
        else:
            original(context, node, dtype, dtype_name)

    torch_ops._cast = cast


def text_encoder_contract(source: Path) -> Contract:
    """input_ids (1, 77) float32 -> last_hidden_state (1, 77, D), pooled_outputs (1, D)."""
    import numpy as np
    import torch
    from transformers import CLIPTextModel

    encoder = CLIPTextModel.from_pretrained(source / "text_encoder", torch_dtype=torch.float32)
    end_token = encoder.config.eos_token_id

    class TextEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: Any) -> Any:
            result = self.encoder(input_ids, return_dict=True)
            return result.last_hidden_state, result.pooler_output

    ids = torch.full((1, TEXT_LENGTH), end_token, dtype=torch.int32)
    return Contract(TextEncoder(), {"input_ids": ids}, np.float32, ("last_hidden_state", "pooled_outputs"))


def unet_contract(source: Path) -> Contract:
    """sample (2, 4, h, w), timestep (2,), encoder_hidden_states (2, D, 1, 77) -> noise_pred (2, 4, h, w)."""
    import numpy as np
    import torch
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel.from_pretrained(source / "unet", torch_dtype=torch.float32)
    size = model.config.sample_size

    class UNet(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = model

        def forward(self, sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
            states = encoder_hidden_states.squeeze(2).transpose(1, 2)
            return self.unet(sample, timestep, states, return_dict=False)[0]

    inputs = {
        "sample": torch.zeros(GUIDED_BATCH, model.config.in_channels, size, size),
        "timestep": torch.full((GUIDED_BATCH,), 981.0),
        "encoder_hidden_states": torch.zeros(GUIDED_BATCH, model.config.cross_attention_dim, 1, TEXT_LENGTH),
    }
    return Contract(UNet(), inputs, np.float16, ("noise_pred",))


def vae_contract(source: Path, part: str) -> Contract:
    """vae_decoder: z (1, 4, h, w) -> image (1, 3, 8h, 8w); vae_encoder: x -> latent (1, 8, h, w), moments."""
    import numpy as np
    import torch
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(source / "vae", torch_dtype=torch.float32)
    side = vae.config.sample_size
    latent_side = side // 2 ** (len(vae.config.block_out_channels) - 1)
    if part == "vae_decoder":
        decoder = torch.nn.Sequential(vae.post_quant_conv, vae.decoder)
        latents = torch.zeros(1, vae.config.latent_channels, latent_side, latent_side)
        return Contract(decoder, {"z": latents}, np.float16, ("image",))
    encoder = torch.nn.Sequential(vae.encoder, vae.quant_conv)
    image = torch.zeros(1, vae.config.in_channels, side, side)
    return Contract(encoder, {"x": image}, np.float16, ("latent",))


def part_contract(source: Path, part: str) -> Contract:
    """The contract of `part` with the weights of the diffusers folder `source`."""
    if part == "text_encoder":
        return text_encoder_contract(source)
    return unet_contract(source) if part == "unet" else vae_contract(source, part)


def convert_part(source: Path, part: str, bits: int, dest: Path) -> None:
    """Convert one part and save it as the package `dest`."""
    warnings.filterwarnings("ignore")
    import coremltools as ct
    import numpy as np
    import torch

    patch_coremltools()
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    contract = part_contract(source, part)
    example = tuple(contract.inputs.values())
    traced = torch.jit.trace(contract.module.eval(), example, strict=False, check_trace=False)
    model = ct.convert(
        traced,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.macOS13,
        inputs=[
            ct.TensorType(name=name, shape=tuple(value.shape), dtype=contract.input_dtype)
            for name, value in contract.inputs.items()
        ],
        outputs=[ct.TensorType(name=name, dtype=np.float32) for name in contract.outputs],
        compute_precision=ct.precision.FLOAT16,
        compute_units=ct.ComputeUnit.CPU_ONLY,
        skip_model_load=True,
    )
    if bits < 16:
        model = palettize(model, bits)
    model.author = "The audio2img project"
    model.license = "Apache-2.0"
    model.short_description = f"{MODEL_NAME}: {part.replace('_', ' ')}"
    model.save(str(dest))
    make_reproducible(dest)


def palettize(model: Any, bits: int) -> Any:
    """The model with every large weight as a palette of 2**bits values, found by k-means.

    Small tensors keep at least 8 bits: first and last layers, shortcuts and projections are small,
    and of the error that 6 bits make in the UNet's answer they make three quarters.
    The exact one-dimensional k-means for all: coremltools gives tensors below 10,000 elements to
    scikit-learn, whose result is a little worse and depends on the number of threads.
    """
    from coremltools.models.neural_network import quantization_utils
    from coremltools.optimize.coreml import _quantization_passes as passes

    def exact_kmeans(bits: int, weight: Any, **_options: Any) -> Any:
        return quantization_utils._get_kmeans_lookup_table_and_weight(bits, weight, force_kmeans1d=True)

    passes._get_kmeans_lookup_table_and_weight = exact_kmeans
    if bits < SMALL_TENSOR_BITS:
        model = palettize_above(model, bits, SMALL_TENSOR_ELEMENTS)
    return palettize_above(model, max(bits, SMALL_TENSOR_BITS), MIN_PALETTIZED_ELEMENTS)


def palettize_above(model: Any, bits: int, n_elements: int) -> Any:
    """The model with every weight of more than `n_elements` elements as a palette, if it is not yet one."""
    from coremltools.optimize import coreml

    config = coreml.OpPalettizerConfig(mode="kmeans", nbits=bits, weight_threshold=n_elements)
    return coreml.palettize_weights(model, coreml.OptimizationConfig(global_config=config))


def make_reproducible(package: Path) -> None:
    """Give the package's items names that depend on nothing but what they are, and sort what has no order."""
    from coremltools.proto import Model_pb2

    manifest_path = package / "Manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    names = {
        old: str(uuid.uuid5(ITEM_NAMESPACE, f"{package.name}/{item['path']}")).upper()
        for old, item in manifest["itemInfoEntries"].items()
    }
    entries = {names[old]: item for old, item in manifest["itemInfoEntries"].items()}
    manifest["itemInfoEntries"] = dict(sorted(entries.items()))
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    manifest_path.write_text(json.dumps(manifest, indent=4) + "\n", encoding="utf-8")

    spec_path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    spec = Model_pb2.Model()
    spec.ParseFromString(spec_path.read_bytes())
    spec_path.write_bytes(spec.SerializeToString(deterministic=True))


def sidecar(source: Path) -> dict[str, Any]:
    """The contents of audio2img.json: the model's settings, taken from the diffusers folder's own files."""

    def read(name: str) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((source / name).read_text(encoding="utf-8"))
        return result

    recommended = dict(RECOMMENDED)
    if (source / "recommended.json").is_file():
        recommended.update(read("recommended.json"))
    scheduler = read("scheduler/scheduler_config.json")
    tokenizer = read("tokenizer/tokenizer_config.json")
    pad_token = tokenizer.get("pad_token", "<|endoftext|>")
    if isinstance(pad_token, dict):
        pad_token = pad_token["content"]
    kept = (
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "steps_offset",
        "timestep_spacing",
    )
    return {
        "format": 1,
        "name": MODEL_NAME,
        "prediction_type": scheduler.get("prediction_type", "epsilon"),
        "scaling_factor": read("vae/config.json")["scaling_factor"],
        "pad_token": pad_token,
        "scheduler": {key: scheduler[key] for key in kept if key in scheduler},
        "defaults": {
            "steps": recommended["num_inference_steps"],
            "guidance_scale": recommended["guidance_scale"],
            "scheduler": "dpmpp-2m",
        },
    }


def size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def convert_all(source: Path, dest: Path, bits: int) -> None:
    """Convert every part, each in a process of its own: k-means workers do not survive a second use."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{dest.name}-", dir=dest.parent))
    work.chmod(0o755)
    try:
        for part in PARTS:
            package = work / PACKAGE_NAME.format(part=part)
            started = time.monotonic()
            command = [sys.executable, str(Path(__file__).resolve()), "--source", str(source)]
            command += ["--part", part, "--package", str(package), "--bits", str(bits)]
            result = subprocess.run(
                command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if result.returncode != 0 or not package.is_dir():
                sys.exit(f"{result.stdout}\nconverting {part} failed")
            print(
                f"{part:13} {size_bytes(package):>10,} bytes, {time.monotonic() - started:.0f} s", flush=True
            )
        for name in ("vocab.json", "merges.txt"):
            shutil.copyfile(source / "tokenizer" / name, work / name)
        text = json.dumps(sidecar(source), indent=2, ensure_ascii=False) + "\n"
        (work / "audio2img.json").write_text(text, encoding="utf-8")
        if dest.exists():
            shutil.rmtree(dest)
        os.replace(work, dest)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{dest}: {size_bytes(dest):,} bytes at {bits} bits")


def main() -> None:
    """Read the command line; without --part convert everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=REPOSITORY / "models" / "mini" / "diffusers")
    parser.add_argument("--dest", type=Path, default=REPOSITORY / "models" / "mini" / "coreml")
    parser.add_argument("--bits", type=int, choices=(6, 8, 16), default=8, help="16: float16, no palettes")
    parser.add_argument("--part", choices=PARTS, help="convert this part alone, to --package")
    parser.add_argument("--package", type=Path)
    options = parser.parse_args()
    if not (options.source / "model_index.json").is_file():
        parser.error(f"no diffusers model in {options.source}")
    if options.part is None:
        convert_all(options.source, options.dest, options.bits)
    elif options.package is None:
        parser.error("--part needs --package")
    else:
        convert_part(options.source, options.part, options.bits, options.package)


if __name__ == "__main__":
    main()
