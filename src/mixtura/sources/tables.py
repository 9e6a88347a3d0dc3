"""Data as users hold them, read into one array of numbers: array-likes, and tables through narwhals."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray

_TEMPORAL = (np.datetime64, np.timedelta64, datetime.date, datetime.time, datetime.timedelta)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows `x` (n, d) of real numbers of any dtype and strides, names of the columns if any, and weights."""

    x: Array
    names: tuple[str, ...] | None = None
    weight: FloatArray | None = None


def read_table(data: Any, columns: Sequence[str | int] | None = None, weight: Any = None) -> Table:
    """Read `data` into a `Table`; `weight` may be a column of it, which then is no feature."""
    _refuse(data)
    frame = _narwhals(data)
    return _read_array(data, columns, weight) if frame is None else _read_frame(frame, columns, weight)


def read_weight(weight: Any, n: int) -> FloatArray | None:
    """Return row weights (n,) as float64, or None; refuse what cannot be a weight, naming the first row."""
    if weight is None:
        return None
    series = _narwhals(weight)
    values = np.asarray(weight if series is None else series.to_numpy())
    values = _real(values, "sample_weight")
    if values.ndim == 0:
        values = np.full(n, values)
    if values.shape != (n,):
        raise ValueError(f"sample_weight has shape {values.shape}, expected ({n},): one weight a row")
    check_weight(values, lambda row: f"row {row}")
    if not values.any():
        raise ValueError("all sample_weight are zero: at least one row needs a positive weight")
    return values.astype(np.float64)


def check_weight(values: Array, locate: Callable[[int], str]) -> None:
    """Refuse what cannot be a weight, naming the first row."""
    if not (good := np.isfinite(values) & (values >= 0)).all():
        row = int(np.argmin(good))
        raise ValueError(
            f"sample_weight of {locate(row)} is {values[row]}: weights must be finite and not negative; "
            f"a weight of 0 leaves the row out"
        )


def _refuse(data: Any) -> None:
    """Refuse by name what would otherwise be read as something else."""
    if data is None:
        raise TypeError("the data is None, expected rows: an array, a table or a series")
    if np.ma.is_masked(data):
        raise ValueError("the data is a masked array with masked entries: fill them in, or leave their rows out")


def is_table(data: Any) -> bool:
    """Tell whether `data` is a table or series in memory, of a library that narwhals knows."""
    import narwhals as nw  # imported for tables only

    return bool(nw.dependencies.is_into_dataframe(data) or nw.dependencies.is_into_series(data))


def _narwhals(data: Any) -> Any:
    """Return `data` as a narwhals frame or series, or None if it is neither."""
    module = type(data).__module__.partition(".")[0]
    if module in ("numpy", "builtins"):
        return None
    import narwhals as nw  # imported for tables only

    try:
        native = nw.from_native(data, allow_series=True)
    except TypeError:
        return None
    return native.collect() if isinstance(native, nw.LazyFrame) else native


def _read_array(data: Any, columns: Sequence[str | int] | None, weight: Any) -> Table:
    x = _real(np.asarray(data), "the data")
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2:
        raise ValueError(f"Found array with dim {x.ndim}, expected 2-D rows and columns, or a 1-D vector")
    numbers = list(range(x.shape[1]))
    if isinstance(weight, (int, np.integer)) and not isinstance(weight, bool):
        name, weight = int(weight), x[:, _position(weight, numbers)]
        numbers.remove(name)
    elif isinstance(weight, str):
        raise ValueError(f"weight column {weight!r}: columns of an array go by number, from 0")
    if columns is not None or len(numbers) < x.shape[1]:
        x = x[:, [_position(c, range(x.shape[1])) for c in columns] if columns is not None else numbers]
    return Table(x, weight=read_weight(weight, len(x)))


def _position(column: Any, numbers: Sequence[int]) -> int:
    if column not in numbers:
        raise ValueError(f"there is no column {column!r}: the array has columns 0 to {len(numbers) - 1}")
    return int(column)


def _read_frame(frame: Any, columns: Sequence[str | int] | None, weight: Any) -> Table:
    import narwhals as nw

    if isinstance(frame, nw.Series):
        frame = frame.alias(frame.name or "0").to_frame()
    there = list(frame.columns)
    names = there
    if isinstance(weight, str):
        name, weight = weight, frame.get_column(_known(weight, there))
        names = [other for other in there if other != name]
    if columns is not None:
        names = [_known(c, there) for c in columns]
    for name in names:
        _check_column(frame.get_column(name), nw)
    x = np.column_stack([_column(frame.get_column(name)) for name in names]) if names else np.empty((len(frame), 0))
    return Table(x, tuple(map(str, names)), read_weight(weight, len(frame)))


def _known(column: Any, names: list[Any]) -> Any:
    if column not in names:
        raise ValueError(f"there is no column {column!r}: the table has {', '.join(map(repr, names))}")
    return column


def _check_column(series: Any, nw: Any) -> None:
    dtype = series.dtype
    if dtype.is_temporal():
        raise TypeError(
            f"column {series.name!r} holds dates or times ({dtype}): convert it to a number in a unit you choose, "
            f"such as seconds since its first value"
        )
    if not (dtype.is_numeric() or dtype == nw.Boolean):
        raise ValueError(f"column {series.name!r} holds {dtype}, expected numbers: convert or leave it out")


def _column(series: Any) -> Array:
    """Return one column; missing entries become NaN."""
    values: Array = np.asarray(series.to_numpy())
    return values.astype(np.float64) if values.dtype == object else values


def _real(values: Array, what: str) -> Array:
    """Return numbers of a real dtype; refuse everything that is none, by name."""
    kind = values.dtype.kind
    if kind in "biuf":
        return values
    if kind == "c":
        raise ValueError(f"Complex data not supported: {what} holds {values.dtype}, expected real numbers")
    if kind in "mM" or (kind == "O" and any(isinstance(value, _TEMPORAL) for value in values.flat)):
        raise TypeError(
            f"{what} holds dates or times ({values.dtype}): convert them to numbers in a unit you choose, "
            f"such as seconds since the first"
        )
    if kind == "O":
        return values.astype(np.float64)
    raise ValueError(f"{what} holds {values.dtype}, expected numbers: text must be converted or left out")
