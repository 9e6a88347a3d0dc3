"""Tables written to a file as their rows come, whole or not at all: Parquet, CSV, or `.npy` with structured rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from mixtura._types import Array
from mixtura.persistence import replacing

Write = Callable[[dict[str, Array]], None]


@contextmanager
def open_sink(path: str | PathLike[str], n_rows: int) -> Iterator[Write]:
    """Open a file for a table of so many rows.

    Parameters
    ----------
    path : path
        It ends in one of `SINKS`. It appears when the block has succeeded.
    n_rows : int
        How many rows will come.

    Yields
    ------
    callable
        Takes the next rows, as a dict of columns.

    Raises
    ------
    ValueError
        If the suffix is another one.
    ImportError
        If pyarrow, which writes Parquet and CSV, is not installed.
    """
    target = Path(fspath(path))
    sink = SINKS.get(target.suffix.lower())
    if sink is None:
        raise ValueError(f"{target}: its name ends in {target.suffix!r}, expected one of {', '.join(SINKS)}")
    with replacing(target) as draft, sink(draft, n_rows) as write:
        yield write


class _Parquet:
    """A writer of Arrow tables that opens with the first rows, whose columns it takes."""

    def __init__(self, draft: Path, n_rows: int) -> None:
        try:
            import pyarrow as pa
        except ImportError as error:
            raise ImportError(f"{draft.suffix} files need pyarrow: pip install 'mixtura[arrow]'") from error
        self._pa, self._draft = pa, draft
        self._writer: Any = None

    def __enter__(self) -> Write:
        return self._write

    def _write(self, columns: dict[str, Array]) -> None:
        table = self._pa.table(columns)
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._writer.write_table(table)

    def _open(self, schema: Any) -> Any:
        from pyarrow import parquet

        return parquet.ParquetWriter(self._draft, schema)

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()


class _Csv(_Parquet):
    def _open(self, schema: Any) -> Any:
        from pyarrow import csv

        return csv.CSVWriter(str(self._draft), schema)


class _Npy:
    """A writer of one structured array, filled on disk."""

    def __init__(self, draft: Path, n_rows: int) -> None:
        self._draft, self._n_rows = draft, n_rows
        self._rows: Any = None
        self._done = 0

    def __enter__(self) -> Write:
        return self._write

    def _write(self, columns: dict[str, Array]) -> None:
        if self._rows is None:
            kind = np.dtype([(name, column.dtype) for name, column in columns.items()])
            self._rows = np.lib.format.open_memmap(self._draft, "w+", kind, (self._n_rows,))
        stop = self._done + len(next(iter(columns.values())))
        for name, column in columns.items():
            self._rows[name][self._done : stop] = column
        self._done = stop

    def __exit__(self, *error: object) -> None:
        if self._rows is not None:
            self._rows.flush()
        self._rows = None


SINKS: dict[str, Any] = {".parquet": _Parquet, ".csv": _Csv, ".npy": _Npy}
