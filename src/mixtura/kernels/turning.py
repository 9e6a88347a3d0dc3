"""The product of a vector of eight and a matrix in registers, by its diagonals: vectors are rotated, which is one step.

``turned(v, rows)`` is a word like those of `simd`: the sum of ``rows[t]`` times v rotated by t lanes, which is v times
the matrix of which the panel `rows` holds the `diagonals`. To put a lane everywhere takes two steps for most of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import lower_builtin

from mixtura.kernels import simd
from mixtura.kernels._memory import Array
from mixtura.kernels._shape import Panel, unpack_panel
from mixtura.kernels._vec8 import I32, LANES, Code, Vector, emit_fma, lanes, typing_rule, vec8

SUMS = 4  # of two products each, which do not wait for one another


def turned(v: Vector, rows: Panel) -> Vector:
    """Return v times the matrix with these diagonals."""
    products = [lanes(np.roll(v, -t)) * row for t, row in enumerate(rows[:SUMS])]
    a, b, c, d = (simd.fma(lanes(np.roll(v, -t)), rows[t], product) for t, product in enumerate(products, start=SUMS))
    return (a + b) + (c + d)


@typing_rule(turned)
def _type_turned(v: Any, rows: Any) -> Any:
    return signature(vec8, vec8, types.UniTuple(vec8, LANES))


@lower_builtin(turned, vec8, types.UniTuple)
def _emit_turned(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    v, rows = values[0], unpack_panel(builder, values[1])
    turns = [_turn(builder, v, t) for t in range(LANES)]
    products = [builder.fmul(w, row) for w, row in zip(turns[:SUMS], rows[:SUMS], strict=True)]
    a, b, c, d = (emit_fma(builder, turns[t], rows[t], product) for t, product in enumerate(products, start=SUMS))
    return builder.fadd(builder.fadd(a, b), builder.fadd(c, d))


def _turn(builder: Any, v: Code, t: int) -> Code:
    order = [(q + t) % LANES for q in range(LANES)]
    return builder.shuffle_vector(v, v, ir.Constant(ir.VectorType(I32, LANES), order))


COLUMNS = np.arange(LANES)
TURNED = (COLUMNS + COLUMNS[:, None]) % LANES  # rows of the matrix


def diagonals(matrix: Array) -> Array:
    """Return the diagonals of a matrix of eight rows: row t has in column j what row j + t, modulo 8, of it has."""
    rows: Array = matrix[TURNED, COLUMNS]
    return rows
