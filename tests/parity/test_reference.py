"""The reference runtime against torch: every operation, every part, whole pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio2img.backends.coreml.backend import CoreMLBackend
from audio2img.mlprogram.graph import build_graph
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.ops import Node
from audio2img.mlprogram.reference import ReferenceModel
from audio2img.types import ImageRequest

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

PARTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")
Values = dict[str, Any]


def torch_operations() -> dict[str, Callable[[Values], Any]]:
    """What torch makes of each operation of the mini packages; operands by name, as tensors."""
    import torch
    from torch.nn import functional as nn

    def ints(value: Any) -> list[int]:
        return [int(x) for x in value.reshape(-1)]

    def conv(v: Values) -> Any:
        pad = ints(v["pad"]) if v["pad_type"] == "custom" else [0, 0, 0, 0]
        x = nn.pad(v["x"], (pad[2], pad[3], pad[0], pad[1]))
        strides, dilations = ints(v["strides"]), ints(v["dilations"])
        return nn.conv2d(x, v["weight"], v["bias"], strides, 0, dilations, int(v["groups"]))

    def slice_by_index(v: Values) -> Any:
        ends = [
            None if mask else end for mask, end in zip(v["end_mask"].tolist(), ints(v["end"]), strict=True)
        ]
        return v["x"][tuple(slice(b, e) for b, e in zip(ints(v["begin"]), ends, strict=True))]

    def pad(v: Values) -> Any:
        counts = ints(v["pad"])
        pairs = [pair for k in range(len(counts) - 2, -1, -2) for pair in counts[k : k + 2]]
        return nn.pad(v["x"], pairs, value=float(v["constant_val"]))

    def matmul(v: Values) -> Any:
        x = v["x"].transpose(-1, -2) if v["transpose_x"] else v["x"]
        return x @ (v["y"].transpose(-1, -2) if v["transpose_y"] else v["y"])

    def cast(v: Values) -> Any:
        return v["x"].to(torch.float32 if v["dtype"].startswith("fp") else torch.int32)

    def scale_factors(v: Values) -> tuple[float, float]:
        return float(v["scale_factor_height"]), float(v["scale_factor_width"])

    return {
        "add": lambda v: v["x"] + v["y"],
        "sub": lambda v: v["x"] - v["y"],
        "mul": lambda v: v["x"] * v["y"],
        "real_div": lambda v: v["x"] / v["y"],
        "equal": lambda v: v["x"] == v["y"],
        "square": lambda v: v["x"].square(),
        "sqrt": lambda v: v["x"].sqrt(),
        "sin": lambda v: v["x"].sin(),
        "cos": lambda v: v["x"].cos(),
        "sigmoid": lambda v: v["x"].sigmoid(),
        "silu": lambda v: nn.silu(v["x"]),
        "gelu": lambda v: nn.gelu(v["x"]),
        "softmax": lambda v: v["x"].softmax(int(v["axis"])),
        "cast": cast,
        "linear": lambda v: nn.linear(v["x"], v["weight"], v["bias"]),
        "matmul": matmul,
        "conv": conv,
        "pad": pad,
        "layer_norm": lambda v: nn.layer_norm(
            v["x"], v["gamma"].shape, v["gamma"], v["beta"], float(v["epsilon"])
        ),
        "batch_norm": lambda v: nn.batch_norm(
            v["x"], v["mean"], v["variance"], v["gamma"], v["beta"], eps=float(v["epsilon"])
        ),
        "reduce_mean": lambda v: v["x"].mean(ints(v["axes"]), keepdim=bool(v["keep_dims"])),
        "reduce_argmax": lambda v: v["x"].argmax(int(v["axis"]), keepdim=bool(v["keep_dims"])),
        "reshape": lambda v: v["x"].reshape(ints(v["shape"])),
        "transpose": lambda v: v["x"].permute(ints(v["perm"])),
        "expand_dims": lambda v: v["x"].unsqueeze(*ints(v["axes"])),
        "squeeze": lambda v: v["x"].squeeze(*ints(v["axes"])),
        "concat": lambda v: torch.cat(v["values"], int(v["axis"])),
        "stack": lambda v: torch.stack(v["values"], int(v["axis"])),
        "split": lambda v: torch.split(v["x"], ints(v["split_sizes"]), int(v["axis"])),
        "slice_by_index": slice_by_index,
        "gather": lambda v: v["x"].index_select(int(v["axis"]), v["indices"].reshape(-1)).reshape(
            *v["indices"].shape, *v["x"].shape[1:]
        ),
        "gather_nd": lambda v: v["x"][tuple(v["indices"].long().unbind(-1))],
        "upsample_nearest_neighbor": lambda v: nn.interpolate(v["x"], scale_factor=scale_factors(v)),
    }  # fmt: skip


def random_inputs(model: ReferenceModel) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    inputs = {}
    for spec in model.description.inputs:
        if spec.name == "input_ids":
            values = rng.integers(0, 50, spec.shape)
        else:
            values = np.full(spec.shape, 500) if spec.name == "timestep" else rng.standard_normal(spec.shape)
        inputs[spec.name] = values.astype(spec.dtype)
    return inputs


@pytest.mark.parametrize("part", PARTS)
def test_every_operation(mini_bundle: Path, part: str) -> None:
    """Each operation of the embedded package, on the values it really gets, within 1e-5 of torch."""
    import torch

    package = Package(next(mini_bundle.glob(f"*_{part}.mlpackage")))
    constants = build_graph(package).constants
    model = ReferenceModel(package)
    inputs = random_inputs(model)
    values: dict[str, np.ndarray] = {
        name: value.astype(np.float32 if value.dtype.kind == "f" else np.int32)
        for name, value in inputs.items()
    }
    observed: list[Node] = []

    def record(node: Node, _: Any, results: Any) -> None:
        observed.append(node)
        values.update(zip(node.outputs, (np.array(result) for result in results), strict=True))

    model.predict(inputs, record)
    oracle = torch_operations()

    def operand(name: str) -> Any:
        value = constants[name] if name in constants else values[name]
        return value if isinstance(value, str) else torch.from_numpy(np.array(value))

    checked = 0
    for node in observed:
        if any(name not in constants and name not in values for row in node.inputs.values() for name in row):
            continue  # depends on what was computed beforehand from constants
        named = {
            parameter: [operand(name) for name in names] if parameter == "values" else operand(names[0])
            for parameter, names in node.inputs.items()
        }
        expected = oracle[node.kind](named)
        for name, result in zip(
            node.outputs, expected if isinstance(expected, tuple) else (expected,), strict=True
        ):
            scale = max(1.0, float(result.float().abs().max()))
            error = float((torch.from_numpy(values[name]).double() - result.double()).abs().max())
            assert error <= 1e-5 * scale, f"{node.kind} {name}: {error:.1e} at a scale of {scale:.1f}"
        checked += 1
    assert checked >= 0.98 * len(observed)


def diffusers_parts(folder: Path) -> Any:
    """The diffusers pipeline in float32, with CLIP's whole window."""
    import torch
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTokenizer

    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, torch_dtype=torch.float32, local_files_only=True
    )
    # The folder may limit the window for training; Core ML's contract has 77 positions.
    pipeline.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", model_max_length=77)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal to noise in dB, the peak being the range of what is expected."""
    peak = float(expected.max() - expected.min())
    return float(10 * np.log10(peak**2 / ((found - expected) ** 2).mean()))


@pytest.mark.timeout(900)
def test_every_part_at_float16(mini_diffusers: Path, converted_mini: Callable[[int], Path]) -> None:
    """Each part alone against its module: nothing but float16's rounding of the weights between them."""
    import torch

    folder = converted_mini(16)
    models = {part: ReferenceModel(Package(next(folder.glob(f"*_{part}.mlpackage")))) for part in PARTS}
    pipeline = diffusers_parts(mini_diffusers)
    inputs = {part: random_inputs(model) for part, model in models.items()}
    found = {part: model.predict(inputs[part]) for part, model in models.items()}

    def tensor(part: str, name: str) -> Any:
        return torch.from_numpy(inputs[part][name].astype(np.float32))

    with torch.no_grad():
        text = pipeline.text_encoder(tensor("text_encoder", "input_ids").long())
        states = tensor("unet", "encoder_hidden_states").squeeze(2).transpose(1, 2)
        noise = pipeline.unet(tensor("unet", "sample"), tensor("unet", "timestep"), states).sample
        image = pipeline.vae.decode(tensor("vae_decoder", "z")).sample
        moments = pipeline.vae.encode(tensor("vae_encoder", "x")).latent_dist.parameters
    assert psnr(found["text_encoder"]["last_hidden_state"], text.last_hidden_state.numpy()) > 70
    assert psnr(found["text_encoder"]["pooled_outputs"], text.pooler_output.numpy()) > 70
    assert psnr(found["unet"]["noise_pred"], noise.numpy()) > 70
    assert psnr(found["vae_decoder"]["image"], image.numpy()) > 70
    assert psnr(found["vae_encoder"]["latent"], moments.numpy()) > 70


PROMPTS = (  # with the negative prompt
    ("a red house at night", ""),
    ("draw a small blue star", ""),
    ("a yellow moon in the snow", "a red house"),
    ("a green tree by the sea", ""),
    ("a purple castle above a yellow boat", ""),
    ("an orange cat next to a gray dog", ""),
    ("a white bird on a beach", ""),
    ("a pink flower in the rain", ""),
)


@cache
def pictures_of_diffusers(
    folder: Path, steps: int, guidance_scale: float, latent_shape: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    """What diffusers draws of PROMPTS, each (height, width, 3) float32 in [0, 1]; once for all tests."""
    import torch

    pipeline = diffusers_parts(folder)
    drawn = []
    for seed, (prompt, negative) in enumerate(PROMPTS):
        noise = np.random.RandomState(seed).standard_normal((1, *latent_shape))
        picture = pipeline(
            prompt,
            negative_prompt=negative,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            latents=torch.from_numpy(noise.astype(np.float32)),
            output_type="np",
        ).images[0]
        drawn.append(picture)
    return tuple(drawn)


def byte_psnrs(backend: CoreMLBackend, folder: Path) -> list[float]:
    """Peak signal to noise in dB between our pictures and diffusers', as bytes, with the model's defaults."""
    found = []
    steps, guidance_scale = backend.defaults.steps, backend.defaults.guidance_scale
    shape = tuple(backend.bundle.contract.latent_shape)
    drawn = pictures_of_diffusers(folder, steps, guidance_scale, shape)
    for seed, ((prompt, negative), expected) in enumerate(zip(PROMPTS, drawn, strict=True)):
        request = ImageRequest(prompt, negative, seed, steps, guidance_scale)
        error = backend.generate(request).pixels - np.round(expected * 255)
        found.append(float(10 * np.log10(255**2 / max((error**2).mean(), 1e-12))))
    return found


def mean_db(decibels: list[float]) -> float:
    """The dB of the mean squared error of several."""
    return float(-10 * np.log10(np.mean([10 ** (-value / 10) for value in decibels])))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("bits", "least_db"), [(16, 60.0), (6, 40.0)])
def test_whole_pictures(
    mini_diffusers: Path, converted_mini: Callable[[int], Path], bits: int, least_db: float
) -> None:
    """The default guided steps from the same noise: at 16 bits every picture, at 6 bits the median one.

    With 6 bits a walk can turn off at a fork: that picture has another window or another tail.
    """
    decibels = byte_psnrs(CoreMLBackend.load(converted_mini(bits)), mini_diffusers)
    print(f"{bits} bits: {mean_db(decibels):.1f} dB; each {[round(value, 1) for value in decibels]}")
    assert (min(decibels) if bits == 16 else np.median(decibels)) >= least_db


def test_whole_pictures_of_the_embedded_model(mini_diffusers: Path, mini_bundle: Path) -> None:
    decibels = byte_psnrs(CoreMLBackend.load(mini_bundle), mini_diffusers)
    print(f"embedded: {mean_db(decibels):.1f} dB; each {[round(value, 1) for value in decibels]}")
    assert np.median(decibels) >= 40
