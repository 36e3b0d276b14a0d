"""The process that converts one part: `python -m audio2img.conversion.worker JOB REPORT`.

JOB is a JSON file, REPORT one to write: {"result": ...} or {"error": [kind, message, remedy]}.
A process of its own per part, because the k-means workers of coremltools do not survive a second
use, and because the memory of a UNet is given back for certain only when its process ends.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from audio2img.conversion.plan import PartJob
from audio2img.errors import Audio2ImgError


def convert_part(job: PartJob) -> dict[str, Any]:
    """Convert and check one part; the table of its PartReport."""
    from audio2img.conversion.modules import make_signature
    from audio2img.conversion.packages import save_packages
    from audio2img.conversion.parity import check_part

    started = time.perf_counter()
    signature = make_signature(job)
    save_packages(signature, job)
    decibels, unchecked = check_part(signature, job)
    files = [file for package in job.packages() for file in package.rglob("*") if file.is_file()]
    return {
        "part": job.part,
        "packages": [package.name for package in job.packages()],
        "size_bytes": sum(file.stat().st_size for file in files),
        "duration_s": time.perf_counter() - started,
        "decibels": decibels,
        "unchecked": unchecked,
    }


def check_made(job: PartJob) -> dict[str, Any]:
    """Check packages that were made before, by whomever."""
    from audio2img.conversion.modules import make_signature
    from audio2img.conversion.parity import check_part

    decibels, unchecked = check_part(make_signature(job), job)
    return {"decibels": decibels, "unchecked": unchecked}


def run(task: dict[str, Any]) -> dict[str, Any]:
    """The result of a task: {"part": a PartJob}, {"check": a PartJob} or {"latent_rgb": its arguments}."""
    if "latent_rgb" in task:
        from audio2img.conversion.latent_rgb import fit_latent_rgb

        return fit_latent_rgb(**task["latent_rgb"])
    fields = task.get("part") or task["check"]
    job = PartJob(**{**fields, "latent_size": tuple(fields["latent_size"])})
    return convert_part(job) if "part" in task else check_made(job)


def main(job_file: str, report_file: str) -> int:
    """Do the task in `job_file`; 0 if it was done."""
    warnings.filterwarnings("ignore")
    try:
        report: dict[str, Any] = {"result": run(json.loads(Path(job_file).read_text(encoding="utf-8")))}
    except Audio2ImgError as error:
        report = {"error": [type(error).__name__, error.message, error.remedy]}
    Path(report_file).write_text(json.dumps(report), encoding="utf-8")
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
