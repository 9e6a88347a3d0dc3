"""How many threads a fit may use, and when a parallel kernel may be launched at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

_requested: ContextVar[int | None] = ContextVar("mixtura_threads", default=None)
_launch = Lock()  # a threading layer may not bear two launches at once
_launched_in: int | None = None  # nor one in the forked child of a process that has launched before


@contextmanager
def using_threads(n: int | None) -> Iterator[None]:
    """Let kernels inside use at most `n` threads; None stands for all that this process may use."""
    token = _requested.set(n)
    try:
        yield
    finally:
        _requested.reset(token)


def launch(parallel: Callable[..., None], serial: Callable[..., None], *arguments: Any) -> None:
    """Run `parallel` on the threads allowed, or `serial` where only one is, or no launch is safe now.

    Both must write the same bits.
    """
    import numba

    global _launched_in
    wanted = _requested.get() or _cpu_count()
    threads = min(wanted, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # Numba sets it at import
    forked = _launched_in not in (None, os.getpid())
    if threads == 1 or forked or not _launch.acquire(blocking=False):
        serial(*arguments)
        return
    _launched_in = os.getpid()
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(threads)
        parallel(*arguments)
    finally:
        numba.set_num_threads(before)
        _launch.release()


def _cpu_count() -> int:
    """Return the CPUs that this process may use, by its affinity and its container's quota."""
    from joblib import cpu_count  # scikit-learn depends on it

    return int(cpu_count())
