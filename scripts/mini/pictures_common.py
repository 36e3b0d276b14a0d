"""What the stages of the picture training share: device, drawings, optimizer, checkpoints, progress."""

from __future__ import annotations

import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio2img.prompt.mini_world import Scene, is_held_out, random_scene, write_sentence
from scripts.mini.scenes import Drawing, draw_scene

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of Muon's quintic iteration (Keller Jordan, 2024)


@dataclass(frozen=True)
class Budget:
    """How long a stage may run: minutes of wall-clock time, counted over all sessions together."""

    minutes: float
    checkpoint_every_s: float = 240.0


def pick_device(name: str = "auto") -> torch.device:
    """The graphics card where there is one, else the processor."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """Half-precision arithmetic (bfloat16) for the forward pass."""
    return torch.autocast(device.type, torch.bfloat16)


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def trained_scene(rng: random.Random, p_two: float) -> Scene:
    """A random scene that is not among the held-out ones."""
    while True:
        scene = random_scene(rng, p_two)
        if not is_held_out(write_sentence(scene)):
            return scene


def held_out_scene(rng: random.Random, p_two: float) -> Scene:
    """A random scene that no training has seen."""
    while True:
        scene = random_scene(rng, p_two)
        if is_held_out(write_sentence(scene)):
            return scene


@dataclass(frozen=True)
class Pool:
    """Drawings: pictures (n, 128, 128, 3) uint8, foreground (n, 128, 128) bool, and their scenes."""

    pictures: NDArray[np.uint8]
    foreground: NDArray[np.bool_]
    scenes: tuple[Scene, ...]
    drawings: tuple[Drawing, ...]


def draw_pool(
    count: int, seed: int, p_two: float, pick: Callable[[random.Random, float], Scene] = trained_scene
) -> Pool:
    """`count` drawings of scenes that `pick` chooses (by default: those training may see)."""
    rng = random.Random(seed)
    scenes = tuple(pick(rng, p_two) for _ in range(count))
    drawings = [draw_scene(scene, rng) for scene in scenes]
    pictures = np.stack([d.picture for d in drawings])
    foreground = np.stack([d.foreground for d in drawings])
    return Pool(pictures, foreground, scenes, tuple(drawings))


def to_tensor(pictures: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    return tensor.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """(n, 3, h, w) in [-1, 1] to (n, h, w, 3) uint8."""
    scaled = ((tensor.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.asarray(scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def cosine(part: float, floor: float = 0.02) -> float:
    """Learning-rate factor after `part` (0 to 1) of a cosine decay."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, part))))


def orthogonalize(update: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Newton-Schulz: the nearest matrices with singular values of about 1, for (n, rows <= columns)."""
    a, b, c = NEWTON_SCHULZ
    x = update / (update.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def type_of_products(stacked: torch.Tensor) -> torch.dtype:
    """In which the matrices of `orthogonalize` are multiplied: bfloat16 where there are instructions for it.

    Where there are none, as on processors with AVX2, it takes 11 to 19 times as long as float32.
    """
    if stacked.is_cuda or (stacked.device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return stacked.dtype


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalized (Muon), for matrices and convolution kernels.

    Weights of one shape go through Newton-Schulz together. The update is scaled so that its root mean square
    is that of a typical Adam step (0.2), so that both optimizers share a learning rate.
    """

    def __init__(
        self, params: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01
    ):
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of every weight that has a gradient."""
        for group in self.param_groups:
            same_shape: dict[tuple[int, int], list[torch.nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    rows, columns = weight.shape[0], weight[0].numel()
                    same_shape.setdefault((rows, columns), []).append(weight)
            for (rows, columns), weights in same_shape.items():
                self._step_together(weights, rows, columns, group)

    def _step_together(
        self, weights: list[torch.nn.Parameter], rows: int, columns: int, group: dict[str, Any]
    ) -> None:
        updates = []
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
            updates.append(
                torch.lerp(weight.grad, state["momentum"], group["momentum"]).reshape(rows, columns)
            )
        stacked = torch.stack(updates)
        wide = rows <= columns
        products = (stacked if wide else stacked.mT).to(type_of_products(stacked))
        flat = orthogonalize(products).to(stacked.dtype)
        scale = 0.2 * math.sqrt(max(rows, columns))
        for weight, update in zip(weights, flat if wide else flat.mT, strict=True):
            weight.mul_(1 - group["lr"] * group["decay"])
            weight.sub_(update.reshape(weight.shape), alpha=group["lr"] * scale)


class Optimizers:
    """Muon for matrices and kernels, AdamW for the rest (norms, biases, and what `plain` names)."""

    def __init__(
        self, model: torch.nn.Module, lr: float, plain: Callable[[str], bool] = lambda name: False
    ) -> None:
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        matrices = [
            w for name, w in named if w.ndim >= 2 and min(w.shape[0], w[0].numel()) > 8 and not plain(name)
        ]
        chosen = {id(weight) for weight in matrices}
        others = [weight for _, weight in named if id(weight) not in chosen]
        self.lr = lr
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr, betas=(0.9, 0.99), weight_decay=0.01)
        ]
        if matrices:
            self.parts.append(Muon(matrices, lr))

    def set_factor(self, factor: float) -> None:
        """Sets the learning rates to `factor` times the full ones."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.lr * factor

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One update of every weight."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


class Clock:
    """Time spent on a stage, over all sessions; says when to save and when it is over."""

    def __init__(self, budget: Budget, spent_s: float = 0.0) -> None:
        self.budget, self.before, self.start = budget, spent_s, time.monotonic()
        self.saved = self.start

    @property
    def spent_s(self) -> float:
        """Seconds of training so far, earlier sessions included."""
        return self.before + time.monotonic() - self.start

    @property
    def part(self) -> float:
        """The part of the budget that is used up, 0 to 1."""
        return self.spent_s / (60 * self.budget.minutes)

    def save_is_due(self) -> bool:
        """True once in every `checkpoint_every_s`."""
        if time.monotonic() - self.saved < self.budget.checkpoint_every_s:
            return False
        self.saved = time.monotonic()
        return True


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Written beside, then renamed: an interrupted run leaves the last whole checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    torch.save(content, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The last checkpoint, or None when there is none."""
    if not path.exists():
        return None
    content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return content
