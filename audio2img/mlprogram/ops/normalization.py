"""Reductions, softmax and normalizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from audio2img.mlprogram.ops.site import Array, Site, Step, operation


def softmax_last(x: Array) -> Array:
    """exp(x) over its sum along the last axis, safe for large x."""
    result: Array = x - x.max(axis=-1, keepdims=True)
    np.exp(result, out=result)
    result /= result.sum(axis=-1, keepdims=True)
    return result


@operation("softmax")
def build_softmax(site: Site) -> Step:
    rank = len(site.shape("x"))
    axis = site.axis(site.integer("axis", -1), rank)
    if axis == rank - 1:
        return Step(softmax_last, (site.ref("x"),))
    return Step(lambda x: np.moveaxis(softmax_last(np.moveaxis(x, axis, -1)), -1, axis), (site.ref("x"),))


def _log_sum_exp(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    top = x.max(axis=axis, keepdims=True)
    result = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return result if keepdims else np.asarray(result.squeeze(axis))


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_mean": np.mean,
    "reduce_sum": np.sum,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_l1_norm": lambda x, axis, keepdims: np.sum(np.abs(x), axis=axis, keepdims=keepdims),
    "reduce_l2_norm": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
    "reduce_sum_square": lambda x, axis, keepdims: np.sum(x * x, axis=axis, keepdims=keepdims),
    "reduce_log_sum_exp": _log_sum_exp,
}


@operation(*REDUCTIONS)
def build_reduction(site: Site) -> Step:
    function = REDUCTIONS[site.node.kind]
    axes, keep = site.axes("axes", len(site.shape("x"))), site.flag("keep_dims")
    return Step(lambda x: np.asarray(function(x, axis=axes, keepdims=keep)), (site.ref("x"),))


@operation("reduce_argmax", "reduce_argmin")
def build_arg_reduction(site: Site) -> Step:
    """Where the largest or smallest element is; the first of several."""
    function = np.argmax if site.node.kind == "reduce_argmax" else np.argmin
    axis = site.axis(site.integer("axis", -1), len(site.shape("x")))
    keep = site.flag("keep_dims")
    return Step(
        lambda x: np.asarray(function(x, axis=axis, keepdims=keep)).astype(np.int32), (site.ref("x"),)
    )


def _along(site: Site, parameter: str, shape: tuple[int, ...]) -> Array | None:
    """The optional constant `parameter` in a shape that broadcasts; None where it is missing."""
    if not site.has(parameter):
        return None
    value = site.array(parameter)
    if value.size != np.prod(shape, dtype=np.int64):
        raise site.fail(f"{parameter} has the shape {list(value.shape)}")
    return value.reshape(shape)


@operation("layer_norm")
def build_layer_norm(site: Site) -> Step:
    """Mean 0 and variance 1 over `axes`, then times gamma plus beta."""
    shape = site.shape("x")
    axes = site.axes("axes", len(shape))
    wide = tuple(size if axis in axes else 1 for axis, size in enumerate(shape))
    gamma, beta = _along(site, "gamma", wide), _along(site, "beta", wide)
    epsilon = np.float32(site.number("epsilon", 1e-5))

    def layer_norm(x: Array) -> Array:
        result: Array = x - x.mean(axis=axes, keepdims=True)
        result /= np.sqrt(np.mean(result * result, axis=axes, keepdims=True) + epsilon)
        if gamma is not None:
            result *= gamma
        if beta is not None:
            result += beta
        return result

    return Step(layer_norm, (site.ref("x"),))


@operation("batch_norm")
def build_batch_norm(site: Site) -> Step:
    """A scale and a shift per channel (axis 1), from statistics that are constants."""
    shape = site.shape("x")
    if len(shape) < 2:
        raise site.fail(f"its operand has the shape {list(shape)}")
    wide = (1, shape[1]) + (1,) * (len(shape) - 2)
    mean, variance = _along(site, "mean", wide), _along(site, "variance", wide)
    if mean is None or variance is None:
        raise site.fail("mean or variance is missing")
    gamma, beta = _along(site, "gamma", wide), _along(site, "beta", wide)
    # In float64 once, so that folding the statistics costs no accuracy.
    scale = 1.0 / np.sqrt(variance.astype(np.float64) + site.number("epsilon", 1e-5))
    if gamma is not None:
        scale = scale * gamma
    shift = (0.0 if beta is None else beta) - mean * scale
    scale, shift = scale.astype(np.float32), shift.astype(np.float32)

    def batch_norm(x: Array) -> Array:
        result = x * scale
        result += shift
        return result

    return Step(batch_norm, (site.ref("x"),))


@operation("instance_norm")
def build_instance_norm(site: Site) -> Step:
    """Mean 0 and variance 1 over the axes after the channels, then times gamma plus beta per channel."""
    shape = site.shape("x")
    axes = tuple(range(2, len(shape)))
    wide = (1, shape[1]) + (1,) * len(axes) if axes else (0,)
    if not axes:
        raise site.fail(f"its operand has the shape {list(shape)}")
    gamma, beta = _along(site, "gamma", wide), _along(site, "beta", wide)
    epsilon = np.float32(site.number("epsilon", 1e-5))

    def instance_norm(x: Array) -> Array:
        result: Array = x - x.mean(axis=axes, keepdims=True)
        result /= np.sqrt(np.mean(result * result, axis=axes, keepdims=True) + epsilon)
        if gamma is not None:
            result *= gamma
        if beta is not None:
            result += beta
        return result

    return Step(instance_norm, (site.ref("x"),))
