"""The SIMD vocabulary: each word, compiled, against its NumPy double and against higher precision."""

import math
import os
import platform
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from mixtura.kernels import simd
from mixtura.kernels._jit import CHECK_BOUNDS, inline_jit
from mixtura.kernels.chosen import append
from mixtura.kernels.simd import (
    bits_above,
    count_bits,
    first,
    fma,
    fnma,
    hmax,
    hsum,
    imax,
    imin,
    lane,
    load,
    load_across,
    narrow,
    prefetch,
    select,
    splat,
    store,
    vmax,
    vmin,
    vsqrt,
    whole,
    widen,
)

# Not the kernels' own `jit`: a cached function would not see that a word's LLVM code was edited.
jit = numba.njit(error_model="numpy")

JIT_IS_OFF = bool(numba.config.DISABLE_JIT)
needs_compiler = pytest.mark.skipif(JIT_IS_OFF, reason="is about compiled code: NUMBA_DISABLE_JIT is set")
REFUSED_TYPE = TypeError if JIT_IS_OFF else TypingError


def double(function):
    """Return the same kernel uncompiled."""
    return getattr(function, "py_func", function)


def run(script, *arguments, **environment):
    """Run Python code in a new process in which every warning is an error; return what it prints."""
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# ---------------------------------------------------------------- words that round at most once


@jit
def lanewise(x, y, z, out):
    a, b, c = load(x, 0), load(y, 0), load(z, 0)
    store(out, 0, 0, a + b)
    store(out, 1, 0, a - b)
    store(out, 2, 0, a * b)
    store(out, 3, 0, a / b)
    store(out, 4, 0, -a)
    store(out, 5, 0, vmax(a, b))
    store(out, 6, 0, vmin(a, b))
    store(out, 7, 0, vsqrt(a))
    store(out, 8, 0, select(a, b, c))
    store(out, 9, 0, splat(2.5))
    store(out, 10, 0, splat(3))


def lanewise_reference(a, b, c):
    return np.array([
        a + b, a - b, a * b, a / b, -a, np.where(a > b, a, b), np.where(a < b, a, b), np.sqrt(a),
        np.where(a != 0, b, c), np.full(8, 2.5), np.full(8, 3.0),
    ])  # fmt: skip


EDGES = np.array([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.5, -2.0])


@pytest.mark.parametrize("kind", ["ordinary", "edges"])
@pytest.mark.parametrize("kernel", [lanewise, double(lanewise)], ids=["compiled", "double"])
def test_words_that_round_once_are_numpys_to_the_bit(kernel, kind, rng):
    a, b, c = rng.standard_normal((3, 8)) if kind == "ordinary" else (EDGES, np.roll(EDGES, 3), np.ones(8))
    out = np.empty((11, 8))
    with np.errstate(all="ignore"):
        kernel(a, b, c, out)
        expected = lanewise_reference(a, b, c)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(np.signbit(out[4]), ~np.signbit(a))


@jit
def lanewise_single(x, y, wide, out):
    a, b = load(x, 0), load(y, 0)
    store(out, 0, 0, a + b)
    store(out, 1, 0, a - b)
    store(out, 2, 0, a * b)
    store(out, 3, 0, a / b)
    store(out, 4, 0, narrow(load(wide, 0, 0)))
    store(out, 5, 0, narrow(b))
    store(out, 6, 0, splat(x[2]))
    store(wide, 1, 0, widen(a))
    store(wide, 2, 0, widen(load(wide, 0, 0)))
    return bits_above(a, b)


@pytest.mark.parametrize("kind", ["ordinary", "edges"])
@pytest.mark.parametrize("kernel", [lanewise_single, double(lanewise_single)], ids=["compiled", "double"])
def test_words_of_float32_are_numpys_to_the_bit(kernel, kind, rng):
    numbers = rng.standard_normal((2, 8)) if kind == "ordinary" else (EDGES, np.roll(EDGES, 3))
    a, b = np.array(numbers, dtype=np.float32)
    wide = np.array([[1e300, 0.1, math.nan, math.inf, -1e-300, 1 / 3, 2.0, -0.0]] * 3)
    out = np.empty((7, 8), np.float32)
    with np.errstate(all="ignore"):
        bits = kernel(a, b, wide, out)
        expected = np.array([a + b, a - b, a * b, a / b, wide[0].astype(np.float32), b, np.full(8, a[2])])
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(wide[1:], [a.astype(np.float64), wide[0]])
    assert bits == sum(1 << q for q in range(8) if not a[q] <= b[q])


@jit
def mixed(a, b, out):
    store(out, 0, load(a, 0) + load(b, 0))


@needs_compiler
def test_the_two_kinds_of_vectors_do_not_mix():
    one, other = np.ones(8), np.ones(8, np.float32)
    for arrays in ((one, other, one), (one, one, other), (other, other, one)):
        with pytest.raises(TypingError):
            mixed(*arrays)


@jit
def fused(x, y, z, out):
    store(out, 0, 0, fma(load(x, 0), load(y, 0), load(z, 0)))
    store(out, 1, 0, fnma(load(x, 0), load(y, 0), load(z, 0)))


def test_fma_is_a_b_plus_c_and_fnma_is_c_minus_a_b(rng):
    a, b, c = rng.uniform(1.0, 2.0, (3, 8))
    for kernel in (fused, double(fused)):
        out = np.empty((2, 8))
        kernel(a, b, c, out)
        np.testing.assert_allclose(out, [a * b + c, c - a * b], rtol=1e-15, atol=1e-15)


@needs_compiler
def test_compiled_fma_rounds_once():
    a, out = np.full(8, 1.0 + 2.0**-30), np.empty((2, 8))
    fused(a, a, np.full(8, -1.0 - 2.0**-29), out)
    assert (out[0] == 2.0**-60).all()
    fused(a, a, np.full(8, 1.0 + 2.0**-29), out)
    assert (out[1] == -(2.0**-60)).all()


@jit
def across(x, out):
    v = load(x, 0)
    out[0] = hsum(v)
    out[1] = hmax(v)
    for q in range(8):
        out[2 + q] = lane(v, q)


@pytest.mark.parametrize("kernel", [across, double(across)], ids=["compiled", "double"])
def test_sum_has_one_order_on_every_processor(kernel, rng):
    x, out = rng.standard_normal(8) * 10.0 ** rng.integers(-8, 8, 8), np.empty(10)
    kernel(x, out)
    total = ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]))
    np.testing.assert_array_equal(out, [total, x.max(), *x])


@jit
def tail(x, n, out):
    v = load(x, 0)
    store(out, 0, 0, first(n))
    store(out, 1, 0, select(first(n), v, splat(-1.0)))


@pytest.mark.parametrize("kernel", [tail, double(tail)], ids=["compiled", "double"])
@pytest.mark.parametrize("n", [-1, 0, 3, 8, 100])
def test_masked_tail_keeps_no_nan(kernel, n):
    inside = np.arange(8) < n
    out = np.empty((2, 8))
    kernel(np.where(inside, 7.0, np.nan), n, out)
    np.testing.assert_array_equal(out, [inside, np.where(inside, 7.0, -1.0)])


@jit
def square_and_sum(pair):
    return pair[0] * pair[0], pair[0] + pair[1]


@jit
def in_place(x, out):
    start = load(x, 0)
    total = start
    for _ in range(3):
        total += splat(1.0)
        total *= splat(2.0)
        total -= splat(1.0)
        total /= splat(4.0)
    store(out, 0, 0, start)
    store(out, 1, 0, total)
    squared, summed = square_and_sum((start, total))
    store(out, 2, 0, squared)
    store(out, 3, 0, summed)


@pytest.mark.parametrize("kernel", [in_place, double(in_place)], ids=["compiled", "double"])
def test_vectors_are_values(kernel, rng):
    """An in-place operator makes a new vector; vectors pass through tuples and functions."""
    x, out = rng.standard_normal(8), np.empty((4, 8))
    kernel(x, out)
    total = x
    for _ in range(3):
        total = ((total + 1.0) * 2.0 - 1.0) / 4.0
    np.testing.assert_array_equal(out, [x, total, x * x, x + total])


# ---------------------------------------------------------------- memory


@jit
def read(a, i):
    return hsum(load(a, i))


@jit
def read_2(a, i, j):
    return hsum(load(a, i, j))


@jit
def copy_3(a, i, j, k, out):
    store(out, i, j, k, load(a, i, j, k))


@jit
def copy_across(a, i, out):
    store(out, 0, load_across(a, i))


@jit
def write(a, i):
    store(a, i, splat(1.0))


@jit
def write_number(a, i):
    store(a, i, 1.0)


def test_load_and_store_find_their_place(rng):
    a, out = rng.standard_normal((3, 4, 19)), np.zeros((3, 4, 19))
    copy_3(a, 2, 1, 11, out)
    assert np.flatnonzero(out).tolist() == [(2 * 4 + 1) * 19 + k for k in range(11, 19)]
    np.testing.assert_array_equal(out[2, 1, 11:], a[2, 1, 11:])
    assert read_2(a[1], 3, 5) == pytest.approx(a[1, 3, 5:13].sum())
    assert read(a[1, 2, 3:], 1) == pytest.approx(a[1, 2, 4:12].sum())


def test_read_only_array_is_loaded_and_not_stored_to():
    a = np.ones(8)
    a.flags.writeable = False
    assert read(a, 0) == 8.0
    with pytest.raises((TypingError, ValueError), match=r"writable|read-only"):
        write(a, 0)


@pytest.mark.parametrize(
    "array",
    [
        np.ones(16, np.float16),
        np.ones(16, np.int64),
        np.ones(32)[::2],
        np.ones((2, 8)),
        np.ones((16, 1))[:, 0][::-1],
    ],
    ids=["float16", "integers", "strided", "two axes, one index", "backwards"],
)
def test_other_arrays_are_refused(array):
    for kernel in (read, write):
        with pytest.raises(REFUSED_TYPE, match="want a C-contiguous array of floats and an index an axis"):
            kernel(array, 0)


def test_fortran_order_is_refused():
    with pytest.raises(REFUSED_TYPE, match="want a C-contiguous array of floats"):
        read_2(np.ones((8, 8), order="F"), 0, 0)


@needs_compiler
def test_index_that_is_no_integer_is_refused():
    with pytest.raises(TypingError, match="want a C-contiguous array of floats and an index an axis"):
        read(np.ones(16), 1.0)


@pytest.mark.parametrize("function", [copy_across, double(copy_across)], ids=["compiled", "double"])
def test_a_vector_goes_on_in_the_next_rows(function):
    a, out = np.arange(30.0).reshape(10, 3), np.empty(8)
    function(a, 7, out)
    assert np.array_equal(out, np.arange(21.0, 29.0))
    with pytest.raises(REFUSED_TYPE if function is copy_across else TypeError, match="want a C-contiguous array"):
        function(a.ravel(), 0, out)


def test_number_is_no_vector():
    with pytest.raises(REFUSED_TYPE, match="store wants a vector of the array's numbers as its last argument"):
        write_number(np.ones(8), 0)


@pytest.mark.parametrize(("i", "j"), [(0, 9), (0, -1), (2, 0), (-1, 0)])
def test_doubles_check_bounds(i, j):
    a = np.ones((2, 16))
    with pytest.raises(IndexError, match="a vector of 8 values reaches outside its array"):
        load(a, i, j)
    with pytest.raises(IndexError, match="a vector of 8 values reaches outside its array"):
        store(a, i, j, splat(0.0))
    with pytest.raises(IndexError, match="a vector of 8 values"):
        load(np.ones(7), 0)
    with pytest.raises(IndexError, match="a vector of 8 values"):
        load_across(np.ones((5, 3)), 3)
    with pytest.raises(IndexError, match="lane 8"):
        lane(splat(1.0), 8)


CHECKED = """
import numpy as np
from mixtura.kernels._jit import entry_jit
from mixtura.kernels.simd import hsum, load, load_across, splat, store

@entry_jit
def read(a, i, j):
    return hsum(load(a, i, j))

@entry_jit
def read_across(a, i, j):
    return hsum(load_across(a, i))

@entry_jit
def write(a, i, j):
    store(a, i, j, splat(2.0))
    return a[i, j]

@entry_jit
def read_rows(a, n, j):
    for i in range(n):
        a[i, 0] = hsum(load(a, i, j))
    return a[0, 0]

a = np.ones((2, 16))
assert read(a, 1, 8) == 8.0 and write(a.copy(), 1, 8) == 2.0 and read_rows(a.copy(), 2, 8) == 8.0
assert read_across(a, 1, 0) == 8.0
outside = [(read, 1, 9), (read, 2, 0), (read, 0, -1), (write, 0, 9), (write, -1, 0), (read_rows, 3, 0)]
for f, i, j in [*outside, (read_across, 2, 0), (read_across, -1, 0)]:
    try:
        f(a, i, j)
    except IndexError as error:
        assert "a vector of 8 values" in str(error)
        print("refused")
"""


def test_compiled_code_checks_bounds_when_asked():
    assert run(CHECKED, MIXTURA_CHECK_BOUNDS="1") == ["refused"] * 8


@needs_compiler
def test_a_function_for_kernels_refuses_python():
    """There is no way in: to call it would end the process."""
    with pytest.raises(TypeError, match="wrap it in an entry_jit"):
        inline_jit(lambda a: a[0])(np.ones(8))


def test_bounds_are_unchecked_unless_asked():
    assert (os.environ.get("MIXTURA_CHECK_BOUNDS", "") not in ("", "0")) == CHECK_BOUNDS


# ---------------------------------------------------------------- the compiler


UNCOLLECTED = """
import gc
import numba.core.event as event
from mixtura.kernels._jit import entry_jit

@entry_jit
def add(a, b):
    return a + b

class Listener(event.Listener):
    def on_start(self, _):
        print(gc.isenabled())

    on_end = on_start

listener = Listener()
event.register("numba:run_pass", listener)
assert add(1.0, 2.0) == 3.0
event.unregister("numba:run_pass", listener)
print("then:", gc.isenabled(), sep="")
gc.disable()
add(1, 2)
print("off:", gc.isenabled(), sep="")
"""


@needs_compiler
def test_the_garbage_collector_waits_for_the_compiler(tmp_path):
    seen = run(UNCOLLECTED, NUMBA_CACHE_DIR=str(tmp_path))
    assert set(seen[:-2]) == {"False"}
    assert seen[-2:] == ["then:True", "off:False"]


CACHED = """
import pathlib, sys
import numba, numpy as np
from numba.core import event

with event.install_recorder("numba:compile") as compiled:
    import mixtura.kernels.simd
assert not compiled.buffer, "importing the words compiles something"
sys.path.insert(0, sys.argv[1])
from cached_kernel import kernel
out = np.empty(8)
kernel(np.full(8, -1.0), out)
print(out[0].hex(), sum(kernel.stats.cache_hits.values()))
"""

# ---------------------------------------------------------------- bits


@jit
def compare(x, y, out):
    bits = bits_above(load(x, 0), load(y, 0))
    out[8], out[9] = bits, count_bits(bits)
    for q in range(8):
        out[q] = bits >> q & 1


@pytest.mark.parametrize("function", [compare, double(compare)], ids=["compiled", "double"])
def test_bits_tell_which_lanes_are_above(function):
    x = np.array([1.0, 0.0, -1.0, math.nan, 2.0, math.inf, -math.inf, 5e-324])
    y = np.array([0.0, 0.0, 0.0, 0.0, math.nan, 1e308, 0.0, 0.0])
    out = np.zeros(10, dtype=np.int64)
    function(x, y, out)
    assert out[:8].tolist() == [1, 0, 0, 1, 1, 1, 0, 1]
    assert out[8:].tolist() == [0b10111001, 5]


@jit
def numbers(a, b, x, out):
    out[0], out[1], out[2] = imin(a, b), imax(a, b), whole(x)


@pytest.mark.parametrize("function", [numbers, double(numbers)], ids=["compiled", "double"])
@pytest.mark.parametrize(("a", "b", "x"), [(2, 3, 2.9), (3, -2, -2.9), (-(2**62), 2**62, 2.0**62)])
def test_words_of_numbers_are_pythons(function, a, b, x):
    out = np.zeros(3, dtype=np.int64)
    function(a, b, x, out)
    assert out.tolist() == [min(a, b), max(a, b), int(x)]


@jit
def choose(x, chosen):
    count = 0
    for s in range(0, len(x), 8):
        count = append(bits_above(load(x, s), splat(0.0)), s, chosen, count)
    chosen[-1] = count


def test_rows_are_listed_in_order():
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=1024)
    chosen = np.empty(len(x) + 8)
    choose(x, chosen)
    rows = np.flatnonzero(x > 0.0)
    assert chosen[-1] == len(rows)
    assert np.array_equal(chosen[: len(rows)], rows)


@jit
def fetch(a, i):
    prefetch(a, i, 3)
    return a[1, 1]


@pytest.mark.parametrize("function", [fetch, double(fetch)], ids=["compiled", "double"])
@pytest.mark.parametrize("row", [0, -1, 10**6])
def test_prefetch_touches_nothing_even_outside(function, row):
    a = np.arange(16.0).reshape(2, 8)
    assert function(a, row) == 9.0
    assert np.array_equal(a.ravel(), np.arange(16.0))


CACHED_KERNEL = """
import numba
from mixtura.kernels.simd import exp2, load, log, splat, store

@numba.njit(cache=True)
def kernel(x, out):
    store(out, 0, exp2(load(x, 0)) + log(splat(3.0)) * splat(2.0))
"""


def test_compiled_vectors_are_cached_across_processes(tmp_path):
    (tmp_path / "cached_kernel.py").write_text(CACHED_KERNEL)
    cold, warm = (run(CACHED, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache")) for _ in range(2))
    assert (cold[1], warm[1]) == ("0", "1")
    assert cold[0] == warm[0]
    assert float.fromhex(warm[0]) == pytest.approx(0.5 + 2 * math.log(3))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="is about x86 processors")
@pytest.mark.parametrize(("processor", "answer"), [("generic", "False"), ("haswell", "True")])
def test_processor_without_fma_is_known(processor, answer):
    script = "from mixtura.kernels.simd import has_fma; print(has_fma())"
    assert run(script, NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES="") == [answer]


def test_every_exported_word_is_documented():
    words = set(simd.__all__) - {"LANES", "Vector", "single8", "vec8"}
    assert all(f"{word}(" in simd.__doc__ for word in words)


@pytest.fixture
def rng():
    return np.random.default_rng(20)
