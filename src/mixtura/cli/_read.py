"""Reading DATA: numbers by column from .npy, .csv and .parquet files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixtura.cli._errors import CommandError, require

LISTED = 40  # column names that an error lists
SEPARATORS = ",;\t"


@dataclass(frozen=True)
class File:
    """A file of columns that is open for reading.

    Attributes
    ----------
    path : Path
    names : list of str
        Names of its columns; their numbers from 0 where the file gives none.
    named : bool
        Whether the file gives names.
    load : callable
        Takes the names wanted and returns those columns: an array of shape (n, d) or an Arrow table.
    """

    path: Path
    names: list[str]
    named: bool
    load: Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class Data:
    """The columns of a fit or a prediction.

    Attributes
    ----------
    X : ndarray of shape (n, d) or pyarrow.Table
    names : list of str
    weight : ndarray of shape (n,) or None
    """

    X: Any
    names: list[str]
    weight: Any = None

    @property
    def n_rows(self) -> int:
        """Count the rows."""
        return len(self.X)


def open_data(path: str | Path) -> File:
    """Open a data file by its suffix.

    Parameters
    ----------
    path : str or Path
        A .npy, .csv or .parquet file.

    Returns
    -------
    File

    Raises
    ------
    CommandError
        If the suffix is another one, or the file is missing, unreadable or damaged.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise CommandError(f"{path}: suffix {path.suffix!r} is none of {', '.join(_READERS)}")
    if path.is_dir():
        raise CommandError(f"{path}: is a directory, expected a file")
    with path.open("rb"):  # missing and forbidden files get the system's words
        pass
    try:
        return reader(path)
    except (ValueError, EOFError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: damaged or not a {path.suffix} file: {error}") from error


def read(file: File, columns: Sequence[str] | None = None, weight: str | None = None) -> Data:
    """Read columns of numbers.

    Parameters
    ----------
    file : File
    columns : sequence of str, optional
        Columns to read, in this order; all but `weight` by default.
    weight : str, optional
        Column of row weights.

    Returns
    -------
    Data

    Raises
    ------
    CommandError
        If a column is unknown or named twice.
    """
    names = [name for name in file.names if name != weight] if columns is None else list(columns)
    wanted = names if weight is None else [*names, weight]
    for name in wanted:
        if name not in file.names:
            raise CommandError(f"{file.path}: unknown column {name!r}; there are: {_list(file.names)}")
    if len(set(names)) < len(names) or weight in names:
        raise CommandError(f"{file.path}: a column is named twice: {_list(wanted)}")
    if not names:
        raise CommandError(f"{file.path}: no column is left to fit besides the weight {weight!r}")
    try:
        loaded = file.load(wanted)
    except ValueError as error:
        raise CommandError(f"{file.path}: {error}") from error
    if weight is None:
        return Data(loaded, names)
    if isinstance(loaded, np.ndarray):
        return Data(loaded[:, :-1], names, loaded[:, -1])
    return Data(loaded.select(names), names, loaded.column(weight).to_numpy())


def _list(names: Sequence[str]) -> str:
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + rest


def _npy(path: Path) -> File:
    with path.open("rb") as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    if array.dtype.kind not in "fiub":
        raise CommandError(f"{path}: holds values of type {array.dtype}; expected an array of real numbers")
    if array.ndim not in (1, 2):
        raise CommandError(f"{path}: holds an array of shape {array.shape}; expected rows and columns")
    array = array[:, None] if array.ndim == 1 else array
    names = [str(j) for j in range(array.shape[1])]

    def load(wanted: Sequence[str]) -> Any:
        return array if list(wanted) == names else array[:, [int(name) for name in wanted]]

    return File(path, names, named=False, load=load)


def _parquet(path: Path) -> File:
    parquet = require("pyarrow.parquet", "cli")
    names = list(parquet.read_schema(path).names)

    def load(wanted: Sequence[str]) -> Any:
        return parquet.read_table(path, columns=list(wanted))

    return File(path, names, named=True, load=load)


def _csv(path: Path) -> File:
    arrow = require("pyarrow.csv", "cli")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline()
    if not first.strip():
        raise CommandError(f"{path}: the first line is empty; expected column names")
    separator = max(SEPARATORS, key=first.count)
    header = next(csv.reader([first], delimiter=separator))
    named = not all(_is_number(cell) for cell in header)
    names = header if named else [str(j) for j in range(len(header))]

    def load(wanted: Sequence[str]) -> Any:
        return arrow.read_csv(
            path,
            read_options=arrow.ReadOptions(column_names=names, skip_rows=1 if named else 0),
            parse_options=arrow.ParseOptions(delimiter=separator),
            convert_options=arrow.ConvertOptions(include_columns=list(wanted)),
        )

    return File(path, names, named=named, load=load)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


_READERS: dict[str, Callable[[Path], File]] = {".npy": _npy, ".csv": _csv, ".parquet": _parquet}
