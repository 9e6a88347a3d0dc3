"""Large matrix products whose bits do not depend on the threads of BLAS, which share out what they add."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Let BLAS use one thread inside, and leave the setting, which is the process's, as it was found.

    It has no effect where another thread that still lives has set it before: threadpoolctl lets one thread decide.
    """
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit


@cache
def _controller() -> Any:
    """Return the controller of the libraries loaded; finding them takes some milliseconds."""
    from threadpoolctl import ThreadpoolController  # scikit-learn depends on it

    return ThreadpoolController()
