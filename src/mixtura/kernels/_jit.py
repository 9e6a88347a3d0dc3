"""The compiler options of every kernel, in one place.

``jit``            a function called by other kernels, or from Python;
``inline_jit``     a small function that must dissolve into its caller: vectors then stay in registers;
``parallel_jit``   the outermost function, whose ``prange`` runs on Numba's threads.

All release the GIL, keep to IEEE arithmetic (``fastmath`` deletes tests for NaN and infinity) and give inf or
NaN for a division by zero, as NumPy does. One body belongs under one decorator: Numba's cache files know a
function by its name and line, not by its options.

``MIXTURA_CHECK_BOUNDS=1`` in the environment, read once at import, is for tests: every index is then checked.
Nothing is cached in that mode, since a cached function does not know the mode it was compiled in, and nothing
runs in parallel, since an exception raised inside ``prange`` is lost.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["CHECK_BOUNDS", "inline_jit", "jit", "parallel_jit"]

CHECK_BOUNDS = os.environ.get("MIXTURA_CHECK_BOUNDS", "") not in ("", "0")

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": not CHECK_BOUNDS}
if CHECK_BOUNDS:
    _OPTIONS["boundscheck"] = True

_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    """Compile on first call."""
    compiled: _Function = numba.njit(**_OPTIONS)(function)
    return compiled


def inline_jit(function: _Function) -> _Function:
    """Compile into the caller: LLVM inlines every call."""
    compiled: _Function = numba.njit(forceinline=True, **_OPTIONS)(function)
    return compiled


def parallel_jit(function: _Function) -> _Function:
    """Compile on first call; ``prange`` is shared out to Numba's threads."""
    compiled: _Function = numba.njit(parallel=not CHECK_BOUNDS, **_OPTIONS)(function)
    return compiled
