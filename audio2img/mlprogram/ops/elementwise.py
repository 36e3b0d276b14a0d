"""Operations that treat every element alike: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audio2img.mlprogram.ops.site import Array, Site, Step, operation

BLOCK_ELEMENTS = 1 << 14  # long formulas go through an array in blocks that stay in the first-level cache


def build_binary(function: Callable[[Array, Array], Array]) -> Callable[[Site], Step]:
    """A builder for a NumPy function of two arrays that broadcast."""

    def build(site: Site) -> Step:
        try:
            shape = np.broadcast_shapes(site.shape("x"), site.shape("y"))
        except ValueError as error:
            raise site.fail(str(error)) from error
        site.expect_shape(shape)
        return Step(function, (site.ref("x"), site.ref("y")))

    return build


def build_unary(function: Callable[[Array], Array]) -> Callable[[Site], Step]:
    """A builder for a function of one array."""
    return lambda site: Step(function, (site.ref("x"),))


def real_div(x: Array, y: Array) -> Array:
    """x / y; float32, or int32 rounded toward zero where both are integers."""
    result = np.divide(x, y)
    return result if x.dtype.kind == "f" or y.dtype.kind == "f" else np.trunc(result).astype(np.int32)


def sigmoid(x: Array) -> Array:
    result = np.negative(x)
    np.exp(result, out=result)
    result += np.float32(1)
    return np.reciprocal(result, out=result)


def silu(x: Array) -> Array:
    result = np.negative(x)
    np.exp(result, out=result)
    result += np.float32(1)
    return np.divide(x, result, out=result)


def softplus(x: Array) -> Array:
    result: Array = np.logaddexp(x, np.float32(0))
    return result


# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26:
# erf(x) = 1 - (a1 t + ... + a5 t^5) exp(-x^2), t = 1 / (1 + p x), x >= 0; |error| <= 1.5e-7.
_ERF_P = np.float32(0.3275911)
_ERF_COEFFICIENTS = tuple(
    np.float32(a) for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
)


def _erf_block(x: Array, out: Array) -> None:
    """erf of the 1-D float32 array `x` into `out`, which may not overlap it."""
    magnitude = np.abs(x)
    t = magnitude * _ERF_P
    t += np.float32(1)
    np.reciprocal(t, out=t)
    np.multiply(t, _ERF_COEFFICIENTS[0], out=out)
    for coefficient in _ERF_COEFFICIENTS[1:]:
        out += coefficient
        out *= t
    np.multiply(magnitude, magnitude, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)
    out *= t
    np.subtract(np.float32(1), out, out=out)
    np.copysign(out, x, out=out)


def _by_blocks(function: Callable[[Array, Array], None], x: Array) -> Array:
    """function(block, out block) over all of `x`, flattened."""
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty_like(flat)
    for start in range(0, len(flat), BLOCK_ELEMENTS):
        block = slice(start, start + BLOCK_ELEMENTS)
        function(flat[block], out[block])
    return out.reshape(x.shape)


def erf(x: Array) -> Array:
    """The error function to 5e-7."""
    return _by_blocks(_erf_block, x)


_HALF_SQRT = np.float32(np.sqrt(0.5))


def _gelu_block(x: Array, out: Array) -> None:
    _erf_block(x * _HALF_SQRT, out)
    out += np.float32(1)
    out *= x
    out *= np.float32(0.5)


def gelu(x: Array) -> Array:
    """x times the normal distribution's cumulative probability at x."""
    return _by_blocks(_gelu_block, x)


def gelu_tanh(x: Array) -> Array:
    """The approximation by tanh in Hendrycks and Gimpel (arXiv 1606.08415)."""
    inner = x * (np.float32(1) + np.float32(0.044715) * x * x) * np.float32(np.sqrt(2 / np.pi))
    result: Array = np.float32(0.5) * x * (np.float32(1) + np.tanh(inner))
    return result


def gelu_sigmoid(x: Array) -> Array:
    """The approximation by the logistic function in the same paper; CLIP's "quick GELU"."""
    return x * sigmoid(np.float32(1.702) * x)


BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": real_div,
    "floor_div": np.floor_divide,
    "mod": np.mod,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": np.cos,
    "erf": erf,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "identity": lambda x: x,
    "logical_not": np.logical_not,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "relu6": lambda x: np.clip(x, np.float32(0), np.float32(6)),
    "round": np.rint,
    "sigmoid": sigmoid,
    "sign": np.sign,
    "silu": silu,
    "sin": np.sin,
    "softplus": softplus,
    "softsign": lambda x: x / (np.float32(1) + np.abs(x)),
    "sqrt": np.sqrt,
    "square": np.square,
    "tanh": np.tanh,
}
for _kind, _binary in BINARY.items():
    operation(_kind)(build_binary(_binary))
for _kind, _unary in UNARY.items():
    operation(_kind)(build_unary(_unary))


@operation("rsqrt", "inverse", "log")
def build_with_epsilon(site: Site) -> Step:
    """1 / sqrt(x + epsilon), 1 / (x + epsilon), log(x + epsilon)."""
    defaults = {"rsqrt": 1e-12, "inverse": 1e-4, "log": 1e-45}
    epsilon = np.float32(site.number("epsilon", defaults[site.node.kind]))
    functions: dict[str, Callable[[Array], Array]] = {
        "rsqrt": lambda x: np.float32(1) / np.sqrt(x + epsilon),
        "inverse": lambda x: np.float32(1) / (x + epsilon),
        "log": lambda x: np.log(x + epsilon),
    }
    return Step(functions[site.node.kind], (site.ref("x"),))


@operation("gelu")
def build_gelu(site: Site) -> Step:
    kernels = {"EXACT": gelu, "TANH_APPROXIMATION": gelu_tanh, "SIGMOID_APPROXIMATION": gelu_sigmoid}
    mode = site.text("mode", "EXACT").upper()
    if mode not in kernels:
        raise site.fail(f"mode {mode}")
    return Step(kernels[mode], (site.ref("x"),))


@operation("clip")
def build_clip(site: Site) -> Step:
    low, high = np.float32(site.number("alpha")), np.float32(site.number("beta"))
    return Step(lambda x: np.clip(x, low, high), (site.ref("x"),))


@operation("threshold")
def build_threshold(site: Site) -> Step:
    low = np.float32(site.number("alpha"))
    return Step(lambda x: np.maximum(x, low), (site.ref("x"),))


@operation("leaky_relu", "elu")
def build_leaky(site: Site) -> Step:
    """x above 0; below, alpha x (leaky_relu) or alpha (exp(x) - 1) (elu)."""
    alpha = np.float32(site.number("alpha"))
    if site.node.kind == "elu":
        return Step(lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), (site.ref("x"),))
    return Step(lambda x: np.where(x > 0, x, alpha * x), (site.ref("x"),))


CAST_TYPES: dict[str, np.dtype[np.generic]] = {
    "fp16": np.dtype(np.float32),
    "fp32": np.dtype(np.float32),
    "bool": np.dtype(np.bool_),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype(np.uint16),
}


@operation("cast")
def build_cast(site: Site) -> Step:
    """A change of type; float16 is kept in float32, floats become integers by dropping the fraction."""
    name = site.text("dtype")
    if name not in CAST_TYPES:
        raise site.fail(f"type {name}")
    dtype = CAST_TYPES[name]
    return Step(lambda x: x.astype(dtype, copy=False), (site.ref("x"),))


@operation("select")
def build_select(site: Site) -> Step:
    """a where cond is true, else b; cond may broadcast."""
    names = (site.ref("cond"), site.ref("a"), site.ref("b"))
    try:
        shape = np.broadcast_shapes(*(site.shape_of(name) for name in names))
    except ValueError as error:
        raise site.fail(str(error)) from error
    site.expect_shape(shape)
    return Step(np.where, names)
