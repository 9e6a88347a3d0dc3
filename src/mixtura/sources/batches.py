"""Arrays or tables, one after another: from a sequence, from a callable, or from a stream that is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from mixtura._types import Array
from mixtura.sources.columns import Choice, choose, is_column, split
from mixtura.sources.pieces import Block, Piece, State, held
from mixtura.sources.tables import Table, read_table


def is_sequence(data: Any) -> bool:
    """Tell whether `data` is a list or tuple of 2-D arrays; of anything else it is one array."""
    return (
        isinstance(data, (list, tuple))
        and bool(data)
        and all(isinstance(item, np.ndarray) and item.ndim == 2 for item in data)
    )


def is_read_once(data: Any) -> bool:
    """Tell whether `data` is gone once it has been iterated."""
    return hasattr(data, "__next__")


def refuse_read_once(data: Any) -> None:
    """Say what to do with data that can be read only once."""
    raise TypeError(
        f"a {type(data).__name__} can be read only once, and EM reads the rows again and again: give "
        f"as_source(data, spool=True), which writes them to a temporary file, or a callable that returns a new iterator"
    )


def read_sequence(arrays: Sequence[Array], columns: Sequence[Any] | None, weight: Any) -> Batches:
    """Return the rows of arrays (n_i, d), one after another."""
    rows = Batches(lambda: iter(arrays), columns, weight)
    rows.dtype = held(*(array.dtype for array in arrays))
    rows.n_rows = rows.about = sum(map(len, arrays))
    return rows


class Batches:
    """The rows of arrays or tables, one after another.

    Parameters
    ----------
    make : callable
        Returns an iterable of arrays (n_i, d) or (n_i,), of tables, or of pairs of either and their weights (n_i,).
    columns, weight
        As in `as_source`.
    once : bool
        Whether `make` may be called only once.
    """

    costly = False
    n_rows: int | None = None
    about = 0

    def __init__(
        self, make: Callable[[], Iterable[Any]], columns: Sequence[Any] | None, weight: Any, *, once: bool = False
    ) -> None:
        self._make, self.once = make, once
        items = iter(make())
        try:
            first = next(items)
        except StopIteration:
            raise ValueError("the iterator is empty, expected arrays or tables of rows") from None
        self._begun: Iterator[Any] | None = chain([first], items)
        self._pairs = isinstance(first, tuple)
        weight = weight if is_column(weight) else None
        self.weighted = self._pairs or weight is not None
        self._wanted = None if columns is None else [*columns, *([weight] if weight is not None else [])]
        table = self._read(first)[0]
        self._choice = _choose(table, columns, weight)
        self.names, self.n_features = self._choice.names, len(self._choice.features)
        self._width, self._all_names = table.x.shape[1], table.names
        self.dtype = np.dtype(np.float64)  # who knows what will come
        self._counts: list[int] = []

    def pieces(self) -> Iterator[Piece]:
        """Yield one array or table after another."""
        items, self._begun = self._begun or iter(self._make()), None
        counts = self._counts = []
        for item in items:
            table, weight = self._read(item)
            self._check(table, len(counts))
            features, column = split(table.x, self._choice)
            weight = column if weight is None else weight
            if weight is not None and len(weight) != len(features):
                raise ValueError(f"array {len(counts)} has {len(features)} rows and {len(weight)} weights")
            counts.append(len(features))
            yield Block(features, weight)

    def _read(self, item: Any) -> tuple[Table, Array | None]:
        if isinstance(item, tuple) != self._pairs or (self._pairs and len(item) != 2):
            raise ValueError(
                "some of what comes is a pair of rows and weights, some not: expected one of both, throughout"
            )
        rows, weight = item if self._pairs else (item, None)
        if type(rows).__name__ == "RecordBatch":
            import pyarrow as pa

            rows = pa.Table.from_batches([rows])
        return read_table(rows, self._wanted), None if weight is None else np.asarray(weight)

    def _check(self, table: Table, number: int) -> None:
        if table.x.shape[1] != self._width:
            raise ValueError(f"array {number} has {table.x.shape[1]} columns, the first one {self._width}")
        if table.names != self._all_names:
            raise ValueError(f"table {number} has the columns {table.names}, the first one {self._all_names}")

    def state(self) -> State:
        """Nothing is known without reading."""
        return {}

    def locate(self, row: int) -> str:
        """Return the row, and where it is in which array."""
        within = row
        for number, count in enumerate(self._counts):
            if within < count:
                return f"row {row} (row {within} of array {number})"
            within -= count
        return f"row {row}"


def _choose(table: Table, columns: Sequence[Any] | None, weight: Any) -> Choice:
    """Choose among columns of which, if they are given, only those wanted were read, in that order."""
    there = table.x.shape[1] if table.names is None else table.names
    if columns is None:
        return choose(there, None, weight, "the data")
    n = len(columns)
    return Choice(list(range(n)), None if weight is None else n, None if table.names is None else table.names[:n])
