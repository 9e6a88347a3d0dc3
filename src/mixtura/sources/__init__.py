"""Sources of rows: the only place that knows where rows are. One kind a file; `as_source` chooses."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from os import PathLike
from typing import Any, cast

import numpy as np

from mixtura.model import Source
from mixtura.sources.arrays import ArraySource
from mixtura.sources.batches import Batches, is_read_once, is_sequence, read_sequence, refuse_read_once
from mixtura.sources.columns import is_column
from mixtura.sources.files import Files, is_path
from mixtura.sources.pieces import Rows
from mixtura.sources.slabs import Slabs, is_chunked
from mixtura.sources.sparse import SparseSource
from mixtura.sources.stream import StreamSource
from mixtura.sources.tables import is_table, read_table, read_weight

__all__ = ["ArraySource", "StreamSource", "as_source"]

# Packages of data on clusters, and what reads it; neither is imported before data of it is there.
_CLUSTERS = {
    "dask": "mixtura.sources.dask",
    "dask_expr": "mixtura.sources.dask",
    "pyspark": "mixtura.sources.spark",
}


def as_source(
    data: Any,
    columns: Sequence[str | int] | None = None,
    weight: Any = None,
    *,
    spool: bool | str | PathLike[str] | None = None,
) -> Source:
    """Return a source of the rows of `data`.

    Parameters
    ----------
    data : array-like, table, path, or any other kind of data
        The rows; see Notes. A source is returned as it is.
    columns : sequence of str or int, optional
        Which columns to use, by name in a table and by number in an array; all but the weight by default.
    weight : array-like of shape (n,), or str or int, optional
        Row weights, or the column that holds them. A weight of w stands for w copies of the row. For a sequence of
        arrays it may be a sequence as well.
    spool : bool or path, optional
        Whether to write decoded rows once to a temporary file of raw numbers and to read them from there, which
        changes no bit of any result. By default that is done for what is costly to decode (text, Parquet, Arrow, Zarr,
        HDF5) if the directory for temporary files has twice the room needed. True does it for streams and generators
        that can be read only once, too; a path says in which directory. Rows in memory are not spooled.

    Returns
    -------
    Source
        What `mixtura.em.drive` takes.

    Raises
    ------
    TypeError
        For columns that do not hold numbers, and what can be read only once, without `spool`.
    ValueError
        For a wrong shape, no rows, an unknown column, weights that cannot be, or a damaged file.
    SourceChangedError
        In a later pass, where the rows are not those of the first.

    Notes
    -----
    These are read whole into memory, or are there already: arrays and array-likes (n, d) or (n,); pandas, Polars and
    Arrow tables and series.

    Sparse matrices and arrays of SciPy stay as they are: zeros that are not stored are made for some rows at a time.

    These are read piece by piece in every pass:

    - a path to a `.npy`, Parquet, Arrow IPC (Feather) or CSV file, a directory of such files, a pattern such as
      ``"part-*.parquet"``, or a list of paths, all of one kind;
    - a `pyarrow.dataset.Dataset`, and what has ``__arrow_c_stream__`` and can be read again;
    - Zarr arrays and HDF5 datasets;
    - a list or tuple of 2-D arrays of as many columns (any other list is one array: of rows, or of numbers);
    - a callable that returns a new iterator each time, of arrays, of tables, or of pairs of either and their weights.

    These stay where they are, on a cluster, and the work goes there (docs/clusters.md):

    - Dask arrays, data frames and series, whose weights may be Dask arrays or series with the same partitions;
    - Spark DataFrames, whose weights are a column.

    Examples
    --------
    >>> source = as_source([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], columns=[1], weight=[1, 0, 2])
    >>> source.n_rows, source.n_features
    (3, 1)
    >>> source = as_source(lambda: (np.full((2, 3), i) for i in range(5)))
    >>> source.n_rows, source.n_features
    (10, 3)
    """
    if reader := _CLUSTERS.get(type(data).__module__.partition(".")[0]):
        return cast(Source, import_module(reader).read(data, columns, weight))
    if all(hasattr(type(data), name) for name in ("fold", "map_rows", "locate")):  # not `isinstance`: that gets values
        if columns is not None or weight is not None:
            raise ValueError("columns and weight cannot be given with a source: give them to as_source(data, ...)")
        return cast(Source, data)
    if hasattr(data, "toarray") and hasattr(data, "nnz"):
        if columns is not None:
            raise ValueError("columns cannot be given with a sparse matrix: take them from it, data[:, columns]")
        return SparseSource(data, read_weight(weight, data.shape[0]))
    rows = _read_pieces(data, columns, weight, spool)
    if rows is None:
        table = read_table(data, columns, weight)
        return ArraySource(table.x, weight=table.weight, names=table.names)
    return StreamSource(rows, None if is_column(weight) else _join(weight), spool=spool)


def _read_pieces(data: Any, columns: Sequence[Any] | None, weight: Any, spool: Any) -> Rows | None:
    """Return the rows of what is read piece by piece, None for anything else."""
    if is_path(data):
        return Files(data, columns, weight)
    if is_read_once(data):
        if not spool:
            refuse_read_once(data)
        return Batches(lambda: data, columns, weight, once=True)
    if callable(data):
        return Batches(data, columns, weight)
    if is_sequence(data):
        return read_sequence(data, columns, weight)
    if is_chunked(data):
        return Slabs(data, columns, weight)
    return _read_arrow(data, columns, weight)


def _read_arrow(data: Any, columns: Sequence[Any] | None, weight: Any) -> Rows | None:
    """Return the rows of what Arrow reads piece by piece, None for anything else."""
    dataset = hasattr(data, "get_fragments")
    if not dataset and (not hasattr(data, "__arrow_c_stream__") or is_table(data)):
        return None
    from mixtura.sources.dataset import read_dataset, read_stream

    return read_dataset(data, columns, weight) if dataset else read_stream(data, columns, weight)


def _join(weight: Any) -> Any:
    """Return weights as one array, if they are a sequence of arrays."""
    parts = isinstance(weight, (list, tuple)) and all(isinstance(part, np.ndarray) for part in weight)
    return np.concatenate(weight) if parts and len(weight) else weight
