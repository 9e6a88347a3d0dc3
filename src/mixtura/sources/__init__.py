"""Sources of rows: the only place that knows where rows are. One kind a file; `as_source` chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixtura.model import Source
from mixtura.sources.arrays import ArraySource
from mixtura.sources.tables import read_table

__all__ = ["ArraySource", "as_source"]


def as_source(data: Any, columns: Sequence[str | int] | None = None, weight: Any = None) -> Source:
    """Return a source of the rows of `data`.

    Parameters
    ----------
    data : array-like of shape (n, d) or (n,), or pandas, Polars or Arrow table or series, or Source
        The rows; a source is returned as it is.
    columns : sequence of str or int, optional
        Which columns to use, by name in a table and by number in an array; all by default.
    weight : array-like of shape (n,), or str or int, optional
        Row weights, or the column that holds them. A weight of w stands for w copies of the row.

    Returns
    -------
    Source
        What `mixtura.em.drive` takes.

    Raises
    ------
    TypeError
        For sparse matrices, and columns that do not hold numbers.
    ValueError
        For a wrong shape, no rows, an unknown column, or weights that cannot be.

    Examples
    --------
    >>> source = as_source([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], columns=[1], weight=[1, 0, 2])
    >>> source.n_rows, source.n_features
    (3, 1)
    """
    if isinstance(data, Source):
        if columns is not None or weight is not None:
            raise ValueError("columns and weight cannot be given with a source: give them to as_source(data, ...)")
        return data
    table = read_table(data, columns, weight)
    return ArraySource(table.x, weight=table.weight, names=table.names)
