"""The compiler options of every kernel, in one place.

``jit``            a function called by other kernels only, which borrows arrays: it makes none and returns none;
``inline_jit``     a small one that must dissolve into its caller: vectors then stay in registers;
``maker_jit``      one that makes arrays and returns them, called by outermost functions only;
``entry_jit``      an outermost function, called from Python and cached.

References to arrays are counted by the last two only: the others hold what their caller holds.

All release the GIL, so that Python's threads can share a kernel out (``threads.share_out``). Numba's own threads, by
``parallel=True``, take twice the time to compile, and some of their layers abort the process under two launches at
once or after a fork.

All follow IEEE arithmetic to the letter (``fastmath`` deletes tests for NaN and infinity) and give inf or NaN for a
division by zero, as NumPy does. An outermost function has one signature only: two in one cache file can be crossed by
two processes that write it.

``MIXTURA_CHECK_BOUNDS=1`` in the environment, read once at import, is for tests: every index is then checked.
Nothing is cached in that mode, since a cached function does not know the mode it was compiled in.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core.registry import CPUDispatcher

from mixtura.kernels._compilers import EntryCompiler, PartCompiler
from mixtura.kernels.cache import KernelCache

__all__ = ["CHECK_BOUNDS", "entry_jit", "inline_jit", "jit", "maker_jit"]

CHECK_BOUNDS = os.environ.get("MIXTURA_CHECK_BOUNDS", "") not in ("", "0")

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": CHECK_BOUNDS or None,
    "no_cfunc_wrapper": True,  # C does not call us
}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "pipeline_class": PartCompiler}  # nor Python

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Inner(CPUDispatcher):
    """A compiled function without a way in from Python, where a call would end the process."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self.py_func.__qualname__} is for other kernels to call: wrap it in an entry_jit")


def jit(function: _Function) -> _Function:
    """Compile as part of a caller."""
    return _inner(function, _nrt=False)


def inline_jit(function: _Function) -> _Function:
    """Compile into the caller: LLVM inlines every call."""
    return _inner(function, _nrt=False, forceinline=True)


def maker_jit(function: _Function) -> _Function:
    """Compile as part of an outermost function, which then holds the arrays that are made."""
    return _inner(function, _nrt=True)


def entry_jit(function: _Function) -> _Function:
    """Compile on first call from Python, or load from the cache."""
    dispatcher: Any = _compiled(function, **_OPTIONS, pipeline_class=EntryCompiler)
    if hasattr(dispatcher, "py_func") and not CHECK_BOUNDS:  # without it, Numba is told not to compile
        dispatcher._cache = KernelCache(dispatcher.py_func)
    compiled: _Function = dispatcher
    return compiled


def _inner(function: _Function, **options: Any) -> _Function:
    dispatcher: Any = _compiled(function, **_INNER, **options)
    if hasattr(dispatcher, "py_func"):
        dispatcher.__class__ = _Inner
    inner: _Function = dispatcher
    return inner


def _compiled(function: _Function, **options: Any) -> _Function:
    dispatcher: _Function = numba.njit(**options)(function)
    return dispatcher
