"""What a conversion is asked for, and what it reports: plain values that travel between processes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from audio2img.errors import UsageError

Kind = Literal["sd", "sdxl"]
"""sd: Stable Diffusion 1.x and 2.x; sdxl: two text encoders, and a UNet that is told the picture's size."""

PARTS = ("text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder", "safety_checker")
BITS = (16, 8, 6)
"""Bits per weight: float16, or palettes of 2**8 or 2**6 values."""

LEAST_DB = {16: 50.0, 8: 30.0, 6: 15.0}
"""The least PSNR in dB of a part against its torch module, per bits; below it a part counts as broken.

Measured through the reference runtime: at 16 bits 77-117 (parts of the mini model and of a tiny SDXL),
at 8 bits 57-73 (the mini model). The bounds are there to find a wrong graph, not to judge a palette."""

LEAST_DB_ROUNDED = {16: 35.0, 8: 30.0, 6: 15.0}
"""The same through Core ML, which rounds every value between two operations to float16; 35 is what
Apple's own converter asks for (ABSOLUTE_MIN_PSNR in its torch2coreml.py)."""


@dataclass(frozen=True)
class ConversionOptions:
    """What to make.

    bits: of BITS. batch: pictures that the UNet takes at once, 2 (both halves of the guidance) or 1.
    chunk_unet: the UNet as two halves and not as a whole. parts: which of the source's parts; None: all.
    size: (width, height) in pixels; None: the model's own. name: what the model is called; None: the
    source's name. version: the model in the packages' file names; None: the same.
    license_name: what the packages say of their licence.
    """

    bits: int = 16
    batch: int = 2
    chunk_unet: bool = False
    parts: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    name: str | None = None
    version: str | None = None
    license_name: str = "see the licence of the model that this was converted from"

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot be made."""
        if self.bits not in BITS:
            raise UsageError(f"there are no packages of {self.bits} bits", "choose from: 16, 8, 6")
        if self.batch not in (1, 2):
            raise UsageError(f"a UNet takes 1 or 2 pictures at once, not {self.batch}", "try: --batch 2")
        unknown = set(self.parts or ()) - set(PARTS)
        if unknown:
            raise UsageError(
                f"there is no part {', '.join(sorted(unknown))}", f"choose from: {', '.join(PARTS)}"
            )
        if self.parts is not None and not self.parts:
            raise UsageError("there is no part to convert", f"choose from: {', '.join(PARTS)}")


@dataclass(frozen=True)
class PartJob:
    """One part to convert, as its process is told.

    folder: the diffusers folder. variants: weight files' variant per folder of it ("fp16" or None).
    latent_size: (height, width); factor: picture pixels per latent. package: the package to make; a UNet
    in two halves has this name with _chunk1 and _chunk2 instead. model: what the model is called.
    """

    folder: str
    part: str
    kind: Kind
    variants: dict[str, str | None]
    latent_size: tuple[int, int]
    factor: int
    package: str
    model: str
    license_name: str
    bits: int = 16
    batch: int = 2
    chunked: bool = False

    def packages(self) -> list[Path]:
        """The packages that this job makes."""
        whole = Path(self.package)
        if not self.chunked:
            return [whole]
        return [whole.with_name(f"{whole.stem}_chunk{number}.mlpackage") for number in (1, 2)]


@dataclass(frozen=True)
class PartReport:
    """What became of a part. decibels: PSNR of each output against torch; unchecked: why there is none."""

    part: str
    packages: tuple[str, ...]
    size_bytes: int
    duration_s: float
    decibels: dict[str, float] = field(default_factory=dict)
    unchecked: str = ""

    @property
    def least_db(self) -> float | None:
        """The worst output's PSNR."""
        return min(self.decibels.values(), default=None)


@dataclass(frozen=True)
class ConversionReport:
    """A finished conversion. folder: the bundle; latent_rgb_db: PSNR of the map for previews, if made."""

    folder: Path
    model: str
    kind: Kind
    bits: int
    size_bytes: int
    duration_s: float
    latent_rgb_db: float | None
    parts: tuple[PartReport, ...]

    def as_table(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "folder": str(self.folder),
            "model": self.model,
            "kind": self.kind,
            "bits": self.bits,
            "size_bytes": self.size_bytes,
            "duration_s": round(self.duration_s, 2),
            "latent_rgb_db": self.latent_rgb_db,
            "parts": [
                {
                    "part": part.part,
                    "packages": list(part.packages),
                    "size_bytes": part.size_bytes,
                    "duration_s": round(part.duration_s, 2),
                    "psnr_db": part.least_db,
                    "outputs_psnr_db": part.decibels,
                    "unchecked": part.unchecked or None,
                }
                for part in self.parts
            ],
        }


def package_name(version: str, part: str) -> str:
    """The file name that Apple's converter gives: Stable_Diffusion_version_<repository with _>_<part>."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", version).strip("_.") or "model"
    return f"Stable_Diffusion_version_{safe}_{part}.mlpackage"
