"""How many threads a fit may use, and kernels shared out to them.

Kernels release the GIL, so Python's own threads run them side by side: two fits at once, a fork after a fit and
Ctrl-C behave as in any Python program, which none of the compiler's threading layers can promise.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from queue import Empty, SimpleQueue
from threading import Thread
from typing import ClassVar

from mixtura.blas import one_thread
from mixtura.context import setting

SHARES = 2  # of what is left for each thread, one slice takes one: no slow core keeps another waiting for long

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

    helpers: list[_Helper] = []
    try:
        helpers.extend(_Helper.asked(run) for _ in range(threads - 1))
        run()
    finally:
        slices.clear()
        errors = [helper.ended() for helper in helpers]
    for error in filter(None, errors):
        raise error


@lru_cache(maxsize=64)
def _slices(count: int, threads: int, most: int) -> list[tuple[int, int]]:
    slices, begin = [], 0
    while begin < count:
        size = count - begin if threads == 1 else (count - begin) // (SHARES * threads)
        end = begin + min(max(size, 1), most)
        slices.append((begin, end))
        begin = end
    return slices


class _Helper:
    """A thread that does one piece of work after another, and in between waits to be asked.

    Fits of milliseconds ask a thousand times a second. A ``ThreadPoolExecutor`` has locks and events in Python for
    that, which take a tenth of a millisecond of each pass.
    """

    _idle: ClassVar[deque[_Helper]] = deque()  # of all fits together

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        Thread(target=self._serve, name="mixtura", daemon=True).start()

    @classmethod
    def asked(cls, work: Callable[[], None]) -> _Helper:
        """Return a helper that has been asked to do this work."""
        try:
            helper = cls._idle.pop()
        except IndexError:
            helper = cls()
        helper._asked.put(work)
        return helper

    def ended(self) -> BaseException | None:
        """Call the work off if it has not begun, else wait for its end; return what it raised."""
        try:
            self._asked.get_nowait()
            error = None
        except Empty:
            error = self._done.get()
        self._idle.append(self)
        return error

    def _serve(self) -> None:
        while True:
            self._done.put(_outcome(self._asked.get()))  # no name holds on to the work, and so to the rows


def _outcome(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001  # raised again by the thread that asked
        return error
    return None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Helper._idle.clear)  # threads do not survive a fork


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
