"""A Mac for a child process: Python imports this at its start when this folder is on PYTHONPATH.

At the one place where the package calls coremltools, the reference runtime stands in. How well it
does is said by the environment variable STAND_IN, a JSON table from compute units (or "compile", or
"*" for all others) to one of: right, wrong (1 % of noise), nan, no-load, no-predict, abort, hang.
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
    from audio2img.coreml import apple

    def behaviour(name: str) -> str:
        return plan.get(name, plan.get("*", "right"))

    def compile_package(package: Path, destination: Path) -> None:
        shutil.copytree(package, destination / "stand-in.mlpackage")
        misbehave(behaviour("compile"), "compiler")
        (destination / "done").touch()

    def open_compiled(path: Path, compute_units: str) -> StandIn:
        misbehave(behaviour(compute_units), "loader")
        return StandIn(path / "stand-in.mlpackage", behaviour(compute_units))

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
        from audio2img.coreml.mlpackage import Package
        from audio2img.coreml.reference import ReferenceModel

        self.model = ReferenceModel(Package(package))
        self.behaviour = behaviour

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        if self.behaviour == "no-predict":
            raise RuntimeError("the stand-in predicts nothing")
        results = self.model.predict(data)
        if self.behaviour == "nan":
            return {name: np.full_like(value, np.nan) for name, value in results.items()}
        if self.behaviour == "wrong":
            noise = np.random.default_rng(0)
            return {
                name: (value + 0.01 * value.std() * noise.standard_normal(value.shape)).astype(value.dtype)
                for name, value in results.items()
            }
        return results


if "STAND_IN" in os.environ and not sys.flags.ignore_environment:
    take_the_place_of_core_ml(json.loads(os.environ["STAND_IN"]))
