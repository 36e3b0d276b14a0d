"""A Mac for a child process: Python imports this at its start when this folder is on PYTHONPATH.

At the one place where the package calls coremltools, the reference runtime stands in. How well it
does is said by the environment variable STAND_IN, a JSON table from compute units (or "compile", or
"*" for all others) to one of: right, wrong (1 % of noise), garbage (only noise), nan, no-load,
no-predict, abort, hang. "max_parameters" is how large a model the reference runtime takes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HANG_S = 60


def take_the_place_of_core_ml(plan: Mapping[str, str]) -> None:
    from audio2img.backends.coreml import apple

    def behaviour(name: str) -> str:
        return plan.get(name, plan.get("*", "right"))

    def compile_package(package: Path, destination: Path) -> None:
        shutil.copytree(package, destination / "stand-in.mlpackage")
        misbehave(behaviour("compile"), "compiler")
        (destination / "done").touch()

    def open_compiled(path: Path, compute_units: str) -> StandIn:
        misbehave(behaviour(compute_units), "loader")
        return StandIn(path / "stand-in.mlpackage", behaviour(compute_units))

    if "max_parameters" in plan:
        from audio2img.mlprogram import graph

        graph.MAX_PARAMETERS = int(plan["max_parameters"])
    apple.is_here = lambda: True
    apple.versions = lambda: (plan.get("coremltools", "9.0"), plan.get("macos", "15.1"))
    apple.compile_package = compile_package
    apple.open_compiled = open_compiled


def misbehave(behaviour: str, where: str) -> None:
    if behaviour == "abort":
        os.abort()
    if behaviour == "hang":
        print("hanging", flush=True)
        time.sleep(HANG_S)
    if behaviour == "no-load":
        raise RuntimeError(f"the stand-in's {where} refuses")


class StandIn:
    def __init__(self, package: Path, behaviour: str) -> None:
        from audio2img.mlprogram import graph
        from audio2img.mlprogram.mlpackage import Package
        from audio2img.mlprogram.reference import ReferenceModel

        limit, graph.MAX_PARAMETERS = graph.MAX_PARAMETERS, sys.maxsize  # of the reference, not of Core ML
        self.model = ReferenceModel(Package(package))
        graph.MAX_PARAMETERS = limit
        self.behaviour = behaviour

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        if self.behaviour == "no-predict":
            raise RuntimeError("the stand-in predicts nothing")
        results = self.model.predict(data)
        if self.behaviour == "nan":
            return {
                name: np.full_like(value, np.nan) if value.dtype.kind == "f" else value
                for name, value in results.items()
            }
        share = {"wrong": 0.01, "garbage": 10.0}.get(self.behaviour, 0.0)
        noise = np.random.default_rng(0)
        for name, value in results.items():
            limits = np.finfo(value.dtype) if value.dtype.kind == "f" else np.iinfo(value.dtype)
            wrong = value + share * value.astype(float).std() * noise.standard_normal(value.shape)
            results[name] = np.clip(wrong, limits.min, limits.max).astype(value.dtype)
        return results


if "STAND_IN" in os.environ and not sys.flags.ignore_environment:
    take_the_place_of_core_ml(json.loads(os.environ["STAND_IN"]))
