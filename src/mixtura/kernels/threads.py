"""How many threads a fit may use, and kernels shared out to them.

Kernels release the GIL, so Python's own threads run them side by side: two fits at once, a fork after a fit and
Ctrl-C behave as in any Python program, which none of the compiler's threading layers can promise.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from mixtura.blas import one_thread
from mixtura.context import setting

SHARES = 2  # of what is left for each thread, one slice takes one: no slow core keeps another waiting for long
MOST_HELPERS = 1024  # of all fits together; they are started as they are needed

_requested: ContextVar[int | None] = ContextVar("mixtura_threads", default=None)


@contextmanager
def using_threads(n: int | None) -> Iterator[None]:
    """Let kernels inside use at most `n` threads, None for all that this process may use, and BLAS one."""
    with setting(_requested, n or default_threads()), one_thread():
        yield


def default_threads() -> int:
    """Return the CPUs that this process may use, by its affinity and its container's quota; 1 in a Dask task."""
    return 1 if _in_dask_task() else _usable(_affinity())


def _affinity() -> frozenset[int]:
    """Return the CPUs that this process may be put on; nothing where the system does not say."""
    return frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ())


@cache
def _usable(_cpus: frozenset[int]) -> int:
    """Return how many CPUs this process may use; asked once for each affinity, since it takes 0.2 ms."""
    from joblib import cpu_count  # scikit-learn depends on it

    return int(cpu_count())


def allowed_threads() -> int:
    """Return how many threads a kernel may use here."""
    return _requested.get() or default_threads()


def share_out(work: Callable[[int, int], None], count: int, most: int) -> None:
    """Call ``work(begin, end)`` for slices of at most `most` of `count` pieces, on the threads allowed.

    Slices grow smaller as fewer pieces are left, so that all threads end at once. A piece writes to a place of its
    own, so that who does it cannot change a bit. If this thread is interrupted, no further slice is begun, and those
    that run are waited for: nobody writes to the arrays after the return.
    """
    threads = min(allowed_threads(), count)
    slices = deque(_slices(count, threads, most))

    def run() -> None:
        while True:
            try:
                begin, end = slices.popleft()
            except IndexError:
                return
            work(begin, end)

    helpers = [_helpers().submit(run) for _ in range(threads - 1)]
    try:
        run()
    finally:
        slices.clear()
        _wait(helpers)


def _slices(count: int, threads: int, most: int) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < count:
        size = count - begin if threads == 1 else (count - begin) // (SHARES * threads)
        end = begin + min(max(size, 1), most)
        yield begin, end
        begin = end


def _wait(helpers: list[Future[None]]) -> None:
    """Wait for helpers that have begun, call off the others, and raise what one of them raised."""
    begun = [helper for helper in helpers if not helper.cancel()]
    if begun:
        wait(begun)
    for helper in begun:
        helper.result()


@cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_HELPERS, thread_name_prefix="mixtura")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads do not survive a fork


def _in_dask_task() -> bool:
    """Tell whether this thread runs a task of Dask, which has given the other cores to other tasks."""
    worker = sys.modules.get("distributed.worker")
    if worker is None:
        return False
    try:
        worker.get_worker()
    except ValueError:
        return False
    return True
