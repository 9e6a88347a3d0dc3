"""Functions of counts, which come again and again: evaluated once for each distinct one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import is_sparse


def log_factorial(x: FloatArray) -> FloatArray:
    """Return log x! of counts."""
    from scipy.special import gammaln

    if x.max(initial=0) < x.size:  # a table takes less than sorting
        values, where = np.arange(x.max(initial=0) + 1.0), x.astype(np.int64)
    else:
        values, where = np.unique(x, return_inverse=True)
    logs: FloatArray = gammaln(values + 1.0)[where].reshape(x.shape)
    return logs


def log_factorials(x: Any) -> FloatArray:
    """Return the sums (n,) of log x! over the counts of each row, of an array or a sparse matrix."""
    if not is_sparse(x):
        return np.asarray(log_factorial(np.ascontiguousarray(x.T)).sum(axis=0), dtype=np.float64)  # rows are short
    logs = x.astype(np.float64)
    logs.data = log_factorial(logs.data)
    return np.asarray(logs.sum(axis=1), dtype=np.float64)


def by_column(x: FloatArray, function: Callable[[FloatArray, int], FloatArray]) -> Iterator[FloatArray]:
    """Yield ``function(x[:, j, None], j)``, (n, ...), for each column j of rows (n, d)."""
    for j, column in enumerate(x.T):
        values, where = np.unique(column, return_inverse=True)
        yield function(values[:, None], j)[where]
