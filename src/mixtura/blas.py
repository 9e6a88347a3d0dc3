"""Matrix products whose bits do not depend on the threads of BLAS, which share out what they add."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock, get_ident
from typing import Any

_lock = Lock()


class Threads:
    """How many threads one BLAS uses, and who asks it to use one only.

    Parameters
    ----------
    library : threadpoolctl.LibController
        The BLAS. Under OpenMP each thread has a setting of its own; else there is one, which is the process's.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._apart = getattr(library, "threading_layer", None) == "openmp"
        self._askers: Counter[int] = Counter()
        self._found: dict[int, int] = {}
        # threadpoolctl lets a single thread change what all share, so that others do not undo it: that is done here.
        self._set = getattr(library, "_real_set_num_threads", library.set_num_threads)

    def limit(self) -> None:
        """Use one, from the first who asks for it."""
        asker = self._asker()
        if not self._askers[asker]:
            self._found[asker] = self._library.get_num_threads()
            self._set(1)
        self._askers[asker] += 1

    def restore(self) -> None:
        """Use as many as were found, after the last who asked for one."""
        asker = self._asker()
        self._askers[asker] -= 1
        if not self._askers[asker]:
            del self._askers[asker]
            self._set(self._found.pop(asker))

    def _asker(self) -> int:
        return get_ident() if self._apart else 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS use one thread inside, and leave the setting as it was found.

    Of several at once, each on a thread of its own, the first to begin changes what they share and the last to end
    restores it: so a fit has the same bits whoever computes beside it.
    """
    libraries = _libraries()
    with _lock:
        for threads in libraries:
            threads.limit()
    try:
        yield
    finally:
        with _lock:
            for threads in libraries:
                threads.restore()


@cache
def _libraries() -> list[Threads]:
    """Return every BLAS that is loaded; finding them takes some milliseconds."""
    from threadpoolctl import ThreadpoolController  # scikit-learn depends on it

    return [Threads(library) for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


if hasattr(os, "register_at_fork"):  # the lock must not stay with a thread that the child does not have
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
