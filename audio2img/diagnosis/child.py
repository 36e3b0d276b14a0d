"""Measurements in child processes, and what becomes of one that crashes or hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from audio2img.backends.coreml.process import describe_end
from audio2img.diagnosis.watch import Arrays
from audio2img.diagnosis.worker import Job, write_job

LIMIT_S = 1800  # a first load of Stable Diffusion for the Neural Engine takes minutes


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a measurement gave: figures as worker notes them.

    error: in words, "" if it went well; is_of_machine: it lies in the machine and not in the model.
    """

    figures: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)
    error: str = ""
    remedy: str = ""
    is_of_machine: bool = False

    def number(self, name: str) -> float | None:
        value = self.figures.get(name)
        return None if value is None else float(value)


class Workshop:
    """Runs jobs one after the other, their files in `folder`, compiled models in `folder`/caches."""

    def __init__(self, folder: Path, limit_s: float = LIMIT_S) -> None:
        self._folder = folder
        self._limit_s = limit_s
        self._count = 0

    def new_file(self, suffix: str) -> Path:
        self._count += 1
        return self._folder / f"{self._count}{suffix}"

    def run(self, job: Job, cache: str = "shared") -> Measurement:
        """Do `job` in a process of its own. cache: a name; jobs of one name share compiled models.

        What goes wrong is the outcome's error. Nothing is left running.
        """
        job_file, result_file, arrays_file = (self.new_file(end) for end in (".json", ".result", ".npz"))
        write_job(replace(job, started=time.time()), job_file)
        command = [sys.executable, "-m", "audio2img.diagnosis.worker"]
        command += map(str, (job_file, result_file, arrays_file))
        environment = {**os.environ, "AUDIO2IMG_CACHE": str(self._folder / "caches" / cache)}
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self._limit_s,
            )
            failure = "" if done.returncode == 0 else describe_end(done.returncode, _lines(done.stdout))
        except subprocess.TimeoutExpired:
            failure = f"stopped after {self._limit_s:.0f} s"
        figures = json.loads(result_file.read_text(encoding="utf-8")) if result_file.exists() else {}
        error = failure or figures.get("error", "")
        arrays: Arrays = {}
        if not error:
            with np.load(arrays_file) as file:
                arrays = {key: file[key] for key in file.files}
        return Measurement(
            figures, arrays, error, figures.get("remedy", ""), figures.get("is_of_machine", False)
        )


def _lines(output: bytes) -> list[str]:
    return [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
