#!/usr/bin/env python3
"""Compression against a plain call of coremltools, on a UNet as large as that of SD 2.1.

    python scripts/bench_compression.py [--bits 6] [--scale 1.0] [--work FOLDER] [--json]

Needs coremltools. The package is made for the purpose: every weight of Stable Diffusion 2.1's UNet
(865.9 million) with random heavy-tailed values in float16, each used by one operation. --scale makes
it smaller. Both ways get the same package and run one after the other, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audio2img.compression.program import find_weights, read_weights
from audio2img.mlprogram.mlpackage import Package
from audio2img.mlprogram.weights import HEADER, METADATA, SENTINEL, VERSION

CHANNELS = (320, 640, 1280, 1280)
TEXT_WIDTH = 1024
LATENT_CHANNELS = 4
SD21_PARAMETERS = 865_910_724
ALIGNMENT = 64
FLOAT16_CODE = 1
PACKAGE_NAME = "Stable_Diffusion_version_random_unet.mlpackage"
PLAIN_CALL = """
import sys
import coremltools as ct
from coremltools.optimize import coreml as cto
model = ct.models.MLModel(sys.argv[1], skip_model_load=True)
config = cto.OpPalettizerConfig(mode="kmeans", nbits=int(sys.argv[3]))
cto.palettize_weights(model, cto.OptimizationConfig(config)).save(sys.argv[2])
"""

Shape = tuple[int, ...]


def unet_shapes(channels: Shape = CHANNELS, text_width: int = TEXT_WIDTH) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every parameter of Stable Diffusion 2.1's UNet, or one of other widths."""
    first, time_width = channels[0], 4 * channels[0]

    def layer(name: str, *shape: int, bias: bool = True) -> Iterator[tuple[str, Shape]]:
        yield f"{name}_weight", shape
        if bias:
            yield f"{name}_bias", shape[:1]

    def norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
        yield from ((f"{name}_gamma", (width,)), (f"{name}_beta", (width,)))

    def resnet(name: str, inner: int, outer: int) -> Iterator[tuple[str, Shape]]:
        yield from norm(f"{name}_norm1", inner)
        yield from layer(f"{name}_conv1", outer, inner, 3, 3)
        yield from layer(f"{name}_time_emb_proj", outer, time_width)
        yield from norm(f"{name}_norm2", outer)
        yield from layer(f"{name}_conv2", outer, outer, 3, 3)
        if inner != outer:
            yield from layer(f"{name}_conv_shortcut", outer, inner, 1, 1)

    def attention(name: str, width: int) -> Iterator[tuple[str, Shape]]:
        yield from norm(f"{name}_norm", width)
        yield from layer(f"{name}_proj_in", width, width)
        block = f"{name}_transformer_blocks_0"
        for number, source in ((1, width), (2, text_width)):
            yield from norm(f"{block}_norm{number}", width)
            yield from layer(f"{block}_attn{number}_to_q", width, width, bias=False)
            yield from layer(f"{block}_attn{number}_to_k", width, source, bias=False)
            yield from layer(f"{block}_attn{number}_to_v", width, source, bias=False)
            yield from layer(f"{block}_attn{number}_to_out_0", width, width)
        yield from norm(f"{block}_norm3", width)
        yield from layer(f"{block}_ff_net_0_proj", 8 * width, width)
        yield from layer(f"{block}_ff_net_2", width, 4 * width)
        yield from layer(f"{name}_proj_out", width, width)

    yield from layer("conv_in", first, LATENT_CHANNELS, 3, 3)
    yield from layer("time_embedding_linear_1", time_width, first)
    yield from layer("time_embedding_linear_2", time_width, time_width)
    skips, width = [first], first
    for block, outer in enumerate(channels):
        for index in range(2):
            yield from resnet(f"down_blocks_{block}_resnets_{index}", width, outer)
            width = outer
            if block < 3:
                yield from attention(f"down_blocks_{block}_attentions_{index}", width)
            skips.append(width)
        if block < 3:
            yield from layer(f"down_blocks_{block}_downsamplers_0_conv", width, width, 3, 3)
            skips.append(width)
    yield from resnet("mid_block_resnets_0", width, width)
    yield from attention("mid_block_attentions_0", width)
    yield from resnet("mid_block_resnets_1", width, width)
    for block, outer in enumerate(reversed(channels)):
        for index in range(3):
            yield from resnet(f"up_blocks_{block}_resnets_{index}", width + skips.pop(), outer)
            width = outer
            if block > 0:
                yield from attention(f"up_blocks_{block}_attentions_{index}", width)
        if block < 3:
            yield from layer(f"up_blocks_{block}_upsamplers_0_conv", width, width, 3, 3)
    yield from norm("conv_norm_out", first)
    yield from layer("conv_out", LATENT_CHANNELS, first, 3, 3)


def scaled_shapes(scale: float) -> list[tuple[str, Shape]]:
    """The shapes of a UNet with about `scale` times the parameters."""
    factor = math.sqrt(scale)
    widths = tuple(max(8, round(width * factor / 8) * 8) for width in CHANNELS)
    return list(unet_shapes(widths, max(8, round(TEXT_WIDTH * factor / 8) * 8)))


def random_weights(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """float16, spread as trained weights are: by the fan-in, with tails heavier than a normal's."""
    fan_in = math.prod(shape[1:]) or 1
    normal = rng.standard_normal(math.prod(shape), dtype=np.float32)
    return ((normal + 0.1 * normal**3) / math.sqrt(fan_in)).astype(np.float16).reshape(shape)


def write_package(path: Path, shapes: list[tuple[str, Shape]]) -> int:
    """A package whose program uses every weight once; the number of its parameters."""
    data = path / "Data" / "com.apple.CoreML"
    (data / "weights").mkdir(parents=True)
    rng = np.random.default_rng(21)
    offsets, end = {}, HEADER.size
    with (data / "weights" / "weight.bin").open("wb") as file:
        file.write(HEADER.pack(len(shapes), VERSION))
        for name, shape in shapes:
            weights = random_weights(rng, shape)
            file.seek(end)
            file.write(METADATA.pack(SENTINEL, FLOAT16_CODE, weights.nbytes, end + METADATA.size, 0))
            file.write(weights.data)
            offsets[name] = end
            end = -(-file.tell() // ALIGNMENT) * ALIGNMENT
    (data / "model.mlmodel").write_bytes(make_program(shapes, offsets).SerializeToString(deterministic=True))
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            "model": {
                "author": "com.apple.CoreML",
                "description": "CoreML Model Specification",
                "name": "model.mlmodel",
                "path": "com.apple.CoreML/model.mlmodel",
            },
            "weights": {
                "author": "com.apple.CoreML",
                "description": "CoreML Model Weights",
                "name": "weights",
                "path": "com.apple.CoreML/weights",
            },
        },
        "rootModelIdentifier": "model",
    }
    (path / "Manifest.json").write_text(json.dumps(manifest, indent=4), encoding="utf-8")
    return sum(math.prod(shape) for _, shape in shapes)


def make_program(shapes: list[tuple[str, Shape]], offsets: dict[str, int]) -> Any:
    """The model's specification: one operation per weight, on inputs that are as small as can be."""
    from coremltools.proto import MIL_pb2, Model_pb2

    float16 = MIL_pb2.DataType.FLOAT16

    def set_type(kind: Any, shape: Shape, dtype: int = float16) -> None:
        kind.tensorType.dataType = dtype
        kind.tensorType.rank = len(shape)
        for size in shape:
            kind.tensorType.dimensions.add().constant.size = size

    spec = Model_pb2.Model(specificationVersion=7)
    spec.mlProgram.version = 1
    function = spec.mlProgram.functions["main"]
    function.opset = "CoreML6"
    block = function.block_specializations["CoreML6"]
    inputs: set[Shape] = set()

    def add_operation(kind: str, name: str, shape: Shape, **operands: str) -> None:
        operation = block.operations.add(type=kind)
        output = operation.outputs.add(name=name)
        set_type(output.type, shape)
        operation.attributes["name"].type.tensorType.dataType = MIL_pb2.DataType.STRING
        operation.attributes["name"].immediateValue.tensor.strings.values.append(name)
        for parameter, operand in operands.items():
            operation.inputs[parameter].arguments.add(name=operand)
        if kind == "const":
            value = operation.attributes["val"]
            set_type(value.type, shape)
            value.blobFileValue.fileName = "@model_path/weights/weight.bin"
            value.blobFileValue.offset = offsets[name]

    def add_input(shape: Shape) -> str:
        name = "x_" + "_".join(map(str, shape))
        if shape not in inputs:
            inputs.add(shape)
            for feature in (spec.description.input.add(name=name),):
                feature.type.multiArrayType.shape.extend(shape)
                feature.type.multiArrayType.dataType = 65552
            set_type(function.inputs.add(name=name).type, shape)
        return name

    for name, shape in shapes:
        add_operation("const", name, shape)
        result = f"{name}_used"
        if len(shape) == 4:
            add_operation("conv", result, (1, shape[0], 1, 1), x=add_input((1, *shape[1:])), weight=name)
        elif len(shape) == 2:
            add_operation("linear", result, (1, shape[0]), x=add_input((1, shape[1])), weight=name)
        else:
            add_operation("add", result, shape, x=add_input(shape), y=name)
        block.outputs.append(result)
        output = spec.description.output.add(name=result)
        output.type.multiArrayType.dataType = 65552
    return spec


@dataclass(frozen=True)
class Run:
    """seconds of the whole process; peak_bytes: of memory, of it and its children together;
    size_bytes: of the package it wrote; snr_db: signal of all weights, least_snr_db: of the worst one."""

    seconds: float
    peak_bytes: int
    size_bytes: int
    snr_db: float
    least_snr_db: float


def run_measured(command: list[str]) -> tuple[float, int]:
    """(seconds, peak bytes of memory) of a command and its children. Raises CalledProcessError."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.2):
            peak = max(peak, sum(map(memory_of, family(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)
    return seconds, peak


def family(pid: int) -> list[int]:
    """A process and its descendants (Linux; elsewhere the process alone)."""
    members, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        members.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:
                continue
    return members


def memory_of(pid: int) -> int:
    """Bytes that a process holds, shared pages divided among those who share them; without the pages of
    files, which the system takes back when it needs them (Linux; 0 elsewhere)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    rows = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return int(rows["Pss_Anon"].split()[0]) * 1024 if "Pss_Anon" in rows else 0


def compare(source: Path, bits: int, work: Path) -> dict[str, Run]:
    """Both ways on the package in the folder `source`."""
    package = source / PACKAGE_NAME
    plain = work / "plain" / PACKAGE_NAME
    plain.parent.mkdir()
    ours = work / "ours"
    runs = {}
    environment_first = [sys.executable, "-m", "audio2img", "models", "compress", str(source), str(ours)]
    commands = {
        "ours": [*environment_first, "--bits", str(bits), "--no-measure"],
        "coremltools": [sys.executable, "-c", PLAIN_CALL, str(package), str(plain), str(bits)],
    }
    for name, result in (("ours", ours / PACKAGE_NAME), ("coremltools", plain)):
        seconds, peak = run_measured(commands[name])
        size = sum(path.stat().st_size for path in result.rglob("*") if path.is_file())
        runs[name] = Run(seconds, peak, size, *signals(package, result))
    return runs


def signals(original: Path, compressed: Path) -> tuple[float, float]:
    """(SNR of all weights together, of the worst one) in dB."""
    before, after = Package(original), Package(compressed)
    weights = find_weights(before.load_function())
    found = {
        name.removesuffix("_palettized"): one for name, one in find_weights(after.load_function()).items()
    }
    signal = error = 0.0
    least = math.inf
    for name, weight in weights.items():
        exact = read_weights(before, weight).astype(np.float32)
        difference = exact - read_weights(after, found[name])
        one_signal = float(np.square(exact).sum(dtype=np.float64))
        one_error = float(np.square(difference).sum(dtype=np.float64))
        signal, error = signal + one_signal, error + one_error
        least = min(least, 10 * math.log10(one_signal / one_error) if one_error else math.inf)
    return 10 * math.log10(signal / error), least


def measure_compression(
    scale: float = 1.0, bits: int = 6, folder: Path | None = None
) -> tuple[int, dict[str, Run]]:
    """(parameters, {"ours": ..., "coremltools": ...}) on a UNet with `scale` times SD 2.1's parameters.

    folder: where packages go while it runs, 4 GB for a scale of 1; None takes a temporary one.
    """
    work = Path(tempfile.mkdtemp(prefix="audio2img-bench-", dir=folder))
    try:
        shapes = list(unet_shapes()) if scale == 1 else scaled_shapes(scale)
        n_parameters = write_package(work / "source" / PACKAGE_NAME, shapes)
        return n_parameters, compare(work / "source", bits, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> None:
    """Make the package, run both, print what each took and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bits", type=int, choices=(8, 6, 4, 2), default=6)
    parser.add_argument("--scale", type=float, default=1.0, help="parameters, of SD 2.1's 865.9 million")
    parser.add_argument("--work", type=Path, help="where packages go: needs 4 GB; a temporary folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    n_parameters, runs = measure_compression(options.scale, options.bits, options.work)
    ours, plain = runs["ours"], runs["coremltools"]
    ratios = {"seconds": ours.seconds / plain.seconds, "peak": ours.peak_bytes / max(1, plain.peak_bytes)}
    if options.json:
        table = {"parameters": n_parameters, "bits": options.bits, "ratios": ratios}
        print(json.dumps({**table, **{name: asdict(run) for name, run in runs.items()}}))
        return
    print(f"{n_parameters / 1e6:.1f} million parameters at {options.bits} bits, {os.cpu_count()} cores")
    for name, run in runs.items():
        cost = f"{run.seconds:7.1f} s  {run.peak_bytes / 1e9:5.2f} GB  {run.size_bytes / 1e6:7.1f} MB"
        print(f"{name:12} {cost}  SNR {run.snr_db:.3f} dB, worst weight {run.least_snr_db:.3f} dB")
    print(f"ours takes {ratios['seconds']:.0%} of the time and {ratios['peak']:.0%} of the memory")


if __name__ == "__main__":
    main()
