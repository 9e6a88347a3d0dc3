"""Rows of the data as they enter the frame: a word beside those of `panel`.

==================================  ================================================================================
``enter(x, i, j, shift, scale)``    eight rows of one vector: row p is ``(x[i + p] - shift) * scale``, from column j on;
                                    after the last row of x that one again
==================================  ================================================================================
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.core.errors import NumbaTypeError
from numba.core.typing.templates import signature
from numba.extending import lower_builtin

from mixtura.kernels import simd
from mixtura.kernels._memory import WORD, Array, start_and_shape, typed_index
from mixtura.kernels._shape import Panel, Shape, pack_panel, places_of
from mixtura.kernels._vec8 import I64, LANES, VECTORS, Code, Vector, VectorType, typing_rule


def enter(x: Array, i: int, j: int, shift: Vector, scale: Vector) -> Panel:
    """Return eight rows from the i-th on, from column j on, in the frame."""
    last = len(x) - 1
    return tuple((simd.load(x, min(i + p, last), j) - shift) * scale for p in range(LANES))


@typing_rule(enter)
def _type_enter(x: Any, i: Any, j: Any, shift: Any, scale: Any) -> Any:
    index, vector = typed_index(x, (i, j)), VECTORS[x.dtype]
    if not shift == scale == vector:
        raise NumbaTypeError(f"enter wants vectors of the array's numbers, not {shift} and {scale} for {x}")
    return signature(types.UniTuple(vector, LANES), x, *index, shift, scale)


@lower_builtin(enter, types.Array, types.intp, types.intp, VectorType, VectorType)
def _emit_enter(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    x, i, j, shift, scale = values
    last = builder.sub(start_and_shape(context, builder, sig.args[0], x)[1][0], I64(1))
    rows = []
    for p in range(LANES):
        row = builder.add(i, I64(p), flags=["nsw"])
        row = builder.select(builder.icmp_signed("<", row, last), row, last)
        (place,) = places_of(context, builder, sig.args[0], (x, row, j), Shape(1, 1))
        v = builder.load(place, align=WORD, typ=place.type.pointee)
        rows.append(builder.fmul(builder.fsub(v, shift), scale))
    return pack_panel(builder, rows)
