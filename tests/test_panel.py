"""Panels of vectors: each word, compiled, against its NumPy double and against plain loops."""

from fractions import Fraction

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from mixtura.kernels.contest import contest
from mixtura.kernels.entering import enter
from mixtura.kernels.panel import (
    CIRCLE,
    Shape,
    circle,
    corner,
    deal,
    flip,
    less_squares,
    load_listed,
    load_panel,
    load_strip,
    outer,
    spread,
    spread_strip,
    store_panel,
    store_strip,
)
from mixtura.kernels.simd import load, store
from mixtura.kernels.turning import diagonals, turned
from tests.test_simd import double, needs_compiler, run

jit = numba.njit(error_model="numpy")  # not the kernels' own: see test_simd

SHAPE = Shape(2, 3)  # neither square nor of one vector
WIDE = Shape(2, 1, lanes=16)  # of float32 only
HALF_SQUARE = Shape(CIRCLE, 1)
SQUARE = Shape(8, 1)


def product_by(shape):
    @jit
    def product(a, b, out):
        """Add a'b to `out`, by panels."""
        for i in range(0, out.shape[0], shape.rows):
            for j in range(0, out.shape[1], shape.width):
                sums = load_panel(shape, out, i, j)
                for s in range(a.shape[0]):
                    sums = outer(a, s, i, load_strip(shape, b, s, j), sums)
                store_panel(shape, out, i, j, sums)

    return product


product, wide_product = product_by(SHAPE), product_by(WIDE)


@jit
def triangular(a, b, start, out):
    """Write a'b plus a start to `out`, where a is upper triangular."""
    for i in range(0, out.shape[0], SHAPE.rows):
        for j in range(0, out.shape[1], SHAPE.width):
            sums = spread(SHAPE, start, i)
            for s in range(i):
                sums = outer(a, s, i, load_strip(SHAPE, b, s, j), sums)
            store_panel(
                SHAPE, out, i, j, corner(SHAPE, np.ascontiguousarray(a[:, i : i + SHAPE.rows]), i, b, i, j, sums)
            )


@jit
def norm(a, out):
    left = spread_strip(SHAPE, 0.5)
    for i in range(0, a.shape[0], SHAPE.rows):
        left = less_squares(load_panel(SHAPE, a, i, 0), left)
    store_strip(out, 1, 0, left)


@jit
def symmetric(rows, out):
    sums = load_panel(HALF_SQUARE, out, 0, 0)
    for s in range(rows.shape[0]):
        sums = circle(load(rows, s, 0), sums)
    store_panel(HALF_SQUARE, out, 0, 0, sums)


@jit
def transpose(a, out):
    store_panel(SQUARE, out, 0, 0, flip(load_panel(SQUARE, a, 0, 0)))


@jit
def deal_rows(a, out):
    even, odd = deal(load(a, 0, 0), load(a, 1, 0))
    store(out, 0, 0, even)
    store(out, 1, 0, odd)


@jit
def enter_rows(a, i, out):
    store_panel(SQUARE, out, 0, 0, enter(a, i, 1, load(a, 0, 0), load(a, 1, 0)))


@jit
def by_list(a, listed, out):
    store_panel(SQUARE, out, 0, 0, load_listed(a, 2, listed, 1))


@jit
def by_diagonals(v, rows, out):
    store(out, 0, turned(load(v, 0), load_panel(SQUARE, rows, 0, 0)))


def matrices():
    rng = np.random.default_rng(0)
    return rng.standard_normal((5, 4)), rng.standard_normal((5, 48)), rng.standard_normal((4, 48))


def both(*functions):
    forms = {"compiled": functions, "double": [double(function) for function in functions]}
    cases = [pytest.param(function, id=form) for form in forms for function in forms[form]]
    return pytest.mark.parametrize("function", cases)


@both(product)
def test_product_of_matrices(function):
    a, b, out = matrices()
    expected = out + a.T @ b
    function(a, b, out)
    np.testing.assert_allclose(out, expected, rtol=1e-14, atol=1e-14)


@needs_compiler
def test_each_step_is_rounded_once_and_in_order():
    a, b, out = matrices()
    expected = out.copy()
    for s, i, j in np.ndindex(len(a), *out.shape):
        expected[i, j] = float(Fraction(a[s, i]) * Fraction(b[s, j]) + Fraction(expected[i, j]))
    product(a, b, out)
    assert np.array_equal(out, expected)


@both(triangular)
def test_product_with_a_triangular_matrix(function):
    rng = np.random.default_rng(1)
    a, b, start = rng.standard_normal((6, 6)), rng.standard_normal((6, 24)), rng.standard_normal(6)
    expected = np.triu(a).T @ b + start[:, None]
    a[np.tril_indices(6, -1)] = np.nan  # is never read
    out = np.empty((6, 24))
    function(a, b, start, out)
    np.testing.assert_allclose(out, expected, rtol=1e-13)


@both(norm)
def test_squares_are_taken_away(function):
    a, out = matrices()[2], np.zeros((2, 24))
    function(a, out)
    np.testing.assert_allclose(out[1], 0.5 - (a[:, :24] ** 2).sum(axis=0), rtol=1e-14)
    assert not out[0].any()


@both(symmetric)
def test_a_circle_has_all_products_of_two_lanes(function):
    rows, out = np.random.default_rng(2).standard_normal((6, 8)), np.ones((CIRCLE, 8))
    function(rows, out)
    expected = rows.T @ rows
    places = [(t, q) for t, q in np.ndindex(CIRCLE, 8) if t < 4 or q < 4]
    for t, q in places:
        assert out[t, q] == pytest.approx(1.0 + expected[q, (q + t) % 8], rel=1e-13)
    assert len(places) == len({frozenset((q, (q + t) % 8)) for t, q in places}) == 36  # each pair once


@both(enter_rows)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_enter_the_frame(function, dtype):
    a, out = np.random.default_rng(0).standard_normal((10, 9)).astype(dtype), np.empty((8, 8), dtype)
    for i in (0, 2, 5, 9):
        function(a, i, out)
        assert np.array_equal(out, (a[np.minimum(i + np.arange(8), 9), 1:] - a[0, :8]) * a[1, :8])


@needs_compiler
def test_rows_enter_by_vectors_of_their_numbers_only():
    a, out = np.ones((10, 9), np.float32), np.empty((8, 8))
    with pytest.raises(TypingError, match="enter wants"):
        numba.njit(lambda x, v, out: store_panel(SQUARE, out, 0, 0, enter(x, 0, 1, load(v, 0, 0), load(v, 1, 0))))(
            a, a.astype(np.float64), out
        )


@both(by_list)
def test_listed_rows(function):
    a, listed, out = (
        np.arange(80.0).reshape(10, 8),
        np.array([9.0, 7.0, 0.0, 3.0, 3.0, 1.0, 6.0, 2.0, 5.0]),
        np.empty((8, 8)),
    )
    function(a, listed, out)
    assert np.array_equal(out, a[2 + listed[1:].astype(int)])


@both(by_diagonals)
def test_a_product_by_diagonals(function):
    rng, out = np.random.default_rng(3), np.empty(8)
    v, matrix = rng.standard_normal(8), rng.standard_normal((8, 8))
    function(v, diagonals(matrix), out)
    np.testing.assert_allclose(out, v @ matrix, rtol=1e-13)


@both(transpose)
def test_flip(function):
    a, out = np.arange(64.0).reshape(8, 8), np.empty((8, 8))
    function(a, out)
    assert np.array_equal(out, a.T)


@both(deal_rows)
def test_deal(function):
    a, out = np.arange(16.0).reshape(2, 8), np.empty((2, 8))
    function(a, out)
    assert np.array_equal(out, a.reshape(8, 2).T)


@needs_compiler
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("spoil", [np.asfortranarray, np.float32])
def test_other_arrays_are_refused(which, spoil):
    arrays = list(matrices())
    arrays[which] = spoil(arrays[which])
    with pytest.raises(TypingError, match=r"C-contiguous array of floats|of the array's numbers|of its numbers"):
        product(*arrays)


@both(product, wide_product)
def test_product_of_matrices_of_float32(function):
    a, b, out = (array.astype(np.float32) for array in matrices())
    expected = out + a.T @ b
    function(a, b, out)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("product", [product, wide_product], ids=["eight", "sixteen"])
def test_each_step_of_float32_is_rounded_once(product):
    a, b, out = (array.astype(np.float32) for array in matrices())
    expected = out.copy()
    for s, i, j in np.ndindex(len(a), *out.shape):  # a product of two is exact in float64, a sum nearly
        expected[i, j] = np.float32(float(a[s, i]) * float(b[s, j]) + float(expected[i, j]))
    product(a, b, out)
    assert np.array_equal(out, expected)


@both(transpose)
def test_flip_of_float32(function):
    a, out = np.arange(64.0, dtype=np.float32).reshape(8, 8), np.empty((8, 8), np.float32)
    function(a, out)
    assert np.array_equal(out, a.T)


@needs_compiler
def test_a_vector_of_sixteen_wants_float32():
    with pytest.raises(TypingError, match="a vector of 16 wants float32"):
        wide_product(*matrices())


OBLONG = Shape(8, 1, lanes=16)


@jit
def flip_oblong(a):
    return flip(load_panel(OBLONG, a, 0, 0))


@needs_compiler
def test_a_vector_of_sixteen_is_not_flipped():
    with pytest.raises(TypingError, match="flip wants 8 rows of one vector"):
        flip_oblong(np.ones((8, 16), np.float32))


def race_by(candidates):
    places = Shape(3, candidates.vectors, candidates.lanes)

    @jit
    def race(scores, names, start, out):
        """Write the largest and the second largest score of each column, and whose the largest is."""
        for s in range(0, scores.shape[1], candidates.width):
            standing = spread(places, start, 0)
            for i in range(0, scores.shape[0], candidates.rows):
                standing = contest(load_panel(candidates, scores, i, s), names, i, standing)
            store_panel(places, out, 0, s, standing)

    return race


race, wide_race = race_by(Shape(2, 2)), race_by(Shape(2, 2, lanes=16))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@both(race)
def test_a_contest_has_a_first_and_a_second(function, dtype):
    check_contest(function, dtype)


@both(wide_race)
def test_a_contest_in_vectors_of_sixteen(function):
    check_contest(function, np.float32)


def check_contest(function, dtype):
    scores = np.random.default_rng(0).integers(0, 9, (6, 64)).astype(dtype)
    scores[:, 0] = -np.inf
    scores[:, 1] = np.nan
    scores[2, 3:9] = np.nan
    names, start, out = (
        10 + np.arange(6, dtype=dtype),
        np.array([-np.inf, -np.inf, -1], dtype),
        np.empty((3, 64), dtype),
    )
    function(scores, names, start, out)
    known = np.where(np.isnan(scores), -np.inf, scores)
    ordered = np.sort(known, axis=0)
    assert np.array_equal(out[0], ordered[-1])
    assert np.array_equal(out[1], ordered[-2])
    nobody = np.isneginf(ordered[-1])
    assert np.array_equal(out[2], np.where(nobody, -1, 10 + known.argmax(axis=0)))  # of equal ones the first
    assert nobody.sum() == 2


@needs_compiler
def test_a_contest_of_two_kinds_of_numbers_is_refused():
    scores, names = np.ones((2, 16)), np.arange(2.0)
    for spoil in range(3):
        arrays = [scores, names, np.zeros(3)]
        arrays[spoil] = arrays[spoil].astype(np.float32)
        with pytest.raises(TypingError, match="contest wants"):
            race(*arrays, np.empty((3, 16)))


@needs_compiler
def test_read_only_arrays_are_not_written_to():
    a, b, out = matrices()
    out.flags.writeable = False
    with pytest.raises(TypingError, match="writable"):
        product(a, b, out)


CHECKED = """
import numpy as np
from mixtura.kernels._jit import entry_jit
from mixtura.kernels.panel import Shape, corner, load_panel, load_strip, outer, spread, store_panel, store_strip
S = Shape(2, 2)

@entry_jit
def read(a, i, j):
    store_panel(S, a, 0, 0, load_panel(S, a, i, j))

@entry_jit
def write(a, i, j):
    store_panel(S, a, i, j, load_panel(S, a, 0, 0))

@entry_jit
def strip(a, i, j):
    store_strip(a, i, j, load_strip(S, a, i, j))

@entry_jit
def multiply(a, i, j):
    store_panel(S, a, 0, 0, outer(a, i, j, load_strip(S, a, 0, 0), load_panel(S, a, 0, 0)))

@entry_jit
def fan(a, i, j):
    store_panel(S, a, 0, 0, spread(S, a[i], j))

@entry_jit
def bend(a, i, j):
    store_panel(S, a, 0, 0, corner(S, a, i, a, i, j, load_panel(S, a, 0, 0)))

a = np.ones((4, 20))
for f, i, j in [(read, 2, 4), (write, 2, 4), (strip, 3, 4), (multiply, 3, 18), (fan, 3, 18), (bend, 2, 4)]:
    f(a, i, j)
for f, i, j in [(read, 3, 0), (read, 0, 5), (write, 3, 0), (write, 0, -1), (strip, 4, 0), (strip, 0, 5),
                (multiply, 4, 0), (multiply, 0, 19), (fan, 0, 19), (fan, 0, -1), (bend, 3, 0), (bend, 0, 5)]:
    try:
        f(a, i, j)
    except IndexError as error:
        print("refused")
"""


def test_compiled_code_checks_bounds_when_asked():
    assert run(CHECKED, MIXTURA_CHECK_BOUNDS="1") == ["refused"] * 12


PANELS_HERE = """
import numpy as np
from mixtura.grid import Chunk
from mixtura.kernels import panel, gaussian_full, gaussian_narrow, gaussian_tied
rng = np.random.default_rng(0)
k = 3
print(panel.ACCUMULATORS)
for kernel, d in (gaussian_full, 21), (gaussian_narrow, 11), (gaussian_tied, 11):
    factors = np.tril(rng.standard_normal((k, d, d)))
    factors = factors[0] if kernel is gaussian_tied else factors
    density = np.zeros(d), np.ones(d), rng.standard_normal((k, d)), factors, np.zeros(k)
    for node, sums in kernel.e_blocks(Chunk(rng.standard_normal((3000, d))), np.zeros((k, d)), np.zeros(k), *density):
        print(sums.tobytes().hex())
"""


@pytest.mark.slow  # it compiles three kernels for another processor
@needs_compiler
def test_registers_change_no_bit(tmp_path):
    """The same sums for panels of four vectors and of eight: as on a processor without 512-bit registers, and with."""
    from numba.core.registry import cpu_target

    features = cpu_target.target_context.codegen().magic_tuple()[2]
    if "+avx512f" not in features:
        pytest.skip("this processor has no 512-bit registers")
    wide = ("+avx512", "+avx10")
    narrow = ",".join(f"-{f[1:]}" if f.startswith(wide) else f for f in features.split(","))
    here = run(PANELS_HERE)
    there = run(PANELS_HERE, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=narrow, NUMBA_CACHE_DIR=str(tmp_path))
    assert (here[0], there[0]) == ("8", "4")
    assert here[1:] == there[1:]
