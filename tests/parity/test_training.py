"""What the training scripts do with weights."""

from __future__ import annotations

import math
import platform
from pathlib import Path

import pytest
import torch

from scripts.mini.pictures_common import Muon, orthogonalize, type_of_products

CPU_INFO = Path("/proc/cpuinfo")


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (8, 4, 3, 3)])
def test_a_step_of_muon_is_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    """All singular values of the update are about equal, whatever those of the gradient are."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape, generator=generator)
    Muon([weight], lr=1.0, decay=0.0).step()
    scale = 0.2 * math.sqrt(max(shape[0], math.prod(shape[1:])))
    singular = torch.linalg.svdvals(weight.detach().reshape(shape[0], -1)) / scale
    assert 0.6 < singular.min() <= singular.max() < 1.3


def test_both_types_give_nearly_the_same_matrices() -> None:
    update = torch.randn(4, 16, 64, generator=torch.Generator().manual_seed(4))
    rounded = orthogonalize(update.bfloat16()).float()
    assert (orthogonalize(update) - rounded).abs().max() < 0.05


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not CPU_INFO.exists(), reason="reads the processor's flags from Linux"
)
def test_bfloat16_is_taken_only_where_there_are_instructions_for_it() -> None:
    """Without them it takes more than ten times as long."""
    has_them = "avx512_bf16" in CPU_INFO.read_text()
    assert type_of_products(torch.zeros(2, 2)) == (torch.bfloat16 if has_them else torch.float32)
