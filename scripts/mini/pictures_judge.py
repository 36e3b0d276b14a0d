"""The judge of the mini Stable Diffusion: a small network that has seen drawings only, and pixel statistics.

The network says which things are where, how large, and in which setting. Colour is not asked of any
network: it is the median of the pixels where the thing, at the place and size found, shows its own
colour; the nearest colour of the palette in CIE Lab wins. Relations are compared with the places found.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audio2img.prompt.mini_world import COLOURS, THINGS
from scripts.mini.pictures_common import (
    Budget,
    Clock,
    Optimizers,
    Pool,
    cosine,
    draw_pool,
    load_checkpoint,
    save_checkpoint,
    say,
    to_tensor,
)  # fmt: skip
from scripts.mini.scenes import ALL_SETTINGS, PALETTE, SIZE_PX, colour_mask

JUDGE_MINUTES = 9.0  # on one core
CELL_PX = 8
CELLS = SIZE_PX // CELL_PX
RADII_PX = (14.0, 18.0, 20.0, 26.0, 38.0)
RADIUS_UNIT_PX = 24.0  # the network predicts the logarithm of radius / unit
SHIFT_PX = 3  # how far a colour mask may be moved to fit


@dataclass(frozen=True)
class Found:
    """A thing the judge sees: centre and radius in pixels, `score` a logit."""

    thing: str
    x: float
    y: float
    radius: float
    score: float


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in a picture: the setting, and the best place of every thing, best score first."""

    setting: str | None
    found: tuple[Found, ...]

    def place_of(self, thing: str) -> Found:
        """Where the thing is most likely to be."""
        return next(found for found in self.found if found.thing == thing)


def _block(n_in: int, n_out: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(True)]


class Judge(nn.Module):
    """(n, 3, 128, 128) in [-1, 1] to things (n, 20, 16, 16), place (n, 3, 16, 16) and setting (n, 9)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(3, 24, 2), *_block(24, 40, 2), *_block(40, 40, 1), *_block(40, 72, 2), *_block(72, 72, 1),
            *_block(72, 72, 1), *_block(72, 96, 1),
        )  # fmt: skip
        self.things = nn.Conv2d(96, len(THINGS), 3, 1, 1)
        self.places = nn.Conv2d(96, 3, 1)
        self.setting = nn.Sequential(
            nn.Flatten(), nn.Linear(96 * 16, 64), nn.ReLU(True), nn.Linear(64, len(ALL_SETTINGS))
        )
        nn.init.constant_(self.things.bias, -4.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See the class."""
        features = self.body(x)
        return (
            self.things(features),
            self.places(features),
            self.setting(nn.functional.adaptive_avg_pool2d(features, 4)),
        )


def _targets(pool: Pool, chosen: list[int], shifts: list[tuple[int, int]]) -> tuple[torch.Tensor, ...]:
    """Which thing has its centre in which cell, its offset in the cell and radius, and the setting."""
    things = torch.zeros(len(chosen), len(THINGS), CELLS, CELLS)
    places = torch.zeros(len(chosen), 3, CELLS, CELLS)
    setting = torch.tensor([ALL_SETTINGS.index(pool.scenes[i].setting) for i in chosen])
    for n, (i, (right, down)) in enumerate(zip(chosen, shifts, strict=True)):
        for placed in pool.drawings[i].things:
            x, y = placed.x + right, placed.y + down
            column = min(CELLS - 1, max(0, int(x // CELL_PX)))
            row = min(CELLS - 1, max(0, int(y // CELL_PX)))
            things[n, THINGS.index(placed.thing), row, column] = 1
            offset = (x / CELL_PX - column, y / CELL_PX - row, math.log(placed.radius / RADIUS_UNIT_PX))
            places[n, :, row, column] = torch.tensor(offset)
    return things, places, setting


def _spoil(x: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """Softer, noisier, tinted, as pictures of a small model may be; (n, 3, h, w) to the same shape."""
    side = rng.choice((128, 96, 64, 48))
    if side < SIZE_PX:
        x = nn.functional.interpolate(
            nn.functional.interpolate(x, size=side, mode="area"), size=SIZE_PX, mode="bilinear"
        )
    tint = torch.randn(x.shape[0], 3, 1, 1, device=x.device) * 0.04
    return x * rng.uniform(0.92, 1.05) + tint + rng.uniform(0, 0.08) * torch.randn_like(x)


def judge_loss(judge: Judge, x: torch.Tensor, targets: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Focal loss of the things, L1 of places and radii where a thing is, cross-entropy of the setting."""
    things, places, setting = targets
    seen_things, seen_places, seen_setting = judge(x)
    error = nn.functional.binary_cross_entropy_with_logits(seen_things, things, reduction="none")
    wrong = (seen_things.sigmoid() - things).abs().square()
    here = things.amax(1, keepdim=True)
    place_error = ((seen_places - places).abs() * here).sum() / here.sum()
    return (
        (error * wrong).sum() / things.sum()
        + place_error
        + nn.functional.cross_entropy(seen_setting, setting)
    )


def train_judge(
    work: Path, budget: Budget, device: torch.device, seed: int = 23, pool_size: int = 6000
) -> Judge:
    """Trains (or goes on training) the judge in `work/judge.pt`."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    judge = Judge().to(device)
    optimizers = Optimizers(judge, 2e-3)
    saved = load_checkpoint(work / "judge.pt", device)
    step = 0
    if saved:
        judge.load_state_dict(saved["judge"])
        if "optimizers" in saved:
            optimizers.load_state_dict(saved["optimizers"])
        step = int(saved["step"])
    clock = Clock(budget, saved["spent_s"] if saved else 0.0)
    pool = draw_pool(pool_size if clock.part < 1 else 32, seed + step, 0.3)
    while clock.part < 1:
        optimizers.set_factor(min(1, (step + 1) / 40) * cosine(clock.part))
        chosen = [rng.randrange(len(pool.scenes)) for _ in range(32)]
        shift = (rng.randint(-4, 4), rng.randint(-4, 4))
        pictures = np.roll(pool.pictures[chosen], shift[::-1], axis=(1, 2))
        targets = tuple(t.to(device) for t in _targets(pool, chosen, [shift] * len(chosen)))
        loss = judge_loss(judge, _spoil(to_tensor(pictures, device), rng), targets)
        optimizers.zero_grad()
        loss.backward()
        optimizers.step()
        step += 1
        if step % 50 == 0:
            say(f"judge {clock.spent_s:5.0f} s step {step} loss {loss.item():.4f}")
        if clock.save_is_due():
            _save(work, judge, optimizers, step, clock)
    _save(work, judge, optimizers, step, clock)
    return judge.eval()


def _save(work: Path, judge: Judge, optimizers: Optimizers, step: int, clock: Clock) -> None:
    content = {"judge": judge.state_dict(), "optimizers": optimizers.state_dict(), "step": step}
    save_checkpoint(work / "judge.pt", {**content, "spent_s": clock.spent_s})


def load_judge(path: Path) -> Judge:
    """A trained judge, ready to look."""
    judge = Judge()
    judge.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["judge"])
    return judge.eval()


@torch.no_grad()
def look(judge: Judge, pictures: NDArray[np.uint8]) -> list[Verdict]:
    """What the judge sees in pictures (n, 128, 128, 3) uint8."""
    device = next(judge.parameters()).device
    verdicts = []
    for start in range(0, len(pictures), 50):
        things, places, setting = judge(to_tensor(pictures[start : start + 50], device))
        for one_things, one_places, one_setting in zip(things, places, setting, strict=True):
            verdicts.append(_verdict(one_things.cpu(), one_places.cpu(), one_setting.cpu()))
    return verdicts


def _verdict(things: torch.Tensor, places: torch.Tensor, setting: torch.Tensor) -> Verdict:
    found = []
    for name, scores in zip(THINGS, things, strict=True):
        row, column = divmod(int(scores.argmax()), CELLS)
        dx, dy, size = (float(value) for value in places[:, row, column])
        x, y = (column + dx) * CELL_PX, (row + dy) * CELL_PX
        found.append(Found(name, x, y, RADIUS_UNIT_PX * math.exp(size), float(scores.max())))
    found.sort(key=lambda thing: -thing.score)
    return Verdict(ALL_SETTINGS[int(setting.argmax())], tuple(found))


def _to_lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB 0..255 (..., 3) to CIE Lab (D65), after IEC 61966-2-1 and CIE 15."""
    linear = rgb / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


_PALETTE_LAB = _to_lab(np.array([PALETTE[name] for name in COLOURS], dtype=np.float64))


def measure_colour(picture: NDArray[np.uint8], thing: str, x: float, y: float, radius: float) -> str:
    """The colour of a thing at this place, by its pixels.

    The mask of the thing's own colour is moved by up to 3 pixels to where the pixels under it differ
    least from their median; the median's nearest palette colour in Lab is the answer.
    """
    nearest = min(RADII_PX, key=lambda known: abs(math.log(known / max(1.0, radius))))
    mask = colour_mask(thing, round(x), round(y), nearest)
    rows, columns = np.nonzero(mask)
    best: tuple[float, NDArray[np.float64]] | None = None
    for down in range(-SHIFT_PX, SHIFT_PX + 1):
        for right in range(-SHIFT_PX, SHIFT_PX + 1):
            inside = (
                (rows + down >= 0)
                & (rows + down < SIZE_PX)
                & (columns + right >= 0)
                & (columns + right < SIZE_PX)
            )
            pixels = picture[rows[inside] + down, columns[inside] + right].astype(np.float64)
            if len(pixels) == 0:
                continue
            median = np.median(pixels, axis=0)
            spread = float(np.abs(pixels - median).mean())
            if best is None or spread < best[0]:
                best = (spread, median)
    if best is None:
        return ""
    distance = np.square(_to_lab(best[1]) - _PALETTE_LAB).sum(-1)
    return COLOURS[int(distance.argmin())]
