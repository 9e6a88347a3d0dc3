"""Vectors of eight float64 for Numba: the words in which the kernels are written.

A kernel written in these words says which values lie side by side; nothing is left to the auto-vectorizer.
LLVM splits the eight lanes into what the processor has: two AVX2 registers, one of AVX-512, four of NEON.

=============================  =============================================================================
``load(a, i)`` ``(a, i, j)``   eight values of a row, from ``a[i]``, ``a[i, j]`` or ``a[i, j, k]`` on
``store(a, i, v)``             the same way back; also ``store(a, i, j, v)`` and ``store(a, i, j, k, v)``
``splat(x)``                   the number x in every lane
``v + w`` ``-`` ``*`` ``/``    lane by lane, and ``-v``; both sides are vectors: write ``splat(2.0) * v``
``narrow(v)`` ``widen(v)``      the same numbers as float32, as float64
``fma(a, b, c)``               a * b + c, rounded once
``fnma(a, b, c)``              c - a * b, rounded once
``vmax(a, b)`` ``vmin(a, b)``  the larger, the smaller; b where either is NaN
``vsqrt(v)``                   square root, correctly rounded
``exp2(v)``                    within 1.5 ulp for -1022 <= v <= 1023; 0 below, also at -inf; NaN for NaN
``log(v)``                     within 1 ulp for v > 0, even subnormal; -inf at 0, NaN below
``hsum(v)`` ``hmax(v)``        sum and largest of the lanes, by halves: ((0+4) + (2+6)) + ((1+5) + (3+7))
``lane(v, q)``                 the number in lane q
``first(n)``                   1.0 in the first n lanes, 0.0 in the others: the mask of a tail
``select(mask, a, b)``         a where the mask is not 0.0, else b
``prefetch(a, i, j)``          asks for the cache line of ``a[i, j]``, which may lie outside: nothing happens then
``bits_above(a, b)``           an integer whose bit q tells whether a > b in lane q, or either is NaN
``lowest_bit(n)``              the number of the lowest bit of an integer that is not 0
=============================  =============================================================================

Each word is an ordinary function of NumPy arrays of eight float64, its *double*, followed by the LLVM code to
which Numba compiles a call of it. So a kernel runs with the same meaning under ``NUMBA_DISABLE_JIT=1``, for
coverage and debuggers; only ``fma``, ``exp2`` and ``log`` may differ there in the last bit. (NumPy warns there
where arithmetic makes a NaN; compiled code is silent.)

``load`` and ``store`` take C-contiguous arrays of floats only, which compilation checks; ``store`` wants a
writable one. What is loaded from float32 is a vector of float32, for ``store``, ``splat`` of a float32, ``+``, ``-``,
``*``, ``/``, ``fma`` and ``bits_above``; the two kinds do not mix. An index counts from the start, never from the end.
Bounds are checked by the doubles always, by compiled code if ``MIXTURA_CHECK_BOUNDS=1``.

Where there is no instruction for it, every ``fma`` is a call to libm, 40 times slower: ask ``has_fma()``.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import NumbaTypeError
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin
from numpy.typing import NDArray

from mixtura.kernels._exp_log import exp2, log
from mixtura.kernels._jit import CHECK_BOUNDS
from mixtura.kernels._vec8 import (
    I32,
    I64,
    IVEC,
    LANES,
    VEC,
    VECTORS,
    Code,
    Vector,
    compiled,
    const,
    emit_call,
    emit_fma,
    emit_splat,
    has_fma,
    lanes,
    single8,
    vec8,
)

__all__ = [
    "LANES",
    "Vector",
    "bits_above",
    "exp2",
    "first",
    "fma",
    "fnma",
    "has_fma",
    "hmax",
    "hsum",
    "lane",
    "load",
    "log",
    "lowest_bit",
    "narrow",
    "prefetch",
    "select",
    "single8",
    "splat",
    "store",
    "vec8",
    "vmax",
    "vmin",
    "vsqrt",
    "widen",
]

Array: TypeAlias = NDArray[np.float64]

# -------------------------------------------------------------------------------- memory

WORD = 4  # bytes: where a row starts, at least
OUTSIDE = f"a vector of {LANES} values reaches outside its array"


def load(a: Array, *index: int) -> Vector:
    """Return eight values of a row of a, from the index on."""
    return lanes(_window(a, index))


def store(a: Array, *index_and_vector: Any) -> None:
    """Write a vector, the last argument, to a row of a from the index on."""
    *index, v = index_and_vector
    window = _window(a, tuple(index))
    if np.shape(v) != (LANES,) or v.dtype != a.dtype:
        raise TypeError(f"store wants a vector of the array's numbers as its last argument, not {v!r}")
    window[:] = v


def _window(a: Array, index: tuple[int, ...]) -> Array:
    """Return a view of eight values, after the checks that the compiler makes."""
    if not (a.dtype in (np.float64, np.float32) and a.flags.c_contiguous and a.flags.aligned and a.ndim == len(index)):
        raise TypeError(_refusal(f"{a.dtype} of shape {a.shape}, strides {a.strides}", index))
    *row, start = index
    inside = all(0 <= i < n for i, n in zip(row, a.shape, strict=False))
    if not (inside and 0 <= start <= a.shape[-1] - LANES):
        raise IndexError(f"{OUTSIDE}: index {index}, shape {a.shape}")
    window: Array = a[tuple(row)][start : start + LANES]
    return window


def _refusal(array: Any, index: tuple[Any, ...]) -> str:
    return f"load and store want a C-contiguous array of floats and an index an axis, not {array} at {index}"


def typing_rule(word: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give Numba the decorated function to type a word by: it maps types of arguments to a signature."""

    def register(rule: Callable[..., Any]) -> Callable[..., Any]:
        def generic(template: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            return rule(*args)

        infer_global(word)(type(f"Type_{word.__name__}", (AbstractTemplate,), {"generic": generic}))
        return rule

    return register


def typed_index(a: Any, index: tuple[Any, ...]) -> list[Any]:
    """Return the types to which indices are converted, or refuse the array."""
    plain = isinstance(a, types.Array) and a.dtype in VECTORS and a.layout == "C" and a.aligned
    if not (plain and a.ndim == len(index) and all(isinstance(i, types.Integer) for i in index)):
        raise NumbaTypeError(_refusal(a, index))
    return [types.intp] * a.ndim


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
    fields = context.make_array(array_type)(context, builder, array)
    shape = cgutils.unpack_tuple(builder, fields.shape, array_type.ndim)
    if CHECK_BOUNDS:
        _check(context, builder, index, shape, widths)
    offset = index[0]
    for i, n in zip(index[1:], shape[1:], strict=True):
        offset = builder.add(builder.mul(offset, n, flags=["nsw"]), i, flags=["nsw"])
    return builder.gep(fields.data, [offset], inbounds=True, source_etype=VECTORS[array_type.dtype].code.element)


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
    fields = context.make_array(sig.args[0])(context, builder, array)
    columns = cgutils.unpack_tuple(builder, fields.shape, 2)[1]
    element = VECTORS[sig.args[0].dtype].code.element
    place = builder.gep(fields.data, [builder.add(builder.mul(i, columns), j)], source_etype=element)
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
    hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(hint, [builder.bitcast(place, byte), I32(0), I32(READ_TO_L2), I32(1)])
    return context.get_dummy_value()


READ_TO_L2 = 2  # LLVM's degree of locality: kept in L2


# -------------------------------------------------------------------------------- arithmetic

for _operators, _emit in (
    ((operator.add, operator.iadd), lambda builder, a, b: builder.fadd(a, b)),
    ((operator.sub, operator.isub), lambda builder, a, b: builder.fsub(a, b)),
    ((operator.mul, operator.imul), lambda builder, a, b: builder.fmul(a, b)),
    ((operator.truediv, operator.itruediv), lambda builder, a, b: builder.fdiv(a, b)),
):
    for _operator in _operators:
        compiled(_operator, vec8, vec8, vec8)(_emit)
        compiled(_operator, single8, single8, single8)(_emit)
compiled(operator.neg, vec8, vec8)(lambda builder, a: builder.fneg(a))


def splat(x: float | np.float32) -> Vector:
    """Return the number x in every lane."""
    return lanes(np.full(LANES, x))


@typing_rule(splat)
def _type_splat(x: Any) -> Any:
    return signature(single8, x) if x == types.float32 else signature(vec8, types.float64)


for _number in (types.float64, types.float32):
    lower_builtin(splat, _number)(lambda context, builder, sig, values: emit_splat(builder, *values))


def widen(v: Vector) -> Vector:
    """Return a vector as one of float64."""
    return lanes(np.asarray(v, dtype=np.float64))


compiled(widen, vec8, single8)(lambda builder, v: builder.fpext(v, VEC))
compiled(widen, vec8, vec8)(lambda builder, v: v)


def narrow(v: Vector) -> Vector:
    """Return a vector as one of float32."""
    with np.errstate(over="ignore"):
        return lanes(np.asarray(v, dtype=np.float32))


compiled(narrow, single8, vec8)(lambda builder, v: builder.fptrunc(v, single8.code))
compiled(narrow, single8, single8)(lambda builder, v: v)


def fma(a: Vector, b: Vector, c: Vector) -> Vector:
    """Return a * b + c, rounded once when compiled."""
    return a * b + c


compiled(fma, vec8, vec8, vec8, vec8)(emit_fma)
compiled(fma, single8, single8, single8, single8)(emit_fma)


def fnma(a: Vector, b: Vector, c: Vector) -> Vector:
    """Return c - a * b, rounded once when compiled."""
    return c - a * b


compiled(fnma, vec8, vec8, vec8, vec8)(lambda builder, a, b, c: emit_fma(builder, builder.fneg(a), b, c))


def vmax(a: Vector, b: Vector) -> Vector:
    """Return the larger of a and b lane by lane; b where either is NaN."""
    return lanes(np.where(a > b, a, b))


@compiled(vmax, vec8, vec8, vec8)
def _emit_vmax(builder: Any, a: Code, b: Code) -> Code:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)  # one instruction on x86


def vmin(a: Vector, b: Vector) -> Vector:
    """Return the smaller of a and b lane by lane; b where either is NaN."""
    return lanes(np.where(a < b, a, b))


compiled(vmin, vec8, vec8, vec8)(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))


def vsqrt(v: Vector) -> Vector:
    """Return the square root; NaN below 0."""
    with np.errstate(invalid="ignore"):
        return lanes(np.sqrt(v))


compiled(vsqrt, vec8, vec8)(lambda builder, v: emit_call(builder, "llvm.sqrt.v8f64", v))


# -------------------------------------------------------------------------------- across the lanes


def _fold(builder: Any, v: Code, combine: Callable[[Code, Code], Code]) -> Code:
    """Halve the vector with a combining operation until one number is left."""
    for half in (4, 2, 1):
        lower = ir.Constant(ir.VectorType(I32, half), list(range(half)))
        upper = ir.Constant(ir.VectorType(I32, half), list(range(half, 2 * half)))
        v = combine(builder.shuffle_vector(v, v, lower), builder.shuffle_vector(v, v, upper))
    return builder.extract_element(v, I32(0))


def hsum(v: Vector) -> float:
    """Return the sum of the eight lanes, always in the same order."""
    for half in (4, 2, 1):
        v = v[:half] + v[half:]
    total: float = v[0]
    return total


compiled(hsum, types.float64, vec8)(lambda builder, v: _fold(builder, v, builder.fadd))


def hmax(v: Vector) -> float:
    """Return the largest of the eight lanes; unspecified if one is NaN."""
    for half in (4, 2, 1):
        v = np.where(v[:half] > v[half:], v[:half], v[half:])
    largest: float = v[0]
    return largest


compiled(hmax, types.float64, vec8)(lambda builder, v: _fold(builder, v, functools.partial(_emit_vmax, builder)))


def lane(v: Vector, q: int) -> float:
    """Return the number in lane q, from 0 to 7."""
    if not 0 <= q < LANES:
        raise IndexError(f"lane {q} of a vector of {LANES}")
    number: float = v[q]
    return number


# A lane that does not exist has no value to LLVM: wrap it instead.
compiled(lane, types.float64, vec8, types.intp)(
    lambda builder, v, q: builder.extract_element(v, builder.and_(q, I64(LANES - 1)))
)


def first(n: int) -> Vector:
    """Return 1.0 in the first n lanes, 0.0 in the others."""
    return lanes(np.arange(LANES) < n)


@compiled(first, vec8, types.intp)
def _emit_first(builder: Any, n: Code) -> Code:
    below = builder.icmp_signed("<", ir.Constant(IVEC, list(range(LANES))), emit_splat(builder, n))
    return builder.uitofp(below, VEC)


def select(mask: Vector, a: Vector, b: Vector) -> Vector:
    """Return the lanes of a where the mask is not 0.0, those of b elsewhere."""
    return lanes(np.where(mask != 0.0, a, b))


compiled(select, vec8, vec8, vec8, vec8)(
    lambda builder, mask, a, b: builder.select(builder.fcmp_unordered("!=", mask, const(0.0)), a, b)
)


def bits_above(a: Vector, b: Vector) -> int:
    """Return an integer whose bit q tells whether a is above b in lane q, or either is NaN."""
    return sum(1 << q for q in range(LANES) if not a[q] <= b[q])


@compiled(bits_above, types.intp, single8, single8)
@compiled(bits_above, types.intp, vec8, vec8)
def _emit_bits_above(builder: Any, a: Code, b: Code) -> Code:
    above = builder.fcmp_unordered(">", a, b)
    return builder.zext(builder.bitcast(above, ir.IntType(LANES)), I64)


def lowest_bit(n: int) -> int:
    """Return the number of the lowest bit of an integer that is not 0."""
    return (n & -n).bit_length() - 1


@compiled(lowest_bit, types.intp, types.intp)
def _emit_lowest_bit(builder: Any, n: Code) -> Code:
    return builder.cttz(n, ir.IntType(1)(1))
