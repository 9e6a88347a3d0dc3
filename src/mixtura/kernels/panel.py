"""Panels: as many vectors as the registers hold as accumulators, the heart of a product of matrices.

A panel is a tuple of vectors of `simd`, as many as its `Shape` says, row after row; a *strip* is one
row of it, ``shape.width`` values that lie side by side in memory. Panels of float32 may be made of vectors of sixteen,
for which ``spread``, ``load_*``, ``store_*``, ``outer`` and ``contest`` serve. One step of a product is then one word,
and reads every coefficient once:

=====================================  =====================================================================
``spread(shape, a, i)``                row p is ``a[i + p]`` in every lane
``spread_strip(shape, x)``             a strip with the number x in every lane
``load_strip(shape, a, i, j)``         a strip from ``a[i, j]`` on
``store_strip(a, i, j, strip)``        the same way back
``load_panel(shape, a, i, j)``         row p is the strip from ``a[i + p, j]`` on
``store_panel(shape, a, i, j, rows)``  the same way back
``load_listed(a, i, listed, c)``       eight rows of one vector: row p is that from ``a[i + listed[c + p], 0]`` on
``outer(a, s, i, strip, rows)``        row p is ``rows[p] + a[s, i + p] * strip``, each rounded once
``corner(shape, a, s, b, i, j, rows)`` ``outer`` for rows s, s + 1, ... of a and the strips of rows i, i + 1, ... of b,
                                       where this part of a is upper triangular: zeros below cost nothing
``less_squares(rows, strip)``          ``strip`` less the square of row 0, then of row 1, ..., each rounded once
``circle(v, rows)``                    row t is ``rows[t] + v * w``, w being v rotated by t lanes: with t = 0 to 4 all
                                       products of two lanes of v, hence one half of a symmetric matrix; of the last row
                                       this holds for the first half, and the second may be anything
``flip(rows)``                         the transpose of eight rows of one vector
``deal(v, w)``                         lanes 0, 2, 4, 6 of v and of w, and the others: the columns of eight rows of two
=====================================  =====================================================================

How many rows there are depends on the processor; in which order the products of one sum are added does not, and so
no bit of a result does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.errors import NumbaTypeError
from numba.core.typing.templates import signature
from numba.extending import lower_builtin

from mixtura.kernels import simd
from mixtura.kernels._memory import WORD, Array, typed_index, window
from mixtura.kernels._shape import (
    ACCUMULATORS,
    CIRCLE,
    FILLED,
    Panel,
    Shape,
    ShapeType,
    is_panel,
    is_panel_of,
    numbers_of,
    pack_panel,
    places_of,
    unpack_panel,
)
from mixtura.kernels._vec8 import (
    I32,
    I64,
    LANES,
    VECTORS,
    WIDE,
    Code,
    Vector,
    emit_fma,
    emit_splat,
    lanes,
    typing_rule,
    vec8,
)

__all__ = [
    "ACCUMULATORS",
    "CIRCLE",
    "FILLED",
    "Shape",
    "circle",
    "corner",
    "deal",
    "flip",
    "less_squares",
    "load_listed",
    "load_panel",
    "load_strip",
    "outer",
    "spread",
    "spread_strip",
    "store_panel",
    "store_strip",
]

# -------------------------------------------------------------------------------- memory


def spread(shape: Shape, a: Array, i: int) -> Panel:
    """Return the numbers from ``a[i]`` on, each in every lane of a row."""
    return tuple(_full(shape, a[i + p]) for p in range(shape.rows) for _ in range(shape.vectors))


def _full(shape: Shape, x: float) -> Vector:
    return lanes(np.full(shape.lanes, x))


@typing_rule(spread)
def _type_spread(shape: Any, a: Any, i: Any) -> Any:
    index = typed_index(a, (i,))
    return signature(_panel_type(shape.shape, a), shape, a, *index)


def _panel_type(shape: Shape, array_type: Any) -> Any:
    return types.UniTuple(shape.vector(array_type), shape.rows * shape.vectors)


@lower_builtin(spread, ShapeType, types.Array, types.intp)
def _emit_spread(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    shape = sig.args[0].shape
    numbers = numbers_of(context, builder, sig.args[1], values[1], [values[2]], shape.rows)
    rows = (emit_splat(builder, number, shape.lanes) for number in numbers)
    return pack_panel(builder, (row for row in rows for _ in range(shape.vectors)))


def spread_strip(shape: Shape, x: float) -> Panel:
    """Return a strip with a number in every lane."""
    return (simd.splat(x),) * shape.vectors


@typing_rule(spread_strip)
def _type_spread_strip(shape: Any, x: Any) -> Any:
    return signature(types.UniTuple(vec8, shape.shape.vectors), shape, types.float64)


@lower_builtin(spread_strip, ShapeType, types.float64)
def _emit_spread_strip(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    return pack_panel(builder, [emit_splat(builder, values[1])] * sig.args[0].shape.vectors)


def load_panel(shape: Shape, a: Array, i: int, j: int) -> Panel:
    """Return a strip of each of the rows from the i-th on, from column j on."""
    return tuple(v for p in range(shape.rows) for v in load_strip(shape, a, i + p, j))


@typing_rule(load_panel)
def _type_load_panel(shape: Any, a: Any, i: Any, j: Any) -> Any:
    index = typed_index(a, (i, j))
    return signature(_panel_type(shape.shape, a), shape, a, *index)


@lower_builtin(load_panel, ShapeType, types.Array, types.intp, types.intp)
def _emit_load_panel(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    places = places_of(context, builder, sig.args[1], values[1:], sig.args[0].shape)
    return pack_panel(builder, (builder.load(place, align=WORD, typ=place.type.pointee) for place in places))


def load_listed(a: Array, i: int, listed: Array, c: int) -> Panel:
    """Return the first vectors of the rows whose numbers are i plus each of eight that are listed from the c-th on."""
    return tuple(simd.load(a, i + int(number), 0) for number in window(listed, (c,)))


@typing_rule(load_listed)
def _type_load_listed(a: Any, i: Any, listed: Any, c: Any) -> Any:
    row, place = typed_index(a, (i, i))[:1], typed_index(listed, (c,))
    return signature(types.UniTuple(VECTORS[a.dtype], LANES), a, *row, listed, *place)


@lower_builtin(load_listed, types.Array, types.intp, types.Array, types.intp)
def _emit_load_listed(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    array, i, listed, c = values
    numbers = numbers_of(context, builder, sig.args[2], listed, [c], LANES)
    rows = (builder.add(i, builder.fptosi(number, I64), flags=["nsw"]) for number in numbers)
    places = (places_of(context, builder, sig.args[0], (array, row, I64(0)), Shape(1, 1))[0] for row in rows)
    return pack_panel(builder, (builder.load(place, align=WORD, typ=place.type.pointee) for place in places))


def load_strip(shape: Shape, a: Array, i: int, j: int) -> Panel:
    """Return the strip of row i from column j on."""
    width = shape.lanes
    return tuple(lanes(window(a, (i, j + width * q), width)) for q in range(shape.vectors))


@typing_rule(load_strip)
def _type_load_strip(shape: Any, a: Any, i: Any, j: Any) -> Any:
    index = typed_index(a, (i, j))
    return signature(_panel_type(_row(shape.shape), a), shape, a, *index)


def _row(shape: Shape) -> Shape:
    return replace(shape, rows=1)


@lower_builtin(load_strip, ShapeType, types.Array, types.intp, types.intp)
def _emit_load_strip(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    places = places_of(context, builder, sig.args[1], values[1:], _row(sig.args[0].shape))
    return pack_panel(builder, (builder.load(place, align=WORD, typ=place.type.pointee) for place in places))


def store_panel(shape: Shape, a: Array, i: int, j: int, rows: Panel) -> None:
    """Write the rows of a panel to the rows of a from the i-th on, from column j on."""
    for p in range(shape.rows):
        store_strip(a, i + p, j, rows[p * shape.vectors : (p + 1) * shape.vectors])


def _writable(a: Any, rows: Any, what: str) -> None:
    if not a.mutable or not is_panel_of(a, rows):
        raise NumbaTypeError(f"{what} wants a writable array and a panel of its numbers, not {a} and {rows}")


@typing_rule(store_panel)
def _type_store_panel(shape: Any, a: Any, i: Any, j: Any, rows: Any) -> Any:
    index = typed_index(a, (i, j))
    _writable(a, rows, "store_panel")
    return signature(types.void, shape, a, *index, rows)


@lower_builtin(store_panel, ShapeType, types.Array, types.intp, types.intp, types.UniTuple)
def _emit_store_panel(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    places = places_of(context, builder, sig.args[1], values[1:4], sig.args[0].shape)
    for place, row in zip(places, unpack_panel(builder, values[4]), strict=True):
        builder.store(row, place, align=WORD)
    return context.get_dummy_value()


def store_strip(a: Array, i: int, j: int, strip: Panel) -> None:
    """Write a strip to row i of a, from column j on."""
    for q, v in enumerate(strip):
        window(a, (i, j + len(v) * q), len(v))[:] = v


@typing_rule(store_strip)
def _type_store_strip(a: Any, i: Any, j: Any, strip: Any) -> Any:
    index = typed_index(a, (i, j))
    _writable(a, strip, "store_strip")
    return signature(types.void, a, *index, strip)


@lower_builtin(store_strip, types.Array, types.intp, types.intp, types.UniTuple)
def _emit_store_strip(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    shape = Shape(1, sig.args[3].count, sig.args[3].dtype.code.count)
    places = places_of(context, builder, sig.args[0], values[:3], shape)
    for place, v in zip(places, unpack_panel(builder, values[3]), strict=True):
        builder.store(v, place, align=WORD)
    return context.get_dummy_value()


# -------------------------------------------------------------------------------- products


def outer(a: Array, s: int, i: int, strip: Panel, rows: Panel) -> Panel:
    """Return the rows, each plus its number in row s of a, from column i on, times the strip."""
    v = len(strip)
    return tuple(simd.fma(a[s, i + p // v], strip[p % v], row) for p, row in enumerate(rows))


@typing_rule(outer)
def _type_outer(a: Any, s: Any, i: Any, strip: Any, rows: Any) -> Any:
    index = typed_index(a, (s, i))
    if not (is_panel_of(a, strip) and is_panel(rows) and strip.dtype == rows.dtype):
        raise NumbaTypeError(f"outer wants a strip and a panel of the array's numbers, not {a}, {strip} and {rows}")
    return signature(rows, a, *index, strip, rows)


@lower_builtin(outer, types.Array, types.intp, types.intp, types.UniTuple, types.UniTuple)
def _emit_outer(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    array, s, i, strip, rows = values
    vectors = unpack_panel(builder, strip)
    numbers = numbers_of(context, builder, sig.args[0], array, [s, i], sig.args[4].count // len(vectors))
    return pack_panel(builder, _multiply(builder, numbers, vectors, unpack_panel(builder, rows)))


def _multiply(builder: Any, numbers: list[Code], vectors: list[Code], rows: list[Code]) -> list[Code]:
    spreads = [emit_splat(builder, number, vectors[0].type.count) for number in numbers]
    pairs = ((number, v) for number in spreads for v in vectors)
    return [emit_fma(builder, number, v, row) for (number, v), row in zip(pairs, rows, strict=True)]


def corner(shape: Shape, a: Array, s: int, b: Array, i: int, j: int, rows: Panel) -> Panel:
    """Return the rows plus the products with a square of a, from row s on, of which only the upper triangle counts."""
    v = shape.vectors
    for t in range(shape.rows):
        strip = load_strip(shape, b, i + t, j)
        added = tuple(simd.fma(simd.splat(a[s + t, p // v]), strip[p % v], rows[p]) for p in range(t * v, len(rows)))
        rows = rows[: t * v] + added
    return rows


@typing_rule(corner)
def _type_corner(shape: Any, a: Any, s: Any, b: Any, i: Any, j: Any, rows: Any) -> Any:
    row, place = typed_index(a, (s, s))[:1], typed_index(b, (i, j))
    if not (is_panel(rows) and rows.dtype == VECTORS[a.dtype] == VECTORS[b.dtype]):
        raise NumbaTypeError(f"corner wants a panel of the arrays' numbers, not {a}, {b} and {rows}")
    return signature(rows, shape, a, *row, b, *place, rows)


@lower_builtin(corner, ShapeType, types.Array, types.intp, types.Array, types.intp, types.intp, types.UniTuple)
def _emit_corner(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    shape = sig.args[0].shape
    _, a, s, b, i, j, rows = values
    sums = unpack_panel(builder, rows)
    for t in range(shape.rows):
        index = (builder.add(i, I64(t), flags=["nsw"]), j)
        places = places_of(context, builder, sig.args[3], (b, *index), Shape(1, shape.vectors))
        vectors = [builder.load(place, align=WORD, typ=place.type.pointee) for place in places]
        row = [builder.add(s, I64(t), flags=["nsw"]), I64(t)]
        numbers = numbers_of(context, builder, sig.args[1], a, row, shape.rows - t)
        done = t * shape.vectors
        sums = sums[:done] + _multiply(builder, numbers, vectors, sums[done:])
    return pack_panel(builder, sums)


def less_squares(rows: Panel, strip: Panel) -> Panel:
    """Return the strip less the squares of the rows, one after another."""
    left = list(strip)
    for p, row in enumerate(rows):
        left[p % len(left)] = simd.fnma(row, row, left[p % len(left)])
    return tuple(left)


@typing_rule(less_squares)
def _type_less_squares(rows: Any, strip: Any) -> Any:
    return signature(strip, rows, strip)


@lower_builtin(less_squares, types.UniTuple, types.UniTuple)
def _emit_less_squares(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    rows, left = (unpack_panel(builder, value) for value in values)
    for p, row in enumerate(rows):
        left[p % len(left)] = emit_fma(builder, builder.fneg(row), row, left[p % len(left)])
    return pack_panel(builder, left)


def circle(v: Vector, rows: Panel) -> Panel:
    """Return row t plus v times v rotated by t lanes; lose the second half of the last row, which has no new pair."""
    added = tuple(simd.fma(v, lanes(np.roll(v, -t)), row) for t, row in enumerate(rows))
    added[-1][LANES // 2 :] = np.nan
    return added


@typing_rule(circle)
def _type_circle(v: Any, rows: Any) -> Any:
    return signature(types.UniTuple(vec8, CIRCLE), vec8, types.UniTuple(vec8, CIRCLE))


@lower_builtin(circle, vec8, types.UniTuple)
def _emit_circle(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    v, rows = values
    rows = unpack_panel(builder, rows)
    turned = (_shuffle(builder, v, v, [(q + t) % LANES for q in range(LANES)]) for t in range(CIRCLE))
    added = [emit_fma(builder, v, w, row) for w, row in zip(turned, rows, strict=True)]
    if not WIDE:  # a half that stays as it is takes no instruction, and no register from the others
        added[-1] = _shuffle(builder, added[-1], rows[-1], [*range(LANES // 2), *range(LANES + LANES // 2, 2 * LANES)])
    return pack_panel(builder, added)


def _shuffle(builder: Any, v: Code, w: Code, order: list[int]) -> Code:
    return builder.shuffle_vector(v, w, ir.Constant(ir.VectorType(I32, LANES), order))


def flip(rows: Panel) -> Panel:
    """Return the transpose of eight rows of one vector."""
    return tuple(lanes(column) for column in np.array(rows).T)


@typing_rule(flip)
def _type_flip(rows: Any) -> Any:
    if not (is_panel(rows) and rows.count == rows.dtype.code.count == LANES):
        raise NumbaTypeError(f"flip wants {LANES} rows of one vector, not {rows}")
    return signature(rows, rows)


@lower_builtin(flip, types.UniTuple)
def _emit_flip(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    rows = unpack_panel(builder, values[0])
    for half in (1, 2, 4):  # exchange the off-diagonal squares of this size, in all squares of twice the size
        lower = [q if not q & half else LANES + q - half for q in range(LANES)]
        upper = [q + half if not q & half else LANES + q for q in range(LANES)]
        pairs = [(p, p + half) for p in range(LANES) if not p & half]
        for p, q in pairs:
            rows[p], rows[q] = _shuffle(builder, rows[p], rows[q], lower), _shuffle(builder, rows[p], rows[q], upper)
    return pack_panel(builder, rows)


def deal(v: Vector, w: Vector) -> Panel:
    """Return the lanes of even numbers of two vectors, and those of odd ones."""
    both = np.concatenate([v, w])
    return lanes(both[0::2]), lanes(both[1::2])


@typing_rule(deal)
def _type_deal(v: Any, w: Any) -> Any:
    return signature(types.UniTuple(vec8, 2), vec8, vec8)


@lower_builtin(deal, vec8, vec8)
def _emit_deal(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    v, w = values
    return pack_panel(builder, (_shuffle(builder, v, w, [*range(odd, 2 * LANES, 2)]) for odd in (0, 1)))
