"""Operations that move elements without changing them: reshape, slice, gather, concatenate, fill."""

from __future__ import annotations

import numpy as np

from audio2img.mlprogram.ops.site import Array, Site, Step, n_elements, operation


@operation("reshape")
def build_reshape(site: Site) -> Step:
    """The elements in another shape; 0 keeps a size, -1 takes what is left."""
    source = site.shape("x")
    wanted = site.ints("shape")
    if any(size == 0 and axis >= len(source) for axis, size in enumerate(wanted)):
        raise site.fail(f"shape {list(wanted)}")
    shape = [source[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if shape.count(-1) > 1 or any(size < -1 for size in shape):
        raise site.fail(f"shape {list(wanted)}")
    if -1 in shape:
        known = n_elements(tuple(size for size in shape if size != -1))
        shape[shape.index(-1)] = n_elements(source) // known if known else 0
    if n_elements(tuple(shape)) != n_elements(source):
        raise site.fail(f"{list(source)} in the shape {list(wanted)}")
    result = site.expect_shape(shape)
    return Step(lambda x: x.reshape(result), (site.ref("x"),))


@operation("transpose")
def build_transpose(site: Site) -> Step:
    rank = len(site.shape("x"))
    axes = site.axes("perm", rank)
    if len(axes) != rank:
        raise site.fail(f"{len(axes)} axes of {rank}")
    return Step(lambda x: x.transpose(axes), (site.ref("x"),))


@operation("expand_dims", "squeeze", "flatten2d")
def build_same_elements(site: Site) -> Step:
    """Sizes of one put in or taken out, or axes put together: the declared result says all."""
    shape = site.out_shape
    if n_elements(site.shape("x")) != n_elements(shape):
        raise site.fail(f"{list(site.shape('x'))} in the shape {list(shape)}")
    return Step(lambda x: x.reshape(shape), (site.ref("x"),))


@operation("concat")
def build_concat(site: Site) -> Step:
    names = site.refs("values")
    rank = len(site.shape_of(names[0]))
    axis = site.axis(site.integer("axis"), rank)
    if site.flag("interleave"):
        raise site.fail("interleaving is not supported")
    return Step(lambda *values: np.concatenate(values, axis=axis), names)


@operation("stack")
def build_stack(site: Site) -> Step:
    names = site.refs("values")
    axis = site.axis(site.integer("axis"), len(site.shape_of(names[0])) + 1)
    return Step(lambda *values: np.stack(values, axis=axis), names)


@operation("split")
def build_split(site: Site) -> Step:
    shape = site.shape("x")
    axis = site.axis(site.integer("axis"), len(shape))
    sizes: tuple[int, ...]
    if site.has("split_sizes"):
        sizes = site.ints("split_sizes")
    else:
        n_splits = site.integer("num_splits")
        sizes = (shape[axis] // n_splits,) * n_splits if 0 < n_splits <= shape[axis] else ()
    if sum(sizes) != shape[axis] or any(size < 0 for size in sizes) or len(sizes) != len(site.node.outputs):
        raise site.fail(f"parts of {list(sizes)} of {shape[axis]}")
    ends = np.cumsum(sizes).tolist()
    slices = [
        (slice(None),) * axis + (slice(end - size, end),) for size, end in zip(sizes, ends, strict=True)
    ]
    return Step(lambda x: [x[part] for part in slices], (site.ref("x"),))


@operation("slice_by_index")
def build_slice_by_index(site: Site) -> Step:
    """x[begin:end:stride]; a mask says where begin or end does not count, and which axes are taken out."""
    rank = len(site.shape("x"))
    begin, end = site.ints("begin"), site.ints("end")
    stride = site.ints("stride", (1,) * rank)
    masks = [site.ints(name, (0,) * rank) for name in ("begin_mask", "end_mask", "squeeze_mask")]
    if any(len(row) != rank for row in (begin, end, stride, *masks)) or 0 in stride:
        raise site.fail("its bounds do not fit its operand")
    index = tuple(
        begin[axis]
        if masks[2][axis]
        else slice(
            None if masks[0][axis] else begin[axis], None if masks[1][axis] else end[axis], stride[axis]
        )
        for axis in range(rank)
    )
    return Step(lambda x: np.asarray(x[index]), (site.ref("x"),))


@operation("slice_by_size")
def build_slice_by_size(site: Site) -> Step:
    """`size` elements from `begin` on, along each axis; -1 means all that are left."""
    shape = site.shape("x")
    begin, size = site.ints("begin"), site.ints("size")
    if len(begin) != len(shape) or len(size) != len(shape) or any(value < 0 for value in begin):
        raise site.fail("its bounds do not fit its operand")
    index = tuple(
        slice(start, None if count == -1 else start + count) for start, count in zip(begin, size, strict=True)
    )
    return Step(lambda x: x[index], (site.ref("x"),))


@operation("tile")
def build_tile(site: Site) -> Step:
    shape, repeats = site.shape("x"), site.ints("reps")
    if len(repeats) != len(shape):
        raise site.fail(f"{len(repeats)} repeats for {len(shape)} axes")
    site.expect_shape([size * count for size, count in zip(shape, repeats, strict=True)])
    return Step(lambda x: np.tile(x, repeats), (site.ref("x"),))


@operation("pad")
def build_pad(site: Site) -> Step:
    """Elements put before and after along the last axes: a constant, the edge, or a reflection."""
    shape, pad = site.shape("x"), site.ints("pad")
    if len(pad) % 2 or len(pad) > 2 * len(shape) or any(count < 0 for count in pad):
        raise site.fail(f"padding {list(pad)}")
    untouched = len(shape) - len(pad) // 2
    widths = [(0, 0)] * untouched + list(zip(pad[::2], pad[1::2], strict=True))
    site.expect_shape([before + size + after for size, (before, after) in zip(shape, widths, strict=True)])
    mode = site.text("mode", "constant")
    if mode == "constant":
        value = np.float32(site.number("constant_val", 0.0))
        return Step(lambda x: np.pad(x, widths, constant_values=value), (site.ref("x"),))
    if mode == "replicate":
        return Step(lambda x: np.pad(x, widths, mode="edge"), (site.ref("x"),))
    if mode == "reflect":
        return Step(lambda x: np.pad(x, widths, mode="reflect"), (site.ref("x"),))
    raise site.fail(f"mode {mode}")


@operation("fill")
def build_fill(site: Site) -> Step:
    shape = site.expect_shape(site.ints("shape"))
    value = site.array("value").reshape(()) if site.has("value") else np.float32(0)
    return Step(lambda: np.full(shape, value, dtype=value.dtype), ())


@operation("fill_like")
def build_fill_like(site: Site) -> Step:
    shape = site.expect_shape(site.shape("ref_tensor"))
    value = site.array("value").reshape(()) if site.has("value") else np.float32(0)
    return Step(lambda: np.full(shape, value, dtype=value.dtype), ())


@operation("range_1d")
def build_range(site: Site) -> Step:
    start, end, step = site.array("start"), site.number("end"), site.number("step")
    (size,) = site.out_shape if len(site.out_shape) == 1 else (-1,)
    if step == 0 or max(0, int(np.ceil((end - float(start)) / step))) != size:
        raise site.fail("its bounds do not fit its result")
    return Step(lambda: (start + np.arange(size) * step).astype(start.dtype), ())


@operation("shape")
def build_shape(site: Site) -> Step:
    shape = np.array(site.shape("x"), dtype=np.int32)
    return Step(lambda: shape, ())


@operation("band_part")
def build_band_part(site: Site) -> Step:
    """Zeros outside of a band about the diagonal of the last two axes; -1 keeps a whole side."""
    lower, upper = site.integer("lower", -1), site.integer("upper", -1)
    rows, columns = np.indices(site.shape("x")[-2:])
    keep = np.ones(rows.shape, dtype=np.bool_)
    if lower >= 0:
        keep &= rows - columns <= lower
    if upper >= 0:
        keep &= columns - rows <= upper
    return Step(lambda x: np.where(keep, x, np.zeros((), dtype=x.dtype)), (site.ref("x"),))


def _whole(indices: Array) -> Array:
    return indices if indices.dtype.kind in "iu" else indices.astype(np.int64)


@operation("gather")
def build_gather(site: Site) -> Step:
    """The elements of x at `indices` along an axis; negative indices count from the end."""
    axis = site.axis(site.integer("axis", 0), len(site.shape("x")))
    if site.integer("batch_dims", 0):
        raise site.fail("batch_dims are not supported")
    shape, indices = site.shape("x"), site.shape("indices")
    site.expect_shape(shape[:axis] + indices + shape[axis + 1 :])
    return Step(
        lambda x, indices: np.take(x, _whole(indices), axis=axis), (site.ref("x"), site.ref("indices"))
    )


@operation("gather_along_axis")
def build_gather_along_axis(site: Site) -> Step:
    axis = site.axis(site.integer("axis", 0), len(site.shape("x")))
    return Step(
        lambda x, indices: np.take_along_axis(x, _whole(indices), axis=axis),
        (site.ref("x"), site.ref("indices")),
    )


@operation("gather_nd")
def build_gather_nd(site: Site) -> Step:
    """The slices of x that the rows of `indices` point at."""
    if site.integer("batch_dims", 0):
        raise site.fail("batch_dims are not supported")
    shape, indices = site.shape("x"), site.shape("indices")
    if not indices or indices[-1] > len(shape):
        raise site.fail(f"indices of shape {list(indices)} into {list(shape)}")
    site.expect_shape(indices[:-1] + shape[indices[-1] :])
    return Step(
        lambda x, indices: x[tuple(np.moveaxis(_whole(indices), -1, 0))],
        (site.ref("x"), site.ref("indices")),
    )


@operation("upsample_nearest_neighbor")
def build_upsample_nearest(site: Site) -> Step:
    """Each pixel of the last two axes repeated, by whole factors."""
    factors = [site.number(f"scale_factor_{side}", 1.0) for side in ("height", "width")]
    if any(factor != int(factor) or factor < 1 for factor in factors):
        raise site.fail(f"scale factors {factors}")
    rows, columns = (int(factor) for factor in factors)
    *outer, height, width = site.shape("x")
    shape = site.expect_shape((*outer, height * rows, width * columns))

    def upsample(x: Array) -> Array:
        wide = np.repeat(x, columns, axis=-1) if columns > 1 else x
        result = np.empty((*outer, height, rows, width * columns), dtype=x.dtype)
        result[...] = wide[..., None, :]
        return result.reshape(shape)

    return Step(upsample, (site.ref("x"),))
