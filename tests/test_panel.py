"""Panels of vectors: each word, compiled, against its NumPy double and against plain loops."""

from fractions import Fraction

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from mixtura.kernels.panel import ROWS, load_panel, outer, spread, squares, store_panel
from mixtura.kernels.simd import load, splat, store
from tests.test_simd import double, needs_compiler, run

jit = numba.njit(error_model="numpy")  # not the kernels' own: see test_simd


@jit
def product(a, b, out):
    """Add a'b to `out`, by panels."""
    for i in range(0, out.shape[0], ROWS):
        for j in range(0, out.shape[1], 8):
            sums = load_panel(out, i, j)
            for s in range(a.shape[0]):
                sums = outer(a, s, i, load(b, s, j), sums)
            store_panel(out, i, j, sums)


@jit
def norm(start, steps, out):
    rows = spread(start, 1)
    store_panel(out, 0, 0, rows)
    store(steps, 0, squares(rows, splat(0.5)))


def matrices():
    rng = np.random.default_rng(0)
    return rng.standard_normal((5, 2 * ROWS)), rng.standard_normal((5, 24)), rng.standard_normal((2 * ROWS, 24))


@pytest.mark.parametrize("function", [product, double(product)])
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


@pytest.mark.parametrize("function", [norm, double(norm)])
def test_spread_and_squares(function):
    start = np.arange(ROWS + 2.0)
    steps, out = np.empty(8), np.empty((ROWS, 8))
    function(start, steps, out)
    assert np.array_equal(out, np.repeat(start[1 : ROWS + 1, None], 8, axis=1))
    assert np.array_equal(steps, np.full(8, 0.5 + (start[1 : ROWS + 1] ** 2).sum()))


@needs_compiler
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("spoil", [np.asfortranarray, np.float32])
def test_other_arrays_are_refused(which, spoil):
    arrays = list(matrices())
    arrays[which] = spoil(arrays[which])
    with pytest.raises(TypingError, match="C-contiguous float64"):
        product(*arrays)


@needs_compiler
def test_read_only_arrays_are_not_written_to():
    a, b, out = matrices()
    out.flags.writeable = False
    with pytest.raises(TypingError, match="writable"):
        product(a, b, out)


CHECKED = """
import numpy as np
from mixtura.kernels._jit import jit
from mixtura.kernels.panel import ROWS, load_panel, outer, spread, store_panel
from mixtura.kernels.simd import load, splat

@jit
def read(a, i, j):
    store_panel(a, 0, 0, load_panel(a, i, j))

@jit
def write(a, i, j):
    store_panel(a, i, j, load_panel(a, 0, 0))

@jit
def multiply(a, i, j):
    store_panel(a, 0, 0, outer(a, i, j, splat(1.0), load_panel(a, 0, 0)))

@jit
def fan(a, i, j):
    store_panel(a, 0, 0, spread(a[i], j))

a = np.ones((2 * ROWS, 16))
for f in (read, write): f(a, ROWS, 8)
for f in (multiply, fan): f(a, 2 * ROWS - 1, 16 - ROWS)
for f, i, j in [(read, ROWS + 1, 0), (read, 0, 9), (write, ROWS + 1, 0), (write, 0, -1),
                (multiply, 2 * ROWS, 0), (multiply, 0, 17 - ROWS), (fan, 0, 17 - ROWS), (fan, 0, -1)]:
    try:
        f(a, i, j)
    except IndexError as error:
        print("refused")
"""


def test_compiled_code_checks_bounds_when_asked():
    assert run(CHECKED, MIXTURA_CHECK_BOUNDS="1") == ["refused"] * 8


ROWS_HERE = """
import numpy as np
from mixtura.kernels import panel, gaussian_full, gaussian_tied
from mixtura.kernels.threads import using_threads
rng = np.random.default_rng(0)
d, k = 11, 3
x = rng.standard_normal((3000, d))
factors = np.tril(rng.standard_normal((k, d, d)))
arguments = x, None, np.zeros(d), np.ones(d), rng.standard_normal((k, d))
print(panel.ROWS)
for out in gaussian_full.e_blocks(*arguments, factors, np.zeros(k), np.zeros((k, d))):
    print(out.tobytes().hex())
for out in gaussian_tied.e_blocks(*arguments, factors[0], np.zeros(k), np.zeros((k, d))):
    print(out.tobytes().hex())
"""


@needs_compiler
def test_registers_change_no_bit(tmp_path):
    """The same sums for panels of four rows and of eight: as on a processor without 512-bit registers, and with."""
    from numba.core.registry import cpu_target

    features = cpu_target.target_context.codegen().magic_tuple()[2]
    if "+avx512f" not in features:
        pytest.skip("this processor has no 512-bit registers")
    wide = ("+avx512", "+avx10")
    narrow = ",".join(f"-{f[1:]}" if f.startswith(wide) else f for f in features.split(","))
    here = run(ROWS_HERE)
    there = run(ROWS_HERE, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=narrow, NUMBA_CACHE_DIR=str(tmp_path))
    assert (here[0], there[0]) == ("8", "4")
    assert here[1:] == there[1:]
