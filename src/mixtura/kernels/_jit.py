"""The compiler options of every kernel, in one place.

``jit``            a function called by other kernels only;
``inline_jit``     a small one that must dissolve into its caller: vectors then stay in registers;
``serial_jit``     an outermost function, called from Python and cached;
``parallel_jit``   the same, whose ``prange`` runs on Numba's threads.

All release the GIL, follow IEEE arithmetic to the letter (``fastmath`` deletes tests for NaN and infinity) and give
inf or NaN for a division by zero, as NumPy does. One body belongs under one decorator: Numba's cache files know a
function by its name and line, not by its options. An outermost function has one signature only: two in one cache file
can be crossed by two processes that write it.

``MIXTURA_CHECK_BOUNDS=1`` in the environment, read once at import, is for tests: every index is then checked.
Nothing is cached in that mode, since a cached function does not know the mode it was compiled in, and nothing
runs in parallel, since an exception raised inside ``prange`` is lost.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numba

from mixtura.kernels.cache import KernelCache

__all__ = ["CHECK_BOUNDS", "inline_jit", "jit", "parallel_jit", "serial_jit"]

CHECK_BOUNDS = os.environ.get("MIXTURA_CHECK_BOUNDS", "") not in ("", "0")

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": CHECK_BOUNDS or None}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    """Compile as part of a caller."""
    return _compiled(function, **_OPTIONS)


def inline_jit(function: _Function) -> _Function:
    """Compile into the caller: LLVM inlines every call."""
    return _compiled(function, forceinline=True, **_OPTIONS)


def serial_jit(function: _Function) -> _Function:
    """Compile on first call from Python, or load from the cache."""
    return _cached(_compiled(function, **_OPTIONS))


def parallel_jit(function: _Function) -> _Function:
    """Compile on first call from Python, or load from the cache; ``prange`` is shared out to Numba's threads."""
    return _cached(_compiled(function, parallel=not CHECK_BOUNDS, **_OPTIONS))


def _compiled(function: _Function, **options: Any) -> _Function:
    dispatcher: _Function = numba.njit(**options)(function)
    return dispatcher


def _cached(function: _Function) -> _Function:
    dispatcher: Any = function
    if hasattr(dispatcher, "py_func") and not CHECK_BOUNDS:  # without it, Numba is told not to compile
        dispatcher._cache = KernelCache(dispatcher.py_func)
    return function
