"""Memory of the kernels: compiled, and its NumPy double."""

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.core.runtime import _nrt_python, rtsys

from mixtura.kernels._jit import jit, maker_jit
from mixtura.kernels.room import PAGE, room

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="is about compiled code: NUMBA_DISABLE_JIT is set"
)


def make(n, m):
    line, integers, tile, single = room(n), room(n, np.int64), room(n, m), room(n, m, np.float32)
    made = line.copy(), integers.copy(), tile.copy(), single.copy()
    starts = (line.ctypes.data, integers.ctypes.data, tile.ctypes.data, single.ctypes.data)
    for j in range(n):  # what the next call gets had better not be what was left here
        line[j], integers[j] = 1.0, 1
        for i in range(m):
            tile[j, i] = single[j, i] = 1.0
    return made, starts


@pytest.mark.parametrize(("n", "m"), [(0, 8), (1, 1), (3, 128), (700, 130)])
def test_room_is_zeros_on_pages(n, m):
    compiled = numba.njit(make)
    for _ in range(3):
        made, starts = compiled(n, m)
        for array, double in zip(made, make(n, m)[0], strict=True):
            assert array.dtype == double.dtype
            np.testing.assert_array_equal(array, double)
            assert array.shape == double.shape
        assert not any(start % PAGE for start in starts)


@pytest.mark.parametrize(
    "refused",
    [lambda: room(1, 2, 3), lambda: room(1.0, 2), lambda: room(np.int64), lambda: room(2, 2.5)],
)
def test_other_arguments_are_refused(refused):
    with pytest.raises(TypingError, match="room wants"):
        numba.njit(refused)()


outermost = numba.njit(error_model="numpy")  # not `entry_jit`: what comes from the cache compiles no part


@jit
def add_one(x, out):
    for i in range(x.shape[0]):
        out[i] = x[i] + 1.0


@outermost
def once(x, out):
    add_one(x, out)


@outermost
def twice(x, out):
    add_one(x, out)
    add_one(out, out)


def test_a_function_for_kernels_has_no_machine_code_of_its_own():
    x, out = np.arange(5.0), np.empty(5)
    once(x, out)
    np.testing.assert_array_equal(out, x + 1)
    twice(x, out)
    np.testing.assert_array_equal(out, x + 2)
    (part,), (whole,) = add_one.overloads.values(), once.overloads.values()
    engine = cpu_target.target_context.codegen()._engine
    assert not engine.is_symbol_defined(part.fndesc.mangled_name)
    assert engine.is_symbol_defined(whole.fndesc.llvm_cpython_wrapper_name)


@jit
def borrow(x):
    return room(x.shape[0])


@maker_jit
def make_two(n):
    for _ in range(n):
        made = room(n), room(n)
    return made


def test_arrays_are_made_by_makers_only():
    with pytest.raises(TypingError, match="NRT"):
        outermost(lambda x: borrow(x)[0])(np.ones(3))


@outermost
def hold(n, out):
    a, b = make_two(n)
    out[:] = a + b + 1.0


def test_what_is_made_is_held_by_the_outermost_function_and_let_go():
    _nrt_python.memsys_enable_stats()
    out, before = np.zeros(4), rtsys.get_allocation_stats()
    hold(4, out)
    assert out.tolist() == [1.0] * 4
    after = rtsys.get_allocation_stats()
    assert after.alloc - before.alloc == after.free - before.free > 0
    _nrt_python.memsys_disable_stats()
