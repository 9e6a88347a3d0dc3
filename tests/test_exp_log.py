"""The vector exponential and logarithm against higher precision, and where their coefficients come from."""

import math
from fractions import Fraction

import numba
import numpy as np
import pytest

from mixtura.kernels import _exp_log
from mixtura.kernels.simd import exp2, exp2_above_faint, load, log, store

# Not the kernels' own `jit`: a cached function would not see that a word's LLVM code was edited.
jit = numba.njit(error_model="numpy")

SIZE = 2_000 if numba.config.DISABLE_JIT else 200_000
needs_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="long double is no more precise than double here"
)


def double(function):
    """Return the same kernel uncompiled."""
    return getattr(function, "py_func", function)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@jit
def exp2_all(x, out):
    for i in range(0, x.size, 8):
        store(out, i, exp2(load(x, i)))


@jit
def exp2_above_faint_all(x, out):
    for i in range(0, x.size, 8):
        store(out, i, exp2_above_faint(load(x, i)))


@jit
def log_all(x, out):
    for i in range(0, x.size, 8):
        store(out, i, log(load(x, i)))


def apply(kernel, values):
    """Return the kernel's values, on an array padded to whole vectors."""
    padded = np.ones(-(-len(values) // 8) * 8)
    padded[: len(values)] = values
    out = np.empty_like(padded)
    kernel(padded, out)
    return out[: len(values)]


def ulps(values, exact):
    return float(np.max(np.abs(values - exact) / np.spacing(np.abs(exact.astype(float)))))


@needs_long_double
@pytest.mark.parametrize(("low", "high"), [(-1e-300, 0), (-1e-3, 1e-3), (-1, 0), (-40, 1), (-1022, 0), (0, 1023)])
def test_exp2_is_within_one_and_a_half_ulp(low, high, rng):
    x = np.append(rng.uniform(low, high, SIZE), [low, high])
    assert ulps(apply(exp2_all, x), np.exp2(x.astype(np.longdouble))) < 1.5


@pytest.mark.parametrize("n", [-1022, -1021, -537, -1, 0, 1, 52, 1023])
def test_exp2_of_an_integer_is_exact(n):
    assert apply(exp2_all, np.array([float(n)]))[0] == math.ldexp(1.0, n)


@needs_long_double
@pytest.mark.parametrize("decades", [1e-12, 1e-3, 0.2, 1.0, 20.0, 307.0])
def test_log_is_within_one_ulp(decades, rng):
    x = 10.0 ** rng.uniform(-decades, decades, SIZE)
    assert ulps(apply(log_all, x), np.log(x.astype(np.longdouble))) < 0.95


@needs_long_double
def test_log_of_a_subnormal_number_is_within_one_ulp(rng):
    x = np.append(rng.uniform(0.0, 2.0**-1022, 1000), [5e-324, 1e-323, 2.0**-1023, 2.0**-1022])
    assert ulps(apply(log_all, x), np.log(x.astype(np.longdouble))) < 0.95


@pytest.mark.parametrize("kernel", [exp2_all, double(exp2_all)], ids=["compiled", "double"])
def test_exp2_at_the_edges(kernel):
    pairs = [
        (0.0, 1.0), (-0.0, 1.0), (5e-324, 1.0), (-5e-324, 1.0), (-math.inf, 0.0), (-1.8e308, 0.0),
        (-1e18, 0.0), (-1e5, 0.0), (-1075.0, 0.0), (-1074.0, 0.0), (-1022.5, 0.0), (-1022.0000001, 0.0),
    ]  # fmt: skip
    x, expected = np.transpose(pairs)
    np.testing.assert_array_equal(apply(kernel, x), expected)
    np.testing.assert_array_equal(np.signbit(apply(kernel, x)), False)
    assert apply(kernel, np.array([-1022.0]))[0] > 0.0
    assert np.isnan(apply(kernel, np.full(8, np.nan))).all()


@pytest.mark.parametrize(
    ("kernel", "whole"),
    [(exp2_above_faint_all, exp2_all), (double(exp2_above_faint_all), double(exp2_all))],
    ids=["compiled", "double"],
)
def test_faint_powers_are_zero(kernel, whole, rng):
    x = np.concatenate([rng.uniform(-1100, 1023, SIZE), [-480.0, -480.0000001, -math.inf, math.nan]])
    expected = np.where(x < -480.0, 0.0, apply(whole, x))
    np.testing.assert_array_equal(apply(kernel, x), expected)


@pytest.mark.parametrize("kernel", [log_all, double(log_all)], ids=["compiled", "double"])
def test_log_at_the_edges(kernel):
    pairs = [(0.0, -math.inf), (-0.0, -math.inf), (math.inf, math.inf), (1.0, 0.0)]
    pairs += [(x, math.nan) for x in (-5e-324, -1.0, -1.8e308, -math.inf, math.nan, -math.nan)]
    x, expected = np.transpose(pairs)
    np.testing.assert_array_equal(apply(kernel, x), expected)


@pytest.mark.parametrize(("kernel", "low", "high"), [(exp2_all, -1000.0, 0.0), (log_all, 1e-300, 1e3)])
def test_exp2_and_log_agree_with_their_doubles(kernel, low, high, rng):
    x = rng.uniform(low, high, 800)
    np.testing.assert_allclose(apply(kernel, x), apply(double(kernel), x), rtol=4.5e-16, atol=0)


def interpolation(function, low, high, n):
    """Return the coefficients, lowest first, of the polynomial through n Chebyshev points."""
    middle, half = (low + high) / 2, (high - low) / 2
    x = [Fraction(middle + half * math.cos((2 * i + 1) * math.pi / (2 * n))) for i in range(n)]
    divided = [function(p) for p in x]
    for order in range(1, n):
        for i in range(n - 1, order - 1, -1):
            divided[i] = (divided[i] - divided[i - 1]) / (x[i] - x[i - order])
    polynomial = [Fraction(0)] * (n + 1)
    for point, difference in zip(reversed(x), reversed(divided), strict=True):  # multiply by (x - point), add
        shifted = [difference, *polynomial[:-1]]
        polynomial = [s - point * c for s, c in zip(shifted, polynomial, strict=True)]
    return [float(c) for c in polynomial[:n]]


def test_coefficients_are_those_of_the_stated_polynomials():
    ln2 = Fraction(round(2**140 * sum(Fraction(1, k * 2**k) for k in range(1, 140))), 2**140)
    found = interpolation(lambda r: sum((r * ln2) ** k / math.factorial(k) for k in range(30)), -0.5, 0.5, 12)
    assert found[0] == 1.0
    np.testing.assert_allclose(found[1:], _exp_log.EXP2_COEFFICIENTS, rtol=1e-15)
    top = ((math.sqrt(2.0) - 1.0) / (math.sqrt(2.0) + 1.0)) ** 2
    found = interpolation(lambda z: sum(Fraction(2, 2 * k + 3) * z**k for k in range(45)), 0.0, top, 7)
    np.testing.assert_allclose(found, _exp_log.LOG_COEFFICIENTS, rtol=1e-15)
