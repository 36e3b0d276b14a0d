"""Each operation of the reference runtime against a plain formula, written out again here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audio2img.errors import ModelError
from audio2img.mlprogram.ops import OPERATIONS

Run = Callable[..., np.ndarray]
RNG = np.random.default_rng(7)
X = (RNG.standard_normal((2, 3, 4)) * 2).astype(np.float32)
Y = (RNG.standard_normal((3, 1)) * 2).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
INTS = RNG.integers(-9, 9, (2, 3, 4)).astype(np.int32)

UNARY: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "erf": math.erf,
    "exp": math.exp,
    "exp2": lambda x: 2**x,
    "floor": math.floor,
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "round": round,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "sign": lambda x: (x > 0) - (x < 0),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "sin": math.sin,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "square": lambda x: x * x,
    "tanh": math.tanh,
}
BINARY: dict[str, Callable[[float, float], float]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y,
    "floor_div": lambda x, y: x // y,
    "mod": lambda x, y: x % y,
    "maximum": max,
    "minimum": min,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
}


def close(found: np.ndarray, expected: Any, tolerance: float = 2e-6) -> None:
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", UNARY)
def test_functions_of_one_number(run_op: Run, kind: str) -> None:
    close(run_op(kind, {"x": X}, {}, X.shape), np.vectorize(UNARY[kind], otypes=[float])(X))


@pytest.mark.parametrize("kind", BINARY)
def test_functions_of_two_numbers_broadcast(run_op: Run, kind: str) -> None:
    expected = np.vectorize(BINARY[kind], otypes=[float])(X, Y)
    close(run_op(kind, {"x": X, "y": Y}, {}, X.shape), expected)
    close(run_op(kind, {"x": X}, {"y": Y}, X.shape), expected)


@pytest.mark.parametrize("kind", COMPARISONS)
def test_comparisons(tools: Any, make_package: Any, kind: str) -> None:
    from audio2img.mlprogram.mlpackage import Package
    from audio2img.mlprogram.reference import ReferenceModel

    other = np.array([[0], [-3], [4]], dtype=np.int32)
    package = make_package(
        {"x": (INTS.shape, "int32")},
        [
            tools.Op(kind, {"x": tools.Ref("x"), "y": other}, {"truth": (INTS.shape, "bool")}),
            tools.Op("cast", {"x": tools.Ref("truth"), "dtype": "int32"}, {"out": (INTS.shape, "int32")}),
        ],
        {"out": (INTS.shape, "int32")},
    )
    found = ReferenceModel(Package(package)).predict({"x": INTS})["out"]
    np.testing.assert_array_equal(found, np.vectorize(COMPARISONS[kind])(INTS, other).astype(np.int32))


def test_logic(run_op: Run) -> None:
    left, right = np.array([[True, True, False, False]]), np.array([[True, False, True, False]])
    tables = {"logical_and": [1, 0, 0, 0], "logical_or": [1, 1, 1, 0], "logical_xor": [0, 1, 1, 0]}
    for kind, expected in tables.items():
        assert run_op(kind, {}, {"x": left, "y": right}, (1, 4), "bool").tolist() == [expected]
    assert run_op("logical_not", {}, {"x": left}, (1, 4), "bool").tolist() == [[0, 0, 1, 1]]


def test_powers_roots_and_logarithms(run_op: Run) -> None:
    close(
        run_op("pow", {"x": POSITIVE}, {"y": np.float32(1.5)}, X.shape), np.vectorize(math.pow)(POSITIVE, 1.5)
    )
    close(run_op("sqrt", {"x": POSITIVE}, {}, X.shape), np.vectorize(math.sqrt)(POSITIVE))
    epsilon = {"epsilon": np.float32(0.25)}
    shifted = POSITIVE.astype(np.float64) + 0.25
    close(run_op("rsqrt", {"x": POSITIVE}, epsilon, X.shape), 1 / np.sqrt(shifted))
    close(run_op("inverse", {"x": POSITIVE}, epsilon, X.shape), 1 / shifted)
    close(run_op("log", {"x": POSITIVE}, epsilon, X.shape), np.log(shifted))
    close(run_op("rsqrt", {"x": POSITIVE}, {}, X.shape), 1 / np.sqrt(POSITIVE))


def test_limits(run_op: Run) -> None:
    close(run_op("clip", {"x": X}, {"alpha": np.float32(-1), "beta": np.float32(0.5)}, X.shape),
          np.vectorize(lambda x: min(max(x, -1), 0.5))(X))  # fmt: skip
    close(
        run_op("threshold", {"x": X}, {"alpha": np.float32(0.5)}, X.shape),
        np.vectorize(lambda x: max(x, 0.5))(X),
    )
    close(run_op("leaky_relu", {"x": X}, {"alpha": np.float32(0.1)}, X.shape),
          np.vectorize(lambda x: x if x > 0 else 0.1 * x, otypes=[float])(X))  # fmt: skip
    close(run_op("elu", {"x": X}, {"alpha": np.float32(0.5)}, X.shape),
          np.vectorize(lambda x: x if x > 0 else 0.5 * (math.exp(x) - 1), otypes=[float])(X))  # fmt: skip


@pytest.mark.parametrize("n", [1, 1000, 40_000])
def test_gelu_and_erf_to_a_millionth(run_op: Run, n: int) -> None:
    """Over the whole range, across the blocks that long arrays are worked through in."""
    x = np.linspace(-12, 12, n, dtype=np.float32)
    phi = np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(x.astype(np.float64))
    gelu = run_op("gelu", {"x": x}, {"mode": "EXACT"}, x.shape)
    assert np.abs(gelu - x * phi).max() < 2e-6
    assert np.abs(run_op("erf", {"x": x}, {}, x.shape) - np.vectorize(math.erf)(x)).max() < 1e-6


def test_gelu_by_its_approximations(run_op: Run) -> None:
    def by_tanh(x: float) -> float:
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    close(run_op("gelu", {"x": X}, {"mode": "TANH_APPROXIMATION"}, X.shape), np.vectorize(by_tanh)(X))
    close(run_op("gelu", {"x": X}, {"mode": "SIGMOID_APPROXIMATION"}, X.shape),
          np.vectorize(lambda x: x / (1 + math.exp(-1.702 * x)))(X))  # fmt: skip


def test_large_numbers_do_not_overflow(run_op: Run) -> None:
    x = np.array([[-1e4, -100, 0, 100, 1e4]], dtype=np.float32)
    close(run_op("sigmoid", {"x": x}, {}, x.shape), [[0, 0, 0.5, 1, 1]])
    close(run_op("silu", {"x": x}, {}, x.shape), [[0, 0, 0, 100, 1e4]])
    close(run_op("softmax", {"x": x}, {"axis": np.int32(-1)}, x.shape), [[0, 0, 0, 0, 1]])


def test_casts_drop_the_fraction(run_op: Run) -> None:
    x = np.array([-2.7, -0.2, 0.9, 3.0], dtype=np.float32)
    assert run_op("cast", {"x": x}, {"dtype": "int32"}, x.shape, "int32").tolist() == [-2, 0, 0, 3]
    assert run_op("cast", {"x": x}, {"dtype": "fp16"}, x.shape).tolist() == x.tolist()


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_sums_to_one(run_op: Run, axis: int) -> None:
    powers = np.exp(X.astype(np.float64))
    close(
        run_op("softmax", {"x": X}, {"axis": np.int32(axis)}, X.shape),
        powers / powers.sum(axis, keepdims=True),
    )


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("reduce_mean", lambda row: sum(row) / len(row)),
        ("reduce_sum", sum),
        ("reduce_max", max),
        ("reduce_min", min),
        ("reduce_prod", math.prod),
        ("reduce_l1_norm", lambda row: sum(map(abs, row))),
        ("reduce_l2_norm", lambda row: math.sqrt(sum(x * x for x in row))),
        ("reduce_sum_square", lambda row: sum(x * x for x in row)),
        ("reduce_log_sum_exp", lambda row: math.log(sum(map(math.exp, row)))),
    ],
)
def test_reductions(run_op: Run, kind: str, formula: Callable[[list[float]], float]) -> None:
    expected = [[formula([float(X[i, j, k]) for i in range(2) for k in range(4)])] for j in range(3)]
    keep = {"axes": np.array([0, -1], np.int32), "keep_dims": np.bool_(True)}
    close(run_op(kind, {"x": X}, keep, (1, 3, 1)), [expected])
    drop = {"axes": np.array([2, 0], np.int32), "keep_dims": np.bool_(False)}
    close(run_op(kind, {"x": X}, drop, (3,)), np.reshape(expected, 3))


def test_the_place_of_the_largest(run_op: Run) -> None:
    x = np.array([[1, 5, 5, 0], [-1, -3, -2, -1]], dtype=np.float32)
    parameters = {"axis": np.int32(1), "keep_dims": np.bool_(False)}
    assert run_op("reduce_argmax", {"x": x}, parameters, (2,), "int32").tolist() == [1, 0]
    assert run_op("reduce_argmin", {"x": x}, parameters, (2,), "int32").tolist() == [3, 1]


def test_layer_norm_of_some_axes(run_op: Run) -> None:
    gamma, beta = RNG.standard_normal((2, 4)).astype(np.float32)
    row = {"axes": np.array([-1], np.int32), "gamma": gamma, "beta": beta, "epsilon": np.float32(1e-3)}
    x = X.astype(np.float64)
    centred = x - x.mean(2, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(2, keepdims=True) + 1e-3) * gamma + beta
    close(run_op("layer_norm", {"x": X}, row, X.shape), expected)
    channels = {"axes": np.array([1], np.int32), "epsilon": np.float32(1e-3)}
    centred = x - x.mean(1, keepdims=True)
    close(run_op("layer_norm", {"x": X}, channels, X.shape),
          centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-3))  # fmt: skip


def test_norms_by_channel(run_op: Run) -> None:
    mean, gamma, beta = RNG.standard_normal((3, 3)).astype(np.float32)
    variance = np.array([0.5, 1, 2], dtype=np.float32)
    batch = {"mean": mean, "variance": variance, "gamma": gamma, "beta": beta, "epsilon": np.float32(1e-2)}
    expected = np.empty(X.shape)
    for c in range(3):
        expected[:, c] = (X[:, c] - mean[c]) / math.sqrt(variance[c] + 1e-2) * gamma[c] + beta[c]
    close(run_op("batch_norm", {"x": X}, batch, X.shape), expected)
    instance = {"gamma": gamma, "beta": beta, "epsilon": np.float32(1e-2)}
    for n, c in itertools.product(range(2), range(3)):
        row = X[n, c].astype(np.float64)
        expected[n, c] = (row - row.mean()) / math.sqrt(row.var() + 1e-2) * gamma[c] + beta[c]
    close(run_op("instance_norm", {"x": X}, instance, X.shape), expected)


def naive_conv(
    x: np.ndarray, weight: np.ndarray, stride: int, dilation: int, pads: Any, groups: int
) -> np.ndarray:
    """The definition of a 2-D convolution, pixel by pixel."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *pads))
    batch, _, height, width = x.shape
    n_out, in_group, taps_high, taps_wide = weight.shape
    out_high = (height - dilation * (taps_high - 1) - 1) // stride + 1
    out_wide = (width - dilation * (taps_wide - 1) - 1) // stride + 1
    out = np.zeros((batch, n_out, out_high, out_wide))
    for n, o, i, j in np.ndindex(out.shape):
        first = o // (n_out // groups) * in_group
        for c, p, q in np.ndindex(in_group, taps_high, taps_wide):
            out[n, o, i, j] += (
                weight[o, c, p, q] * x[n, first + c, i * stride + p * dilation, j * stride + q * dilation]
            )
    return out


@pytest.mark.parametrize(
    ("batch", "kernel", "stride", "dilation", "pads", "groups"),
    [
        (1, (3, 3), 1, 1, ((1, 1), (1, 1)), 1),
        (2, (3, 3), 1, 1, ((1, 1), (1, 1)), 1),
        (2, (3, 3), 2, 1, ((1, 1), (1, 1)), 1),
        (2, (3, 3), 2, 1, ((0, 1), (0, 1)), 1),
        (2, (1, 1), 1, 1, ((0, 0), (0, 0)), 1),
        (2, (1, 1), 2, 1, ((0, 0), (0, 0)), 1),
        (1, (3, 2), 1, 2, ((2, 0), (1, 3)), 1),
        (2, (3, 3), 1, 1, ((0, 0), (0, 0)), 2),
        (2, (2, 3), 3, 2, ((1, 1), (2, 2)), 4),
    ],
)
def test_conv_by_its_definition(
    run_op: Run, batch: int, kernel: Any, stride: int, dilation: int, pads: Any, groups: int
) -> None:
    x = RNG.standard_normal((batch, 4, 7, 6)).astype(np.float32)
    weight = RNG.standard_normal((8, 4 // groups, *kernel)).astype(np.float32)
    bias = RNG.standard_normal(8).astype(np.float32)
    expected = naive_conv(x, weight, stride, dilation, pads, groups) + bias[:, None, None]
    parameters = {
        "weight": weight,
        "bias": bias,
        "strides": np.array([stride] * 2, np.int32),
        "dilations": np.array([dilation] * 2, np.int32),
        "groups": np.int32(groups),
        "pad_type": "custom",
        "pad": np.array(pads, np.int32).reshape(-1),
    }
    close(run_op("conv", {"x": x}, parameters, expected.shape), expected, 1e-5)


def test_conv_in_blocks_of_rows(run_op: Run) -> None:
    """A picture whose matrix of taps does not fit the working space, so that it goes through in parts."""
    x = RNG.standard_normal((1, 16, 60, 130)).astype(np.float32)
    weight = RNG.standard_normal((2, 16, 3, 3)).astype(np.float32)
    parameters = {"weight": weight, "pad_type": "custom", "pad": np.ones(4, np.int32)}
    found = run_op("conv", {"x": x}, parameters, (1, 2, 60, 130))
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = sum(
        np.einsum("oc,nchw->nohw", weight[:, :, p, q], padded[:, :, p : p + 60, q : q + 130])
        for p, q in itertools.product(range(3), range(3))
    )
    close(found, expected, 1e-4)


@pytest.mark.parametrize(
    ("pad_type", "expected"), [("same", [4, 7, 9, 5]), ("same_lower", [1, 4, 7, 9]), ("valid", [4, 7, 9])]
)
def test_conv_over_one_axis_and_its_paddings(run_op: Run, pad_type: str, expected: list[int]) -> None:
    """x = 1, 3, 4, 5 summed in pairs: "same" pads after, "same_lower" before."""
    x = np.array([[[1, 3, 4, 5]]], dtype=np.float32)
    parameters = {"weight": np.ones((1, 1, 2), np.float32), "pad_type": pad_type}
    assert run_op("conv", {"x": x}, parameters, (1, 1, len(expected))).tolist() == [[expected]]


def test_a_conv_runs_again_as_it_ran_first(tools: Any, make_package: Any) -> None:
    """The working space is kept between runs; nothing of one run may reach the next."""
    from audio2img.mlprogram.mlpackage import Package
    from audio2img.mlprogram.reference import ReferenceModel

    weight = RNG.standard_normal((4, 4, 3, 3)).astype(np.float32)
    parameters = {"weight": weight, "pad_type": "custom", "pad": np.ones(4, np.int32)}
    first = tools.Op("conv", {"x": tools.Ref("x"), **parameters}, {"mid": ((1, 4, 5, 5), "float32")})
    second = tools.Op("conv", {"x": tools.Ref("mid"), **parameters}, {"out": ((1, 4, 5, 5), "float32")})
    shapes = {"x": ((1, 4, 5, 5), "float32")}
    model = ReferenceModel(Package(make_package(shapes, [first, second], {"out": ((1, 4, 5, 5), "float32")})))
    inputs = [{"x": RNG.standard_normal((1, 4, 5, 5)).astype(np.float32)} for _ in range(3)]
    once = [model.predict(value)["out"] for value in inputs]
    pads = ((1, 1), (1, 1))
    for value, found in zip(inputs, once, strict=True):
        close(found, naive_conv(naive_conv(value["x"], weight, 1, 1, pads, 1), weight, 1, 1, pads, 1), 1e-4)
        np.testing.assert_array_equal(model.predict(value)["out"], found)


def test_linear_with_and_without_constants(run_op: Run) -> None:
    weight = RNG.standard_normal((5, 4)).astype(np.float32)
    bias = RNG.standard_normal(5).astype(np.float32)
    expected = np.einsum("abi,oi->abo", X.astype(np.float64), weight)
    close(run_op("linear", {"x": X}, {"weight": weight, "bias": bias}, (2, 3, 5)), expected + bias)
    close(run_op("linear", {"x": X}, {"weight": weight, "bias": bias * 0}, (2, 3, 5)), expected)
    close(run_op("linear", {"x": X, "weight": weight}, {}, (2, 3, 5)), expected)
    close(run_op("linear", {"x": X, "weight": weight, "bias": bias}, {}, (2, 3, 5)), expected + bias)


@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("flip_y", [False, True])
def test_matmul_of_either_way_round(run_op: Run, flip_x: bool, flip_y: bool) -> None:
    left, right = RNG.standard_normal((2, 1, 3, 4)), RNG.standard_normal((5, 4, 6))
    expected = np.einsum("aoik,bkj->abij", left, right)
    x = (left.swapaxes(-1, -2) if flip_x else left).astype(np.float32)
    y = (right.swapaxes(-1, -2) if flip_y else right).astype(np.float32)
    flags = {"transpose_x": np.bool_(flip_x), "transpose_y": np.bool_(flip_y)}
    close(run_op("matmul", {"x": x, "y": y}, flags, (2, 5, 3, 6)), expected, 1e-5)


@pytest.mark.parametrize(
    "equation", ["bchq,bkhc->bkhq", "bkhq,bchk->bchq", "nchw,nwhu->nchu", "ij,jk->ki", "abc,cd->abd"]
)
def test_einsum_of_attention_and_others(run_op: Run, equation: str) -> None:
    left, right, out = equation.replace("->", ",").split(",")
    sizes = {label: 2 + index for index, label in enumerate(sorted(set(left + right)))}
    x, y = (RNG.standard_normal([sizes[k] for k in row]).astype(np.float32) for row in (left, right))
    found = run_op("einsum", {"values": [x, y]}, {"equation": equation}, tuple(sizes[k] for k in out))
    close(found, np.einsum(equation, x.astype(np.float64), y), 1e-5)


def test_attention_with_its_masks(run_op: Run) -> None:
    query, key, value = (RNG.standard_normal((2, rows, 8)).astype(np.float32) for rows in (3, 5, 5))
    keep = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]], dtype=np.bool_)
    bias = np.where(keep, 0, -1e9).astype(np.float32)

    def expected(mask: np.ndarray | float) -> np.ndarray:
        weights = np.exp(query.astype(np.float64) @ key.swapaxes(1, 2) / math.sqrt(8) + mask)
        return weights / weights.sum(-1, keepdims=True) @ value

    operands = {"query": query, "key": key, "value": value}
    close(run_op("scaled_dot_product_attention", operands, {}, (2, 3, 8)), expected(0), 1e-5)
    for mask in (keep, bias):
        found = run_op("scaled_dot_product_attention", operands, {"attn_mask": mask}, (2, 3, 8))
        close(found, expected(bias), 1e-5)


def i32(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"),
    [
        ("reshape", {"shape": i32(0, -1)}, X.reshape(2, 12)),
        ("transpose", {"perm": i32(0, -1, 1)}, X.transpose(0, 2, 1)),
        ("expand_dims", {"axes": i32(0, -1)}, X[None, ..., None]),
        ("flatten2d", {"axis": np.int32(2)}, X.reshape(6, 4)),
        ("slice_by_index", {"begin": i32(0, 1, 0), "end": i32(2, 3, 4), "stride": i32(1, 1, 2)},
         X[:, 1:3, ::2]),
        ("slice_by_index", {"begin": i32(1, 0, -3), "end": i32(9, 9, -1),
                            "end_mask": np.array([True, True, False]),
                            "squeeze_mask": np.array([True, False, False])}, X[1, :, -3:-1]),
        ("slice_by_index", {"begin": i32(0, 0, 3), "end": i32(2, 3, 0), "stride": i32(1, 1, -1),
                            "end_mask": np.array([False, False, True])}, X[:, :, ::-1]),
        ("slice_by_size", {"begin": i32(1, 0, 1), "size": i32(1, -1, 2)}, X[1:2, :, 1:3]),
        ("tile", {"reps": i32(1, 2, 3)}, np.tile(X, (1, 2, 3))),
        ("pad", {"pad": i32(1, 2), "mode": "constant", "constant_val": np.float32(7)},
         np.pad(X, ((0, 0), (0, 0), (1, 2)), constant_values=7)),
        ("pad", {"pad": i32(1, 1, 0, 2), "mode": "reflect"}, np.pad(X, ((0, 0), (1, 1), (0, 2)), "reflect")),
        ("pad", {"pad": i32(0, 1, 2, 0), "mode": "replicate"}, np.pad(X, ((0, 0), (0, 1), (2, 0)), "edge")),
        ("band_part", {"lower": np.int32(1), "upper": np.int32(0)}, X * (np.tri(3, 4) - np.tri(3, 4, -2))),
        ("band_part", {"lower": np.int32(-1), "upper": np.int32(1)}, X * np.tri(3, 4, 1)),
        ("gather", {"indices": i32(2, -3, 1), "axis": np.int32(-1)}, X[..., [2, 1, 1]]),
        ("gather_nd", {"indices": np.array([[1, 2], [0, -1]], np.int32)}, X[[1, 0], [2, 2]]),
        ("gather_along_axis", {"indices": np.tile(i32(1, 0, 3, 2), (2, 3, 1)), "axis": np.int32(2)},
         X[..., [1, 0, 3, 2]]),
        ("fill_like", {"value": np.float32(3)}, np.full(X.shape, 3)),
        ("upsample_nearest_neighbor",
         {"scale_factor_height": np.int32(3), "scale_factor_width": np.float32(2)},
         X.repeat(3, axis=1).repeat(2, axis=2)),
    ],
)  # fmt: skip
def test_what_only_moves_elements(
    run_op: Run, kind: str, parameters: dict[str, Any], expected: np.ndarray
) -> None:
    operand = "ref_tensor" if kind == "fill_like" else "x"
    found = run_op(kind, {operand: X}, parameters, expected.shape)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_putting_together_and_taking_apart(run_op: Run, tools: Any, make_package: Any) -> None:
    from audio2img.mlprogram.mlpackage import Package
    from audio2img.mlprogram.reference import ReferenceModel

    both = {"values": [X, X * 2]}
    np.testing.assert_array_equal(
        run_op("concat", both, {"axis": np.int32(-2), "interleave": np.bool_(False)}, (2, 6, 4)),
        np.concatenate([X, X * 2], 1),
    )
    np.testing.assert_array_equal(
        run_op("stack", both, {"axis": np.int32(1)}, (2, 2, 3, 4)), np.stack([X, X * 2], 1)
    )
    np.testing.assert_array_equal(
        run_op("squeeze", {"x": X[:, None, :, :]}, {"axes": np.array([1], np.int32)}, X.shape), X
    )
    np.testing.assert_array_equal(
        run_op("select", {"a": X, "b": X * 2}, {"cond": X > 0}, X.shape), np.where(X > 0, X, X * 2)
    )
    parts = {"a": ((2, 3, 1), "float32"), "b": ((2, 3, 3), "float32")}
    split = tools.Op(
        "split", {"x": tools.Ref("x"), "split_sizes": np.array([1, 3], np.int32), "axis": np.int32(2)}, parts
    )
    found = ReferenceModel(Package(make_package({"x": (X.shape, "float32")}, [split], parts))).predict(
        {"x": X}
    )
    np.testing.assert_array_equal(found["a"], X[..., :1])
    np.testing.assert_array_equal(found["b"], X[..., 1:])


def test_constants_are_computed_beforehand(tools: Any, make_package: Any) -> None:
    """fill, range_1d, shape and sums of constants leave nothing to do when the model runs."""
    from audio2img.mlprogram.mlpackage import Package
    from audio2img.mlprogram.reference import ReferenceModel

    numbers = {"start": np.int32(3), "end": np.int32(9), "step": np.int32(2)}
    operations = [
        tools.Op("range_1d", numbers, {"row": ((3,), "int32")}),
        tools.Op(
            "fill", {"shape": np.array([2, 3], np.int32), "value": np.int32(10)}, {"ten": ((2, 3), "int32")}
        ),
        tools.Op("shape", {"x": tools.Ref("x")}, {"shape": ((3,), "int32")}),
        tools.Op("add", {"x": tools.Ref("row"), "y": tools.Ref("ten")}, {"sum": ((2, 3), "int32")}),
        tools.Op("mul", {"x": tools.Ref("sum"), "y": tools.Ref("shape")}, {"out": ((2, 3), "int32")}),
    ]
    package = make_package({"x": (X.shape, "float32")}, operations, {"out": ((2, 3), "int32")})
    model = ReferenceModel(Package(package))
    ran: list[str] = []
    found = model.predict({"x": X}, lambda node, _, __: ran.append(node.kind))
    assert found["out"].tolist() == [[26, 45, 68], [26, 45, 68]]
    assert set(ran) <= {"shape"}


@pytest.mark.parametrize(
    ("kind", "parameters", "shape"),
    [
        ("reshape", {"shape": i32(5, 5)}, (5, 5)),
        ("reshape", {"shape": i32(-1, -1)}, (4, 6)),
        ("transpose", {"perm": i32(0, 0, 1)}, (2, 2, 3)),
        ("transpose", {"perm": i32(0, 1, 3)}, (2, 3, 4)),
        ("tile", {"reps": i32(1, 1, 2**30)}, (2, 3, 4)),
        ("pad", {"pad": i32(0, 2**30)}, (2, 3, 4)),
        ("pad", {"pad": i32(0, -1)}, (2, 3, 3)),
        ("upsample_nearest_neighbor", {"scale_factor_height": np.int32(2**20)}, (2, 3, 4)),
        ("upsample_nearest_neighbor", {"scale_factor_height": np.float32(1.5)}, (2, 4, 4)),
        ("gather", {"indices": i32(0), "axis": np.int32(7)}, (2, 3, 1)),
        ("gather", {"indices": i32(9), "axis": np.int32(2)}, (2, 3, 1)),
        ("slice_by_index", {"begin": i32(0, 0, 0), "end": i32(2, 3, 4), "stride": i32(1, 1, 0)}, (2, 3, 4)),
        ("conv", {"weight": np.ones((1, 3, 1), np.float32), "strides": i32(0)}, (2, 1, 4)),
        ("conv", {"weight": np.ones((1, 2, 1), np.float32)}, (2, 1, 4)),
        ("conv", {"weight": np.ones((1, 3, 1), np.float32), "pad_type": "odd"}, (2, 1, 4)),
        ("linear", {"weight": np.ones((2, 5), np.float32)}, (2, 3, 2)),
        ("softmax", {"axis": np.int32(3)}, (2, 3, 4)),
        ("softmax", {"axis": "x"}, (2, 3, 4)),
        ("batch_norm", {"mean": np.zeros(3, np.float32)}, (2, 3, 4)),
        ("layer_norm", {"gamma": np.zeros(3, np.float32), "axes": i32(2)}, (2, 3, 4)),
        ("gelu", {"mode": "OTHER"}, (2, 3, 4)),
        ("cast", {"dtype": "complex"}, (2, 3, 4)),
        ("add", {"y": np.zeros((5, 1, 1, 1), np.float32)}, (2, 3, 4)),
        ("square", {}, (2, 3, 5)),
        ("square", {"x": np.zeros(2, np.float32)}, (2, 3, 4)),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error_of_loading(
    run_op: Run, kind: str, parameters: dict[str, Any], shape: Any
) -> None:
    with pytest.raises(ModelError, match=r"model\d+\.mlpackage"):
        run_op(kind, {"x": X}, parameters, shape)


def test_every_operation_is_tested_here() -> None:
    """A new operation needs a line above: its name must be in this file."""
    from pathlib import Path

    text = Path(__file__).read_text(encoding="utf-8")
    missing = [kind for kind in OPERATIONS if f'"{kind}"' not in text]
    assert missing == []
