"""Matrix products: linear, matmul, einsum and attention."""

from __future__ import annotations

import math

import numpy as np

from audio2img.mlprogram.ops.normalization import softmax_last
from audio2img.mlprogram.ops.site import Array, Shape, Site, Step, n_elements, operation


@operation("linear")
def build_linear(site: Site) -> Step:
    """x (..., inputs) times weight (outputs, inputs) plus bias (outputs,)."""
    *outer, n_in = site.shape("x")
    if not (site.is_constant("weight") and (site.is_constant("bias") or not site.has("bias"))):
        return _build_linear_dynamic(site)
    weight = site.array("weight")
    if weight.ndim != 2 or weight.shape[1] != n_in:
        raise site.fail(f"a weight of shape {list(weight.shape)} for {n_in} inputs")
    shape = site.expect_shape((*outer, weight.shape[0]))
    matrix = np.ascontiguousarray(weight.T)
    bias = site.array("bias") if site.has("bias") else None
    if bias is not None and (bias.shape != weight.shape[:1] or not bias.any()):
        if bias.shape != weight.shape[:1]:
            raise site.fail(f"a bias of shape {list(bias.shape)}")
        bias = None  # the converter writes a bias of zeros where there is none

    def linear(x: Array) -> Array:
        result: Array = np.dot(x.reshape(-1, n_in), matrix)
        if bias is not None:
            result += bias
        return result.reshape(shape)

    return Step(linear, (site.ref("x"),))


def _build_linear_dynamic(site: Site) -> Step:
    """linear with a weight or bias that is only known when the model runs."""
    names = (site.ref("x"), site.ref("weight"))
    if not site.has("bias"):
        return Step(lambda x, weight: x @ weight.T, names)
    return Step(lambda x, weight, bias: x @ weight.T + bias, (*names, site.ref("bias")))


@operation("matmul")
def build_matmul(site: Site) -> Step:
    """The product of the last two axes, the others broadcast; either operand may be transposed first."""
    flip_x, flip_y = site.flag("transpose_x"), site.flag("transpose_y")
    shape_x, shape_y = site.shape("x"), site.shape("y")
    if len(shape_x) < 2 or len(shape_y) < 2:
        raise site.fail(f"{list(shape_x)} by {list(shape_y)}")
    rows, inner_x = shape_x[-2:][::-1] if flip_x else shape_x[-2:]
    inner_y, columns = shape_y[-2:][::-1] if flip_y else shape_y[-2:]
    try:
        outer = np.broadcast_shapes(shape_x[:-2], shape_y[:-2])
    except ValueError as error:
        raise site.fail(str(error)) from error
    if inner_x != inner_y:
        raise site.fail(f"{list(shape_x)} by {list(shape_y)}")
    site.expect_shape((*outer, rows, columns))

    def matmul(x: Array, y: Array) -> Array:
        left = np.swapaxes(x, -1, -2) if flip_x else x
        result: Array = np.matmul(left, np.swapaxes(y, -1, -2) if flip_y else y)
        return result

    return Step(matmul, (site.ref("x"), site.ref("y")))


@operation("einsum")
def build_einsum(site: Site) -> Step:
    """A sum over products of two operands, as one stacked matrix product."""
    names = site.refs("values")
    equation = site.text("equation").replace(" ", "")
    operands, arrow, result = equation.partition("->")
    left, _, right = operands.partition(",")
    labels = (left, right, result)
    if not arrow or len(names) != 2 or any(len(set(row)) != len(row) or not row.isalpha() for row in labels):
        raise site.fail(f"the equation {equation} is not supported")
    shapes = [site.shape_of(name) for name in names]
    if any(len(row) != len(shape) for row, shape in zip(labels[:2], shapes, strict=True)):
        raise site.fail(f"the equation {equation} for {shapes}")
    sizes = dict(zip(left, shapes[0], strict=True))
    if any(sizes.setdefault(label, size) != size for label, size in zip(right, shapes[1], strict=True)):
        raise site.fail(f"the equation {equation} for {shapes}")
    if set(result) - set(left + right) or (set(left) ^ set(right)) - set(result):
        raise site.fail(f"the equation {equation} is not supported")
    site.expect_shape([sizes[label] for label in result])

    shared = [label for label in left if label in right]
    stacked = [label for label in shared if label in result]
    summed = [label for label in shared if label not in result]
    left_only = [label for label in left if label not in right]
    right_only = [label for label in right if label not in left]

    def size(group: list[str]) -> int:
        return n_elements(tuple(sizes[label] for label in group))

    left_axes = [left.index(label) for label in stacked + left_only + summed]
    right_axes = [right.index(label) for label in stacked + summed + right_only]
    product = stacked + left_only + right_only
    product_shape = [sizes[label] for label in product]
    result_axes = tuple(product.index(label) for label in result)

    def einsum(x: Array, y: Array) -> Array:
        x = x.transpose(left_axes).reshape(size(stacked), size(left_only), size(summed))
        y = y.transpose(right_axes).reshape(size(stacked), size(summed), size(right_only))
        products: Array = np.matmul(x, y)
        return np.transpose(products.reshape(product_shape), result_axes)

    return Step(einsum, names)


@operation("scaled_dot_product_attention")
def build_attention(site: Site) -> Step:
    """softmax(query key^T / sqrt(width) + mask) value; a mask of truth values lets through where true."""
    width = site.shape("query")[-1]
    scale = np.float32(1 / math.sqrt(width))
    names = [site.ref("query"), site.ref("key"), site.ref("value")]
    rows: Shape = site.shape("query")[:-1]
    site.expect_shape((*rows, site.shape("value")[-1]))
    if site.has("attn_mask"):
        names.append(site.ref("attn_mask"))

    def attention(query: Array, key: Array, value: Array, mask: Array | None = None) -> Array:
        scores = np.matmul(query * scale, np.swapaxes(key, -1, -2))
        if mask is not None:
            scores += np.where(mask, np.float32(0), np.float32(-np.inf)) if mask.dtype == np.bool_ else mask
        result: Array = np.matmul(softmax_last(scores), value)
        return result

    return Step(attention, tuple(names))
