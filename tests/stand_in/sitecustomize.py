"""A Mac for a child process: Python imports this at its start when this folder is on PYTHONPATH.

At the one place where the package calls coremltools, the reference runtime stands in. How well it
does is said by the environment variable STAND_IN, a JSON table from compute units (or "compile", or
"*" for all others) to one of: right, wrong (1 % of noise), garbage (only noise), nan, no-load,
no-predict, talk (it prints), abort, abort-predict, hang, hold-load and hold-predict (it holds Python's
lock for seconds, as the real one does, at the first load or prediction of a process), wait-load (the same
until somebody opens the pipe STAND_IN_PIPE for writing). "max_parameters" is how large a model the
reference runtime takes.

What is asked of it is noted in the file of the environment variable STAND_IN_LOG, if there is one.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HANG_S = 60
HOLD_S = 3
held: list[bool] = []


def take_the_place_of_core_ml(
    plan: Mapping[str, str], replace: Callable[[Any, str, Any], None] = setattr
) -> None:
    from audio2img.backends.coreml import apple

    def behaviour(name: str) -> str:
        return plan.get(name, plan.get("*", "right"))

    def compile_package(package: Path, destination: Path) -> None:
        note("compile", package.name)
        shutil.copytree(package, destination / "stand-in.mlpackage")
        misbehave(behaviour("compile"), "compiler")
        (destination / "done").write_text("done")

    def open_compiled(path: Path, compute_units: str) -> StandIn:
        note("open", compute_units)
        misbehave(behaviour(compute_units), "loader")
        return StandIn(path / "stand-in.mlpackage", behaviour(compute_units))

    if "max_parameters" in plan:
        from audio2img.mlprogram import graph

        replace(graph, "MAX_PARAMETERS", int(plan["max_parameters"]))
    versions = (plan.get("coremltools", "9.0"), plan.get("macos", "15.1"))
    replace(apple, "is_here", lambda: True)
    replace(apple, "versions", lambda: versions)
    replace(apple, "prepare", lambda: None)
    replace(apple, "compile_package", compile_package)
    replace(apple, "open_compiled", open_compiled)


def note(what: str, detail: str) -> None:
    """Add a line to the log, whole even where several processes write."""
    if "STAND_IN_LOG" in os.environ:
        with open(os.environ["STAND_IN_LOG"], "a", encoding="utf-8") as log:
            log.write(json.dumps([what, detail]) + "\n")


def misbehave(behaviour: str, where: str) -> None:
    if behaviour == "abort":
        os.abort()
    if behaviour == "hang":
        print("hanging", flush=True)
        time.sleep(HANG_S)
    if behaviour == "hold-load":
        hold_the_lock()
    if behaviour == "wait-load":
        hold_the_lock(os.environ["STAND_IN_PIPE"])
    if behaviour == "no-load":
        raise RuntimeError(f"the stand-in's {where} refuses")


def hold_the_lock(until_opened: str = "") -> None:
    """No other thread of this process runs Python for HOLD_S, or until somebody opens this pipe for writing;
    once in a process."""
    if not held:
        held.append(True)
        note("hold", "begin")
        c = ctypes.PyDLL(None)
        if until_opened:
            c.open(until_opened.encode(), os.O_RDONLY)
        else:
            c.usleep(HOLD_S * 1_000_000)
        note("hold", "end")


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

        if self.behaviour == "talk":
            os.write(1, b"to standard output\n")
            os.write(2, b"to standard error\n")
        if self.behaviour == "no-predict":
            raise RuntimeError("the stand-in predicts nothing")
        if self.behaviour == "abort-predict":
            os.abort()
        if self.behaviour == "hold-predict":
            hold_the_lock()
        results = self.model.predict(data)
        if self.behaviour == "nan":
            return {
                name: np.full_like(value, np.nan) if value.dtype.kind == "f" else value
                for name, value in results.items()
            }
        share = {"wrong": 0.01, "garbage": 10.0}.get(self.behaviour, 0.0)
        if not share:
            return results
        noise = np.random.default_rng(0)
        for name, value in results.items():
            limits = np.finfo(value.dtype) if value.dtype.kind == "f" else np.iinfo(value.dtype)
            wrong = value + share * value.astype(float).std() * noise.standard_normal(value.shape)
            results[name] = np.clip(wrong, limits.min, limits.max).astype(value.dtype)
        return results


if "STAND_IN" in os.environ and not sys.flags.ignore_environment:
    take_the_place_of_core_ml(json.loads(os.environ["STAND_IN"]))
