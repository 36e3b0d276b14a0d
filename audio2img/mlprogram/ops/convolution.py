"""Convolutions as matrix products.

A row of the padded picture, flattened, holds for every output pixel the input under one tap of the
kernel, at an offset that is the same for all pixels. So with stride 1 the matrix of all taps
("im2col") is a strided view of the padded picture and copies in long runs; what it computes beyond
the right edge is dropped. The rows go through in blocks that stay in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from audio2img.mlprogram.ops.site import SCRATCH_ELEMENTS, Array, Shape, Site, Step, operation

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Geometry:
    """A 2-D convolution. pad: (top, bottom, left, right); the other pairs: (height, width)."""

    batch: int
    n_in: int
    n_out: int
    groups: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int, int, int]

    @property
    def padded(self) -> tuple[int, int]:
        return self.size[0] + self.pad[0] + self.pad[1], self.size[1] + self.pad[2] + self.pad[3]

    @property
    def out(self) -> tuple[int, int]:
        height, width = (
            (self.padded[side] - self.dilation[side] * (self.kernel[side] - 1) - 1) // self.stride[side] + 1
            for side in (0, 1)
        )
        return height, width

    @property
    def is_pointwise(self) -> bool:
        return (
            self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0, 0, 0) and self.groups == 1
        )


def _paddings(
    site: Site, size: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> list[tuple[int, int]]:
    """What is put before and after along each spatial axis, by pad_type."""
    kind = site.text("pad_type", "valid")
    if kind == "custom":
        pad = site.ints("pad")
        if len(pad) != 2 * len(size):
            raise site.fail(f"padding {list(pad)}")
        return list(zip(pad[::2], pad[1::2], strict=True))
    if kind == "valid":
        return [(0, 0)] * len(size)
    if kind not in ("same", "same_lower"):
        raise site.fail(f"pad_type {kind}")
    result = []
    for length, taps, step, spread in zip(size, kernel, stride, dilation, strict=True):
        total = max(0, (-(-length // step) - 1) * step + (taps - 1) * spread + 1 - length)
        small, large = total // 2, total - total // 2
        result.append((small, large) if kind == "same" else (large, small))
    return result


def read_geometry(site: Site, weight: Array) -> Geometry:
    """The geometry of a conv operation over one or two spatial axes; one is taken as a height of 1."""
    shape = site.shape("x")
    n_axes = len(shape) - 2
    if n_axes not in (1, 2) or weight.ndim != len(shape):
        raise site.fail(f"a weight of shape {list(weight.shape)} over {list(shape)}")
    kernel = weight.shape[2:]
    stride, dilation = site.ints("strides", (1,) * n_axes), site.ints("dilations", (1,) * n_axes)
    if len(stride) != n_axes or len(dilation) != n_axes or min(stride + dilation + kernel) < 1:
        raise site.fail(f"strides {list(stride)}, dilations {list(dilation)}")
    pads = _paddings(site, shape[2:], kernel, stride, dilation)
    groups = site.integer("groups", 1)
    n_out, n_in = weight.shape[0], shape[1]
    if (
        groups < 1
        or n_out % groups
        or n_in != weight.shape[1] * groups
        or min(min(pair) for pair in pads) < 0
    ):
        raise site.fail(f"a weight of shape {list(weight.shape)} in {groups} groups over {list(shape)}")

    def two(values: Shape, filler: int) -> tuple[int, int]:
        return (filler, values[0]) if n_axes == 1 else (values[0], values[1])

    pads = [(0, 0), *pads][-2:]
    geometry = Geometry(
        batch=shape[0],
        n_in=n_in,
        n_out=n_out,
        groups=groups,
        size=two(shape[2:], 1),
        kernel=two(kernel, 1),
        stride=two(stride, 1),
        dilation=two(dilation, 1),
        pad=(*pads[0], *pads[1]),
    )
    site.expect_shape((shape[0], n_out, *geometry.out[2 - n_axes :]))
    return geometry


@operation("conv")
def build_conv(site: Site) -> Step:
    """x (batch, n_in, [height,] width) with a constant weight (n_out, n_in / groups, kernel...)."""
    weight = site.array("weight")
    geometry = read_geometry(site, weight)
    bias = np.zeros(geometry.n_out, dtype=np.float32)
    if site.has("bias"):
        bias = site.array("bias")
    if bias.shape != (geometry.n_out,):
        raise site.fail(f"a bias of shape {list(bias.shape)}")
    if geometry.is_pointwise:
        return _build_pointwise(site, geometry, weight, bias)
    return _build_by_taps(site, geometry, weight, bias)


def _build_pointwise(site: Site, geometry: Geometry, weight: Array, bias: Array) -> Step:
    """A 1x1 kernel: a matrix times the pixels."""
    matrix = np.ascontiguousarray(weight.reshape(geometry.n_out, geometry.n_in))
    column, shape = bias[:, None], site.out_shape
    flat = (geometry.batch, geometry.n_in, geometry.size[0] * geometry.size[1])

    def pointwise(x: Array) -> Array:
        result: Array = np.matmul(matrix, x.reshape(flat))
        result += column
        return result.reshape(shape)

    return Step(pointwise, (site.ref("x"),))


class _Rows(NamedTuple):
    """A block of rows of the result. taps: a view of the padded picture, which is copied into `copied`.

    columns: the same memory as a matrix; product: of the weights and it; pixels: what of that is no overhang.
    """

    taps: Array
    copied: Array
    columns: Array
    product: Array
    pixels: Array
    where: slice


def _split_rows(site: Site, geometry: Geometry, flat: Array) -> list[_Rows]:
    """Blocks of rows whose taps stay in the cache. flat: the padded picture with its overhang, (n,)."""
    batch, groups = geometry.batch, geometry.groups
    (kernel_height, kernel_width), (row_step, column_step) = geometry.kernel, geometry.dilation
    padded_height, padded_width = geometry.padded
    out_height, out_width = geometry.out
    plane = padded_height * padded_width
    in_group, out_group = geometry.n_in // groups, geometry.n_out // groups
    n_taps = in_group * kernel_height * kernel_width
    # With stride 1 a run of taps goes on over the ends of rows, so rows keep the padded width.
    is_dense = geometry.stride == (1, 1)
    run = padded_width if is_dense else out_width
    n_rows = max(1, min(out_height, SCRATCH_ELEMENTS // max(1, groups * n_taps * batch * run)))
    blocks = []
    for first in range(0, out_height, n_rows):
        rows = min(n_rows, out_height - first)
        columns = site.scratch.take("columns", groups * n_taps * batch * rows * run)
        product = site.scratch.take("product", groups * out_group * batch * rows * run)
        start = flat[first * geometry.stride[0] * padded_width :]
        steps = (in_group * plane, plane, row_step * padded_width, column_step, geometry.n_in * plane)
        along: Shape = (rows * run,) if is_dense else (rows, run)
        over = (1,) if is_dense else (geometry.stride[0] * padded_width, geometry.stride[1])
        taps = (groups, in_group, kernel_height, kernel_width, batch, *along)
        strides = [FLOAT_BYTES * step for step in (*steps, *over)]
        blocks.append(
            _Rows(
                as_strided(start, taps, strides, writeable=False),
                columns.reshape(taps),
                columns.reshape(groups, n_taps, batch * rows * run),
                product.reshape(groups, out_group, batch * rows * run),
                product.reshape(groups, out_group, batch, rows, run)[..., :out_width],
                slice(first, first + rows),
            )
        )
    return blocks


def _build_by_taps(site: Site, geometry: Geometry, weight: Array, bias: Array) -> Step:
    """Any other kernel: the matrix of taps, block of rows by block of rows."""
    batch, groups = geometry.batch, geometry.groups
    padded_height, padded_width = geometry.padded
    out_height, out_width = geometry.out
    plane = padded_height * padded_width
    out_group = geometry.n_out // groups
    matrix = np.ascontiguousarray(weight.reshape(groups, out_group, -1))
    column = bias.reshape(groups, out_group, 1, 1, 1)

    # The last row of taps reads this far beyond the last plane; those results are dropped.
    overhang = (geometry.kernel[1] - 1) * geometry.dilation[1]
    key = ((batch, geometry.n_in, padded_height, padded_width), (*geometry.pad, *geometry.size))
    flat = site.scratch.take_padded(batch * geometry.n_in * plane + overhang, key)
    picture = flat[: batch * geometry.n_in * plane].reshape(batch, geometry.n_in, padded_height, padded_width)
    top, left = geometry.pad[0], geometry.pad[2]
    interior = picture[:, :, top : top + geometry.size[0], left : left + geometry.size[1]]
    source_shape = interior.shape
    blocks = _split_rows(site, geometry, flat)
    shape = site.out_shape

    def conv(x: Array) -> Array:
        interior[...] = x.reshape(source_shape)
        result = np.empty((batch, groups, out_group, out_height, out_width), dtype=np.float32)
        target = result.transpose(1, 2, 0, 3, 4)
        for rows in blocks:
            np.copyto(rows.copied, rows.taps)
            np.matmul(matrix, rows.columns, out=rows.product)
            np.add(rows.pixels, column, out=target[:, :, :, rows.where])
        return result.reshape(shape)

    return Step(conv, (site.ref("x"),))
