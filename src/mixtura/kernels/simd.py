"""Vectors of eight float64 for Numba: the words in which the kernels are written.

A kernel written in these words says which values lie side by side; nothing is left to the auto-vectorizer.
LLVM splits the eight lanes into what the processor has: two AVX2 registers, one of AVX-512, four of NEON.

=============================  =============================================================================
``load(a, i)`` ``(a, i, j)``   eight values of a row, from ``a[i]``, ``a[i, j]`` or ``a[i, j, k]`` on
``store(a, i, v)``             the same way back; also ``store(a, i, j, v)`` and ``store(a, i, j, k, v)``
``load_across(a, i)``          eight values from ``a[i, 0]`` on, where a row is shorter also of the rows after it
``splat(x)``                   the number x in every lane
``v + w`` ``-`` ``*`` ``/``    lane by lane, and ``-v``; both sides are vectors: write ``splat(2.0) * v``
``narrow(v)`` ``widen(v)``     the same numbers as float32, as float64
``fma(a, b, c)``               a * b + c, rounded once
``fnma(a, b, c)``              c - a * b, rounded once
``vmax(a, b)`` ``vmin(a, b)``  the larger, the smaller; b where either is NaN
``vsqrt(v)``                   square root, correctly rounded
``exp2(v)``                    within 1.5 ulp for -1022 <= v <= 1023; 0 below, also at -inf; NaN for NaN
``exp2_above_faint(v)``        the same for v >= -480; 0 below, whose squares are slow to work with
``log(v)``                     within 1 ulp for v > 0, even subnormal; -inf at 0, NaN below
``hsum(v)`` ``hmax(v)``        sum and largest of the lanes, by halves: ((0+4) + (2+6)) + ((1+5) + (3+7))
``lane(v, q)``                 the number in lane q
``first(n)``                   1.0 in the first n lanes, 0.0 in the others: the mask of a tail
``select(mask, a, b)``         a where the mask is not 0.0, else b
``prefetch(a, i, j)``          asks for the cache line of ``a[i, j]``, which may lie outside: nothing happens then
``imin(a, b)`` ``imax(a, b)``  the smaller and the larger of two integers
``whole(x)``                   a number without its fraction, as an integer
``bits_above(a, b)``           an integer whose bit q tells whether a > b in lane q, or either is NaN
``count_bits(n)``              how many bits of an integer are set
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
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import lower_builtin

from mixtura.kernels._exp_log import exp2, exp2_above_faint, log
from mixtura.kernels._memory import load, load_across, prefetch, store
from mixtura.kernels._vec8 import (
    I32,
    I64,
    IVEC,
    LANES,
    VEC,
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
    typing_rule,
    vec8,
)

__all__ = [
    "LANES",
    "Vector",
    "bits_above",
    "count_bits",
    "exp2",
    "exp2_above_faint",
    "first",
    "fma",
    "fnma",
    "has_fma",
    "hmax",
    "hsum",
    "imax",
    "imin",
    "lane",
    "load",
    "load_across",
    "log",
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
    "whole",
    "widen",
]

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


def count_bits(n: int) -> int:
    """Return how many bits of an integer are set."""
    return int(n).bit_count()


@compiled(count_bits, types.intp, types.intp)
def _emit_count_bits(builder: Any, n: Code) -> Code:
    return builder.ctpop(n)


# -------------------------------------------------------------------------------- numbers
# Python's own words for these are, to Numba, functions of any number of any kind, compiled anew for each of these.


def imin(a: int, b: int) -> int:
    """Return the smaller of two integers."""
    return min(a, b)


compiled(imin, types.intp, types.intp, types.intp)(
    lambda builder, a, b: builder.select(builder.icmp_signed("<", a, b), a, b)
)


def imax(a: int, b: int) -> int:
    """Return the larger of two integers."""
    return max(a, b)


compiled(imax, types.intp, types.intp, types.intp)(
    lambda builder, a, b: builder.select(builder.icmp_signed(">", a, b), a, b)
)


def whole(x: float) -> int:
    """Return a number without its fraction, as an integer."""
    return int(x)


compiled(whole, types.intp, types.float64)(lambda builder, x: builder.fptosi(x, I64))
