"""The two largest of many scores, and whose the largest is: a word beside those of `panel`.

==========================================  ================================================================
``contest(rows, numbers, i, standing)``     ``standing`` after the candidates of the panel's rows, which are called
                                            ``numbers[i]``, ``numbers[i + 1]``, ...: three strips, of the largest score,
                                            the second largest, and the candidate of the largest
==========================================  ================================================================

Of equal scores the first wins; a NaN loses to everyone.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.core.errors import NumbaTypeError
from numba.core.typing.templates import signature
from numba.extending import lower_builtin

from mixtura.kernels import simd
from mixtura.kernels._memory import Array, typed_index
from mixtura.kernels._shape import Panel, is_panel, is_panel_of, numbers_of, pack_panel, unpack_panel
from mixtura.kernels._vec8 import Code, emit_splat, lanes, typing_rule

STANDING = 3  # strips: the largest, the second largest, the name of the largest


def contest(rows: Panel, numbers: Array, i: int, standing: Panel) -> Panel:
    """Return the standing after the candidates of the rows."""
    v = len(standing) // STANDING
    best, second, name = (list(standing[part * v : (part + 1) * v]) for part in range(STANDING))
    for p, score in enumerate(rows):
        q = p % v
        above = lanes(score > best[q])
        second[q] = simd.vmax(simd.vmin(best[q], score), second[q])
        name[q] = simd.select(above, numbers[i + p // v], name[q])
        best[q] = simd.vmax(score, best[q])
    return (*best, *second, *name)


@typing_rule(contest)
def _type_contest(rows: Any, numbers: Any, i: Any, standing: Any) -> Any:
    index = typed_index(numbers, (i,))
    alike = is_panel_of(numbers, rows) and is_panel(standing) and rows.dtype == standing.dtype
    if not alike or standing.count % STANDING:
        raise NumbaTypeError(
            f"contest wants a panel, its numbers and a standing of {STANDING} strips, not {rows}, {numbers}, {standing}"
        )
    return signature(standing, rows, numbers, *index, standing)


@lower_builtin(contest, types.UniTuple, types.Array, types.intp, types.UniTuple)
def _emit_contest(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    scores, standing = unpack_panel(builder, values[0]), unpack_panel(builder, values[3])
    v = len(standing) // STANDING
    best, second, name = (standing[part * v : (part + 1) * v] for part in range(STANDING))
    names = numbers_of(context, builder, sig.args[1], values[1], [values[2]], len(scores) // v)
    for p, score in enumerate(scores):
        q = p % v
        above = builder.fcmp_ordered(">", score, best[q])
        lower = builder.select(builder.fcmp_ordered("<", best[q], score), best[q], score)
        second[q] = builder.select(builder.fcmp_ordered(">", lower, second[q]), lower, second[q])
        name[q] = builder.select(above, emit_splat(builder, names[p // v], score.type.count), name[q])
        best[q] = builder.select(above, score, best[q])
    return pack_panel(builder, [*best, *second, *name])
