"""Panels: as many vectors as the registers hold as accumulators, the heart of a product of matrices.

A panel is a tuple of ``ROWS`` vectors of `simd`. One step of a product is then one word, and reads every
coefficient once:

=============================  =============================================================================
``spread(a, i)``               row p is ``a[i + p]`` in every lane
``load_panel(a, i, j)``        row p is eight values from ``a[i + p, j]`` on
``store_panel(a, i, j, rows)`` the same way back
``outer(a, s, i, v, rows)``    row p is ``rows[p] + a[s, i + p] * v``, each rounded once
``squares(rows, v)``           ``v`` plus the square of row 0, then of row 1, ..., each rounded once
=============================  =============================================================================

How many rows there are depends on the processor; in which order the products of one sum are added does not, and so
no bit of a result does.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import types
from numba.core.errors import NumbaTypeError
from numba.core.registry import cpu_target
from numba.core.typing.templates import signature
from numba.extending import lower_builtin

from mixtura.kernels import simd
from mixtura.kernels._vec8 import F64, I64, VEC, Code, compiled, emit_fma, emit_splat, vec8
from mixtura.kernels.simd import Array, Vector, address, typed_index, typing_rule

__all__ = ["ROWS", "load_panel", "outer", "spread", "squares", "store_panel"]

# Two instructions a cycle, four cycles long, want eight sums at a time. With 512-bit registers that is eight rows;
# with 256 bits a vector takes two of only 16 registers.
ROWS = 8 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 4

Panel: TypeAlias = tuple[Vector, ...]
panel = types.UniTuple(vec8, ROWS)


def _pack(builder: Any, rows: list[Code]) -> Code:
    packed = ir.Constant(ir.ArrayType(VEC, ROWS), ir.Undefined)
    for p, row in enumerate(rows):
        packed = builder.insert_value(packed, row, p)
    return packed


def _unpack(builder: Any, rows: Code) -> list[Code]:
    return [builder.extract_value(rows, p) for p in range(ROWS)]


def _numbers(context: Any, builder: Any, array_type: Any, array: Code, index: tuple[Code, ...]) -> list[Code]:
    """Load the `ROWS` numbers of a row of an array from the index on."""
    widths = [1] * (len(index) - 1) + [ROWS]
    start = address(context, builder, array_type, array, index, widths)
    return [
        builder.load(builder.gep(start, [I64(p)], inbounds=True, source_etype=F64), align=8, typ=F64)
        for p in range(ROWS)
    ]


# -------------------------------------------------------------------------------- memory


def spread(a: Array, i: int) -> Panel:
    """Return the numbers from ``a[i]`` on, each in every lane of a row."""
    return tuple(simd.splat(a[i + p]) for p in range(ROWS))


@typing_rule(spread)
def _type_spread(a: Any, i: Any) -> Any:
    return signature(panel, a, *typed_index(a, (i,)))


@lower_builtin(spread, types.Array, types.intp)
def _emit_spread(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    numbers = _numbers(context, builder, sig.args[0], values[0], values[1:])
    return _pack(builder, [emit_splat(builder, number) for number in numbers])


def load_panel(a: Array, i: int, j: int) -> Panel:
    """Return eight values of each of the rows from the i-th on, from column j on."""
    return tuple(simd.load(a, i + p, j) for p in range(ROWS))


@typing_rule(load_panel)
def _type_load(a: Any, i: Any, j: Any) -> Any:
    return signature(panel, a, *typed_index(a, (i, j)))


def _row_addresses(context: Any, builder: Any, array_type: Any, array: Code, i: Code, j: Code) -> list[Code]:
    starts = []
    for p in range(ROWS):
        row = builder.add(i, I64(p), flags=["nsw"])
        start = address(context, builder, array_type, array, (row, j), [1, simd.LANES])
        starts.append(builder.bitcast(start, VEC.as_pointer()))
    return starts


@lower_builtin(load_panel, types.Array, types.intp, types.intp)
def _emit_load(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    starts = _row_addresses(context, builder, sig.args[0], *values)
    return _pack(builder, [builder.load(start, align=8, typ=VEC) for start in starts])


def store_panel(a: Array, i: int, j: int, rows: Panel) -> None:
    """Write the rows of a panel to the rows of a from the i-th on, from column j on."""
    for p in range(ROWS):
        simd.store(a, i + p, j, rows[p])


@typing_rule(store_panel)
def _type_store(a: Any, i: Any, j: Any, rows: Any) -> Any:
    index = typed_index(a, (i, j))
    if not a.mutable or rows != panel:
        raise NumbaTypeError(f"store_panel wants a writable array and a panel, not {a} and {rows}")
    return signature(types.void, a, *index, panel)


@lower_builtin(store_panel, types.Array, types.intp, types.intp, panel)
def _emit_store(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    starts = _row_addresses(context, builder, sig.args[0], *values[:3])
    for start, row in zip(starts, _unpack(builder, values[3]), strict=True):
        builder.store(row, start, align=8)
    return context.get_dummy_value()


# -------------------------------------------------------------------------------- arithmetic


def outer(a: Array, s: int, i: int, v: Vector, rows: Panel) -> Panel:
    """Return the rows, each plus its number in row s of a, from column i on, times v."""
    return tuple(simd.fma(simd.splat(a[s, i + p]), v, rows[p]) for p in range(ROWS))


@typing_rule(outer)
def _type_outer(a: Any, s: Any, i: Any, v: Any, rows: Any) -> Any:
    index = typed_index(a, (s, i))
    if v != vec8 or rows != panel:
        raise NumbaTypeError(f"outer wants a vector and a panel, not {v} and {rows}")
    return signature(panel, a, *index, vec8, panel)


@lower_builtin(outer, types.Array, types.intp, types.intp, vec8, panel)
def _emit_outer(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    array, s, i, v, rows = values
    numbers = _numbers(context, builder, sig.args[0], array, (s, i))
    pairs = zip(numbers, _unpack(builder, rows), strict=True)
    return _pack(builder, [emit_fma(builder, emit_splat(builder, number), v, row) for number, row in pairs])


def squares(rows: Panel, v: Vector) -> Vector:
    """Return v plus the squares of the rows, added one after another."""
    for row in rows:
        v = simd.fma(row, row, v)
    return v


@compiled(squares, vec8, panel, vec8)
def _emit_squares(builder: Any, rows: Code, v: Code) -> Code:
    for row in _unpack(builder, rows):
        v = emit_fma(builder, row, row, v)
    return v
