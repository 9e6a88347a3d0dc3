"""The words of ``simd`` that reach into memory, and the addresses by which those of panels do."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import NumbaTypeError
from numba.core.typing.templates import signature
from numba.extending import lower_builtin
from numpy.typing import NDArray

from mixtura.kernels._jit import CHECK_BOUNDS
from mixtura.kernels._vec8 import I32, I64, LANES, VECTORS, Code, Vector, lanes, single8, typing_rule, vec8

Array: TypeAlias = NDArray[np.float64]

WORD = 4  # bytes: where a row starts, at least
OUTSIDE = f"a vector of {LANES} values reaches outside its array"


def load(a: Array, *index: int) -> Vector:
    """Return eight values of a row of a, from the index on."""
    return lanes(window(a, index))


def store(a: Array, *index_and_vector: Any) -> None:
    """Write a vector, the last argument, to a row of a from the index on."""
    *index, v = index_and_vector
    place = window(a, tuple(index))
    if np.shape(v) != (LANES,) or v.dtype != a.dtype:
        raise TypeError(f"store wants a vector of the array's numbers as its last argument, not {v!r}")
    place[:] = v


def window(a: Array, index: tuple[int, ...], count: int = LANES) -> Array:
    """Return a view of as many values as a vector has, after the checks that the compiler makes."""
    if not (a.dtype in (np.float64, np.float32) and a.flags.c_contiguous and a.flags.aligned and a.ndim == len(index)):
        raise TypeError(_refusal(f"{a.dtype} of shape {a.shape}, strides {a.strides}", index))
    *row, start = index
    inside = all(0 <= i < n for i, n in zip(row, a.shape, strict=False))
    if not (inside and 0 <= start <= a.shape[-1] - count):
        raise IndexError(f"{OUTSIDE}: index {index}, shape {a.shape}")
    values: Array = a[tuple(row)][start : start + count]
    return values


def _refusal(array: Any, index: tuple[Any, ...]) -> str:
    return f"load and store want a C-contiguous array of floats and an index an axis, not {array} at {index}"


def typed_index(a: Any, index: tuple[Any, ...]) -> list[Any]:
    """Return the types to which indices are converted, or refuse the array."""
    plain = isinstance(a, types.Array) and a.dtype in VECTORS and a.layout == "C" and a.aligned
    if not (plain and a.ndim == len(index) and all(isinstance(i, types.Integer) for i in index)):
        raise NumbaTypeError(_refusal(a, index))
    return [types.intp] * a.ndim


def load_across(a: Array, i: int) -> Vector:
    """Return eight values of a from the start of the i-th row on, which may go on in the rows after it."""
    if a.ndim != 2:
        raise TypeError(_refusal(f"{a.dtype} of shape {a.shape}", (i, 0)))
    return lanes(window(a.reshape(-1), (i * a.shape[1],)))


@typing_rule(load)
def _type_load(a: Any, *index: Any) -> Any:
    converted = typed_index(a, index)
    return signature(VECTORS[a.dtype], a, *converted)


@typing_rule(store)
def _type_store(a: Any, *index_and_vector: Any) -> Any:
    *index, v = index_and_vector
    converted = typed_index(a, tuple(index))
    if not a.mutable:
        raise NumbaTypeError(f"store wants a writable array, not {a}")
    if v != VECTORS[a.dtype]:
        raise NumbaTypeError(f"store wants a vector of the array's numbers as its last argument, not {v}")
    return signature(types.void, a, *converted, v)


def address(
    context: Any, builder: Any, array_type: Any, array: Code, index: tuple[Code, ...], widths: Sequence[int]
) -> Code:
    """Return the address of an element of a C-contiguous array, by Horner's rule over the shape.

    As many elements as `widths` tells along each axis will be touched; they are checked if checks were asked for.
    """
    start, shape = start_and_shape(context, builder, array_type, array)
    if CHECK_BOUNDS:
        _check(context, builder, index, shape, widths)
    offset = index[0]
    for i, n in zip(index[1:], shape[1:], strict=True):
        offset = builder.add(builder.mul(offset, n, flags=["nsw"]), i, flags=["nsw"])
    return builder.gep(start, [offset], inbounds=True, source_etype=VECTORS[array_type.dtype].code.element)


def start_and_shape(context: Any, builder: Any, array_type: Any, array: Code) -> tuple[Code, list[Code]]:
    """Return the address of the first element of an array, and the array's shape."""
    model = context.data_model_manager[array_type]
    shape = cgutils.unpack_tuple(builder, model.get(builder, array, "shape"), array_type.ndim)
    return model.get(builder, array, "data"), shape


@typing_rule(load_across)
def _type_load_across(a: Any, i: Any) -> Any:
    return signature(VECTORS[a.dtype], a, *typed_index(a, (i, i))[:1])


@lower_builtin(load_across, types.Array, types.intp)
def _emit_load_across(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    array_type, vector = sig.args[0], VECTORS[sig.args[0].dtype].code
    data, (rows, columns) = start_and_shape(context, builder, array_type, values[0])
    first = builder.mul(values[1], columns, flags=["nsw"])
    if CHECK_BOUNDS:
        _check(context, builder, (first,), [builder.mul(rows, columns)], [LANES])
    start = builder.gep(data, [first], inbounds=True, source_etype=vector.element)
    return builder.load(builder.bitcast(start, vector.as_pointer()), align=WORD, typ=vector)


def _vector_address(context: Any, builder: Any, array_type: Any, array: Code, index: tuple[Code, ...]) -> Code:
    widths = [1] * (len(index) - 1) + [LANES]
    vector = VECTORS[array_type.dtype].code
    return builder.bitcast(address(context, builder, array_type, array, index, widths), vector.as_pointer())


def _check(context: Any, builder: Any, index: tuple[Code, ...], shape: list[Code], widths: Sequence[int]) -> None:
    for i, n, width in zip(index, shape, widths, strict=True):
        last = builder.sub(n, I64(width))
        outside = builder.or_(builder.icmp_signed("<", i, I64(0)), builder.icmp_signed(">", i, last))
        with cgutils.if_unlikely(builder, outside):
            context.call_conv.return_user_exc(builder, IndexError, (OUTSIDE,))


def _emit_load(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    start = _vector_address(context, builder, sig.args[0], values[0], values[1:])
    return builder.load(start, align=WORD, typ=VECTORS[sig.args[0].dtype].code)


def _emit_store(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    start = _vector_address(context, builder, sig.args[0], values[0], values[1:-1])
    builder.store(values[-1], start, align=WORD)
    return context.get_dummy_value()


for _index in ([types.intp], [types.intp] * 2, [types.intp] * 3):
    lower_builtin(load, types.Array, *_index)(_emit_load)
    lower_builtin(store, types.Array, *_index, vec8)(_emit_store)
    lower_builtin(store, types.Array, *_index, single8)(_emit_store)


def prefetch(a: Array, i: int, j: int) -> None:
    """Ask for the cache line of ``a[i, j]``: a hint to the memory, which may also point outside the array."""


@typing_rule(prefetch)
def _type_prefetch(a: Any, i: Any, j: Any) -> Any:
    return signature(types.void, a, *typed_index(a, (i, j)))


@lower_builtin(prefetch, types.Array, types.intp, types.intp)
def _emit_prefetch(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    array, i, j = values
    start, (_, columns) = start_and_shape(context, builder, sig.args[0], array)
    element = VECTORS[sig.args[0].dtype].code.element
    place = builder.gep(start, [builder.add(builder.mul(i, columns), j)], source_etype=element)
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
    hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(hint, [builder.bitcast(place, byte), I32(0), I32(READ_TO_L2), I32(1)])
    return context.get_dummy_value()


READ_TO_L2 = 2  # LLVM's degree of locality: kept in L2
